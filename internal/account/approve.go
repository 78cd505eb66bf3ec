// approve.go: an owner lets an account in that waits for that, or doesn't; and how he
// hears of those that wait or have come.

package account

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// MaxWords bounds what an owner writes to who is refused, in characters.
const MaxWords = 2000

// Approve lets an account in that waits (StateWaiting) and mails it where to sign in,
// if it has an address and somebody delivers mail. Another one is CodeNotWaiting.
func (a *Accounts) Approve(ctx context.Context, id uuid.UUID) (u *store.User, mailed bool, err error) {
	u, err = a.change(ctx, id, func(t *Txn, u *store.User) (err error) {
		if StateOf(u) != StateWaiting {
			return refusal.New(refusal.CodeNotWaiting)
		}
		u.AwaitsApproval, u.IsActive, u.Reason = false, true, ""
		if mailed, err = a.mailByOwner(t, &store.Mail{Kind: store.MailApproved, To: u.Email, User: u.ID, Language: languageOf(u)}); err != nil {
			return err
		}
		return t.Audit(audit.AccountApproved, u.ID)
	})
	return u, mailed, err
}

// Refuse removes an account that waits (StateWaiting) and mails that, with the
// owner's words if there are some, as Approve does. Another one is CodeNotWaiting.
func (a *Accounts) Refuse(ctx context.Context, id uuid.UUID, words string) (mailed bool, err error) {
	if len(words) > MaxWords*utf8.UTFMax || utf8.RuneCountInString(words) > MaxWords {
		return false, refusal.FieldErrors{{Field: "message", Code: refusal.CodeMaxLength, Params: text.Params{"max": MaxWords}}}.Err()
	}
	err = a.Update(ctx, func(t *Txn) error {
		u, err := t.User(id)
		if err != nil {
			return userNotFound(err)
		}
		if err := a.asAdmin(t); err != nil {
			return err
		}
		if StateOf(u) != StateWaiting {
			return refusal.New(refusal.CodeNotWaiting)
		}
		// About nobody: the account will be gone.
		if mailed, err = a.mailByOwner(t, &store.Mail{Kind: store.MailRefused, To: u.Email, Language: languageOf(u), Words: asTyped(words)}); err != nil {
			return err
		}
		if err := t.Audit(audit.AccountRefused, u.ID); err != nil {
			return err
		}
		return a.remove(t, u)
	})
	return mailed, err
}

// mailByOwner queues a mail that an owner has asked for, in the realm's first
// language. No budget counts it: what strangers spend must not keep it back.
func (a *Accounts) mailByOwner(t *Txn, m *store.Mail) (queued bool, err error) {
	if m.To == "" || !a.Policy.SendsMail {
		return false, nil
	}
	id, err := NewMessageID(a.MailDomain)
	if err != nil {
		return false, err
	}
	now := a.Time()
	m.MessageID, m.Queued, m.Due = id, now, now
	t.mail = true
	return true, t.PutMail(m)
}

// What an owner is told of sign-ups (Policy.Register.Notify).
const (
	// notifyEvery is the time between two mails.
	notifyEvery = 10 * time.Minute
	// maxNews is how many accounts a mail names.
	maxNews = 20
	// newsValue is the name of the store's value with who is to be told of.
	newsValue = "sign_ups"
)

// news is what an owner has not been told yet. It is kept beside the outbox, whose row
// only says that there is some: so it grows until the mail is made.
type news struct {
	Accounts []uuid.UUID `json:"accounts,omitempty"`
	// More: there were too many to name.
	More bool `json:"more,omitempty"`
	// Row is the message that will tell, by its Seq; 0: none was queued.
	Row uint64 `json:"row,omitempty"`
	// Last is when one was sent last.
	Last time.Time `json:"last,omitzero"`
}

func readNews(tx store.Tx) (n news, err error) {
	raw, err := tx.Value(newsValue)
	if errors.Is(err, store.ErrNotFound) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	return n, json.Unmarshal(raw, &n)
}

func (n *news) put(tx store.Tx) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return tx.PutValue(newsValue, raw)
}

// queued reports whether a row of the outbox will tell.
func (n *news) queued(tx store.Tx) (bool, error) {
	if n.Row == 0 {
		return false, nil
	}
	rows, err := tx.Mails(n.Row-1, 1)
	return len(rows) == 1 && rows[0].Seq == n.Row && rows[0].Kind == store.MailSignUps, err
}

// queue queues the message that tells, for when the last one is long enough ago.
func (n *news) queue(tx store.Tx, m *store.Mail, now time.Time) error {
	m.Kind, m.Queued, m.Due = store.MailSignUps, now, now
	if due := n.Last.Add(notifyEvery); now.Before(due) && !n.Last.After(now) { // else a clock was ahead
		m.Due = due
	}
	err := tx.PutMail(m)
	n.Row = m.Seq
	return err
}

// announce is part of each act by which an account comes to be its owner's: that it waits
// for the approval from now on has a row, and whoever is to be told will be, together with
// others.
func (a *Accounts) announce(t *Txn, u *store.User) error {
	if u.AwaitsApproval {
		if err := t.Audit(audit.AccountWaiting, u.ID); err != nil {
			return err
		}
	}
	if a.Policy.Register.Notify == "" || !a.Policy.SendsMail {
		return nil
	}
	n, err := readNews(t)
	if err != nil {
		return err
	}
	if len(n.Accounts) < maxNews {
		n.Accounts = append(n.Accounts, u.ID)
	} else {
		n.More = true
	}
	queued, err := n.queued(t)
	if err == nil && !queued {
		var id string
		if id, err = NewMessageID(a.MailDomain); err == nil {
			t.mail = true
			err = n.queue(t, &store.Mail{MessageID: id, To: a.Policy.Register.Notify}, a.Time())
		}
	}
	return errors.Join(err, n.put(t))
}

// SignUps is what a message of MailSignUps tells. It has no addresses.
type SignUps struct {
	Waiting  []Named `json:"waiting,omitempty"`
	SignedUp []Named `json:"signed_up,omitempty"`
	More     bool    `json:"more,omitempty"`
	// Of is how many of the accounts that were to be told of it has dealt with.
	Of int `json:"of"`
}

// Named is an account by its username, which may be empty, and its id.
type Named struct {
	Username string    `json:"username,omitempty"`
	ID       uuid.UUID `json:"id"`
}

// SignUpsOf reads what PrepareMail has filled in.
func SignUpsOf(m *store.Mail) (s SignUps, err error) {
	err = json.Unmarshal([]byte(m.Words), &s)
	return s, err
}

// prepareSignUps fills in who has come.
func (a *Accounts) prepareSignUps(tx store.Tx, m *store.Mail) (reason string, err error) {
	n, err := readNews(tx)
	if err != nil {
		return "", err
	}
	s := SignUps{More: n.More, Of: len(n.Accounts)}
	for _, id := range n.Accounts {
		u, err := tx.User(id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		switch who := (Named{u.Username, u.ID}); StateOf(u) {
		case StateWaiting:
			s.Waiting = append(s.Waiting, who)
		case StateActive:
			s.SignedUp = append(s.SignedUp, who)
		}
	}
	raw, err := json.Marshal(s)
	m.Words, m.To = string(raw), a.Policy.Register.Notify
	switch {
	case err != nil:
		return "", err
	case m.To == "":
		return "nobody is to be told of sign-ups any more", nil
	case len(s.Waiting)+len(s.SignedUp) == 0 && !s.More:
		return "the accounts that it is about are gone", nil
	}
	return "", nil
}

// announced is what a message of MailSignUps leaves when it is taken off the queue: who
// has come while it was sent is told of in the next one.
func (e *Purger) announced(tx store.Tx, m *store.Mail) error {
	n, err := readNews(tx)
	if err != nil {
		return err
	}
	s, err := SignUpsOf(m)
	if err != nil { // it was given up before it was looked at
		s = SignUps{Of: len(n.Accounts), More: n.More}
	}
	n.Row, n.Last = 0, m.Due
	now := m.Due
	if p := e.working(); p != nil {
		now = p.Now().UTC().Truncate(time.Second)
		n.Last = now
	}
	n.Accounts = n.Accounts[min(s.Of, len(n.Accounts)):]
	n.More = n.More && !s.More
	if len(n.Accounts) > 0 || n.More {
		_, domain, _ := strings.Cut(m.MessageID, "@")
		id, err := NewMessageID(domain)
		if err != nil {
			return err
		}
		if err := n.queue(tx, &store.Mail{MessageID: id, To: m.To}, now); err != nil {
			return err
		}
	}
	return n.put(tx)
}
