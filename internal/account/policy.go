// policy.go: what the rules of an account need to know of a configuration,
// resolved: no defaults left to fill in, no placeholder, no switch that may be unset.

package account

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/oidc"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A Mode says who can sign up.
type Mode string

// The modes of sign-up.
const (
	// ModeOpen: whoever likes.
	ModeOpen Mode = "open"
	// ModeInvite: who has an invitation.
	ModeInvite Mode = "invite"
	// ModeApprove: whoever likes, and the owner lets him in or doesn't.
	ModeApprove Mode = "approve"
	// ModeClosed: nobody by himself.
	ModeClosed Mode = "closed"
)

// Modes are all of them.
var Modes = []Mode{ModeOpen, ModeInvite, ModeApprove, ModeClosed}

// OpenToAll reports whether people can sign up without having been asked.
func (m Mode) OpenToAll() bool { return m == ModeOpen || m == ModeApprove }

// A Policy is what an owner has decided about his accounts. It doesn't change
// once accounts use it, and so is safe for concurrent use.
type Policy struct {
	// Fields are those of an account; LoginFields the names of those by which
	// people sign in, in the order in which they are tried.
	Fields      *field.Set
	LoginFields []string
	// MaxEmails is how many addresses an account can have; one, where it is less.
	MaxEmails int
	// Sign-up.
	Register struct {
		// Mode says who can; Enabled is whether it is another than ModeClosed.
		Mode    Mode
		Enabled bool
		// AllowDomains and DenyDomains are those of addresses, in lower-case ASCII, with
		// `*.` before one for all below it. No AllowDomains: all.
		AllowDomains, DenyDomains []string
		// Code is what a sign-up has to bring; "": none.
		Code string
		// Notify is the address that is told of sign-ups; "": none.
		Notify string
		// Reason is one of Reasons: whether a sign-up says why.
		Reason string
		// Terms is the version of the terms to which people have to agree; "": none.
		Terms               string
		Verification        bool
		PasswordConfirm     bool
		OneTimeUse          bool
		AutoLogin           bool
		VerificationPeriod  time.Duration
		UnconfirmedLifetime time.Duration
	}
	// What a sign-in hands out.
	Login struct {
		Session bool
		Token   bool
		// MailCode: by a mailed code, too.
		MailCode bool
		// Password: by the password.
		Password bool
		// Providers are those at which people have accounts by which they sign in, in the
		// order in which they are offered.
		Providers []*oidc.Provider
	}
	// The forgotten password.
	ResetPassword struct {
		Enabled              bool
		OneTimeUse           bool
		PasswordConfirm      bool
		UseEmail             bool
		FailWhenUserNotFound bool
		VerificationPeriod   time.Duration
	}
	// The change of the e-mail address.
	RegisterEmail struct {
		Verification       bool
		SignedIn           bool
		VerificationPeriod time.Duration
		MaxAge             time.Duration
	}
	// The change of the password.
	ChangePassword struct {
		PasswordConfirm bool
	}
	// The second step.
	Factors struct {
		// TOTP and Passkey: people can add one. Those that they have count anyway.
		TOTP, Passkey bool
		// Passkeys asks for them; nil: they can't be used on this site.
		Passkeys *factor.Passkeys
		// RequiredFor are the groups whose members have to have a factor.
		RequiredFor []string
		// Trusted is how long a browser can go without being asked for a factor; zero: it
		// is asked each time.
		Trusted time.Duration
		// Issuer is what the site is called in an app.
		Issuer string
	}
	// NewDevice: the owner of an account is mailed when it is signed in to on a device that
	// it does not know.
	NewDevice bool
	// How long a sign-in lasts, and how many an account has of each kind.
	Session struct {
		Lifetime time.Duration
		Idle     time.Duration
		Max      int
	}
	// Leaving: whether people can close their accounts, and for how long one can be kept
	// after that.
	Leaving struct {
		On    bool
		Grace time.Duration
	}
	// Admin says who looks after the accounts in a browser: the members of a group ("":
	// nobody does), how old their sign-in may be, and whether they need a second factor.
	Admin struct {
		Group        string
		MaxAge       time.Duration
		SecondFactor bool
	}
	// Limits has the throttles by their names; Unlimited: none counts.
	Limits    map[string]budget.Limit
	Unlimited bool
	// Reserved has the keys of usernames that the owner keeps back.
	Reserved map[string]bool
	// SendsMail: somebody delivers what is queued.
	SendsMail bool
	// Hash is the cost of a new password hash, Validators what a new password has to be.
	Hash       password.Params
	Validators password.Validators
	// Breached reports whether a new password is known from a breach; nil: nobody knows.
	// It may take a second. What can't be found out is not refused.
	Breached func(ctx context.Context, password string) bool
	// PasswordRules are the site's own rules: what they refuse about a new password, each
	// with what the person reads ("": the built-in words). own are the account's values. It
	// may take seconds; an error: one couldn't be asked, so the password isn't taken. nil:
	// there are none.
	PasswordRules func(ctx context.Context, password string, u *store.User, own []string) (refused []string, err error)
}

// IsAdmin reports whether an account looks after the others in a browser.
func (p *Policy) IsAdmin(u *store.User) bool {
	return p.Admin.Group != "" && u.IsActive && slices.Contains(u.Groups, p.Admin.Group)
}

// LimitsDomains reports whether there are addresses that the owner doesn't let in.
func (p *Policy) LimitsDomains() bool {
	return len(p.Register.AllowDomains)+len(p.Register.DenyDomains) > 0
}

// ConfirmsByMail reports whether who waits for the confirmation of his account can
// be sent its mail again.
func (p *Policy) ConfirmsByMail() bool { return p.Register.Verification && p.SendsMail }

// asAdmin refuses an act on somebody else's account by who may not do it any more: that he
// could was seen before the transaction. The command line and the admin endpoint may.
func (a *Accounts) asAdmin(t *Txn) error {
	by, ok := a.actor(t)
	if !ok {
		return nil
	}
	switch u, err := t.User(by); {
	case errors.Is(err, store.ErrNotFound):
		return refusal.New(refusal.CodeNotFound)
	case err != nil:
		return err
	case !a.Policy.IsAdmin(u):
		return refusal.New(refusal.CodeNotFound)
	case a.adminOwesFactor(u):
		return refusal.New(refusal.CodeFactorRequired)
	}
	return nil
}

// actor is the account that does an act, where accounts look after others.
func (a *Accounts) actor(t *Txn) (uuid.UUID, bool) {
	id, ok := store.ParseID(t.caller.Actor)
	return id, ok && a.Policy.Admin.Group != ""
}

// keepAdmin refuses to make an account, nil where it is removed, something else than an
// admin, if no other is left: nobody could look after the accounts in a browser then. The
// command line and the admin endpoint may.
func (a *Accounts) keepAdmin(t *Txn, before, u *store.User) error {
	if _, ok := a.actor(t); !ok || !a.Policy.IsAdmin(before) || u != nil && a.Policy.IsAdmin(u) {
		return nil
	}
	return a.anotherAdmin(t, before)
}

// anotherAdmin refuses to end an admin where there is no other.
func (a *Accounts) anotherAdmin(t *Txn, before *store.User) error {
	others, err := a.otherAdmins(t, before.ID, 1)
	if err == nil && len(others) == 0 {
		err = refusal.New(refusal.CodeLastAdmin)
	}
	return err
}

// maxOthers is how many other admins are looked for at most where who they are matters.
const maxOthers = 50

// OtherAdmins are the admins beside an account, as far as they can sign in; of many, some.
func (a *Accounts) OtherAdmins(ctx context.Context, but uuid.UUID) (others []*store.User, err error) {
	err = a.View(ctx, func(tx store.Tx) (err error) {
		others, err = a.otherAdmins(tx, but, maxOthers)
		return err
	})
	return others, err
}

// otherAdmins are up to limit admins beside an account. Who has nothing to sign in with
// doesn't count: an account that was made for him, and whose link he has not used. Who
// owes the second step that the pages ask for does: he sets one up at his next sign-in.
func (a *Accounts) otherAdmins(tx store.Tx, but uuid.UUID, limit int) (others []*store.User, err error) {
	q := store.MemberQuery{Group: a.Policy.Admin.Group, State: store.StateActive, Limit: limit + 1}
	for {
		page, err := tx.Members(q)
		if err != nil {
			return nil, err
		}
		for _, u := range page.Users {
			if u.ID != but && len(others) < limit && a.Policy.canSignIn(u) {
				others = append(others, u)
			}
		}
		if q.After = page.Next; q.After == "" || len(others) == limit {
			return others, nil
		}
	}
}

// canSignIn reports whether an account has something that a sign-in takes.
func (p *Policy) canSignIn(u *store.User) bool {
	return p.hasPassword(u) || u.HasFactor(store.FactorPasskey) || p.Login.MailCode && u.Email != "" || p.byProvider(u)
}
