// kill_test.go: a Caddy that is killed again and again under load loses
// nothing that it has acknowledged: no account, no session, no mail; and what it
// had not acknowledged is there as a whole or not at all.

package faults_test

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

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// bySMTP has a site mail by a real server, and room for many sign-ins.
var bySMTP = strings.NewReplacer("mailer file [[dir]]/mail", `mailer smtp [[smtp]] {
			username caddy
			password {env.SMTP_TEST_PASSWORD}
			trusted_ca [[ca]]
		}
		session {
			max 1000
		}`)

// smtpSite is plainSite with a real mail server.
var smtpSite = bySMTP.Replace(served.PlainSite)

// runWithMail runs smtpSite, or a variant of it, against a mail server.
func runWithMail(t testing.TB, m *served.MailServer, site string) *served.Server {
	t.Helper()
	s := served.NewServer(t)
	s.Env = []string{"SMTP_TEST_PASSWORD=" + served.SmtpPassword}
	s.Values["smtp"], s.Values["ca"] = m.Address, m.CaFile
	s.Configure(site)
	s.Start()
	return s
}

// mailedMember is server.member where the mail goes to a mail server.
func mailedMember(s *served.Server, m *served.MailServer, name string) *served.Client {
	s.T.Helper()
	c := s.Client()
	c.Post(http.StatusCreated, "register", served.Newcomer(name))
	got := m.Next()
	require.Equal(s.T, name+"@example.org", got.To)
	c.Post(http.StatusOK, "verify-registration", got.Link(s.T))
	c.SignIn(name)
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
	endUnderLoad(t, rounds, "killed (SIGKILL)", (*served.Server).Kill)
}

// A stop in peace has to keep what a kill keeps, and to answer whoever it has
// let in: a request is refused or done, and never answered with an error.
func TestFaultStoppedUnderLoad(t *testing.T) {
	endUnderLoad(t, lengths(3, 50), "stopped (SIGTERM)", (*served.Server).Stop)
}

// endUnderLoad ends Caddy again and again in the middle of its work.
func endUnderLoad(t *testing.T, rounds int, how string, end func(*served.Server)) {
	t.Helper()
	m := served.NewMailServer(t).Listen()
	s := runWithMail(t, m, smtpSite)
	mailedMember(s, m, "ada")
	var all acknowledged
	var slowestEnd, slowestOpen, slowestStart time.Duration
	for round := range rounds {
		accounts, sessions := len(all.accounts), len(all.sessions)
		all.count.Store(0)
		// A moment in the middle of the work, another one in each round.
		all.target, all.enough = 10+rand.Int64N(50), make(chan struct{})
		var load served.Group
		for worker := range 6 {
			load.Go(func() error { return work(s, &all, fmt.Sprintf("user-%d-%d", round, worker), worker%3 == 0) })
		}
		select {
		case <-all.enough:
		case <-time.After(served.Patience):
			require.FailNow(t, "the server is too slow", "%d acknowledged", all.count.Load())
		}
		time.Sleep(rand.N(5 * time.Millisecond)) // not always just after an answer
		begin := time.Now()
		end(s)
		slowestEnd = max(slowestEnd, time.Since(begin))
		require.NoError(t, load.Wait())
		slowestOpen = max(slowestOpen, openStore(t, s))
		begin = time.Now()
		s.Start()
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
	// ada signs in by programs that keep no cookie, from where it isn't known: told once.
	mailed := map[string]int{"ada@example.org": 2}
	known := map[string]bool{}
	for _, name := range all.accounts {
		known[name] = true
	}
	c := s.Client()
	there := 0
	for _, name := range all.asked {
		mailed[name+"@example.org"] = 1
		if known[name] {
			continue
		}
		if res := c.Do(http.MethodPost, "/accounts/register", served.Newcomer(name)); res.StatusCode == http.StatusBadRequest {
			there++
		} else {
			require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
		}
	}
	twice := checkMailed(t, m, mailed)
	require.Less(t, slowestOpen, lengths(served.Patience, time.Second))
	faultResult(t, fmt.Sprintf("%s under load, %d times", how, rounds), "no acknowledged act lost, no half act, no mail lost, twice at worst under one Message-ID; the file opens in under a second",
		fmt.Sprintf("%d accounts and %d sessions acknowledged, all there; of %d others %d were there, as a whole; %d mails, %d of them twice; it ended after %s at most, file opened in %s at most, Caddy served after %s at most",
			len(all.accounts), len(all.sessions), len(all.asked)-len(all.accounts), there, len(mailed), twice, shortly(slowestEnd), shortly(slowestOpen), shortly(slowestStart)))
}

// openStore opens the file that a killed Caddy has left, checks all of its
// pages, and returns how long the opening took.
func openStore(t testing.TB, s *served.Server) time.Duration {
	t.Helper()
	if served.InDatabase() {
		return 0
	}
	begin := time.Now()
	db, err := bolt.Open(filepath.Join(s.DataDir(), "registration.db"), 0o600, &bolt.Options{Timeout: served.Patience})
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
func work(s *served.Server, all *acknowledged, prefix string, signsIn bool) error {
	for i := 0; ; i++ {
		c := s.Client()
		endpoint, body, want := "register", served.Newcomer(fmt.Sprintf("%s-%d", prefix, i)), http.StatusCreated
		if signsIn {
			endpoint, body, want = "login", data{"login": "ada", "password": served.TestPassword}, http.StatusOK
		} else {
			all.add(&all.asked, body["username"].(string))
		}
		res, err := c.HTTP.Do(c.Request(http.MethodPost, "/accounts/"+endpoint, body))
		if err != nil {
			return nil // killed; this one was not acknowledged
		}
		_ = res.Body.Close()
		c.HTTP.CloseIdleConnections()
		if res.StatusCode != want {
			return fmt.Errorf("%s: %s", endpoint, res.Status)
		}
		if !signsIn {
			all.add(&all.accounts, body["username"].(string))
			continue
		}
		if c.Cookie() == "" {
			return errors.New("a sign-in without a cookie")
		}
		all.add(&all.sessions, c.Cookie())
	}
}

func checkAcknowledged(t *testing.T, s *served.Server, accounts, sessions []string) {
	t.Helper()
	c := s.Client()
	for _, name := range accounts {
		res := c.Do(http.MethodPost, "/accounts/register", served.Newcomer(name))
		require.Equal(t, http.StatusBadRequest, res.StatusCode, "%s is lost", name)
		require.Contains(t, res.JSON(t), "username")
	}
	for _, cookie := range sessions {
		c.Header.Set("Cookie", "registration="+cookie)
		c.RequireMember()
	}
}

// checkMailed requires that each address got its mails, so many, and that a mail which a
// crash made to be sent again came twice at worst and has kept its Message-ID.
// It returns how many came twice.
func checkMailed(t *testing.T, m *served.MailServer, addresses map[string]int) (twice int) {
	t.Helper()
	seen := func() (ids map[string]map[string]int, missing []string) {
		m.Mu.Lock()
		defer m.Mu.Unlock()
		ids = map[string]map[string]int{}
		for _, a := range m.Attempts {
			if ids[a.To] == nil {
				ids[a.To] = map[string]int{}
			}
			ids[a.To][a.Id]++
		}
		for address, mails := range addresses {
			if len(ids[address]) < mails {
				missing = append(missing, address)
			}
		}
		return ids, missing
	}
	all := func() bool { _, missing := seen(); return len(missing) == 0 }
	if !served.Eventually(all, 200*time.Millisecond) && !served.Eventually(all, 200*time.Millisecond) { // the lease of a node that died is as long as our patience
		_, missing := seen()
		require.FailNow(t, "mail is lost", "%d: %.1000s", len(missing), strings.Join(missing, " "))
	}
	ids, _ := seen()
	for address, of := range ids {
		require.Len(t, of, addresses[address], "the Message-IDs to %s", address)
		for _, times := range of {
			require.LessOrEqual(t, times, 2, "mails to %s", address)
			if times == 2 {
				twice++
			}
		}
	}
	return twice
}
