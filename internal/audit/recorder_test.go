// recorder_test.go: what failed is written together, and a flood of it is bounded.

package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// counted is a store that counts its commits, or fails.
type counted struct {
	store.Store
	commits atomic.Int64
	fail    error
}

func (s *counted) Update(ctx context.Context, fn func(store.Tx) error) error {
	if s.fail != nil {
		return s.fail
	}
	s.commits.Add(1)
	return s.Store.Update(ctx, fn)
}

type bench struct {
	t       testing.TB
	db      *counted
	file    *bolt.File
	now     time.Time
	rec     *audit.Recorder
	journal *audit.Journal
}

func newBench(t testing.TB) *bench {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), time.Minute)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	realm, err := file.Realm("default")
	require.NoError(t, err)
	b := &bench{t: t, file: file, db: &counted{Store: realm}, now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return b.now }
	b.rec = audit.NewRecorder(clock)
	b.journal = &audit.Journal{Realm: "default", Keep: time.Hour, Log: zap.NewNop(), Now: clock, Recorder: b.rec}
	return b
}

func (b *bench) fail(account uuid.UUID, address string) {
	b.journal.Fail(audit.Caller{Address: address, Agent: strings.Repeat("agent ", 50)}, audit.SignInFailed, account, "code", "login_invalid", "act", "login")
}

func (b *bench) flush(last bool) {
	b.t.Helper()
	require.NoError(b.t, b.rec.Flush(context.Background(), b.db, last))
}

func (b *bench) rows() (rows []*store.Audit, counts int) {
	b.t.Helper()
	var all []*store.Audit
	for q := (store.AuditQuery{Limit: 10_000}); ; {
		var page store.AuditPage
		require.NoError(b.t, b.db.View(context.Background(), func(tx store.Tx) (err error) { page, err = tx.Audits(q); return err }))
		all = append(all, page.Rows...)
		if q.After = page.Next; !page.More {
			break
		}
	}
	for _, a := range all {
		if n, err := strconv.Atoi(a.Details["count"]); err == nil {
			counts += n
		} else {
			rows = append(rows, a)
		}
	}
	return rows, counts
}

// used is how many bytes of the file are in use.
func (b *bench) used() int64 {
	b.t.Helper()
	tx, err := b.file.Db.Begin(false)
	require.NoError(b.t, err)
	defer func() { require.NoError(b.t, tx.Rollback()) }()
	return tx.Size() - int64(b.file.Db.Stats().FreeAlloc)
}

// A flood of wrong passwords, at the accounts of a realm in turn and from as many
// addresses: each is in a row or in a count, and the store takes little of it, however
// long it lasts. The bound is for as many as a million at ten a second.
func TestAFloodOfFailuresIsBounded(t *testing.T) {
	const perSecond = 10
	for name, c := range map[string]struct {
		tries, accounts, addresses int
	}{
		"one account":                {30_000, 1, 1},
		"one account, many clients":  {30_000, 1, 10_000},
		"many accounts, one client":  {30_000, 10_000, 1},
		"many accounts and clients":  {30_000, 10_000, 10_000},
		"nobody's names, one client": {30_000, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			accounts := make([]uuid.UUID, max(1, c.accounts))
			for i := range c.accounts {
				accounts[i] = uuid.Must(uuid.NewV7())
			}
			b.flush(true)
			before := b.used()
			for i := range c.tries {
				b.fail(accounts[i%len(accounts)], fmt.Sprintf("2001:db8:%x:%x::1", i%c.addresses/256, i%c.addresses%256))
				if i%perSecond == perSecond-1 {
					b.now = b.now.Add(time.Second)
					b.flush(false)
				}
			}
			hours := float64(c.tries) / perSecond / 3600
			commits := b.db.commits.Load()
			b.flush(true)
			rows, counts := b.rows()
			require.Equal(t, c.tries, len(rows)+counts, "each is told of")
			require.LessOrEqual(t, float64(len(rows)), 600+60*hours+1)
			require.LessOrEqual(t, float64(commits), 600+(60+6)*hours+2, "and costs no commit of its own")
			grown := b.used() - before
			// What a million would be: the burst, and the rows of 28 hours.
			perRow := float64(grown) / float64(len(rows)+int(6*hours)+1)
			t.Logf("%d rows, %d counted, %d commits, %d kB, %.0f bytes a row", len(rows), counts, commits, grown>>10, perRow)
			million := perRow * (600 + 66*1e6/perSecond/3600)
			require.Less(t, max(million, float64(grown)), 1e6)
		})
	}
}

// A million of them, each call made: at a rate that a large botnet has, and, in the long
// form, over the 28 hours that it takes at ten a second.
func TestFaultMillionWrongPasswords(t *testing.T) {
	rates := []int{1000}
	if os.Getenv("REGISTRATION_FAULTS") == "long" {
		rates = append(rates, 10)
	}
	for _, perSecond := range rates {
		t.Run(fmt.Sprintf("%d a second", perSecond), func(t *testing.T) {
			const tries = 1_000_000
			b := newBench(t)
			accounts := make([]uuid.UUID, 1000)
			for i := range accounts {
				accounts[i] = uuid.Must(uuid.NewV7())
			}
			b.flush(true)
			before, size := b.used(), b.size()
			for i := range tries {
				b.fail(accounts[i%len(accounts)], fmt.Sprintf("198.51.%d.%d", i/7%256, i%256))
				if i%perSecond == perSecond-1 {
					b.now = b.now.Add(time.Second)
					b.flush(false)
				}
			}
			commits := b.db.commits.Load()
			b.flush(true)
			rows, counts := b.rows()
			require.Equal(t, tries, len(rows)+counts, "each is told of")
			t.Logf("%d rows, %d counted, %d commits, %d kB in use, the file %d kB larger", len(rows), counts, commits, (b.used()-before)>>10, (b.size()-size)>>10)
			require.Less(t, b.used()-before, int64(1e6))
			require.Less(t, b.size()-size, int64(1e6))
			minutes := tries / perSecond / 60
			require.LessOrEqual(t, commits, int64(600+minutes+minutes/10+2), "and costs no commit of its own")
		})
	}
}

// size is how large the file is.
func (b *bench) size() int64 {
	info, err := os.Stat(b.file.Path)
	require.NoError(b.t, err)
	return info.Size()
}

func TestFailuresAreWrittenTogether(t *testing.T) {
	b := newBench(t)
	id := uuid.Must(uuid.NewV7())
	for range 5 {
		b.fail(id, "192.0.2.1")
	}
	require.Len(t, b.rec.Wake, 1)
	rows, _ := b.rows()
	require.Empty(t, rows)
	before := b.db.commits.Load()
	b.flush(false)
	require.Equal(t, before+1, b.db.commits.Load())
	rows, counts := b.rows()
	require.Len(t, rows, 5)
	require.Zero(t, counts)
	require.Len(t, rows[0].Agent, 160)
	b.flush(false)
	require.Equal(t, before+1, b.db.commits.Load(), "nothing to write costs nothing")
}

// What has no room is counted by event, and told of every ten minutes and at the end.
func TestWhatHasNoRoomIsCounted(t *testing.T) {
	b := newBench(t)
	id := uuid.Must(uuid.NewV7())
	for range 25 {
		b.fail(id, "192.0.2.1")
	}
	b.fail(uuid.Must(uuid.NewV7()), "192.0.2.1")
	require.True(t, b.rec.Counting())
	b.flush(false)
	rows, counts := b.rows()
	require.Len(t, rows, 21, "another account has its own")
	require.Zero(t, counts)
	b.now = b.now.Add(audit.CountEvery)
	b.flush(false)
	_, counts = b.rows()
	require.Equal(t, 5, counts)
	require.False(t, b.rec.Counting())
	b.fail(id, "192.0.2.1")
	b.flush(false)
	rows, _ = b.rows()
	require.Len(t, rows, 22, "one more each ten minutes")
	b.fail(id, "192.0.2.1")
	b.flush(true)
	_, counts = b.rows()
	require.Equal(t, 6, counts)
}

// A clock that was ahead leaves nobody without rows, nor with a flood of them.
func TestFailuresUnderAWrongClock(t *testing.T) {
	b := newBench(t)
	id := uuid.Must(uuid.NewV7())
	b.now = b.now.AddDate(5, 0, 0)
	for range 30 {
		b.fail(id, "192.0.2.1")
	}
	b.now = b.now.AddDate(-5, 0, 0)
	b.fail(id, "192.0.2.1")
	b.flush(false)
	_, counts := b.rows()
	require.Equal(t, 11, counts, "counting began in the future: told of at once")
	b.now = b.now.Add(10 * time.Minute)
	b.fail(id, "192.0.2.1")
	b.flush(false)
	rows, _ := b.rows()
	require.Len(t, rows, 21)
}

func TestFailuresOutliveAFailingStore(t *testing.T) {
	b := newBench(t)
	b.db.fail = errors.New("the disk is full")
	for i := range 2000 {
		b.fail(uuid.Must(uuid.NewV7()), "192.0.2.1")
		if i%100 == 0 {
			require.Error(t, b.rec.Flush(t.Context(), b.db, false))
		}
	}
	b.db.fail = nil
	b.flush(true)
	rows, counts := b.rows()
	require.Len(t, rows, 600)
	require.Equal(t, 1400, counts)
}

func TestRowsAreCutToTheirBounds(t *testing.T) {
	b := newBench(t)
	row := b.journal.Row(audit.Caller{Actor: strings.Repeat("a", 99), Address: strings.Repeat("1", 99), Agent: strings.Repeat("é", 99)}, audit.SignedIn, uuid.Nil,
		"empty", "", "long", strings.Repeat("é", 2000), "after", "x")
	require.NoError(t, b.db.Update(t.Context(), func(tx store.Tx) error { return b.journal.Write(tx, &row) }))
	require.NotContains(t, row.Details, "empty")
	require.True(t, strings.HasSuffix(row.Agent, "é"))
	var none *audit.Journal
	row = none.Row(audit.Caller{}, audit.SignedIn, uuid.Nil)
	require.NoError(t, none.Write(nil, &row))
	none.Tell(row)
	none.Fail(audit.Caller{}, audit.Throttled, uuid.Nil)
}
