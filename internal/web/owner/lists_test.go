// lists_test.go: the pages of invitations, events, waiting mail and settings.

package owner_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestInvitations(t *testing.T) {
	s := newSite(t, nil)
	b := s.SignedIn("ada").LikeBrowser()
	require.Contains(t, b.Get(admin+"invitations/").Text, "There’s no open invitation.")
	form := b.Get(admin + "invitations/new/")
	for _, want := range []string{`name="email"`, `name="uses"`, `<option value="7d" selected>`, `name="mail"`, "New invitation"} {
		require.Contains(t, form.Text, want)
	}
	made := b.Post(admin+"invitations/new", sitetest.Data{"email": "", "groups": "choir, tenors", "uses": "10", "expires": "30d", "note": "<b>after</b> the concert"})
	require.Equal(t, http.StatusOK, made.StatusCode, made.Text)
	require.Equal(t, "no-store", made.Header.Get("Cache-Control"))
	link := regexp.MustCompile(`readonly>([^<]*invitation=[^<]+)</textarea>`).FindStringSubmatch(made.Text)
	require.NotNil(t, link, made.Text)
	list := b.Get(admin + "invitations/")
	for _, want := range []string{"Anyone", "choir, tenors", "0 of 10", "&lt;b&gt;after&lt;/b&gt; the concert"} {
		require.Contains(t, list.Text, want)
	}
	require.NotContains(t, list.Text, "invitation=", "the link is shown once")

	// Who has the link signs up, and is in the groups.
	require.Contains(t, link[1], "/accounts/register/?invitation=")
	program := s.SignedIn("ada")
	all := program.Get(admin + "invitations").JSON(t)["invitations"].([]any)
	require.Len(t, all, 1)
	one := all[0].(map[string]any)
	require.Equal(t, []any{"choir", "tenors"}, one["groups"])
	require.NotContains(t, one, "link")
	require.NotContains(t, one, "hash")

	gone := b.Post(admin+"invitations", sitetest.Data{"do": "revoke", "id": one["id"].(string)})
	require.Equal(t, http.StatusSeeOther, gone.StatusCode)
	require.Contains(t, b.Get(gone.Header.Get("Location")).Text, "1 invitation has been revoked.")
	require.Empty(t, program.Get(admin + "invitations").JSON(t)["invitations"])
}

func TestInvitationsForPrograms(t *testing.T) {
	s := newSite(t, []string{"bob"})
	b := s.SignedIn("ada")
	made := b.Problems().Post(admin+"invitations/new", sitetest.Data{"email": "carol@example.org", "groups": []string{"choir"}, "mail": true, "expires": "12h"})
	require.Equal(t, http.StatusOK, made.StatusCode, made.Text)
	one := made.JSON(t)
	require.Equal(t, true, one["mailed"])
	require.Contains(t, one["link"], "invitation=")
	require.Contains(t, s.Mail().Text, "invitation=")
	var ids []string
	for range 3 {
		ids = append(ids, b.Post(admin+"invitations/new", sitetest.Data{}).JSON(t)["id"].(string))
	}
	page := b.Get(admin + "invitations?limit=2").JSON(t)
	require.Len(t, page["invitations"], 2)
	rest := b.Get(admin + "invitations?limit=2&after=" + page["next"].(string)).JSON(t)
	require.Len(t, rest["invitations"], 2)
	require.Nil(t, rest["next"])
	require.Contains(t, b.Post(admin+"invitations", sitetest.Data{"id": ids}).JSON(t)["detail"], "3 invitations")
	require.Len(t, b.Get(admin + "invitations").JSON(t)["invitations"], 1)
	require.Equal(t, true, b.Get(admin + "invitations/new").JSON(t)["mail"])
	s.Travel(13 * time.Hour)
	b = s.SignedIn("ada").Problems()
	require.Empty(t, b.Get(admin + "invitations").JSON(t)["invitations"], "its time is over")

	for name, c := range map[string]struct {
		path string
		body sitetest.Data
		code string
	}{
		"a wrong address":        {"invitations/new", sitetest.Data{"email": "x"}, "invalid"},
		"a taken address":        {"invitations/new", sitetest.Data{"email": "bob@example.org"}, "email_already_registered"},
		"no number":              {"invitations/new", sitetest.Data{"uses": "many"}, "invalid"},
		"none":                   {"invitations/new", sitetest.Data{"uses": 0}, "invalid"},
		"too many":               {"invitations/new", sitetest.Data{"uses": 2_000_000_000}, "max_value"},
		"too long":               {"invitations/new", sitetest.Data{"expires": "1000d"}, "invalid"},
		"no time":                {"invitations/new", sitetest.Data{"expires": "soon"}, "invalid"},
		"a list for a text":      {"invitations/new", sitetest.Data{"note": []string{"x"}}, "invalid"},
		"a long note":            {"invitations/new", sitetest.Data{"note": strings.Repeat("x", store.MaxInvitationNote+1)}, "max_length"},
		"mail to nobody":         {"invitations/new", sitetest.Data{"mail": true}, "required"},
		"no flag":                {"invitations/new", sitetest.Data{"mail": "perhaps"}, "invalid"},
		"nothing to revoke":      {"invitations", sitetest.Data{}, "required"},
		"no id":                  {"invitations", sitetest.Data{"id": "x"}, "invalid"},
		"an unknown one":         {"invitations", sitetest.Data{"id": "0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7"}, "invitation_invalid"},
		"more than a page lists": {"invitations", sitetest.Data{"id": make([]string, 501)}, "invalid"},
	} {
		res := b.Post(admin+c.path, c.body)
		require.GreaterOrEqual(t, res.StatusCode, 400, name)
		require.Contains(t, res.Text, `"`+c.code+`"`, name)
	}
	for _, query := range []string{"limit=0", "limit=x", "limit=501"} {
		for _, path := range []string{"invitations", "audit", "mail"} {
			require.Equal(t, http.StatusBadRequest, b.Get(admin+path+"?"+query).StatusCode, path)
		}
	}
	// What was refused is said on the page, with what was typed.
	again := s.SignedIn("ada").LikeBrowser().Post(admin+"invitations/new", sitetest.Data{"email": "x", "uses": "1", "note": "kept"})
	require.Equal(t, http.StatusBadRequest, again.StatusCode)
	require.Contains(t, again.Text, `value="kept"`)
}

// Where no mail is sent, nobody is asked whether to mail an invitation; where nobody could
// confirm an address, one has to name it; without a page that it leads to there is none.
func TestInvitationsWithoutMail(t *testing.T) {
	noMail := func(s *registration.Settings) {
		s.Register.Verification, s.ResetPassword.Enabled, s.RegisterEmail.Verification = sitetest.Off(), sitetest.Off(), sitetest.Off()
	}
	s := newSite(t, nil, noMail)
	page := s.SignedIn("ada").LikeBrowser()
	require.NotContains(t, page.Get(admin+"invitations/new/").Text, `name="mail"`)
	require.Contains(t, page.Get(admin+"mail/").Text, "This site sends no email.")
	b := s.SignedIn("ada").Problems()
	require.Contains(t, b.Post(admin+"invitations/new", sitetest.Data{"email": "x@example.org", "mail": true}).Text, `"invalid"`)
	require.Equal(t, http.StatusNotFound, b.Post(admin+"mail", sitetest.Data{}).StatusCode)

	noPages := newSite(t, nil, noMail, func(s *registration.Settings) { s.Pages.Off = true })
	b = noPages.SignedIn("ada").Problems()
	require.Equal(t, http.StatusOK, b.Get(admin+"invitations").StatusCode)
	require.Equal(t, http.StatusNotFound, b.Get(admin+"invitations/new").StatusCode)
	require.Equal(t, http.StatusNotFound, b.Post(admin+"invitations/new", sitetest.Data{}).StatusCode)
}

func TestAudit(t *testing.T) {
	s := newSite(t, []string{"bob"})
	s.SignedIn("bob")
	b := s.SignedIn("ada")
	all := b.Get(admin + "audit").JSON(t)["events"].([]any)
	require.NotEmpty(t, all)
	first := all[0].(map[string]any)
	require.Equal(t, "signed_in", first["event"])
	require.Equal(t, "ada", first["username"])
	require.Equal(t, first["account"], first["actor"])

	only := b.Get(admin + "audit?account=bob&event=signed_in").JSON(t)["events"].([]any)
	require.Len(t, only, 1)
	require.Equal(t, "bob", only[0].(map[string]any)["username"])
	var seqs []float64
	for next, after := any("0"), ""; next != nil; {
		page := b.Get(admin + "audit?limit=2" + after).JSON(t)
		for _, row := range page["events"].([]any) {
			seqs = append(seqs, row.(map[string]any)["seq"].(float64))
		}
		if next = page["next"]; next != nil {
			after = "&after=" + next.(string)
		}
	}
	require.Len(t, seqs, len(all), "page by page it is the same")

	id := sitetest.UUIDOf(t, s, "bob")
	require.NoError(t, s.Accounts.Delete(t.Context(), id))
	gone := b.Get(admin + "audit?account=" + id.String()).JSON(t)["events"].([]any)
	require.NotEmpty(t, gone, "what was done to him who is gone")
	require.Equal(t, "account_deleted", gone[0].(map[string]any)["event"])
	require.NotContains(t, gone[0], "username")

	// Whose name is somebody else's address is nobody in particular.
	s.Member("carol")
	carol := s.Stored(sitetest.UUIDOf(t, s, "carol").String())
	carol.Username = "ada@example.org"
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutUser(carol, []store.Key{{Field: "username", Value: "ada@example.org"}, {Field: "email", Value: "carol@example.org"}})
	}))
	require.Equal(t, http.StatusBadRequest, b.Get(admin+"audit?account=ada@example.org").StatusCode)
	require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
		for _, actor := range []string{"admin", "system", "", "plugin"} {
			if err := tx.AddAudit(&store.Audit{At: s.Accounts.Now(), Event: "mail_tested", Actor: actor}); err != nil {
				return err
			}
		}
		return nil
	}))
	page := s.SignedIn("ada").LikeBrowser()
	who := page.Get(admin + "audit/?event=mail_tested").Text
	for _, want := range []string{"Command line", "Server", "Not signed in", "plugin"} {
		require.Contains(t, who, want)
	}
	text := page.Get(admin + "audit/?account=" + id.String() + "&event=account_deleted").Text
	for _, want := range []string{"account_deleted", id.String(), `value="account_deleted" selected`, "Done by"} {
		require.Contains(t, text, want)
	}
	// An event has a name in each language, and its code for who looks for that.
	require.Contains(t, text, `<span title="account_deleted">Account deleted</span>`)
	require.Contains(t, text, `<option value="account_deleted" selected>Account deleted</option>`)
	page.Set("Accept-Language", "de")
	require.Contains(t, page.Get(admin+"audit/").Text, `<span title="account_deleted">Konto gelöscht</span>`)
	require.Contains(t, page.Get(admin+"accounts/"+sitetest.UUIDOf(t, s, "ada").String()+"/").Text, `<span title="signed_in">Angemeldet</span>`)
	page.Set("Accept-Language", "en")
	require.Contains(t, page.Get(admin+"audit/?account=nobody").Text, "Nothing has been recorded.")
	for _, wrong := range []string{"event=x", "after=x", "account=nobody"} {
		require.Equal(t, http.StatusBadRequest, b.Get(admin+"audit?"+wrong).StatusCode, wrong)
		require.Equal(t, http.StatusOK, page.Get(admin+"audit/?"+wrong).StatusCode, wrong)
	}
}

func TestMailQueue(t *testing.T) {
	s := newSite(t, []string{"bob"})
	b := s.SignedIn("ada")
	require.Empty(t, b.Get(admin + "mail").JSON(t)["mails"])
	require.Contains(t, b.LikeBrowser().Get(admin+"mail/").Text, "No email is waiting.")
	id := sitetest.UUIDOf(t, s, "bob")
	put := func(kind store.MailKind, to string) {
		require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
			return tx.PutMail(&store.Mail{Kind: kind, To: to, User: id, Queued: s.Accounts.Now(), Due: s.Accounts.Now().Add(time.Hour), State: []byte("fingerprint"), Words: "secret words", Next: "/secret-next", Attempts: 3, Failed: "451 4.7.1 <i>later</i>"})
		}))
	}
	put(store.MailVerifyRegistration, "bob@example.org")
	put(store.MailDecoy, "decoy@example.org")
	put(store.MailResetPassword, "bob@example.org")
	b = s.SignedIn("ada")
	one := b.Get(admin + "mail?limit=1").JSON(t)
	require.Len(t, one["mails"], 1)
	row := one["mails"].([]any)[0].(map[string]any)
	require.Equal(t, "bob@example.org", row["to"])
	require.Equal(t, id.String(), row["account"])
	require.InDelta(t, 3, row["attempts"], 0)
	require.Equal(t, false, one["server_fails"])
	rest := b.Get(admin + "mail?limit=5&after=" + one["next"].(string)).JSON(t)
	require.Len(t, rest["mails"], 1, "decoys are nobody's business")
	require.Equal(t, http.StatusBadRequest, b.Get(admin+"mail?after=x").StatusCode)
	page := s.SignedIn("ada").LikeBrowser()
	text := page.Get(admin + "mail/").Text
	for _, want := range []string{"bob@example.org", `<span title="reset_password">Link to set a new password</span>`, "451 4.7.1 &lt;i&gt;later&lt;/i&gt;", "Try all emails now"} {
		require.Contains(t, text, want)
	}
	for _, secret := range []string{"secret words", "secret-next", "fingerprint", "decoy@"} {
		require.NotContains(t, text, secret)
		require.NotContains(t, b.Get(admin+"mail").Text, secret)
	}
	// Where the server can't be used at all, that is why all wait.
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutValue("mail_health", []byte(`{"failed":"2026-11-27T00:00:00Z","words":"535 5.7.8 <b>no</b>"}`))
	}))
	require.Contains(t, page.Get(admin+"mail/").Text, "Its answer was: 535 5.7.8 &lt;b&gt;no&lt;/b&gt;")
	failing := b.Get(admin + "mail").JSON(t)
	require.Equal(t, true, failing["server_fails"])
	require.Equal(t, "535 5.7.8 <b>no</b>", failing["mails"].([]any)[0].(map[string]any)["error"])
	done := page.Post(admin+"mail", sitetest.Data{})
	require.Equal(t, http.StatusSeeOther, done.StatusCode, done.Text)
	require.Contains(t, page.Get(done.Header.Get("Location")).Text, "2 emails are being tried now.")
	require.Contains(t, b.Get(admin+"audit?event=mail_retried").Text, sitetest.UUIDOf(t, s, "ada").String())
}

func TestSettingsAreShown(t *testing.T) {
	s := sitetest.New(t, withAdmins, func(s *registration.Settings) {
		s.Secrets = []string{"a-secret-of-enough-bytes"}
		s.Register.Code = "open-sesame"
		s.MailerRaw = []byte(`{"module":"smtp","password":"mail-password"}`)
		s.Webhooks = []registration.WebhookSettings{{URL: "https://app.example.com/way-that-is-secret", Secrets: []string{webhookSecret}, Events: []string{"signed_in"}}}
		s.Login.OIDC = []registration.OIDCSettings{{Name: "ours", Issuer: "https://id.example.com", ClientID: "site", ClientSecret: "client-password"}}
	})
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"code": "open-sesame"})).StatusCode)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
	makeAdmin(t, s, "ada")
	b := s.SignedIn("ada")
	got := b.Get(admin + "settings")
	all := got.JSON(t)
	require.Equal(t, "admins", all["admin.group"])
	require.Equal(t, "15m", all["admin.max_age"])
	require.Equal(t, "smtp", all["mailer"])
	require.Contains(t, all, "secrets")
	require.Nil(t, all["secrets"])
	require.Contains(t, all, "register.code")
	require.Nil(t, all["register.code"])
	for _, path := range []string{"webhooks.0.secrets", "webhooks.0.url", "login.oidc.0.client_secret"} {
		require.Contains(t, all, path)
		require.Nil(t, all[path])
	}
	require.Equal(t, "signed_in", all["webhooks.0.events"])
	require.Equal(t, "https://id.example.com", all["login.oidc.0.issuer"])
	page := b.LikeBrowser().Get(admin + "settings/").Text
	require.Contains(t, page, "Set and secret")
	for _, secret := range []string{"a-secret-of-enough-bytes", "open-sesame", "mail-password", webhookSecret, "way-that-is-secret", "client-password"} {
		require.NotContains(t, got.Text, secret)
		require.NotContains(t, page, secret)
	}
}

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// Who is told what, how that goes, and what an owner does about it.
func TestWebhooksAreShown(t *testing.T) {
	var answer atomic.Int32
	answer.Store(http.StatusInternalServerError)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(answer.Load()))
	}))
	defer app.Close()
	s := newSite(t, nil, func(s *registration.Settings) {
		s.Webhooks = []registration.WebhookSettings{{URL: app.URL + "/way-that-is-secret", Secrets: []string{webhookSecret}, AllowPrivate: true}}
	})
	b := s.SignedIn("ada")
	page := s.SignedIn("ada").LikeBrowser()
	state := func() map[string]any {
		return b.Get(admin + "webhooks").JSON(t)["webhooks"].([]any)[0].(map[string]any)
	}
	require.Eventually(t, func() bool { return state()["state"] == "failing" }, sitetest.Patience, time.Millisecond)
	one := state()
	require.Equal(t, app.URL+"/…", one["url"])
	require.Equal(t, "it answered 500", one["error"])
	require.NotZero(t, one["waiting"])
	text := page.Get(admin + "webhooks/").Text
	for _, want := range []string{"Webhooks (not delivered)", "This endpoint has accepted nothing since ", "it answered 500", "Try this endpoint now", "Skip waiting messages"} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text+b.Get(admin+"webhooks").Text, "way-that-is-secret")
	id := one["id"].(string)

	asks := page.Get(admin + "webhooks/" + id + "/skip/").Text
	require.Contains(t, asks, "is never told")
	require.Equal(t, http.StatusNotFound, page.Get(admin+"webhooks/another/skip/").StatusCode)
	require.Equal(t, http.StatusNotFound, b.Post(admin+"webhooks/another/retry", nil).StatusCode)
	require.Equal(t, http.StatusNotFound, b.Post(admin+"webhooks/"+id+"/enable", nil).StatusCode, "it is not off")
	done := page.Post(admin+"webhooks/"+id+"/retry", sitetest.Data{})
	require.Equal(t, http.StatusSeeOther, done.StatusCode, done.Text)
	require.Contains(t, page.Get(done.Header.Get("Location")).Text, "The endpoint is being tried now.")
	require.Contains(t, b.Get(admin+"audit?event=webhook_retried").Text, sitetest.UUIDOf(t, s, "ada").String())
	answer.Store(http.StatusNoContent)
	require.Equal(t, http.StatusSeeOther, page.Post(admin+"webhooks/"+id+"/skip", sitetest.Data{}).StatusCode)
	text = page.Get(admin + "webhooks/").Text
	require.Contains(t, text, "The messages waiting for the endpoint have been skipped.")
	require.Contains(t, text, "This endpoint accepts its messages.")

	answer.Store(http.StatusGone)
	s.SignedIn("ada")
	require.Eventually(t, func() bool { return state()["state"] == "off" }, sitetest.Patience, time.Millisecond)
	answer.Store(http.StatusNoContent)
	require.Contains(t, page.Get(admin+"webhooks/").Text, "Enable this endpoint")
	require.Equal(t, "The endpoint is enabled again. It’s told what happens from now on.", b.Post(admin+"webhooks/"+id+"/enable", nil).JSON(t)["detail"])
	require.Equal(t, "works", state()["state"])

	without := newSite(t, nil)
	page = without.SignedIn("ada").LikeBrowser()
	require.NotContains(t, page.Get(admin+"mail/").Text, "Webhooks")
	require.Contains(t, page.Get(admin+"webhooks/").Text, "No webhook is configured.")
}
