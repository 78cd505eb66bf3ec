// outbox_lease_test.go: several workers on one queue.

package registration

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// inBubbleOfTwo is inBubble with two engines on one queue, as two nodes have them.
func inBubbleOfTwo(t *testing.T, test func(t *testing.T, a, b *bench)) {
	t.Helper()
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), patience)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	one, err := file.Realm("default")
	require.NoError(t, err)
	two, err := file.Realm("default")
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) { test(t, newBench(t, one), newBench(t, two)) })
}

// Each message takes nearly as long as a lease lasts, and a claim has many: none is
// sent twice, whoever sends it.
func TestTwoWorkersSendEachMailOnce(t *testing.T) {
	inBubbleOfTwo(t, func(t *testing.T, a, b *bench) {
		slow, other := &benchMailer{takes: 110 * time.Second}, &benchMailer{takes: 110 * time.Second}
		pa, pb := a.postman(slow), b.postman(other)
		ids := a.queue(50)
		a.e.start(pa)
		b.e.start(pb)
		time.Sleep(3 * time.Hour)
		require.Zero(t, a.left())
		require.NotEmpty(t, other.got())
		require.Len(t, append(slow.got(), other.got()...), len(ids))
		require.ElementsMatch(t, ids, append(slow.got(), other.got()...))
		a.e.finish(pa)
		b.e.finish(pb)
	})
}

// What a dead worker had in its hands waits for the end of the lease, what one had
// that stopped does not.
func TestAWorkersEnd(t *testing.T) {
	inBubbleOfTwo(t, func(t *testing.T, a, b *bench) {
		ids := a.queue(3)
		_, _, err := a.store.ClaimMail(t.Context(), store.Claim{Worker: uuid.New(), Now: time.Now(), Lease: outbox.MailLease, Limit: 2})
		require.NoError(t, err)
		heir := &benchMailer{}
		pb := b.postman(heir)
		b.e.start(pb)
		time.Sleep(outbox.MailLease - time.Second)
		require.Equal(t, ids[2:], heir.got())
		time.Sleep(2 * time.Second)
		require.Equal(t, slices.Concat(ids[2:], ids[:2]), heir.got())
		b.e.finish(pb)

		slow := &benchMailer{takes: time.Minute}
		pa := a.postman(slow)
		a.e.start(pa)
		ids = a.queue(2)
		time.Sleep(10 * time.Second)
		a.e.finish(pa)
		pb = b.postman(heir)
		b.e.start(pb)
		synctest.Wait()
		require.Empty(t, slow.got())
		require.Equal(t, ids, heir.got()[3:])
		b.e.finish(pb)
	})
}

// A worker that was cut off from the store for longer than its lease leaves the
// message to the one that took it.
func TestALostLeaseCutsTheMailOff(t *testing.T) {
	inBubbleOfTwo(t, func(t *testing.T, a, b *bench) {
		slow := &benchMailer{takes: 100 * time.Second}
		pa := a.postman(slow)
		ids := a.queue(1)
		a.e.start(pa)
		time.Sleep(10 * time.Second)
		_, _, err := b.store.ClaimMail(t.Context(), store.Claim{Worker: uuid.New(), Now: time.Now().Add(3 * time.Minute), Lease: outbox.MailLease, Limit: 1})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Empty(t, slow.got())
		require.Equal(t, 1, slow.tried())
		require.Equal(t, 1, a.left(), "the row is untouched")
		time.Sleep(10 * time.Minute) // the other one dies
		require.Equal(t, ids, slow.got())
		a.e.finish(pa)
	})
}
