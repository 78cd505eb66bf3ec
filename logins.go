// logins.go: accounts that answer to one sign-in name by different login fields:
// somebody's username is another's e-mail address. It comes to be where a field
// becomes a login field after people have chosen their values.

package registration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// loginPairs names the pairs of login fields, whatever their order.
func loginPairs(login []*field) []string {
	var pairs []string
	for i, f := range login {
		for _, g := range login[:i] {
			pairs = append(pairs, min(f.keyspace(), g.keyspace())+"+"+max(f.keyspace(), g.keyspace()))
		}
	}
	slices.Sort(pairs)
	return pairs
}

// owns reports whether a text is of the field's own kind: an address of an e-mail
// field, a number of a number field. Anything is a text, so a text field owns none.
func (f *field) owns(text string) bool {
	if f.kind == kindText || f.kind == kindChoice {
		return false
	}
	_, code := f.parseText(text)
	return code == ""
}

// A loginClash is a sign-in name that an account has and another answers to.
type loginClash struct {
	field        *field
	user, holder uuid.UUID
}

// loginClashes returns the login fields by which an account is not found, because
// another answers to their value: one whose own kind of field it is, as an address
// is its owner's, or else by a field that is tried before.
func loginClashes(tx Tx, login []*field, u *User) ([]loginClash, error) {
	var clashes []loginClash
	for i, f := range login {
		text := textOf(f.get(u))
		if text == "" || heldBack(u, f) {
			continue
		}
		own := f.owns(text)
		for j, g := range login {
			if theirs := g.owns(text); i == j || own && !theirs || own == theirs && i < j {
				continue // by f it is found first
			}
			holder, err := tx.UserByKey(g.keyspace(), g.keyOf(text))
			switch {
			case errors.Is(err, ErrNotFound):
			case err != nil:
				return nil, err
			case holder.ID != u.ID:
				clashes = append(clashes, loginClash{f, u.ID, holder.ID})
			}
		}
	}
	return clashes, nil
}

// maxLoggedClashes bounds the lines that one load writes.
const maxLoggedClashes = 100

// logLoginClashes says which accounts clash. It reads all of them, in batches.
func logLoginClashes(ctx context.Context, store Store, login []*field, logger *zap.Logger) error {
	total := 0
	for after := uuid.Nil; ; {
		var found []loginClash
		last := uuid.Nil
		if err := store.View(ctx, func(tx Tx) error {
			found, last = nil, uuid.Nil
			users, err := tx.Users(after, keyBatch)
			for _, u := range users {
				last = u.ID
				clashes, err := loginClashes(tx, login, u)
				if err != nil {
					return err
				}
				found = append(found, clashes...)
			}
			return err
		}); err != nil {
			return fmt.Errorf("looking for sign-in names that clash: %w", err)
		}
		for _, c := range found {
			if total++; total <= maxLoggedClashes {
				logger.Warn("two accounts answer to one sign-in name; it signs in the holder, and the account has to choose another at its next sign-in",
					zap.String("field", c.field.name), zap.String("account", c.user.String()), zap.String("holder", c.holder.String()))
			}
		}
		if last == uuid.Nil {
			break
		}
		after = last
	}
	if total > maxLoggedClashes {
		logger.Warn("more accounts answer to one sign-in name than are listed", zap.Int("clashes", total))
	}
	return nil
}

// heldBack reports whether what an account has in a field is not its own yet: the
// address that it waits to confirm, wherever it stands.
func heldBack(u *User, f *field) bool {
	if !u.EmailPending {
		return false
	}
	if f.name == fieldEmail {
		return true
	}
	text := textOf(f.get(u))
	return meansAddress(text) && emailKey(strings.TrimSpace(text)) == emailKey(u.Email)
}

// meansAddress reports whether a text is an address, or is compared as one:
// letters of full width mean the same as plain ones.
func meansAddress(text string) bool {
	_, ok := parseEmail(emailKey(strings.TrimSpace(text)))
	return ok
}
