// flow_test.go: the way to the provider and back, in Chromium and without script: who signs
// in, up, links and unlinks.

package provider_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// knows runs a site that knows providers, by these names, with more settings.
func knows(t testing.TB, providers map[string]*provider, settings string) *served.Server {
	t.Helper()
	s := served.NewServer(t)
	s.Configure(site(providers, settings))
	for name, p := range providers {
		p.redirect = s.Base() + "/accounts/oidc-callback/" + name
	}
	s.Start()
	return s
}

func site(providers map[string]*provider, settings string) string {
	login := "login {\n"
	for name, p := range providers {
		login += p.settings(name)
	}
	return served.Site("user {\nlogin_fields email\n}\n"+login+"}\n"+settings, "require_login /members/*", `respond "for members: {http.auth.user.email}"`)
}

// member makes an account with a password.
func member(t testing.TB, s *served.Server, email string, groups ...string) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"email": email, "password": served.TestPassword, "groups": groups})
	require.NoError(t, err)
	res := s.AdminRequest(http.MethodPost, "/registration/default/users", "application/json", string(raw))
	require.Less(t, res.StatusCode, 300, res.Text)
}

// ada has a verified address at a provider.
var ada = person{"1", "ada@example.org", true, "Ada", "Lovelace"}

const (
	toOurs = `form[action="/accounts/oidc-login/"] button`
	goOn   = `form button:not([name])`
)

// shows is what the provider asks of who has been sent there.
func shows(b *served.Browser, name string) int {
	b.T.Helper()
	require.Equal(b.T, "Provider", b.Text("h1"))
	b.Fill("name", name)
	b.Fill("password", name)
	return b.Press(goOn)
}

func TestSigningInAtTheProvider(t *testing.T) {
	for name, inToken := range map[string]bool{"by the ID token": true, "by UserInfo": false} {
		t.Run(name, func(t *testing.T) {
			p := startProvider(t)
			p.inToken = inToken
			p.has("ada", ada)
			s := knows(t, map[string]*provider{"ours": p}, "")
			b := served.NewBrowser(t, s.Base())
			require.Equal(t, 200, b.Open(s.Base()+"/members/?x=1"))
			require.Equal(t, "Sign in with The ours", b.Text(toOurs))
			require.Zero(t, p.count("/.well-known/openid-configuration"))

			// Who turns back is told so, and can try again.
			require.Equal(t, 200, b.Press(toOurs))
			require.Equal(t, 200, b.Press(`button[name="cancel"]`))
			require.Equal(t, "/accounts/login/?next=%2Fmembers%2F%3Fx%3D1", b.At())
			require.Contains(t, b.Text("main"), "The other site didn’t let you through.")

			require.Equal(t, 200, b.Press(toOurs))
			require.Equal(t, 200, shows(b, "ada"))
			require.Equal(t, "/members/?x=1", b.At())
			require.Equal(t, "for members: ada@example.org", b.Text("body"))
			require.Equal(t, 200, b.Open(s.Base()+"/accounts/profile/"))
			require.Equal(t, "Lovelace", served.Evaluate[string](b, `document.querySelector('[name="last_name"]').value`))

			// The browser goes back to where it came from the provider: nothing happens.
			require.Equal(t, 1, p.count("/oauth/token"))
			require.Equal(t, map[bool]int{true: 0, false: 1}[inToken], p.count("/userinfo"))

			// The last way in stays.
			require.Equal(t, 200, b.Open(s.Base()+"/accounts/factors/"))
			require.Contains(t, b.Text("main"), "ada@example.org")
			require.Equal(t, 200, b.Press(`a[href*="unlink-oidc"]`))
			require.Equal(t, 409, b.Press(`main form button[type="submit"]`))
			b.RequireQuiet()
		})
	}
}

func TestLinkingAndUnlinking(t *testing.T) {
	p := startProvider(t)
	p.has("countess", person{subject: "7", email: "countess@elsewhere.example", verified: true})
	s := knows(t, map[string]*provider{"ours": p}, "")
	member(t, s, "ada@example.org")
	b := served.NewBrowser(t, s.Base())
	require.Equal(t, 200, b.Open(s.Base()+"/accounts/login/?next=/accounts/factors/"))
	b.Fill("login", "ada@example.org")
	b.Fill("password", served.TestPassword)
	require.Equal(t, 200, b.Press(`form:has(input[name="login"]) button[type="submit"]`))
	require.Equal(t, "/accounts/factors/", b.At())
	require.Equal(t, 200, b.Press(`a[href*="/accounts/link-oidc/"]`))
	require.Contains(t, b.Text("main"), "You go to The ours and come back.")
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Equal(t, 200, shows(b, "countess"))
	require.Equal(t, "/accounts/factors/", b.At())
	require.Contains(t, b.Text("main"), "The account has been linked.")
	require.Contains(t, b.Text("main"), "countess@elsewhere.example")

	// It signs in to the same account, in another browser without script.
	other := newPerson(t, s)
	require.Contains(t, other.signsIn("ours", "countess", "/members/").text, "for members: ada@example.org")

	require.Equal(t, 200, b.Press(`a[href*="unlink-oidc"]`))
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Contains(t, b.Text("main"), "The account has been unlinked.")
	b.RequireQuiet()
	stranger := newPerson(t, s).signsIn("ours", "countess", "/members/")
	require.Contains(t, stranger.text, "for members: countess@elsewhere.example", "it is somebody new now")

	// The mailed way back says which account it brings back.
	removed := s.MailWithLink("ada@example.org", "/undo-factor/")
	require.Equal(t, "A linked account has been removed at 127.0.0.1", removed.Subject)
	require.Equal(t, 200, b.Open(removed.URL(t).String()))
	require.Contains(t, b.Text("main"), "countess@elsewhere.example")
}

// An owner sees what a person has linked, in a browser and by the command line, and unlinks
// it: who is signed in by it is out.
func TestAnOwnerUnlinks(t *testing.T) {
	p := startProvider(t)
	p.has("ada", ada)
	s := knows(t, map[string]*provider{"ours": p}, "admin {\ngroup owners\nsecond_factor off\n}\n")
	member(t, s, "owner@example.org", "owners")
	he := newPerson(t, s)
	require.Contains(t, he.signsIn("ours", "ada", "/members/").text, "for members: ada@example.org")
	account := s.Administer(http.MethodGet, "ada@example.org", "").JSON(t)
	id := account["id"].(string)
	linked := account["linked_accounts"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"ours", p.issuer, "ada@example.org"}, []any{linked["provider"], linked["issuer"], linked["name"]})
	command := func(args ...string) string {
		t.Helper()
		out, err := s.Command(append([]string{"registration", "--address", "127.0.0.1:" + s.Values["admin"]}, args...)...).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	require.Contains(t, command("show", "ada@example.org"), "linked\tours\tada@example.org\t")

	b := served.NewBrowser(t, s.Base())
	require.Equal(t, 200, b.Open(s.Base()+"/accounts/login/?next=/accounts/admin/accounts/"+id+"/"))
	b.Fill("login", "owner@example.org")
	b.Fill("password", served.TestPassword)
	require.Equal(t, 200, b.Press(`form:has(input[name="login"]) button[type="submit"]`))
	require.Contains(t, b.Text("main"), "The ours")
	b.Do(chromedp.Click(chromedp.CSS(`input[name="linked"]`), chromedp.NodeVisible))
	require.Equal(t, 200, b.Press(`button[value="unlink"]`))
	require.Contains(t, b.Text("main"), "The account has been unlinked.")
	require.Contains(t, b.Text("main"), "This account isn’t linked to another.")
	b.RequireQuiet()
	require.Contains(t, he.get(s.Base()+"/members/").text, "Sign in")

	// His address is known here by now, so he links it once more, for which he needs a link.
	require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, "Sign in to link the account.")
	require.Contains(t, command("reset-link", "ada@example.org"), "/accounts/reset-password/")
	member(t, s, "bob@example.org")
	out, err := s.Command("registration", "--address", "127.0.0.1:"+s.Values["admin"], "unlink", "bob@example.org", id).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "linked_not_found")
}

// Who is known by his address signs in to that account once, and links it.
func TestWhoIsKnownLinksByHisPassword(t *testing.T) {
	p := startProvider(t)
	p.has("ada", ada)
	p.has("eve", person{subject: "6", email: "ada@example.org", verified: false})
	s := knows(t, map[string]*provider{"ours": p}, "")
	member(t, s, "ada@example.org")
	eve := newPerson(t, s).signsIn("ours", "eve", "/members/")
	require.Contains(t, eve.text, "Complete your account", "an address that is not verified is nobody's")

	b := served.NewBrowser(t, s.Base())
	require.Equal(t, 200, b.Open(s.Base()+"/members/"))
	require.Equal(t, 200, b.Press(toOurs))
	require.Equal(t, 200, shows(b, "ada"))
	require.True(t, strings.HasPrefix(b.At(), "/accounts/login/"), b.At())
	b.Fill("login", "ada@example.org")
	b.Fill("password", served.TestPassword)
	require.Equal(t, 200, b.Press(`form:has(input[name="login"]) button[type="submit"]`))
	require.Contains(t, b.Text("main"), "Link your account at The ours")
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Equal(t, "for members: ada@example.org", b.Text("body"))
	b.RequireQuiet()
	require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, "for members: ada@example.org")
}

// Who may sign up, in each mode, without script.
func TestSigningUpAtTheProvider(t *testing.T) {
	p := startProvider(t)
	providers := map[string]*provider{"ours": p}
	s := knows(t, providers, "")
	with := func(settings string) {
		t.Helper()
		res := s.Load(site(providers, settings))
		require.Equal(t, 200, res.StatusCode, res.Text)
	}
	come := func(name string) *arrived {
		t.Helper()
		p.has(name, person{"sub-" + name, name + "@example.org", true, name, ""})
		return newPerson(t, s).signsIn("ours", name, "/members/")
	}
	require.Contains(t, come("open").text, "for members: open@example.org")

	with("register {\nmode closed\n}")
	at := come("closed")
	require.Contains(t, at.text, "Complete your account")
	require.Contains(t, at.sends("/accounts/oidc-register/", nil).text, "No one can sign up here")
	require.Contains(t, come("open").text, "for members: open@example.org", "who has an account signs in")

	with("register {\nmode invite\n}")
	at = come("invited")
	require.Contains(t, at.sends("/accounts/oidc-register/", nil).text, "You need an invitation")
	res := s.AdminRequest(http.MethodPost, "/registration/default/invitations", "application/json", "{}")
	require.Equal(t, 200, res.StatusCode, res.Text)
	link, err := url.Parse(res.JSON(t)["link"].(string))
	require.NoError(t, err)
	guest := newPerson(t, s)
	require.Contains(t, guest.get(link.String()).text, "Sign up with The ours")
	require.Contains(t, guest.goes("ours", "invited", url.Values{"next": {"/members/"}, "invitation": {link.Query().Get("invitation")}}).text, "for members: invited@example.org")

	with("register {\nmode approve\n}")
	require.Contains(t, come("waiting").text, "approve")
	require.NotContains(t, come("waiting").text, "for members")
	require.Equal(t, 200, s.Administer(http.MethodPost, "waiting@example.org/approve", "").StatusCode)
	require.Contains(t, come("waiting").text, "for members: waiting@example.org")

	with("register {\nallow_domains example.com\n}")
	at = come("stranger")
	require.Contains(t, at.sends("/accounts/oidc-register/", nil).text, "domain")

	with("")
	p.has("unsure", person{"u", "unsure@example.org", false, "", ""})
	unsure := newPerson(t, s)
	at = unsure.signsIn("ours", "unsure", "/members/")
	require.Contains(t, at.text, `value="unsure@example.org"`)
	at = at.sends("/accounts/oidc-register/", url.Values{"email": {"unsure@example.org"}, "next": {"/members/"}})
	require.Contains(t, at.text, "unsure@example.org")
	require.Contains(t, unsure.signsIn("ours", "unsure", "/members/").text, "confirm")
	mailed := s.MailWithLink("unsure@example.org", "/verify-registration/").URL(t)
	require.Contains(t, newPerson(t, s).get(mailed.String()).text, "Open this link there.")
	require.Contains(t, unsure.get(mailed.String()).text, "Confirm")
	require.Contains(t, unsure.post(s.Base()+"/accounts/verify-registration/", mailed.Query()).text, "confirmed")
	require.Contains(t, unsure.signsIn("ours", "unsure", "/members/").text, "for members: unsure@example.org")
}

// Who has no password shows who he is by a new sign-in at the provider, which has to ask.
func TestShowingAnewWhoOneIs(t *testing.T) {
	p := startProvider(t)
	p.has("ada", ada)
	s := knows(t, map[string]*provider{"ours": p}, "")
	he := newPerson(t, s)
	require.Contains(t, he.signsIn("ours", "ada", "/members/").text, "for members")
	at := he.goes("ours", "ada", url.Values{"next": {"/members/"}, "reauth": {"true"}})
	require.Contains(t, at.text, "for members")
	require.Contains(t, at.asked, `<p id="prompt">login</p>`)
}

// A stranger is somebody with a browser that has no script.
type stranger struct {
	t    testing.TB
	s    *served.Server
	http *http.Client
	// asked is what the provider has shown last.
	asked string
}

// arrived is where somebody ends.
type arrived struct {
	who    *stranger
	at     *url.URL
	status int
	text   string
	asked  string
}

func newPerson(t testing.TB, s *served.Server) *stranger {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &stranger{t: t, s: s, http: &http.Client{Jar: jar, Timeout: served.Patience, Transport: &http.Transport{DisableKeepAlives: true}}}
}

func (h *stranger) do(req *http.Request) *arrived {
	h.t.Helper()
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	res, err := h.http.Do(req)
	require.NoError(h.t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	require.NoError(h.t, err)
	at, err := res.Location()
	if err != nil {
		at = res.Request.URL
	}
	return &arrived{h, at, res.StatusCode, string(raw), h.asked}
}

func (h *stranger) get(address string) *arrived {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, address, nil)
	require.NoError(h.t, err)
	return h.do(req)
}

func (h *stranger) post(address string, form url.Values) *arrived {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	require.NoError(h.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return h.do(req)
}

// sends sends a form of the site.
func (a *arrived) sends(path string, form url.Values) *arrived {
	a.who.t.Helper()
	return a.who.post(a.who.s.Base()+path, form)
}

var hidden = regexp.MustCompile(`name="id" value="([^"]+)"`)

// goes presses the button of a provider, signs in there, and comes back.
func (h *stranger) goes(provider, name string, form url.Values) *arrived {
	h.t.Helper()
	form.Set("provider", provider)
	at := h.post(h.s.Base()+"/accounts/oidc-login/", form)
	id := hidden.FindStringSubmatch(at.text)
	require.NotEmpty(h.t, id, at.text)
	h.asked = at.text
	return h.post(at.at.String(), url.Values{"id": {id[1]}, "name": {name}, "password": {name}})
}

func (h *stranger) signsIn(provider, name, next string) *arrived {
	h.t.Helper()
	return h.goes(provider, name, url.Values{"next": {next}})
}

// atTheDoor goes to a provider and back, up to the site's door: the address that the
// provider sends him to.
func (h *stranger) atTheDoor(provider, name string) *url.URL {
	h.t.Helper()
	h.http.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if strings.Contains(req.URL.Path, "/oidc-callback/") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	defer func() { h.http.CheckRedirect = nil }()
	door := h.signsIn(provider, name, "/members/").at
	require.Contains(h.t, door.Path, "/oidc-callback/")
	return door
}

// soon is how long the site may take for a page that waits for a provider which does not
// answer, on a machine that is busy: far below what a browser waits.
const soon = time.Minute
