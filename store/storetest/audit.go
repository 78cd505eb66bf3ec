// audit.go: what a store promises about the record of acts.

package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func newAudit(event string, account uuid.UUID, at time.Time) *store.Audit {
	return &store.Audit{At: at, Event: event, Account: account, Actor: account.String(), Address: "192.0.2.1", Agent: "Mozilla/5.0", Details: map[string]string{"how": event}}
}

func addAudits(t *testing.T, s store.Store, rows ...*store.Audit) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		for _, a := range rows {
			if err := tx.AddAudit(a); err != nil {
				return err
			}
		}
		return nil
	})
}

// audits reads all pages of a query, and returns the events in their order.
func audits(t *testing.T, s store.Store, q store.AuditQuery) (events []string) {
	t.Helper()
	var last uint64
	for {
		var page store.AuditPage
		view(t, s, func(tx store.Tx) (err error) {
			page, err = tx.Audits(q)
			return err
		})
		require.LessOrEqual(t, len(page.Rows), q.Limit)
		for _, a := range page.Rows {
			events = append(events, a.Event)
			if last != 0 {
				require.Equal(t, q.Newest, a.Seq < last)
			}
			last = a.Seq
		}
		if q.After = page.Next; !page.More {
			return events
		}
	}
}

var auditPromises = []promise{
	{"every field is read back", func(t *testing.T, open opener) {
		s := open(t)
		id := uuid.Must(uuid.NewV7())
		own, others, bare := newAudit("own", id, now), newAudit("other's", id, now.Add(time.Second)), &store.Audit{Event: "bare", At: now}
		others.Actor, others.Agent, others.Imported = "admin", "\xff\xfe", true
		addAudits(t, s, own, others, bare)
		var page store.AuditPage
		view(t, s, func(tx store.Tx) (err error) { page, err = tx.Audits(store.AuditQuery{Limit: 10}); return err })
		require.Len(t, page.Rows, 3)
		require.False(t, page.More)
		for i, want := range []*store.Audit{own, others, bare} {
			require.Zero(t, want.Seq, "the record that was given stays as it is")
			got := *page.Rows[i]
			require.NotZero(t, got.Seq)
			got.Seq = 0
			require.Equal(t, want, &got)
		}
		require.Equal(t, page.Rows[2].Seq, page.Next)
	}},
	{"pages by account, event and time, in both directions", func(t *testing.T, open opener) {
		s := open(t)
		ada, bob := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
		addAudits(t, s,
			newAudit("a", ada, now), newAudit("b", bob, now.Add(time.Hour)), newAudit("c", ada, now.Add(2*time.Hour)),
			newAudit("d", uuid.Nil, now.Add(3*time.Hour)), newAudit("a", bob, now.Add(4*time.Hour)), newAudit("e", ada, now.Add(-time.Hour)))
		for name, c := range map[string]struct {
			query store.AuditQuery
			want  string
		}{
			"all":        {store.AuditQuery{}, "a b c d a e"},
			"newest":     {store.AuditQuery{Newest: true}, "e a d c b a"},
			"ada":        {store.AuditQuery{Account: ada}, "a c e"},
			"ada newest": {store.AuditQuery{Account: ada, Newest: true}, "e c a"},
			"bob":        {store.AuditQuery{Account: bob}, "b a"},
			"nobody":     {store.AuditQuery{Account: uuid.Must(uuid.NewV7())}, ""},
			"event":      {store.AuditQuery{Event: "a"}, "a a"},
			"event ada":  {store.AuditQuery{Event: "a", Account: ada, Newest: true}, "a"},
			"since":      {store.AuditQuery{Since: now.Add(2 * time.Hour)}, "c d a"},
			"until":      {store.AuditQuery{Until: now.Add(time.Hour)}, "a e"},
			"between":    {store.AuditQuery{Since: now, Until: now.Add(3 * time.Hour), Newest: true}, "c b a"},
		} {
			for _, limit := range []int{1, 2, 100} {
				c.query.Limit = limit
				require.Equal(t, strings.Fields(c.want), append([]string{}, audits(t, s, c.query)...), "%s, %d a page", name, limit)
			}
		}
	}},
	{"who follows finds what comes later", func(t *testing.T, open opener) {
		s := open(t)
		q := store.AuditQuery{Limit: 10}
		for _, event := range []string{"a", "b", "c"} {
			addAudits(t, s, newAudit(event, uuid.Nil, now))
			view(t, s, func(tx store.Tx) error {
				page, err := tx.Audits(q)
				require.Len(t, page.Rows, 1)
				require.Equal(t, event, page.Rows[0].Event)
				q.After = page.Next
				return err
			})
		}
	}},
	{"a row can be written anew, and stays where it is", func(t *testing.T, open opener) {
		s := open(t)
		ada, bob := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
		addAudits(t, s, newAudit("a", ada, now), newAudit("b", bob, now.Add(time.Hour)), newAudit("c", ada, now.Add(2*time.Hour)))
		update(t, s, func(tx store.Tx) error {
			page, err := tx.Audits(store.AuditQuery{Account: ada, Limit: 10})
			require.NoError(t, err)
			row := page.Rows[0]
			row.Address, row.Agent, row.Details, row.Actor = "", "", map[string]string{"left": "1"}, "system"
			row.Event, row.Account, row.At = "other", bob, now.Add(time.Minute)
			require.NoError(t, tx.PutAudit(row))
			require.ErrorIs(t, tx.PutAudit(&store.Audit{Seq: 1 << 40, Event: "a"}), store.ErrNotFound)
			row.Agent = strings.Repeat("x", store.MaxAuditAgent+1)
			require.ErrorIs(t, tx.PutAudit(row), store.ErrTooLarge)
			return nil
		})
		require.Equal(t, []string{"a", "c"}, audits(t, s, store.AuditQuery{Account: ada, Limit: 10}))
		require.Equal(t, []string{"a", "b", "c"}, audits(t, s, store.AuditQuery{Limit: 10}))
		view(t, s, func(tx store.Tx) error {
			page, err := tx.Audits(store.AuditQuery{Limit: 1})
			require.NoError(t, err)
			got := page.Rows[0]
			require.Equal(t, &store.Audit{Seq: got.Seq, At: now, Event: "a", Account: ada, Actor: "system", Details: map[string]string{"left": "1"}}, got)
			require.ErrorIs(t, tx.PutAudit(got), store.ErrReadOnly)
			return nil
		})
	}},
	{"a row is written with its act or not at all", func(t *testing.T, open opener) {
		s := open(t)
		failed := errors.New("failed")
		require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error {
			return errors.Join(tx.AddAudit(newAudit("lost", uuid.Must(uuid.NewV7()), now)), failed)
		}), failed)
		require.Empty(t, audits(t, s, store.AuditQuery{Limit: 10}))
		require.ErrorIs(t, s.View(t.Context(), func(tx store.Tx) error { return tx.AddAudit(newAudit("lost", uuid.Nil, now)) }), store.ErrReadOnly)
	}},
	{"it outlives its account", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		putUsers(t, s, u)
		update(t, s, func(tx store.Tx) error {
			return errors.Join(tx.AddAudit(newAudit("gone", u.ID, now)), tx.DeleteUser(u.ID))
		})
		require.Equal(t, []string{"gone"}, audits(t, s, store.AuditQuery{Account: u.ID, Limit: 10}))
	}},
	{"no order of commits hides a row from who follows", func(t *testing.T, open opener) {
		s := open(t)
		stop := make(chan struct{})
		seen := make(chan int)
		go func() {
			n, q, last := 0, store.AuditQuery{Limit: 7}, false
			for {
				var page store.AuditPage
				_ = s.View(t.Context(), func(tx store.Tx) (err error) { page, err = tx.Audits(q); return err })
				n, q.After = n+len(page.Rows), page.Next
				if page.More {
					continue
				}
				if last {
					seen <- n
					return
				}
				select {
				case <-stop:
					last = true
				default:
				}
			}
		}()
		errs := together(crowd, func(i int) error {
			return s.Update(t.Context(), func(tx store.Tx) error { return tx.AddAudit(newAudit(fmt.Sprint("e", i), uuid.Nil, now)) })
		})
		close(stop)
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, crowd, <-seen)
	}},
	{"the first rows are removed by their time", func(t *testing.T, open opener) {
		s := open(t)
		ada := uuid.Must(uuid.NewV7())
		addAudits(t, s, newAudit("a", ada, now), newAudit("ahead", ada, now.AddDate(9, 0, 0)), newAudit("b", ada, now.Add(time.Hour)),
			newAudit("c", uuid.Nil, now.Add(2*time.Hour)), newAudit("late", ada, now))
		remove := func(before time.Time, limit int) (n int) {
			update(t, s, func(tx store.Tx) (err error) {
				n, err = tx.DeleteAudits(before, now.AddDate(1, 0, 0), limit)
				return err
			})
			return n
		}
		require.Equal(t, 1, remove(now, 10), "the one of a clock that was ahead, behind one that stays")
		require.Equal(t, 1, remove(now.Add(2*time.Hour), 1))
		require.Equal(t, 2, remove(now.Add(2*time.Hour), 10), "an old one behind one that stays, too")
		require.Equal(t, []string{"c"}, audits(t, s, store.AuditQuery{Limit: 10}))
		require.Empty(t, audits(t, s, store.AuditQuery{Account: ada, Limit: 10}))
		require.Equal(t, 1, remove(now.Add(3*time.Hour), 10))
		require.Empty(t, audits(t, s, store.AuditQuery{Limit: 10}))
	}},
	{"a row over its bounds is refused", func(t *testing.T, open opener) {
		s := open(t)
		for name, change := range map[string]func(*store.Audit){
			"event":   func(a *store.Audit) { a.Event = strings.Repeat("x", store.MaxAuditEvent+1) },
			"actor":   func(a *store.Audit) { a.Actor = strings.Repeat("x", store.MaxAuditActor+1) },
			"address": func(a *store.Audit) { a.Address = strings.Repeat("x", store.MaxAuditAddress+1) },
			"agent":   func(a *store.Audit) { a.Agent = strings.Repeat("x", store.MaxAuditAgent+1) },
			"details": func(a *store.Audit) { a.Details = map[string]string{"x": strings.Repeat("x", store.MaxAuditDetails)} },
		} {
			a := newAudit("e", uuid.Nil, now)
			change(a)
			require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.AddAudit(a) }), store.ErrTooLarge, name)
		}
	}},
}
