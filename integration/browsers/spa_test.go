// spa_test.go: the example of a frontend elsewhere in a real browser: all flows, by
// cookie and by token, and a foreign origin, which gets nowhere.

package browsers_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// spaServer runs examples/spa as it is, on ports of this test.
func spaServer(t *testing.T) (s *served.Server, frontend string) {
	t.Helper()
	s = served.NewServer(t)
	port := served.FreePort(t)
	ports := strings.NewReplacer("localhost:8080", "localhost:"+strconv.Itoa(s.Port), "localhost:8081", "localhost:"+strconv.Itoa(port), "http_port 8080", "http_port "+strconv.Itoa(s.Port))
	source := filepath.Join(served.RepoRoot, "examples", "spa")
	for _, name := range []string{"index.html", "app.js", "style.css"} {
		raw, err := os.ReadFile(filepath.Join(source, name))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "examples", "spa"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "examples", "spa", name), []byte(ports.Replace(string(raw))), 0o600))
	}
	raw, err := os.ReadFile(filepath.Join(source, "Caddyfile"))
	require.NoError(t, err)
	config := ports.Replace(string(raw))
	require.Equal(t, 1, strings.Count(config, "\n{\n"), "the global options")
	s.Configure(strings.Replace(config, "\n{\n", "\n{\n\tadmin 127.0.0.1:[[admin]]\n", 1))
	s.Start()
	return s, fmt.Sprintf("http://localhost:%d", port)
}

// spa is the frontend in a browser.
type spa struct {
	*served.Browser
	s *served.Server
}

// submit fills a form of the frontend and waits for what it says.
func (p *spa) submit(endpoint string, values map[string]string, says string) {
	p.T.Helper()
	form := `form[data-endpoint="` + endpoint + `"]`
	if endpoint == "" {
		form = "#link-form"
	}
	for name, value := range values {
		input := form + ` input[name="` + name + `"]`
		served.Evaluate[bool](p.Browser, "(document.querySelector("+strconv.Quote(input)+").value = '', true)")
		p.Do(chromedp.SendKeys(chromedp.CSS(input), value))
	}
	// Not by the mouse: what the page still fetches moves the button away from under it.
	p.Do(chromedp.Focus(chromedp.CSS(form+" button"), chromedp.NodeVisible), chromedp.KeyEvent("\r"))
	p.waits("#note", says)
}

func (p *spa) waits(selector, says string) {
	p.T.Helper()
	got := ""
	require.True(p.T, served.Eventually(func() bool {
		got = served.Evaluate[string](p.Browser, "document.querySelector("+strconv.Quote(selector)+").innerText")
		return strings.Contains(got, says)
	}, 20*time.Millisecond), "%s says %q and not %q; the page: %s", selector, got, says, served.Evaluate[string](p.Browser, "document.body.innerText"))
}

// follow opens the link of the newest mail of a kind and presses its one button.
func (p *spa) follow(link string, values map[string]string, says string) {
	p.T.Helper()
	require.Equal(p.T, 200, p.Open(link))
	p.submit("", values, says)
	require.NotContains(p.T, served.Ask(p.Browser, chromedp.Location()), "signature", "a signature stays in the address")
}

// mailedLink waits for the link of an act to an address in Caddy's log, after from.
func mailedLink(s *served.Server, from int, act, to string) string {
	s.T.Helper()
	line := s.Logged(from, `"msg":"mail"`, `"to":"`+to+`"`, "act="+act)
	line = strings.ReplaceAll(line, "\\u0026", "&")
	for _, found := range served.LinkInText.FindAllString(strings.ReplaceAll(line, `\n`, "\n"), -1) {
		if strings.Contains(found, "act="+act) {
			return found
		}
	}
	require.FailNow(s.T, "no link", line)
	return ""
}

// iconBlocked loads the page's icon, which Chromium without a window doesn't do by
// itself, and is the directive that blocks it, if one does.
const iconBlocked = `new Promise(done => {
	document.addEventListener("securitypolicyviolation", e => done(e.effectiveDirective));
	const icon = new Image();
	icon.onload = icon.onerror = () => setTimeout(() => done(""), 100);
	icon.src = document.querySelector("link[rel=icon]").href;
})`

func TestFrontendElsewhere(t *testing.T) {
	s, frontend := spaServer(t)
	for _, mode := range []string{"cookie", "token"} {
		b := served.NewBrowser(t, frontend)
		p := &spa{b, s}
		name := "ada-" + mode
		email, other := name+"@example.org", name+"@example.net"
		from := s.Log.Mark()
		require.Equal(t, 200, b.Open(frontend+"/"))
		require.Empty(t, served.Ask(b, chromedp.Evaluate[string](iconBlocked, chromedp.EvalAwaitPromise)), "the page's own policy blocks its icon")
		b.Do(chromedp.Click(chromedp.CSS(`input[name="mode"][value="` + mode + `"]`)))
		p.submit("register", map[string]string{"username": name, "email": email, "password": served.TestPassword, "password_confirm": served.TestPassword}, "Nearly there")
		p.submit("resend-verification", map[string]string{"login": name}, "sent an email")
		p.follow(mailedLink(s, from, "verify-registration", email), nil, "confirmed")

		p.Do(chromedp.SendKeys(chromedp.CSS(`form[data-endpoint="login"] input[name="login"]`), name), chromedp.SendKeys(chromedp.CSS(`form[data-endpoint="login"] input[name="password"]`), "wrong"),
			chromedp.Click(chromedp.CSS(`form[data-endpoint="login"] button`)))
		p.waits(`form[data-endpoint="login"]`, "are wrong")
		p.submit("login", map[string]string{"login": name, "password": served.TestPassword}, "signed in")
		p.waits("#who", "Signed in as "+name)
		require.Equal(t, mode == "token", served.Evaluate[bool](b, `sessionStorage.getItem("access") !== null`))
		cookies := served.Evaluate[string](b, `document.cookie`)
		require.Empty(t, cookies, "a script reads the cookie")
		require.Equal(t, 200, b.Open(frontend+"/"))
		p.waits("#who", "Signed in as "+name)

		p.submit("profile", map[string]string{"first_name": "Ada"}, "Saved")
		if mode == "token" { // an access token that is over: the page gets the next by itself
			before := served.Evaluate[string](b, `sessionStorage.getItem("refresh")`)
			served.Evaluate[bool](b, `(sessionStorage.setItem("access", "e30.e30.AA"), true)`)
			p.submit("profile", map[string]string{"last_name": "King"}, "Saved")
			require.NotEqual(t, before, served.Evaluate[string](b, `sessionStorage.getItem("refresh")`))
		}
		p.submit("change-password", map[string]string{"old_password": served.TestPassword, "password": served.TestPassword + " 2", "password_confirm": served.TestPassword + " 2"}, "changed")
		p.submit("register-email", map[string]string{"email": other}, "sent an email")
		require.Equal(t, 200, b.Open(frontend+"/"))
		p.follow(mailedLink(s, from, "verify-email", other), nil, "changed")
		p.waits("#who", "Signed in as "+name)

		// Somebody signs in elsewhere, and is sent away from here.
		elsewhere := served.NewClient(t, base2(s), &http.Transport{DisableKeepAlives: true})
		elsewhere.Post(http.StatusOK, "login", data{"login": name, "password": served.TestPassword + " 2"})
		require.Equal(t, 200, b.Open(frontend+"/"))
		p.waits("#sessions", "End it")
		require.Equal(t, http.StatusOK, elsewhere.Get("/accounts/profile").StatusCode)
		b.Do(chromedp.Click(chromedp.CSS("#end-others"), chromedp.NodeVisible))
		p.waits("#note", "ended")
		require.Equal(t, http.StatusUnauthorized, elsewhere.Get("/accounts/profile").StatusCode)
		if mode == "cookie" {
			b.Look("spa")
		}
		p.submit("logout", nil, "signed out")
		p.waits("#who", "Not signed in")

		from = s.Log.Mark()
		p.submit("send-reset-password-link", map[string]string{"login": name}, "emailed a link")
		p.follow(mailedLink(s, from, "reset-password", other), map[string]string{"password": served.TestPassword}, "set")
		p.submit("login", map[string]string{"login": name, "password": served.TestPassword}, "signed in")
		p.follow(mailedLink(s, 0, "undo-email", email), nil, "restored")
		p.waits("#who", "Not signed in")
	}
}

// TestFrontendOnAForeignOrigin: what is trusted is one origin; the same page on
// another one reads nothing and changes nothing.
func TestFrontendOnAForeignOrigin(t *testing.T) {
	s, frontend := spaServer(t)
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>Foreign</title>"))
	}))
	t.Cleanup(foreign.Close)
	origin := strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1) // the same site: the cookie would go along
	b := served.NewBrowser(t, origin)
	try := func(options string) string {
		t.Helper()
		return served.Ask(b, chromedp.Evaluate[string](`(async () => { try { const r = await fetch("`+base2(s)+`/accounts/" + `+options+`); return r.status + " " + await r.text() } catch (e) { return "refused" } })()`, chromedp.EvalAwaitPromise))
	}
	b.Open(origin + "/")
	const login = `"login", {method: "POST", credentials: "include", headers: {"Content-Type": "application/x-www-form-urlencoded"}, body: "login=x&password=y"}`
	require.Equal(t, "refused", try(login))
	require.Equal(t, "refused", try(`"login", {method: "POST", credentials: "include", headers: {"Content-Type": "application/json"}, body: "{}"}`), "the preflight is refused")
	require.Equal(t, "refused", try(`"profile", {credentials: "include"}`))
	require.Contains(t, try(`"openapi.json"`), "200", "the document is anybody's")
	require.Contains(t, try(`".well-known/jwks.json"`), "200")
	b.Open(frontend + "/")
	require.Contains(t, try(login), "400", "the trusted one is heard")
	require.Contains(t, try(`"profile", {credentials: "include"}`), "401")
	require.Contains(t, try(`"nothing-here", {credentials: "include"}`), "404")
	require.Contains(t, try(`"profile", {method: "DELETE", credentials: "include"}`), "refused", "not among the methods that the preflight allows")
}

// base2 is the server's address by its name, as the frontend knows it.
func base2(s *served.Server) string { return fmt.Sprintf("http://localhost:%d", s.Port) }
