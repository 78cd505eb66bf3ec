// spa_test.go: the example of a frontend elsewhere in a real browser: all flows, by
// cookie and by token, and a foreign origin, which gets nowhere.

package integration

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
)

// spaServer runs examples/spa as it is, on ports of this test.
func spaServer(t *testing.T) (s *server, frontend string) {
	t.Helper()
	s = newServer(t)
	port := freePort(t)
	ports := strings.NewReplacer("localhost:8080", "localhost:"+strconv.Itoa(s.port), "localhost:8081", "localhost:"+strconv.Itoa(port), "http_port 8080", "http_port "+strconv.Itoa(s.port))
	source := filepath.Join(repoRoot, "examples", "spa")
	for _, name := range []string{"index.html", "app.js", "style.css"} {
		raw, err := os.ReadFile(filepath.Join(source, name))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "examples", "spa"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "examples", "spa", name), []byte(ports.Replace(string(raw))), 0o600))
	}
	raw, err := os.ReadFile(filepath.Join(source, "Caddyfile"))
	require.NoError(t, err)
	config := ports.Replace(string(raw))
	require.Equal(t, 1, strings.Count(config, "\n{\n"), "the global options")
	s.configure(strings.Replace(config, "\n{\n", "\n{\n\tadmin 127.0.0.1:[[admin]]\n", 1))
	s.start()
	return s, fmt.Sprintf("http://localhost:%d", port)
}

// spa is the frontend in a browser.
type spa struct {
	*browser
	s *server
}

// submit fills a form of the frontend and waits for what it says.
func (p *spa) submit(endpoint string, values map[string]string, says string) {
	p.t.Helper()
	form := `form[data-endpoint="` + endpoint + `"]`
	if endpoint == "" {
		form = "#link-form"
	}
	for name, value := range values {
		input := form + ` input[name="` + name + `"]`
		evaluate[bool](p.browser, "(document.querySelector("+strconv.Quote(input)+").value = '', true)")
		p.do(chromedp.SendKeys(chromedp.CSS(input), value))
	}
	p.do(chromedp.Click(chromedp.CSS(form+" button"), chromedp.NodeVisible))
	p.waits("#note", says)
}

func (p *spa) waits(selector, says string) {
	p.t.Helper()
	got := ""
	require.True(p.t, eventually(func() bool {
		got = evaluate[string](p.browser, "document.querySelector("+strconv.Quote(selector)+").innerText")
		return strings.Contains(got, says)
	}, 20*time.Millisecond), "%s says %q and not %q; the page: %s", selector, got, says, evaluate[string](p.browser, "document.body.innerText"))
}

// follow opens the link of the newest mail of a kind and presses its one button.
func (p *spa) follow(link string, values map[string]string, says string) {
	p.t.Helper()
	require.Equal(p.t, 200, p.open(link))
	p.submit("", values, says)
	require.NotContains(p.t, ask(p.browser, chromedp.Location()), "signature", "a signature stays in the address")
}

// mailedLink waits for the link of an act to an address in Caddy's log, after from.
func (s *server) mailedLink(from int, act, to string) string {
	s.t.Helper()
	line := s.logged(from, `"msg":"mail"`, `"to":"`+to+`"`, "act="+act)
	line = strings.ReplaceAll(line, "\\u0026", "&")
	for _, found := range linkInText.FindAllString(strings.ReplaceAll(line, `\n`, "\n"), -1) {
		if strings.Contains(found, "act="+act) {
			return found
		}
	}
	require.FailNow(s.t, "no link", line)
	return ""
}

func TestFrontendElsewhere(t *testing.T) {
	s, frontend := spaServer(t)
	for _, mode := range []string{"cookie", "token"} {
		b := newBrowser(t, frontend)
		p := &spa{b, s}
		name := "ada-" + mode
		email, other := name+"@example.org", name+"@example.net"
		from := s.log.mark()
		require.Equal(t, 200, b.open(frontend+"/"))
		b.do(chromedp.Click(chromedp.CSS(`input[name="mode"][value="` + mode + `"]`)))
		p.submit("register", map[string]string{"username": name, "email": email, "password": testPassword, "password_confirm": testPassword}, "Nearly there")
		p.submit("resend-verification", map[string]string{"login": name}, "on its way")
		p.follow(s.mailedLink(from, "verify-registration", email), nil, "confirmed")

		p.do(chromedp.SendKeys(chromedp.CSS(`form[data-endpoint="login"] input[name="login"]`), name), chromedp.SendKeys(chromedp.CSS(`form[data-endpoint="login"] input[name="password"]`), "wrong"),
			chromedp.Click(chromedp.CSS(`form[data-endpoint="login"] button`)))
		p.waits(`form[data-endpoint="login"]`, "not right")
		p.submit("login", map[string]string{"login": name, "password": testPassword}, "signed in")
		p.waits("#who", "Signed in as "+name)
		require.Equal(t, mode == "token", evaluate[bool](b, `sessionStorage.getItem("access") !== null`))
		cookies := evaluate[string](b, `document.cookie`)
		require.Empty(t, cookies, "a script reads the cookie")
		require.Equal(t, 200, b.open(frontend+"/"))
		p.waits("#who", "Signed in as "+name)

		p.submit("profile", map[string]string{"first_name": "Ada"}, "Saved")
		if mode == "token" { // an access token that is over: the page gets the next by itself
			before := evaluate[string](b, `sessionStorage.getItem("refresh")`)
			evaluate[bool](b, `(sessionStorage.setItem("access", "e30.e30.AA"), true)`)
			p.submit("profile", map[string]string{"last_name": "King"}, "Saved")
			require.NotEqual(t, before, evaluate[string](b, `sessionStorage.getItem("refresh")`))
		}
		p.submit("change-password", map[string]string{"old_password": testPassword, "password": testPassword + " 2", "password_confirm": testPassword + " 2"}, "changed")
		p.submit("register-email", map[string]string{"email": other}, "on its way")
		require.Equal(t, 200, b.open(frontend+"/"))
		p.follow(s.mailedLink(from, "verify-email", other), nil, "changed")
		p.waits("#who", "Signed in as "+name)

		// Somebody signs in elsewhere, and is sent away from here.
		elsewhere := newClient(t, s.base2(), &http.Transport{DisableKeepAlives: true})
		elsewhere.post(http.StatusOK, "login", data{"login": name, "password": testPassword + " 2"})
		require.Equal(t, 200, b.open(frontend+"/"))
		p.waits("#sessions", "End it")
		require.Equal(t, http.StatusOK, elsewhere.get("/accounts/profile").StatusCode)
		b.do(chromedp.Click(chromedp.CSS("#end-others"), chromedp.NodeVisible))
		p.waits("#note", "ended")
		require.Equal(t, http.StatusUnauthorized, elsewhere.get("/accounts/profile").StatusCode)
		if mode == "cookie" {
			b.look("spa")
		}
		p.submit("logout", nil, "signed out")
		p.waits("#who", "Not signed in")

		from = s.log.mark()
		p.submit("send-reset-password-link", map[string]string{"login": name}, "on its way")
		p.follow(s.mailedLink(from, "reset-password", other), map[string]string{"password": testPassword}, "set")
		p.submit("login", map[string]string{"login": name, "password": testPassword}, "signed in")
		p.follow(s.mailedLink(0, "undo-email", email), nil, "back")
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
	b := newBrowser(t, origin)
	try := func(options string) string {
		t.Helper()
		return ask(b, chromedp.Evaluate[string](`(async () => { try { const r = await fetch("`+s.base2()+`/accounts/" + `+options+`); return r.status + " " + await r.text() } catch (e) { return "refused" } })()`, chromedp.EvalAwaitPromise))
	}
	b.open(origin + "/")
	const login = `"login", {method: "POST", credentials: "include", headers: {"Content-Type": "application/x-www-form-urlencoded"}, body: "login=x&password=y"}`
	require.Equal(t, "refused", try(login))
	require.Equal(t, "refused", try(`"login", {method: "POST", credentials: "include", headers: {"Content-Type": "application/json"}, body: "{}"}`), "the preflight is refused")
	require.Equal(t, "refused", try(`"profile", {credentials: "include"}`))
	require.Contains(t, try(`"openapi.json"`), "200", "the document is anybody's")
	require.Contains(t, try(`".well-known/jwks.json"`), "200")
	b.open(frontend + "/")
	require.Contains(t, try(login), "400", "the trusted one is heard")
	require.Contains(t, try(`"profile", {credentials: "include"}`), "401")
	require.Contains(t, try(`"nothing-here", {credentials: "include"}`), "404")
	require.Contains(t, try(`"profile", {method: "DELETE", credentials: "include"}`), "refused", "not among the methods that the preflight allows")
}

// base2 is the server's address by its name, as the frontend knows it.
func (s *server) base2() string { return fmt.Sprintf("http://localhost:%d", s.port) }
