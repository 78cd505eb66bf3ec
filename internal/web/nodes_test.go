//go:build unix

// nodes_test.go: what a site owes with its accounts in PostgreSQL.

package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

// inPostgres has the sites of a test keep their accounts in a database.
func inPostgres(t *testing.T) *pgtest.Server {
	t.Helper()
	server := pgtest.Start(t, "fsync=off")
	t.Setenv("REGISTRATION_STORE", server.URL())
	return server
}

// No act waits for the database more than four times, and no request more than eight; a
// request may be a look at who asks, the budgets, an act, and a look at what has come of it.
func TestRoundTripsOfARequest(t *testing.T) {
	inPostgres(t)
	s := sitetest.New(t, sitetest.WithTokens, sitetest.Throttled)
	var trips *postgres.Trips
	s.Around = func(ctx context.Context) context.Context {
		ctx, trips = postgres.CountTrips(ctx)
		return ctx
	}
	act := func(name string, status int, do func() *sitetest.Answer) *sitetest.Answer {
		res := do()
		require.Equal(t, status, res.StatusCode, "%s: %s", name, res.Text)
		t.Logf("%d of %d\t%s", trips.Most.Load(), trips.All.Load(), name)
		require.LessOrEqual(t, trips.Most.Load(), int64(4), "%s: one of its acts", name)
		require.LessOrEqual(t, trips.All.Load(), int64(8), "%s: all of them", name)
		return res
	}
	b := s.Browser()
	act("sign-up", 201, func() *sitetest.Answer { return b.Post("/accounts/register", sitetest.Newcomer("ada")) })
	link := sitetest.LinkOf(s.Mail(), t)
	act("sign-up under a name that is taken", 400, func() *sitetest.Answer { return s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")) })
	act("confirmation", 200, func() *sitetest.Answer { return b.Post("/accounts/verify-registration", link) })
	act("sign-in", 200, func() *sitetest.Answer {
		return b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	})
	act("sign-in with a wrong password", 400, func() *sitetest.Answer { return s.Browser().Post("/accounts/login", sitetest.WrongSignIn("ada")) })
	act("sign-in of nobody", 400, func() *sitetest.Answer { return s.Browser().Post("/accounts/login", sitetest.WrongSignIn("nobody")) })
	act("guarded request, not in memory", 200, func() *sitetest.Answer { return b.Get("/members/") })
	require.Equal(t, int64(1), trips.All.Load())
	act("guarded request", 200, func() *sitetest.Answer { return b.Get("/members/") })
	require.Zero(t, trips.All.Load())
	act("guarded request with a cookie of nobody's", 401, func() *sitetest.Answer {
		return s.Browser().Set("registration", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").Get("/members/")
	})
	act("profile", 200, func() *sitetest.Answer { return b.Get("/accounts/profile") })
	act("change of the profile", 200, func() *sitetest.Answer {
		return b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "Ada"})
	})
	act("list of sign-ins", 200, func() *sitetest.Answer { return b.Get("/accounts/sessions") })
	act("change of the password", 200, func() *sitetest.Answer {
		return b.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": sitetest.Password + "!", "password_confirm": sitetest.Password + "!"})
	})
	act("new address", 200, func() *sitetest.Answer {
		return b.Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"})
	})
	link = sitetest.LinkOf(s.Mail(), t)
	act("confirmation of the new address", 200, func() *sitetest.Answer { return b.Post("/accounts/verify-email", link) })
	s.Mail()
	act("link to a new password", 200, func() *sitetest.Answer {
		return s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
	})
	link = sitetest.LinkOf(s.Mail(), t)
	act("new password", 200, func() *sitetest.Answer {
		return s.Browser().Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": sitetest.Password, "password_confirm": sitetest.Password}))
	})
	b = s.SignedIn("ada")
	act("sign-out", 200, func() *sitetest.Answer { return b.Post("/accounts/logout", sitetest.Data{}) })
	b = s.SignedIn("ada")
	act("deletion", 200, func() *sitetest.Answer {
		return b.Post("/accounts/delete-account", sitetest.Data{"password": sitetest.Password})
	})
}

// While the database says nothing, everything is answered, and soon: 503, and when to come
// again. Nothing of it is done later.
func TestFaultNodesDatabaseAway(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	proxy := pgtest.NewProxy(t, server)
	t.Setenv("REGISTRATION_STORE", proxy.URL())
	s := sitetest.New(t, sitetest.NoVerification, sitetest.Throttled)
	s.Member("ada")
	known, stranger := s.SignedIn("ada"), s.SignedIn("ada")
	require.Equal(t, http.StatusOK, known.Get("/members/").StatusCode) // nobody has asked for the other yet
	proxy.Swallow(true)
	var slowest time.Duration
	for range 3 { // unnoticed, in doubt, and known to be away
		require.Equal(t, http.StatusOK, known.Get("/members/").StatusCode, "who is known stays in")
		time.Sleep(time.Second)
	}
	for name, ask := range map[string]func() *sitetest.Answer{
		"sign-up": func() *sitetest.Answer { return s.Browser().Post("/accounts/register", sitetest.Newcomer("bob")) },
		"sign-in": func() *sitetest.Answer {
			return s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
		},
		"a guarded page":          func() *sitetest.Answer { return stranger.Get("/members/") },
		"a guarded page, browser": func() *sitetest.Answer { return stranger.LikeBrowser().Get("/members/") },
		"the profile": func() *sitetest.Answer {
			return known.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "Ada"})
		},
		"sign-out": func() *sitetest.Answer { return known.Post("/accounts/logout", sitetest.Data{}) },
		"a page to sign in": func() *sitetest.Answer {
			return s.Browser().LikeBrowser().Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}})
		},
	} {
		begin := time.Now()
		res := ask()
		require.Equal(t, http.StatusServiceUnavailable, res.StatusCode, "%s: %s", name, res.Text)
		require.NotEmpty(t, res.Header.Get("Retry-After"), name)
		slowest = max(slowest, time.Since(begin))
		require.Less(t, slowest, 7*time.Second, "%s: 5 s are promised; a busy machine has more", name)
	}
	proxy.Swallow(false)
	require.Eventually(t, func() bool { return stranger.Get("/members/").StatusCode == http.StatusOK }, sitetest.Patience, 10*time.Millisecond)
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("bob")).StatusCode, "it was not done")
	sitetest.FaultResult(t, "PostgreSQL says nothing while 7 kinds of requests come", "503 with Retry-After within 5 s, who is known stays in, nothing done later", "held; the slowest after "+slowest.Round(100*time.Millisecond).String())
}

// A pair is two nodes of one site: one database, and connections of its own for each.
type pair struct {
	t     *testing.T
	nodes []*sitetest.Site
}

func twoNodes(t *testing.T, with ...func(*registration.Settings)) *pair {
	t.Helper()
	server := inPostgres(t)
	path := filepath.Join(t.TempDir(), "registration.db")
	open := append(with, func(s *registration.Settings) { s.Register.Mode = "open" })
	one := sitetest.NewAt(t, path, open...)
	t.Setenv("REGISTRATION_STORE", server.URL()+"&application_name=two") // a pool of its own
	return &pair{t, []*sitetest.Site{one, sitetest.NewAt(t, path, open...)}}
}

// racing has n ask at once, half of them each node, and counts what they are answered.
func (p *pair) racing(n int, ask func(s *sitetest.Site, i int) *sitetest.Answer) map[int]int {
	return sitetest.RaceOf(n, func(i int) int { return ask(p.nodes[i%2], i).StatusCode })
}

// mailed is the link of the next mail, whichever node sends it.
func (p *pair) mailed() sitetest.Data {
	p.t.Helper()
	select {
	case m := <-p.nodes[0].Mailer.Sent:
		return sitetest.LinkOf(m, p.t)
	case m := <-p.nodes[1].Mailer.Sent:
		return sitetest.LinkOf(m, p.t)
	case <-time.After(sitetest.Patience):
		p.t.Fatal("no mail came")
		return nil
	}
}

// Of a hundred who want one thing on two nodes at once, one has it.
func TestOneOfManyOnTwoNodesHasIt(t *testing.T) {
	p := twoNodes(t, sitetest.WithJWT)
	one, two := p.nodes[0], p.nodes[1]
	// A name, by a hundred addresses.
	require.Equal(t, map[int]int{201: 1, 400: 99}, p.racing(100, func(s *sitetest.Site, i int) *sitetest.Answer {
		return s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": fmt.Sprintf("ada%d@example.org", i)}))
	}))
	// Its link: who follows it again is told that it is used, but nothing happens twice.
	link := p.mailed()
	counts := p.racing(100, func(s *sitetest.Site, _ int) *sitetest.Answer {
		return s.Browser().Post("/accounts/verify-registration", link)
	})
	require.Equal(t, 1, counts[200], "%v", counts)
	// A refresh token.
	res := two.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	refresh := res.JSON(t)["refresh_token"]
	counts = p.racing(100, func(s *sitetest.Site, _ int) *sitetest.Answer {
		return s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh})
	})
	require.Equal(t, 1, counts[200], "%v", counts)
	// A link to a new password.
	require.Equal(t, http.StatusOK, one.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	link = p.mailed()
	counts = p.racing(100, func(s *sitetest.Site, i int) *sitetest.Answer {
		word := fmt.Sprintf("%s %d", sitetest.Password, i)
		return s.Browser().Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": word, "password_confirm": word}))
	})
	require.Equal(t, map[int]int{200: 1, 400: 99}, counts)
}

// An address is one account's, an invitation for five lets five in, a recovery code lets in
// once, over two nodes too.
func TestWhatIsGoodOnceOnTwoNodes(t *testing.T) {
	t.Run("an address", func(t *testing.T) {
		p := twoNodes(t)
		sign := func(s *sitetest.Site, i int) *sitetest.Answer {
			return s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(fmt.Sprintf("ada%d", i)), sitetest.Data{"email": "ada@example.org"}))
		}
		require.Equal(t, map[int]int{201: 20}, p.racing(20, sign), "nobody is told")
		links := make([]sitetest.Data, 20)
		for i := range links {
			links[i] = p.mailed()
		}
		require.Equal(t, map[int]int{200: 1, 400: 19}, p.racing(20, func(s *sitetest.Site, i int) *sitetest.Answer {
			return s.Browser().Post("/accounts/verify-registration", links[i])
		}), "the first to confirm has it")
		holders := 0
		for i := range links {
			u, err := p.nodes[i%2].Accounts.Lookup(t.Context(), fmt.Sprintf("ada%d", i))
			require.NoError(t, err)
			if u.IsActive && u.EmailVerified && !u.EmailPending {
				holders++
			}
		}
		require.Equal(t, 1, holders)
	})
	t.Run("an invitation", func(t *testing.T) {
		p := twoNodes(t, sitetest.NoVerification)
		_, link, err := p.nodes[0].Accounts.Invite(t.Context(), account.NewInvitation{Uses: 5})
		require.NoError(t, err)
		u, err := url.Parse(link)
		require.NoError(t, err)
		invitation := u.Query().Get("invitation")
		counts := p.racing(100, func(s *sitetest.Site, i int) *sitetest.Answer {
			return s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(fmt.Sprintf("guest%d", i)), sitetest.Data{"invitation": invitation}))
		})
		require.Equal(t, map[int]int{201: 5, 403: 95}, counts)
	})
	t.Run("a recovery code", func(t *testing.T) {
		p := twoNodes(t, sitetest.NoVerification) // a mail may be sent by either
		one := p.nodes[0]
		one.Member("ada")
		b := one.SignedIn("ada")
		secret := b.Post("/accounts/enrol-totp", sitetest.Data{}).JSON(t)["secret"].(string)
		code, err := totp.GenerateCode(secret, time.Unix(0, one.Now.Load()))
		require.NoError(t, err)
		res := b.Post("/accounts/confirm-totp", sitetest.Data{"code": code})
		require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
		recovery := res.JSON(t)["recovery_codes"].([]any)[0]
		browsers, bodies := make([]*sitetest.Browser, 20), make([]sitetest.Data, 20)
		for i := range browsers {
			browsers[i] = p.nodes[i%2].Browser()
			res := browsers[i].Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
			bodies[i] = sitetest.Data{"challenge": res.JSON(t)["challenge"], "recovery_code": recovery}
		}
		counts := p.racing(20, func(_ *sitetest.Site, i int) *sitetest.Answer {
			return browsers[i].Post("/accounts/login-factor", bodies[i])
		})
		require.Equal(t, 1, counts[200], "%v", counts)
		require.Equal(t, 19, counts[400]+counts[429], "%v", counts)
	})
}
