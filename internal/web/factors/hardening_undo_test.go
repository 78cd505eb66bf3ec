// hardening_undo_test.go: who can take back what was done to a second step: its owner, who
// has the mail and what he had before; not who has the mailbox alone.

package factors_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// changePassword gives the account of who is signed in another password, by change-password.
func changePassword(t *testing.T, b *sitetest.Browser, from, to string, with ...sitetest.Data) {
	t.Helper()
	body := sitetest.Data{"old_password": from, "password": to, "password_confirm": to}
	res := b.Post("/accounts/change-password", sitetest.With(body, append(with, nil)[0]))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
}

// signIn signs in by the password and, where it is asked for, the app.
func signIn(t *testing.T, s *sitetest.Site, password string, a *app) *sitetest.Browser {
	t.Helper()
	b := s.Browser().Problems()
	res := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": password})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	if challenge, asked := res.JSON(t)["challenge"].(string); asked {
		res = b.Post("/accounts/login-factor", answerWith(challenge, "totp", a.code()))
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		s.Travel(time.Minute)
	}
	return b
}

// byMail makes a sign-in one that was begun by a mailed code.
func byMail(s *sitetest.Site, b *sitetest.Browser) {
	hash, _ := session.HashToken(b.Cookie[sitetest.SessionCookie])
	require.NoError(s.T, s.Accounts.Update(s.T.Context(), func(t *account.Txn) error {
		signIn, err := t.Session(hash)
		if err != nil {
			return err
		}
		signIn.AMR = []string{"mail"}
		return t.PutSession(signIn)
	}))
}

// A taken account is one whose second step somebody has changed.
type taken struct {
	s     *sitetest.Site
	owner *sitetest.Browser // signed in since the day before
	thief *sitetest.Browser // who did it
	link  sitetest.Data     // of the mail that told of it
	app   *app              // that is asked for since; nil: none is
	had   []store.Factor    // before
}

// shows is what the app shows where one is asked for, once.
func (c *taken) shows() sitetest.Data {
	if c.app == nil {
		return nil
	}
	c.s.Travel(time.Minute)
	return sitetest.Data{"totp": c.app.code()}
}

// changeOf has somebody who is signed in add a factor, the first one, or remove the only one.
// ahead is done before, by him.
func changeOf(t *testing.T, adds bool, ahead func(t *testing.T, s *sitetest.Site, thief *sitetest.Browser, first *app) *sitetest.Browser) (c taken) {
	t.Helper()
	s := sitetest.New(t)
	id := s.Member("ada")
	c = taken{s: s, owner: s.SignedIn("ada")}
	var first *app
	if !adds {
		a, _ := enrol(t, s, c.owner)
		first = &a
		s.Travel(10 * sitetest.Day)
	}
	c.owner = signIn(t, s, sitetest.Password, first)
	s.Travel(sitetest.Day)
	c.thief = signIn(t, s, sitetest.Password, first)
	if ahead != nil {
		c.thief = ahead(t, s, c.thief, first)
	}
	c.had = s.Stored(id).Factors
	if s.Mails(); adds {
		a, _ := enrol(t, s, c.thief)
		c.app = &a
	} else {
		require.Equal(t, http.StatusOK, c.thief.Post("/accounts/remove-factor", sitetest.Data{"id": c.had[0].ID.String()}).StatusCode)
	}
	c.link = sitetest.LinkOf(s.Mail(), t)
	s.Travel(time.Hour)
	return c
}

// Who has what, and what was done: the mail alone takes nothing back, nor does a password
// that the mailbox was enough to set, or a sign-in from since.
func TestHardeningWhoCanUndoAFactor(t *testing.T) {
	const refused, wrong = "password:reauthentication_required", "password:password_incorrect"
	const thiefs = "the passphrase of a thief"
	with := func(password string) sitetest.Data { return sitetest.Data{"password": password} }
	for name, c := range map[string]struct {
		ahead func(t *testing.T, s *sitetest.Site, thief *sitetest.Browser, first *app) *sitetest.Browser
		// has returns the browser of who asks, and what he brings besides the link.
		has  func(t *testing.T, c *taken) (*sitetest.Browser, sitetest.Data)
		want string // "": it is taken back
	}{
		"the mailbox": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) { return c.s.Browser(), nil }, want: refused},
		"the mailbox, and a password set by it since": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			c.s.ResetPassword("ada", sitetest.NewPassword)
			return c.s.Browser(), with(sitetest.NewPassword)
		}, want: wrong},
		"the mailbox, and a guess": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			return c.s.Browser(), with("a guess at it")
		}, want: wrong},
		"the mailbox, and an empty password": {has: func(t *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			c.s.Set(sitetest.UUIDOf(t, c.s, "ada").String(), func(u *store.User) { u.PasswordHash = "" })
			return c.s.Browser(), with("")
		}, want: "password:blank"},
		"the password": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			return c.s.Browser(), sitetest.Data{"password": sitetest.Password, "signature": "guess"}
		}, want: "signature_invalid"},
		"a session from before": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			return c.owner, sitetest.Data{"signature": "guess"}
		}, want: "signature_invalid"},
		"both": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			return c.s.Browser(), with(sitetest.Password)
		}},
		"both, after a reset by the mailbox": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			c.s.ResetPassword("ada", sitetest.NewPassword)
			return c.s.Browser(), with(sitetest.Password)
		}},
		"both, and the thief has changed the password since": {has: func(t *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			from := sitetest.Password
			for _, to := range []string{thiefs + " 1", thiefs + " 2", thiefs + " 3", thiefs + " 4"} {
				changePassword(t, c.thief, from, to, c.shows())
				from = to
			}
			return c.s.Browser(), with(sitetest.Password)
		}},
		"both, and the thief has changed the password before": {ahead: func(t *testing.T, _ *sitetest.Site, thief *sitetest.Browser, _ *app) *sitetest.Browser {
			changePassword(t, thief, sitetest.Password, thiefs)
			return thief
		}, has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			return c.s.Browser(), with(sitetest.Password)
		}},
		"the mailbox, and a password of the thief's since": {has: func(t *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			changePassword(t, c.thief, sitetest.Password, thiefs, c.shows())
			return c.s.Browser(), with(thiefs)
		}, want: wrong},
		"the mailbox, and a password of long before": {ahead: func(t *testing.T, s *sitetest.Site, thief *sitetest.Browser, first *app) *sitetest.Browser {
			changePassword(t, thief, sitetest.Password, sitetest.NewPassword)
			s.Travel(7 * sitetest.Day)
			return signIn(t, s, sitetest.NewPassword, first)
		}, has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			return c.s.Browser(), with(sitetest.Password)
		}, want: wrong},
		"the mailbox, and a session from before": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) { return c.owner, nil }},
		"the mailbox, and a session from before that has ended": {has: func(t *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			require.Equal(t, http.StatusOK, c.thief.Post("/accounts/revoke-session", sitetest.Data{"others": true}).StatusCode)
			return c.owner, nil
		}, want: refused},
		"the mailbox, and a session from before by a mailed code": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			byMail(c.s, c.owner)
			return c.owner, nil
		}, want: refused},
		"the mailbox, and a session from since": {has: func(t *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			return signIn(t, c.s, sitetest.Password, c.app), nil
		}, want: refused},
		"the mailbox, and a session of another account": {has: func(_ *testing.T, c *taken) (*sitetest.Browser, sitetest.Data) {
			c.s.Member("eve")
			return c.s.SignedIn("eve"), nil
		}, want: refused},
	} {
		for what, adds := range map[string]bool{"added": true, "removed": false} {
			t.Run(what+", by "+name, func(t *testing.T) {
				c1 := changeOf(t, adds, c.ahead)
				s, id := c1.s, sitetest.UUIDOf(t, c1.s, "ada").String()
				before := s.Stored(id).Factors
				b, body := c.has(t, &c1)
				s.Mails()
				res := b.Problems().Post("/accounts/undo-factor", sitetest.With(c1.link, body))
				if c.want != "" {
					sitetest.RequireError(t, res, 400, c.want)
					require.Equal(t, ids(before), ids(s.Stored(id).Factors))
					return
				}
				require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
				require.Equal(t, sitetest.Words(text.Say("detail.factor_undone")), res.JSON(t)["detail"])
				u := s.Stored(id)
				require.Equal(t, ids(c1.had), ids(u.Factors))
				require.Empty(t, u.PasswordHash)
				require.Empty(t, u.RecoveryCodes, "they came with the factor, or went with it")
				require.Equal(t, http.StatusUnauthorized, c1.thief.Get("/accounts/profile").StatusCode)
				require.Equal(t, "Set a new password at example.com", s.Mail().Subject)
			})
		}
	}
}

func ids(factors []store.Factor) (list []string) {
	for _, f := range factors {
		list = append(list, f.ID.String())
	}
	return list
}

// One link takes back all that was done since, whichever it is: what a thief did after it
// must not stay.
func TestHardeningUndoLeavesNoFactorOfAThief(t *testing.T) {
	for name, which := range map[string]int{"the first link": 0, "the second": 1, "the third": 2} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			id := s.Member("ada")
			owner := s.SignedIn("ada")
			a, _ := enrol(t, s, owner)
			s.Travel(10 * sitetest.Day)
			had := s.Stored(id).Factors
			thief := signIn(t, s, sitetest.Password, &a)
			s.Mails()
			var links []sitetest.Data
			enrol(t, s, thief)
			links = append(links, sitetest.LinkOf(s.Mail(), t))
			require.Equal(t, http.StatusOK, thief.Post("/accounts/remove-factor", sitetest.Data{"id": had[0].ID.String()}).StatusCode)
			links = append(links, sitetest.LinkOf(s.Mail(), t))
			s.Travel(time.Minute)
			enrol(t, s, thief)
			links = append(links, sitetest.LinkOf(s.Mail(), t))
			res := s.Browser().Post("/accounts/undo-factor", sitetest.With(links[which], sitetest.Data{"password": sitetest.Password}))
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			got := s.Stored(id)
			switch which {
			case 0:
				require.Equal(t, ids(had), ids(got.Factors))
			case 1: // what came before it stays, and has its own link
				require.Len(t, got.Factors, 2)
				require.Contains(t, ids(got.Factors), had[0].ID.String())
				require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/undo-factor", sitetest.With(links[0], sitetest.Data{"password": sitetest.Password})).StatusCode)
				require.Equal(t, ids(had), ids(s.Stored(id).Factors))
			case 2:
				require.Len(t, got.Factors, 1)
				require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/undo-factor", sitetest.With(links[0], sitetest.Data{"password": sitetest.Password})).StatusCode)
				require.Equal(t, ids(had), ids(s.Stored(id).Factors))
			}
		})
	}
}

// A thief's program does all in the second in which the owner has set up his app.
func TestHardeningUndoWithinASecond(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	now := s.Now.Load()
	enrol(t, s, b)
	s.Now.Store(now) // which enrol moves on
	had := s.Stored(id).Factors
	s.Mails()
	enrol(t, s, b)
	added := sitetest.LinkOf(s.Mail(), t)
	require.Equal(t, http.StatusOK, b.Post("/accounts/remove-factor", sitetest.Data{"id": had[0].ID.String()}).StatusCode)
	require.Equal(t, had[0].Created, s.Stored(id).Factors[0].Created)
	res := s.Browser().Post("/accounts/undo-factor", sitetest.With(added, sitetest.Data{"password": sitetest.Password}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, ids(had), ids(s.Stored(id).Factors))
}

// Who moved away from a mailbox that is another's now keeps the factor that he has added
// since; who was robbed of his address gets rid of the thief's.
func TestHardeningUndoOfAnAddressAndTheSecondStep(t *testing.T) {
	for name, c := range map[string]struct {
		body sitetest.Data
		want string
	}{
		"the old mailbox":               {nil, "password:reauthentication_required"},
		"the old mailbox, and a guess":  {sitetest.Data{"password": "a guess at it"}, "password:password_incorrect"},
		"the old mailbox, and password": {sitetest.Data{"password": sitetest.Password}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			id := s.Member("ada")
			b := s.SignedIn("ada")
			undo := s.Move(b, "ada@example.org", "new@example.org")
			s.Travel(time.Minute)
			enrol(t, s, b)
			s.Mail()
			res := s.Browser().Problems().Post("/accounts/undo-email", sitetest.With(undo, c.body))
			if c.want != "" {
				sitetest.RequireError(t, res, 400, c.want)
				require.Equal(t, "new@example.org", s.Stored(id).Email)
				require.Len(t, s.Stored(id).Factors, 1)
				return
			}
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			require.Equal(t, "ada@example.org", s.Stored(id).Email)
			require.Empty(t, s.Stored(id).Factors)
		})
	}
	t.Run("nothing was done to the second step", func(t *testing.T) {
		s := sitetest.New(t)
		id := s.Member("ada")
		a, _ := enrol(t, s, s.SignedIn("ada"))
		s.Mail()
		undo := s.Move(signIn(t, s, sitetest.Password, &a), "ada@example.org", "new@example.org")
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/undo-email", undo).StatusCode)
		require.Len(t, s.Stored(id).Factors, 1)
	})
}

// The pages ask for what is needed, and say so.
func TestUndoFactorPage(t *testing.T) {
	c := changeOf(t, true, nil)
	s := c.s
	q := url.Values{}
	for k, v := range c.link {
		q.Set(k, v.(string))
	}
	at := "/accounts/undo-factor/?" + q.Encode()
	b := s.Browser().LikeBrowser()
	page := b.Get(at)
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, `name="password" type="password"`)
	require.Contains(t, page.Text, sitetest.Words(text.Say("field.password_before")))
	res := b.Post("/accounts/undo-factor/", q)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, res.Text, sitetest.Words(text.Say("reauthenticate.before")))
	q.Set("password", "a guess at it")
	res = b.Post("/accounts/undo-factor/", q)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, res.Text, sitetest.Words(text.Say("reauthenticate.before_wrong")))
	require.Contains(t, res.Text, `name="factor" value="`+q.Get("factor")+`"`)

	owner := c.owner.LikeBrowser()
	require.NotContains(t, owner.Get(at).Text, `type="password"`, "he is signed in since before")
	q.Set("password", sitetest.Password)
	require.Contains(t, b.Follow(b.Post("/accounts/undo-factor/", q)).Text, sitetest.Words(text.Say("detail.factor_undone")))
	require.Contains(t, b.Get(at).Text, sitetest.Words(text.Say("detail.already_used")))
}

// Guesses behind the link count as those at the sign-in.
func TestHardeningGuessesBehindAnUndoLink(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 5, Window: 3600e9}}
	})
	s.Member("ada")
	enrol(t, s, s.SignedIn("ada"))
	link := sitetest.LinkOf(s.Mail(), t)
	for i := range 10 {
		res := s.Browser().Problems().Post("/accounts/undo-factor", sitetest.With(link, sitetest.Data{"password": "a guess at it"}))
		if res.StatusCode == http.StatusTooManyRequests {
			require.LessOrEqual(t, i, 5)
			return
		}
		sitetest.RequireError(t, res, 400, "password:password_incorrect")
	}
	require.Fail(t, "guesses have no end")
}
