// hardening_waiting_test.go: an account that waits for its confirmation: who gets
// the address, and that nobody can tell whether it waits for one that is somebody's.

package account_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// addressOf signs name up with an address.
func signUp(s *sitetest.Site, name, email string) *sitetest.Answer {
	s.T.Helper()
	res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": email}))
	require.Equal(s.T, http.StatusCreated, res.StatusCode, res.Text)
	return res
}

func problem(s *sitetest.Site, path string, body any) string {
	s.T.Helper()
	res := s.Browser().Problems().Post("/accounts/"+path, body)
	if res.StatusCode < 300 {
		return fmt.Sprint(res.StatusCode)
	}
	code, _ := res.JSON(s.T)["code"].(string)
	return code
}

// Everybody who signs up with an address that nobody has confirmed gets a mail;
// the first to confirm has it, the others' links are void as used ones are.
func TestFirstToConfirmHasTheAddress(t *testing.T) {
	s := sitetest.New(t)
	signUp(s, "thief", "ada@example.org")
	thief := s.Mail()
	signUp(s, "ada", "ADA@example.org")
	ada := s.Mail()
	require.Equal(t, "ADA@example.org", ada.To, "a mail of her own")
	require.Equal(t, "200", problem(s, "verify-registration", sitetest.LinkOf(ada, t)))
	require.Equal(t, "signature_invalid", problem(s, "verify-registration", sitetest.LinkOf(thief, t)))
	page := s.Browser().LikeBrowser().Get("/accounts/verify-registration/?" + sitetest.LinkInMail.FindString(thief.Text)[strings.Index(sitetest.LinkInMail.FindString(thief.Text), "?")+1:])
	require.Equal(t, http.StatusBadRequest, page.StatusCode)
	require.Contains(t, page.Text, sitetest.Words(text.Say("page.dead_link.invalid")))
	require.Contains(t, page.Text, `href="/accounts/register/`, "the account may be gone")
	s.SignedIn("ada@example.org")
	require.Equal(t, "not_verified", problem(s, "login", sitetest.Data{"login": "thief", "password": sitetest.Password}))
	// His own mail again is the notice to her, at most one an hour.
	require.Equal(t, "200", problem(s, "resend-verification", sitetest.Data{"login": "thief"}))
	require.Equal(t, sitetest.NoticeSubject, s.Mail().Subject)
	require.Equal(t, "200", problem(s, "send-reset-password-link", sitetest.Data{"login": "thief"}))
	require.Equal(t, "200", problem(s, "resend-verification", sitetest.Data{"login": "ada@example.org"}))
	s.NoMail()
	// The address is hers alone as long as she has it.
	undo := s.Move(s.SignedIn("ada"), "ADA@example.org", "new@example.org")
	require.Equal(t, "signature_invalid", problem(s, "verify-registration", sitetest.LinkOf(thief, t)), "she can go back to it")
	require.Equal(t, "200", problem(s, "undo-email", undo))
	require.Equal(t, "ADA@example.org", s.Mail().To)
}

// By address, a reset and a second mail find the newest that waits; a reset
// confirms it, and voids the password that was chosen before the mailbox was shown.
func TestResetByAddressConfirmsTheNewest(t *testing.T) {
	for name, identify := range map[string]sitetest.Data{"login": {"login": "ada@example.org"}, "email": {"email": "ADA@example.org"}, "username": {"login": "second"}} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			signUp(s, "first", "ada@example.org")
			signUp(s, "second", "ada@example.org")
			first := sitetest.LinkOf(s.Mail(), t)
			s.Mail()
			require.Equal(t, "200", problem(s, "resend-verification", identify))
			require.Equal(t, sitetest.UUIDOf(t, s, "second").String(), sitetest.LinkOf(s.Mail(), t)["user_id"])
			require.Equal(t, "200", problem(s, "send-reset-password-link", identify))
			reset := sitetest.LinkOf(s.Mail(), t)
			require.Equal(t, sitetest.UUIDOf(t, s, "second").String(), reset["user_id"])
			const fresh = "an even longer passphrase"
			require.Equal(t, "200", problem(s, "reset-password", sitetest.With(reset, sitetest.Data{"password": fresh})))
			require.Equal(t, "login_invalid", problem(s, "login", sitetest.Data{"login": "second", "password": sitetest.Password}))
			require.Equal(t, "200", problem(s, "login", sitetest.Data{"login": "ada@example.org", "password": fresh}))
			require.Equal(t, "signature_invalid", problem(s, "verify-registration", first), "the other can't any more")
			u := s.Stored(sitetest.UUIDOf(t, s, "second").String())
			require.True(t, u.IsActive && u.EmailVerified && !u.AwaitsVerification && !u.EmailPending && u.WaitingSince.IsZero(), "%+v", u)
		})
	}
}

// A reset that was mailed to one who waits is void once the address is another's.
func TestResetOfOneWhoCameSecond(t *testing.T) {
	s := sitetest.New(t)
	signUp(s, "first", "ada@example.org")
	link := sitetest.LinkOf(s.Mail(), t)
	signUp(s, "second", "ada@example.org")
	s.Mail()
	require.Equal(t, "200", problem(s, "send-reset-password-link", sitetest.Data{"login": "second"}))
	reset := sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": "an even longer passphrase"})
	require.Equal(t, "200", problem(s, "verify-registration", link))
	require.Equal(t, "signature_invalid", problem(s, "reset-password", reset))
	require.Equal(t, "not_verified", problem(s, "login", sitetest.Data{"login": "second", "password": sitetest.Password}))
}

// Why an account may not sign in is told to who has its name and its password,
// never by its address, and never without the password.
func TestWhyNotIsToldByUsernameOnly(t *testing.T) {
	s := sitetest.New(t)
	signUp(s, "waiting", "waiting@example.org")
	s.Mail()
	s.Member("disabled")
	_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "disabled"), account.AdminChange{IsActive: sitetest.Off()})
	require.NoError(t, err)
	nobody := s.Browser().Post("/accounts/login", sitetest.Data{"login": "nobody", "password": sitetest.Password})
	for name, want := range map[string]string{"waiting": "not_verified", "disabled": "disabled"} {
		for _, by := range []sitetest.Data{{"login": name}, {"username": strings.ToUpper(name)}} {
			require.Equal(t, want, problem(s, "login", sitetest.With(by, sitetest.Data{"password": sitetest.Password})))
			require.Equal(t, "login_invalid", problem(s, "login", sitetest.With(by, sitetest.Data{"password": "wrong"})))
		}
		for _, by := range []sitetest.Data{{"login": name + "@example.org"}, {"email": name + "@example.org"}} {
			res := s.Browser().Post("/accounts/login", sitetest.With(by, sitetest.Data{"password": sitetest.Password}))
			require.Equal(t, nobody.Text, res.Text)
			require.Equal(t, nobody.Header, res.Header)
		}
	}
}

// Each page of a refused sign-in offers to send the confirmation again, and so
// does the way to a forgotten password.
func TestRefusedSignInOffersTheConfirmation(t *testing.T) {
	const offer = `href="/accounts/resend-verification/`
	s := sitetest.New(t)
	signUp(s, "waiting", "waiting@example.org")
	s.Mail()
	s.Member("ada")
	b := s.Browser().LikeBrowser()
	for _, body := range []sitetest.Data{{}, {"login": "nobody", "password": "x"}, {"login": "ada", "password": "wrong"}, {"login": "waiting", "password": sitetest.Password}} {
		res := b.Post("/accounts/login", body)
		require.Equal(t, http.StatusBadRequest, res.StatusCode)
		require.Contains(t, res.Text, offer)
	}
	require.NotContains(t, b.Get("/accounts/login").Text, offer)
	require.Contains(t, b.Get("/accounts/send-reset-password-link").Text, offer)
	require.Contains(t, b.Follow(b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})).Text, offer)
	require.Contains(t, b.Follow(b.Post("/accounts/register", sitetest.Newcomer("bob"))).Text, `<form method="post" action="/accounts/resend-verification/"`)
	s = sitetest.New(t, sitetest.WithoutVerification)
	b = s.Browser().LikeBrowser()
	require.NotContains(t, b.Post("/accounts/login", sitetest.Data{"login": "nobody", "password": "x"}).Text, offer)
	require.NotContains(t, b.Get("/accounts/send-reset-password-link").Text, offer)
}

// The row that a sign-up with somebody's confirmed address leaves gives, whatever
// is asked, the same answers byte for byte as one that waits for a free address.
func TestRowOfAConfirmedAddressIsLikeOneThatWaits(t *testing.T) {
	const fresh, taken = "eve1", "eve2" // of one length
	for name, configure := range map[string]func(*registration.Settings){
		"as it comes":    func(*registration.Settings) {},
		"unknown told":   func(s *registration.Settings) { s.ResetPassword.FailWhenUserNotFound = sitetest.On() },
		"reset by email": func(s *registration.Settings) { s.ResetPassword.UseEmail = sitetest.On() },
		"auto-login":     func(s *registration.Settings) { s.Register.AutoLogin = sitetest.On(); s.Login.Token = sitetest.On() },
		"username alone": func(s *registration.Settings) { s.User.LoginFields = []string{"username"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, configure)
			s.Member("ada1")
			addresses := map[string]string{fresh: "ada2@example.org", taken: "ada1@example.org"}
			// Each step is asked for both, the one right behind the other.
			steps := []struct {
				name, method, path string
				body               func(name, email string) sitetest.Data
			}{
				{"sign-up", "POST", "register", func(name, email string) sitetest.Data {
					return sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": email})
				}},
				{"the name again", "POST", "register", func(name, _ string) sitetest.Data {
					return sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": name + "@example.net"})
				}},
				{"the address again", "POST", "register", func(name, email string) sitetest.Data {
					return sitetest.With(sitetest.Newcomer("b"+name), sitetest.Data{"email": email})
				}},
				{"the address as a name", "POST", "register", func(_, email string) sitetest.Data {
					return sitetest.With(sitetest.Newcomer("x"), sitetest.Data{"username": email, "email": email})
				}},
				{"sign-in", "POST", "login", func(name, _ string) sitetest.Data { return sitetest.Data{"login": name, "password": sitetest.Password} }},
				{"sign-in by username", "POST", "login", func(name, _ string) sitetest.Data {
					return sitetest.Data{"username": name, "password": sitetest.Password}
				}},
				{"wrong password", "POST", "login", func(name, _ string) sitetest.Data { return sitetest.Data{"login": name, "password": "wrong"} }},
				{"sign-in by address", "POST", "login", func(_, email string) sitetest.Data {
					return sitetest.Data{"login": email, "password": sitetest.Password + "x"}
				}},
				{"resend by name", "POST", "resend-verification", func(name, _ string) sitetest.Data { return sitetest.Data{"login": name} }},
				{"resend by address", "POST", "resend-verification", func(_, email string) sitetest.Data { return sitetest.Data{"email": email} }},
				{"resend by login", "POST", "resend-verification", func(_, email string) sitetest.Data { return sitetest.Data{"login": email} }},
				{"reset by name", "POST", "send-reset-password-link", func(name, _ string) sitetest.Data { return sitetest.Data{"login": name} }},
				{"reset by address", "POST", "send-reset-password-link", func(_, email string) sitetest.Data { return sitetest.Data{"email": email} }},
				{"profile", "GET", "profile", func(string, string) sitetest.Data { return nil }},
			}
			for _, html := range []bool{false, true} {
				for _, step := range steps {
					var got [2]string
					for i, who := range []string{fresh, taken} {
						b := s.Browser()
						suffix := ""
						if html {
							b.LikeBrowser()
							suffix = "h"
						}
						body := step.body(who+suffix, addresses[who])
						res := b.Do(step.method, "/accounts/"+step.path, body)
						for i, cookie := range res.Header["Set-Cookie"] { // the browser that signed up
							if strings.HasPrefix(cookie, sitetest.SessionCookie+web.SignUpSuffix+"=") {
								res.Header["Set-Cookie"][i] = cookie[:strings.Index(cookie, "=")] + cookie[strings.Index(cookie, ";"):]
							}
						}
						text := res.Status + fmt.Sprint(res.Header) + res.Text
						if loc := res.Header.Get("Location"); loc != "" {
							page := b.Get(loc)
							text += page.Status + fmt.Sprint(page.Header) + page.Text
						}
						if id, ok := jsonField(res, "id"); ok {
							text = strings.ReplaceAll(text, id, "ID")
						}
						got[i] = strings.NewReplacer(who, "NAME", addresses[who], "ADDRESS", strings.ReplaceAll(addresses[who], "@", "%40"), "ADDRESS").Replace(text)
					}
					require.Equal(t, got[0], got[1], "%s, html %v", step.name, html)
				}
			}
			// What is stored is alike too: an account with all that was given, and the
			// administrator sees it.
			var rows [2]*store.User
			for i, who := range []string{fresh, taken} {
				u, err := s.Accounts.Lookup(t.Context(), who)
				require.NoError(t, err)
				require.Equal(t, addresses[who], u.Email)
				require.True(t, u.EmailPending && u.AwaitsVerification && !u.IsActive && u.PasswordHash != "")
				rows[i] = u
			}
			require.Equal(t, rows[0].WaitingSince, rows[1].WaitingSince)
			require.Equal(t, rows[0].WaitingFrom, rows[1].WaitingFrom)
		})
	}
}

func jsonField(a *sitetest.Answer, name string) (string, bool) {
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		return "", false
	}
	text, ok := a.JSON(&testing.T{})[name].(string)
	return text, ok
}

// Only where nobody owns the address may an administrator enable who waits for it.
func TestEnablingOneWhoWaits(t *testing.T) {
	s := sitetest.New(t)
	enable := func(name string) error {
		_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, name), account.AdminChange{IsActive: sitetest.On()})
		return err
	}
	signUp(s, "first", "ada@example.org")
	signUp(s, "second", "ada@example.org")
	signUp(s, "third", "ada@example.org")
	first := sitetest.LinkOf(s.Mail(), t)
	s.Mail()
	s.Mail()
	require.NoError(t, enable("second"))
	s.SignedIn("ada@example.org")
	require.Equal(t, "signature_invalid", problem(s, "verify-registration", first))
	err := enable("first")
	require.Equal(t, refusal.CodeEmailAlreadyRegistered, web.AsRefusal(err).Code, err)
	require.Equal(t, "not_verified", problem(s, "login", sitetest.Data{"login": "first", "password": sitetest.Password}), "nothing has changed")
	require.NoError(t, enable("second"), "twice does no harm")

	// Disabled while it waited: it never owns the address, and waits no longer.
	_, err = s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "third"), account.AdminChange{IsActive: sitetest.Off()})
	require.NoError(t, err)
	require.Equal(t, "disabled", problem(s, "login", sitetest.Data{"login": "third", "password": sitetest.Password}))
	require.Equal(t, refusal.CodeEmailAlreadyRegistered, web.AsRefusal(enable("third")).Code)
	require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "second")))
	require.NoError(t, enable("third"))
	s.SignedIn("third")
	s.SignedIn("ada@example.org")
}

// A change of address to one that others only wait for is free, and takes it.
func TestChangeToAnAddressThatOthersWaitFor(t *testing.T) {
	s := sitetest.New(t)
	signUp(s, "eve", "new@example.org")
	link := sitetest.LinkOf(s.Mail(), t)
	s.Member("ada")
	s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
	require.Equal(t, "signature_invalid", problem(s, "verify-registration", link))
	u, err := s.Accounts.Lookup(t.Context(), "new@example.org")
	require.NoError(t, err)
	require.Equal(t, "ada", u.Username)
}

// With verification off, addresses are unique at once and nobody waits; those
// who waited before still do, and can be confirmed by a reset.
func TestVerificationTurnedOffAndOn(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path)
	signUp(s, "eve", "eve@example.org")
	signUp(s, "bob", "bob@example.org")
	bobs := sitetest.LinkOf(s.Mail(), t)
	if bobs["user_id"] != sitetest.UUIDOf(t, s, "bob").String() {
		bobs = sitetest.LinkOf(s.Mail(), t)
	} else {
		s.Mail()
	}
	s.Close()
	s = sitetest.NewAt(t, path, sitetest.WithoutVerification)
	require.Equal(t, "404", fmt.Sprint(s.Browser().Post("/accounts/verify-registration", bobs).StatusCode))
	require.Equal(t, "not_verified", problem(s, "login", sitetest.Data{"login": "eve", "password": sitetest.Password}))
	signUp(s, "ada", "eve@example.org") // is nobody's, so it is hers at once
	s.SignedIn("eve@example.org")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("gus"), sitetest.Data{"email": "eve@example.org"})), 400, "email:unique")
	require.Equal(t, "200", problem(s, "send-reset-password-link", sitetest.Data{"login": "bob@example.org"}))
	require.Equal(t, "200", problem(s, "reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": sitetest.Password})))
	s.SignedIn("bob@example.org")
	s.Close()
	s = sitetest.NewAt(t, path)
	require.Equal(t, "signature_invalid", problem(s, "verify-registration", bobs))
	s.SignedIn("eve@example.org")
	signUp(s, "hal", "eve@example.org") // never confirmed, and owned all the same
	require.Equal(t, sitetest.NoticeSubject, s.Mail().Subject)
}

// A store of the version before: who waited then still can be confirmed, nobody
// is removed at once, and the row of ada's address waits as it did.
func TestAccountsOfSchema1GoOn(t *testing.T) {
	s := sitetest.NewAt(t, sitetest.OldStore(t, "schema1"))
	gus := s.Mail() // was in the outbox
	require.Equal(t, "gus@example.org", gus.To)
	for name, want := range map[string]string{"ada": "200", "fay": "200", "bob": "not_verified", "carl": "disabled", "dora": "disabled", "eve": "login_invalid"} {
		require.Equal(t, want, problem(s, "login", sitetest.Data{"login": name, "password": sitetest.Password}), name)
	}
	require.Equal(t, "200", problem(s, "login", sitetest.Data{"login": "ada@example.org", "password": sitetest.Password}))
	require.Equal(t, "200", problem(s, "resend-verification", sitetest.Data{"login": "bob@example.org"}))
	require.Equal(t, "200", problem(s, "verify-registration", sitetest.LinkOf(s.Mail(), t)))
	s.SignedIn("bob@example.org")
	require.Equal(t, "200", problem(s, "verify-registration", sitetest.LinkOf(gus, t)))
	purge(s, t, time.Hour) // gives those whose time is not known a beginning
	require.Equal(t, "unique", sitetest.FieldCodes(t, s.Browser().Problems().Post("/accounts/register", sitetest.Newcomer("eve")), "username"))
	wait(s, t, 7*sitetest.Day)
	signUp(s, "eve", "eve@example.org")
	require.Equal(t, "eve@example.org", s.Mail().To)
	require.Equal(t, "disabled", problem(s, "login", sitetest.Data{"login": "dora", "password": sitetest.Password}))
}
