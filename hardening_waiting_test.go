// hardening_waiting_test.go: an account that waits for its confirmation: who gets
// the address, and that nobody can tell whether it waits for one that is somebody's.

package registration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// addressOf signs name up with an address.
func (s *site) signUp(name, email string) *answer {
	s.t.Helper()
	res := s.browser().post("/accounts/register", with(newcomer(name), data{"email": email}))
	require.Equal(s.t, http.StatusCreated, res.StatusCode, res.body)
	return res
}

func (s *site) problem(path string, body any) string {
	s.t.Helper()
	res := s.browser().problems().post("/accounts/"+path, body)
	if res.StatusCode < 300 {
		return fmt.Sprint(res.StatusCode)
	}
	code, _ := res.json(s.t)["code"].(string)
	return code
}

// Everybody who signs up with an address that nobody has confirmed gets a mail;
// the first to confirm has it, the others' links are void as used ones are.
func TestFirstToConfirmHasTheAddress(t *testing.T) {
	s := newSite(t)
	s.signUp("thief", "ada@example.org")
	thief := s.mail()
	s.signUp("ada", "ADA@example.org")
	ada := s.mail()
	require.Equal(t, "ADA@example.org", ada.To, "a mail of her own")
	require.Equal(t, "200", s.problem("verify-registration", linkOf(ada, t)))
	require.Equal(t, "signature_invalid", s.problem("verify-registration", linkOf(thief, t)))
	page := s.browser().likeBrowser().get("/accounts/verify-registration/?" + linkInMail.FindString(thief.Text)[strings.Index(linkInMail.FindString(thief.Text), "?")+1:])
	require.Equal(t, http.StatusBadRequest, page.StatusCode)
	require.Contains(t, page.body, message(refusal.CodeSignatureInvalid, nil))
	require.Contains(t, page.body, `href="/accounts/register/`, "the account may be gone")
	s.signedIn("ada@example.org")
	require.Equal(t, "not_verified", s.problem("login", data{"login": "thief", "password": testPassword}))
	// His own mail again is the notice to her, at most one an hour.
	require.Equal(t, "200", s.problem("resend-verification", data{"login": "thief"}))
	require.Equal(t, noticeSubject, s.mail().Subject)
	require.Equal(t, "200", s.problem("send-reset-password-link", data{"login": "thief"}))
	require.Equal(t, "200", s.problem("resend-verification", data{"login": "ada@example.org"}))
	s.noMail()
	// The address is hers alone as long as she has it.
	undo := s.move(s.signedIn("ada"), "ADA@example.org", "new@example.org")
	require.Equal(t, "signature_invalid", s.problem("verify-registration", linkOf(thief, t)), "she can go back to it")
	require.Equal(t, "200", s.problem("undo-email", undo))
	require.Equal(t, "ADA@example.org", s.mail().To)
}

// By address, a reset and a second mail find the newest that waits; a reset
// confirms it, and voids the password that was chosen before the mailbox was shown.
func TestResetByAddressConfirmsTheNewest(t *testing.T) {
	for name, identify := range map[string]data{"login": {"login": "ada@example.org"}, "email": {"email": "ADA@example.org"}, "username": {"login": "second"}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.signUp("first", "ada@example.org")
			s.signUp("second", "ada@example.org")
			first := linkOf(s.mail(), t)
			s.mail()
			require.Equal(t, "200", s.problem("resend-verification", identify))
			require.Equal(t, uuidOf(t, s, "second").String(), linkOf(s.mail(), t)["user_id"])
			require.Equal(t, "200", s.problem("send-reset-password-link", identify))
			reset := linkOf(s.mail(), t)
			require.Equal(t, uuidOf(t, s, "second").String(), reset["user_id"])
			const fresh = "an even longer passphrase"
			require.Equal(t, "200", s.problem("reset-password", with(reset, data{"password": fresh})))
			require.Equal(t, "login_invalid", s.problem("login", data{"login": "second", "password": testPassword}))
			require.Equal(t, "200", s.problem("login", data{"login": "ada@example.org", "password": fresh}))
			require.Equal(t, "signature_invalid", s.problem("verify-registration", first), "the other can't any more")
			u := s.stored(uuidOf(t, s, "second").String())
			require.True(t, u.IsActive && u.EmailVerified && !u.AwaitsVerification && !u.EmailPending && u.WaitingSince.IsZero(), "%+v", u)
		})
	}
}

// A reset that was mailed to one who waits is void once the address is another's.
func TestResetOfOneWhoCameSecond(t *testing.T) {
	s := newSite(t)
	s.signUp("first", "ada@example.org")
	link := linkOf(s.mail(), t)
	s.signUp("second", "ada@example.org")
	s.mail()
	require.Equal(t, "200", s.problem("send-reset-password-link", data{"login": "second"}))
	reset := with(linkOf(s.mail(), t), data{"password": "an even longer passphrase"})
	require.Equal(t, "200", s.problem("verify-registration", link))
	require.Equal(t, "signature_invalid", s.problem("reset-password", reset))
	require.Equal(t, "not_verified", s.problem("login", data{"login": "second", "password": testPassword}))
}

// Why an account may not sign in is told to who has its name and its password,
// never by its address, and never without the password.
func TestWhyNotIsToldByUsernameOnly(t *testing.T) {
	s := newSite(t)
	s.signUp("waiting", "waiting@example.org")
	s.mail()
	s.member("disabled")
	_, err := s.accounts.Administer(t.Context(), uuidOf(t, s, "disabled"), account.AdminChange{IsActive: off()})
	require.NoError(t, err)
	nobody := s.browser().post("/accounts/login", data{"login": "nobody", "password": testPassword})
	for name, want := range map[string]string{"waiting": "not_verified", "disabled": "disabled"} {
		for _, by := range []data{{"login": name}, {"username": strings.ToUpper(name)}} {
			require.Equal(t, want, s.problem("login", with(by, data{"password": testPassword})))
			require.Equal(t, "login_invalid", s.problem("login", with(by, data{"password": "wrong"})))
		}
		for _, by := range []data{{"login": name + "@example.org"}, {"email": name + "@example.org"}} {
			res := s.browser().post("/accounts/login", with(by, data{"password": testPassword}))
			require.Equal(t, nobody.body, res.body)
			require.Equal(t, nobody.Header, res.Header)
		}
	}
}

// Each page of a refused sign-in offers to send the confirmation again, and so
// does the way to a forgotten password.
func TestRefusedSignInOffersTheConfirmation(t *testing.T) {
	const offer = `href="/accounts/resend-verification/`
	s := newSite(t)
	s.signUp("waiting", "waiting@example.org")
	s.mail()
	s.member("ada")
	b := s.browser().likeBrowser()
	for _, body := range []data{{}, {"login": "nobody", "password": "x"}, {"login": "ada", "password": "wrong"}, {"login": "waiting", "password": testPassword}} {
		res := b.post("/accounts/login", body)
		require.Equal(t, http.StatusBadRequest, res.StatusCode)
		require.Contains(t, res.body, offer)
	}
	require.NotContains(t, b.get("/accounts/login").body, offer)
	require.Contains(t, b.get("/accounts/send-reset-password-link").body, offer)
	require.Contains(t, b.follow(b.post("/accounts/send-reset-password-link", data{"login": "ada"})).body, offer)
	require.Contains(t, b.follow(b.post("/accounts/register", newcomer("bob"))).body, offer)
	s = newSite(t, withoutVerification)
	b = s.browser().likeBrowser()
	require.NotContains(t, b.post("/accounts/login", data{"login": "nobody", "password": "x"}).body, offer)
	require.NotContains(t, b.get("/accounts/send-reset-password-link").body, offer)
}

// The row that a sign-up with somebody's confirmed address leaves gives, whatever
// is asked, the same answers byte for byte as one that waits for a free address.
func TestRowOfAConfirmedAddressIsLikeOneThatWaits(t *testing.T) {
	const fresh, taken = "eve1", "eve2" // of one length
	for name, configure := range map[string]func(*Settings){
		"as it comes":    func(*Settings) {},
		"unknown told":   func(s *Settings) { s.ResetPassword.FailWhenUserNotFound = on() },
		"reset by email": func(s *Settings) { s.ResetPassword.UseEmail = on() },
		"auto-login":     func(s *Settings) { s.Register.AutoLogin = on(); s.Login.Token = on() },
		"username alone": func(s *Settings) { s.User.LoginFields = []string{"username"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, configure)
			s.member("ada1")
			addresses := map[string]string{fresh: "ada2@example.org", taken: "ada1@example.org"}
			// Each step is asked for both, the one right behind the other.
			steps := []struct {
				name, method, path string
				body               func(name, email string) data
			}{
				{"sign-up", "POST", "register", func(name, email string) data { return with(newcomer(name), data{"email": email}) }},
				{"the name again", "POST", "register", func(name, _ string) data { return with(newcomer(name), data{"email": name + "@example.net"}) }},
				{"the address again", "POST", "register", func(name, email string) data { return with(newcomer("b"+name), data{"email": email}) }},
				{"the address as a name", "POST", "register", func(_, email string) data { return with(newcomer("x"), data{"username": email, "email": email}) }},
				{"sign-in", "POST", "login", func(name, _ string) data { return data{"login": name, "password": testPassword} }},
				{"sign-in by username", "POST", "login", func(name, _ string) data { return data{"username": name, "password": testPassword} }},
				{"wrong password", "POST", "login", func(name, _ string) data { return data{"login": name, "password": "wrong"} }},
				{"sign-in by address", "POST", "login", func(_, email string) data { return data{"login": email, "password": testPassword + "x"} }},
				{"resend by name", "POST", "resend-verification", func(name, _ string) data { return data{"login": name} }},
				{"resend by address", "POST", "resend-verification", func(_, email string) data { return data{"email": email} }},
				{"resend by login", "POST", "resend-verification", func(_, email string) data { return data{"login": email} }},
				{"reset by name", "POST", "send-reset-password-link", func(name, _ string) data { return data{"login": name} }},
				{"reset by address", "POST", "send-reset-password-link", func(_, email string) data { return data{"email": email} }},
				{"profile", "GET", "profile", func(string, string) data { return nil }},
			}
			for _, html := range []bool{false, true} {
				for _, step := range steps {
					var got [2]string
					for i, who := range []string{fresh, taken} {
						b := s.browser()
						suffix := ""
						if html {
							b.likeBrowser()
							suffix = "h"
						}
						body := step.body(who+suffix, addresses[who])
						res := b.do(step.method, "/accounts/"+step.path, body)
						for i, cookie := range res.Header["Set-Cookie"] { // the browser that signed up
							if strings.HasPrefix(cookie, sessionCookie+web.SignUpSuffix+"=") {
								res.Header["Set-Cookie"][i] = cookie[:strings.Index(cookie, "=")] + cookie[strings.Index(cookie, ";"):]
							}
						}
						text := res.Status + fmt.Sprint(res.Header) + res.body
						if loc := res.Header.Get("Location"); loc != "" {
							page := b.get(loc)
							text += page.Status + fmt.Sprint(page.Header) + page.body
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
				u, err := s.accounts.Lookup(t.Context(), who)
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

func jsonField(a *answer, name string) (string, bool) {
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		return "", false
	}
	text, ok := a.json(&testing.T{})[name].(string)
	return text, ok
}

// Only where nobody owns the address may an administrator enable who waits for it.
func TestEnablingOneWhoWaits(t *testing.T) {
	s := newSite(t)
	enable := func(name string) error {
		_, err := s.accounts.Administer(t.Context(), uuidOf(t, s, name), account.AdminChange{IsActive: on()})
		return err
	}
	s.signUp("first", "ada@example.org")
	s.signUp("second", "ada@example.org")
	s.signUp("third", "ada@example.org")
	first := linkOf(s.mail(), t)
	s.mail()
	s.mail()
	require.NoError(t, enable("second"))
	s.signedIn("ada@example.org")
	require.Equal(t, "signature_invalid", s.problem("verify-registration", first))
	err := enable("first")
	require.Equal(t, refusal.CodeEmailAlreadyRegistered, web.AsRefusal(err).Code, err)
	require.Equal(t, "not_verified", s.problem("login", data{"login": "first", "password": testPassword}), "nothing has changed")
	require.NoError(t, enable("second"), "twice does no harm")

	// Disabled while it waited: it never owns the address, and waits no longer.
	_, err = s.accounts.Administer(t.Context(), uuidOf(t, s, "third"), account.AdminChange{IsActive: off()})
	require.NoError(t, err)
	require.Equal(t, "disabled", s.problem("login", data{"login": "third", "password": testPassword}))
	require.Equal(t, refusal.CodeEmailAlreadyRegistered, web.AsRefusal(enable("third")).Code)
	require.NoError(t, s.accounts.Delete(t.Context(), uuidOf(t, s, "second")))
	require.NoError(t, enable("third"))
	s.signedIn("third")
	s.signedIn("ada@example.org")
}

// A change of address to one that others only wait for is free, and takes it.
func TestChangeToAnAddressThatOthersWaitFor(t *testing.T) {
	s := newSite(t)
	s.signUp("eve", "new@example.org")
	link := linkOf(s.mail(), t)
	s.member("ada")
	s.move(s.signedIn("ada"), "ada@example.org", "new@example.org")
	require.Equal(t, "signature_invalid", s.problem("verify-registration", link))
	u, err := s.accounts.Lookup(t.Context(), "new@example.org")
	require.NoError(t, err)
	require.Equal(t, "ada", u.Username)
}

// With verification off, addresses are unique at once and nobody waits; those
// who waited before still do, and can be confirmed by a reset.
func TestVerificationTurnedOffAndOn(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := newSiteAt(t, path)
	s.signUp("eve", "eve@example.org")
	s.signUp("bob", "bob@example.org")
	bobs := linkOf(s.mail(), t)
	if bobs["user_id"] != uuidOf(t, s, "bob").String() {
		bobs = linkOf(s.mail(), t)
	} else {
		s.mail()
	}
	s.close()
	s = newSiteAt(t, path, withoutVerification)
	require.Equal(t, "404", fmt.Sprint(s.browser().post("/accounts/verify-registration", bobs).StatusCode))
	require.Equal(t, "not_verified", s.problem("login", data{"login": "eve", "password": testPassword}))
	s.signUp("ada", "eve@example.org") // is nobody's, so it is hers at once
	s.signedIn("eve@example.org")
	requireError(t, s.browser().problems().post("/accounts/register", with(newcomer("gus"), data{"email": "eve@example.org"})), 400, "email:unique")
	require.Equal(t, "200", s.problem("send-reset-password-link", data{"login": "bob@example.org"}))
	require.Equal(t, "200", s.problem("reset-password", with(linkOf(s.mail(), t), data{"password": testPassword})))
	s.signedIn("bob@example.org")
	s.close()
	s = newSiteAt(t, path)
	require.Equal(t, "signature_invalid", s.problem("verify-registration", bobs))
	s.signedIn("eve@example.org")
	s.signUp("hal", "eve@example.org") // never confirmed, and owned all the same
	require.Equal(t, noticeSubject, s.mail().Subject)
}

// A store of the version before: who waited then still can be confirmed, nobody
// is removed at once, and the row of ada's address waits as it did.
func TestAccountsOfSchema1GoOn(t *testing.T) {
	s := newSiteAt(t, oldStore(t, "schema1"))
	gus := s.mail() // was in the outbox
	require.Equal(t, "gus@example.org", gus.To)
	for name, want := range map[string]string{"ada": "200", "fay": "200", "bob": "not_verified", "carl": "disabled", "dora": "disabled", "eve": "login_invalid"} {
		require.Equal(t, want, s.problem("login", data{"login": name, "password": testPassword}), name)
	}
	require.Equal(t, "200", s.problem("login", data{"login": "ada@example.org", "password": testPassword}))
	require.Equal(t, "200", s.problem("resend-verification", data{"login": "bob@example.org"}))
	require.Equal(t, "200", s.problem("verify-registration", linkOf(s.mail(), t)))
	s.signedIn("bob@example.org")
	require.Equal(t, "200", s.problem("verify-registration", linkOf(gus, t)))
	s.purge(t, time.Hour) // gives those whose time is not known a beginning
	require.Equal(t, "unique", fieldCodes(t, s.browser().problems().post("/accounts/register", newcomer("eve")), "username"))
	s.wait(t, 7*day)
	s.signUp("eve", "eve@example.org")
	require.Equal(t, "eve@example.org", s.mail().To)
	require.Equal(t, "disabled", s.problem("login", data{"login": "dora", "password": testPassword}))
}
