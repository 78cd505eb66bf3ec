// crash_test.go: a Caddy that is killed again and again under load loses nothing
// that it has acknowledged: no account, no session, no mail.

package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// acknowledged is what the server has said yes to, over all rounds.
type acknowledged struct {
	mu       sync.Mutex
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
	if a.count.Add(1) == a.target {
		close(a.enough)
	}
}

func TestKilledUnderLoad(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	s := run(t, plainSite)
	s.member("ada")
	var all acknowledged
	mailed := map[string]bool{"ada@example.org": true}
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
		s.kill()
		require.NoError(t, load.Wait())
		s.start()
		checkAcknowledged(t, s, all.accounts[accounts:], all.sessions[sessions:])
	}
	t.Logf("%d accounts and %d sessions acknowledged", len(all.accounts), len(all.sessions))
	// Once more all of it: what a later crash took from an earlier round.
	checkAcknowledged(t, s, all.accounts, all.sessions)
	require.NotEmpty(t, all.accounts)
	require.NotEmpty(t, all.sessions)
	for _, name := range all.accounts {
		mailed[name+"@example.org"] = true
	}
	checkMailed(t, s, mailed)
}

// work registers accounts, or signs in, until the server is gone.
func work(s *server, all *acknowledged, prefix string, signsIn bool) error {
	for i := 0; ; i++ {
		c := s.client()
		endpoint, body, want := "register", newcomer(fmt.Sprintf("%s-%d", prefix, i)), http.StatusCreated
		if signsIn {
			endpoint, body, want = "login", data{"login": "ada", "password": testPassword}, http.StatusOK
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
// crash made to be sent again has kept its Message-ID.
func checkMailed(t *testing.T, s *server, addresses map[string]bool) {
	t.Helper()
	var missing []string
	if !eventually(func() bool {
		missing = nil
		have := map[string]bool{}
		for _, m := range s.mails("") {
			have[m.to] = true
		}
		for address := range addresses {
			if !have[address] {
				missing = append(missing, address)
			}
		}
		return len(missing) == 0
	}, 200*time.Millisecond) {
		require.FailNow(t, "mail is lost", strings.Join(missing, " "))
	}
	ids := map[string]map[string]bool{}
	for _, m := range s.mails("") {
		if ids[m.to] == nil {
			ids[m.to] = map[string]bool{}
		}
		ids[m.to][m.id] = true
	}
	for address, of := range ids {
		require.Len(t, of, 1, "the Message-IDs to %s", address)
	}
}
