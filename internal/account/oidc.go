// oidc.go: accounts elsewhere: how one signs somebody in or up, and how it is linked to an
// account and unlinked. That somebody has it internal/oidc finds out.

package account

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/oidc"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ParamProvider is the member that names a provider. It is also what a change of an account
// without a password asks for: a new sign-in by one.
const ParamProvider = "provider"

// maxLinked bounds the accounts elsewhere that one here is linked to.
const maxLinked = 20

// The methods of a sign-in by an account elsewhere (store.Session.AMR): RFC 8176 has none.
// The second is the method of a challenge of who has shown two factors there.
const (
	methodFederated      = "fed"
	methodFederatedMulti = "fed mfa"
)

// Provider returns the provider of this name, nil for none.
func (p *Policy) Provider(name string) *oidc.Provider {
	if i := slices.IndexFunc(p.Login.Providers, func(p *oidc.Provider) bool { return p.Name == name }); i >= 0 {
		return p.Login.Providers[i]
	}
	return nil
}

// ProviderOf returns the provider that an account elsewhere is one of, nil where there is
// none any more.
func (p *Policy) ProviderOf(l *store.LinkedAccount) *oidc.Provider {
	if i := slices.IndexFunc(p.Login.Providers, func(p *oidc.Provider) bool { return p.Issues(l.Issuer) }); i >= 0 {
		return p.Login.Providers[i]
	}
	return nil
}

// byProvider reports whether an account can be signed in to by one elsewhere.
func (p *Policy) byProvider(u *store.User) bool {
	return slices.ContainsFunc(u.LinkedAccounts, func(l store.LinkedAccount) bool { return p.ProviderOf(&l) != nil })
}

// hasPassword reports whether the password of an account opens anything.
func (p *Policy) hasPassword(u *store.User) bool { return p.Login.Password && u.PasswordHash != "" }

// keepsWayIn refuses a change that leaves an account nothing to sign in by.
func (a *Accounts) keepsWayIn(u *store.User) error {
	if a.Policy.hasPassword(u) || a.passkeys() != nil && u.HasFactor(store.FactorPasskey) || a.Policy.byProvider(u) {
		return nil
	}
	return refusal.New(refusal.CodeLastWayIn)
}

// A Stranger is who has an account elsewhere that is linked to none here.
type Stranger struct {
	// Known: an account here has his address, which the provider has verified.
	Known bool
}

// SignInFrom signs in whoever has this account elsewhere. Where it is linked to none here,
// nobody is signed in and got says nothing: stranger says what is known of him.
func (a *Accounts) SignInFrom(ctx context.Context, p *oidc.Provider, who *oidc.Identity, client Client, old *store.Session) (got SignedIn, stranger *Stranger, err error) {
	first := methodFederated
	if p.TrustAMR && who.Multi {
		first = methodFederatedMulti
	}
	err = a.Update(ctx, func(t *Txn) error {
		got, stranger = SignedIn{}, nil
		u, err := a.ownerOf(t, who)
		if errors.Is(err, store.ErrNotFound) {
			if u, err = a.unclaimed(t, who, client); u == nil {
				stranger, err = a.strangerIn(t, who, err)
				return err
			}
		}
		if err != nil {
			return err
		}
		got.User = u
		if !letsBegin(u) {
			return whyNot(u, true)
		}
		l := u.LinkedTo(who.Issuer, who.Subject)
		l.LastUsed, l.Name = a.Time(), cmp.Or(nameOf(who), l.Name)
		if got.Challenge = a.asks(u, first); got.Challenge != nil {
			return a.PutUser(t, u)
		}
		if got.Grant, err = a.letIn(t, u, client, old, shownBy(first)...); err != nil {
			return err
		}
		return a.shownThere(t, got.Grant, who)
	})
	switch {
	case err != nil:
		got.Challenge, got.Grant = nil, nil
		if Refused(err) {
			a.guessed(ctx, got.User, "oidc-callback", err)
		}
	case got.Challenge != nil:
		a.challenge(got.Challenge, got.User, first, client)
	case got.Grant != nil:
		err = a.addAccessToken(ctx, got.User, got.Grant)
	}
	return got, stranger, err
}

// ownerOf returns the account to which one elsewhere is linked, or ErrNotFound.
func (a *Accounts) ownerOf(tx store.Tx, who *oidc.Identity) (*store.User, error) {
	return tx.UserByKey(store.LinkedKey, store.LinkedValue(who.Issuer, who.Subject))
}

// strangerIn says what is known of who has an account elsewhere that is linked to none.
func (a *Accounts) strangerIn(tx store.Tx, who *oidc.Identity, err error) (*Stranger, error) {
	if err != nil || !who.EmailVerified {
		return &Stranger{}, err
	}
	_, err = a.addressHolder(tx, who.Email)
	if errors.Is(err, store.ErrNotFound) {
		return &Stranger{}, nil
	}
	return &Stranger{Known: true}, err
}

// unclaimed links the account of a verified address where no password is asked for: there is
// nothing else by which its owner could show that it is his. nil: there is none.
func (a *Accounts) unclaimed(t *Txn, who *oidc.Identity, client Client) (*store.User, error) {
	if a.Policy.Login.Password || !who.EmailVerified {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	u, err := t.UserByKey(field.Email, field.EmailKey(who.Email))
	if errors.Is(err, store.ErrNotFound) || err == nil && (!u.EmailVerified || u.EmailPending || a.Policy.byProvider(u)) {
		return nil, nil //nolint:nilnil // as above
	}
	if err != nil {
		return nil, err
	}
	before := len(u.LinkedAccounts)
	if err := a.linkTo(t, u, who); err != nil {
		return nil, err
	}
	return u, a.tellLinked(t, u, before, client)
}

// shownThere notes on a sign-in when its owner has shown elsewhere who he is, where that was
// before it.
func (a *Accounts) shownThere(t *Txn, g *session.Grant, who *oidc.Identity) error {
	if who.AuthTime.IsZero() || !who.AuthTime.Before(a.Time()) {
		return nil
	}
	var errs []error
	for _, s := range []*store.Session{g.Session, g.Family} {
		if s != nil {
			s.AuthTime = who.AuthTime
			errs = append(errs, t.PutSession(s))
		}
	}
	return errors.Join(errs...)
}

// nameOf is what the owner of an account elsewhere knows it by.
func nameOf(who *oidc.Identity) string {
	name := cmp.Or(who.Email, who.Username, who.Name)
	name = strings.Join(strings.Fields(asTyped(name)), " ")
	for len(name) > 254 {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return strings.ToValidUTF8(name, "")
}

// linkTo links an account elsewhere to u. The caller writes u.
func (a *Accounts) linkTo(t *Txn, u *store.User, who *oidc.Identity) error {
	switch other, err := a.ownerOf(t, who); {
	case err == nil && other.ID != u.ID:
		return refusal.New(refusal.CodeLinkedTaken)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case u.LinkedTo(who.Issuer, who.Subject) != nil: // it was done already
		return nil
	case len(u.LinkedAccounts) >= maxLinked:
		return refusal.New(refusal.CodeLinkedLimit)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	u.FormerLinked = slices.DeleteFunc(u.FormerLinked, func(l store.FormerLinked) bool { return l.Issuer == who.Issuer && l.Subject == who.Subject })
	u.LinkedAccounts = append(u.LinkedAccounts, store.LinkedAccount{
		ID: id, Issuer: who.Issuer, Subject: who.Subject, Name: nameOf(who), Created: a.Time(), LastUsed: a.Time(), EmailChanges: u.EmailChanges,
	})
	return t.Audit(audit.AccountLinked, u.ID, "issuer", who.Issuer, "linked", id.String())
}

// tellLinked mails the owner of an account that one elsewhere was linked to it last, with
// the link that takes it back.
func (a *Accounts) tellLinked(t *Txn, u *store.User, before int, client Client) error {
	if len(u.LinkedAccounts) == before {
		return nil
	}
	return a.mailAboutFactor(t, store.MailFactorAdded, u, u.LinkedAccounts[len(u.LinkedAccounts)-1].ID, client)
}

// Link links an account elsewhere to that of who asks, as he has shown once more.
func (a *Accounts) Link(ctx context.Context, p session.Principal, who *oidc.Identity, in field.Input, client Client) (*store.User, error) {
	return a.withSudo(ctx, p, in, client, func(t *Txn, u *store.User) error { return a.linkAndTell(t, u, who, client) })
}

// LinkBegun is Link at the end of what BeginLink has let begin, in the same sign-in.
func (a *Accounts) LinkBegun(ctx context.Context, p session.Principal, who *oidc.Identity, client Client) (u *store.User, err error) {
	err = a.Update(ctx, func(t *Txn) error {
		if _, err := t.Session(p.Session.Hash); err != nil {
			return notSignedIn(err)
		}
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if err := a.linkAndTell(t, u, who, client); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	return u, err
}

func (a *Accounts) linkAndTell(t *Txn, u *store.User, who *oidc.Identity, client Client) error {
	before := len(u.LinkedAccounts)
	if err := a.linkTo(t, u, who); err != nil {
		return err
	}
	return a.tellLinked(t, u, before, client)
}

// BeginLink refuses who may not link an account elsewhere to his own.
func (a *Accounts) BeginLink(ctx context.Context, p session.Principal, in field.Input, client Client) (u *store.User, err error) {
	stillGood, err := a.reauthenticate(ctx, p, in)
	if err != nil {
		return nil, err
	}
	if err := client.pay(); err != nil {
		return nil, err
	}
	err = a.Update(ctx, func(t *Txn) error {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if len(u.LinkedAccounts) >= maxLinked {
			return refusal.New(refusal.CodeLinkedLimit)
		}
		return stillGood(t, u)
	})
	return u, err
}

// Unlink takes away an account elsewhere. The last way in stays.
func (a *Accounts) Unlink(ctx context.Context, p session.Principal, in field.Input, client Client) (*store.User, error) {
	var errs refusal.FieldErrors
	id := factorID(in, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if p.User.Linked(id) == nil {
		return nil, refusal.New(refusal.CodeLinkedNotFound)
	}
	return a.withSudo(ctx, p, in, client, func(t *Txn, u *store.User) error {
		l := u.Linked(id)
		if l == nil {
			return refusal.New(refusal.CodeLinkedNotFound)
		}
		if err := a.unlink(t, u, *l, client); err != nil {
			return err
		}
		return a.keepsWayIn(u)
	})
}

// UnlinkFor is Unlink by an owner of the site: for who has lost his account elsewhere, or to
// somebody else, so that it ends all sign-ins too. The last way in may go; an owner can give
// another. The person is mailed a link that brings it back, as after his own act.
func (a *Accounts) UnlinkFor(ctx context.Context, id, linked uuid.UUID, client Client) (*store.User, error) {
	return a.change(ctx, id, func(t *Txn, u *store.User) error {
		l := u.Linked(linked)
		if l == nil {
			return refusal.New(refusal.CodeLinkedNotFound)
		}
		if err := a.unlink(t, u, *l, client); err != nil {
			return err
		}
		u.Generation++ // sign-ins under way
		return t.EndSessions(u, nil)
	})
}

// unlink takes an account elsewhere from u and tells its owner. The caller writes u.
func (a *Accounts) unlink(t *Txn, u *store.User, l store.LinkedAccount, client Client) error {
	u.LinkedAccounts = slices.DeleteFunc(u.LinkedAccounts, func(other store.LinkedAccount) bool { return other.ID == l.ID })
	a.keepUnlinked(u, l)
	if err := t.Audit(audit.AccountUnlinked, u.ID, "issuer", l.Issuer, "linked", l.ID.String()); err != nil {
		return err
	}
	return a.mailAboutFactor(t, store.MailFactorRemoved, u, l.ID, client)
}

// keepUnlinked remembers what is unlinked, as keepFormer does a factor.
func (a *Accounts) keepUnlinked(u *store.User, l store.LinkedAccount) {
	former := store.FormerLinked{LinkedAccount: l, Until: a.Time().Add(UndoReserved), RemovedAt: u.EmailChanges}
	u.FormerLinked = keepRemoved(a, u.FormerLinked, former, maxLinked, func(l store.FormerLinked) time.Time { return l.Until })
}

// formerLinked is where in u.FormerLinked an account elsewhere stands, -1 for nowhere.
func formerLinked(u *store.User, id uuid.UUID) int {
	return slices.IndexFunc(u.FormerLinked, func(l store.FormerLinked) bool { return l.ID == id })
}

// LinkedOnce is an account elsewhere that u is linked to, or was until lately; nil: there is
// none.
func (a *Accounts) LinkedOnce(u *store.User, id uuid.UUID) *store.LinkedAccount {
	if i := formerLinked(u, id); i >= 0 {
		return &u.FormerLinked[i].LinkedAccount
	}
	return u.Linked(id)
}

// relink makes the accounts elsewhere of u as they were: those that gone names go, and of
// those that were unlinked come back whom back names, but for what is another's by now. The
// caller writes u.
func (a *Accounts) relink(t *Txn, u *store.User, gone func(*store.LinkedAccount) bool, back func(*store.FormerLinked) bool) error {
	var rows []error
	u.LinkedAccounts = slices.DeleteFunc(u.LinkedAccounts, func(l store.LinkedAccount) bool {
		if !gone(&l) {
			return false
		}
		rows = append(rows, t.Audit(audit.AccountUnlinked, u.ID, "issuer", l.Issuer, "linked", l.ID.String(), "by", "undo"))
		return true
	})
	u.FormerLinked = slices.DeleteFunc(u.FormerLinked, func(l store.FormerLinked) bool {
		if !back(&l) {
			return gone(&l.LinkedAccount) // it came and went since
		}
		_, err := t.UserByKey(store.LinkedKey, store.LinkedValue(l.Issuer, l.Subject))
		if !errors.Is(err, store.ErrNotFound) || len(u.LinkedAccounts) >= maxLinked {
			rows = append(rows, storeFailure(err))
			return true
		}
		u.LinkedAccounts = append(u.LinkedAccounts, l.LinkedAccount)
		rows = append(rows, t.Audit(audit.AccountLinked, u.ID, "issuer", l.Issuer, "linked", l.ID.String(), "by", "undo"))
		return true
	})
	return errors.Join(rows...)
}

// linkedSince is relink of all that was done since a moment, and of the one with this id.
func (a *Accounts) linkedSince(t *Txn, u *store.User, id uuid.UUID, at time.Time) error {
	return a.relink(t, u, func(l *store.LinkedAccount) bool {
		return l.ID == id && u.Linked(id) != nil || !l.Created.Before(at) && l.ID != id
	}, func(l *store.FormerLinked) bool {
		return l.ID == id || l.Created.Before(at) && !l.Until.Add(-UndoReserved).Before(at)
	})
}

// linkedSinceChange is relink of all that was done since a change of the address.
func (a *Accounts) linkedSinceChange(t *Txn, u *store.User, serial uint32) error {
	return a.relink(t, u, func(l *store.LinkedAccount) bool { return l.EmailChanges >= serial }, func(l *store.FormerLinked) bool {
		return l.RemovedAt >= serial && l.EmailChanges < serial
	})
}

// suggested is the input of a sign-up with what a provider says of a person, as far as he
// has written nothing himself; his address, where it is verified, whatever he has written.
func (a *Accounts) suggested(in field.Input, who *oidc.Identity) field.Input {
	out := maps.Clone(in)
	if out == nil {
		out = field.Input{}
	}
	for name, value := range map[string]string{field.FirstName: who.GivenName, field.LastName: who.FamilyName} {
		if _, wrong := a.Policy.Fields.ByName[name].Read(textValue(value), false); value != "" && wrong == nil && out[name].Kind == field.ValueAbsent {
			out[name] = textValue(value)
		}
	}
	if who.EmailVerified {
		out[field.Email] = textValue(who.Email)
	}
	return out
}

// SignUpFrom makes an account for who has one elsewhere, and signs him in by it: in has what
// a sign-up asks for besides. Its address counts as confirmed where the provider has verified
// it; else it is confirmed as that of any new account. All that is asked of a sign-up is
// asked of this one, but a password. Where the account elsewhere is linked already, that is
// a sign-in.
func (a *Accounts) SignUpFrom(ctx context.Context, p *oidc.Provider, who *oidc.Identity, in field.Input, client Client, old *store.Session) (u *store.User, got SignedIn, err error) {
	got, stranger, err := a.SignInFrom(ctx, p, who, client, old)
	if err != nil || stranger == nil {
		return got.User, got, err
	}
	if stranger.Known {
		return nil, got, refusal.New(refusal.CodeLinkedKnown)
	}
	if !client.Trial {
		defer func() { a.SignUpOver(err) }()
	}
	s := a.readSignUp(ctx, a.suggested(in, who), who, client)
	if err := a.admits(s); err != nil {
		return nil, got, a.notFound(err)
	}
	if s.invitation == nil {
		if err := a.checkCode(in, client, &s.refused); err != nil {
			return nil, got, err
		}
	}
	if u, err = a.signUp(ctx, s, client); err != nil {
		return nil, got, a.notFound(err)
	}
	if !u.IsActive {
		return u, got, nil
	}
	got, _, err = a.SignInFrom(ctx, p, who, client, old)
	return u, got, err
}
