// invite_test.go: invitations: who can sign up by one, how often, and with which
// address; what a stranger learns of them.

package account_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

func invited(s *sitetest.Site, wanted account.NewInvitation) (i *store.Invitation, token string) {
	s.T.Helper()
	i, link, err := s.Accounts.Invite(s.T.Context(), wanted)
	require.NoError(s.T, err)
	u, err := url.Parse(link)
	require.NoError(s.T, err)
	require.True(s.T, strings.HasSuffix(u.Path, "/accounts/register/"), link)
	return i, u.Query().Get("invitation")
}

func signUpWith(s *sitetest.Site, name, token string, changes sitetest.Data) *sitetest.Answer {
	return s.Browser().Post("/accounts/register", sitetest.With(sitetest.With(sitetest.Newcomer(name), sitetest.Data{"invitation": token}), changes))
}

func requireUninvited(t *testing.T, res *sitetest.Answer) {
	t.Helper()
	require.Equal(t, http.StatusForbidden, res.StatusCode, res.Text)
	require.Equal(t, sitetest.Data{"detail": sitetest.Message(refusal.CodeInvitationInvalid, nil)}, res.JSON(t))
}

func TestInvitationWithAnAddressConfirmsIt(t *testing.T) {
	s := sitetest.New(t)
	i, token := invited(s, account.NewInvitation{Email: "ada@example.org", Groups: []string{"members"}, Note: "choir"})
	require.Equal(t, s.Accounts.Time().Add(7*24*time.Hour), i.Expires)
	require.Equal(t, 1, i.Uses)
	requireUninvited(t, signUpWith(s, "mallory", token, nil))
	res := signUpWith(s, "ada", token, sitetest.Data{"email": nil})
	sitetest.WantJSON(t, res, http.StatusCreated)
	u := s.Stored(res.JSON(t)["id"].(string))
	require.True(t, u.IsActive && u.EmailVerified && !u.AwaitsVerification && !u.EmailPending)
	require.Equal(t, "ada@example.org", u.Email)
	require.Equal(t, []string{"members"}, u.Groups)
	s.NoMail()
	s.SignedIn("ada")
	requireUninvited(t, signUpWith(s, "bob", token, sitetest.Data{"email": "ada@example.org"}))
}

func TestInvitationForAnybody(t *testing.T) {
	s := sitetest.New(t)
	_, token := invited(s, account.NewInvitation{Groups: []string{"members"}, Uses: 2})
	for _, name := range []string{"ada", "bob"} {
		res := signUpWith(s, name, token, nil)
		sitetest.WantJSON(t, res, http.StatusCreated)
		u := s.Stored(res.JSON(t)["id"].(string))
		require.True(t, u.AwaitsVerification && !u.IsActive, "its address is confirmed as any")
		require.Equal(t, []string{"members"}, u.Groups)
		require.Equal(t, name+"@example.org", s.Mail().To)
	}
	requireUninvited(t, signUpWith(s, "cleo", token, nil))
}

// A refused sign-up uses nothing up.
func TestRefusedSignUpKeepsItsInvitation(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	_, token := invited(s, account.NewInvitation{})
	sitetest.WantFields(t, signUpWith(s, "ada", token, nil), refusal.FieldError{Field: "username", Code: refusal.CodeUnique})
	require.Equal(t, http.StatusBadRequest, signUpWith(s, "bob", token, sitetest.Data{"password": "short"}).StatusCode)
	sitetest.WantJSON(t, signUpWith(s, "bob", token, nil), http.StatusCreated)
}

func TestInvitationsThatAreNoGood(t *testing.T) {
	s := sitetest.New(t)
	i, revoked := invited(s, account.NewInvitation{})
	require.NoError(t, s.Accounts.RevokeInvitation(t.Context(), i.ID))
	require.Error(t, s.Accounts.RevokeInvitation(t.Context(), i.ID))
	_, expired := invited(s, account.NewInvitation{Lifetime: time.Hour})
	_, good := invited(s, account.NewInvitation{})
	s.Travel(time.Hour)
	for name, token := range map[string]any{
		"revoked": revoked, "expired": expired, "unknown": strings.Repeat("A", 43), "its hash": i.Hash.Text(), "its id": i.ID.String(),
		"cut": good[:42], "longer": good + "A", "long": strings.Repeat("x", 60_000), "a number": 7, "a list": []string{good}, "NUL": "\x00", "another case": strings.ToUpper(good),
	} {
		t.Run(name, func(t *testing.T) {
			requireUninvited(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"invitation": token})))
		})
	}
	users, _ := s.Census()
	require.Zero(t, users)
	sitetest.WantJSON(t, signUpWith(s, "ada", good, nil), http.StatusCreated)
	sitetest.WantJSON(t, signUpWith(s, "bob", " ", nil), http.StatusCreated)
}

// Of a hundred at once, one gets in by an invitation that is good once.
func TestInvitationIsUsedOnce(t *testing.T) {
	s := sitetest.New(t)
	_, token := invited(s, account.NewInvitation{Groups: []string{"members"}})
	got := sitetest.Race(func(i int) int {
		return signUpWith(s, "racer"+string(rune('a'+i%26))+string(rune('a'+i/26)), token, nil).StatusCode
	})
	require.Equal(t, 1, got[http.StatusCreated], got)
	require.Equal(t, sitetest.Racers-1, got[http.StatusForbidden], got)
}

// Who has an invitation learns no more of others' addresses than anybody.
func TestInvitationTellsNoAddresses(t *testing.T) {
	s := sitetest.New(t)
	_, open := invited(s, account.NewInvitation{})
	_, named := invited(s, account.NewInvitation{Email: "ada@example.org", Groups: []string{"staff"}})
	id := s.Member("ada")
	_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "ADA@example.org"})
	require.Equal(t, refusal.CodeEmailAlreadyRegistered, err.(*refusal.Error).Code, "its owner may know")
	for name, token := range map[string]string{"bob": open, "cleo": named} {
		res := signUpWith(s, name, token, sitetest.Data{"email": "ada@example.org"})
		sitetest.WantJSON(t, res, http.StatusCreated)
		u := s.Stored(res.JSON(t)["id"].(string))
		require.True(t, u.AwaitsVerification && u.EmailPending && !u.IsActive && !u.EmailVerified)
	}
	require.Equal(t, "ada@example.org", s.Mail().To)
	require.True(t, s.Stored(id).IsActive)
	require.Empty(t, s.Stored(id).Groups)
}

// Guesses are counted as sign-ups that fail are.
func TestGuessesAtInvitationsAreThrottled(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	last := 0
	for n := range 1000 {
		if last = signUpWith(s, "guess", strings.Repeat("A", 40)+string(rune('a'+n%26))+"xx", nil).StatusCode; last != http.StatusForbidden {
			break
		}
	}
	require.Equal(t, http.StatusTooManyRequests, last)
}

func TestWrongInvitationsAreNotMade(t *testing.T) {
	s := sitetest.New(t)
	for name, test := range map[string]struct {
		wanted account.NewInvitation
		field  string
	}{
		"address": {account.NewInvitation{Email: "ada"}, "email"}, "group": {account.NewInvitation{Groups: []string{"a b"}}, "groups"},
		"uses": {account.NewInvitation{Uses: -1}, "uses"}, "many uses": {account.NewInvitation{Uses: 1e9}, "uses"},
		"many uses of one address": {account.NewInvitation{Email: "ada@example.org", Uses: 2}, "uses"},
		"note":                     {account.NewInvitation{Note: strings.Repeat("x", 501)}, "note"},
		"past":                     {account.NewInvitation{Lifetime: -time.Hour}, "expires"}, "for ever": {account.NewInvitation{Lifetime: 9e18}, "expires"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := s.Accounts.Invite(t.Context(), test.wanted)
			require.Contains(t, refusedFields(t, err), test.field)
		})
	}
}

func TestInvitationsAreForgottenWithTheirTime(t *testing.T) {
	s := sitetest.New(t)
	invited(s, account.NewInvitation{Lifetime: time.Hour})
	kept, _ := invited(s, account.NewInvitation{})
	s.Travel(time.Hour)
	require.NoError(t, account.SweepInvitations(t.Context(), &outbox.Courier{Now: s.Accounts.Now}, s.Accounts.Store))
	list, err := s.Accounts.Invitations(t.Context(), [16]byte{}, 10)
	require.NoError(t, err)
	require.Equal(t, []*store.Invitation{kept}, list)
}

func TestInvitationPage(t *testing.T) {
	s := sitetest.New(t)
	_, token := invited(s, account.NewInvitation{Email: "ada@example.org"})
	b := s.Browser().LikeBrowser()
	page := b.Get("/accounts/register/?invitation=" + token)
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, `<input type="hidden" name="invitation" value="`+token+`">`)
	require.Contains(t, page.Text, `value="ada@example.org"`)
	require.Equal(t, "strict-origin", page.Header.Get("Referrer-Policy"))
	form := sitetest.FormOf(sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"invitation": token}))
	form.Set("email", "mallory@example.org")
	wrong := b.Post("/accounts/register/", form)
	require.Equal(t, http.StatusBadRequest, wrong.StatusCode)
	require.Contains(t, wrong.Text, "Use the address that the invitation is for.")
	require.Contains(t, wrong.Text, `value="`+token+`"`)
	form.Set("email", "ada@example.org")
	for range 2 { // a double click
		done := b.Post("/accounts/register/", form)
		require.Equal(t, http.StatusSeeOther, done.StatusCode, done.Text)
		require.NotContains(t, done.Header.Get("Location"), token)
	}
	s.Travel(2 * time.Minute)
	for _, used := range []*sitetest.Answer{b.Get("/accounts/register/?invitation=" + token), s.Browser().LikeBrowser().Post("/accounts/register/", form)} {
		require.Equal(t, http.StatusForbidden, used.StatusCode)
		require.Contains(t, used.Text, "This invitation no longer works")
		require.NotContains(t, used.Text, "<form method")
		require.NotContains(t, used.Text, token)
	}
}

func TestInvitationsByMode(t *testing.T) {
	for _, mode := range account.Modes {
		t.Run(string(mode), func(t *testing.T) {
			s := sitetest.New(t, func(s *registration.Settings) { s.Register.Mode = mode })
			i, link, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "ada@example.org"})
			require.NoError(t, err)
			_, token, _ := strings.Cut(link, "invitation=")
			refused, status := signUpWith(s, "bob", strings.Repeat("A", 43), nil), http.StatusForbidden
			if mode == account.ModeClosed {
				status = http.StatusNotFound
				require.Equal(t, status, refused.StatusCode)
			} else {
				requireUninvited(t, refused)
			}
			res := signUpWith(s, "ada", token, nil)
			sitetest.WantJSON(t, res, http.StatusCreated)
			u := s.Stored(res.JSON(t)["id"].(string))
			require.True(t, u.IsActive && !u.AwaitsApproval, "%v", i)
			require.Equal(t, status, s.Browser().LikeBrowser().Get("/accounts/register/?invitation="+token).StatusCode)
		})
	}
}

func TestMailedInvitation(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Register.Mode = account.ModeInvite })
	_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Mail: true})
	require.ErrorContains(t, err, "email required")
	for lifetime, period := range map[time.Duration]string{0: "7 days", 36 * time.Hour: "36 hours", 10 * time.Minute: "10 minutes", time.Second: "1 minute"} {
		i, link, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "ada@example.org", Mail: true, Note: "the tall one", Lifetime: lifetime})
		require.NoError(t, err)
		m := s.Mail()
		require.Equal(t, "ada@example.org", m.To)
		require.Equal(t, "You’re invited to example.com", m.Subject)
		require.Contains(t, m.Text, "\n"+link+"\n")
		require.Contains(t, m.Text, "The link works for "+period+".")
		require.NotContains(t, m.Text+m.HTML, "the tall one")
		u, err := url.Parse(link)
		require.NoError(t, err)
		token := u.Query().Get("invitation")
		require.NotContains(t, string(s.StoreFile(t)), token, "only its hash is stored")
		if lifetime == 0 {
			sitetest.WantJSON(t, signUpWith(s, "ada", token, nil), http.StatusCreated)
			s.SignedIn("ada")
			requireUninvited(t, signUpWith(s, "bob", token, nil))
			require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "ada")))
		} else {
			require.NoError(t, s.Accounts.RevokeInvitation(t.Context(), i.ID))
		}
	}
	for _, off := range []func(*registration.Settings){func(s *registration.Settings) {
		s.Register.Verification, s.ResetPassword.Enabled, s.RegisterEmail.Verification = sitetest.Off(), sitetest.Off(), sitetest.Off()
	}} {
		s := sitetest.New(t, off)
		_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "ada@example.org", Mail: true})
		require.ErrorIs(t, err, account.ErrNoMailer)
	}
}

// What can't be used any more when the server takes mail again isn't sent, and what
// can is, with a link that is good still.
func TestMailedInvitationWaitsForItsServer(t *testing.T) {
	path := t.TempDir() + "/registration.db"
	s := sitetest.NewAt(t, path)
	s.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: http.ErrAbortHandler} })
	links := map[string]string{}
	ids := map[string]uuid.UUID{}
	for _, name := range []string{"revoked", "used", "over", "good"} {
		lifetime := 7 * 24 * time.Hour
		if name == "over" {
			lifetime = time.Hour
		}
		i, link, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: name + "@example.org", Mail: true, Lifetime: lifetime})
		require.NoError(t, err)
		_, links[name], _ = strings.Cut(link, "invitation=")
		ids[name] = i.ID
	}
	require.NoError(t, s.Accounts.RevokeInvitation(t.Context(), ids["revoked"]))
	sitetest.WantJSON(t, signUpWith(s, "used", links["used"], nil), http.StatusCreated)
	s.Close()
	s = sitetest.Unopened(t, path)
	s.Travel(50 * time.Hour)
	s.Close()
	s = sitetest.NewAt(t, path)
	s.Travel(50 * time.Hour)
	m := s.Mail()
	require.Equal(t, "good@example.org", m.To)
	require.Contains(t, m.Text, links["good"])
	s.NoMail()
}

// The token is made of the secret: with another one the mail is given up, not sent with
// a link that is none; with the old one beside the new it is sent.
func TestMailedInvitationAndSecrets(t *testing.T) {
	const before, after = "the secret of before, 32 bytes long", "the secret of now, also 32 bytes long"
	s := sitetest.New(t, func(s *registration.Settings) { s.Secrets = []string{before} })
	i, link, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "ada@example.org", Mail: true})
	require.NoError(t, err)
	s.Mail()
	m := &store.Mail{Kind: store.MailInvitation, Invitation: i.ID}
	require.NoError(t, s.Accounts.View(t.Context(), func(tx store.Tx) error {
		reason, err := s.Accounts.PrepareMail(tx, m)
		require.Empty(t, reason)
		return err
	}))
	both, err := sign.NewSigner("default", []byte(after), []byte(before))
	require.NoError(t, err)
	token, until, err := account.MailedInvitation(both, m)
	require.NoError(t, err)
	require.Contains(t, link, "="+token)
	require.Equal(t, i.Expires.Unix(), until.Unix())
	other, err := sign.NewSigner("default", []byte(after))
	require.NoError(t, err)
	_, _, err = account.MailedInvitation(other, m)
	require.ErrorIs(t, err, account.ErrNoToken)
	m.State = append(m.State[:32:32], 'x')
	_, _, err = account.MailedInvitation(both, m)
	require.Error(t, err)
	_, _, err = account.MailedInvitation(both, &store.Mail{})
	require.ErrorIs(t, err, account.ErrNoToken)
}

// The use of an invitation comes back with the end of an account that nobody has
// confirmed, and of no other.
func TestUnconfirmedSignUpGivesItsInvitationBack(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(*sitetest.Site, *store.User)
		gives bool
	}{
		"never confirmed": {func(s *sitetest.Site, _ *store.User) { purged(s) }, true},
		"removed by the owner": {func(s *sitetest.Site, u *store.User) {
			require.NoError(s.T, s.Accounts.Delete(s.T.Context(), u.ID))
		}, true},
		"removed once it was confirmed": {func(s *sitetest.Site, u *store.User) {
			on := true
			_, err := s.Accounts.Administer(s.T.Context(), u.ID, account.AdminChange{IsActive: &on})
			require.NoError(s.T, err)
			require.Equal(s.T, uuid.Nil, s.Stored(u.ID.String()).Invitation)
			require.NoError(s.T, s.Accounts.Delete(s.T.Context(), u.ID))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, func(s *registration.Settings) { s.Register.Mode = account.ModeInvite })
			i, token := invited(s, account.NewInvitation{Lifetime: 30 * 24 * time.Hour})
			res := signUpWith(s, "ada", token, nil)
			sitetest.WantJSON(t, res, http.StatusCreated)
			s.Mail()
			require.Eventually(t, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
			u := s.Stored(res.JSON(t)["id"].(string))
			require.Equal(t, i.ID, u.Invitation)
			requireUninvited(t, signUpWith(s, "bob", token, nil))
			c.end(s, u)
			_, err := s.Accounts.LookupName(t.Context(), "ada")
			require.ErrorContains(t, err, "user_not_found")
			again := signUpWith(s, "bob", token, nil)
			if !c.gives {
				requireUninvited(t, again)
				return
			}
			sitetest.WantJSON(t, again, http.StatusCreated)
			requireUninvited(t, signUpWith(s, "eve", token, nil))
			// One that has been ended meanwhile is no reason to keep the account.
			require.NoError(t, s.Accounts.RevokeInvitation(t.Context(), i.ID))
			require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "bob")))
		})
	}
}

// purged lets the time of those who wait pass, in the steps of the sweep.
func purged(s *sitetest.Site) {
	s.T.Helper()
	step := 2 * account.PurgeEvery(s.Realm.Courier.Unconfirmed)
	for d := 9 * sitetest.Day; d > -step; d -= step {
		_, err := s.Realm.Resources.Purger.Purge(s.T.Context(), s.Realm.Courier)
		require.NoError(s.T, err)
		s.Travel(step)
	}
}
