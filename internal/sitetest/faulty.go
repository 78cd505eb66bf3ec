// faulty.go: a store that fails at a call of the test's choice, which the embedded one
// can't be made to do.

package sitetest

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// ErrFault is what a FaultyStore fails with.
var ErrFault = errors.New("the disk has gone")

// FaultyStore is a store of which one call fails. It is for one goroutine.
type FaultyStore struct {
	store.Store
	// FailAt is which call fails, counted from 1: the beginning of a transaction, each
	// call in it, its commit. Met says that it came to it.
	FailAt int
	Met    bool
	calls  int
}

func (f *FaultyStore) next() error {
	if f.calls++; f.calls == f.FailAt {
		f.Met = true
		return ErrFault
	}
	return nil
}

// View implements store.Store.
func (f *FaultyStore) View(ctx context.Context, fn func(store.Tx) error) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.Store.View(ctx, func(tx store.Tx) error { return fn(&faultyTx{tx, f}) })
}

// Update implements store.Store.
func (f *FaultyStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.Store.Update(ctx, func(tx store.Tx) error {
		if err := fn(&faultyTx{tx, f}); err != nil {
			return err
		}
		return f.next()
	})
}

// SpendBudgets implements store.Store.
func (f *FaultyStore) SpendBudgets(ctx context.Context, now time.Time, spends []store.BudgetSpend) (missing []time.Duration, ok bool, err error) {
	if err := f.next(); err != nil {
		return nil, false, err
	}
	return f.Store.SpendBudgets(ctx, now, spends)
}

type faultyTx struct {
	store.Tx
	f *FaultyStore
}

func guarded[T any](f *FaultyStore, call func() (T, error)) (v T, err error) {
	if err := f.next(); err != nil {
		return v, err
	}
	return call()
}

func (t *faultyTx) do(call func() error) error {
	if err := t.f.next(); err != nil {
		return err
	}
	return call()
}

func (t *faultyTx) User(id uuid.UUID) (*store.User, error) {
	return guarded(t.f, func() (*store.User, error) { return t.Tx.User(id) })
}

func (t *faultyTx) UserByKey(field, key string) (*store.User, error) {
	return guarded(t.f, func() (*store.User, error) { return t.Tx.UserByKey(field, key) })
}

func (t *faultyTx) BriefUser(id uuid.UUID) (*store.User, error) {
	return guarded(t.f, func() (*store.User, error) { return t.Tx.BriefUser(id) })
}

func (t *faultyTx) BriefUserByKey(field, key string) (*store.User, error) {
	return guarded(t.f, func() (*store.User, error) { return t.Tx.BriefUserByKey(field, key) })
}

func (t *faultyTx) Users(after uuid.UUID, limit int) ([]*store.User, error) {
	return guarded(t.f, func() ([]*store.User, error) { return t.Tx.Users(after, limit) })
}

func (t *faultyTx) Members(q store.MemberQuery) (store.MemberPage, error) {
	return guarded(t.f, func() (store.MemberPage, error) { return t.Tx.Members(q) })
}

func (t *faultyTx) CountMembers(state string) (store.MemberCount, error) {
	return guarded(t.f, func() (store.MemberCount, error) { return t.Tx.CountMembers(state) })
}

func (t *faultyTx) PutUser(u *store.User, keys []store.Key) error {
	return t.do(func() error { return t.Tx.PutUser(u, keys) })
}

func (t *faultyTx) Waiting(value string, limit int) ([]*store.User, error) {
	return guarded(t.f, func() ([]*store.User, error) { return t.Tx.Waiting(value, limit) })
}

func (t *faultyTx) WaitingSince(from, to time.Time, limit int) ([]*store.User, error) {
	return guarded(t.f, func() ([]*store.User, error) { return t.Tx.WaitingSince(from, to, limit) })
}

func (t *faultyTx) DeleteUser(id uuid.UUID) error {
	return t.do(func() error { return t.Tx.DeleteUser(id) })
}

func (t *faultyTx) Session(hash store.TokenHash) (*store.Session, error) {
	return guarded(t.f, func() (*store.Session, error) { return t.Tx.Session(hash) })
}

func (t *faultyTx) Sessions(user uuid.UUID, limit int) ([]*store.Session, error) {
	return guarded(t.f, func() ([]*store.Session, error) { return t.Tx.Sessions(user, limit) })
}

func (t *faultyTx) PutSession(s *store.Session) error {
	return t.do(func() error { return t.Tx.PutSession(s) })
}

func (t *faultyTx) DeleteSession(hash store.TokenHash) error {
	return t.do(func() error { return t.Tx.DeleteSession(hash) })
}

func (t *faultyTx) PutMail(m *store.Mail) error {
	return t.do(func() error { return t.Tx.PutMail(m) })
}

func (t *faultyTx) Mails(after uint64, limit int) ([]*store.Mail, error) {
	return guarded(t.f, func() ([]*store.Mail, error) { return t.Tx.Mails(after, limit) })
}

func (t *faultyTx) DeleteMail(seq uint64) error {
	return t.do(func() error { return t.Tx.DeleteMail(seq) })
}

func (t *faultyTx) Value(name string) ([]byte, error) {
	return guarded(t.f, func() ([]byte, error) { return t.Tx.Value(name) })
}

func (t *faultyTx) PutValue(name string, value []byte) error {
	return t.do(func() error { return t.Tx.PutValue(name, value) })
}

func (t *faultyTx) AddAudit(a *store.Audit) error {
	return t.do(func() error { return t.Tx.AddAudit(a) })
}

func (t *faultyTx) PutAudit(a *store.Audit) error {
	return t.do(func() error { return t.Tx.PutAudit(a) })
}

func (t *faultyTx) Audits(q store.AuditQuery) (store.AuditPage, error) {
	return guarded(t.f, func() (store.AuditPage, error) { return t.Tx.Audits(q) })
}

func (t *faultyTx) PutLeftName(hash store.NameHash, left store.LeftName) error {
	return t.do(func() error { return t.Tx.PutLeftName(hash, left) })
}

func (t *faultyTx) LeftNames(after store.NameHash, limit int) ([]store.NameHash, error) {
	return guarded(t.f, func() ([]store.NameHash, error) { return t.Tx.LeftNames(after, limit) })
}

func (t *faultyTx) LeftName(hash store.NameHash) (store.LeftName, error) {
	return guarded(t.f, func() (store.LeftName, error) { return t.Tx.LeftName(hash) })
}

func (t *faultyTx) Invitation(id uuid.UUID) (*store.Invitation, error) {
	return guarded(t.f, func() (*store.Invitation, error) { return t.Tx.Invitation(id) })
}

func (t *faultyTx) InvitationByHash(hash store.TokenHash) (*store.Invitation, error) {
	return guarded(t.f, func() (*store.Invitation, error) { return t.Tx.InvitationByHash(hash) })
}

func (t *faultyTx) Invitations(after uuid.UUID, limit int) ([]*store.Invitation, error) {
	return guarded(t.f, func() ([]*store.Invitation, error) { return t.Tx.Invitations(after, limit) })
}

func (t *faultyTx) PutInvitation(i *store.Invitation) error {
	return t.do(func() error { return t.Tx.PutInvitation(i) })
}

func (t *faultyTx) DeleteInvitation(id uuid.UUID) error {
	return t.do(func() error { return t.Tx.DeleteInvitation(id) })
}
