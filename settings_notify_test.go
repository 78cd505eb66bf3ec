// settings_notify_test.go: what handlers of Caddy's events hear, and what they can say, in
// a Caddy that runs in the test's own process.

package registration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

func init() { caddy.RegisterModule(new(Doorkeeper)) }

// Doorkeeper is a guest module as docs/events.md shows it: it hears of everything, and
// refuses sign-ups by names that it doesn't like.
type Doorkeeper struct {
	// Refuse is a username that may not sign up, Words what its owner reads.
	Refuse string `json:"refuse,omitempty"`
	Words  string `json:"words,omitempty"`
	// Breaks: it fails, and has nothing to say.
	Breaks bool `json:"breaks,omitempty"`
}

var heardByDoorkeeper struct {
	sync.Mutex
	list []caddy.Event
	wait chan struct{}
}

// CaddyModule returns the Caddy module information.
func (*Doorkeeper) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.doorkeeper", New: func() caddy.Module { return new(Doorkeeper) }}
}

// UnmarshalCaddyfile reads `doorkeeper [<name> <words>]`.
func (k *Doorkeeper) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	args := d.RemainingArgs()
	if len(args) == 2 {
		k.Refuse, k.Words = args[0], args[1]
	}
	k.Breaks = len(args) == 1
	return nil
}

// Handle implements caddyevents.Handler.
func (k *Doorkeeper) Handle(_ context.Context, e caddy.Event) error {
	heardByDoorkeeper.Lock()
	heardByDoorkeeper.list = append(heardByDoorkeeper.list, e)
	wait := heardByDoorkeeper.wait
	heardByDoorkeeper.Unlock()
	if wait != nil && (k.Words == "slow") == (e.Name() == "account_registering") && strings.HasPrefix(e.Name(), "account_") {
		<-wait
	}
	switch {
	case k.Breaks && e.Name() == "account_registered":
		panic("a doorkeeper is a program too")
	case e.Name() != "account_registering":
	case k.Breaks:
		panic("a doorkeeper is a program too")
	case e.Data["username"] == k.Refuse:
		return fmt.Errorf("%w: %s", caddy.ErrEventAborted, k.Words)
	}
	return nil
}

// heard are the events of a realm so far.
func heard() (names []string, all []caddy.Event) {
	heardByDoorkeeper.Lock()
	defer heardByDoorkeeper.Unlock()
	for _, e := range heardByDoorkeeper.list {
		if e.Data["realm"] != nil {
			names, all = append(names, e.Name()), append(all, e)
		}
	}
	return names, all
}

// A caddySite is a site in a Caddy in this process.
type caddySite struct {
	t      *testing.T
	url    string
	realm  string
	config []byte
	client *http.Client
}

// runCaddy loads a Caddyfile: global options, lines of the site and of `registration`.
func runCaddy(t *testing.T, global, site, lines string) *caddySite {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	dir := t.TempDir()
	realm := strings.ToLower(filepath.Base(dir) + strings.ReplaceAll(t.Name(), "/", "_"))
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system %[1]s
	log {
		output discard
	}
	%[2]s
}
http://%[3]s {
	%[4]s
	registration {
		realm %[6]s
		base_url http://%[3]s
		from a@example.com
		mailer log
		store bbolt %[1]s/r.db
		throttle off
		password {
			argon2id 19MiB 2 1
		}
		%[5]s
	}
}
`, dir, global, address, strings.ReplaceAll(site, "REALM", realm), lines, realm)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	require.NoError(t, err)
	heardByDoorkeeper.Lock()
	heardByDoorkeeper.list, heardByDoorkeeper.wait = nil, nil
	heardByDoorkeeper.Unlock()
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	return &caddySite{t: t, url: "http://" + address, realm: realm, config: config, client: &http.Client{Timeout: sitetest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}} // a reload closes those that wait
}

// do sends a request and returns its status and its body.
func (s *caddySite) do(method, path string, body any, header ...string) (int, string) {
	s.t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(s.t, err)
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(raw))
	require.NoError(s.t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	for unmade := new(net.OpError); errors.As(err, &unmade) && unmade.Op == "dial" && errors.Is(err, syscall.ECONNRESET); { // in the queue of the listener that a reload has just closed
		res, err = s.client.Do(req)
	}
	require.NoError(s.t, err)
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return res.StatusCode, string(answer)
}

const openSignUp = "register {\nverification off\n}"

func TestCaddysEvents(t *testing.T) {
	s := runCaddy(t, "events {\non * doorkeeper\n}", "", openSignUp)
	status, answer := s.do("POST", "/accounts/register", sitetest.Newcomer("ada"))
	require.Equal(t, 201, status, answer)
	status, _ = s.do("POST", "/accounts/login", sitetest.Data{"login": "ada", "password": "wrong wrong wrong"})
	require.Equal(t, 400, status)
	status, _ = s.do("POST", "/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, 200, status)
	require.Eventually(t, func() bool { names, _ := heard(); return len(names) == 4 }, sitetest.Patience, time.Millisecond)
	names, all := heard()
	require.Equal(t, []string{"account_registering", "account_registered", "sign_in_failed", "signed_in"}, names)
	require.Equal(t, "ada@example.org", all[0].Data["email"])
	require.Equal(t, "127.0.0.1", all[0].Data["address"])
	for _, e := range all[1:] {
		require.Equal(t, "ada", e.Data["username"])
		require.Len(t, e.Data["id"], 36)
		require.Equal(t, caddy.ModuleID("http.handlers.registration"), e.Origin().CaddyModule().ID)
		for _, secret := range []string{sitetest.Password, "wrong wrong", "argon2", "@example"} {
			require.NotContains(t, fmt.Sprint(e.Data), secret)
		}
	}
}

func TestVetoOfASignUp(t *testing.T) {
	s := runCaddy(t, "events {\non account_registering doorkeeper mallory \"Not by this name,\nsir.\"\n}", "", openSignUp)
	status, answer := s.do("POST", "/accounts/register", sitetest.Newcomer("mallory"))
	require.Equal(t, 403, status)
	require.JSONEq(t, `{"detail":"Not by this name, sir."}`, answer)
	_, answer = s.do("POST", "/accounts/register", sitetest.Newcomer("mallory"), "Accept", "application/problem+json")
	require.Contains(t, answer, `"code":"sign_up_refused"`)
	// On the page it stands with the form, which has what was typed but for the passwords.
	typed := url.Values{}
	for name, value := range sitetest.Newcomer("mallory") {
		typed.Set(name, fmt.Sprint(value))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/accounts/register/", strings.NewReader(typed.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Origin", s.url)
	res, err := s.client.Do(req)
	require.NoError(t, err)
	page, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	require.Regexp(t, `(?s)role="alert"[^>]*>.*Not by this name, sir\..*<form`, string(page))
	require.Contains(t, string(page), `value="mallory"`)
	require.Contains(t, string(page), `value="mallory@example.org"`)
	require.NotContains(t, string(page), sitetest.Password)
	status, _ = s.do("POST", "/accounts/register", sitetest.Newcomer("ada"))
	require.Equal(t, 201, status)
	names, _ := heard()
	require.Equal(t, "account_registering account_registering account_registering account_registering", strings.Join(names, " "))
}

func TestVetoWithoutWords(t *testing.T) {
	s := runCaddy(t, "events {\non account_registering doorkeeper mallory \" \"\n}", "", openSignUp)
	_, answer := s.do("POST", "/accounts/register", sitetest.Newcomer("mallory"), "Accept-Language", "de")
	require.Contains(t, answer, "Die Registrierung wird nicht angenommen.")
}

// A rule that breaks lets nobody in.
func TestVetoThatBreaks(t *testing.T) {
	s := runCaddy(t, "events {\non account_registering doorkeeper breaks\n}", "", openSignUp)
	for range 70 { // more than may be asked about at once
		status, _ := s.do("POST", "/accounts/register", sitetest.Newcomer("mallory"))
		require.Equal(t, 503, status)
	}
}

// A rule that doesn't answer lets nobody in, and however many ask it, only so many wait.
func TestVetoThatIsNotAnswered(t *testing.T) {
	s := runCaddy(t, "events {\non account_registering doorkeeper mallory slow\n}", "", openSignUp)
	before := *registration.VetoPatience
	*registration.VetoPatience = time.Millisecond
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang); *registration.VetoPatience = before })
	heardByDoorkeeper.Lock()
	heardByDoorkeeper.wait = hang
	heardByDoorkeeper.Unlock()
	for range 66 {
		status, _ := s.do("POST", "/accounts/register", sitetest.Newcomer("ada"))
		require.Equal(t, 503, status)
	}
	names, _ := heard()
	require.LessOrEqual(t, len(names), 64)
	*registration.VetoPatience = time.Minute
	status, _ := s.do("POST", "/accounts/register", sitetest.Newcomer("ada"))
	require.Equal(t, 503, status)
}

// A handler that panics is nobody's end, and the next event comes.
func TestHandlersOfEventsThatPanic(t *testing.T) {
	s := runCaddy(t, "events {\non account_registered doorkeeper breaks\non signed_in doorkeeper\n}", "", openSignUp)
	status, answer := s.do("POST", "/accounts/register", sitetest.Newcomer("ada"))
	require.Equal(t, 201, status, answer)
	status, _ = s.do("POST", "/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, 200, status)
	require.Eventually(t, func() bool {
		names, _ := heard()
		return strings.Join(names, " ") == "account_registered signed_in"
	}, sitetest.Patience, time.Millisecond)
}

// A handler that hangs delays no request, and the end of Caddy only for a bounded time.
func TestSlowHandlersOfEvents(t *testing.T) {
	s := runCaddy(t, "events {\non * doorkeeper\n}", "", openSignUp)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	heardByDoorkeeper.Lock()
	heardByDoorkeeper.wait = hang
	heardByDoorkeeper.Unlock()
	for i := range 3 {
		status, answer := s.do("POST", "/accounts/register", sitetest.Newcomer(fmt.Sprintf("ada%d", i)))
		require.Equal(t, 201, status, answer)
	}
	names, _ := heard()
	require.Equal(t, 3, strings.Count(strings.Join(names, " "), "account_registering"))
	require.LessOrEqual(t, strings.Count(strings.Join(names, " "), "account_registered"), 1)
}

// What is wrong with an endpoint is refused with its line, and no secret is in the message.
func TestWrongWebhooks(t *testing.T) {
	const secret = "secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for name, c := range map[string]struct{ lines, want string }{
		"no URL":            {"webhook {\n" + secret + "\n}", "webhook takes the URL of an endpoint"},
		"no host":           {"webhook /hook {\n" + secret + "\n}", "the endpoint is no URL"},
		"another scheme":    {"webhook ftp://example.com/ {\n" + secret + "\n}", "the endpoint is no URL"},
		"clear":             {"webhook http://example.com/ {\n" + secret + "\n}", "http sends what happens to accounts in the clear"},
		"a user":            {"webhook https://me:geheim@example.com/ {\n" + secret + "\n}", "the URL has a user or a fragment"},
		"twice":             {"webhook https://example.com/ {\n" + secret + "\n}\nwebhook https://example.com/ {\n" + secret + "\n}", "stands twice"},
		"no secret":         {"webhook https://example.com/", "needs a secret"},
		"three secrets":     {"webhook https://example.com/ {\nsecret whsec_a whsec_b whsec_c\n}", "two while one is being replaced"},
		"a bad secret":      {"webhook https://example.com/ {\nsecret geheim\n}", "a secret is whsec_ and the base64 of 24 to 64 random bytes"},
		"an unknown event":  {"webhook https://example.com/ {\n" + secret + "\nevents sign_up\n}", "there is no event \"sign_up\""},
		"no record":         {"audit off\nwebhook https://example.com/ {\n" + secret + "\n}", "leave audit on"},
		"a short record":    {"audit {\nkeep 3d\n}\nwebhook https://example.com/ {\n" + secret + "\n}", "keep it for 4d or longer"},
		"an unknown option": {"webhook https://example.com/ {\nretries 3\n}", "the settings are: allow_private, events, secret"},
		"too many":          {strings.Repeat("webhook https://example.com/ {\n"+secret+"\n}\n", 21), "more than 20 endpoints"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("example.com {\nregistration {\nbase_url https://example.com\nfrom a@example.com\nmailer log\n"+c.lines+"\n}\n}\n"), map[string]any{"filename": "Caddyfile"})
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "Caddyfile:")
			require.NotContains(t, err.Error(), "geheim")
			require.NotContains(t, err.Error(), "MfKQ9r8G")
		})
	}
}

// An endpoint is told through a whole Caddy, over a reload that puts a new secret beside the
// old one and one that takes the old one away, and of nothing more when it is taken out.
func TestWebhooksOfASite(t *testing.T) {
	const first, second = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	var mu sync.Mutex
	var events []string
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		raw, _ := io.ReadAll(req.Body)
		var body struct{ Type string }
		_ = json.Unmarshal(raw, &body)
		signed := ""
		for name, secret := range map[string]string{"first": first, "second": second} {
			if wh, err := standardwebhooks.NewWebhook(secret); err == nil && wh.Verify(raw, req.Header) == nil {
				signed += " " + name
			}
		}
		if len(signed) > len(" second") {
			signed = " both"
		}
		mu.Lock()
		events = append(events, body.Type+signed)
		mu.Unlock()
	}))
	t.Cleanup(hook.Close)
	t.Setenv("WEBHOOK_SECRET", first)
	s := runCaddy(t, "", "metrics /metrics", openSignUp+"\nwebhook "+hook.URL+" {\nsecret {env.WEBHOOK_SECRET}\nallow_private\n}")
	told := func(want ...string) {
		t.Helper()
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Equal(want, events)
		}, sitetest.Patience, time.Millisecond)
	}
	act := func(name string) {
		t.Helper()
		status, answer := s.do("POST", "/accounts/register", sitetest.Newcomer(name))
		require.Equal(t, 201, status, answer)
	}
	load := func(old, now string) {
		t.Helper()
		require.Contains(t, string(s.config), old)
		s.config = []byte(strings.Replace(string(s.config), old, now, 1))
		require.NoError(t, caddy.Load(s.config, true))
		s.client.CloseIdleConnections()
	}
	delivered := func() (n float64) {
		got, _ := s.scraped(s.realm)
		for name, value := range got {
			if strings.HasPrefix(name, "webhooks_total{") && strings.Contains(name, `result="delivered"`) {
				n += value
			}
		}
		return n
	}
	act("ada")
	s.do("POST", "/accounts/login", sitetest.Data{"login": "ada", "password": "wrong wrong wrong"})
	told("account_registered first", "sign_in_failed first")
	load(`["{env.WEBHOOK_SECRET}"]`, `["`+second+`","{env.WEBHOOK_SECRET}"]`)
	act("bob")
	told("account_registered first", "sign_in_failed first", "account_registered both")
	load(`["`+second+`","{env.WEBHOOK_SECRET}"]`, `["`+second+`"]`)
	act("eve")
	told("account_registered first", "sign_in_failed first", "account_registered both", "account_registered second")
	require.Eventually(t, func() bool { // it is counted after the answer
		return delivered() == 4
	}, sitetest.Patience, time.Millisecond)
	var config map[string]any
	require.NoError(t, json.Unmarshal(s.config, &config))
	without(config, "webhooks")
	raw, err := json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, caddy.Load(raw, true))
	s.client.CloseIdleConnections()
	act("zoe")
	got, _ := s.scraped(s.realm)
	require.InDelta(t, 4, delivered(), 0)
	require.InDelta(t, 4, got[`sign_ups_total{result="ok"}`], 0)
}

// without takes a setting off, wherever it stands.
func without(config any, name string) {
	switch c := config.(type) {
	case map[string]any:
		delete(c, name)
		for _, value := range c {
			without(value, name)
		}
	case []any:
		for _, value := range c {
			without(value, name)
		}
	}
}

// scraped are the metrics of a realm by their whole names, without its own label.
func (s *caddySite) scraped(realm string) (map[string]float64, string) {
	s.t.Helper()
	status, text := s.do("GET", "/metrics", nil)
	require.Equal(s.t, 200, status)
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if name, ours := strings.CutPrefix(name, "caddy_registration_"); ok && ours && strings.Contains(name, `realm="`+realm+`"`) {
			n, err := strconv.ParseFloat(value, 64)
			require.NoError(s.t, err, line)
			all[strings.NewReplacer(`,realm="`+realm+`"`, "", `realm="`+realm+`",`, "", `{realm="`+realm+`"}`, "").Replace(name)] = n
		}
	}
	return all, text
}

// What is counted is what was done, and goes on over a reload.
func TestMetrics(t *testing.T) {
	const site = "metrics /metrics\nrequire_login /members/* {\nrealm REALM\n}\nrequire_login /staff/* {\nrealm REALM\ngroup staff\n}\nrequire_login /fresh/* {\nrealm REALM\nfactors 2\n}\nrespond /members/* hello"
	s := runCaddy(t, "events {\non account_registering doorkeeper mallory no\n}", site, openSignUp+"\nauthz on")
	for range 2 {
		s.do("POST", "/accounts/register", sitetest.Newcomer("ada")) // the second is refused
	}
	s.do("POST", "/accounts/register", sitetest.Newcomer("mallory"))
	for range 3 {
		s.do("POST", "/accounts/login", sitetest.Data{"login": "ada", "password": "wrong wrong wrong"})
	}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	s.client.Jar = jar
	status, _ := s.do("GET", "/members/", nil)
	require.Equal(t, 401, status)
	status, _ = s.do("GET", "/accounts/authz/forward-auth", nil)
	require.Equal(t, 401, status)
	status, answer := s.do("POST", "/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, 200, status, answer)
	for path, want := range map[string]int{"/members/": 200, "/staff/": 403, "/fresh/": 401,
		"/accounts/authz/forward-auth": 200, "/accounts/authz/forward-auth?group=staff": 403, "/accounts/authz/forward-auth?factors=2": 401,
		"/accounts/authz/forward-auth?groups=staff": 400, "/accounts/authz/auth-request": 200,
	} {
		status, _ = s.do("GET", path, nil)
		require.Equal(t, want, status, path)
	}
	want := map[string]float64{
		`sign_ups_total{result="ok"}`: 1, `sign_ups_total{result="refused"}`: 2,
		`sign_ins_total{method="password",result="ok"}`: 1, `sign_ins_total{method="password",result="login_invalid"}`: 3,
		`guard_requests_total{by="require_login",result="passed"}`: 1, `guard_requests_total{by="require_login",result="sign_in"}`: 1, `guard_requests_total{by="require_login",result="forbidden"}`: 1, `guard_requests_total{by="require_login",result="step_up"}`: 1, `guard_requests_total{by="require_login",result="failed"}`: 0,
		`guard_requests_total{by="forward_auth",result="passed"}`: 1, `guard_requests_total{by="forward_auth",result="sign_in"}`: 1, `guard_requests_total{by="forward_auth",result="forbidden"}`: 1,
		`guard_requests_total{by="forward_auth",result="step_up"}`: 1, `guard_requests_total{by="forward_auth",result="failed"}`: 1, `guard_requests_total{by="auth_request",result="passed"}`: 1,
		`accounts{state="active"}`: 1, `accounts{state="disabled"}`: 0, `sessions`: 1, `mail_queue_length`: 0, `mail_queue_oldest_seconds`: 0,
	}
	got, text := s.scraped(s.realm)
	for name, n := range want {
		require.InDelta(t, n, got[name], 0, name)
	}
	require.Positive(t, got[`store_duration_seconds_count{access="write"}`])
	require.Positive(t, got[`store_duration_seconds_count{access="read"}`])
	require.Contains(t, text, "caddy_registration_hash_waiting 0")
	require.Regexp(t, `caddy_registration_hash_duration_seconds_count [1-9]`, text)
	checkMetrics(t, text)
	status, _ = s.do("POST", "/accounts/logout", sitetest.Data{})
	require.Equal(t, 200, status)
	want["sessions"] = 0
	require.NoError(t, caddy.Load([]byte(strings.Replace(string(s.config), `"doorkeeper"`, `"doorkeeper","words":"no longer"`, 1)), true))
	again, _ := s.scraped(s.realm)
	for name, n := range want {
		require.InDelta(t, n, again[name], 0, "over a reload: "+name)
	}
}

// checkMetrics has Prometheus's own tool look at what is exposed of ours.
func checkMetrics(t *testing.T, text string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "promtool has to be there: apt-get install prometheus")
		return
	}
	var ours strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "caddy_registration_") {
			ours.WriteString(line)
		}
	}
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(ours.String())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Empty(t, string(out))
}

// metricOf returns the value of a counter or a gauge as Prometheus would read it; labels are
// in the order of their names, but for that of the realm.
func metricOf(t *testing.T) func(name string, labels ...string) float64 {
	registry := prometheus.NewRegistry()
	require.NoError(t, registration.Counters.Register(registry))
	require.NoError(t, registration.Counters.Register(registry), "a second realm shares the counters")
	return func(name string, labels ...string) (n float64) {
		t.Helper()
		all, err := registry.Gather()
		require.NoError(t, err)
		for _, family := range all {
			for _, m := range family.GetMetric() {
				var have []string
				for _, l := range m.GetLabel() {
					if l.GetName() != "realm" {
						have = append(have, l.GetName()+"="+l.GetValue())
					}
				}
				if family.GetName() == "caddy_registration_"+name && slices.Equal(have, labels) {
					n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
		return n
	}
}

// What mails become is counted, and a throttle that refuses.
func TestMetricsOfMailsAndThrottles(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	value := metricOf(t)
	delivered, refused, dropped := value("mails_total", "kind=register", "result=delivered"), value("mails_total", "kind=register", "result=given_up"), value("mails_total", "kind=register", "result=dropped")
	throttled := value("throttled_total", "throttle=login")
	becomes := func(what string, have func() bool) {
		t.Helper()
		require.Eventually(t, have, sitetest.Patience, time.Millisecond, what)
	}
	s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
	s.Mail()
	becomes("delivered", func() bool { return value("mails_total", "kind=register", "result=delivered") == delivered+1 })
	s.FailWith(func(*mail.Message) error { return &mail.Error{Permanent: true, Err: http.ErrAbortHandler} })
	s.Browser().Post("/accounts/register", sitetest.Newcomer("bob"))
	becomes("given up", func() bool { return value("mails_total", "kind=register", "result=given_up") == refused+1 })
	s.FailWith(func(*mail.Message) error { return http.ErrHandlerTimeout })
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("zoe")).StatusCode)
	becomes("waits", func() bool { return value("mail_queue_length") == 1 })
	s.Travel(100 * time.Second)
	require.InDelta(t, 100, value("mail_queue_oldest_seconds"), 30)
	zoe, err := s.Accounts.LookupName(t.Context(), "zoe")
	require.NoError(t, err)
	require.NoError(t, s.Accounts.Delete(t.Context(), zoe.ID))
	require.Eventually(t, func() bool { // a try that was under way puts it off once more
		s.Travel(time.Hour)
		s.Realm.Resources.Outbox.Notify()
		return value("mails_total", "kind=register", "result=dropped") == dropped+1
	}, sitetest.Patience, 50*time.Millisecond, "nobody wants it")
	require.Zero(t, value("mail_queue_length"))
	require.Zero(t, value("mail_queue_oldest_seconds"))
	s.FailWith(nil)
	s.Member("eve")
	s.Attack("eve")
	require.InDelta(t, throttled+1, value("throttled_total", "throttle=login"), 0)
}

// Sign-ins are counted by what was shown, and by why they were refused.
func TestMetricsOfSignIns(t *testing.T) {
	p := sitetest.NewProvider(t, "ours")
	s := sitetest.NewWithPasskeys(t, sitetest.WithProviders(p), func(s *registration.Settings) { s.Login.MailCode = sitetest.On() })
	p.Now = s.Realm.Now
	p.Claims = sitetest.Data{"sub": "1", "email": "eve@example.org", "email_verified": true}
	value := metricOf(t)
	of := func(method, result string) float64 {
		return value("sign_ins_total", "method="+method, "result="+result)
	}
	counts := func(method, result string, act func()) {
		t.Helper()
		before := of(method, result)
		act()
		require.InDelta(t, before+1, of(method, result), 0, "%s %s", method, result)
	}
	s.Member("ada")
	counts("password", "ok", func() { s.SignedIn("ada") })
	counts("password", "login_invalid", func() { s.Browser().Post("/accounts/login", sitetest.WrongSignIn("ada")) })
	b := s.Browser()
	require.Equal(t, http.StatusOK, b.Post("/accounts/send-login-code", sitetest.Data{"login": "ada"}).StatusCode)
	code := regexp.MustCompile(`(?m)^    (\d{6})$`).FindStringSubmatch(s.Mail().Text)[1]
	counts("code", "login_code_invalid", func() { b.Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": "000 00"}) })
	counts("code", "ok", func() {
		require.Equal(t, http.StatusOK, b.Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": code}).StatusCode)
	})
	device := s.Device()
	require.Equal(t, http.StatusCreated, s.SignedIn("ada").AddPasskey(device).StatusCode)
	counts("passkey", "ok", func() { require.Equal(t, http.StatusOK, s.Browser().PasskeySignIn(device).StatusCode) })
	elsewhere := func(p *sitetest.Provider, status int, page string) func() {
		return func() {
			t.Helper()
			res := s.Browser().LikeBrowser().ByProvider(p, "/members/")
			require.Equal(t, []any{status, page}, []any{res.StatusCode, res.Header.Get("Location")}, res.Text)
		}
	}
	counts("oidc", "ok", func() {
		eve := s.Browser().LikeBrowser()
		require.Equal(t, "/accounts/oidc-register/", eve.ByProvider(p, "").Header.Get("Location"))
		require.Equal(t, http.StatusSeeOther, eve.Post("/accounts/oidc-register/", sitetest.FormOf(sitetest.Data{"username": "eve"})).StatusCode)
	})
	counts("oidc", "ok", elsewhere(p, http.StatusSeeOther, "/members/"))
	eve, err := s.Accounts.LookupName(t.Context(), "eve")
	require.NoError(t, err)
	s.Set(eve.ID.String(), func(u *store.User) { u.IsActive = false })
	counts("oidc", "disabled", elsewhere(p, http.StatusSeeOther, "/accounts/login/?next=%2Fmembers%2F"))
	p.Claims["nonce"] = "another"
	counts("oidc", "oidc_failed", elsewhere(p, http.StatusSeeOther, "/accounts/login/?next=%2Fmembers%2F"))
	p.Fail = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true }
	counts("oidc", "oidc_unavailable", elsewhere(p, http.StatusSeeOther, "/accounts/login/?next=%2Fmembers%2F"))
}

// Where requests are traced, the hash, the transactions and the mail of one are spans
// below its own, as a collector sees them.
func TestSpans(t *testing.T) {
	var mu sync.Mutex
	spans := map[string][]*tracepb.Span{}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, _ := io.ReadAll(req.Body)
		var got collectorpb.ExportTraceServiceRequest
		if proto.Unmarshal(raw, &got) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range got.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					spans[span.GetName()] = append(spans[span.GetName()], span)
				}
			}
		}
	}))
	t.Cleanup(collector.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	s := runCaddy(t, "", "tracing {\nspan the_request\n}", "")
	status, answer := s.do("POST", "/accounts/register", sitetest.Newcomer("ada"))
	require.Equal(t, 201, status, answer)
	below := []string{"hash", "store read", "store write", "mail"}
	// A request's own span comes after those below it, perhaps with the next delivery.
	requestOf := func(span *tracepb.Span) *tracepb.Span {
		for _, request := range spans["the_request"] {
			if bytes.Equal(request.GetTraceId(), span.GetTraceId()) {
				return request
			}
		}
		return nil
	}
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, name := range below {
			if len(spans[name]) == 0 || slices.ContainsFunc(spans[name], func(span *tracepb.Span) bool { return requestOf(span) == nil }) {
				return false
			}
		}
		return true
	}, sitetest.Patience, 10*time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	for _, name := range below {
		for _, span := range spans[name] {
			require.Equal(t, requestOf(span).GetSpanId(), span.GetParentSpanId(), name)
			require.NotContains(t, span.String(), "example.org")
		}
	}
}

// The rules and the dashboard of the example are good: they name metrics that there are and
// labels that those have, Prometheus reads each expression, and the dashboard has what Grafana
// wants of one that is imported.
func TestObservabilityExample(t *testing.T) {
	raw, err := os.ReadFile("examples/observability/grafana-dashboard.json")
	require.NoError(t, err)
	type source struct{ Type, UID string }
	var dashboard struct {
		Title, UID    string
		SchemaVersion int
		Templating    struct{ List []struct{ Name, Type string } }
		Panels        []struct {
			ID          int
			Title, Type string
			Datasource  source
			GridPos     struct{ H, W, X, Y int }
			Targets     []struct{ RefID, Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &dashboard))
	require.NotEmpty(t, dashboard.Title)
	require.NotEmpty(t, dashboard.UID)
	require.GreaterOrEqual(t, dashboard.SchemaVersion, 36)
	rules, err := os.ReadFile("examples/observability/alerts.yml")
	require.NoError(t, err)
	variables := []string{"__rate_interval"}
	for _, v := range dashboard.Templating.List {
		variables = append(variables, v.Name)
	}
	for _, used := range regexp.MustCompile(`\$\{?(\w+)`).FindAllSubmatch(raw, -1) {
		require.True(t, slices.Contains(variables, string(used[1])) || string(used[1]) == "__all", "%s is no variable", used[1])
	}
	seen, texts := map[any]bool{}, []string{string(rules)}
	once := func(what any) {
		t.Helper()
		require.False(t, seen[what], "%v stands twice", what)
		seen[what] = true
	}
	// As rules, Prometheus's own tool reads the expressions.
	asRules := "groups:\n- name: panels\n  rules:\n"
	for _, panel := range dashboard.Panels {
		require.NotEmpty(t, panel.Targets, panel.Title)
		require.NotEmpty(t, panel.Type, panel.Title)
		require.Equal(t, source{"prometheus", "${datasource}"}, panel.Datasource, panel.Title)
		once(panel.ID)
		for x := panel.GridPos.X; x < panel.GridPos.X+panel.GridPos.W; x++ {
			require.Less(t, x, 24, panel.Title)
			once([2]int{x, panel.GridPos.Y})
		}
		for _, target := range panel.Targets {
			texts = append(texts, target.Expr)
			once(panel.Title + " " + target.RefID)
			expr, err := json.Marshal(strings.NewReplacer("$__rate_interval", "5m", "$realm", ".*").Replace(target.Expr))
			require.NoError(t, err)
			asRules += "  - record: panel:" + strconv.Itoa(panel.ID) + ":" + target.RefID + "\n    expr: " + string(expr) + "\n"
		}
	}
	known := make(chan *prometheus.Desc, 100)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registration.Counters.Register(registry))
	require.NoError(t, registration.Counters.Register(descriptions{registry, known}))
	close(known)
	labels := map[string]string{}
	for d := range known {
		m := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{(.*?)\}`).FindStringSubmatch(d.String())
		require.NotNil(t, m, d.String())
		labels[m[1]] = "," + m[2] + ","
	}
	docs, err := os.ReadFile("docs/metrics.md")
	require.NoError(t, err)
	for name := range labels {
		require.Contains(t, string(docs), "`"+name+"`")
	}
	for _, text := range texts {
		for _, used := range regexp.MustCompile(`(caddy_registration_[a-z_]+)(?:\{(.*?)\})?`).FindAllStringSubmatch(text, -1) {
			name := used[1]
			histogram := regexp.MustCompile(`_(bucket|count|sum)$`)
			has, there := labels[histogram.ReplaceAllString(name, "")]
			require.True(t, there, "%s is no metric", name)
			for _, match := range regexp.MustCompile(`(\w+)\s*[=!]`).FindAllStringSubmatch(used[2], -1) {
				require.Contains(t, has, ","+match[1]+",", name)
			}
		}
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "promtool has to be there: apt-get install prometheus")
		return
	}
	panels := filepath.Join(t.TempDir(), "panels.yml")
	require.NoError(t, os.WriteFile(panels, []byte(asRules), 0o600))
	for _, file := range []string{"examples/observability/alerts.yml", panels} {
		out, err := exec.Command(tool, "check", "rules", file).CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

// descriptions notes what is registered.
type descriptions struct {
	prometheus.Registerer
	all chan *prometheus.Desc
}

func (d descriptions) Register(c prometheus.Collector) error {
	c.Describe(d.all)
	return nil
}
