// privacy.go: what keeps strangers from learning who has an account:
// the same answer and the same work, whatever an address belongs to, and a word
// to the one who owns it.

package account

import (
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// NoticeLimit bounds how often an address is told about others' tries.
var NoticeLimit = budget.Limit{Events: 1, Window: time.Hour}

// decoyMail queues one. The recipient stands for what was typed, so that a
// second one waits behind the first as a second mail would.
func (a *Accounts) decoyMail(t *Txn, typed string, client Client) error {
	to := hex.EncodeToString(sign.StateOf("decoy", field.UniqueKey(typed))[:6]) + "@example.com"
	return a.queueMail(t, store.MailDecoy, &store.User{}, to, client)
}

// typedLogin is the text by which an input names an account.
func typedLogin(in field.Input, names []string) string {
	for _, name := range append([]string{"login"}, names...) {
		if text := in.Text(name); text != "" {
			return text
		}
	}
	return ""
}

// A notice is a mail that an address gets at most once an hour.
type notice struct {
	// Due decides once, however often a transaction runs.
	Due func() bool
	// Failed gives the hour back: the notice could not be queued.
	Failed func()
}

// noticeKey leaves a plain address the key that it had in earlier versions.
func noticeKey(kind store.MailKind, to string) budget.Key {
	own, box := field.EmailKey(to), Mailbox(to)
	if own == box {
		return BudgetKey("notice", string(kind), own)
	}
	return BudgetKey("notice", string(kind), "variants", box)
}

// Notice is what tells an address of somebody else's try, unless it was told within
// the hour. Addresses of one mailbox share theirs.
func (a *Accounts) Notice(kind store.MailKind, to string) notice {
	charge := budget.Charge{Table: "notice", Key: noticeKey(kind, to), Limit: NoticeLimit}
	spent := false
	return notice{
		Due: sync.OnceValue(func() bool {
			spent = a.Throttles.Take(charge).Wait == 0
			return spent
		}),
		Failed: func() {
			if spent {
				a.Throttles.Return(charge)
			}
		},
	}
}

// queueNotice queues a notice or, within the hour, does the same work.
func (a *Accounts) queueNotice(t *Txn, kind store.MailKind, u *store.User, to string, n notice, client Client) error {
	if !n.Due() {
		return a.decoyMail(t, to, client)
	}
	return a.queueMail(t, kind, u, to, client)
}

// addressHolder returns the account that an address belongs to: as its own, as
// one that it can go back to or, where people sign in by either, as the value
// of another login field. ErrNotFound: it is free, whoever may wait for it. It
// looks everywhere in any case: an early end would tell.
func (a *Accounts) addressHolder(tx store.Tx, email string) (*store.User, error) {
	holder, err := tx.UserByKey(field.Email, field.EmailKey(email))
	former, formerErr := a.formerHolder(tx, email)
	failed := storeFailure(err, formerErr)
	if errors.Is(err, store.ErrNotFound) {
		holder, err = former, formerErr
	}
	for _, f := range a.besideEmail() {
		u, besideErr := tx.UserByKey(f.Keyspace(), f.KeyOf(email))
		failed = storeFailure(failed, besideErr)
		if errors.Is(err, store.ErrNotFound) && (besideErr != nil || !u.EmailPending) {
			holder, err = u, besideErr
		}
	}
	if failed != nil {
		return nil, failed
	}
	return holder, err
}

// storeFailure returns the first error that is more than a record that isn't there.
func storeFailure(errs ...error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// besideEmail returns the other login fields where people sign in by their
// e-mail address too: there, one `login` can mean either.
func (a *Accounts) besideEmail() []*field.Field {
	set := a.Policy.Fields
	if !set.IsLogin(field.Email) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(set.Login), func(f *field.Field) bool { return f.Name == field.Email })
}

// tellHolder gives a taken address the notice that somebody wanted it.
func (a *Accounts) tellHolder(t *Txn, holder *store.User, email string, n notice, client Client) error {
	to, about := holder.Email, holder
	if to == "" || field.EmailKey(to) != field.EmailKey(email) {
		to, about = email, &store.User{ID: uuid.Nil} // held as a username, or no longer: its owner may be another
	}
	return a.queueNotice(t, store.MailEmailInUse, about, to, n, client)
}
