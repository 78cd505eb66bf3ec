// faults_kill_test.go: a Caddy that is killed again and again under load loses
// nothing that it has acknowledged: no account, no session, no mail; and what it
// had not acknowledged is there as a whole or not at all.

package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// smtpSite is plainSite with a real mail server, and room for many sign-ins.
var smtpSite = strings.Replace(plainSite, "mailer file [[dir]]/mail", `mailer smtp [[smtp]] {
			username caddy
			password {env.SMTP_TEST_PASSWORD}
			trusted_ca [[ca]]
		}
		session {
			max 1000
		}`, 1)

// runWithMail runs smtpSite, or a variant of it, against a mail server.
func runWithMail(t testing.TB, m *mailServer, site string) *server {
	t.Helper()
	s := newServer(t)
	s.env = []string{"SMTP_TEST_PASSWORD=" + smtpPassword}
	s.values["smtp"], s.values["ca"] = m.address, m.caFile
	s.configure(site)
	s.start()
	return s
}

// mailedMember is server.member where the mail goes to a mail server.
func (s *server) mailedMember(m *mailServer, name string) *client {
	s.t.Helper()
	c := s.client()
	c.post(http.StatusCreated, "register", newcomer(name))
	got := m.next()
	require.Equal(s.t, name+"@example.org", got.to)
	c.post(http.StatusOK, "verify-registration", got.link(s.t))
	c.signIn(name)
	return c
}

// acknowledged is what was asked of the server, and what it has said yes to,
// over all rounds.
type acknowledged struct {
	mu       sync.Mutex
	asked    []string // accounts, acknowledged or not
	accounts []string
	sessions []string // the cookies
	count    atomic.Int64
	enough   chan struct{}
	target   int64
}

func (a *acknowledged) add(list *[]string, what string) {
	a.mu.Lock()
	*list = append(*list, what)
	a.mu.Unlock()
	if list != &a.asked && a.count.Add(1) == a.target {
		close(a.enough)
	}
}

func TestFaultKilledUnderLoad(t *testing.T) {
	rounds := lengths(12, 200)
	if testing.Short() {
		rounds = 5
	}
	endUnderLoad(t, rounds, "killed (SIGKILL)", (*server).kill)
}

// A stop in peace has to keep what a kill keeps, and to answer whoever it has
// let in: a request is refused or done, and never answered with an error.
func TestFaultStoppedUnderLoad(t *testing.T) {
	endUnderLoad(t, lengths(3, 50), "stopped (SIGTERM)", (*server).stop)
}

// endUnderLoad ends Caddy again and again in the middle of its work.
func endUnderLoad(t *testing.T, rounds int, how string, end func(*server)) {
	t.Helper()
	m := newMailServer(t).listen()
	s := runWithMail(t, m, smtpSite)
	s.mailedMember(m, "ada")
	var all acknowledged
	var slowestEnd, slowestOpen, slowestStart time.Duration
	for round := range rounds {
		accounts, sessions := len(all.accounts), len(all.sessions)
		all.count.Store(0)
		// A moment in the middle of the work, another one in each round.
		all.target, all.enough = 10+rand.Int64N(50), make(chan struct{})
		var load group
		for worker := range 6 {
			load.Go(func() error { return work(s, &all, fmt.Sprintf("user-%d-%d", round, worker), worker%3 == 0) })
		}
		select {
		case <-all.enough:
		case <-time.After(patience):
			require.FailNow(t, "the server is too slow", "%d acknowledged", all.count.Load())
		}
		time.Sleep(rand.N(5 * time.Millisecond)) // not always just after an answer
		begin := time.Now()
		end(s)
		slowestEnd = max(slowestEnd, time.Since(begin))
		require.NoError(t, load.Wait())
		slowestOpen = max(slowestOpen, openStore(t, s))
		begin = time.Now()
		s.start()
		slowestStart = max(slowestStart, time.Since(begin))
		checkAcknowledged(t, s, all.accounts[accounts:], all.sessions[sessions:])
	}
	// Once more all of it: what a later crash took from an earlier round. Of the
	// sign-ins the account has room for the newest.
	checkAcknowledged(t, s, all.accounts, all.sessions[max(0, len(all.sessions)-900):])
	require.NotEmpty(t, all.accounts)
	require.NotEmpty(t, all.sessions)
	// What was asked and not acknowledged is there with its mail, or gone, and
	// then registers like any other.
	mailed := map[string]bool{"ada@example.org": true}
	known := map[string]bool{}
	for _, name := range all.accounts {
		known[name] = true
	}
	c := s.client()
	there := 0
	for _, name := range all.asked {
		mailed[name+"@example.org"] = true
		if known[name] {
			continue
		}
		if res := c.do(http.MethodPost, "/accounts/register", newcomer(name)); res.StatusCode == http.StatusBadRequest {
			there++
		} else {
			require.Equal(t, http.StatusCreated, res.StatusCode, res.body)
		}
	}
	twice := checkMailed(t, m, mailed)
	require.Less(t, slowestOpen, lengths(patience, time.Second))
	faultResult(t, fmt.Sprintf("%s under load, %d times", how, rounds), "no acknowledged act lost, no half act, no mail lost, twice at worst under one Message-ID; the file opens in under a second",
		fmt.Sprintf("%d accounts and %d sessions acknowledged, all there; of %d others %d were there, as a whole; %d mails, %d of them twice; it ended after %s at most, file opened in %s at most, Caddy served after %s at most",
			len(all.accounts), len(all.sessions), len(all.asked)-len(all.accounts), there, len(mailed), twice, shortly(slowestEnd), shortly(slowestOpen), shortly(slowestStart)))
}

// openStore opens the file that a killed Caddy has left, checks all of its
// pages, and returns how long the opening took.
func openStore(t testing.TB, s *server) time.Duration {
	t.Helper()
	begin := time.Now()
	db, err := bolt.Open(filepath.Join(s.dataDir(), "registration.db"), 0o600, &bolt.Options{Timeout: patience})
	took := time.Since(begin)
	require.NoError(t, err)
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	}))
	require.NoError(t, db.Close())
	return took
}

// work registers accounts, or signs in, until the server is gone.
func work(s *server, all *acknowledged, prefix string, signsIn bool) error {
	for i := 0; ; i++ {
		c := s.client()
		endpoint, body, want := "register", newcomer(fmt.Sprintf("%s-%d", prefix, i)), http.StatusCreated
		if signsIn {
			endpoint, body, want = "login", data{"login": "ada", "password": testPassword}, http.StatusOK
		} else {
			all.add(&all.asked, body["username"].(string))
		}
		res, err := c.http.Do(c.request(http.MethodPost, "/accounts/"+endpoint, body))
		if err != nil {
			return nil // killed; this one was not acknowledged
		}
		_ = res.Body.Close()
		c.http.CloseIdleConnections()
		if res.StatusCode != want {
			return fmt.Errorf("%s: %s", endpoint, res.Status)
		}
		if !signsIn {
			all.add(&all.accounts, body["username"].(string))
			continue
		}
		if c.cookie() == "" {
			return errors.New("a sign-in without a cookie")
		}
		all.add(&all.sessions, c.cookie())
	}
}

func checkAcknowledged(t *testing.T, s *server, accounts, sessions []string) {
	t.Helper()
	c := s.client()
	for _, name := range accounts {
		res := c.do(http.MethodPost, "/accounts/register", newcomer(name))
		require.Equal(t, http.StatusBadRequest, res.StatusCode, "%s is lost", name)
		require.Contains(t, res.json(t), "username")
	}
	for _, cookie := range sessions {
		c.header.Set("Cookie", "registration="+cookie)
		c.requireMember()
	}
}

// checkMailed requires that each address got its mail, and that a mail which a
// crash made to be sent again came twice at worst and has kept its Message-ID.
// It returns how many came twice.
func checkMailed(t *testing.T, m *mailServer, addresses map[string]bool) (twice int) {
	t.Helper()
	seen := func() (ids map[string]map[string]int, missing []string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		ids = map[string]map[string]int{}
		for _, a := range m.attempts {
			if ids[a.to] == nil {
				ids[a.to] = map[string]int{}
			}
			ids[a.to][a.id]++
		}
		for address := range addresses {
			if ids[address] == nil {
				missing = append(missing, address)
			}
		}
		return ids, missing
	}
	if !eventually(func() bool { _, missing := seen(); return len(missing) == 0 }, 200*time.Millisecond) {
		_, missing := seen()
		require.FailNow(t, "mail is lost", "%d: %.1000s", len(missing), strings.Join(missing, " "))
	}
	ids, _ := seen()
	for address, of := range ids {
		require.Len(t, of, 1, "the Message-IDs to %s", address)
		for _, times := range of {
			require.LessOrEqual(t, times, 2, "mails to %s", address)
			if times == 2 {
				twice++
			}
		}
	}
	return twice
}
