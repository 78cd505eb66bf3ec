// mailing_test.go: nobody learns from sign-up, reset, resend or the
// change of an address whether it is somebody's, and its owner is told.

package account_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// blurred takes out of an answer what differs between any two sign-ups.
func blurred(a *sitetest.Answer, t *testing.T, name string) string {
	t.Helper()
	id, _ := a.JSON(t)["id"].(string)
	require.Len(t, id, 36)
	return strings.ReplaceAll(strings.ReplaceAll(a.Text, id, "ID"), name, "NAME")
}

var signUpMarker = regexp.MustCompile(`^registration_signup=[0-9a-f-]{36}\.\.[0-9]{10}\.[\w-]{43};`)

func TestSignUpDoesNotTellWhoHasAnAccount(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	for _, html := range []bool{false, true} {
		b := s.Browser()
		if html {
			b.LikeBrowser()
		}
		fresh := b.Post("/accounts/register", sitetest.Newcomer("bob"+map[bool]string{true: "h"}[html]))
		s.Mail()
		var next *sitetest.Answer
		if html {
			next = b.Follow(fresh)
		}
		takenBody := sitetest.With(sitetest.Newcomer("eve"+map[bool]string{true: "h"}[html]), sitetest.Data{"email": "ADA@example.org"})
		taken := b.Post("/accounts/register", takenBody)
		require.Equal(t, map[bool]int{false: http.StatusCreated, true: http.StatusSeeOther}[html], taken.StatusCode)
		fresh.Header.Del("Content-Length") // the names differ in length
		taken.Header.Del("Content-Length")
		for _, res := range []*sitetest.Answer{fresh, taken} { // each names the address that was typed
			for i, c := range res.Header["Set-Cookie"] {
				c = strings.NewReplacer("bobh%40", "X%40", "ADA%40", "X%40").Replace(c)
				res.Header["Set-Cookie"][i] = signUpMarker.ReplaceAllString(c, "registration_signup=ID..TIME.SIGNATURE;")
			}
		}
		require.Equal(t, fresh.Header, taken.Header)
		if html {
			require.Contains(t, next.Text, "bobh@example.org")
			require.Equal(t, strings.ReplaceAll(next.Text, "bobh@example.org", "X"), strings.ReplaceAll(b.Follow(taken).Text, "ADA@example.org", "X"))
			s.NoMail() // within the hour
			continue
		}
		require.Equal(t, strings.ReplaceAll(blurred(fresh, t, "bob"), "NAME@", "ADA@"), blurred(taken, t, "eve"))
		m := s.Mail()
		require.Equal(t, "ada@example.org", m.To, "as its owner wrote it")
		require.Equal(t, sitetest.NoticeSubject, m.Subject)
		require.NotContains(t, m.Text+m.HTML, "eve", "nothing that the stranger typed")
		require.NotContains(t, m.Text, "signature")
	}
	// The second look is no better.
	require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"email": "x@example.org"})).StatusCode, "as after a fresh one")
	for _, body := range []sitetest.Data{{"login": "eve"}, {"login": "bob"}} {
		require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/login", sitetest.With(body, sitetest.Data{"password": sitetest.Password})).StatusCode)
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/resend-verification", body).StatusCode)
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", body).StatusCode)
	}
	require.Equal(t, "bob@example.org", s.Mail().To)
	require.Equal(t, "bob@example.org", s.Mail().To)
	s.NoMail()
	s.SignedIn("ada")
}

func TestNoticesComeOnceAnHour(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path)
	s.Member("ada")
	s.Member("bob")
	signUp := func(name string) {
		t.Helper()
		res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": "ada@example.org"}))
		require.Equal(t, http.StatusCreated, res.StatusCode)
	}
	signUp("eve1")
	require.Equal(t, sitetest.NoticeSubject, s.Mail().Subject)
	signUp("eve2")
	require.Equal(t, http.StatusOK, s.SignedIn("bob").Post("/accounts/register-email", sitetest.Data{"email": "ada@example.org"}).StatusCode)
	s.NoMail()
	s.Close()
	s = sitetest.NewAt(t, path)
	signUp("eve3")
	s.NoMail()
	s.Travel(time.Hour + time.Second)
	signUp("eve4")
	require.Equal(t, sitetest.NoticeSubject, s.Mail().Subject)
}

// What could not be queued is owed.
func TestNoticeOfAFailedSignUp(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	n := s.Accounts.Notice(store.MailEmailInUse, "ada@example.org")
	require.True(t, n.Due())
	require.True(t, n.Due(), "decided once")
	require.False(t, s.Accounts.Notice(store.MailEmailInUse, "ADA@example.org").Due())
	n.Failed()
	require.True(t, s.Accounts.Notice(store.MailEmailInUse, "ada@example.org").Due())
}

// E-mail alone identifies: then there is no username to probe.
func TestAccountsWithoutUsernames(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.User.LoginFields = []string{"email"} })
	body := sitetest.Data{"email": "ada@example.org", "username": "ada", "password": sitetest.Password, "password_confirm": sitetest.Password}
	for range 2 {
		res := s.Browser().Post("/accounts/register", body)
		require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
		require.NotContains(t, res.JSON(t), "username")
	}
	first, second := s.Mail(), s.Mail()
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(first, t)).StatusCode)
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-registration", sitetest.LinkOf(second, t)), 400, "signature_invalid")
	b := s.Browser().LikeBrowser()
	require.NotContains(t, b.Get("/accounts/register").Text, `name="username"`)
	res := s.Browser().Post("/accounts/login", sitetest.Data{"email": "ada@example.org", "password": sitetest.Password})
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// A username in the form of an address is the account's own, confirmed address or
// none; what others have plays no part.
func TestAddressAsUsername(t *testing.T) {
	for _, logins := range [][]string{{"username"}, {"username", "email"}} {
		s := sitetest.New(t, sitetest.LoginBy(logins...))
		s.Member("ada")
		for name, email := range map[string]string{"ada@example.org": "eve@example.org", "nobody@example.org": "eve@example.org", "ADA@example.org": "ada@example.org", "eve@EXAMPLE.org": "eve@example.org"} {
			res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"username": name, "email": email}))
			sitetest.WantFields(t, res, sitetest.NotA("foreign_address", "username"))
		}
		s.NoMail()
		ada := s.SignedIn("ada")
		sitetest.WantFields(t, ada.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "eve@example.org"}), sitetest.NotA("foreign_address", "username"))
		require.Equal(t, http.StatusOK, ada.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "ADA@example.org"}).StatusCode)
		s.SignedIn("ada@example.org")

		s = sitetest.New(t, sitetest.NoVerification, sitetest.LoginBy(logins...))
		own := sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"username": "bob@example.org"})
		require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", own).StatusCode)
		require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/register", own).StatusCode)
	}
}

// A mail that nobody gets takes the same way as one that is sent: into the same
// transaction, and off the queue in the background.
func TestDecoysTakeTheWayOfMails(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Realm.Stop()
	for _, endpoint := range []string{"send-reset-password-link", "resend-verification"} {
		for _, login := range []string{"ada", "nobody", "ada", "nobody"} {
			require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/"+endpoint, sitetest.Data{"login": login}).StatusCode)
		}
	}
	rows := map[string]int{}
	looked := errors.New("looked, and changed nothing")
	require.ErrorIs(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
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
	require.NoError(t, s.Realm.Start())
	require.Contains(t, s.Mail().Text, "reset-password")
	require.Contains(t, s.Mail().Text, "reset-password")
	s.NoMail()
}

// Whatever stands behind the plus sign, it is one mailbox; other kinds of mail
// reach it all the same.
func TestHardeningOneMailboxIsOne(t *testing.T) {
	require.Equal(t, "victim@example.org", account.Mailbox("Victim+a+b@Example.ORG"))
	require.Equal(t, "+a@example.org", account.Mailbox("+a@example.org"))
	require.Equal(t, "vic.tim@example.org", account.Mailbox("vic.tim@example.org"))
	require.Equal(t, "no address", account.Mailbox("no address"))
	s := sitetest.New(t, sitetest.Throttled)
	for i := range 100 {
		body := sitetest.With(sitetest.Newcomer("u"+strconv.Itoa(i)), sitetest.Data{"email": fmt.Sprintf("victim+%d@example.org", i)})
		require.Equal(t, http.StatusCreated, s.Browser().From(fmt.Sprintf("198.%d.0.1", i)).Post("/accounts/register", body).StatusCode)
	}
	require.Equal(t, 15, sitetest.Total(s.Mails()), "half of 30 an hour")
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "u99"}).StatusCode)
	require.Equal(t, 1, sitetest.Total(s.Mails()), "another kind")
}
