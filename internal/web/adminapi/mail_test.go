// mail_test.go: the routes of mail and of the doctor.

package adminapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/doctor"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// desk is a site with its admin endpoint.
type desk struct {
	*sitetest.Site
	realm *adminapi.Realm
}

func newDesk(t *testing.T) *desk {
	s := sitetest.New(t)
	return &desk{s, &adminapi.Realm{Realm: s.Realm.Realm.Realm, Post: &adminapi.Post{Courier: s.Realm.Courier, Worker: s.Realm.Resources.Outbox, Mailer: "memory"}}}
}

// with has another mailer for what the desk sends.
func (d *desk) with(m mail.Mailer) *desk {
	courier := *d.realm.Post.Courier
	courier.Mailer = m
	post := *d.realm.Post
	post.Courier = &courier
	d.realm.Post = &post
	return d
}

// ask returns the lines of an answer, or the refusal.
func (d *desk) ask(method, path, body string) (lines []map[string]any, refused *adminapi.Error) {
	d.T.Helper()
	server := &adminapi.Server{Realm: func(string) *adminapi.Realm { return d.realm }}
	rec := httptest.NewRecorder()
	if err := server.Serve(rec, httptest.NewRequest(method, "/registration/default/"+path, strings.NewReader(body))); err != nil {
		require.ErrorAs(d.T, err, &refused)
		return nil, refused
	}
	for dec := json.NewDecoder(rec.Body); dec.More(); {
		var line map[string]any
		require.NoError(d.T, dec.Decode(&line))
		lines = append(lines, line)
	}
	return lines, nil
}

// mailerFunc is a mailer that tells nothing, or what its function tells.
type mailerFunc func(ctx context.Context, m *mail.Message) error

func (f mailerFunc) Send(ctx context.Context, m *mail.Message) error { return f(ctx, m) }
func (mailerFunc) Close() error                                      { return nil }

func TestMailTestRoute(t *testing.T) {
	d := newDesk(t)
	lines, refused := d.ask(http.MethodPost, "mail/test", `{"to": "ada@bücher.example"}`)
	require.Nil(t, refused)
	require.Equal(t, []map[string]any{{"step": "memory", "answer": "this mailer has taken the mail, and tells no more"}, {"result": "sent", "mailer": "memory"}}, lines)
	m := d.Mail()
	require.Equal(t, "ada@xn--bcher-kva.example", m.To)
	require.Equal(t, "Test email from example.com", m.Subject)
	require.Contains(t, m.Text, "This email was sent to see whether email from example.com arrives.")
	require.NotEqual(t, m.ID, "")
	require.Empty(t, d.Queued(), "it is no part of the queue")

	for name, c := range map[string]struct {
		err    error
		result map[string]any
	}{
		"the server's fault": {&mail.Error{Server: true, Refused: true, Line: "username <name>", Err: errors.New("535 no\x1b[31m")}, map[string]any{"error": "535 no?[31m", "line": "username <name>"}},
		"later":              {&mail.Error{Err: errors.New("451 later")}, map[string]any{"error": "451 later", "later": true}},
		"for good":           {&mail.Error{Permanent: true, Recipient: true, Err: errors.New("550 5.1.1 who?")}, map[string]any{"error": "550 5.1.1 who?"}},
		"refused":            {&mail.Error{Refused: true, Err: errors.New("552 full")}, map[string]any{"error": "552 full"}},
		"another error":      {errors.New("no"), map[string]any{"error": "no"}},
	} {
		t.Run(name, func(t *testing.T) {
			lines, refused := newDesk(t).with(mailerFunc(func(ctx context.Context, _ *mail.Message) error {
				mail.TraceOf(ctx).Tell("MAIL", "MAIL FROM:<>", "250 ok")
				return c.err
			})).ask(http.MethodPost, "mail/test", `{"to": "ada@example.org"}`)
			require.Nil(t, refused)
			c.result["result"], c.result["mailer"] = "failed", "memory"
			require.Equal(t, []map[string]any{{"step": "MAIL", "sent": "MAIL FROM:<>", "answer": "250 ok"}, c.result}, lines)
		})
	}
	lines, refused = newDesk(t).with(mailerFunc(func(context.Context, *mail.Message) error { panic("oops") })).ask(http.MethodPost, "mail/test", `{"to": "ada@example.org"}`)
	require.Nil(t, refused)
	require.Contains(t, lines[0]["error"], "the mailer panicked")

	for body, part := range map[string]string{
		`{"to": "ada"}`: `to is "ada"; write one e-mail address`, `{"to": "Ada <ada@example.org>"}`: "write one", `{"to": "a@example.org, b@example.org"}`: "write one", `{}`: "write one", `{"from": "x"}`: "can't be read",
	} {
		_, refused := d.ask(http.MethodPost, "mail/test", body)
		require.NotNil(t, refused, body)
		require.Equal(t, http.StatusBadRequest, refused.Status)
		require.Contains(t, refused.Message, part)
	}
	for _, without := range []*adminapi.Post{nil, {}, {Courier: &outbox.Courier{}}} {
		d.realm.Post = without
		for path, body := range map[string]string{"mail/test": `{"to": "ada@example.org"}`, "mail/retry": ""} {
			_, refused := d.ask(http.MethodPost, path, body)
			require.Equal(t, http.StatusConflict, refused.Status)
			require.Contains(t, refused.Message, "mailer smtp mail.example.com:587")
		}
	}
}

// No mail goes out without its row; what can't be kept of how it went is told.
func TestMailTestWhereTheStoreFails(t *testing.T) {
	d := newDesk(t)
	well := d.Accounts.Store
	d.Accounts.Store = &sitetest.FaultyStore{Store: well, FailAt: 1}
	_, refused := d.ask(http.MethodPost, "mail/test", `{"to": "ada@example.org"}`)
	require.GreaterOrEqual(t, refused.Status, 500)
	d.NoMail()
	broken := &sitetest.BrokenStore{Store: well}
	d.Accounts.Store = broken
	lines, refused := d.with(mailerFunc(func(context.Context, *mail.Message) error { broken.Broken.Store(true); return nil })).ask(http.MethodPost, "mail/test", `{"to": "ada@example.org"}`)
	require.Nil(t, refused)
	require.Equal(t, map[string]any{"result": "sent", "mailer": "memory", "error": sitetest.ErrDisk.Error()}, lines[1])
	_, refused = d.ask(http.MethodPost, "mail/retry", "")
	require.GreaterOrEqual(t, refused.Status, 500)
	d.Accounts.Store = well
}

// Who gives up says nothing about the server.
func TestMailTestThatIsBrokenOff(t *testing.T) {
	d := newDesk(t)
	ctx, stop := context.WithCancel(t.Context())
	d.with(mailerFunc(func(ctx context.Context, _ *mail.Message) error { stop(); return mail.Stopped(ctx) }))
	server := &adminapi.Server{Realm: func(string) *adminapi.Realm { return d.realm }}
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/registration/default/mail/test", strings.NewReader(`{"to": "ada@example.org"}`))
	require.NoError(t, server.Serve(httptest.NewRecorder(), req))
	health, err := outbox.HealthOf(t.Context(), d.Accounts.Store)
	require.NoError(t, err)
	require.Zero(t, health)
}

// The store has seen a time that the clock doesn't say any more.
func TestClockSeen(t *testing.T) {
	d := newDesk(t)
	seen, err := d.Accounts.ClockSeen(t.Context())
	require.NoError(t, err)
	require.Zero(t, seen, "an empty store has seen none")
	now := d.Realm.Now().UTC().Truncate(time.Second)
	d.Member("ada")
	d.Travel(-3 * time.Hour)
	seen, err = d.Accounts.ClockSeen(t.Context())
	require.NoError(t, err)
	require.Equal(t, now, seen)
	found := doctor.Look(&doctor.Facts{Now: d.Realm.Now(), Seen: seen})
	require.True(t, slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Level == doctor.Fault }))
	d.Accounts.Store = &sitetest.FaultyStore{Store: d.Accounts.Store, FailAt: 1}
	_, err = d.Accounts.ClockSeen(t.Context())
	require.Error(t, err)
	_, err = outbox.BacklogOf(t.Context(), &sitetest.FaultyStore{Store: d.Realm.Resources.Store, FailAt: 1})
	require.Error(t, err)
}

func TestMailQueueRoute(t *testing.T) {
	d := newDesk(t)
	d.FailWith(func(*mail.Message) error { return &mail.Error{Err: errors.New("451 4.7.1 greylisted\x1b")} })
	d.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
	require.Eventually(t, func() bool { rows := d.Queued(); return len(rows) == 1 && rows[0].Attempts == 1 }, sitetest.Patience, time.Millisecond)
	row := d.Queued()[0]
	require.NoError(t, d.Realm.Resources.Store.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(
			tx.PutMail(&store.Mail{Kind: store.MailDecoy, To: "nobody@example.org", Queued: d.Realm.Now(), Due: d.Realm.Now().Add(time.Hour)}),
			tx.PutMail(&store.Mail{Kind: store.MailResetPassword, To: "ada@example.org", Queued: d.Realm.Now(), Due: d.Realm.Now().Add(time.Hour)}),
		)
	}))
	lines, refused := d.ask(http.MethodGet, "mail/queue", "")
	require.Nil(t, refused)
	require.Len(t, lines, 2, "a decoy is nobody's mail")
	require.Equal(t, "register", lines[0]["kind"])
	require.Equal(t, "ada@example.org", lines[0]["to"])
	require.Equal(t, row.User.String(), lines[0]["account"])
	require.InDelta(t, 1, lines[0]["attempts"], 0)
	require.Equal(t, "451 4.7.1 greylisted?", lines[0]["error"])
	require.Equal(t, row.Due.Format(time.RFC3339Nano), lines[0]["next_try"])
	require.Equal(t, false, lines[0]["server_fails"])
	require.NotContains(t, lines[1], "account")
	require.NotContains(t, lines[1], "error")

	well := d.Accounts.Store
	d.Accounts.Store = &sitetest.FaultyStore{Store: well, FailAt: 1}
	_, refused = d.ask(http.MethodGet, "mail/queue", "")
	require.NotNil(t, refused)
	d.Accounts.Store = &sitetest.FaultyStore{Store: well, FailAt: 3}
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { d.ask(http.MethodGet, "mail/queue", "") }, "a short list must not look like a whole one")
	d.Accounts.Store = well

	d.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: errors.New("the server is down")} })
	lines, refused = d.ask(http.MethodPost, "mail/retry", "")
	require.Nil(t, refused)
	require.Equal(t, []map[string]any{{"waiting": 2.0}}, lines)
	require.Eventually(t, func() bool { return !d.Realm.Resources.Outbox.NextTry().IsZero() }, sitetest.Patience, time.Millisecond)
	lines, refused = d.ask(http.MethodGet, "mail/queue", "")
	require.Nil(t, refused)
	require.Equal(t, "the server is down", lines[0]["error"], "that is why all of it waits")
	require.InDelta(t, 1, lines[0]["attempts"], 0, "that try is no mail's own")
	require.Equal(t, true, lines[0]["server_fails"])
	require.InDelta(t, 0, lines[1]["attempts"], 0)
	require.Equal(t, true, lines[1]["server_fails"])
	require.Equal(t, d.Realm.Resources.Outbox.NextTry().Format(time.RFC3339Nano), lines[1]["next_try"])
}

func TestDoctorRoute(t *testing.T) {
	d := newDesk(t)
	_, refused := d.ask(http.MethodGet, "doctor", "")
	require.Equal(t, http.StatusNotImplemented, refused.Status)
	d.realm.Facts = func(context.Context) (*doctor.Facts, error) { return &doctor.Facts{}, nil }
	lines, refused := d.ask(http.MethodGet, "doctor", "")
	require.Nil(t, refused)
	found := lines[0]["findings"].([]any)
	require.Equal(t, map[string]any{
		"level": "advice", "code": "routes", "message": "no server runs, so nobody can say whether the accounts are where base_url says, and whether guards see their cookie",
		"mend": "caddy start, then once more: caddy registration doctor",
	}, found[0])
	d.realm.Facts = func(context.Context) (*doctor.Facts, error) { return nil, sitetest.ErrDisk }
	_, refused = d.ask(http.MethodGet, "doctor", "")
	require.Equal(t, http.StatusInternalServerError, refused.Status)
	require.Contains(t, refused.Message, sitetest.ErrDisk.Error())
}
