// hardening_capabilities_test.go: what an account has handed out (links, cookies,
// tokens, pending changes, queued mail), each made before and tried after every
// act that may end it, and compared with the table that SECURITY.md shows.

package account_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/oidc"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// capabilitiesTable is testdata/capabilities.md: acts by column, what was handed out by row.
func capabilitiesTable(t *testing.T) (acts, names []string, cells map[[2]string]string) {
	raw, err := os.ReadFile(filepath.Join(sitetest.Root(), "testdata", "capabilities.md"))
	require.NoError(t, err)
	cells = map[[2]string]string{}
	for i, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		row := strings.Split(strings.Trim(line, "| "), " | ")
		switch i {
		case 0:
			acts = row[1:]
			continue
		case 1:
			continue
		}
		require.Len(t, row, len(acts)+1, line)
		names = append(names, row[0])
		for j, cell := range row[1:] {
			require.Contains(t, []string{"ends", "stays", "–"}, cell, line)
			cells[[2]string{row[0], acts[j]}] = cell
		}
	}
	return acts, names, cells
}

// A handOut is one cell in the making: an account, the browser that has or asked
// for what is tried, and another one of its owner's.
type handOut struct {
	*sitetest.Site
	t             *testing.T
	id            uuid.UUID
	owner, holder *sitetest.Browser
	// undo takes the account back to its first address, for the act that does.
	undo sitetest.Data
	// address is the account's.
	address string
	link    sitetest.Data
	token   string
	release func()
}

func (h *handOut) user() *store.User {
	var u *store.User
	_ = h.Accounts.View(h.t.Context(), func(tx store.Tx) (err error) { u, err = tx.User(h.id); return err })
	return u
}

// signed makes the link that a mail would have now.
func (h *handOut) signed(purpose sign.Purpose, email string) sitetest.Data {
	if purpose == sign.PurposeRegisterEmail {
		h.must(h.owner.Post("/accounts/register-email", sitetest.Data{"email": email}))
	}
	now, u := h.Accounts.Now(), h.user()
	claim := sign.Claim{Purpose: purpose, User: u.ID, Time: now, State: h.Accounts.State(purpose, u, email)}
	out := sitetest.Data{"user_id": u.ID.String(), "timestamp": strconv.FormatInt(now.Unix(), 10)}
	if purpose == sign.PurposeRegisterEmail || purpose == sign.PurposeUndoEmail {
		claim.Email, out["email"] = email, email
	}
	out["signature"] = h.Accounts.Signer.Sign(claim)
	return out
}

func (h *handOut) works(endpoint string, more sitetest.Data) bool {
	return h.Site.Browser().Post("/accounts/"+endpoint, sitetest.With(h.link, more)).StatusCode == http.StatusOK
}

func (h *handOut) must(res *sitetest.Answer) *sitetest.Answer {
	h.t.Helper()
	require.Less(h.t, res.StatusCode, 300, res.Text)
	return res
}

// hold lets no mail out until it is released: what is queued meanwhile stays queued.
func (h *handOut) hold() {
	gate, entered := make(chan struct{}), make(chan struct{}, 100)
	h.release = func() {
		select {
		case <-gate:
		default:
			close(gate)
		}
	}
	h.t.Cleanup(h.release)
	h.FailWith(func(*mail.Message) error { entered <- struct{}{}; <-gate; return nil })
	h.must(h.Site.Browser().Post("/accounts/register", sitetest.Newcomer("plug")))
	<-entered
}

// delivered lets the mail out and reports whether one with this subject came to
// the address that the account had.
func (h *handOut) delivered(subject string) bool { return h.deliveredTo(h.address, subject) }

func (h *handOut) deliveredTo(to, subject string) bool {
	h.release()
	require.Eventually(h.t, func() bool { return sitetest.QueueEmpty(h.Accounts.Store) }, sitetest.Patience, 1e6)
	found := false
	for _, sent := range []chan *mail.Message{h.Mailer.Sent, h.Mailer.Told} {
		for len(sent) > 0 {
			m := <-sent
			found = m.To == to && strings.Contains(m.Subject, subject) || found
		}
	}
	return found
}

type capability struct {
	name      string
	configure func(*registration.Settings)
	// waiting: the account is not confirmed.
	waiting bool
	make    func(*handOut)
	good    func(*handOut) bool
}

func signUpForLink(h *handOut) {
	h.holder = h.Site.Browser()
	h.must(h.holder.Post("/accounts/register", sitetest.Newcomer("ada")))
	h.link = sitetest.LinkOf(h.Mail(), h.t)
	h.id = uuid.MustParse(h.link["user_id"].(string))
}

func signInForTokens(h *handOut) string {
	h.holder = h.Site.Browser()
	body := h.must(h.holder.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})).JSON(h.t)
	h.token = body["token"].(string)
	clear(h.holder.Cookie)
	h.holder.Header.Set("Authorization", "Bearer "+h.token)
	refresh, _ := body["refresh_token"].(string)
	return refresh
}

func holderIsIn(path string) func(*handOut) bool {
	return func(h *handOut) bool { return h.holder.Get(path).StatusCode == http.StatusOK }
}

func cookieIsGood(suffix string, purpose sign.Purpose) func(*handOut) bool {
	return func(h *handOut) bool {
		u := h.user()
		if u == nil {
			return false
		}
		_, ok := h.Realm.CookieClaim(requestWithCookies(h.holder.Cookie), h.Accounts.Signer, suffix, purpose, u, web.SignUpLifetime)
		return ok
	}
}

func requestWithCookies(cookies map[string]string) *http.Request {
	req := &http.Request{Header: http.Header{}}
	for name, v := range cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: v})
	}
	return req
}

var capabilities = []capability{
	{"link that confirms the account", nil, true, signUpForLink, func(h *handOut) bool { return h.works("verify-registration", nil) }},
	{"marker of the browser that signed up", nil, true, signUpForLink, cookieIsGood(web.SignUpSuffix, sign.PurposeSignUp)},
	{"link that resets the password", nil, false, func(h *handOut) {
		h.must(h.holder.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}))
		h.link = sitetest.LinkOf(h.Mail(), h.t)
	}, func(h *handOut) bool {
		return h.works("reset-password", sitetest.Data{"password": "yet another passphrase"})
	}},
	{"pending change of address, and its link", nil, false, func(h *handOut) {
		h.must(h.holder.Post("/accounts/register-email", sitetest.Data{"email": "pending@example.org"}))
		h.link = sitetest.LinkOf(h.Mail(), h.t)
	}, func(h *handOut) bool { return h.works("verify-email", nil) }},
	{"way back to a former address", nil, false, func(h *handOut) {
		h.link = h.Move(h.holder, h.address, "elsewhere@example.org")
	}, func(h *handOut) bool { return h.works("undo-email", nil) }},
	{"link that ends a sign-in on a new device", func(s *registration.Settings) { s.Notices.NewDevice = sitetest.On() }, false, func(h *handOut) {
		h.holder = h.Site.Browser()
		h.must(h.holder.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}))
		h.link = sitetest.LinkOf(h.Mail(), h.t)
	}, func(h *handOut) bool { return h.works("end-sign-in", nil) }},
	{"session", nil, false, func(*handOut) {}, holderIsIn("/accounts/profile")},
	{"API token", sitetest.WithTokens, false, func(h *handOut) { signInForTokens(h) }, holderIsIn("/accounts/profile")},
	{"refresh token (JWT)", sitetest.WithJWT, false, func(h *handOut) {
		h.link = sitetest.Data{account.ParamRefreshToken: signInForTokens(h)}
	}, func(h *handOut) bool { return h.works("refresh-token", nil) }},
	{"access token (JWT) at the guard", sitetest.WithJWT, false, func(h *handOut) { signInForTokens(h) }, holderIsIn("/members/")},
	{"token for programs at the guard", nil, false, func(h *handOut) {
		made := h.must(h.holder.Post("/accounts/create-token", sitetest.Data{"name": "Calendar"})).JSON(h.t)
		h.link = sitetest.Data{"token": made["token"]}
	}, func(h *handOut) bool {
		b := h.Site.Browser()
		b.Header.Set("Authorization", "Bearer "+h.link["token"].(string))
		return b.Get("/members/").StatusCode == http.StatusOK
	}},
	{"device cookie", nil, false, func(*handOut) {}, cookieIsGood(web.DeviceSuffix, sign.PurposeDevice)},
	{"trusted browser (no second step)", func(s *registration.Settings) { s.Factors.TrustedDevice = caddy.Duration(24 * time.Hour) }, false, func(h *handOut) {
		body := h.must(h.owner.Post("/accounts/enrol-totp", sitetest.Data{})).JSON(h.t)
		code := func() string {
			code, err := hotp.GenerateCode(body["secret"].(string), uint64(h.Now.Load()/int64(30*time.Second)))
			require.NoError(h.t, err)
			return code
		}
		h.must(h.owner.Post("/accounts/confirm-totp", sitetest.Data{"code": code()}))
		h.Travel(time.Minute)
		h.holder = h.Site.Browser()
		challenge := h.must(h.holder.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})).JSON(h.t)["challenge"]
		h.must(h.holder.Post("/accounts/login-factor", sitetest.Data{"challenge": challenge, "totp": code(), "trust_device": true}))
	}, func(h *handOut) bool {
		u := h.user()
		client := account.Client{Trusted: []string{h.holder.Cookie["registration_trusted"]}}
		return u != nil && u.IsActive && slices.ContainsFunc(h.Accounts.TrustedDevices(u, client), func(d account.TrustedDevice) bool { return d.Current })
	}},
	{"account elsewhere that is linked", func(s *registration.Settings) {
		s.Login.OIDC = []registration.OIDCSettings{{Name: "ours", Issuer: "https://id.example.org", ClientID: "site"}}
	}, false, func(h *handOut) {
		_, err := h.Accounts.Link(h.t.Context(), h.principal(), &fromOurs, nil, account.Client{})
		require.NoError(h.t, err)
	}, func(h *handOut) bool {
		got, _, err := h.Accounts.SignInFrom(h.t.Context(), h.Accounts.Policy.Provider("ours"), &fromOurs, account.Client{}, nil)
		return err == nil && got.Grant != nil
	}},
	{"queued mail with a reset", nil, false, func(h *handOut) {
		h.hold()
		h.must(h.holder.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}))
	}, func(h *handOut) bool { return h.delivered("Set a new password") }},
	{"queued mail with a new address", nil, false, func(h *handOut) {
		h.hold()
		h.must(h.holder.Post("/accounts/register-email", sitetest.Data{"email": "pending@example.org"}))
	}, func(h *handOut) bool { return h.deliveredTo("pending@example.org", "Confirm your new email address") }},
	{"queued mail with a way back", nil, false, func(h *handOut) {
		link := h.signed(sign.PurposeRegisterEmail, "elsewhere@example.org")
		h.hold()
		h.must(h.Site.Browser().Post("/accounts/verify-email", link))
	}, func(h *handOut) bool { return h.delivered(sitetest.ChangedSubject) }},
	{"queued notice", nil, false, func(h *handOut) {
		h.hold()
		h.must(h.holder.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "lovelace"}))
	}, func(h *handOut) bool { return h.delivered("Your username") }},
}

// fromOurs is somebody who has an account elsewhere.
var fromOurs = oidc.Identity{Issuer: "https://id.example.org", Subject: "1"}

// principal is who asks in the browser of what is tried.
func (h *handOut) principal() session.Principal {
	list, err := h.Accounts.SignInsOf(h.t.Context(), h.user())
	require.NoError(h.t, err)
	return session.Principal{User: h.user(), Session: list[0]}
}

// capabilityActs are those of the table, but its own use.
var capabilityActs = map[string]func(*handOut){
	"new password": func(h *handOut) { h.owner.ChangePassword() },
	"reset by mail": func(h *handOut) {
		h.must(h.Site.Browser().Post("/accounts/reset-password", sitetest.With(h.signed(sign.PurposeResetPassword, ""), sitetest.Data{"password": sitetest.NewPassword})))
	},
	"sign-out everywhere else": func(h *handOut) { h.must(h.owner.Post("/accounts/revoke-session", sitetest.Data{"others": true})) },
	"sign-out where it is": func(h *handOut) {
		h.must(h.holder.Post("/accounts/logout", sitetest.Data{"revoke_token": h.token != ""}))
	},
	"disabling":              func(h *handOut) { h.active(false) },
	"disabling and enabling": func(h *handOut) { h.active(false); h.active(true) },
	"use of a way back": func(h *handOut) {
		h.must(h.Site.Browser().Post("/accounts/undo-email", sitetest.With(h.undo, sitetest.Data{"password": sitetest.Password})))
	},
	"change of address": func(h *handOut) {
		h.must(h.Site.Browser().Post("/accounts/verify-email", h.signed(sign.PurposeRegisterEmail, "moved@example.org")))
	},
	"deletion": func(h *handOut) { require.NoError(h.t, h.Accounts.Delete(h.t.Context(), h.id)) },
}

func (h *handOut) active(is bool) {
	_, err := h.Accounts.Administer(h.t.Context(), h.id, account.AdminChange{IsActive: &is})
	require.NoError(h.t, err)
}

func (c capability) handOut(t *testing.T, act string) *handOut {
	var configure []func(*registration.Settings)
	if c.configure != nil {
		configure = append(configure, c.configure)
	}
	h := &handOut{Site: sitetest.New(t, configure...), t: t, address: "ada@example.org"}
	if !c.waiting {
		h.Member("ada")
		h.id = sitetest.UUIDOf(t, h.Site, "ada")
		if act == "use of a way back" {
			h.undo = h.Move(h.SignedIn("ada"), h.address, "second@example.org")
			h.address = "second@example.org"
		}
		h.owner, h.holder = h.SignedIn("ada"), h.SignedIn("ada")
	}
	c.make(h)
	return h
}

func TestWhatEndsWhat(t *testing.T) {
	acts, names, table := capabilitiesTable(t)
	known := make([]string, len(capabilities))
	for i, c := range capabilities {
		known[i] = c.name
	}
	require.Equal(t, known, names)
	require.Len(t, acts, len(capabilityActs)+1)
	const ownUse = "its own use"
	for _, c := range capabilities {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.True(t, c.good(c.handOut(t, "")), "without any act it is good")
			for _, name := range acts {
				want := table[[2]string{c.name, name}]
				act, ok := capabilityActs[name]
				require.True(t, ok || name == ownUse, name)
				needsSignIn := slices.Contains([]string{"new password", "sign-out everywhere else", "sign-out where it is", "use of a way back", "change of address"}, name)
				if c.waiting && needsSignIn || strings.HasPrefix(c.name, "queued") && name == ownUse {
					require.Equal(t, "–", want, name)
					continue
				}
				h := c.handOut(t, name)
				if name == ownUse {
					require.True(t, c.good(h))
				} else {
					act(h)
				}
				require.Equal(t, want, map[bool]string{true: "stays", false: "ends"}[c.good(h)], name)
			}
		})
	}
}

// Where a link may be used more than once, it leaves the generation out, as the
// reference's do, and loading warns.
func TestLinksOfManyUses(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.ResetPassword.OneTimeUse = sitetest.Off() })
	require.Len(t, s.Logs.FilterMessageSnippet("reset_password: without one_time_use").All(), 1)
	s.Member("ada")
	b := s.SignedIn("ada")
	require.Equal(t, 200, b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	link := sitetest.LinkOf(s.Mail(), t)
	b.ChangePassword()
	for range 2 {
		require.Equal(t, 200, s.Browser().Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": sitetest.Password})).StatusCode)
	}
}

// Who sets a password keeps a budget of his own, and nobody who knew the old one does.
func TestFreshDeviceCookie(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	thief, owner := s.SignedIn("ada"), s.SignedIn("ada")
	before := owner.Cookie[sitetest.DeviceCookie]
	owner.ChangePassword()
	require.NotEqual(t, before, owner.Cookie[sitetest.DeviceCookie])
	u := s.Stored(sitetest.UUIDOf(t, s, "ada").String())
	good := func(b *sitetest.Browser) bool {
		_, ok := s.Realm.Device(requestWithCookies(b.Cookie), s.Accounts.Signer, u)
		return ok
	}
	require.True(t, good(owner))
	require.False(t, good(thief))

	reset := s.ResetPassword("ada", sitetest.Password)
	u = s.Stored(u.ID.String())
	require.True(t, good(reset))
	require.False(t, good(owner))

	owner = s.SignedIn("ada")
	stranger := s.SignedIn("ada")
	delete(stranger.Cookie, sitetest.DeviceCookie)
	require.Equal(t, 200, stranger.Post("/accounts/revoke-session", sitetest.Data{"others": true}).StatusCode)
	require.NotContains(t, stranger.Cookie, sitetest.DeviceCookie, "a device that was not known gets none")
	owner = s.SignedIn("ada")
	require.Equal(t, 200, owner.Post("/accounts/revoke-session", sitetest.Data{"others": true}).StatusCode)
	u = s.Stored(u.ID.String())
	require.True(t, good(owner), "a known one stays known")
}
