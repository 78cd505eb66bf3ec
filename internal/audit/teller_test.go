// teller_test.go: who listens hears of each row once, and keeps nobody waiting.

package audit_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestATellerDropsWhatIsTooMuch(t *testing.T) {
	b := newBench(t)
	var told, lost atomic.Int64
	goOn := make(chan struct{})
	teller := &audit.Teller{
		Tell:  func(audit.Told) { <-goOn; told.Add(1) },
		Wants: func(event string) bool { return event == string(audit.SignedIn) },
		Store: b.db, Lost: func(n int64) { lost.Add(n) },
	}
	b.journal.Teller = teller
	const rows = 5000
	for range rows {
		b.journal.Tell(b.journal.Row(audit.Caller{}, audit.SignedIn, uuid.New()))
		b.journal.Tell(b.journal.Row(audit.Caller{}, audit.SignedOut, uuid.New()))
	}
	close(goOn)
	teller.Close(time.Minute)
	require.Equal(t, int64(rows), told.Load()+lost.Load())
	require.LessOrEqual(t, told.Load(), int64(1002))
	require.Positive(t, lost.Load())
	b.journal.Tell(b.journal.Row(audit.Caller{}, audit.SignedIn, uuid.New()))
	teller.Close(time.Minute)
	require.Equal(t, int64(rows), told.Load()+lost.Load(), "closed is closed")
}

func TestATellerThatHangsIsLeftAlone(t *testing.T) {
	b := newBench(t)
	b.journal.Teller = &audit.Teller{Tell: func(audit.Told) { <-t.Context().Done() }, Wants: func(string) bool { return true }, Store: b.db}
	b.journal.Tell(b.journal.Row(audit.Caller{}, audit.SignedIn, uuid.Nil))
	b.journal.Teller.Close(time.Millisecond)
	new(audit.Teller).Close(time.Minute) // which nobody has told anything
}

// Who is gone when he is told of has his name all the same, kept in the act.
func TestNamesOfWhoGoes(t *testing.T) {
	b := newBench(t)
	heard := make(chan audit.Told, 3)
	b.journal.Teller = &audit.Teller{Tell: func(row audit.Told) { heard <- row }, Wants: func(event string) bool { return event == string(audit.AccountDeleted) }, Store: b.db}
	t.Cleanup(func() { b.journal.Teller.Close(time.Minute) })
	ada, bob := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada"}, &store.User{ID: uuid.Must(uuid.NewV7()), Username: "bob"}
	var names audit.Names
	require.NoError(t, b.db.Update(t.Context(), func(tx store.Tx) error {
		names = nil
		for _, u := range []*store.User{ada, bob} {
			require.NoError(t, tx.PutUser(u, nil))
		}
		for _, id := range []uuid.UUID{ada.ID, ada.ID, uuid.New()} {
			b.journal.Name(tx, &names, audit.AccountDeleted, id)
		}
		b.journal.Name(tx, &names, audit.SignedIn, bob.ID)
		return tx.DeleteUser(ada.ID)
	}))
	require.Equal(t, audit.Names{ada.ID: "ada"}, names)
	for _, id := range []uuid.UUID{ada.ID, bob.ID, uuid.New()} {
		b.journal.TellOf(names, b.journal.Row(audit.Caller{}, audit.AccountDeleted, id))
	}
	for _, want := range []string{"ada", "bob", ""} {
		require.Equal(t, want, (<-heard).Username)
	}
}
