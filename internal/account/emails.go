// emails.go: the addresses of an account where it can have several: those that are its own
// and those that wait for their confirmation; how one is added, made the first one and
// removed; and what everybody who reads one of them is told.

package account

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// MaxEmails bounds what Policy.MaxEmails can be.
const MaxEmails = 20

// maxAsked bounds the addresses that wait for their confirmation, where an account has
// one: the oldest makes room.
const maxAsked = 8

// An Address is one of an account, as its owner sees it.
type Address struct {
	Email     string
	Primary   bool
	Confirmed bool
	// Waits: it was asked for and is not the account's own yet.
	Waits bool
}

// Addresses are those of an account: the first one, its further ones, and those that wait
// for their confirmation.
func (a *Accounts) Addresses(u *store.User) []Address {
	list := []Address{}
	if u.Email != "" {
		list = append(list, Address{Email: u.Email, Primary: true, Confirmed: u.EmailVerified && !u.EmailPending})
	}
	for _, email := range u.FurtherEmails {
		list = append(list, Address{Email: email, Confirmed: true})
	}
	for _, e := range a.stillAsked(u) {
		if !slices.ContainsFunc(list, func(have Address) bool { return sameEmail(have.Email, e.Email) }) {
			list = append(list, Address{Email: e.Email, Waits: true})
		}
	}
	return list
}

func sameEmail(x, y string) bool { return field.EmailKey(x) == field.EmailKey(y) }

// ownEmail is one of the account's own addresses as it is written there; "": it is none.
// The first one is its own once nobody else can have it.
func ownEmail(u *store.User, email string) string {
	if u.Email != "" && !u.EmailPending && sameEmail(u.Email, email) {
		return u.Email
	}
	if i := furtherIndex(u, email); i >= 0 {
		return u.FurtherEmails[i]
	}
	return ""
}

// IsFurther reports whether an address is one of the confirmed ones of an account beside
// its first one.
func IsFurther(u *store.User, email string) bool { return furtherIndex(u, email) >= 0 }

func furtherIndex(u *store.User, email string) int {
	return slices.IndexFunc(u.FurtherEmails, func(have string) bool { return sameEmail(have, email) })
}

// reachedAt is where an account gets the mail that was asked for by what was typed: at the
// address that it was named by or, by anything else, at its first one.
func reachedAt(u *store.User, typed string) string {
	if i := furtherIndex(u, typed); i >= 0 {
		return u.FurtherEmails[i]
	}
	return u.Email
}

// stillAsked are the addresses of an account whose links are good.
func (a *Accounts) stillAsked(u *store.User) []store.AskedEmail {
	now := a.Now()
	return slices.DeleteFunc(slices.Clone(u.AskedEmails), func(e store.AskedEmail) bool {
		return e.Generation != u.Generation || now.Sub(e.At) >= a.Policy.RegisterEmail.VerificationPeriod
	})
}

func askedIndex(list []store.AskedEmail, email string) int {
	return slices.IndexFunc(list, func(e store.AskedEmail) bool { return sameEmail(e.Email, email) })
}

// askFor remembers that an address was asked for. The caller writes u.
func (a *Accounts) askFor(u *store.User, email string) error {
	asked := a.stillAsked(u)
	if i := askedIndex(asked, email); i >= 0 {
		asked[i].At = a.Time()
		u.AskedEmails = asked
		return nil
	}
	// Whether it is somebody's plays no part: that would tell.
	if a.several() && u.Email != "" && !sameEmail(u.Email, email) && 1+len(u.FurtherEmails)+len(asked) >= a.Policy.MaxEmails {
		return a.tooManyEmails()
	}
	if len(asked) >= max(maxAsked, a.Policy.MaxEmails) {
		asked = asked[1:]
	}
	u.EmailsAsked++
	u.AskedEmails = append(asked, store.AskedEmail{Email: email, Serial: u.EmailsAsked, At: a.Time(), Generation: u.Generation})
	return nil
}

// several reports whether accounts can have more addresses than one.
func (a *Accounts) several() bool { return a.Policy.MaxEmails > 1 }

func (a *Accounts) tooManyEmails() error {
	return &refusal.Error{Code: refusal.CodeEmailLimit, Params: text.Params{"max": a.Policy.MaxEmails}}
}

// addEmail makes an address that was confirmed one of the account's own, beside the others.
// The caller writes u.
func (a *Accounts) addEmail(t *Txn, u *store.User, email string, client Client) error {
	if ownEmail(u, email) != "" {
		return nil // by another link to it
	}
	if 1+len(u.FurtherEmails) >= a.Policy.MaxEmails {
		return a.tooManyEmails()
	}
	before := ownedBy(u)
	u.FurtherEmails = append(u.FurtherEmails, email)
	if err := t.Audit(audit.EmailAdded, u.ID); err != nil {
		return err
	}
	return a.emailsChanged(t, u, before, client)
}

// An owned address is one of an account's own at some time. main: its first one.
type owned struct {
	email        string
	proven, main bool
}

func ownedBy(u *store.User) []owned {
	var list []owned
	if u.Email != "" && !u.EmailPending {
		list = append(list, owned{u.Email, u.EmailVerified, true})
	}
	return append(list, furtherBy(u)...)
}

func mainOf(list []owned) string {
	for _, one := range list {
		if one.main {
			return one.email
		}
	}
	return ""
}

func isAmong(list []owned, email string) bool {
	return slices.ContainsFunc(list, func(one owned) bool { return sameEmail(one.email, email) })
}

func furtherBy(u *store.User) []owned {
	list := make([]owned, len(u.FurtherEmails))
	for i, email := range u.FurtherEmails {
		list[i] = owned{email, true, false}
	}
	return list
}

// emailsChanged is part of every change of an account's addresses, whose own were before:
// each of these gets a mail with the link that brings them back. Where the
// configuration sends no mail, there is no such way back.
func (a *Accounts) emailsChanged(t *Txn, u *store.User, before []owned, client Client) error {
	u.EmailChanges++
	if !a.Policy.SendsMail {
		return nil
	}
	now := a.Time()
	u.Former = slices.DeleteFunc(u.Former, func(f store.FormerEmail) bool { return !now.Before(f.Until) })
	main := mainOf(before)
	for i := range before {
		if err := a.keepEmail(u, &before[i], main, len(before) > 1 || ownEmail(u, before[i].email) != "", now); err != nil {
			return err
		}
	}
	changes := emailChanges(before, ownedBy(u))
	for _, b := range before {
		m := &store.Mail{Kind: store.MailEmailChanged, To: b.email}
		if ownEmail(u, b.email) != "" {
			if m.Kind = store.MailEmailsChanged; b.proven {
				m.Words = changes
			}
		}
		if err := a.queue(t, m, u, client); err != nil {
			return err
		}
	}
	return nil
}

// What is told of an address in the mail about a change (store.Mail.Words).
const (
	EmailAdded   = "added"
	EmailRemoved = "removed"
	EmailLeads   = "primary"
)

// emailChanges is what a change did to an account's addresses, a line for each: one of the
// words above, a space, the address.
func emailChanges(before, after []owned) string {
	var lines []string
	tell := func(word string, of, than []owned) {
		for _, one := range of {
			if !isAmong(than, one.email) {
				lines = append(lines, word+" "+one.email)
			}
		}
	}
	tell(EmailAdded, after, before)
	tell(EmailRemoved, before, after)
	if main := mainOf(after); main != "" && !sameEmail(main, mainOf(before)) {
		lines = append(lines, EmailLeads+" "+main)
	}
	return strings.Join(lines, "\n")
}

// keepEmail remembers an address that an account had before a change, for the link that
// brings it back. main was the first one, several: it was one of several, or is.
func (a *Accounts) keepEmail(u *store.User, b *owned, main string, several bool, now time.Time) error {
	until, left := now.Add(UndoReserved), uint32(0)
	switch {
	case ownEmail(u, b.email) != "":
		left = store.StillThere
	case several:
		left = u.EmailChanges
	}
	if i := a.former(u, b.email); i >= 0 {
		f := &u.Former[i]
		b.email, f.At = f.Email, changedAt(f)
		f.Until, f.Unproven = until, f.Unproven && !b.proven
		if left != 0 || f.Left != 0 {
			f.Left = max(left, u.EmailChanges)
		}
		return nil
	}
	if len(u.Former) >= maxFormer+max(a.Policy.MaxEmails, 1)-1 {
		first := slices.MinFunc(u.Former, func(x, y store.FormerEmail) int { return x.Until.Compare(y.Until) })
		return TooOften(first.Until.Sub(now))
	}
	if b.main {
		main = ""
	}
	u.Former = append(u.Former, store.FormerEmail{Email: b.email, Serial: u.EmailChanges, Until: until, Unproven: !b.proven, Left: left, Main: main})
	return nil
}

// changedAt is when the change was made that the link of a former address takes back: the
// first of several.
func changedAt(f *store.FormerEmail) time.Time {
	if f.At.IsZero() {
		return f.Until.Add(-UndoReserved)
	}
	return f.At
}

// restoreEmails makes the addresses of an account those that it had before the change that
// the link of a former one, the one at i, takes back. The first one is the one of then where
// it was confirmed; else, and where an older version has forgotten it, that of the link. The
// caller writes u.
func restoreEmails(u *store.User, i int) {
	back := u.Former[i]
	isBack := func(f *store.FormerEmail) bool {
		return f.Serial <= back.Serial && f.GoneSince() >= back.Serial && f.Left != 0 && !f.Unproven
	}
	lead := back
	if i := formerIndex(u, back.Main); back.Main != "" && !back.Unproven && i >= 0 && isBack(&u.Former[i]) {
		lead = u.Former[i]
	}
	u.Email, u.EmailVerified, u.EmailPending = lead.Email, !lead.Unproven, false
	u.FurtherEmails, u.AskedEmails = nil, nil
	if !sameEmail(lead.Email, back.Email) {
		u.FurtherEmails = []string{back.Email}
	}
	var kept []store.FormerEmail
	for _, f := range u.Former {
		had := f.Serial <= back.Serial && f.GoneSince() >= back.Serial
		if isBack(&f) && !sameEmail(f.Email, back.Email) && !sameEmail(f.Email, lead.Email) {
			u.FurtherEmails = append(u.FurtherEmails, f.Email)
		}
		if f.Serial >= back.Serial { // what came after can't be gone back to any more
			continue
		}
		if had && f.Left != 0 {
			f.Left = store.StillThere
		}
		kept = append(kept, f)
	}
	u.Former = kept
}

// UndoneEmails are the addresses of an account after the link to one of its former ones was
// used, and those of now that are none of them then.
func (a *Accounts) UndoneEmails(u *store.User, email string) (then []Address, gone []string) {
	i := a.former(u, email)
	if i < 0 {
		return nil, nil
	}
	after := *u
	after.Former = slices.Clone(u.Former)
	restoreEmails(&after, i)
	for _, one := range ownedBy(u) {
		if ownEmail(&after, one.email) == "" {
			gone = append(gone, one.email)
		}
	}
	return a.Addresses(&after), gone
}

// tellUndone mails each confirmed address that an account had before a way back was used,
// or has now, but the one that gets more than that (except).
func (a *Accounts) tellUndone(t *Txn, was, u *store.User, except string, client Client) error {
	now := ownedBy(u)
	all := slices.DeleteFunc(ownedBy(was), func(one owned) bool { return isAmong(now, one.email) })
	for _, one := range append(all, now...) {
		if !one.proven || except != "" && sameEmail(one.email, except) {
			continue
		}
		m, about := &store.Mail{Kind: store.MailEmailsRestored, To: one.email}, u
		if ownEmail(u, one.email) == "" { // it has the budgets of one that is confirmed all the same
			m.Words, about = EmailRemoved, was
		}
		if err := a.queue(t, m, about, client); err != nil {
			return err
		}
	}
	return nil
}

// dropFurther takes an address out of those beside the first one. The caller writes u.
func dropFurther(u *store.User, email string) {
	u.FurtherEmails = slices.DeleteFunc(slices.Clone(u.FurtherEmails), func(have string) bool { return sameEmail(have, email) })
	if len(u.FurtherEmails) == 0 {
		u.FurtherEmails = nil
	}
}

// dropAsked forgets that an address was asked for: its links are void. The caller writes u.
func dropAsked(u *store.User, email string) {
	u.AskedEmails = slices.DeleteFunc(slices.Clone(u.AskedEmails), func(e store.AskedEmail) bool { return sameEmail(e.Email, email) })
	if len(u.AskedEmails) == 0 {
		u.AskedEmails = nil
	}
}

// readEmail is the address that an input names.
func (a *Accounts) readEmail(in field.Input) (string, error) {
	var errs refusal.FieldErrors
	wanted := &store.User{}
	in.Field(a.Policy.Fields.ByName[field.Email], true, wanted, &errs)
	return wanted.Email, errs.Err()
}

// ListEmails returns the account of who asks, as it is now.
func (a *Accounts) ListEmails(ctx context.Context, p session.Principal) (u *store.User, err error) {
	err = a.View(ctx, func(tx store.Tx) (err error) {
		u, err = tx.User(p.User.ID)
		return notSignedIn(err)
	})
	return u, err
}

// SetPrimaryEmail makes a confirmed address of who asks the first one. All of them are told.
func (a *Accounts) SetPrimaryEmail(ctx context.Context, p session.Principal, in field.Input, client Client) (u *store.User, err error) {
	email, wrong := a.readEmail(in)
	stillGood, err := a.reauthenticate(ctx, p, in)
	if err := refusal.Together(wrong, err); err != nil {
		return nil, err
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		i := furtherIndex(u, email)
		switch {
		case i < 0 && ownEmail(u, email) != "": // it is
			return nil
		case i < 0 && askedIndex(a.stillAsked(u), email) >= 0:
			return refusal.New(refusal.CodeEmailUnconfirmed)
		case i < 0:
			return refusal.New(refusal.CodeEmailNotFound)
		}
		before := ownedBy(u)
		first := u.FurtherEmails[i]
		dropFurther(u, first)
		if u.EmailVerified && u.Email != "" { // one that nobody has confirmed is none beside another
			u.FurtherEmails = append([]string{u.Email}, u.FurtherEmails...)
		}
		u.Email, u.EmailVerified = first, true
		if err := t.Audit(audit.EmailChanged, u.ID, "by", "primary"); err != nil {
			return err
		}
		if err := a.emailsChanged(t, u, before, client); err != nil {
			return err
		}
		return a.putEmail(t, u)
	})
	return u, err
}

// RemoveEmail takes an address away from the account of who asks: one beside the first, of
// which all are told, or one that waits for its confirmation, whose links are void then. For
// that no more has to be shown than the sign-in.
func (a *Accounts) RemoveEmail(ctx context.Context, p session.Principal, in field.Input, client Client) (u *store.User, err error) {
	email, err := a.readEmail(in)
	if err != nil {
		return nil, err
	}
	if u, err = a.ListEmails(ctx, p); err != nil {
		return nil, err
	}
	stillGood := func(*Txn, *store.User) error { return nil }
	own := ownEmail(u, email) != ""
	if own && !sameEmail(u.Email, email) {
		if stillGood, err = a.reauthenticate(ctx, p, in); err != nil {
			return nil, err
		}
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		switch still := ownEmail(u, email) != ""; {
		case still && sameEmail(u.Email, email):
			return refusal.New(refusal.CodeEmailPrimary)
		case still && !own: // it was confirmed meanwhile
			return ReauthenticateBy(ParamPassword)
		case still:
			return a.removeFurther(t, u, email, client)
		case askedIndex(a.stillAsked(u), email) < 0:
			return refusal.New(refusal.CodeEmailNotFound)
		}
		dropAsked(u, email)
		if err := t.Audit(audit.EmailRemoved, u.ID, "confirmed", "no"); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	return u, err
}

// removeFurther takes a confirmed address away.
func (a *Accounts) removeFurther(t *Txn, u *store.User, email string, client Client) error {
	before := ownedBy(u)
	dropFurther(u, email)
	if err := t.Audit(audit.EmailRemoved, u.ID, "confirmed", "yes"); err != nil {
		return err
	}
	if err := a.emailsChanged(t, u, before, client); err != nil {
		return err
	}
	return a.PutUser(t, u)
}
