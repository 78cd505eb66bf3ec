// account_privacy.go: what keeps strangers from learning who has an account:
// the same answer and the same work, whatever an address belongs to, and a word
// to the one who owns it.

package registration

import (
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/budget"
)

// noticeLimit bounds how often an address is told about others' tries.
var noticeLimit = budget.Limit{Events: 1, Window: time.Hour}

// decoyMail queues one. The recipient stands for what was typed, so that a
// second one waits behind the first as a second mail would.
func (a *Accounts) decoyMail(t *txn, typed string, client Client) error {
	to := hex.EncodeToString(stateOf("decoy", uniqueKey(typed))[:6]) + "@example.com"
	return a.queueMail(t, mailDecoy, &User{}, to, client)
}

// typedLogin is the text by which an input names an account.
func typedLogin(in Input, names []string) string {
	for _, name := range append([]string{"login"}, names...) {
		if text := in.text(name); text != "" {
			return text
		}
	}
	return ""
}

// A notice is a mail that an address gets at most once an hour.
type notice struct {
	// due decides once, however often a transaction runs.
	due func() bool
	// failed gives the hour back: the notice could not be queued.
	failed func()
}

// noticeKey leaves a plain address the key that it had in earlier versions.
func noticeKey(kind MailKind, to string) budget.Key {
	own, box := emailKey(to), mailbox(to)
	if own == box {
		return budgetKey("notice", string(kind), own)
	}
	return budgetKey("notice", string(kind), "variants", box)
}

func (a *Accounts) notice(kind MailKind, to string) notice {
	charge := budget.Charge{Table: "notice", Key: noticeKey(kind, to), Limit: noticeLimit}
	spent := false
	return notice{
		due: sync.OnceValue(func() bool {
			spent = a.throttles.Take(charge).Wait == 0
			return spent
		}),
		failed: func() {
			if spent {
				a.throttles.Return(charge)
			}
		},
	}
}

// queueNotice queues a notice or, within the hour, does the same work.
func (a *Accounts) queueNotice(t *txn, kind MailKind, u *User, to string, n notice, client Client) error {
	if !n.due() {
		return a.decoyMail(t, to, client)
	}
	return a.queueMail(t, kind, u, to, client)
}

// addressHolder returns the account that an address belongs to: as its own, as
// one that it can go back to or, where people sign in by either, as the value
// of another login field. ErrNotFound: it is free, whoever may wait for it. It
// looks everywhere in any case: an early end would tell.
func (a *Accounts) addressHolder(tx Tx, email string) (*User, error) {
	holder, err := tx.UserByKey(fieldEmail, emailKey(email))
	former, formerErr := a.formerHolder(tx, email)
	if errors.Is(err, ErrNotFound) {
		holder, err = former, formerErr
	}
	for _, f := range a.besideEmail() {
		u, besideErr := tx.UserByKey(f.keyspace(), f.keyOf(email))
		if errors.Is(err, ErrNotFound) && (besideErr != nil || !u.EmailPending) {
			holder, err = u, besideErr
		}
	}
	return holder, err
}

// besideEmail returns the other login fields where people sign in by their
// e-mail address too: there, one `login` can mean either.
func (a *Accounts) besideEmail() []*field {
	set := a.policy.Fields
	if !set.isLogin(fieldEmail) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(set.login), func(f *field) bool { return f.name == fieldEmail })
}

// tellHolder gives a taken address the notice that somebody wanted it.
func (a *Accounts) tellHolder(t *txn, holder *User, email string, n notice, client Client) error {
	to, about := holder.Email, holder
	if to == "" || emailKey(to) != emailKey(email) {
		to, about = email, &User{ID: uuid.Nil} // held as a username, or no longer: its owner may be another
	}
	return a.queueNotice(t, MailEmailInUse, about, to, n, client)
}
