//go:build unix

// load_test.go: nodes and the database end again and again while people come and go.

package cluster_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

var long = os.Getenv("REGISTRATION_FAULTS") == "long"

// people is how many come and go at the same time.
const people = 8

// A ledger is what has been acknowledged, and what has been seen that must not be.
type ledger struct {
	mu       sync.Mutex
	accounts []string          // signed up
	sessions map[string]string // cookies that are good, and whose
	ended    map[string]string // cookies that are not any more
	password map[string]string
	resets   int
	reads    int
	refused  int // 5xx, and connections that broke
	slow     int // took 5 s or longer
	slowest  time.Duration
	wrong    []string
}

func (l *ledger) note(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

// A caller is one person's client: it asks and never gives up the test by itself.
type caller struct {
	t    testing.TB
	http *http.Client
	l    *ledger
	base string
}

// A request that takes longer than slow breaks the promise, on a machine that does nothing else;
// on a busy one it counts as one that hangs from hangs on.
const (
	slow  = 5 * time.Second
	hangs = 15 * time.Second
)

// ask sends a request; status 0: no answer.
func (c *caller) ask(method, path, cookie string, body any) (status int, answer map[string]any, set string) {
	sent := io.Reader(http.NoBody)
	if body != nil {
		raw, _ := json.Marshal(body)
		sent = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, c.base+path, sent)
	if err != nil {
		return 0, nil, ""
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		req.Header.Set("Cookie", "registration="+cookie)
	}
	begin := time.Now()
	res, err := c.http.Do(req)
	took := time.Since(begin)
	c.l.note(func() {
		c.l.slowest = max(c.l.slowest, took)
		if took >= slow {
			c.l.slow++
		}
		if took >= hangs {
			c.l.wrong = append(c.l.wrong, fmt.Sprintf("%s %s took %s", method, path, took))
		}
		if err != nil || res.StatusCode >= 500 {
			c.l.refused++
		}
	})
	if err != nil {
		return 0, nil, ""
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, ""
	}
	_ = json.Unmarshal(text, &answer)
	for _, cookie := range res.Cookies() {
		if cookie.Name == "registration" {
			set = cookie.Value
		}
	}
	return res.StatusCode, answer, set
}

// must notes an answer that is none of those that may be; 0 and 5xx always may.
func (c *caller) must(what string, status int, may ...int) bool {
	for _, one := range may {
		if status == one {
			return true
		}
	}
	if status != 0 && status < 500 {
		c.l.note(func() { c.l.wrong = append(c.l.wrong, fmt.Sprintf("%s: %d", what, status)) })
	}
	return false
}

// member is somebody who signs in and out until the end.
func (c *caller) member(name string, m *served.MailServer, until time.Time) {
	for n := 0; time.Now().Before(until); n++ {
		switch n % 6 {
		case 0, 1: // a newcomer
			newcomer := fmt.Sprintf("%s-%d", name, n)
			if status, _, _ := c.ask(http.MethodPost, "/accounts/register", "", served.Newcomer(newcomer)); c.must("register", status, http.StatusCreated) {
				c.l.note(func() { c.l.accounts = append(c.l.accounts, newcomer) })
			}
		case 2, 3:
			status, _, cookie := c.ask(http.MethodPost, "/accounts/login", "", served.Data{"login": name, "password": c.passwordOf(name)})
			if c.must("login of "+name, status, http.StatusOK) {
				c.l.note(func() { c.l.sessions[cookie] = name })
			}
		case 4:
			c.signOut(name)
		case 5:
			if n%24 == 23 {
				c.reset(name, m)
			}
		}
		for _, cookie := range c.cookiesOf(name, 3) {
			status, _, _ := c.ask(http.MethodGet, "/members/", cookie, nil)
			if c.must("a guarded read of "+name, status, http.StatusOK) {
				c.l.note(func() { c.l.reads++ })
			}
		}
	}
}

func (c *caller) passwordOf(name string) string {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	return c.l.password[name]
}

func (c *caller) cookiesOf(name string, atMost int) (cookies []string) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	for cookie, whose := range c.l.sessions {
		if whose == name && len(cookies) < atMost {
			cookies = append(cookies, cookie)
		}
	}
	return cookies
}

// signOut ends one session. From the moment it asks, nobody knows whether it is good, until it
// is acknowledged.
func (c *caller) signOut(name string) {
	for _, cookie := range c.cookiesOf(name, 1) {
		c.l.note(func() { delete(c.l.sessions, cookie) })
		if status, _, _ := c.ask(http.MethodPost, "/accounts/logout", cookie, served.Data{}); c.must("logout", status, http.StatusOK) {
			c.l.note(func() { c.l.ended[cookie] = name })
		}
	}
}

// reset takes a new password by mail, which ends all sessions of the account.
func (c *caller) reset(name string, m *served.MailServer) {
	before := len(m.IDs(name + "@example.org"))
	if status, _, _ := c.ask(http.MethodPost, "/accounts/send-reset-password-link", "", served.Data{"login": name}); !c.must("send a reset", status, http.StatusOK) {
		return
	}
	var link served.Data
	for deadline := time.Now().Add(5 * time.Second); link == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return // it was in the hands of a node that died, and comes when the lease has run out
		}
		for _, got := range m.To(name + "@example.org")[before:] {
			if strings.Contains(got.Text, "/reset-password") {
				link = got.Link(c.t)
			}
		}
	}
	var gone []string
	c.l.note(func() {
		for cookie, whose := range c.l.sessions {
			if whose == name {
				gone = append(gone, cookie)
				delete(c.l.sessions, cookie)
			}
		}
	})
	link["password"], link["password_confirm"] = served.TestPassword+" anew", served.TestPassword+" anew"
	status, _, _ := c.ask(http.MethodPost, "/accounts/reset-password", "", link)
	if status == http.StatusBadRequest {
		return // one of before that is used
	}
	if c.must("reset", status, http.StatusOK) {
		c.l.note(func() {
			c.l.resets++
			c.l.password[name] = served.TestPassword + " anew"
			for _, cookie := range gone {
				c.l.ended[cookie] = name
			}
		})
	} else { // done or not
		for _, password := range []string{served.TestPassword + " anew", served.TestPassword} {
			if c.knows(name, password) {
				c.l.note(func() { c.l.password[name] = password })
				return
			}
		}
	}
}

// knows asks until there is an answer whether a password is the right one.
func (c *caller) knows(name, password string) bool {
	for range 1000 {
		switch status, _, _ := c.ask(http.MethodPost, "/accounts/login", "", served.Data{"login": name, "password": password}); status {
		case http.StatusOK:
			return true
		case 0, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusGatewayTimeout:
			time.Sleep(50 * time.Millisecond)
		default:
			return false
		}
	}
	return false
}

// query asks the database itself.
func (c *cluster) query(statement string) string {
	c.t.Helper()
	raw, err := os.ReadFile(filepath.Join(c.dir, "postgres", "postmaster.pid"))
	require.NoError(c.t, err)
	socket := strings.Split(string(raw), "\n")[4] // the folder of the socket
	out, err := exec.Command("psql", "-h", socket, "-U", "cluster", "-d", "postgres", "-tAc", statement).CombinedOutput()
	require.NoError(c.t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// siteOfTest is the example's Caddyfile with a cheap hash, room for sign-ins and no throttle.
func siteOfTest(t testing.TB) string {
	raw := string(served.ReadFile(t, filepath.Join(served.RepoRoot, "examples", "cluster", "Caddyfile")))
	raw = strings.Replace(raw, "registration {", "registration {\n\t\tthrottle off\n\t\tsession {\n\t\t\tmax 1000\n\t\t}"+served.Cheap, 1)
	path := filepath.Join(t.TempDir(), "Caddyfile")
	require.NoError(t, os.WriteFile(path, []byte(raw), 0o600))
	return path
}

func TestFaultNodesAndDatabaseUnderLoad(t *testing.T) {
	t.Run("directly", func(t *testing.T) { underLoad(t, "") })
	t.Run("through PgBouncer", func(t *testing.T) {
		if _, err := exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal("PgBouncer is missing; install the package pgbouncer")
			}
			t.Skip("needs PgBouncer (Debian: pgbouncer)")
		}
		underLoad(t, "pgbouncer")
	})
}

func underLoad(t *testing.T, pooler string) {
	length := 30 * time.Second
	if long {
		length = 10 * time.Minute
	}
	m := served.NewMailServer(t).Listen()
	c := upWithMail(t, 3, m, "POOLER="+pooler)
	l := newLedger()
	load, until := c.comeAndGo(l, m, length)
	kills, restarts := c.endParts(until, length)
	require.NoError(t, load.Wait())
	c.quiet(l)
	sent, twice, waiting := c.mails(m, l)
	l.verdict(t)
	require.LessOrEqual(t, twice, kills, "a mail twice where nobody had died")
	through := ""
	if pooler != "" {
		through = " through PgBouncer"
	}
	served.FaultResult(t, fmt.Sprintf("three nodes%s under load for %s: %d nodes killed (SIGKILL), PostgreSQL restarted %d times", through, length, kills, restarts),
		"no acknowledged act lost, no mail lost, twice at worst where its node was killed; nobody signed out, no session good again; nothing hangs over 5 s",
		fmt.Sprintf("%s; %d mails sent, %d of them twice, %d wait for a dead node's lease", l, sent, twice, waiting))
}

// upWithMail is up with a real mail server and the site of these tests.
func upWithMail(t *testing.T, nodes int, m *served.MailServer, settings ...string) *cluster {
	t.Helper()
	return up(t, nodes, append([]string{
		"CADDYFILE=" + siteOfTest(t), "SMTP_TEST_PASSWORD=" + served.SmtpPassword,
		fmt.Sprintf("MAILER=smtp %s {\n username caddy\n password {env.SMTP_TEST_PASSWORD}\n trusted_ca %s\n}", m.Address, m.CaFile),
	}, settings...)...)
}

func newLedger() *ledger {
	return &ledger{sessions: map[string]string{}, ended: map[string]string{}, password: map[string]string{}}
}

func (l *ledger) String() string {
	return fmt.Sprintf("%d sign-ups, %d sessions good and %d ended, %d resets, %d guarded reads; %d answers were 5xx or none; %d took 5 s, the slowest %s",
		len(l.accounts), len(l.sessions), len(l.ended), l.resets, l.reads, l.refused, l.slow, l.slowest.Round(time.Millisecond))
}

// verdict requires that nothing was wrong, and that there was something.
func (l *ledger) verdict(t *testing.T) {
	t.Helper()
	require.Empty(t, l.wrong)
	require.NotEmpty(t, l.accounts)
	require.NotEmpty(t, l.sessions)
	require.NotEmpty(t, l.ended)
	if long && l.slow > 0 {
		t.Errorf("%d requests took 5 s or longer", l.slow)
	}
}

// caller is somebody at a node, at the balancer where n is 0.
func (c *cluster) caller(l *ledger, n int) *caller {
	return &caller{t: c.t, l: l, base: c.base(n), http: &http.Client{Timeout: 2 * hangs, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// comeAndGo has people come by the balancer and go for so long.
func (c *cluster) comeAndGo(l *ledger, m *served.MailServer, length time.Duration) (load *served.Group, until time.Time) {
	c.t.Helper()
	for n := range people {
		name := fmt.Sprintf("member-%d", n)
		client := c.client()
		client.Post(http.StatusCreated, "register", served.Newcomer(name))
		require.True(c.t, served.Eventually(func() bool { return len(m.To(name+"@example.org")) == 1 }, 10*time.Millisecond))
		client.Post(http.StatusOK, "verify-registration", m.To(name + "@example.org")[0].Link(c.t))
		l.password[name] = served.TestPassword
	}
	load, until = new(served.Group), time.Now().Add(length)
	for n := range people {
		load.Go(func() error { c.caller(l, 0).member(fmt.Sprintf("member-%d", n), m, until); return nil })
	}
	return load, until
}

// quiet waits until all nodes are there and hear the database, and asks each about all that
// was acknowledged.
func (c *cluster) quiet(l *ledger) {
	c.t.Helper()
	for n := range c.nodes + 1 {
		require.True(c.t, served.Eventually(func() bool {
			status, _, _ := c.caller(l, n).ask(http.MethodGet, "/alive", "", nil)
			return status == http.StatusNoContent
		}, 50*time.Millisecond), "node %d does not come back", n)
		require.True(c.t, served.Eventually(func() bool {
			status, _, _ := c.caller(l, n).ask(http.MethodPost, "/accounts/login", "", served.Data{"login": "nobody", "password": "not a password"})
			return status == http.StatusBadRequest
		}, 50*time.Millisecond), "node %d does not reach the database", n)
	}
	time.Sleep(200 * time.Millisecond) // twice what a sign-out may take to be known
	l.check(c)
}

// endParts kills nodes at random and restarts the database twice, until the end.
func (c *cluster) endParts(until time.Time, length time.Duration) (kills, restarts int) {
	begin := time.Now()
	for time.Now().Before(until) {
		time.Sleep(time.Second + rand.N(3*time.Second))
		if restarts < 2 && time.Since(begin) > time.Duration(restarts+1)*length/3 {
			restarts++
			c.signal("postgres", syscall.SIGINT)
			continue
		}
		kills++
		c.signal(fmt.Sprintf("node%d", 1+rand.IntN(c.nodes)), syscall.SIGKILL)
	}
	return kills, restarts
}

// check asks each node about all that was acknowledged.
func (l *ledger) check(cluster *cluster) {
	t := cluster.t
	t.Helper()
	for n := range cluster.nodes {
		c := cluster.caller(l, n+1)
		for cookie, name := range l.sessions {
			status, _, _ := c.ask(http.MethodGet, "/members/", cookie, nil)
			require.Equal(t, http.StatusOK, status, "%s is signed out at node %d", name, n+1)
		}
		for cookie, name := range l.ended {
			status, _, _ := c.ask(http.MethodGet, "/members/", cookie, nil)
			require.Equal(t, http.StatusUnauthorized, status, "%s is let in at node %d with a session that was ended", name, n+1)
		}
	}
	c := cluster.caller(l, 0)
	for _, name := range l.accounts {
		status, answer, _ := c.ask(http.MethodPost, "/accounts/register", "", served.Newcomer(name))
		require.Equal(t, http.StatusBadRequest, status, "%s is lost", name)
		require.Contains(t, answer, "username")
	}
	for name, password := range l.password {
		require.True(t, c.knows(name, password), "the password of %s", name)
	}
}

// mails requires that each mail that was promised has been sent or waits.
func (c *cluster) mails(m *served.MailServer, l *ledger) (sent, twice, waiting int) {
	c.t.Helper()
	count := func() int {
		n, err := strconv.Atoi(c.query("SELECT count(*) FROM registration.mails"))
		require.NoError(c.t, err)
		return n
	}
	if long { // until the leases of the dead have run out
		none := func() bool { return count() == 0 }
		require.True(c.t, served.Eventually(none, time.Second) || served.Eventually(none, time.Second)) // a lease is as long as our patience
	}
	waiting = count()
	missing := 0
	for _, name := range l.accounts {
		got := m.To(name + "@example.org")
		if len(got) == 0 {
			missing++
		}
		for _, other := range got[min(1, len(got)):] {
			require.Equal(c.t, got[0].Id, other.Id, "two mails to %s, not one twice", name)
			twice++
		}
	}
	require.LessOrEqual(c.t, missing, waiting, "mails are lost")
	return len(l.accounts) - missing, twice, waiting
}
