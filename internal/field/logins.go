// logins.go: accounts that answer to one sign-in name by different login fields:
// somebody's username is another's e-mail address. It comes to be where a field
// becomes a login field after people have chosen their values.

package field

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/store"
)

// loginPairs names the pairs of login fields, whatever their order.
func loginPairs(login []*Field) []string {
	var pairs []string
	for i, f := range login {
		for _, g := range login[:i] {
			pairs = append(pairs, min(f.Keyspace(), g.Keyspace())+"+"+max(f.Keyspace(), g.Keyspace()))
		}
	}
	slices.Sort(pairs)
	return pairs
}

// Owns reports whether a text is of the field's own kind: an address of an e-mail
// field, a number of a number field. Anything is a text, so a text field owns none.
func (f *Field) Owns(text string) bool {
	if f.Kind == KindText || f.Kind == KindChoice {
		return false
	}
	_, code := f.parseText(text)
	return code == ""
}

// A loginClash is a sign-in name that an account has and another answers to.
type loginClash struct {
	Field        *Field
	user, holder uuid.UUID
}

// LoginClashes returns the login fields by which an account is not found, because
// another answers to their value: one whose own kind of field it is, as an address
// is its owner's, or else by a field that is tried before.
func LoginClashes(tx store.Tx, login []*Field, u *store.User) ([]loginClash, error) {
	var clashes []loginClash
	for i, f := range login {
		text := TextOf(f.Get(u))
		if text == "" || HeldBack(u, f) {
			continue
		}
		own := f.Owns(text)
		for j, g := range login {
			if theirs := g.Owns(text); i == j || own && !theirs || own == theirs && i < j {
				continue // by f it is found first
			}
			holder, err := tx.UserByKey(g.Keyspace(), g.KeyOf(text))
			switch {
			case errors.Is(err, store.ErrNotFound):
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
func logLoginClashes(ctx context.Context, db store.Store, login []*Field, logger *zap.Logger) error {
	total := 0
	for after := uuid.Nil; ; {
		var found []loginClash
		last := uuid.Nil
		if err := db.View(ctx, func(tx store.Tx) error {
			found, last = nil, uuid.Nil
			users, err := tx.Users(after, keyBatch)
			for _, u := range users {
				last = u.ID
				clashes, err := LoginClashes(tx, login, u)
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
					zap.String("field", c.Field.Name), zap.String("account", c.user.String()), zap.String("holder", c.holder.String()))
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

// HeldBack reports whether what an account has in a field is not its own yet: the
// address that it waits to confirm, wherever it stands.
func HeldBack(u *store.User, f *Field) bool {
	if !u.EmailPending {
		return false
	}
	if f.Name == Email {
		return true
	}
	text := TextOf(f.Get(u))
	return MeansAddress(text) && EmailKey(strings.TrimSpace(text)) == EmailKey(u.Email)
}

// MeansAddress reports whether a text is an address, or is compared as one:
// letters of full width mean the same as plain ones.
func MeansAddress(text string) bool {
	_, ok := parseEmail(EmailKey(strings.TrimSpace(text)))
	return ok
}
