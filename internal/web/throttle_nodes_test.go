//go:build unix

// throttle_nodes_test.go: one throttle for all nodes.

package web_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

// throttledPair are two nodes that throttle, with clocks that show the same.
func throttledPair(t *testing.T, with ...func(*registration.Settings)) *pair {
	t.Helper()
	p := twoNodes(t, append([]func(*registration.Settings){sitetest.Throttled, sitetest.NoVerification}, with...)...)
	p.travel(0)
	return p
}

// travel moves the clocks of both nodes.
func (p *pair) travel(d time.Duration) {
	now := p.nodes[0].Now.Add(int64(d))
	p.nodes[1].Now.Store(now)
}

// inTurn has n ask one after the other, each at another node than the one before.
func (p *pair) inTurn(n int, ask func(s *sitetest.Site, i int) *sitetest.Answer) map[int]int {
	counts := map[int]int{}
	for i := range n {
		counts[ask(p.nodes[i%2], i).StatusCode]++
	}
	return counts
}

func addressOf(i int) string { return fmt.Sprintf("203.0.%d.7", i) }

func TestTheNodesHaveOneThrottle(t *testing.T) {
	p := throttledPair(t)
	for _, name := range []string{"ada", "bob", "cem"} {
		p.nodes[0].Member(name)
	}
	guess := func(name string) func(*sitetest.Site, int) *sitetest.Answer {
		return func(s *sitetest.Site, i int) *sitetest.Answer {
			return s.Browser().From(addressOf(i)).Post("/accounts/login", sitetest.WrongSignIn(name))
		}
	}
	require.Equal(t, map[int]int{400: 10, 429: 14}, p.inTurn(24, guess("ada")), "an account, from everywhere")
	for _, s := range p.nodes {
		refused := guess("ada")(s, 200)
		require.Equal(t, http.StatusTooManyRequests, refused.StatusCode)
		require.Equal(t, "7", refused.Header.Get("Retry-After"), "when one more comes back")
	}
	require.Equal(t, map[int]int{400: 10, 429: 30}, p.racing(40, guess("bob")), "all at once")
	p.travel(6*time.Second + time.Millisecond)
	require.Equal(t, map[int]int{400: 1, 429: 5}, p.inTurn(6, guess("ada")), "it fills once for all")
	p.travel(time.Hour)
	require.Equal(t, map[int]int{400: 10, 429: 4}, p.inTurn(14, func(s *sitetest.Site, i int) *sitetest.Answer {
		return s.Browser().From("198.51.100.1").Post("/accounts/login", sitetest.WrongSignIn(fmt.Sprintf("nobody%d", i)))
	}), "a client, at every account")
	require.Equal(t, map[int]int{201: 20, 429: 4}, p.inTurn(24, func(s *sitetest.Site, i int) *sitetest.Answer {
		return s.Browser().From("198.51.100.1").Post("/accounts/register", sitetest.Newcomer(fmt.Sprintf("guest%d", i)))
	}), "sign-ups of a client")
	require.Equal(t, map[int]int{200: 5, 429: 3}, p.inTurn(8, func(s *sitetest.Site, i int) *sitetest.Answer {
		return s.Browser().From("198.51.100.1").Post("/accounts/send-reset-password-link", sitetest.Data{"login": fmt.Sprintf("nobody%d", i)})
	}), "resets of a client")
	require.Equal(t, map[int]int{200: 5, 429: 3}, p.inTurn(8, func(s *sitetest.Site, i int) *sitetest.Answer {
		return s.Browser().From(addressOf(i)).Post("/accounts/send-reset-password-link", sitetest.Data{"login": "cem"})
	}), "resets of an account")
}

// A known device has a budget of its own on every node, and the same one.
func TestTheNodesHaveOneBudgetOfADevice(t *testing.T) {
	p := throttledPair(t)
	p.nodes[0].Member("ada")
	known := p.nodes[0].SignedIn("ada")
	device := known.Cookie[sitetest.DeviceCookie]
	require.NotEmpty(t, device)
	p.travel(time.Hour)
	p.inTurn(12, func(s *sitetest.Site, i int) *sitetest.Answer {
		return s.Browser().From(addressOf(i)).Post("/accounts/login", sitetest.WrongSignIn("ada"))
	})
	try := func(s *sitetest.Site, _ int) *sitetest.Answer {
		b := s.Browser()
		b.Cookie[sitetest.DeviceCookie] = device
		return b.Post("/accounts/login", sitetest.WrongSignIn("ada"))
	}
	require.Equal(t, map[int]int{400: 5, 429: 5}, p.inTurn(10, try))
}

// Mails to an address are counted together, by whichever act.
func TestTheNodesHaveOneBudgetOfMails(t *testing.T) {
	p := throttledPair(t, func(s *registration.Settings) {
		s.Throttle.Mail = &registration.ThrottleLimit{Events: 6, Window: caddy.Duration(time.Hour)}
	})
	p.nodes[0].Member("ada")
	mails := func() (n int) {
		for _, s := range p.nodes {
			for _, count := range s.Mails() {
				n += count
			}
		}
		return n
	}
	mails()
	ask := func(s *sitetest.Site, i int) *sitetest.Answer {
		return s.Browser().From(addressOf(i)).Post("/accounts/send-reset-password-link", sitetest.Data{"login": []string{"ada", "ada@example.org"}[i/2%2]})
	}
	require.Equal(t, map[int]int{200: 5}, p.inTurn(5, ask))
	require.Equal(t, 3, mails(), "links of one kind have half")
	p.travel(2 * time.Hour)
	require.Equal(t, map[int]int{200: 6}, p.racing(6, ask))
	require.Equal(t, 3, mails(), "all at once")
	// What tells of others' tries comes once an hour.
	p.travel(2 * time.Hour)
	for i := range 4 {
		for _, s := range p.nodes {
			s.Browser().From(addressOf(i)).Post("/accounts/register", sitetest.With(sitetest.Newcomer(fmt.Sprintf("guest%d", i)), sitetest.Data{"email": "ada@example.org"}))
		}
	}
	require.LessOrEqual(t, mails(), 1)
}

// What a node refuses by itself costs the database nothing.
func TestAFloodAtANodeCostsTheDatabaseNothing(t *testing.T) {
	inPostgres(t)
	s := sitetest.New(t, sitetest.Throttled, sitetest.NoVerification)
	s.Member("ada")
	var trips *postgres.Trips
	asked := int64(0)
	s.Around = func(ctx context.Context) context.Context {
		ctx, trips = postgres.CountTrips(ctx)
		return ctx
	}
	flood := func(n int, ask func(i int) *sitetest.Answer) map[int]int {
		counts := map[int]int{}
		asked = 0
		for i := range n {
			counts[ask(i).StatusCode]++
			asked += trips.All.Load()
		}
		return counts
	}
	for name, ask := range map[string]func(i int) *sitetest.Answer{
		"one address": func(i int) *sitetest.Answer {
			return s.Browser().From("198.51.100.1").Post("/accounts/login", sitetest.WrongSignIn(fmt.Sprint("nobody", i)))
		},
		"one account": func(i int) *sitetest.Answer {
			return s.Browser().From(addressOf(i%200)).Post("/accounts/login", sitetest.WrongSignIn("ada"))
		},
		"sign-ups": func(i int) *sitetest.Answer {
			return s.Browser().From("198.51.100.1").Post("/accounts/register", sitetest.Newcomer(fmt.Sprint("guest", i)))
		},
		"resets": func(i int) *sitetest.Answer {
			return s.Browser().From(addressOf(i%200)).Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
		},
	} {
		counts := flood(20, ask)
		require.Positive(t, asked, name)
		require.Less(t, counts[429], 20, name)
		counts = flood(200, ask)
		require.Equal(t, map[int]int{429: 200}, counts, name)
		require.Zero(t, asked, "%s: round trips of 200 that are refused", name)
	}
}

// Clocks of nodes that are apart change nothing: the database's counts.
func TestTheThrottleWithClocksApart(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	var ledgers []*budget.Ledger
	for i, apart := range []time.Duration{0, time.Minute, -time.Minute} {
		db, err := postgres.Open(t.Context(), postgres.Options{URL: server.URL() + fmt.Sprint("&application_name=node", i)})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		s, err := db.Store(t.Context(), "default")
		require.NoError(t, err)
		ledgers = append(ledgers, web.NewThrottles(func() time.Time { return time.Now().Add(apart) }, s))
	}
	charge := budget.Charge{Table: "login/target", Key: account.BudgetKey("login", "ada"), Limit: budget.Limit{Events: 10, Window: time.Hour}}
	through := 0
	for i := range 36 {
		v, err := ledgers[i%3].Spend(t.Context(), charge)
		require.NoError(t, err)
		if v.Wait == 0 {
			through++
		} else {
			require.InDelta(t, 6*time.Minute, v.Wait, float64(sitetest.Patience), "what it says is true")
		}
		require.NoError(t, ledgers[i%3].SweepRows(t.Context()))
	}
	require.Equal(t, 10, through)
	ledgers[1].GiveBack(t.Context(), charge)
	fresh := budget.New(time.Now)
	s := openAt(t, server)
	fresh.Share(s, charge.Table)
	v, err := fresh.Spend(t.Context(), charge)
	require.NoError(t, err)
	require.Zero(t, v.Wait, "a node that has just started has what another gave back")
	v, err = fresh.Spend(t.Context(), charge)
	require.NoError(t, err)
	require.Positive(t, v.Wait, "and no more")
}

func openAt(t *testing.T, server *pgtest.Server) store.Store {
	db, err := postgres.Open(t.Context(), postgres.Options{URL: server.URL()})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	s, err := db.Store(t.Context(), "default")
	require.NoError(t, err)
	return s
}

// Where the database ends while a request is under way, nothing is let through uncounted, and
// no try is lost.
func TestTheThrottleWithoutTheDatabase(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	l := budget.New(time.Now)
	l.Share(openAt(t, server), "t")
	charge := budget.Charge{Table: "t", Limit: budget.Limit{Events: 2, Window: time.Hour}}
	server.Stop()
	var failed atomic.Int64
	for range 4 {
		if _, err := l.Spend(t.Context(), charge); err != nil {
			failed.Add(1)
		}
	}
	require.Equal(t, int64(4), failed.Load())
	server.Run()
	for range 2 {
		v, err := l.Spend(t.Context(), charge)
		require.NoError(t, err)
		require.Zero(t, v.Wait)
	}
}
