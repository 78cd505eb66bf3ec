// acts_test.go: every act leaves its row, in the store and in the log; what failed
// is bounded.

package audit_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// audits are the rows of the record, with what waits to be written.
func auditsOf(s *sitetest.Site) []*store.Audit {
	s.T.Helper()
	require.NoError(s.T, s.Realm.Resources.Failures.Flush(s.T.Context(), s.Accounts.Store, true))
	page, err := s.Accounts.Audits(s.T.Context(), store.AuditQuery{Limit: 10_000})
	require.NoError(s.T, err)
	require.False(s.T, page.More)
	return page.Rows
}

func eventsOf(rows []*store.Audit) (events []string) {
	for _, a := range rows {
		events = append(events, a.Event)
	}
	return events
}

// auditLines are the lines of the record in the log, as a Caddy writes them.
func linesOf(s *sitetest.Site) (lines []string) {
	s.T.Helper()
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	for _, entry := range s.Logs.All() {
		if entry.LoggerName != "audit" {
			continue
		}
		entry.LoggerName = "http.handlers.registration.audit"
		buf, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		require.NoError(s.T, err)
		lines = append(lines, strings.TrimSpace(buf.String()))
	}
	return lines
}

// server answers as Caddy's admin endpoint does.
func server(s *sitetest.Site) *adminapi.Server {
	return &adminapi.Server{Realm: func(string) *adminapi.Realm {
		return &adminapi.Realm{Realm: s.Realm.Realm.Realm, Post: &adminapi.Post{Courier: s.Realm.Courier, Worker: s.Realm.Resources.Outbox}, Webhooks: s.Realm.Webhooks}
	}, Names: func() []string { return []string{"default"} }}
}

// wait lets time pass in the steps in which the sweep goes its rounds.
func wait(s *sitetest.Site, d time.Duration) {
	s.T.Helper()
	for step := 2 * account.PurgeEvery(s.Realm.Courier.Unconfirmed); d > -step; d -= step {
		_, err := s.Realm.Resources.Purger.Purge(s.T.Context(), s.Realm.Courier)
		require.NoError(s.T, err)
		s.Travel(step)
	}
}

func administer(s *sitetest.Site, method, path string, body any) *httptest.ResponseRecorder {
	s.T.Helper()
	raw, err := json.Marshal(body)
	require.NoError(s.T, err)
	req := httptest.NewRequest(method, "/registration/"+path, strings.NewReader(string(raw)))
	rec := httptest.NewRecorder()
	require.NoError(s.T, server(s).Serve(rec, req), path)
	return rec
}

// An auditedAct is something that somebody does: before, what has to be there first;
// events, what the act itself leaves.
var severalEmails = []func(*registration.Settings){func(s *registration.Settings) { s.User.MaxEmails = 5 }}

// withTwoEmails is who is signed in to an account that has ada's address and a further one.
func withTwoEmails(s *sitetest.Site) any {
	b := adaSignedIn(s).(*sitetest.Browser)
	ok(s, b, "register-email", sitetest.Data{"email": "new@example.org"})
	ok(s, s.Browser(), "verify-email", sitetest.LinkOf(s.Mail(), s.T))
	s.Mail()
	return b
}

type auditedAct struct {
	settings []func(*registration.Settings)
	before   func(*sitetest.Site) any
	act      func(*sitetest.Site, any)
	events   string
	// anew: what fails of it leaves something, such as a try that counts.
	anew bool
}

func asksForMail(path string, body sitetest.Data) func(*sitetest.Site) any {
	return func(s *sitetest.Site) any {
		s.Member("ada")
		s.Browser().Post("/accounts/"+path, body)
		return sitetest.LinkOf(s.Mail(), s.T)
	}
}

func member(s *sitetest.Site) any { return s.Member("ada") }

// waiting is a member who waits to be approved.
func waiting(s *sitetest.Site) any {
	id := s.Member("ada")
	s.Set(id, func(u *store.User) { u.IsActive, u.AwaitsApproval = false, true })
	return id
}

func invitation(s *sitetest.Site) any {
	_, _, err := s.Accounts.Invite(s.T.Context(), account.NewInvitation{})
	require.NoError(s.T, err)
	return nil
}

func adaSignedIn(s *sitetest.Site) any { s.Member("ada"); return s.SignedIn("ada") }

// ok posts and requires that it is done.
func ok(s *sitetest.Site, b *sitetest.Browser, path string, body any) {
	s.T.Helper()
	res := b.Post("/accounts/"+path, body)
	require.Less(s.T, res.StatusCode, 300, res.Body)
}

const otherPassword = "an even longer passphrase"

var (
	newPassword  = sitetest.Data{"password": otherPassword, "password_confirm": otherPassword}
	withMailCode = func(s *registration.Settings) { s.Login.MailCode = sitetest.On() }
	withTerms    = func(s *registration.Settings) {
		s.Register.Terms = registration.TermsSettings{Page: "/terms.html", Version: "2026-11-01"}
	}
	withReset = func(on bool) func(*registration.Settings) {
		return func(s *registration.Settings) { s.ResetPassword.Enabled = &on }
	}
)

// auditedEndpoints has, of each endpoint that acts, what it does to the record. One
// without events changes nothing worth a row, and says why.
var auditedEndpoints = map[string]auditedAct{
	"register": {act: func(s *sitetest.Site, _ any) { ok(s, s.Browser(), "register", sitetest.Newcomer("ada")) }, events: "account_registered"},
	"export": {anew: true, // a copy that was not read to its end has been told all the same
		before: func(s *sitetest.Site) any { s.Member("ada"); return s.SignedIn("ada") },
		act:    func(s *sitetest.Site, b any) { ok(s, b.(*sitetest.Browser), "export", sitetest.Data{}) }, events: "data_exported",
	},
	"delete-account": {
		before: func(s *sitetest.Site) any { s.Member("ada"); return s.SignedIn("ada") },
		act:    func(s *sitetest.Site, b any) { ok(s, b.(*sitetest.Browser), "delete-account", sitetest.Data{}) }, events: "account_closed",
	},
	"verify-registration": {
		before: func(s *sitetest.Site) any {
			s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
			return sitetest.LinkOf(s.Mail(), s.T)
		},
		act: func(s *sitetest.Site, link any) { ok(s, s.Browser(), "verify-registration", link) }, events: "account_verified",
	},
	"correct-email": {before: func(s *sitetest.Site) any {
		b := s.Browser().LikeBrowser()
		b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada")))
		return b
	}, act: func(s *sitetest.Site, b any) {
		api := s.Browser()
		api.Cookie = b.(*sitetest.Browser).Cookie
		ok(s, api, "correct-email", sitetest.Data{"email": "lovelace@example.org"})
	}, events: "email_change_requested"},
	"resend-verification": {
		before: func(s *sitetest.Site) any {
			s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
			s.Mail()
			return nil
		},
		act: func(s *sitetest.Site, _ any) {
			ok(s, s.Browser(), "resend-verification", sitetest.Data{"login": "ada"})
		}, events: "link_requested",
	},
	"login": {before: member, act: func(s *sitetest.Site, _ any) { s.SignedIn("ada") }, events: "signed_in"},
	"login-factor": {settings: []func(*registration.Settings){withTerms}, before: func(s *sitetest.Site) any {
		_, err := s.Accounts.Create(s.T.Context(), account.NewAccount{Username: "ada", Password: sitetest.Password})
		require.NoError(s.T, err)
		b := s.Browser()
		return [2]any{b, sitetest.With(b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(s.T), nil)}
	}, act: func(s *sitetest.Site, with any) {
		ok(s, with.([2]any)[0].(*sitetest.Browser), "login-factor", with.([2]any)[1])
	}, events: "terms_accepted signed_in"},
	"step-up": {before: adaSignedIn, act: func(s *sitetest.Site, b any) {
		ok(s, b.(*sitetest.Browser), "step-up", sitetest.Data{"password": sitetest.Password})
	}, events: "stepped_up"},
	"send-login-code": {settings: []func(*registration.Settings){withMailCode}, before: member, act: func(s *sitetest.Site, _ any) {
		ok(s, s.Browser(), "send-login-code", sitetest.Data{"login": "ada"})
	}, events: "link_requested"},
	"login-code": {anew: true, settings: []func(*registration.Settings){withMailCode}, before: func(s *sitetest.Site) any {
		member(s)
		b := s.Browser()
		ok(s, b, "send-login-code", sitetest.Data{"login": "ada"})
		return []any{b, regexp.MustCompile(`(?m)^    (\d{6})$`).FindStringSubmatch(s.Mail().Text)[1]}
	}, act: func(s *sitetest.Site, with any) {
		ok(s, with.([]any)[0].(*sitetest.Browser), "login-code", sitetest.Data{"login": "ada", "code": with.([]any)[1]})
	}, events: "signed_in"},
	"logout":        {before: adaSignedIn, act: func(s *sitetest.Site, b any) { ok(s, b.(*sitetest.Browser), "logout", nil) }, events: "signed_out"},
	"sessions":      {}, // shows
	"refresh-token": {}, // is the use of a sign-in, every few minutes
	"revoke-session": {before: adaSignedIn, act: func(s *sitetest.Site, b any) {
		ok(s, b.(*sitetest.Browser), "revoke-session", sitetest.Data{"others": true})
	}, events: "sessions_ended"},
	"end-sign-in": {settings: []func(*registration.Settings){func(s *registration.Settings) { s.Notices.NewDevice = sitetest.On() }}, before: func(s *sitetest.Site) any {
		adaSignedIn(s)
		s.SignedIn("ada")
		return sitetest.LinkOf(s.Mail(), s.T)
	}, act: func(s *sitetest.Site, link any) { ok(s, s.Browser(), "end-sign-in", link) }, events: "sessions_ended"},
	"profile": {before: adaSignedIn, act: func(s *sitetest.Site, b any) {
		require.Equal(s.T, http.StatusOK, b.(*sitetest.Browser).Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "Ada"}).StatusCode)
	}, events: "profile_changed"},
	"language": {before: adaSignedIn, act: func(s *sitetest.Site, b any) {
		ok(s, b.(*sitetest.Browser), "language", sitetest.Data{"language": "de"})
	}, events: "profile_changed"},
	"change-password": {before: adaSignedIn, act: func(s *sitetest.Site, b any) {
		ok(s, b.(*sitetest.Browser), "change-password", sitetest.With(newPassword, sitetest.Data{"old_password": sitetest.Password}))
	}, events: "password_changed"},
	"send-reset-password-link": {before: member, act: func(s *sitetest.Site, _ any) {
		ok(s, s.Browser(), "send-reset-password-link", sitetest.Data{"login": "ada"})
	}, events: "link_requested"},
	"reset-password": {before: asksForMail("send-reset-password-link", sitetest.Data{"login": "ada"}), act: func(s *sitetest.Site, link any) {
		ok(s, s.Browser(), "reset-password", sitetest.With(link.(sitetest.Data), newPassword))
	}, events: "password_reset"},
	"set-password": {settings: []func(*registration.Settings){withReset(false)}, before: func(s *sitetest.Site) any {
		s.Member("ada")
		u, err := s.Accounts.LookupName(s.T.Context(), "ada")
		require.NoError(s.T, err)
		link, err := s.Accounts.ResetLink(s.T.Context(), u)
		require.NoError(s.T, err)
		return sitetest.LinkOf(&mail.Message{Text: link + "\n"}, s.T)
	}, act: func(s *sitetest.Site, link any) {
		ok(s, s.Browser(), "set-password", sitetest.With(link.(sitetest.Data), newPassword))
	}, events: "password_reset"},
	"register-email": {before: adaSignedIn, act: func(s *sitetest.Site, b any) {
		ok(s, b.(*sitetest.Browser), "register-email", sitetest.Data{"email": "new@example.org"})
	}, events: "email_change_requested"},
	"verify-email": {before: func(s *sitetest.Site) any {
		ok(s, adaSignedIn(s).(*sitetest.Browser), "register-email", sitetest.Data{"email": "new@example.org"})
		return sitetest.LinkOf(s.Mail(), s.T)
	}, act: func(s *sitetest.Site, link any) { ok(s, s.Browser(), "verify-email", link) }, events: "email_changed"},
	"emails": {}, // shows
	"primary-email": {settings: severalEmails, before: withTwoEmails, act: func(s *sitetest.Site, b any) {
		ok(s, b.(*sitetest.Browser), "primary-email", sitetest.Data{"email": "new@example.org"})
	}, events: "email_changed"},
	"remove-email": {settings: severalEmails, before: withTwoEmails, act: func(s *sitetest.Site, b any) {
		ok(s, b.(*sitetest.Browser), "remove-email", sitetest.Data{"email": "new@example.org"})
	}, events: "email_removed"},
	"undo-email": {before: func(s *sitetest.Site) any {
		ok(s, adaSignedIn(s).(*sitetest.Browser), "register-email", sitetest.Data{"email": "new@example.org"})
		ok(s, s.Browser(), "verify-email", sitetest.LinkOf(s.Mail(), s.T))
		return sitetest.LinkOf(s.Mail(), s.T)
	}, act: func(s *sitetest.Site, link any) { ok(s, s.Browser(), "undo-email", link) }, events: "email_changed"},
}

func administers(method, path string, body sitetest.Data) func(*sitetest.Site, any) {
	return func(s *sitetest.Site, _ any) {
		invited := ""
		require.NoError(s.T, s.Realm.Resources.Store.View(s.T.Context(), func(tx store.Tx) error {
			list, err := tx.Invitations(uuid.Nil, 1)
			for _, i := range list {
				invited = i.ID.String()
			}
			return err
		}))
		res := administer(s, method, strings.NewReplacer("{realm}", "default", "{account}", "ada", "{invitation}", invited, "{webhook}", webhookOf(s)).Replace(path), body)
		require.Less(s.T, res.Code, 300, res.Body.String())
	}
}

// withWebhook is a site that tells somebody; webhookOf, the id of that.
func withWebhook(s *registration.Settings) {
	s.Webhooks = []registration.WebhookSettings{{URL: "https://app.example.com/a/secret", Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}}
}

func webhookOf(s *sitetest.Site) string {
	all, err := s.Realm.Webhooks.Statuses(s.T.Context())
	require.NoError(s.T, err)
	for _, e := range all {
		return e.ID
	}
	return ""
}

// webhookOff is an endpoint that has said that it wants no more.
func webhookOff(s *sitetest.Site) any {
	_, err := s.Realm.Webhooks.Do(s.T.Context(), webhook.Retry, webhookOf(s)) // which gives it a place
	require.NoError(s.T, err)
	require.NoError(s.T, s.Accounts.Store.Update(s.T.Context(), func(tx store.Tx) error {
		raw, err := tx.Value("webhooks")
		require.NoError(s.T, err)
		// In a turn of its own: else the sender, which was woken, may write over it what it knew.
		return tx.PutValue("webhooks", []byte(strings.Replace(string(raw), `"turn":`, `"gone":"2026-11-27T00:00:00Z","turn":9`, 1)))
	}))
	return nil
}

func imports(s *sitetest.Site, _ any) {
	req := httptest.NewRequest(http.MethodPost, "/registration/default/import?format=csv", strings.NewReader("username\nbob\n"))
	require.NoError(s.T, server(s).Serve(httptest.NewRecorder(), req))
}

// auditedOperations is the same of the admin endpoint's operations, by method and path.
var auditedOperations = map[string]struct {
	body   sitetest.Data
	events string
}{
	"post {realm}/users":                         {sitetest.Data{"username": "bob"}, "account_registered"},
	"patch {realm}/users/{account}":              {sitetest.Data{"groups": []string{"a"}, "is_active": false}, "account_disabled profile_changed"},
	"delete {realm}/users/{account}":             {nil, "account_deleted"},
	"post {realm}/users/{account}/set-password":  {sitetest.Data{"password": otherPassword}, "password_changed"},
	"post {realm}/users/{account}/set-email":     {sitetest.Data{"email": "new@example.org"}, "email_changed"},
	"post {realm}/users/{account}/set-username":  {sitetest.Data{"username": "lovelace"}, "profile_changed"},
	"post {realm}/users/{account}/groups":        {sitetest.Data{"add": []string{"b"}}, "profile_changed"},
	"post {realm}/users/{account}/reset-link":    {nil, "link_created"},
	"post {realm}/users/{account}/approve":       {nil, "account_approved"},
	"post {realm}/users/{account}/refuse":        {sitetest.Data{"message": "No."}, "account_refused"},
	"post {realm}/users/{account}/enable":        {nil, "account_enabled"},
	"post {realm}/users/{account}/disable":       {nil, "account_disabled"},
	"post {realm}/users/{account}/sign-out":      {nil, "sessions_ended"},
	"post {realm}/users/{account}/reset-factors": {nil, "factors_reset"},
	"post {realm}/users/{account}/unlink":        {sitetest.Data{"id": linkedID.String()}, "oidc_unlinked"},
	"post {realm}/invitations":                   {sitetest.Data{"email": "bob@example.org"}, "invitation_created"},
	"delete {realm}/invitations/{invitation}":    {nil, "invitation_revoked"},
	"post {realm}/mail/test":                     {sitetest.Data{"to": "ada@example.org"}, "mail_tested"},
	"post {realm}/mail/retry":                    {nil, "mail_retried"},
	"post {realm}/webhooks/{webhook}/retry":      {nil, "webhook_retried"},
	"post {realm}/webhooks/{webhook}/enable":     {nil, "webhook_enabled"},
	"post {realm}/webhooks/{webhook}/skip":       {nil, "webhook_skipped"},
}

// auditedBesides are the events that no endpoint's success leaves.
var auditedBesides = map[string]auditedAct{
	"another of several addresses": {settings: severalEmails, before: withTwoEmails, act: func(s *sitetest.Site, b any) {
		ok(s, b.(*sitetest.Browser), "primary-email", sitetest.Data{"email": "new@example.org"})
	}, events: "email_changed"},
	"several addresses": {settings: severalEmails, before: func(s *sitetest.Site) any {
		ok(s, adaSignedIn(s).(*sitetest.Browser), "register-email", sitetest.Data{"email": "new@example.org"})
		return sitetest.LinkOf(s.Mail(), s.T)
	}, act: func(s *sitetest.Site, link any) { ok(s, s.Browser(), "verify-email", link) }, events: "email_added"},
	"a wrong password": {before: member, act: func(s *sitetest.Site, _ any) {
		s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": "wrong wrong wrong"})
	}, events: "sign_in_failed"},
	"an export of all accounts": {act: func(s *sitetest.Site, _ any) {
		require.NoError(s.T, server(s).Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/registration/default/export", nil)))
	}, events: "accounts_exported"},
	"a wrong old password": {before: adaSignedIn, act: func(_ *sitetest.Site, b any) {
		b.(*sitetest.Browser).Post("/accounts/change-password", sitetest.With(newPassword, sitetest.Data{"old_password": "wrong wrong wrong"}))
	}, events: "sign_in_failed"},
	"a sign-in with a token": {settings: []func(*registration.Settings){sitetest.WithJWT}, before: member, act: func(s *sitetest.Site, _ any) { s.SignedIn("ada") }, events: "signed_in token_created"},
	"a confirmation that signs in": {
		settings: []func(*registration.Settings){func(s *registration.Settings) { s.Register.AutoLogin = sitetest.On() }}, before: auditedEndpoints["verify-registration"].before,
		act: auditedEndpoints["verify-registration"].act, events: "account_verified signed_in",
	},
	"a sign-in that agrees to the terms": auditedEndpoints["login-factor"],
	"a sign-up that agrees to the terms": {settings: []func(*registration.Settings){withTerms}, act: func(s *sitetest.Site, _ any) {
		ok(s, s.Browser(), "register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"terms": "2026-11-01"}))
	}, events: "account_registered terms_accepted"},
	"a refresh token twice": {settings: []func(*registration.Settings){sitetest.WithJWT}, before: func(s *sitetest.Site) any {
		s.Member("ada")
		_, refresh := s.Tokens("ada")
		ok(s, s.Browser(), "refresh-token", sitetest.Data{"refresh_token": refresh})
		s.Travel(time.Minute)
		return refresh
	}, act: func(s *sitetest.Site, refresh any) {
		s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh})
	}, events: "token_reused"},
	"too many tries": {settings: []func(*registration.Settings){func(s *registration.Settings) {
		s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 1, Window: 3600e9}}
	}}, before: member, act: func(s *sitetest.Site, _ any) {
		for range 20 {
			s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": "wrong wrong wrong"})
		}
	}, events: "sign_in_failed throttled"},
	"a mail that is refused": {before: func(s *sitetest.Site) any {
		s.FailWith(func(*mail.Message) error { return &mail.Error{Permanent: true, Err: http.ErrAbortHandler} })
		return nil
	}, act: func(s *sitetest.Site, _ any) {
		s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
		require.Eventually(s.T, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
	}, events: "account_registered mail_failed"},
	"who stays": {before: func(s *sitetest.Site) any {
		s.Member("ada")
		ok(s, s.SignedIn("ada"), "delete-account", sitetest.Data{})
		b := s.Browser()
		return []any{b, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(s.T)["challenge"]}
	}, act: func(s *sitetest.Site, asked any) {
		ok(s, asked.([]any)[0].(*sitetest.Browser), "login-factor", sitetest.Data{"challenge": asked.([]any)[1], "keep_account": true})
	}, events: "account_kept signed_in"},
	"a sign-up that waits": {settings: []func(*registration.Settings){func(s *registration.Settings) {
		s.Register.Mode, s.Register.Verification = "approve", sitetest.Off()
	}}, act: func(s *sitetest.Site, _ any) { ok(s, s.Browser(), "register", sitetest.Newcomer("ada")) }, events: "account_registered account_waiting"},
	"nobody confirms": {before: func(s *sitetest.Site) any {
		s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
		s.Mail()
		require.Eventually(s.T, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
		return nil
	}, act: func(s *sitetest.Site, _ any) { wait(s, 9*sitetest.Day) }, events: "account_deleted"},
}

// listen has all events told from now on; what it returns ends that and says which.
func listen(s *sitetest.Site) func() []string {
	var heard []string
	teller := &audit.Teller{Tell: func(row audit.Told) { heard = append(heard, row.Event) }, Wants: func(string) bool { return true }, Store: s.Accounts.Store}
	s.Accounts.Journal.Teller = teller
	return func() []string {
		teller.Close(sitetest.Patience)
		return heard
	}
}

func TestEveryActIsRecorded(t *testing.T) {
	seen := map[string]bool{}
	run := func(name string, c auditedAct) {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, c.settings...)
			var with any
			if c.before != nil {
				with = c.before(s)
			}
			had, lines := len(auditsOf(s)), len(linesOf(s))
			told := listen(s)
			c.act(s, with)
			rows := auditsOf(s)[had:]
			require.Equal(t, strings.Fields(c.events), eventsOf(rows))
			var said []string
			require.Eventually(t, func() bool { // the outbox tells of its row after it
				said = linesOf(s)[lines:]
				return len(said) >= len(rows)
			}, sitetest.Patience, time.Millisecond)
			require.Len(t, said, len(rows), "the log has the same")
			heard := told()
			require.Len(t, heard, len(rows), "and who listens hears the same")
			for i, a := range rows {
				seen[a.Event] = true
				require.Contains(t, heard, a.Event)
				require.Contains(t, said[i], `"msg":"`+a.Event+`","realm":"default","address":"`+a.Address+`"`)
				for _, secret := range []string{"passphrase", "wrong wrong", "argon2", "signature", "@example"} {
					require.NotContains(t, fmt.Sprint(*a)+said[i], secret)
				}
			}
		})
	}
	for _, configure := range [][]func(*registration.Settings){nil, {withReset(false)}} {
		s := sitetest.New(t, configure...)
		for name, e := range s.Realm.Endpoints {
			c, known := auditedEndpoints[name]
			require.True(t, known || e.Document != nil || e.Whole != nil, "%s is not in auditedEndpoints: does its act leave a row?", name)
			if !e.Off && c.act != nil {
				c.settings = append(slices.Clone(configure), c.settings...)
				run(name, c)
			}
		}
	}
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(administer(sitetest.New(t), http.MethodGet, "openapi.json", nil).Body.Bytes(), &document))
	for path, methods := range document.Paths {
		for method := range methods {
			name := method + " " + strings.TrimPrefix(path, "/registration/")
			if strings.HasSuffix(path, "/import") { // whose body is no JSON
				run(name, auditedAct{act: imports, events: "accounts_imported"})
				continue
			}
			c, known := auditedOperations[name]
			require.True(t, known || method == "get", "%s is not in auditedOperations: does its act leave a row?", name)
			if known {
				before, settings := member, []func(*registration.Settings){}
				switch {
				case strings.HasSuffix(path, "{webhook}/enable"):
					before, settings = webhookOff, append(settings, withWebhook)
				case strings.Contains(path, "{webhook}"):
					settings = append(settings, withWebhook)
				case strings.HasSuffix(path, "/reset-factors"):
					before = func(s *sitetest.Site) any { withApp(s); return nil }
				case strings.HasSuffix(path, "/unlink"):
					before = linkedElsewhere
				case strings.Contains(path, "{invitation}"):
					before = invitation
				case strings.HasSuffix(path, "/enable"): // of one that is enabled nothing is recorded
					before = func(s *sitetest.Site) any {
						s.Member("ada")
						administer(s, http.MethodPost, "default/users/ada/disable", nil)
						return nil
					}
				case strings.HasSuffix(path, "/approve"), strings.HasSuffix(path, "/refuse"):
					before = waiting
				}
				run(name, auditedAct{settings: settings, before: before, act: administers(strings.ToUpper(method), strings.TrimPrefix(path, "/registration/"), c.body), events: c.events})
			}
		}
	}
	for name, c := range auditedBesides {
		run(name, c)
	}
	for _, e := range audit.Events {
		require.True(t, seen[string(e.Event)], "nothing in this test leaves %s", e.Event)
	}
	require.Len(t, seen, len(audit.Events))
}

// Who did it, to whom, from where; and of a stranger nothing that he typed.
func TestAuditSaysWho(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	b := s.Browser().From("203.0.113.7")
	b.Header.Set("User-Agent", strings.Repeat("é", 100))
	b.Post("/accounts/login", sitetest.Data{"login": "hunter2 is my password", "password": "wrong wrong wrong"})
	b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": "wrong wrong wrong"})
	ok(s, b, "login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, http.StatusOK, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "Ada", "last_name": "L"}).StatusCode)
	administer(s, http.MethodPost, "default/users/ada/disable", nil)
	b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	var got []string
	for _, a := range auditsOf(s)[2:] {
		require.LessOrEqual(t, len(a.Agent), store.MaxAuditAgent)
		who, whom := a.Actor, "ada"
		if a.Actor == id {
			who = "ada"
		}
		if a.Account == uuid.Nil {
			whom = "nobody"
		} else {
			require.Equal(t, id, a.Account.String())
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s by %q to %s from %s: %s%s", a.Event, who, whom, a.Address, a.Details["code"], a.Details["fields"])))
	}
	slices.Sort(got) // failures come together, later
	require.Equal(t, []string{
		`account_disabled by "admin" to ada from :`,
		`profile_changed by "ada" to ada from 203.0.113.7: first_name last_name`,
		`sign_in_failed by "" to ada from 203.0.113.7: disabled`,
		`sign_in_failed by "" to ada from 203.0.113.7: login_invalid`,
		`sign_in_failed by "" to nobody from 203.0.113.7: login_invalid`,
		`signed_in by "ada" to ada from 203.0.113.7:`,
	}, got)
	require.NotContains(t, string(s.StoreFile(t)), "hunter2")
	require.NotContains(t, strings.Join(linesOf(s), "\n"), "hunter2")
}

func TestAuditOff(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Audit.Off = true })
	s.Member("ada")
	s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": "wrong wrong wrong"})
	require.Empty(t, auditsOf(s))
	require.Len(t, linesOf(s), 3, "the log goes on")
}

// An act that fails leaves no row, and none is told of.
func TestAFailedActIsNotRecorded(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	had, lines := len(auditsOf(s)), len(linesOf(s))
	require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	require.Equal(t, http.StatusUnauthorized, s.Browser().Post("/accounts/logout", nil).StatusCode)
	require.Len(t, auditsOf(s), had)
	require.Len(t, linesOf(s), lines)
}

func TestAuditIsPruned(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Audit.Keep = 3600e9 })
	s.Member("ada")
	require.Len(t, auditsOf(s), 2)
	s.Travel(2 * time.Hour)
	s.SignedIn("ada")
	var last time.Time
	s.Realm.Resources.Prune(t.Context(), s.Realm.Courier, &last)
	require.Len(t, auditsOf(s), 3, "a clock is looked at twice")
	s.Realm.Resources.Prune(t.Context(), s.Realm.Courier, &last)
	require.Equal(t, []string{"signed_in"}, eventsOf(auditsOf(s)))
}

func TestAuditIsDocumented(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(sitetest.Root(), "docs", "audit.md"))
	require.NoError(t, err)
	for _, e := range audit.Events {
		mark := ""
		if e.Batched {
			mark = " ¹"
		}
		require.Contains(t, string(raw), "\n| `"+string(e.Event)+"`"+mark+" | "+e.Means+" |\n")
	}
}

// Wrong passwords cost the store a commit a second, not one each.
func TestWrongPasswordsAreCommittedTogether(t *testing.T) {
	sitetest.Embedded(t) // it counts the file's commits
	s := sitetest.New(t)
	s.Member("ada")
	commits := func() int {
		tx, err := s.Accounts.Store.(*bolt.Store).File.Db.Begin(false)
		require.NoError(t, err)
		defer func() { require.NoError(t, tx.Rollback()) }()
		return tx.ID()
	}
	before, begin := commits(), time.Now()
	const tries = 200
	for i := range tries {
		s.Browser().Post("/accounts/login", sitetest.Data{"login": []string{"ada", "nobody"}[i%2], "password": "wrong wrong wrong"})
	}
	require.LessOrEqual(t, commits()-before, int(time.Since(begin)/time.Second)+2+tries/50)
	failed := 0
	for _, a := range auditsOf(s) {
		if a.Event == string(audit.SignInFailed) {
			failed++
			if n, err := strconv.Atoi(a.Details["count"]); err == nil {
				failed += n - 1
			}
		}
	}
	require.Equal(t, tries, failed)
}
