// hardening_leaving_test.go: who leaves with everything that an account can have: nothing of
// it is found in what is kept.

package account_test

import (
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/softkey"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A leaver has all that an account can have. traces are what of it no file may have when he is
// gone, by what it is; audited those that the record of acts has, until its time is over.
type leaver struct {
	*sitetest.Site
	id              uuid.UUID
	traces, audited map[string]string
	bob             string // the id of somebody else
	owner           *sitetest.Browser
	device          *softkey.Device
}

func newLeaver(t *testing.T) *leaver {
	provider := sitetest.NewProvider(t, "ours")
	s := sitetest.NewWithPasskeys(t, oneDay, sitetest.WithProviders(provider), sitetest.WithFields(field.Spec{Name: "motto", Type: "text"}), func(s *registration.Settings) {
		s.User.MaxEmails = 5
		s.Factors.TrustedDevice = caddy.Duration(30 * sitetest.Day)
		s.Admin = &registration.AdminSettings{Group: "admins", SecondFactor: "off"}
	})
	provider.Now = s.Accounts.Time
	l := &leaver{Site: s, traces: map[string]string{}, audited: map[string]string{}}
	must := func(res *sitetest.Answer) *sitetest.Answer {
		t.Helper()
		require.Less(t, res.StatusCode, 400, res.Text)
		return res
	}
	l.bob = s.Member("bob")
	bob := s.SignedIn("bob")
	must(bob.Post("/accounts/create-token", sitetest.Data{"name": "Calendar"}))
	s.Mail()
	l.id = uuid.MustParse(s.Member("ada-lovelace"))
	for _, name := range []string{"ada-lovelace", "bob"} {
		_, err := s.Accounts.SetGroups(t.Context(), sitetest.UUIDOf(t, s, name), []string{"admins", "choir"}, nil)
		require.NoError(t, err)
	}

	_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "work-of-ada@work.example"})
	require.NoError(t, err)

	// Names, fields and addresses, former ones too.
	b := s.SignedIn("ada-lovelace").Set("User-Agent", "Analytical-Engine/1.0").From("203.0.113.77")
	must(b.Post("/accounts/login", sitetest.Data{"login": "ada-lovelace", "password": sitetest.Password}))
	must(b.Post("/accounts/profile", sitetest.Data{"username": "countess-ada", "first_name": "Augusta", "last_name": "Byron", "motto": "Poetical Science"}))
	link := func(email string) {
		t.Helper()
		must(b.Post("/accounts/register-email", sitetest.Data{"email": email}))
		for range 20 {
			if m := s.Mail(); m.To == email {
				must(s.Browser().Post("/accounts/verify-email", sitetest.LinkOf(m, t)))
				return
			}
		}
		require.Fail(t, "no link")
	}
	link("work-of-ada@work.example")
	link("former@left.example")
	must(b.Post("/accounts/remove-email", sitetest.Data{"email": "former@left.example"}))
	must(b.Post("/accounts/register-email", sitetest.Data{"email": "asked@waits.example"}))

	// Another way in, tokens, factors.
	provider.Claims = sitetest.Data{"sub": "subject-of-ada", "preferred_username": "ada-elsewhere"}
	accept := b.Header.Get("Accept")
	must(b.Do(http.MethodGet, provider.Agree(b.Elsewhere("/accounts/link-oidc/", url.Values{"provider": {"ours"}})), nil))
	b.Header.Set("Accept", accept)
	must(b.Post("/accounts/create-token", sitetest.Data{"name": "Bernoulli numbers", "path": "/private-of-ada"}))
	enrolled := must(b.Post("/accounts/enrol-totp", sitetest.Data{})).JSON(t)
	code := func() string {
		s.Travel(time.Minute)
		code, err := hotp.GenerateCode(enrolled["secret"].(string), uint64(s.Now.Load()/int64(30*time.Second)))
		require.NoError(t, err)
		return code
	}
	must(b.Post("/accounts/confirm-totp", sitetest.Data{"code": code(), "name": "Phone of Ada"}))
	l.owner, l.device = b, s.Device()
	must(b.AddPasskey(l.device, sitetest.Data{"name": "Key of Ada"}))
	other := s.Browser().Set("User-Agent", "Difference-Engine/2.0").From("203.0.113.88")
	challenge := must(other.Post("/accounts/login", sitetest.Data{"login": "countess-ada", "password": sitetest.Password})).JSON(t)["challenge"]
	must(other.Post("/accounts/login-factor", sitetest.Data{"challenge": challenge, "totp": code(), "trust_device": true}))
	require.Equal(t, 400, s.Browser().Set("User-Agent", "Thief/3.0").From("203.0.113.99").Post("/accounts/login", sitetest.Data{"login": "countess-ada", "password": "wrong wrong"}).StatusCode)

	// What she has done to others, and others for her.
	_, _, err = s.Accounts.Invite(s.Acting(t.Context(), "countess-ada"), account.NewInvitation{Email: "guest@example.org"})
	require.NoError(t, err)
	s.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: errors.New("down")} })
	must(s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "countess-ada"}))

	u := s.Stored(l.id.String())
	require.Len(t, u.Factors, 2)
	require.NotEmpty(t, u.RecoveryCodes)
	require.Len(t, u.LinkedAccounts, 1)
	require.Len(t, u.TrustedDevices, 1)
	require.Len(t, u.FurtherEmails, 1)
	require.Len(t, u.AskedEmails, 1)
	l.traces = map[string]string{
		"the username": "countess-ada", "the former username": "ada-lovelace", "the address": "ada-lovelace@example.org", "a further address": "work-of-ada@work.example", "a former address": "former@left.example",
		"an address that was asked for": "asked@waits.example", "the first name": "Augusta", "the last name": "Byron", "a field": "Poetical Science",
		"the subject at a provider": "subject-of-ada", "the name at a provider": "ada-elsewhere", "the name of a token": "Bernoulli", "the name of an app": "Phone of Ada", "the name of a key": "Key of Ada",
		"the hash of a token": string(u.ProgramTokens[0].Hash[:]), "the same as text": u.ProgramTokens[0].Hash.Text(), "a recovery code": string(u.RecoveryCodes[0]), "a trusted browser": string(u.TrustedDevices[0].Hash[:]),
	}
	for _, f := range u.Factors {
		if len(f.CredentialID) > 0 {
			l.traces["the id of a key"] = string(f.CredentialID)
		}
		if len(f.Secret) > 0 {
			l.traces["the secret of an app"] = string(f.Secret)
		}
	}
	require.NoError(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) error {
		list, err := tx.Sessions(l.id, 10)
		require.Len(t, list, 2)
		for i, session := range list {
			l.traces["the hash of session "+string(rune('1'+i))] = string(session.Hash[:])
		}
		return err
	}))
	l.audited = map[string]string{"an address": "203.0.113.77", "another address": "203.0.113.88", "a browser": "Analytical-Engine", "another browser": "Difference-Engine", "the path of a token": "private-of-ada"}
	return l
}

// others are the records of somebody else, to be compared.
func (l *leaver) others(t *testing.T) (u *store.User, sessions []*store.Session, rows []*store.Audit, invited []string) {
	t.Helper()
	require.NoError(t, l.Accounts.Store.View(t.Context(), func(tx store.Tx) (err error) {
		if u, err = tx.User(uuid.MustParse(l.bob)); err != nil {
			return err
		}
		if sessions, err = tx.Sessions(u.ID, 10); err != nil {
			return err
		}
		page, err := tx.Audits(store.AuditQuery{Account: u.ID, Limit: 100})
		if err != nil {
			return err
		}
		list, err := tx.Invitations(uuid.Nil, 10)
		for _, i := range list {
			invited = append(invited, i.Email)
		}
		rows = page.Rows
		return err
	}))
	return u, sessions, rows, invited
}

// found are the traces that a file has, in the letters of texts and of hex.
func found(file string, traces map[string]string) (what []string) {
	low := strings.ToLower(file)
	for name, trace := range traces {
		if strings.Contains(file, trace) || strings.Contains(low, strings.ToLower(trace)) || strings.Contains(low, hex.EncodeToString([]byte(trace))) {
			what = append(what, name)
		}
	}
	return what
}

// drained waits until the queue of mail is empty.
func (l *leaver) drained(t *testing.T) {
	t.Helper()
	l.FailWith(nil)
	l.Travel(8 * time.Hour)
	require.Eventually(t, func() bool { return sitetest.QueueEmpty(l.Accounts.Store) }, sitetest.Patience, time.Millisecond)
}

func TestHardeningNothingIsLeftOfWhoLeaves(t *testing.T) {
	sitetest.Embedded(t)
	for name, way := range map[string]struct {
		leave func(t *testing.T, l *leaver)
		// audited: the record of acts has from where he came, until its time is over.
		audited bool
		invited []string
	}{
		"he leaves": {func(t *testing.T, l *leaver) {
			res := l.owner.Post("/accounts/delete-account", sitetest.Data{"passkey": l.owner.ShowPasskey(l.device)})
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			require.Zero(t, left(l.Site, t, 23*time.Hour))
			require.NotEmpty(t, found(dump(l.Site, t), l.traces))
			require.Equal(t, 1, left(l.Site, t, 2*time.Hour))
		}, false, []string{"guest@example.org"}},
		"an owner deletes": {func(t *testing.T, l *leaver) {
			require.NoError(t, l.Accounts.Delete(t.Context(), l.id))
		}, true, []string{"guest@example.org", "work-of-ada@work.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeaver(t)
			before := dump(l.Site, t)
			for _, traces := range []map[string]string{l.traces, l.audited} {
				for name := range traces {
					require.Contains(t, found(before, traces), name, "it would prove nothing")
				}
			}
			bob, sessions, rows, _ := l.others(t)
			way.leave(t, l)
			l.drained(t)
			bobNow, sessionsNow, rowsNow, invited := l.others(t)
			require.Equal(t, bob, bobNow, "others stay as they are")
			require.Equal(t, sessions, sessionsNow)
			require.Equal(t, rows, rowsNow)
			require.ElementsMatch(t, way.invited, invited)
			after := dump(l.Site, t)
			if way.audited { // the invitation is the inviter's
				delete(l.traces, "a further address")
				require.Len(t, found(after, l.audited), len(l.audited), "see SECURITY.md")
			} else {
				require.Empty(t, found(after, l.audited))
			}
			require.Empty(t, found(after, l.traces))
		})
	}
}
