// undo.go: the way back after a change of the e-mail address or of the second step: the
// address that the account had then is told, and its link takes the account back for seven
// days, however often it was changed since. What takes factors along asks for a password
// from before, too.

package account

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	// UndoPeriod is how long the link in the mail to the old address is good.
	UndoPeriod = 7 * 24 * time.Hour
	// UndoReserved is how long nobody else can have the old address: the mail
	// may be under way for as long as the outbox tries.
	UndoReserved = UndoPeriod + outbox.MailGiveUp
	// maxFormer bounds the addresses that an account can go back to. One more
	// change is refused: if the oldest made room for it, a thief would change
	// the address until the owner's is forgotten.
	maxFormer = 8
)

// former returns where in u.Former an address stands, -1 if it is not there or
// its time is over.
func (a *Accounts) former(u *store.User, email string) int {
	i := formerIndex(u, email)
	if i >= 0 && !a.Now().Before(u.Former[i].Until) {
		return -1
	}
	return i
}

// formerIndex is former whatever the time.
func formerIndex(u *store.User, email string) int {
	key := field.EmailKey(email)
	return slices.IndexFunc(u.Former, func(f store.FormerEmail) bool { return field.EmailKey(f.Email) == key })
}

// FormerHolder returns the account that can still go back to an address.
// ErrNotFound: there is none.
func (a *Accounts) FormerHolder(tx store.Tx, email string) (*store.User, error) {
	u, err := tx.BriefUserByKey(field.FormerEmail, field.EmailKey(email))
	if err == nil && a.former(u, email) < 0 {
		return nil, store.ErrNotFound
	}
	return u, err
}

// leftEmail is part of every change of the first address: the account remembers the
// old one, which gets a mail with the link that brings it back, and so does each other that
// it had. proven says whether the old one was confirmed.
func (a *Accounts) leftEmail(t *Txn, u *store.User, old string, proven bool, client Client) error {
	var before []owned
	if old != "" && !sameEmail(old, u.Email) {
		before = []owned{{old, proven, true}}
	}
	if before = append(before, furtherBy(u)...); u.Email == "" {
		u.FurtherEmails = nil
	}
	dropFurther(u, u.Email)
	return a.emailsChanged(t, u, before, client)
}

// undoState is the state behind the link for a former address, the one at i:
// that the account can still go back to it. Later changes leave it as it is.
func undoState(u *store.User, i int) []byte {
	if i < 0 {
		return nil
	}
	return sign.StateOf(string(sign.PurposeUndoEmail), u.Former[i].Email, strconv.FormatUint(uint64(u.Former[i].Serial), 10))
}

// UndoEmail brings a former address back by the link that was mailed to it.
// Whoever changed the address may be signed in and know the password, so
// everything that the account has handed out ends, the password is void, and the
// address gets the mail to set a new one (reset_password off: a password stays,
// unless the restored address was never confirmed). Where it is one of several, all
// are again those of then (restoreEmails), and every other that was or is one is told. Addresses
// that came after the restored one can't be gone back to any more. Factors that came after the change go,
// and those that went come back; then who has the link shows that the account was his
// (UndoAsks). A disabled account stays disabled.
func (a *Accounts) UndoEmail(ctx context.Context, who *session.Principal, in field.Input, client Client) (u *store.User, err error) {
	l, stillGood, err := a.mayUndo(ctx, sign.PurposeUndoEmail, who, in)
	if err != nil {
		return nil, err
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = a.checkLink(t, l, UndoPeriod); err != nil {
			return err
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		i := a.former(u, l.claim.Email)
		serial, changed, told := u.Former[i].Serial, changedAt(&u.Former[i]), ""
		useLink(u, l)
		was, back := *u, u.Former[i].Email
		was.Former = slices.Clone(u.Former)
		restoreEmails(u, i)
		u.EmailChanges++
		a.undoFactors(u, serial, changed)
		if err := a.linkedSinceChange(t, u, serial); err != nil {
			return err
		}
		u.Generation++
		device.ForgetAll(u)
		if err := a.voidUnproven(t, u); err != nil {
			return err
		}
		if err := t.EndSessions(u, nil); err != nil {
			return err
		}
		if a.Policy.ResetPassword.Enabled {
			a.setHash(u, "")
			if Usable(u) {
				if err := a.mailRescue(t, u, back, client); err != nil {
					return err
				}
				told = back
			}
		}
		if err := a.tellUndone(t, &was, u, told, client); err != nil {
			return err
		}
		if err := t.Audit(audit.EmailChanged, u.ID, "by", "undo"); err != nil {
			return err
		}
		return a.putEmail(t, u)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// mailRescue mails the link to set a new password after a way back has voided the old one:
// without it nobody would get in.
func (a *Accounts) mailRescue(t *Txn, u *store.User, to string, client Client) error {
	t.postage.rescue = true
	defer func() { t.postage.rescue = false }()
	return a.queueMail(t, store.MailResetByUndo, u, to, client)
}

// putEmail is PutUser for an act whose only input is an address.
func (a *Accounts) putEmail(t *Txn, u *store.User) error {
	err := a.PutUser(t, u)
	if refused := (*refusal.Error)(nil); errors.As(err, &refused) && len(refused.Fields) > 0 {
		return refusal.New(refusal.CodeEmailAlreadyRegistered)
	}
	return err
}

// undoFactors takes back what was done to the factors of an account since a change of
// its address: the one that made User.EmailChanges serial, at that time. The caller
// writes u.
func (a *Accounts) undoFactors(u *store.User, serial uint32, at time.Time) {
	u.Factors = slices.DeleteFunc(u.Factors, func(f store.Factor) bool { return f.EmailChanges >= serial })
	u.FormerFactors = slices.DeleteFunc(u.FormerFactors, func(f store.FormerFactor) bool {
		if f.RemovedAt >= serial && f.EmailChanges < serial && len(u.Factors) < MaxFactors {
			u.Factors = append(u.Factors, f.Factor)
			return true
		}
		return f.EmailChanges >= serial
	})
	a.voidCodes(u, at)
}

// voidCodes ends recovery codes that were made since a time, and those of an account
// without a factor; and what is being set up.
func (a *Accounts) voidCodes(u *store.User, since time.Time) {
	u.Enrolment = nil
	if !u.RecoveryMade.Before(since) || !u.HasFactor() {
		u.RecoveryCodes, u.RecoveryMade = nil, time.Time{}
	}
}

// keepFormer remembers a factor that is removed, for the link that brings it back. Where
// no mail is sent there is no such way back. The caller writes u.
func (a *Accounts) keepFormer(u *store.User, f store.Factor) {
	former := store.FormerFactor{Factor: f, Until: a.Time().Add(UndoReserved), RemovedAt: u.EmailChanges}
	u.FormerFactors = keepRemoved(a, u.FormerFactors, former, MaxFactors, func(f store.FormerFactor) time.Time { return f.Until })
}

// keepRemoved returns what can still be brought back, with what has just been removed behind
// it, if there is such a way back. Of more than most the first one makes room.
func keepRemoved[T any](a *Accounts, list []T, removed T, most int, until func(T) time.Time) []T {
	now := a.Time()
	list = slices.DeleteFunc(list, func(former T) bool { return !now.Before(until(former)) })
	if !a.Policy.SendsMail {
		return list
	}
	if len(list) >= most {
		list = list[1:]
	}
	return append(list, removed)
}

// formerFactor is where in u.FormerFactors a factor stands, -1 for nowhere.
func formerFactor(u *store.User, id uuid.UUID) int {
	return slices.IndexFunc(u.FormerFactors, func(f store.FormerFactor) bool { return f.ID == id })
}

// undoFactorState is the state behind the link that takes back what was done to a factor:
// that it is there, or can come back.
func undoFactorState(u *store.User, factor string) []byte {
	id, ok := store.ParseID(factor)
	switch {
	case ok && (u.Factor(id) != nil || u.Linked(id) != nil):
		return sign.StateOf(string(sign.PurposeUndoFactor), factor, "added")
	case ok && (formerFactor(u, id) >= 0 || formerLinked(u, id) >= 0):
		return sign.StateOf(string(sign.PurposeUndoFactor), factor, "removed")
	}
	return nil
}

// TellsOfFactors reports whether the owner of an account is mailed what becomes of its second
// step and its linked accounts: nobody has shown yet that an address of a sign-up is his.
func (a *Accounts) TellsOfFactors(u *store.User) bool {
	return a.Policy.SendsMail && u.Email != "" && !u.EmailPending
}

// mailAboutFactor mails the owner of an account that a factor was added or removed, with
// the link that takes it back.
func (a *Accounts) mailAboutFactor(t *Txn, kind store.MailKind, u *store.User, id uuid.UUID, client Client) error {
	if !a.TellsOfFactors(u) {
		return nil
	}
	return a.queueAbout(t, kind, u, u.Email, id, client)
}

// signedInBefore reports whether a sign-in is one of an account from before a change, that
// has shown more than its mailbox.
func signedInBefore(who *session.Principal, u *store.User, at time.Time) bool {
	return who != nil && who.User.ID == u.ID && who.Session.Created.Before(at) && who.Session.Methods()[0] != MethodMail
}

// undoneAt is when the change of an account's second step was made that a link takes back;
// zero: it leaves the second step as it is.
func undoneAt(u *store.User, l link) time.Time {
	if l.claim.Purpose == sign.PurposeUndoEmail {
		i := formerIndex(u, l.claim.Email)
		if i < 0 || !touchesFactors(u, u.Former[i].Serial) {
			return time.Time{}
		}
		return changedAt(&u.Former[i])
	}
	id, _ := store.ParseID(l.claim.Email)
	at, _ := factorChange(u, id)
	return at
}

// factorChange is when a factor was added or removed, and how often the account's address
// had been changed then; zero: it is none of the account's.
func factorChange(u *store.User, id uuid.UUID) (at time.Time, serial uint32) {
	if f := u.Factor(id); f != nil {
		return f.Created, f.EmailChanges
	}
	if i := formerFactor(u, id); i >= 0 {
		return u.FormerFactors[i].Until.Add(-UndoReserved), u.FormerFactors[i].RemovedAt
	}
	if l := u.Linked(id); l != nil {
		return l.Created, l.EmailChanges
	}
	if i := formerLinked(u, id); i >= 0 {
		return u.FormerLinked[i].Until.Add(-UndoReserved), u.FormerLinked[i].RemovedAt
	}
	return time.Time{}, 0
}

// touchesFactors reports whether undoFactors would change anything.
func touchesFactors(u *store.User, serial uint32) bool {
	return slices.ContainsFunc(u.Factors, func(f store.Factor) bool { return f.EmailChanges >= serial }) ||
		slices.ContainsFunc(u.FormerFactors, func(f store.FormerFactor) bool { return f.RemovedAt >= serial && f.EmailChanges < serial }) ||
		slices.ContainsFunc(u.LinkedAccounts, func(l store.LinkedAccount) bool { return l.EmailChanges >= serial }) ||
		slices.ContainsFunc(u.FormerLinked, func(l store.FormerLinked) bool { return l.RemovedAt >= serial && l.EmailChanges < serial })
}

// UndoAsks reports whether who has a good link that takes back a change of an account has
// to show besides that the account was his before: by a password that it had then, or by a
// sign-in from before. Whoever reads the mailbox would else get rid of the second step.
func (a *Accounts) UndoAsks(u *store.User, in field.Input, purpose sign.Purpose, who *session.Principal) bool {
	l, err := readLink(in, purpose, &refusal.FieldErrors{})
	at := undoneAt(u, l)
	return err == nil && !at.IsZero() && !signedInBefore(who, u, at)
}

// mayUndo reads a link that takes a change back, and refuses who has nothing but that,
// where that is not enough (UndoAsks). stillGood has to hold in the transaction of the act.
func (a *Accounts) mayUndo(ctx context.Context, purpose sign.Purpose, who *session.Principal, in field.Input) (l link, stillGood func(*Txn, *store.User) error, err error) {
	var errs refusal.FieldErrors
	l, err = readLink(in, purpose, &errs)
	if err = errors.Join(errs.Err(), err); err != nil {
		return l, nil, StoreError(err)
	}
	var u *store.User
	if err := a.View(ctx, func(tx store.Tx) (err error) { u, err = a.checkLink(tx, l, UndoPeriod); return err }); err != nil {
		return l, nil, err
	}
	ask := refusal.FieldErrors{{Field: ParamPassword, Code: refusal.CodeReauthenticate, Message: "reauthenticate.before"}}.Err()
	proof := "" // the hash that fits
	if at := undoneAt(u, l); !at.IsZero() && !signedInBefore(who, u, at) {
		if in[ParamPassword].Kind == field.ValueAbsent {
			return l, nil, ask
		}
		pass := in.Password(ParamPassword, &errs)
		if err := errs.Err(); err != nil {
			return l, nil, err
		}
		if len(passwordsBefore(u, at)) == 0 {
			return l, nil, refusal.FieldErrors{{Field: ParamPassword, Code: refusal.CodeReauthenticate, Message: "reauthenticate.none_before"}}.Err()
		}
		if proof, err = a.whichPassword(ctx, u, passwordsBefore(u, at), pass); err != nil {
			return l, nil, err
		}
	}
	return l, func(t *Txn, u *store.User) error {
		at := undoneAt(u, l)
		switch {
		case at.IsZero(), proof != "" && slices.Contains(passwordsBefore(u, at), proof):
			return nil
		case !signedInBefore(who, u, at):
			return ask
		}
		_, err := t.Session(who.Session.Hash)
		return notSignedIn(err)
	}, nil
}

// UndoFactor makes the second step of an account as it was before a factor was added or
// removed, by the link that was mailed then: factors that came with or after that go, those
// that went come back, and recovery codes made since are void. Whoever did it may be signed
// in and know the password: everything that the account has handed out ends. The password
// is void, and the mail to set a new one is sent, where the address is still that
// of the link; where it has been changed since, its own link brings that back and does so.
// Who has the link shows besides that the account was his (UndoAsks).
func (a *Accounts) UndoFactor(ctx context.Context, who *session.Principal, in field.Input, client Client) (u *store.User, done Undone, err error) {
	l, stillGood, err := a.mayUndo(ctx, sign.PurposeUndoFactor, who, in)
	if err != nil {
		return nil, done, err
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		done = Undone{}
		if u, err = a.checkLink(t, l, UndoPeriod); err != nil {
			return err
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		useLink(u, l)
		id, _ := store.ParseID(l.claim.Email)
		at, serial := factorChange(u, id)
		done.Linked = a.LinkedOnce(u, id) != nil
		if err := a.revertFactors(t, u, id, at); err != nil {
			return err
		}
		u.Generation++
		device.ForgetAll(u)
		if err := t.EndSessions(u, nil); err != nil {
			return err
		}
		// A void password has to be set anew, whoever has the address.
		if a.Policy.ResetPassword.Enabled && (serial == u.EmailChanges || u.PasswordHash == "") && u.Email != "" && !u.EmailPending {
			a.setHash(u, "")
			done.Mailed = true
			if err := a.mailRescue(t, u, u.Email, client); err != nil {
				return err
			}
		}
		return a.PutUser(t, u)
	})
	return u, done, err
}

// Undone is what UndoFactor has done besides: whether a mail to set a new password is on its
// way, and whether it was about an account elsewhere.
type Undone struct{ Mailed, Linked bool }

// revertFactors makes the second step of u as it was before one factor, id, was added or
// removed, at that time. It records what goes and what comes. The caller writes u.
func (a *Accounts) revertFactors(t *Txn, u *store.User, id uuid.UUID, at time.Time) error {
	since := func(f *store.Factor) bool { return !f.Created.Before(at) }
	if u.Factor(id) != nil { // ids are in the order in which factors were added
		since = func(f *store.Factor) bool { return bytes.Compare(f.ID[:], id[:]) >= 0 }
	}
	var rows []error
	u.Factors = slices.DeleteFunc(u.Factors, func(f store.Factor) bool {
		if !since(&f) {
			return false
		}
		rows = append(rows, t.Audit(audit.FactorRemoved, u.ID, "factor", f.ID.String(), "by", "undo"))
		return true
	})
	u.FormerFactors = slices.DeleteFunc(u.FormerFactors, func(f store.FormerFactor) bool {
		if f.ID != id && since(&f.Factor) { // it came and went since
			return true
		}
		if f.ID != id && f.Until.Add(-UndoReserved).Before(at) || len(u.Factors) >= MaxFactors {
			return false
		}
		u.Factors = append(u.Factors, f.Factor)
		rows = append(rows, t.Audit(audit.FactorAdded, u.ID, "factor", f.ID.String(), "by", "undo"))
		return true
	})
	a.voidCodes(u, at)
	return errors.Join(append(rows, a.linkedSince(t, u, id, at))...)
}
