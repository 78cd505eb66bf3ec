// account_privacy_test.go: nobody learns from sign-up, reset, resend or the
// change of an address whether it is somebody's, and its owner is told.

package registration

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

const noticeSubject = "Your e-mail address at example.com"

// blurred takes out of an answer what differs between any two sign-ups.
func (a *answer) blurred(t *testing.T, name string) string {
	t.Helper()
	id, _ := a.json(t)["id"].(string)
	require.Len(t, id, 36)
	return strings.ReplaceAll(strings.ReplaceAll(a.body, id, "ID"), name, "NAME")
}

var signUpMarker = regexp.MustCompile(`^registration_signup=[0-9a-f-]{36}\.\.[0-9]{10}\.[\w-]{43};`)

func TestSignUpDoesNotTellWhoHasAnAccount(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	for _, html := range []bool{false, true} {
		b := s.browser()
		if html {
			b.likeBrowser()
		}
		fresh := b.post("/accounts/register", newcomer("bob"+map[bool]string{true: "h"}[html]))
		s.mail()
		var next *answer
		if html {
			next = b.follow(fresh)
		}
		takenBody := with(newcomer("eve"+map[bool]string{true: "h"}[html]), data{"email": "ADA@example.org"})
		taken := b.post("/accounts/register", takenBody)
		require.Equal(t, map[bool]int{false: http.StatusCreated, true: http.StatusSeeOther}[html], taken.StatusCode)
		fresh.Header.Del("Content-Length") // the names differ in length
		taken.Header.Del("Content-Length")
		for _, res := range []*answer{fresh, taken} { // each names the address that was typed
			for i, c := range res.Header["Set-Cookie"] {
				c = strings.NewReplacer("bobh%40", "X%40", "ADA%40", "X%40").Replace(c)
				res.Header["Set-Cookie"][i] = signUpMarker.ReplaceAllString(c, "registration_signup=ID..TIME.SIGNATURE;")
			}
		}
		require.Equal(t, fresh.Header, taken.Header)
		if html {
			require.Contains(t, next.body, "bobh@example.org")
			require.Equal(t, strings.ReplaceAll(next.body, "bobh@example.org", "X"), strings.ReplaceAll(b.follow(taken).body, "ADA@example.org", "X"))
			s.noMail() // within the hour
			continue
		}
		require.Equal(t, strings.ReplaceAll(fresh.blurred(t, "bob"), "NAME@", "ADA@"), taken.blurred(t, "eve"))
		m := s.mail()
		require.Equal(t, "ada@example.org", m.To, "as its owner wrote it")
		require.Equal(t, noticeSubject, m.Subject)
		require.NotContains(t, m.Text+m.HTML, "eve", "nothing that the stranger typed")
		require.NotContains(t, m.Text, "signature")
	}
	// The second look is no better.
	require.Equal(t, http.StatusBadRequest, s.browser().post("/accounts/register", with(newcomer("eve"), data{"email": "x@example.org"})).StatusCode, "as after a fresh one")
	for _, body := range []data{{"login": "eve"}, {"login": "bob"}} {
		require.Equal(t, http.StatusBadRequest, s.browser().post("/accounts/login", with(body, data{"password": testPassword})).StatusCode)
		require.Equal(t, http.StatusOK, s.browser().post("/accounts/resend-verification", body).StatusCode)
		require.Equal(t, http.StatusOK, s.browser().post("/accounts/send-reset-password-link", body).StatusCode)
	}
	require.Equal(t, "bob@example.org", s.mail().To)
	require.Equal(t, "bob@example.org", s.mail().To)
	s.noMail()
	s.signedIn("ada")
}

func TestNoticesComeOnceAnHour(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := newSiteAt(t, path)
	s.member("ada")
	s.member("bob")
	signUp := func(name string) {
		t.Helper()
		res := s.browser().post("/accounts/register", with(newcomer(name), data{"email": "ada@example.org"}))
		require.Equal(t, http.StatusCreated, res.StatusCode)
	}
	signUp("eve1")
	require.Equal(t, noticeSubject, s.mail().Subject)
	signUp("eve2")
	require.Equal(t, http.StatusOK, s.signedIn("bob").post("/accounts/register-email", data{"email": "ada@example.org"}).StatusCode)
	s.noMail()
	s.close()
	s = newSiteAt(t, path)
	signUp("eve3")
	s.noMail()
	s.travel(time.Hour + time.Second)
	signUp("eve4")
	require.Equal(t, noticeSubject, s.mail().Subject)
}

// What could not be queued is owed.
func TestNoticeOfAFailedSignUp(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	n := s.accounts.Notice(store.MailEmailInUse, "ada@example.org")
	require.True(t, n.Due())
	require.True(t, n.Due(), "decided once")
	require.False(t, s.accounts.Notice(store.MailEmailInUse, "ADA@example.org").Due())
	n.Failed()
	require.True(t, s.accounts.Notice(store.MailEmailInUse, "ada@example.org").Due())
}

// E-mail alone identifies: then there is no username to probe.
func TestAccountsWithoutUsernames(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.User.LoginFields = []string{"email"} })
	body := data{"email": "ada@example.org", "username": "ada", "password": testPassword, "password_confirm": testPassword}
	for range 2 {
		res := s.browser().post("/accounts/register", body)
		require.Equal(t, http.StatusCreated, res.StatusCode, res.body)
		require.NotContains(t, res.json(t), "username")
	}
	first, second := s.mail(), s.mail()
	require.Equal(t, http.StatusOK, s.browser().post("/accounts/verify-registration", linkOf(first, t)).StatusCode)
	requireError(t, s.browser().problems().post("/accounts/verify-registration", linkOf(second, t)), 400, "signature_invalid")
	b := s.browser().likeBrowser()
	require.NotContains(t, b.get("/accounts/register").body, `name="username"`)
	res := s.browser().post("/accounts/login", data{"email": "ada@example.org", "password": testPassword})
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// A username in the form of an address is the account's own, confirmed address or
// none; what others have plays no part.
func TestAddressAsUsername(t *testing.T) {
	for _, logins := range [][]string{{"username"}, {"username", "email"}} {
		s := newSite(t, loginBy(logins...))
		s.member("ada")
		for name, email := range map[string]string{"ada@example.org": "eve@example.org", "nobody@example.org": "eve@example.org", "ADA@example.org": "ada@example.org", "eve@EXAMPLE.org": "eve@example.org"} {
			res := s.browser().post("/accounts/register", with(newcomer("eve"), data{"username": name, "email": email}))
			wantFields(t, res, notA("foreign_address", "username"))
		}
		s.noMail()
		ada := s.signedIn("ada")
		wantFields(t, ada.do(http.MethodPatch, "/accounts/profile", data{"username": "eve@example.org"}), notA("foreign_address", "username"))
		require.Equal(t, http.StatusOK, ada.do(http.MethodPatch, "/accounts/profile", data{"username": "ADA@example.org"}).StatusCode)
		s.signedIn("ada@example.org")

		s = newSite(t, noVerification, loginBy(logins...))
		own := with(newcomer("bob"), data{"username": "bob@example.org"})
		require.Equal(t, http.StatusCreated, s.browser().post("/accounts/register", own).StatusCode)
		require.Equal(t, http.StatusBadRequest, s.browser().post("/accounts/register", own).StatusCode)
	}
}

// A mail that nobody gets takes the same way as one that is sent: into the same
// transaction, and off the queue in the background.
func TestDecoysTakeTheWayOfMails(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	s.realm.stop()
	for _, endpoint := range []string{"send-reset-password-link", "resend-verification"} {
		for _, login := range []string{"ada", "nobody", "ada", "nobody"} {
			require.Equal(t, http.StatusOK, s.browser().post("/accounts/"+endpoint, data{"login": login}).StatusCode)
		}
	}
	rows := map[string]int{}
	looked := errors.New("looked, and changed nothing")
	require.ErrorIs(t, s.accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for {
			due, err := tx.Mails(0, 100)
			if err != nil || len(due) == 0 {
				return cmp.Or(err, looked)
			}
			for _, m := range due { // the oldest of each recipient
				rows[string(m.Kind)+" "+strings.Split(m.To, "@")[1]]++
				require.Len(t, m.State, 32)
				if err := tx.DeleteMail(m.Seq); err != nil {
					return err
				}
			}
		}
	}), looked)
	require.Equal(t, map[string]int{"reset_password example.org": 2, "decoy example.com": 6}, rows)
	require.NoError(t, s.realm.start())
	require.Contains(t, s.mail().Text, "reset-password")
	require.Contains(t, s.mail().Text, "reset-password")
	s.noMail()
}
