// invite.go: invitations to sign up: an owner makes them, and a sign-up uses one up
// in its own transaction.

package account

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
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
	invitationLifetime    = 7 * 24 * time.Hour
	MaxInvitationLifetime = 366 * 24 * time.Hour
)

// A NewInvitation is what an owner says of an invitation.
type NewInvitation struct {
	// Email is whom it is for; empty: anybody who has it. Who signs up by one that
	// names an address has confirmed that, and can take no other.
	Email  string
	Groups []string
	// Uses is how many sign-ups it is good for; 0: one, as it has to be with an Email.
	Uses int
	// Lifetime is how long it is good; 0: invitationLifetime.
	Lifetime time.Duration
	// Note is for the owner alone.
	Note string
	// Mail sends the link to Email.
	Mail bool
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
	} else if wanted.Mail {
		errs.Add(field.Email, refusal.CodeRequired)
	}
	CheckGroups(i.Groups, &errs)
	if len(wanted.Note) > store.MaxInvitationNote {
		errs.Add("note", refusal.CodeMaxLength, text.Params{"max": store.MaxInvitationNote})
	}
	if i.Uses == 0 {
		i.Uses = 1
	}
	switch {
	case i.Uses < 0:
		errs.Add("uses", refusal.CodeMinValue, text.Params{"min": 1})
	case i.Uses > 1 && wanted.Email != "": // an address is one account's
		errs = append(errs, refusal.FieldError{Field: "uses", Code: refusal.CodeMaxValue, Params: text.Params{"max": 1}, Message: "invalid.invited_uses"})
	case i.Uses > store.MaxInvitationUses:
		errs.Add("uses", refusal.CodeMaxValue, text.Params{"max": store.MaxInvitationUses})
	}
	lifetime := wanted.Lifetime
	if lifetime == 0 {
		lifetime = invitationLifetime
	}
	if lifetime < time.Second || lifetime > MaxInvitationLifetime {
		errs.Add("expires", refusal.CodeInvalid)
	}
	i.Expires = now.Add(lifetime).Truncate(time.Second)
	return i, errs.Err()
}

// ErrUnconfirmable says that who signs up by an invitation could never sign in.
var ErrUnconfirmable = errors.New("this configuration sends no mail by which an address could be confirmed; name the address in the invitation, or write from and mailer")

// ErrNoMailer says that nobody would deliver a mail.
var ErrNoMailer = errors.New("this configuration sends no mail; write from and mailer, or hand the link out yourself")

// Invite makes an invitation and returns it with its link, which is not kept: only a
// hash of the token in it is. An address that is somebody's is
// CodeEmailAlreadyRegistered: an owner may know. Without a page that the link would
// lead to, it is ErrNoLink; where the link is to be mailed and can't be, ErrNoMailer; where it
// would need another mail that nobody sends, ErrUnconfirmable.
func (a *Accounts) Invite(ctx context.Context, wanted NewInvitation) (*store.Invitation, string, error) {
	page := a.Links[sign.PurposeInvitation]
	if page == "" {
		return nil, "", ErrNoLink
	}
	if wanted.Mail && !a.Policy.SendsMail {
		return nil, "", ErrNoMailer
	}
	if wanted.Email == "" && a.Policy.Register.Verification && !a.Policy.SendsMail {
		return nil, "", ErrUnconfirmable
	}
	i, err := a.readInvitation(wanted)
	if err != nil {
		return nil, "", err
	}
	if i.ID, err = uuid.NewV7(); err != nil {
		return nil, "", refusal.Unavailable(err)
	}
	var token string
	if token, i.Hash = session.NewToken(); wanted.Mail { // which is made again when it is sent
		token = a.Signer.InvitationTokens(i.ID)[0]
		i.Hash, _ = session.HashToken(token)
	}
	link, err := sign.WithParams(page, url.Values{sign.ParamInvitation: {token}})
	if err != nil {
		return nil, "", err
	}
	err = a.Update(ctx, func(t *Txn) error {
		if err := a.asAdmin(t); err != nil {
			return err
		}
		if i.Email != "" {
			switch holder, err := a.addressHolder(t, i.Email); {
			case err == nil:
				return a.ownersRefusal(t, i.Email, holder)
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
		}
		if err := t.PutInvitation(i); err != nil {
			return err
		}
		if wanted.Mail {
			if _, err := a.mailByOwner(t, &store.Mail{Kind: store.MailInvitation, To: i.Email, Invitation: i.ID}); err != nil {
				return err
			}
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
		if err := a.asAdmin(t); err != nil {
			return err
		}
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

// PrepareMail fills in what a row of the outbox says only when it is sent. A reason says
// that the message isn't wanted any more.
func (a *Accounts) PrepareMail(tx store.Tx, m *store.Mail) (reason string, err error) {
	switch {
	case m.Kind == store.MailSignUps:
		return a.prepareSignUps(tx, m)
	case m.Invitation == uuid.Nil:
		return "", nil
	}
	i, err := tx.Invitation(m.Invitation)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !i.Good(a.Now()):
		return "the invitation can't be used any more", nil
	case err != nil:
		return "", err
	}
	m.State = append(i.Hash[:], sign.Claim{Time: i.Expires}.Timestamp()...)
	return "", nil
}

// errNoToken says that the link of an invitation can't be made any more.
var errNoToken = errors.New("the secret has changed since the invitation was made: make another one")

// MailedInvitation returns the token of the invitation that a prepared message is about,
// and its end.
func MailedInvitation(s *sign.Signer, m *store.Mail) (token string, until time.Time, err error) {
	var hash store.TokenHash
	if len(m.State) < len(hash) {
		return "", until, errNoToken
	}
	unix, err := strconv.ParseInt(string(m.State[copy(hash[:], m.State):]), 10, 64)
	if err != nil {
		return "", until, err
	}
	for _, token := range s.InvitationTokens(m.Invitation) {
		if h, _ := session.HashToken(token); h == hash {
			return token, time.Unix(unix, 0), nil
		}
	}
	return "", until, errNoToken
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
	if u.AwaitsVerification {
		u.Invitation = i.ID
	}
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

// giveBack is part of the end of an account: if nobody has ever confirmed it, the
// invitation that it came by is as if it had not been used.
func giveBack(tx store.Tx, u *store.User) error {
	if u.Invitation == uuid.Nil || !u.AwaitsVerification {
		return nil
	}
	i, err := tx.Invitation(u.Invitation)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil || i.Used == 0:
		return err
	}
	i.Used--
	return tx.PutInvitation(i)
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

// stillInvited refuses an address that the account could not have signed up with.
func (a *Accounts) stillInvited(tx store.Tx, before, u *store.User, errs *refusal.FieldErrors) error {
	if u.Invitation == uuid.Nil {
		if !errs.Has(field.Email) {
			a.checkAddress(u.Email, errs)
		}
		return nil
	}
	i, err := tx.Invitation(u.Invitation)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case errs.Has(field.Email):
	case (err != nil || i.Email != "") && field.EmailKey(before.Email) != field.EmailKey(u.Email):
		errs.AddInvalid(field.Email, "invalid.invited_address")
	case !a.Policy.AdmitsAddress(u.Email, true) && (err != nil || i.Email == ""):
		errs.Add(field.Email, refusal.CodeDomainNotAllowed)
	}
	return nil
}
