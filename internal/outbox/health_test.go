// health_test.go: what an owner learns of the queue, and how he has it go on.

package outbox_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
	"github.com/seed-928992b0/caddy-registration/store"
)

func healthOf(s *sitetest.Site) outbox.Health {
	s.T.Helper()
	h, err := outbox.HealthOf(s.T.Context(), s.Realm.Resources.Store)
	require.NoError(s.T, err)
	return h
}

func TestHealthOfTheMailServer(t *testing.T) {
	s := sitetest.New(t)
	require.Zero(t, healthOf(s))
	require.False(t, s.Realm.Resources.Outbox.NextTry().After(s.Realm.Now()))
	var tried atomic.Int64
	s.FailWith(func(*mail.Message) error {
		tried.Add(1)
		return &mail.Error{Server: true, Refused: true, Line: "username <name>", Err: errors.New("535 no " + strings.Repeat("ü", store.MaxMailFailed))}
	})
	s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
	require.Eventually(t, func() bool { return !s.Realm.Resources.Outbox.NextTry().IsZero() }, sitetest.Patience, time.Millisecond)
	h := healthOf(s)
	require.True(t, h.Succeeded.IsZero())
	require.Equal(t, s.Realm.Now().UTC().Truncate(time.Second), h.Failed)
	require.True(t, strings.HasPrefix(h.Words, "535 no"))
	require.LessOrEqual(t, len(h.Words), store.MaxMailFailed)
	require.Equal(t, "username <name>", h.Line)
	backlog, err := outbox.BacklogOf(t.Context(), s.Realm.Resources.Store)
	require.NoError(t, err)
	require.Equal(t, outbox.Backlog{Count: 1, Oldest: s.Queued()[0].Queued}, backlog)
	require.True(t, s.Realm.Resources.Outbox.NextTry().After(s.Realm.Now()), "the queue as a whole waits")

	before := tried.Load()
	n, err := s.Realm.Resources.Outbox.Retry(t.Context(), s.Realm.Resources.Store, s.Realm.Courier)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Eventually(t, func() bool { return tried.Load() > before }, sitetest.Patience, time.Millisecond, "it is tried at once, though the server waits for its probe")

	s.FailWith(nil)
	require.NoError(t, s.Realm.Resources.Outbox.Tried(t.Context(), s.Realm.Resources.Store, s.Realm.Courier, nil))
	require.Equal(t, "ada@example.org", s.Mail().To, "a test that arrives ends the waiting")
	require.Eventually(t, func() bool { return sitetest.QueueEmpty(s.Realm.Resources.Store) }, sitetest.Patience, time.Millisecond)
	h = healthOf(s)
	require.Equal(t, outbox.Health{Succeeded: h.Succeeded}, h)
	require.False(t, h.Succeeded.IsZero())
	require.Eventually(t, func() bool { return s.Realm.Resources.Outbox.NextTry().IsZero() }, sitetest.Patience, time.Millisecond)
}

// The moment at which mail broke lies between the last mail that a server took and the
// first that it refused, however many it took before.
func TestTheLastDeliveryIsTold(t *testing.T) {
	s := sitetest.New(t)
	post := sitetest.NewPostOffice(t, smtp.StartTLS)
	mailer := post.Mailer(t)
	s.FailWith(func(m *mail.Message) error { return mailer.Send(t.Context(), m) })
	becomes := func(want outbox.Health) {
		t.Helper()
		require.Eventually(t, func() bool { h := healthOf(s); h.Words = ""; return h == want }, sitetest.Patience, time.Millisecond, "%+v", want)
	}
	now := func() time.Time { return s.Realm.Now().UTC().Truncate(time.Second) }
	var taken time.Time
	for i := range 10 {
		s.Travel(20 * time.Second)
		taken = now()
		s.Browser().Post("/accounts/register", sitetest.Newcomer(fmt.Sprintf("member%d", i)))
		s.Mail()
		becomes(outbox.Health{Succeeded: taken})
	}
	post.Require(t, 1, 10)
	s.Travel(time.Minute)
	post.Set(func() {
		post.Mail = &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 3, 2}, Message: "closing for the night"}
	})
	s.Browser().Post("/accounts/register", sitetest.Newcomer("bob"))
	becomes(outbox.Health{Succeeded: taken, Failed: now()})
	require.Contains(t, healthOf(s).Words, "closing for the night")
	s.Travel(time.Hour)
	post.Set(func() { post.Mail = nil })
	_, err := s.Realm.Resources.Outbox.Retry(t.Context(), s.Realm.Resources.Store, s.Realm.Courier)
	require.NoError(t, err)
	s.Mail()
	becomes(outbox.Health{Succeeded: now()})
}

func TestAMailKeepsWhyItWaits(t *testing.T) {
	s := sitetest.New(t)
	s.FailWith(func(*mail.Message) error { return &mail.Error{Err: errors.New("451 4.7.1 greylisted")} })
	s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
	require.Eventually(t, func() bool { rows := s.Queued(); return len(rows) == 1 && rows[0].Attempts == 1 }, sitetest.Patience, time.Millisecond)
	require.Equal(t, "451 4.7.1 greylisted", s.Queued()[0].Failed)
	require.Zero(t, healthOf(s), "one mail is not the server")
	s.FailWith(nil)
	_, err := s.Realm.Resources.Outbox.Retry(t.Context(), s.Realm.Resources.Store, s.Realm.Courier)
	require.NoError(t, err)
	require.Equal(t, "ada@example.org", s.Mail().To, "it was put off, and is tried at once")
}

func TestATestSaysWhoseFaultItIs(t *testing.T) {
	s := sitetest.New(t)
	w := s.Realm.Resources.Outbox
	require.NoError(t, w.Tried(t.Context(), s.Realm.Resources.Store, s.Realm.Courier, &mail.Error{Err: errors.New("451 later")}))
	require.Zero(t, healthOf(s))
	for range 2 {
		require.NoError(t, w.Tried(t.Context(), s.Realm.Resources.Store, s.Realm.Courier, &mail.Error{Server: true, Err: errors.New("down")}))
		s.Travel(time.Minute)
	}
	require.Equal(t, "down", healthOf(s).Words)
	require.Equal(t, s.Realm.Now().Add(-2*time.Minute).UTC().Truncate(time.Second), healthOf(s).Failed, "since the first one")
	// What can't be read is written anew.
	spoil := func() {
		require.NoError(t, s.Realm.Resources.Store.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue("mail_health", []byte("{")) }))
		_, err := outbox.HealthOf(t.Context(), s.Realm.Resources.Store)
		require.Error(t, err)
	}
	spoil()
	require.NoError(t, w.Tried(t.Context(), s.Realm.Resources.Store, s.Realm.Courier, &mail.Error{Server: true, Err: errors.New("still down")}))
	require.Equal(t, "still down", healthOf(s).Words)
	spoil()
	require.NoError(t, w.Tried(t.Context(), s.Realm.Resources.Store, s.Realm.Courier, nil))
	require.Empty(t, healthOf(s).Words)
	// A store that can't be written says so.
	broken := &sitetest.BrokenStore{Store: s.Realm.Resources.Store}
	broken.Broken.Store(true)
	require.Error(t, w.Tried(t.Context(), broken, s.Realm.Courier, nil))
	require.Error(t, outbox.Testing(t.Context(), broken, s.Realm.Courier))
	_, err := w.Retry(t.Context(), broken, s.Realm.Courier)
	require.Error(t, err)
	require.Eventually(t, w.Running, sitetest.Patience, time.Millisecond)
}
