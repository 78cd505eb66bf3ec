// hardening_budgets_test.go: floods of keys, of mails and of device cookies: who
// is kept out by them, and who is not.

package registration

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

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
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
		good data
		want int
	}{
		"an empty sign-up":                {"register", data{"email": "ada@example.org"}, newcomer("ada"), http.StatusCreated},
		"a sign-up with a weak password":  {"register", with(newcomer("bob"), data{"email": "ada@example.org", "password": "1234", "password_confirm": "1234"}), newcomer("ada"), http.StatusCreated},
		"no JSON":                         {"register", "{", newcomer("ada"), http.StatusCreated},
		"a sign-in without a password":    {"login", data{"login": "eve"}, data{"login": "eve", "password": testPassword}, http.StatusOK},
		"a reset of nobody":               {"send-reset-password-link", data{}, data{"login": "eve"}, http.StatusOK},
		"a confirmation again, of nobody": {"resend-verification", data{"login": ""}, data{"login": "eve"}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, throttled)
			s.member("eve")
			s.travel(time.Hour)
			b := s.browser()
			if _, raw := test.bad.(string); raw {
				b.header.Set("Content-Type", "application/json")
			}
			events := s.realm.settings.Throttle.limit(s.realm.Endpoints[test.path].Throttle).Events
			for i := range 10 * events {
				require.Equal(t, http.StatusBadRequest, b.post("/accounts/"+test.path, test.bad).StatusCode, i)
				if i == 3*events {
					other := s.browser().from("198.51.100.9")
					require.Equal(t, test.want, other.post("/accounts/"+test.path, test.good).StatusCode, "the target has spent nothing")
				}
			}
			if _, raw := test.bad.(string); !raw {
				require.Equal(t, http.StatusTooManyRequests, b.post("/accounts/"+test.path, test.bad).StatusCode, "but not for ever")
			}
		})
	}
	s := newSite(t, throttled)
	b := s.browser()
	for range 100 {
		b.post("/accounts/register", data{"email": "ada@example.org"})
	}
	require.Equal(t, http.StatusCreated, b.post("/accounts/register", newcomer("ada")).StatusCode, "nor has the client, of its sign-ups")
}

// Whether a name is taken is something of others: it costs a sign-up.
func TestHardeningTakenNamesAreNotFree(t *testing.T) {
	s := newSite(t, throttled)
	s.member("ada")
	b := s.browser().from("198.51.100.9")
	for range 20 {
		b.post("/accounts/register", with(newcomer("ada"), data{"email": "x@example.org"}))
	}
	require.Equal(t, http.StatusTooManyRequests, b.post("/accounts/register", newcomer("bob")).StatusCode)
}

// An attacker who has a /48 gets no more budgets than 16.
func TestHardeningOneNetworkIsOneClient(t *testing.T) {
	s := newSite(t, throttled)
	codes := map[int]int{}
	for i := range 400 {
		codes[s.browser().from(fmt.Sprintf("2001:db8:0:%x::1", i*97)).post("/accounts/login", wrongSignIn("n"+strconv.Itoa(i))).StatusCode]++
	}
	require.Equal(t, map[int]int{http.StatusBadRequest: 160, http.StatusTooManyRequests: 240}, codes)
	require.Equal(t, http.StatusBadRequest, s.browser().from("2001:db9::1").post("/accounts/login", wrongSignIn("x")).StatusCode)
}

// flood takes n events of keys of its own from every table of the realm, and then
// some of every network.
func (s *site) flood(n int) (keys int) {
	ledger := s.realm.engine.throttles
	tables := web.LastingTables()
	for _, t := range web.ThrottleTables {
		limit := s.realm.settings.Throttle.limit(t.Name).budget()
		for i := range n {
			address := fmt.Sprintf("2001:%x:%x:%x::1", 0xdb8+i/4096, i%16, i) // 16 networks of /48 for every 4,096
			ledger.Take(t.Client(address, limit)...)
			ledger.Take(t.Form(address, limit)...)
		}
		keys += 2 * n
	}
	for _, table := range tables {
		limit := account.NoticeLimit
		if name, _, _ := strings.Cut(table, "/"); name != "notice" {
			limit = s.realm.settings.Throttle.limit(name).budget()
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
	s := newSite(t, throttled, func(s *Settings) {
		s.Throttle.AllMail = &ThrottleLimit{Events: 1_000_000, Window: caddy.Duration(time.Second)}
	})
	const people, known = 100, 50
	browsers := make([]*browser, people)
	links := sync.Map{}
	s.mailer.fail = func(m *mail.Message) error {
		links.Store(m.To, m)
		return &mail.Error{Err: fmt.Errorf("read"), Permanent: true}
	}
	mailTo := func(to string) *mail.Message {
		var m any
		require.Eventually(t, func() (ok bool) { m, ok = links.LoadAndDelete(to); return ok }, patience, time.Millisecond)
		return m.(*mail.Message)
	}
	for i := range browsers {
		browsers[i] = s.browser().from(fmt.Sprintf("198.%d.100.%d", 18+i, i))
		name := fmt.Sprintf("person%d", i)
		require.Equal(t, http.StatusCreated, browsers[i].post("/accounts/register", newcomer(name)).StatusCode)
		require.Equal(t, http.StatusOK, browsers[i].post("/accounts/verify-registration", linkOf(mailTo(name+"@example.org"), t)).StatusCode)
		if i < known {
			require.Equal(t, http.StatusOK, browsers[i].post("/accounts/login", data{"login": name, "password": testPassword}).StatusCode)
			require.Equal(t, http.StatusOK, browsers[i].post("/accounts/logout", data{}).StatusCode)
		}
	}
	s.travel(2 * time.Hour)
	victim := s.browser().from("203.0.113.7")
	for range 11 {
		victim.post("/accounts/login", wrongSignIn("victim"))
	}
	require.Equal(t, http.StatusTooManyRequests, victim.post("/accounts/login", wrongSignIn("victim")).StatusCode)

	var keys atomic.Int64
	flooding := make(chan struct{})
	go func() { keys.Store(int64(s.flood(n))); close(flooding) }()
	passed := [people]bool{}
	do := func(i int) bool {
		b, name := browsers[i], fmt.Sprintf("person%d", i)
		for _, step := range []struct {
			path string
			body data
			want int
		}{
			{"login", data{"login": name, "password": testPassword}, http.StatusOK},
			{"register-email", data{"email": name + "@example.net"}, http.StatusOK},
			{"logout", data{}, http.StatusOK},
			{"register", newcomer(fmt.Sprintf("child%d", i)), http.StatusCreated},
			{"send-reset-password-link", data{"login": name}, http.StatusOK},
		} {
			if res := b.post("/accounts/"+step.path, step.body); res.StatusCode != step.want {
				t.Logf("person %d: %s: %d %s", i, step.path, res.StatusCode, res.body)
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
		passed[i] = passed[i] && browsers[i].post("/accounts/login", data{"login": fmt.Sprintf("person%d", i), "password": testPassword}).StatusCode == http.StatusOK
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
	require.Equal(t, http.StatusTooManyRequests, s.browser().from("203.0.113.8").post("/accounts/login", wrongSignIn("victim")).StatusCode, "what was spent is spent")

	db := s.accounts.Store
	require.NoError(t, s.realm.engine.throttles.Flush(t.Context(), budgetStore{db}))
	rows := 0
	require.NoError(t, db.View(t.Context(), func(tx store.Tx) error {
		list, err := tx.Budgets(s.accounts.Now(), 1<<30)
		rows = len(list)
		return err
	}))
	require.Positive(t, rows)
	flushes := 1 + int(time.Since(begin)/flushInterval) // this one and the housekeeping's
	require.LessOrEqual(t, rows, flushes*256*len(web.LastingTables()), "a flood costs the store a bounded number of writes")
}

// Many stolen device cookies of an account are one budget, and the address counts.
func TestHardeningManyDeviceCookies(t *testing.T) {
	s := newSite(t, throttled)
	s.member("ada")
	s.travel(time.Hour)
	var devices []*browser
	for range 9 {
		devices = append(devices, s.signedIn("ada"))
		s.travel(time.Hour)
	}
	guesses := func(from func(device, i int) string) (tried int) {
		s.travel(time.Hour)
		for d, b := range devices {
			for i := range 12 {
				if b.from(from(d, i)).post("/accounts/login", wrongSignIn("ada")).StatusCode == http.StatusBadRequest {
					tried++
				}
			}
		}
		return tried
	}
	require.Equal(t, 15, guesses(func(int, int) string { return "192.0.2.1" }), "at one address, which has 10, of which the devices spend")
	require.Equal(t, 20, guesses(func(d, i int) string { return fmt.Sprintf("192.%d.%d.1", d, i) }), "at one address each: all devices together, and strangers")
	s.travel(time.Hour)
	flooder := s.browser().from("192.0.2.1")
	for i := range 12 {
		flooder.post("/accounts/login", wrongSignIn("nobody"+strconv.Itoa(i)))
	}
	require.Equal(t, http.StatusOK, devices[3].from("192.0.2.1").post("/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode,
		"a known device gets in where others have used up the address's budget")
}

// Typing somebody's id is no way to use up his tries of the old password.
func TestHardeningTheOldPasswordHasItsOwnBudget(t *testing.T) {
	s := newSite(t, throttled)
	id := s.member("ada")
	b := s.signedIn("ada")
	for i := range 12 {
		s.browser().from(fmt.Sprintf("203.0.113.%d", i)).post("/accounts/login", wrongSignIn(id))
	}
	require.Equal(t, http.StatusOK, b.post("/accounts/change-password", data{"old_password": testPassword, "password": testPassword + "!", "password_confirm": testPassword + "!"}).StatusCode)
}

// count takes what the mailer got within a moment, by subject.
func (s *site) mails() map[string]int {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return queueEmpty(s.accounts.Store) }, patience, time.Millisecond)
	got := map[string]int{}
	for {
		select {
		case m := <-s.mailer.sent:
			got[m.Subject]++
		case m := <-s.mailer.told:
			got[m.Subject]++
		default:
			return got
		}
	}
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// 200 changes of a profile don't make 200 mails.
func TestHardeningNoticesAreBounded(t *testing.T) {
	s := newSite(t, throttled, withoutVerification, func(s *Settings) {
		s.Throttle.Profile = &ThrottleLimit{Events: 1000, Window: caddy.Duration(time.Hour)}
	})
	s.member("eve")
	b := s.signedIn("eve")
	for i := range 200 {
		require.Equal(t, http.StatusOK, b.do(http.MethodPatch, "/accounts/profile", data{"username": "eve" + strconv.Itoa(i%5)}).StatusCode, i)
	}
	require.Equal(t, 3, total(s.mails()), "an eighth of 30 an hour")
	require.NotEmpty(t, s.logs.FilterMessage("mail left out: there were too many").All())

	s = newSite(t, throttled)
	s.member("ada")
	b = s.signedIn("ada")
	for i := range 61 {
		want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[i < 60]
		require.Equal(t, want, b.do(http.MethodPatch, "/accounts/profile", data{"first_name": "A" + strconv.Itoa(i)}).StatusCode, i)
	}
	require.Equal(t, http.StatusOK, b.get("/accounts/profile").StatusCode, "reading is free")
}

// Whatever stands behind the plus sign, it is one mailbox; other kinds of mail
// reach it all the same.
func TestHardeningOneMailboxIsOne(t *testing.T) {
	require.Equal(t, "victim@example.org", account.Mailbox("Victim+a+b@Example.ORG"))
	require.Equal(t, "+a@example.org", account.Mailbox("+a@example.org"))
	require.Equal(t, "vic.tim@example.org", account.Mailbox("vic.tim@example.org"))
	require.Equal(t, "no address", account.Mailbox("no address"))
	s := newSite(t, throttled)
	for i := range 100 {
		body := with(newcomer("u"+strconv.Itoa(i)), data{"email": fmt.Sprintf("victim+%d@example.org", i)})
		require.Equal(t, http.StatusCreated, s.browser().from(fmt.Sprintf("198.%d.0.1", i)).post("/accounts/register", body).StatusCode)
	}
	require.Equal(t, 15, total(s.mails()), "half of 30 an hour")
	require.Equal(t, http.StatusOK, s.browser().post("/accounts/send-reset-password-link", data{"login": "u99"}).StatusCode)
	require.Equal(t, 1, total(s.mails()), "another kind")
}

// A link that takes an account back is never left out.
func TestHardeningUndoIsNotStarved(t *testing.T) {
	s := newSite(t, throttled, withoutVerification, func(s *Settings) { s.RegisterEmail.Verification = off() })
	s.member("ada")
	b := s.signedIn("ada")
	spend := func(share float64) {
		for range 100 {
			s.accounts.Throttles.Take(budget.Charge{Table: account.ThrottleMail, Key: account.BudgetKey(account.ThrottleMail, "ada@example.org"), Limit: s.realm.settings.Throttle.limit(account.ThrottleMail).budget(), Share: share})
		}
	}
	spend(1)
	require.Equal(t, http.StatusOK, b.post("/accounts/register-email", data{"email": "thief@example.org"}).StatusCode)
	undo := s.mail()
	require.Equal(t, "ada@example.org", undo.To)
	require.Equal(t, http.StatusOK, s.browser().post("/accounts/undo-email", linkOf(undo, t)).StatusCode)
	require.Equal(t, "ada@example.org", s.mail().To, "and so is what lets its owner in")

	s.member("bob")
	b = s.signedIn("bob")
	for range 100 {
		s.accounts.Throttles.Take(budget.Charge{Table: account.ThrottleMail, Key: account.BudgetKey(account.ThrottleMail, "bob@example.org"), Limit: s.realm.settings.Throttle.limit(account.ThrottleMail).budget(), Share: 1.5})
	}
	res := b.post("/accounts/register-email", data{"email": "thief@example.net"})
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	require.Equal(t, "bob@example.org", s.user("bob").Email)
	s.noMail()
}

// user is the account with a username.
func (s *site) user(name string) (u *store.User) {
	s.t.Helper()
	require.NoError(s.t, s.accounts.Store.View(context.Background(), func(tx store.Tx) (err error) { u, err = tx.UserByKey(field.Username, name); return err }))
	return u
}

func TestHardeningAllMailOfTheSite(t *testing.T) {
	s := newSite(t, throttled, func(s *Settings) { s.Throttle.AllMail = &ThrottleLimit{Events: 20, Window: caddy.Duration(time.Hour)} })
	s.member("ada")
	known := s.signedIn("ada")
	s.travel(2 * time.Hour)
	sent := 0
	for i := range 100 {
		res := s.browser().from(fmt.Sprintf("198.%d.0.1", i)).post("/accounts/register", newcomer("u"+strconv.Itoa(i)))
		if res.StatusCode == http.StatusCreated {
			sent++
		} else {
			require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
		}
	}
	require.Equal(t, 18, sent)
	require.Equal(t, 18, total(s.mails()))
	require.Len(t, s.logs.FilterMessage("throttled").All(), 1, "one line an incident")
	reset := data{"login": "ada"}
	require.Equal(t, http.StatusTooManyRequests, s.browser().from("198.99.1.1").post("/accounts/send-reset-password-link", reset).StatusCode)
	require.Equal(t, http.StatusOK, known.from("198.99.2.1").post("/accounts/send-reset-password-link", reset).StatusCode, "the last are for who is known")
	require.Equal(t, 1, total(s.mails()))
}

// The budgets that an earlier version kept together are taken over once.
func TestBudgetsOfAnEarlierVersion(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := newSiteAt(t, path, throttled)
	s.member("ada")
	key := account.BudgetKey(account.ThrottleLogin, "target", "ada")
	now := s.accounts.Now()
	old := append([]byte{1}, key[:]...)
	for _, n := range []uint64{uint64(now.UnixNano()), uint64(6 * time.Second)} {
		for shift := 56; shift >= 0; shift -= 8 {
			old = append(old, byte(n>>shift))
		}
	}
	old = append(old, 0, 0, 0, 10)
	require.NoError(t, s.accounts.Store.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue(throttlesValue, old) }))
	s.close()
	for range 2 {
		s = newSiteAt(t, path, throttled)
		res := s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword})
		require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
		require.NoError(t, s.accounts.Store.View(t.Context(), func(tx store.Tx) error {
			have, err := tx.Value(throttlesValue)
			require.Equal(t, noThrottles, have)
			return err
		}))
		s.close()
	}
}

// What is over leaves the store.
func TestBudgetsAreSwept(t *testing.T) {
	s := newSite(t, throttled)
	s.attack("ada")
	ledger, db := s.realm.engine.throttles, s.accounts.Store
	rows := func() (n int) {
		require.NoError(t, ledger.Flush(t.Context(), budgetStore{db}))
		require.NoError(t, sweepThrottles(t.Context(), ledger, db, s.accounts.Now()))
		require.NoError(t, db.View(t.Context(), func(tx store.Tx) error {
			list, err := tx.Budgets(time.Unix(0, 0), 100)
			n = len(list)
			return err
		}))
		return n
	}
	require.Equal(t, 1, rows())
	s.travel(time.Hour)
	require.Zero(t, rows())
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
			s := newSite(t)
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
				s.realm.Serve(httptest.NewRecorder(), req.WithContext(ctx), "login")
			}
			lines := 0
			for _, l := range s.logs.All() {
				if strings.Contains(l.Message, "trusted_proxies_strict") {
					lines++
				}
			}
			require.Equal(t, map[bool]int{true: 1, false: 0}[test.want], lines)
		})
	}
}
