// invite.go: invitations to sign up: an owner makes them, and a sign-up uses one up
// in its own transaction.

package account

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// What an invitation is good for where its maker doesn't say, and at most.
const (
	InvitationLifetime    = 7 * 24 * time.Hour
	MaxInvitationLifetime = 366 * 24 * time.Hour
)

// A NewInvitation is what an owner says of an invitation.
type NewInvitation struct {
	// Email is whom it is for; empty: anybody who has it. Who signs up by one that
	// names an address has confirmed that, and can take no other.
	Email  string
	Groups []string
	// Uses is how many sign-ups it is good for; 0: one.
	Uses int
	// Lifetime is how long it is good; 0: InvitationLifetime.
	Lifetime time.Duration
	// Note is for the owner alone.
	Note string
}

// read checks what an owner has said, and makes an invitation of it.
func (a *Accounts) readInvitation(wanted NewInvitation) (*store.Invitation, error) {
	now := a.Time()
	i := &store.Invitation{Groups: slices.Clone(wanted.Groups), Note: wanted.Note, Created: now, Uses: wanted.Uses}
	var errs refusal.FieldErrors
	if wanted.Email != "" {
		u := &store.User{}
		field.Input{field.Email: textValue(wanted.Email)}.Field(a.Policy.Fields.ByName[field.Email], true, u, &errs)
		i.Email = u.Email
	}
	checkGroups(i.Groups, &errs)
	if len(wanted.Note) > store.MaxInvitationNote {
		errs.Add("note", refusal.CodeMaxLength, text.Params{"max": store.MaxInvitationNote})
	}
	if i.Uses == 0 {
		i.Uses = 1
	}
	switch {
	case i.Uses < 0:
		errs.Add("uses", refusal.CodeMinValue, text.Params{"min": 1})
	case i.Uses > store.MaxInvitationUses:
		errs.Add("uses", refusal.CodeMaxValue, text.Params{"max": store.MaxInvitationUses})
	}
	lifetime := wanted.Lifetime
	if lifetime == 0 {
		lifetime = InvitationLifetime
	}
	if lifetime < time.Second || lifetime > MaxInvitationLifetime {
		errs.Add("expires", refusal.CodeInvalid)
	}
	i.Expires = now.Add(lifetime).Truncate(time.Second)
	return i, errs.Err()
}

// ErrClosed says that nobody could use an invitation.
var ErrClosed = errors.New("nobody can use an invitation where sign-up is closed; write register { mode invite }")

// Invite makes an invitation and returns it with its link, which is not kept: only a
// hash of the token in it is. An address that is somebody's is
// CodeEmailAlreadyRegistered: an owner may know. Without a page that the link would
// lead to, it is ErrNoLink; where sign-up is closed, ErrClosed.
func (a *Accounts) Invite(ctx context.Context, wanted NewInvitation) (*store.Invitation, string, error) {
	page := a.Links[sign.PurposeInvitation]
	if a.Policy.Register.Mode == ModeClosed {
		return nil, "", ErrClosed
	}
	if page == "" {
		return nil, "", ErrNoLink
	}
	i, err := a.readInvitation(wanted)
	if err != nil {
		return nil, "", err
	}
	if i.ID, err = uuid.NewV7(); err != nil {
		return nil, "", refusal.Unavailable(err)
	}
	token, hash := session.NewToken()
	i.Hash = hash
	link, err := sign.WithParams(page, url.Values{sign.ParamInvitation: {token}})
	if err != nil {
		return nil, "", err
	}
	err = a.Update(ctx, func(t *Txn) error {
		if i.Email != "" {
			switch _, err := a.addressHolder(t, i.Email); {
			case err == nil:
				return refusal.New(refusal.CodeEmailAlreadyRegistered)
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
		}
		if err := t.PutInvitation(i); err != nil {
			return err
		}
		return t.Audit(audit.InvitationCreated, uuid.Nil, "invitation", i.ID.String())
	})
	if err != nil {
		return nil, "", err
	}
	return i, link, nil
}

// Invitations returns up to limit invitations in order of their making, behind after.
func (a *Accounts) Invitations(ctx context.Context, after uuid.UUID, limit int) (list []*store.Invitation, err error) {
	err = a.View(ctx, func(tx store.Tx) (err error) {
		list, err = tx.Invitations(after, limit)
		return err
	})
	return list, err
}

// RevokeInvitation ends an invitation. Accounts that have come of it stay. An unknown
// one is CodeInvitationInvalid.
func (a *Accounts) RevokeInvitation(ctx context.Context, id uuid.UUID) error {
	return a.Update(ctx, func(t *Txn) error {
		err := t.DeleteInvitation(id)
		if errors.Is(err, store.ErrNotFound) {
			return refusal.New(refusal.CodeInvitationInvalid)
		}
		if err != nil {
			return err
		}
		return t.Audit(audit.InvitationRevoked, uuid.Nil, "invitation", id.String())
	})
}

// InvitationOf returns the invitation that an input brings, nil where it brings none.
// One that can't be used is CodeInvitationInvalid, whatever is the matter with it.
// It changes nothing.
func (a *Accounts) InvitationOf(ctx context.Context, in field.Input) (i *store.Invitation, err error) {
	if v := in[sign.ParamInvitation]; v.Kind == field.ValueAbsent || v.Kind == field.ValueText && in.Text(sign.ParamInvitation) == "" {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	hash, ok := session.HashToken(in.Text(sign.ParamInvitation))
	if !ok {
		return nil, refusal.New(refusal.CodeInvitationInvalid)
	}
	err = a.View(ctx, func(tx store.Tx) (err error) {
		i, err = a.goodInvitation(tx, hash)
		return err
	})
	return i, err
}

func (a *Accounts) goodInvitation(tx store.Tx, hash store.TokenHash) (*store.Invitation, error) {
	i, err := tx.InvitationByHash(hash)
	if errors.Is(err, store.ErrNotFound) || err == nil && !i.Good(a.Now()) {
		return nil, refusal.New(refusal.CodeInvitationInvalid)
	}
	return i, err
}

// isFor reports whether an account has the address that an invitation names, if any.
func isFor(i *store.Invitation, u *store.User) bool {
	return i.Email == "" || field.EmailKey(i.Email) == field.EmailKey(u.Email)
}

// useInvitation is part of the sign-up of u: it counts the use and gives the groups.
// One that names u's address confirms it, unless that is somebody's: then u waits,
// like any other who signs up with it.
func (a *Accounts) useInvitation(t *Txn, hash store.TokenHash, u *store.User) error {
	i, err := a.goodInvitation(t, hash)
	if err != nil {
		return err
	}
	if !isFor(i, u) {
		return refusal.New(refusal.CodeInvitationInvalid)
	}
	i.Used++
	if err := t.PutInvitation(i); err != nil {
		return err
	}
	u.Groups = slices.Clone(i.Groups)
	if i.Email == "" {
		return nil
	}
	switch holder, err := a.addressHolder(t, u.Email); {
	case errors.Is(err, store.ErrNotFound) || err == nil && holder.ID == u.ID:
		confirmAccount(u)
		return nil
	default:
		return err
	}
}

// SweepInvitations forgets the invitations whose time is over, in batches.
func SweepInvitations(ctx context.Context, p *outbox.Courier, db store.Store) error {
	for {
		removed := 0
		err := db.Update(ctx, func(tx store.Tx) (err error) {
			removed, err = tx.DeleteInvitations(p.Now(), session.SweepChunk)
			return err
		})
		if err != nil || removed < session.SweepChunk {
			return err
		}
	}
}
