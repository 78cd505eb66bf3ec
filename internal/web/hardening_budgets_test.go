// hardening_budgets_test.go: floods of keys, of mails and of device cookies: who
// is kept out by them, and who is not.

package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// attackLong is set by `make attack`.
func attackLong() bool { return os.Getenv("REGISTRATION_ATTACK") == "long" }

// What fails on its own form spends nothing of the address that it names, and of
// the client's only a wide budget of its own.
func TestHardeningFailuresOfForm(t *testing.T) {
	for name, test := range map[string]struct {
		path string
		bad  any
		good sitetest.Data
		want int
	}{
		"an empty sign-up":                {"register", sitetest.Data{"email": "ada@example.org"}, sitetest.Newcomer("ada"), http.StatusCreated},
		"a sign-up with a weak password":  {"register", sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"email": "ada@example.org", "password": "1234", "password_confirm": "1234"}), sitetest.Newcomer("ada"), http.StatusCreated},
		"no JSON":                         {"register", "{", sitetest.Newcomer("ada"), http.StatusCreated},
		"a sign-in without a password":    {"login", sitetest.Data{"login": "eve"}, sitetest.Data{"login": "eve", "password": sitetest.Password}, http.StatusOK},
		"a reset of nobody":               {"send-reset-password-link", sitetest.Data{}, sitetest.Data{"login": "eve"}, http.StatusOK},
		"a confirmation again, of nobody": {"resend-verification", sitetest.Data{"login": ""}, sitetest.Data{"login": "eve"}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.Throttled)
			s.Member("eve")
			s.Travel(time.Hour)
			b := s.Browser()
			if _, raw := test.bad.(string); raw {
				b.Header.Set("Content-Type", "application/json")
			}
			events := s.Realm.Options.Limits[s.Realm.Endpoints[test.path].Throttle].Events
			for i := range 10 * events {
				require.Equal(t, http.StatusBadRequest, b.Post("/accounts/"+test.path, test.bad).StatusCode, i)
				if i == 3*events {
					other := s.Browser().From("198.51.100.9")
					require.Equal(t, test.want, other.Post("/accounts/"+test.path, test.good).StatusCode, "the target has spent nothing")
				}
			}
			if _, raw := test.bad.(string); !raw {
				require.Equal(t, http.StatusTooManyRequests, b.Post("/accounts/"+test.path, test.bad).StatusCode, "but not for ever")
			}
		})
	}
	s := sitetest.New(t, sitetest.Throttled)
	b := s.Browser()
	for range 100 {
		b.Post("/accounts/register", sitetest.Data{"email": "ada@example.org"})
	}
	require.Equal(t, http.StatusCreated, b.Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode, "nor has the client, of its sign-ups")
}

// Whether a name is taken is something of others: it costs a sign-up.
func TestHardeningTakenNamesAreNotFree(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	b := s.Browser().From("198.51.100.9")
	for range 20 {
		b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": "x@example.org"}))
	}
	require.Equal(t, http.StatusTooManyRequests, b.Post("/accounts/register", sitetest.Newcomer("bob")).StatusCode)
}

// An attacker who has a /48 gets no more budgets than 16.
func TestHardeningOneNetworkIsOneClient(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	codes := map[int]int{}
	for i := range 400 {
		codes[s.Browser().From(fmt.Sprintf("2001:db8:0:%x::1", i*97)).Post("/accounts/login", sitetest.WrongSignIn("n"+strconv.Itoa(i))).StatusCode]++
	}
	require.Equal(t, map[int]int{http.StatusBadRequest: 160, http.StatusTooManyRequests: 240}, codes)
	require.Equal(t, http.StatusBadRequest, s.Browser().From("2001:db9::1").Post("/accounts/login", sitetest.WrongSignIn("x")).StatusCode)
}

// flood takes n events of keys of its own from every table of the realm, and then
// some of every network.
func flood(s *sitetest.Site, n int) (keys int) {
	ledger := s.Realm.Resources.Throttles
	tables := web.LastingTables()
	for _, t := range web.ThrottleTables {
		limit := s.Realm.Options.Limits[t.Name]
		for i := range n {
			address := fmt.Sprintf("2001:%x:%x:%x::1", 0xdb8+i/4096, i%16, i) // 16 networks of /48 for every 4,096
			ledger.Take(t.Client(address, limit)...)
			ledger.Take(t.Form(address, limit)...)
		}
		keys += 2 * n
	}
	for _, table := range tables {
		limit := budget.Limit{Events: 1, Window: time.Hour}
		if name, _, _ := strings.Cut(table, "/"); name != "notice" && name != "mail_code" { // those have limits of their own
			limit = s.Realm.Options.Limits[name]
		}
		for i := range n {
			ledger.Take(budget.Charge{Table: table, Key: account.BudgetKey("flood", strconv.Itoa(i)), Limit: limit})
		}
		keys += n
	}
	return keys
}

// TestHardeningFloodOfKeys: while every table is flooded with more keys than it
// has room for, people do everything.
func TestHardeningFloodOfKeys(t *testing.T) {
	n := 70_000 // a table has room for 65,536
	if attackLong() {
		n = 1_000_000
	}
	begin := time.Now()
	s := sitetest.New(t, sitetest.Throttled, func(s *registration.Settings) {
		s.Throttle.AllMail = &registration.ThrottleLimit{Events: 1_000_000, Window: caddy.Duration(time.Second)}
	})
	const people, known = 100, 50
	browsers := make([]*sitetest.Browser, people)
	links := sync.Map{}
	s.Mailer.Fail = func(m *mail.Message) error {
		links.Store(m.To, m)
		return &mail.Error{Err: fmt.Errorf("read"), Permanent: true}
	}
	mailTo := func(to string) *mail.Message {
		var m any
		require.Eventually(t, func() (ok bool) { m, ok = links.LoadAndDelete(to); return ok }, sitetest.Patience, time.Millisecond)
		return m.(*mail.Message)
	}
	for i := range browsers {
		browsers[i] = s.Browser().From(fmt.Sprintf("198.%d.100.%d", 18+i, i))
		name := fmt.Sprintf("person%d", i)
		require.Equal(t, http.StatusCreated, browsers[i].Post("/accounts/register", sitetest.Newcomer(name)).StatusCode)
		require.Equal(t, http.StatusOK, browsers[i].Post("/accounts/verify-registration", sitetest.LinkOf(mailTo(name+"@example.org"), t)).StatusCode)
		if i < known {
			require.Equal(t, http.StatusOK, browsers[i].Post("/accounts/login", sitetest.Data{"login": name, "password": sitetest.Password}).StatusCode)
			require.Equal(t, http.StatusOK, browsers[i].Post("/accounts/logout", sitetest.Data{}).StatusCode)
		}
	}
	s.Travel(2 * time.Hour)
	victim := s.Browser().From("203.0.113.7")
	for range 11 {
		victim.Post("/accounts/login", sitetest.WrongSignIn("victim"))
	}
	require.Equal(t, http.StatusTooManyRequests, victim.Post("/accounts/login", sitetest.WrongSignIn("victim")).StatusCode)

	var keys atomic.Int64
	flooding := make(chan struct{})
	go func() { keys.Store(int64(flood(s, n))); close(flooding) }()
	passed := [people]bool{}
	do := func(i int) bool {
		b, name := browsers[i], fmt.Sprintf("person%d", i)
		for _, step := range []struct {
			path string
			body sitetest.Data
			want int
		}{
			{"login", sitetest.Data{"login": name, "password": sitetest.Password}, http.StatusOK},
			{"register-email", sitetest.Data{"email": name + "@example.net"}, http.StatusOK},
			{"logout", sitetest.Data{}, http.StatusOK},
			{"register", sitetest.Newcomer(fmt.Sprintf("child%d", i)), http.StatusCreated},
			{"send-reset-password-link", sitetest.Data{"login": name}, http.StatusOK},
		} {
			if res := b.Post("/accounts/"+step.path, step.body); res.StatusCode != step.want {
				t.Logf("person %d: %s: %d %s", i, step.path, res.StatusCode, res.Text)
				return false
			}
		}
		return true
	}
	for i := range people {
		passed[i] = do(i)
	}
	<-flooding
	for i := range people { // and when it has done its worst
		passed[i] = passed[i] && browsers[i].Post("/accounts/login", sitetest.Data{"login": fmt.Sprintf("person%d", i), "password": sitetest.Password}).StatusCode == http.StatusOK
	}
	newcomers := 0
	for i, ok := range passed {
		if i < known {
			require.True(t, ok, "person %d is on a known device", i)
		} else if ok {
			newcomers++
		}
	}
	t.Logf("%d keys; of 50 people on known devices all passed, of 50 others %d", keys.Load(), newcomers)
	require.GreaterOrEqual(t, known+newcomers, 95)
	require.Equal(t, http.StatusTooManyRequests, s.Browser().From("203.0.113.8").Post("/accounts/login", sitetest.WrongSignIn("victim")).StatusCode, "what was spent is spent")

	db := s.Accounts.Store
	s.Realm.Resources.Flush(t.Context(), s.Realm.Courier)
	rows := 0
	require.NoError(t, db.View(t.Context(), func(tx store.Tx) error {
		list, err := tx.Budgets(s.Accounts.Now(), 1<<30)
		rows = len(list)
		return err
	}))
	require.Positive(t, rows)
	flushes := 1 + int(time.Since(begin)/(30*time.Second)) // this one and the housekeeping's
	require.LessOrEqual(t, rows, flushes*256*len(web.LastingTables()), "a flood costs the store a bounded number of writes")
}

// Many stolen device cookies of an account are one budget, and the address counts.
func TestHardeningManyDeviceCookies(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	s.Travel(time.Hour)
	var devices []*sitetest.Browser
	for range 9 {
		devices = append(devices, s.SignedIn("ada"))
		s.Travel(time.Hour)
	}
	guesses := func(from func(device, i int) string) (tried int) {
		s.Travel(time.Hour)
		for d, b := range devices {
			for i := range 12 {
				if b.From(from(d, i)).Post("/accounts/login", sitetest.WrongSignIn("ada")).StatusCode == http.StatusBadRequest {
					tried++
				}
			}
		}
		return tried
	}
	require.Equal(t, 15, guesses(func(int, int) string { return "192.0.2.1" }), "at one address, which has 10, of which the devices spend")
	require.Equal(t, 20, guesses(func(d, i int) string { return fmt.Sprintf("192.%d.%d.1", d, i) }), "at one address each: all devices together, and strangers")
	s.Travel(time.Hour)
	flooder := s.Browser().From("192.0.2.1")
	for i := range 12 {
		flooder.Post("/accounts/login", sitetest.WrongSignIn("nobody"+strconv.Itoa(i)))
	}
	require.Equal(t, http.StatusOK, devices[3].From("192.0.2.1").Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode,
		"a known device gets in where others have used up the address's budget")
}

// Typing somebody's id is no way to use up his tries of the old password.
func TestHardeningTheOldPasswordHasItsOwnBudget(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	for i := range 12 {
		s.Browser().From(fmt.Sprintf("203.0.113.%d", i)).Post("/accounts/login", sitetest.WrongSignIn(id))
	}
	require.Equal(t, http.StatusOK, b.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": sitetest.Password + "!", "password_confirm": sitetest.Password + "!"}).StatusCode)
}

// 200 changes of a profile don't make 200 mails.
func TestHardeningNoticesAreBounded(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled, sitetest.WithoutVerification, func(s *registration.Settings) {
		s.Throttle.Profile = &registration.ThrottleLimit{Events: 1000, Window: caddy.Duration(time.Hour)}
	})
	s.Member("eve")
	b := s.SignedIn("eve")
	for i := range 200 {
		require.Equal(t, http.StatusOK, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "eve" + strconv.Itoa(i%5)}).StatusCode, i)
	}
	require.Equal(t, 3, sitetest.Total(s.Mails()), "an eighth of 30 an hour")
	require.NotEmpty(t, s.Logs.FilterMessage("mail left out: there were too many").All())

	s = sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	b = s.SignedIn("ada")
	for i := range 61 {
		want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[i < 60]
		require.Equal(t, want, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "A" + strconv.Itoa(i)}).StatusCode, i)
	}
	require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode, "reading is free")
}

// A link that takes an account back is never left out.
func TestHardeningUndoIsNotStarved(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled, sitetest.WithoutVerification, func(s *registration.Settings) { s.RegisterEmail.Verification = sitetest.Off() })
	s.Member("ada")
	b := s.SignedIn("ada")
	spend := func(share float64) {
		for range 100 {
			s.Accounts.Throttles.Take(budget.Charge{Table: account.ThrottleMail, Key: account.BudgetKey(account.ThrottleMail, "ada@example.org"), Limit: s.Realm.Options.Limits[account.ThrottleMail], Share: share})
		}
	}
	spend(1)
	require.Equal(t, http.StatusOK, b.Post("/accounts/register-email", sitetest.Data{"email": "thief@example.org"}).StatusCode)
	undo := s.Mail()
	require.Equal(t, "ada@example.org", undo.To)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/undo-email", sitetest.LinkOf(undo, t)).StatusCode)
	require.Equal(t, "ada@example.org", s.Mail().To, "and so is what lets its owner in")

	s.Member("bob")
	b = s.SignedIn("bob")
	for range 100 {
		s.Accounts.Throttles.Take(budget.Charge{Table: account.ThrottleMail, Key: account.BudgetKey(account.ThrottleMail, "bob@example.org"), Limit: s.Realm.Options.Limits[account.ThrottleMail], Share: 1.5})
	}
	res := b.Post("/accounts/register-email", sitetest.Data{"email": "thief@example.net"})
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	require.Equal(t, "bob@example.org", user(s, "bob").Email)
	s.NoMail()
}

// user is the account with a username.
func user(s *sitetest.Site, name string) (u *store.User) {
	s.T.Helper()
	require.NoError(s.T, s.Accounts.Store.View(context.Background(), func(tx store.Tx) (err error) { u, err = tx.UserByKey(field.Username, name); return err }))
	return u
}

func TestHardeningAllMailOfTheSite(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled, func(s *registration.Settings) {
		s.Throttle.AllMail = &registration.ThrottleLimit{Events: 20, Window: caddy.Duration(time.Hour)}
	})
	s.Member("ada")
	known := s.SignedIn("ada")
	s.Travel(2 * time.Hour)
	sent := 0
	for i := range 100 {
		res := s.Browser().From(fmt.Sprintf("198.%d.0.1", i)).Post("/accounts/register", sitetest.Newcomer("u"+strconv.Itoa(i)))
		if res.StatusCode == http.StatusCreated {
			sent++
		} else {
			require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
		}
	}
	require.Equal(t, 18, sent)
	require.Equal(t, 18, sitetest.Total(s.Mails()))
	require.Len(t, s.Logs.FilterLoggerName("").FilterMessage("throttled").All(), 1, "one line an incident")
	reset := sitetest.Data{"login": "ada"}
	require.Equal(t, http.StatusTooManyRequests, s.Browser().From("198.99.1.1").Post("/accounts/send-reset-password-link", reset).StatusCode)
	require.Equal(t, http.StatusOK, known.From("198.99.2.1").Post("/accounts/send-reset-password-link", reset).StatusCode, "the last are for who is known")
	require.Equal(t, 1, sitetest.Total(s.Mails()))
}

// The budgets that an earlier version kept together are taken over once.
func TestBudgetsOfAnEarlierVersion(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path, sitetest.Throttled)
	s.Member("ada")
	key := account.BudgetKey(account.ThrottleLogin, "target", "ada")
	now := s.Accounts.Now()
	old := append([]byte{1}, key[:]...)
	for _, n := range []uint64{uint64(now.UnixNano()), uint64(6 * time.Second)} {
		for shift := 56; shift >= 0; shift -= 8 {
			old = append(old, byte(n>>shift))
		}
	}
	old = append(old, 0, 0, 0, 10)
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue("throttles", old) }))
	s.Close()
	for range 2 {
		s = sitetest.NewAt(t, path, sitetest.Throttled)
		res := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
		require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
		require.NoError(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) error {
			have, err := tx.Value("throttles")
			require.Equal(t, []byte{1}, have)
			return err
		}))
		s.Close()
	}
}

func TestHardeningChosenAddresses(t *testing.T) {
	for name, test := range map[string]struct {
		server  *caddyhttp.Server
		trusted bool
		header  []string
		want    bool
	}{
		"a proxy that adds to it":             {&caddyhttp.Server{}, true, []string{"203.0.113.1, 198.51.100.1"}, true},
		"two lines":                           {&caddyhttp.Server{}, true, []string{"203.0.113.1", "198.51.100.1"}, true},
		"strict":                              {&caddyhttp.Server{TrustedProxiesStrict: 1}, true, []string{"203.0.113.1, 198.51.100.1"}, false},
		"one entry":                           {&caddyhttp.Server{}, true, []string{"203.0.113.1"}, false},
		"nobody who is trusted":               {&caddyhttp.Server{}, false, []string{"203.0.113.1, 198.51.100.1"}, false},
		"a header that Caddy doesn't ask for": {&caddyhttp.Server{ClientIPHeaders: []string{"X-Real-Ip"}}, true, []string{"203.0.113.1, 198.51.100.1"}, false},
		"no server":                           {nil, true, []string{"203.0.113.1, 198.51.100.1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			if test.server != nil && test.server.ClientIPHeaders == nil {
				test.server.ClientIPHeaders = []string{"X-Forwarded-For"} // Caddy's default
			}
			for range 3 {
				req := httptest.NewRequest(http.MethodPost, "http://example.com/accounts/login", strings.NewReader("login=a"))
				req.Header["X-Forwarded-For"] = test.header
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				ctx := context.WithValue(req.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "203.0.113.1", caddyhttp.TrustedProxyVarKey: test.trusted})
				if test.server != nil {
					ctx = context.WithValue(ctx, caddyhttp.ServerCtxKey, test.server)
				}
				s.Realm.Serve(httptest.NewRecorder(), req.WithContext(ctx), "login")
			}
			lines := 0
			for _, l := range s.Logs.All() {
				if strings.Contains(l.Message, "trusted_proxies_strict") {
					lines++
				}
			}
			require.Equal(t, map[bool]int{true: 1, false: 0}[test.want], lines)
		})
	}
}
