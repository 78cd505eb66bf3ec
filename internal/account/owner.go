// owner.go: what the owner of a site does with accounts: he makes one, and sets
// what people set for themselves otherwise. He may give away reserved names, and
// what he says of an address counts as confirmed.

package account

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/names"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A NewAccount is what an owner says of an account that he makes.
type NewAccount struct {
	Username string
	// Email may be empty. It counts as confirmed.
	Email  string
	Groups []string
	// Password is empty where the person is to set one by a link (ResetLink): until
	// then nobody signs in.
	Password string
	// Fields are values of other fields, by name, as a form has them. What is
	// required at sign-up may be missing.
	Fields field.Input
}

// Create makes an account that is active at once. Refusals come together, by field.
func (a *Accounts) Create(ctx context.Context, wanted NewAccount) (*store.User, error) {
	u := &store.User{IsActive: true, DateJoined: a.Time(), EmailVerified: wanted.Email != "", Groups: slices.Clone(wanted.Groups)}
	var errs refusal.FieldErrors
	in := field.Input{field.Username: textValue(wanted.Username), field.Email: textValue(wanted.Email)}
	maps.Copy(in, wanted.Fields)
	a.ReadAsOwner(in, u, &errs)
	a.ChooseAsOwner(u, &errs)
	CheckGroups(u.Groups, &errs)
	a.NeedsLogin(nil, u, &errs)
	var all refusal.FieldErrors
	err := a.View(ctx, func(tx store.Tx) error {
		all = slices.Clone(errs)
		return a.TakenAsOwner(tx, u, &all)
	})
	if err != nil {
		return nil, err
	}
	if wanted.Password != "" {
		if err := a.checkNewPassword(ctx, wanted.Password, nil, u, &all); err != nil {
			return nil, err
		}
	}
	if err := all.Err(); err != nil {
		return nil, err
	}
	if wanted.Password != "" {
		if u.PasswordHash, err = a.Hasher.Hash(ctx, wanted.Password, a.Policy.Hash); err != nil {
			return nil, HashError(err)
		}
	}
	if u.ID, err = uuid.NewV7(); err != nil {
		return nil, refusal.Unavailable(err)
	}
	err = a.Update(ctx, func(t *Txn) error {
		var errs refusal.FieldErrors
		if err := a.TakenAsOwner(t, u, &errs); err != nil {
			return err
		}
		if err := errs.Err(); err != nil {
			return err
		}
		if err := a.asAdmin(t); err != nil {
			return err
		}
		if err := t.Audit(audit.AccountRegistered, u.ID, "by", "administrator", detailAdded, without(u.Groups, nil)); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// newHash is the hash of a password that the validators find nothing wrong with.
func (a *Accounts) newHash(ctx context.Context, pass string, u *store.User) (string, error) {
	var errs refusal.FieldErrors
	if err := a.checkNewPassword(ctx, pass, nil, u, &errs); err != nil {
		return "", err
	}
	if err := errs.Err(); err != nil {
		return "", err
	}
	hash, err := a.Hasher.Hash(ctx, pass, a.Policy.Hash)
	if err != nil {
		return "", HashError(err)
	}
	return hash, nil
}

// OwnNames are the built-in fields that an owner gives values.
var OwnNames = []string{field.Username, field.Email, field.FirstName, field.LastName, field.Language}

// ReadAsOwner reads the fields that an input mentions: those of the configuration,
// and of the built-in ones the names and the address.
func (a *Accounts) ReadAsOwner(in field.Input, u *store.User, errs *refusal.FieldErrors) {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		f, ok := a.Policy.Fields.ByName[name]
		if !ok || !f.Extra && !slices.Contains(OwnNames, name) {
			errs.Add(name, refusal.CodeInvalid)
			continue
		}
		in.Field(f, false, u, errs)
	}
}

// ChooseAsOwner is choose for an owner, who may give away names that are kept back.
func (a *Accounts) ChooseAsOwner(u *store.User, errs *refusal.FieldErrors) {
	if u.Username == "" || errs.Has(field.Username) {
		return
	}
	switch {
	case names.BadStart(u.Username):
		errs.AddInvalid(field.Username, "invalid.username_start")
	case names.IsUUID(field.UniqueKey(u.Username)):
		errs.AddInvalid(field.Username, "invalid.username_reserved")
	case a.foreignAddress(u, u.Username):
		errs.AddInvalid(field.Username, "invalid.foreign_address")
	}
}

// TakenAsOwner is taken for an owner, who may give away a name that somebody has left.
func (a *Accounts) TakenAsOwner(tx store.Tx, u *store.User, errs *refusal.FieldErrors) error {
	if err := a.takenKeys(tx, u, errs); err != nil {
		return err
	}
	if u.Email != "" && !errs.Has(field.Email) {
		switch left, err := a.emailTaken(tx, u, u.Email); {
		case err != nil:
			return err
		case left:
			_, params, err := a.keptFor(tx, u.Email)
			if err != nil {
				return err
			}
			*errs = append(*errs, refusal.FieldError{Field: field.Email, Code: refusal.CodeUnique, Message: refusal.EmailKept, Params: params})
		}
	}
	return nil
}

// keptFor says for whom an address is kept, and until when, as refusal.EmailKept has it:
// for owners alone. No account: it isn't.
func (a *Accounts) keptFor(tx store.Tx, email string) (*store.User, text.Params, error) {
	u, err := a.FormerHolder(tx, email)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return nil, nil, err
	}
	name := cmp.Or(u.Username, u.Email, u.ID.String())
	return u, text.Params{"name": name, "until": text.OnDate(u.Former[formerIndex(u, email)].Until)}, nil
}

// ownersRefusal is what an owner is told of an address that holder has, or keeps.
func (a *Accounts) ownersRefusal(tx store.Tx, email string, holder *store.User) error {
	kept, params, err := a.keptFor(tx, email)
	if err != nil {
		return err
	}
	if kept == nil || kept.ID != holder.ID || field.EmailKey(holder.Email) == field.EmailKey(email) {
		params = nil
	}
	return &refusal.Error{Code: refusal.CodeEmailAlreadyRegistered, Params: params}
}

// CheckGroups refuses groups that no account can have.
func CheckGroups(groups []string, errs *refusal.FieldErrors) {
	if len(groups) > MaxGroups || slices.ContainsFunc(groups, func(g string) bool { return !identity.IsGroup(g) }) {
		errs.Add(field.Groups, refusal.CodeInvalid)
	}
}

// SetPassword gives an account a password that the owner names, and ends its
// sign-ins, links and known devices. The person is told by mail.
func (a *Accounts) SetPassword(ctx context.Context, id uuid.UUID, pass string, client Client) (*store.User, error) {
	before, err := a.LookupID(ctx, id.String())
	if err != nil {
		return nil, err
	}
	hash, err := a.newHash(ctx, pass, before)
	if err != nil {
		return nil, err
	}
	return a.change(ctx, id, func(t *Txn, u *store.User) error {
		a.setHash(u, hash)
		u.Generation++
		device.ForgetAll(u)
		if err := t.EndSessions(u, nil); err != nil {
			return err
		}
		if err := t.Audit(audit.PasswordChanged, u.ID); err != nil {
			return err
		}
		return a.tellOwner(t, store.MailPasswordChanged, u, client)
	})
}

// SetUsername renames an account and tells it by mail. Its sign-ins stay.
func (a *Accounts) SetUsername(ctx context.Context, id uuid.UUID, username string, client Client) (*store.User, error) {
	return a.change(ctx, id, func(t *Txn, u *store.User) error {
		old, before := u.Username, *u
		var errs refusal.FieldErrors
		a.ReadAsOwner(field.Input{field.Username: textValue(username)}, u, &errs)
		a.ChooseAsOwner(u, &errs)
		a.NeedsLogin(&before, u, &errs)
		if err := a.TakenAsOwner(t, u, &errs); err != nil {
			return err
		}
		if err := errs.Err(); err != nil {
			return err
		}
		if err := a.rename(t, u, old); err != nil {
			return err
		}
		if u.Username == old {
			return nil
		}
		return a.tellOwner(t, store.MailLoginChanged, u, client)
	})
}

// SetEmail gives an account another address, which counts as confirmed, or none.
// The old one gets the mail that can take it back; the account's sign-ins end.
func (a *Accounts) SetEmail(ctx context.Context, id uuid.UUID, email string, client Client) (*store.User, error) {
	return a.change(ctx, id, func(t *Txn, u *store.User) error {
		old, proven, before := u.Email, u.EmailVerified, *u
		var errs refusal.FieldErrors
		a.ReadAsOwner(field.Input{field.Email: textValue(email)}, u, &errs)
		a.NeedsLogin(&before, u, &errs)
		u.EmailVerified = u.Email != ""
		if err := a.TakenAsOwner(t, u, &errs); err != nil {
			return err
		}
		if err := errs.Err(); err != nil {
			return err
		}
		waited := u.AwaitsVerification
		giveEmail(u)
		u.IsActive = u.IsActive || waited && !u.AwaitsApproval
		waits := waited && StateOf(u) == StateWaiting // he comes to wait for the owner by this
		if field.EmailKey(old) == field.EmailKey(u.Email) {
			return nil
		}
		u.Generation++
		if waits {
			if err := a.announce(t, u); err != nil {
				return err
			}
		}
		if err := t.EndSessions(u, nil); err != nil {
			return err
		}
		if err := t.Audit(audit.EmailChanged, u.ID, "by", "administrator"); err != nil {
			return err
		}
		return a.leftEmail(t, u, old, proven, client)
	})
}

// SetGroups adds an account to groups and takes it out of others.
func (a *Accounts) SetGroups(ctx context.Context, id uuid.UUID, add, remove []string) (*store.User, error) {
	return a.change(ctx, id, func(_ *Txn, u *store.User) error {
		groups := slices.DeleteFunc(slices.Clone(u.Groups), func(g string) bool { return slices.Contains(remove, g) })
		for _, g := range add {
			if !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
		var errs refusal.FieldErrors
		if len(groups) > len(u.Groups) {
			CheckGroups(groups, &errs)
		}
		u.Groups = groups
		return errs.Err()
	})
}

// EndSignIns signs an account out everywhere: sessions, tokens, links and known devices.
func (a *Accounts) EndSignIns(ctx context.Context, id uuid.UUID) (*store.User, error) {
	if err := a.endMany(ctx, id); err != nil {
		return nil, err
	}
	return a.change(ctx, id, func(t *Txn, u *store.User) error {
		u.Generation++
		return errors.Join(t.EndSessions(u, nil), t.Audit(audit.SessionsEnded, u.ID, "which", "all"))
	})
}

// SignInsOf returns the sign-ins of an account that have not ended, as ListSessions does: the
// latest used first.
func (a *Accounts) SignInsOf(ctx context.Context, u *store.User) (list []*store.Session, err error) {
	err = a.View(ctx, func(tx store.Tx) (err error) {
		all, err := tx.Sessions(u.ID, maxShownSignIns)
		list = slices.DeleteFunc(all, func(s *store.Session) bool {
			return s.Epoch != u.Epoch(s.Kind) || !s.Expires.After(a.Now())
		})
		return err
	})
	slices.SortFunc(list, latestUsed)
	return list, err
}

// maxShownSignIns bounds what SignInsOf reads.
const maxShownSignIns = 500

// change is an owner's act on one account.
func (a *Accounts) change(ctx context.Context, id uuid.UUID, act func(*Txn, *store.User) error) (u *store.User, err error) {
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(id); err != nil {
			return userNotFound(err)
		}
		before := *u
		before.Extra = maps.Clone(u.Extra)
		if err := a.asAdmin(t); err != nil {
			return err
		}
		if err := act(t, u); err != nil {
			return err
		}
		if err := a.keepAdmin(t, &before, u); err != nil {
			return err
		}
		if err := a.AuditProfile(t, &before, u); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

func textValue(s string) field.Value { return field.Value{Kind: field.ValueText, Text: s} }
