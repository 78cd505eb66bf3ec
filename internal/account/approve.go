// approve.go: an owner lets an account in that waits for that, or doesn't.

package account

import (
	"context"
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
		if mailed, err = a.mailByOwner(t, &store.Mail{Kind: store.MailApproved, To: u.Email, User: u.ID}); err != nil {
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
		if StateOf(u) != StateWaiting {
			return refusal.New(refusal.CodeNotWaiting)
		}
		// About nobody: the account will be gone.
		if mailed, err = a.mailByOwner(t, &store.Mail{Kind: store.MailRefused, To: u.Email, Words: asTyped(words)}); err != nil {
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
	id, err := uuid.NewRandom()
	if err != nil {
		return false, err
	}
	now := a.Time()
	m.MessageID, m.Queued = id.String()+"@"+a.MailDomain, now
	if m.Due.IsZero() {
		m.Due = now
	}
	t.mail = true
	return true, t.PutMail(m)
}
