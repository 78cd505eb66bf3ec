// failingstore.go: a store that fails at a chosen moment, for the acts that ask for it.

package sitetest

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// A Failure says after how many calls of the store an act is to fail, and tells how
// that went. It is for one act at a time.
type Failure struct {
	// After is how many calls go well before one fails: all from it on, as on a disk
	// that has gone.
	After int
	calls int
	// Happened: a call has failed.
	Happened bool
}

type failureKey struct{}

// With returns a context whose acts fail so on a FailingStore.
func (f *Failure) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, failureKey{}, f)
}

func (f *Failure) turn() error {
	f.calls++
	if f.calls <= f.After {
		return nil
	}
	f.Happened = true
	return ErrDisk
}

// FailingStore fails the acts whose context has a Failure, and no others.
type FailingStore struct{ store.Store }

// View implements store.Store.
func (s *FailingStore) View(ctx context.Context, fn func(store.Tx) error) error {
	f, ok := ctx.Value(failureKey{}).(*Failure)
	if !ok {
		return s.Store.View(ctx, fn)
	}
	return s.Store.View(ctx, func(tx store.Tx) error { return fn(failingTx{tx, f}) })
}

// Update implements store.Store. The commit may fail, too.
func (s *FailingStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	f, ok := ctx.Value(failureKey{}).(*Failure)
	if !ok {
		return s.Store.Update(ctx, fn)
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if err := fn(failingTx{tx, f}); err != nil {
			return err
		}
		return f.turn()
	})
}

type failingTx struct {
	store.Tx
	f *Failure
}

func (t failingTx) User(id uuid.UUID) (v *store.User, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.User(id)
}

func (t failingTx) UserByKey(field, key string) (v *store.User, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.UserByKey(field, key)
}

func (t failingTx) Users(after uuid.UUID, limit int) (v []*store.User, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Users(after, limit)
}

func (t failingTx) PutUser(u *store.User, keys []store.Key) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.PutUser(u, keys)
}

func (t failingTx) Waiting(value string, limit int) (v []*store.User, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Waiting(value, limit)
}

func (t failingTx) WaitingSince(from, to time.Time, limit int) (v []*store.User, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.WaitingSince(from, to, limit)
}

func (t failingTx) DeleteUser(id uuid.UUID) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.DeleteUser(id)
}

func (t failingTx) Session(hash store.TokenHash) (v *store.Session, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Session(hash)
}

func (t failingTx) Sessions(user uuid.UUID, limit int) (v []*store.Session, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Sessions(user, limit)
}

func (t failingTx) PutSession(s *store.Session) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.PutSession(s)
}

func (t failingTx) DeleteSession(hash store.TokenHash) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.DeleteSession(hash)
}

func (t failingTx) DeleteExpiredSessions(now time.Time, limit int) (v []store.TokenHash, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.DeleteExpiredSessions(now, limit)
}

func (t failingTx) PutMail(m *store.Mail) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.PutMail(m)
}

func (t failingTx) Mails(after uint64, limit int) (v []*store.Mail, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Mails(after, limit)
}

func (t failingTx) DeleteMail(seq uint64) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.DeleteMail(seq)
}

func (t failingTx) Budgets(now time.Time, limit int) (v []*store.Budget, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Budgets(now, limit)
}

func (t failingTx) PutBudget(b *store.Budget) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.PutBudget(b)
}

func (t failingTx) DeleteBudgets(now time.Time, limit int) (v int, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.DeleteBudgets(now, limit)
}

func (t failingTx) Value(name string) (v []byte, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Value(name)
}

func (t failingTx) PutValue(name string, value []byte) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.PutValue(name, value)
}

func (t failingTx) AddAudit(a *store.Audit) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.AddAudit(a)
}

func (t failingTx) Audits(q store.AuditQuery) (v store.AuditPage, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Audits(q)
}

func (t failingTx) DeleteAudits(before, ahead time.Time, limit int) (v int, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.DeleteAudits(before, ahead, limit)
}

func (t failingTx) PutLeftName(hash store.NameHash, left store.LeftName) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.PutLeftName(hash, left)
}

func (t failingTx) LeftName(hash store.NameHash) (v store.LeftName, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.LeftName(hash)
}

func (t failingTx) DeleteLeftNames(now time.Time, limit int) (v int, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.DeleteLeftNames(now, limit)
}

func (t failingTx) Invitation(id uuid.UUID) (v *store.Invitation, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Invitation(id)
}

func (t failingTx) InvitationByHash(hash store.TokenHash) (v *store.Invitation, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.InvitationByHash(hash)
}

func (t failingTx) Invitations(after uuid.UUID, limit int) (v []*store.Invitation, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.Invitations(after, limit)
}

func (t failingTx) PutInvitation(i *store.Invitation) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.PutInvitation(i)
}

func (t failingTx) DeleteInvitation(id uuid.UUID) error {
	if err := t.f.turn(); err != nil {
		return err
	}
	return t.Tx.DeleteInvitation(id)
}

func (t failingTx) DeleteInvitations(now time.Time, limit int) (v int, err error) {
	if err := t.f.turn(); err != nil {
		return v, err
	}
	return t.Tx.DeleteInvitations(now, limit)
}
