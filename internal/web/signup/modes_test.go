// modes_test.go: who can sign up: open, invite, approve, closed.

package signup_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

func mode(m account.Mode) func(*registration.Settings) {
	return func(s *registration.Settings) { s.Register.Mode = m }
}

func contact(s *registration.Settings) { s.Register.Contact = "help+us@example.com" }

const contactLink = `href="mailto:help&#43;us@example.com"`

func TestModes(t *testing.T) {
	for m, want := range map[account.Mode]struct {
		status   int
		code     refusal.Code
		page     int
		says     string
		linked   bool
		approved bool
	}{
		account.ModeOpen:    {status: http.StatusCreated, page: http.StatusOK, says: "page.register.submit", linked: true},
		account.ModeApprove: {status: http.StatusCreated, page: http.StatusOK, says: "page.register.submit", linked: true},
		account.ModeInvite:  {status: http.StatusForbidden, code: refusal.CodeInvitationRequired, page: http.StatusForbidden, says: "page.register.invitation_required", linked: true},
		account.ModeClosed:  {status: http.StatusNotFound, code: refusal.CodeNotFound, page: http.StatusNotFound, says: "page.register.closed", linked: true},
	} {
		t.Run(string(m), func(t *testing.T) {
			s := sitetest.New(t, mode(m), contact)
			res := s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
			sitetest.WantJSON(t, res, want.status)
			if want.code != "" {
				wantDetail(t, res, want.status, want.code)
			}
			b := s.Browser().LikeBrowser()
			page := b.Get("/accounts/register/")
			require.Equal(t, want.page, page.StatusCode)
			require.Contains(t, page.Text, sitetest.Words(text.Say(want.says)))
			sent := b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("bob")))
			if want.code == "" {
				require.Equal(t, http.StatusSeeOther, sent.StatusCode, sent.Text)
			} else {
				for _, p := range []*sitetest.Answer{page, sent} {
					require.Equal(t, want.page, p.StatusCode)
					require.Contains(t, p.Text, sitetest.Words(text.Say(want.says)))
					require.Contains(t, p.Text, contactLink, "whom to ask")
					require.NotContains(t, p.Text, "<form", "nothing to fill in")
				}
			}
			require.Equal(t, want.linked, strings.Contains(b.Get("/accounts/login/").Text, `href="/accounts/register/"`))
			users, _ := s.Census()
			require.Equal(t, map[bool]int{true: 2, false: 0}[want.code == ""], users)
		})
	}
}

// enabled off is mode closed, and either may be written alone.
func TestModeAndEnabledAgree(t *testing.T) {
	for name, c := range map[string]struct {
		enabled *bool
		mode    account.Mode
		want    account.Mode
		wrong   string
	}{
		"neither":        {want: account.ModeOpen},
		"off":            {enabled: sitetest.Off(), want: account.ModeClosed},
		"on":             {enabled: sitetest.On(), want: account.ModeOpen},
		"on and invite":  {enabled: sitetest.On(), mode: account.ModeInvite, want: account.ModeInvite},
		"off and closed": {enabled: sitetest.Off(), mode: account.ModeClosed, want: account.ModeClosed},
		"closed":         {mode: account.ModeClosed, want: account.ModeClosed},
		"off and open":   {enabled: sitetest.Off(), mode: account.ModeOpen, wrong: "register.mode: open contradicts enabled"},
		"on and closed":  {enabled: sitetest.On(), mode: account.ModeClosed, wrong: "register.mode: closed contradicts enabled"},
		"another word":   {mode: "invited", wrong: `register.mode: "invited" is not one of open, invite, approve, closed`},
	} {
		t.Run(name, func(t *testing.T) {
			set := func(s *registration.Settings) { s.Register.Enabled, s.Register.Mode = c.enabled, c.mode }
			if c.wrong != "" {
				_, err := sitetest.Open(t.TempDir()+"/r.db", set)
				require.ErrorContains(t, err, c.wrong)
				return
			}
			s := sitetest.New(t, set)
			require.Equal(t, c.want, s.Accounts.Policy.Register.Mode)
			require.Equal(t, c.want != account.ModeClosed, s.Accounts.Policy.Register.Enabled)
		})
	}
}

// An account of mode approve is confirmed first, and then waits.
func TestApproveWaitsAfterTheConfirmation(t *testing.T) {
	s := sitetest.New(t, mode(account.ModeApprove), contact, func(s *registration.Settings) { s.Register.AutoLogin = sitetest.On() })
	b := s.Browser().Problems()
	id := b.Post("/accounts/register", sitetest.Newcomer("ada")).JSON(t)["id"].(string)
	link := sitetest.LinkOf(s.Mail(), t)
	signIn := func(login string) *sitetest.Answer {
		return b.Post("/accounts/login", sitetest.Data{"login": login, "password": sitetest.Password})
	}
	require.Equal(t, account.StateUnconfirmed, account.StateOf(s.Stored(id)))
	sitetest.RequireError(t, signIn("ada"), 400, "not_verified")

	res := b.Post("/accounts/verify-registration", link)
	require.Equal(t, sitetest.Words(text.Say("detail.account_confirmed_awaits_approval")), res.JSON(t)["detail"])
	for _, c := range res.Cookies() {
		require.NotEqual(t, sitetest.SessionCookie, c.Name, "auto_login signs nobody in who waits")
	}
	u := s.Stored(id)
	require.Equal(t, account.StateWaiting, account.StateOf(u))
	require.True(t, u.EmailVerified)
	require.False(t, u.IsActive)
	sitetest.RequireError(t, signIn("ada"), 400, "approval_pending")
	sitetest.RequireError(t, signIn("ada@example.org"), 400, "approval_pending") // which is nobody else's now
	sitetest.RequireError(t, b.Post("/accounts/login", sitetest.Data{"login": "ada@example.org", "password": "wrong"}), 400, "login_invalid")
	wrong := b.Post("/accounts/login", sitetest.WrongSignIn("ada"))
	sitetest.RequireError(t, wrong, 400, "login_invalid")

	page := s.Browser().LikeBrowser()
	require.Contains(t, page.Get("/accounts/verify-registration/?"+sitetest.FormOf(link).Encode()).Text, sitetest.Words(text.Say("detail.account_confirmed_awaits_approval")), "opened again")
	refused := page.Post("/accounts/login/", sitetest.FormOf(sitetest.Data{"login": "ada", "password": sitetest.Password}))
	require.Contains(t, refused.Text, sitetest.Message(refusal.CodeApprovalPending, nil))
	require.Contains(t, refused.Text, contactLink)
	require.Contains(t, page.Post("/accounts/login/", sitetest.FormOf(sitetest.Data{"login": "ada@example.org", "password": sitetest.Password})).Text, contactLink)

	// A forgotten password can be set meanwhile; it lets nobody in.
	s.ResetPassword("ada", sitetest.NewPassword)
	require.Equal(t, account.StateWaiting, account.StateOf(s.Stored(id)))
	sitetest.RequireError(t, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.NewPassword}), 400, "approval_pending")

	// Which an administrator ends, either way.
	_, err := s.Accounts.Administer(t.Context(), u.ID, account.AdminChange{IsActive: sitetest.On()})
	require.NoError(t, err)
	require.Equal(t, account.StateActive, account.StateOf(s.Stored(id)))
	require.Equal(t, 200, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.NewPassword}).StatusCode)
	s.Set(id, func(u *store.User) { u.IsActive, u.AwaitsApproval = false, true })
	_, err = s.Accounts.Administer(t.Context(), u.ID, account.AdminChange{IsActive: sitetest.Off()})
	require.NoError(t, err)
	require.Equal(t, account.StateDisabled, account.StateOf(s.Stored(id)))
}

// Who confirms is not told that his account is ready, where it waits then.
func TestApproveTellsSoBeforeTheConfirmation(t *testing.T) {
	for m, says := range map[account.Mode]string{account.ModeOpen: "page.verify_registration.intro", account.ModeApprove: "page.verify_registration.intro_approve"} {
		s := sitetest.New(t, mode(m))
		b := s.Browser().LikeBrowser()
		b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada")))
		link := sitetest.LinkOf(s.Mail(), t)
		require.Contains(t, b.Get("/accounts/verify-registration/?"+sitetest.FormOf(link).Encode()).Text, sitetest.Words(text.Say(says)))
	}
}

// A reset by mail confirms an account, and approves none.
func TestApproveAndTheWaysRoundTheConfirmation(t *testing.T) {
	s := sitetest.New(t, mode(account.ModeApprove))
	b := s.Browser().Problems()
	id := b.Post("/accounts/register", sitetest.Newcomer("ada")).JSON(t)["id"].(string)
	s.Mail()
	s.ResetPassword("ada", sitetest.NewPassword)
	require.Equal(t, account.StateWaiting, account.StateOf(s.Stored(id)))
	// Nor does an address that the owner sets.
	two := b.Post("/accounts/register", sitetest.Newcomer("bob")).JSON(t)["id"].(string)
	_, err := s.Accounts.SetEmail(t.Context(), sitetest.UUIDOf(t, s, "bob"), "bobby@example.org", account.Client{})
	require.NoError(t, err)
	require.Equal(t, account.StateWaiting, account.StateOf(s.Stored(two)))

	plain := sitetest.New(t, mode(account.ModeApprove), sitetest.NoVerification)
	p := plain.Browser().Problems()
	id = p.Post("/accounts/register", sitetest.Newcomer("cyd")).JSON(t)["id"].(string)
	require.Equal(t, account.StateWaiting, account.StateOf(plain.Stored(id)))
	sitetest.RequireError(t, p.Post("/accounts/login", sitetest.Data{"login": "cyd", "password": sitetest.Password}), 400, "approval_pending")
	sitetest.RequireError(t, p.Post("/accounts/login", sitetest.Data{"login": "cyd@example.org", "password": sitetest.Password}), 400, "login_invalid") // it was never confirmed
}

func TestContactIsAnAddressOrAURL(t *testing.T) {
	for contact, want := range map[string]string{"help@example.com": "mailto:help@example.com", "https://example.com/help?a=b#c": "https://example.com/help?a=b#c", "": ""} {
		s := sitetest.New(t, func(s *registration.Settings) { s.Register.Contact = contact })
		require.Equal(t, want, s.Realm.Options.Contact)
	}
	for _, contact := range []string{"help", "javascript:alert(1)", "javascript://x%0aalert(1)", "ftp://example.com", "Help <help@example.com>"} {
		_, err := sitetest.Open(t.TempDir()+"/r.db", func(s *registration.Settings) { s.Register.Contact = contact })
		require.ErrorContains(t, err, "register.contact", contact)
	}
}

// Each mode with and without each of what a sign-up can be asked for besides.
func TestModesCodeReasonAndDomainsTogether(t *testing.T) {
	for _, m := range []account.Mode{account.ModeOpen, account.ModeApprove, account.ModeInvite, account.ModeClosed} {
		for _, code := range []string{"", "Sesame"} {
			for _, reason := range account.Reasons {
				for _, allow := range [][]string{nil, {"example.org"}, {"example.net", "*.example.org"}} {
					s := sitetest.New(t, mode(m), func(s *registration.Settings) {
						s.Register.Code, s.Register.Reason, s.Register.AllowDomains = code, reason, allow
					})
					b := s.Browser().Problems()
					switch m {
					case account.ModeInvite:
						sitetest.RequireError(t, b.Post("/accounts/register", sitetest.Newcomer("ada")), 403, "invitation_required")
						continue
					case account.ModeClosed:
						sitetest.RequireError(t, b.Post("/accounts/register", sitetest.Newcomer("ada")), 404, "not_found")
						continue
					case account.ModeOpen, account.ModeApprove:
					}
					var want []string
					good := sitetest.Newcomer("ada")
					if len(allow) == 2 {
						want, good["email"] = append(want, "email:domain_not_allowed"), "ada@dept.EXAMPLE.org"
					}
					if code != "" {
						want, good["code"] = append(want, "code:required"), " Sesame "
					}
					if reason != account.ReasonOff {
						good["reason"] = "<b>Please</b>\x1b[2J\u202e\nTwo lines."
					}
					if reason == account.ReasonRequired {
						want = append(want, "reason:required")
					}
					if len(want) > 0 { // all in one round
						sitetest.RequireError(t, b.Post("/accounts/register", sitetest.Newcomer("ada")), 400, strings.Join(want, " "))
					}
					res := b.Post("/accounts/register", good)
					require.Equal(t, 201, res.StatusCode, res.Text)
					kept := s.Stored(res.JSON(t)["id"].(string)).Reason
					require.Equal(t, map[bool]string{true: "<b>Please</b>[2J\nTwo lines.", false: ""}[reason != account.ReasonOff], kept)
					page := s.Browser().LikeBrowser().Get("/accounts/register/").Text
					require.Equal(t, code != "", strings.Contains(page, `name="code"`))
					require.Equal(t, reason != account.ReasonOff, strings.Contains(page, `<textarea id="reason"`))
				}
			}
		}
	}
}

// Whether an address that is not let in is somebody's is not told, and the lists hold
// when it changes, too.
func TestDomainsTellNothingAndHoldForChanges(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path)
	s.Member("ada")
	b := s.SignedIn("ada")
	require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "ada@example.net"}).StatusCode)
	link := sitetest.LinkOf(s.Mail(), t)
	s.Close()

	s = sitetest.NewAt(t, path, func(s *registration.Settings) {
		s.Register.DenyDomains = []string{"example.org", "example.net", "*.example.com", "bücher.example"}
	})
	b = s.SignedIn("ada").Problems() // who is in stays in
	for _, email := range []string{"ada@example.org", "nobody@example.org", "x@EXAMPLE.net", "x@a.b.example.com", "x@xn--bcher-kva.example", "x@Bücher.example"} {
		body := sitetest.Newcomer("other")
		body["email"] = email
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", body), 400, "email:domain_not_allowed")
		sitetest.RequireError(t, b.Post("/accounts/register-email", sitetest.Data{"email": email}), 400, "email:domain_not_allowed")
	}
	sitetest.RequireError(t, b.Post("/accounts/verify-email", link), 400, "domain_not_allowed")
	require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "ada@example.com"}).StatusCode)
}

// Who has signed up and not confirmed yet comes in as who signs up today: where the owner
// approves by now he waits for that, and a domain that is refused by now is refused.
func TestTheRulesOfTodayHoldAtTheConfirmation(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path)
	id, links := map[string]string{}, map[string]sitetest.Data{}
	for _, name := range []string{"ada", "bob", "eve", "dan"} {
		body := sitetest.Newcomer(name)
		if name == "eve" || name == "dan" {
			body["email"] = name + "@example.net"
		}
		id[name] = s.Browser().Post("/accounts/register", body).JSON(t)["id"].(string)
		links[name] = sitetest.LinkOf(s.Mail(), t)
	}
	s.Close()

	s = sitetest.NewAt(t, path, mode(account.ModeApprove), func(s *registration.Settings) { s.Register.DenyDomains = []string{"example.net"} })
	b := s.Browser().Problems()
	res := b.Post("/accounts/verify-registration", links["ada"])
	require.Equal(t, sitetest.Words(text.Say("detail.account_confirmed_awaits_approval")), res.JSON(t)["detail"])
	s.ResetPassword("bob", sitetest.NewPassword)
	for _, name := range []string{"ada", "bob"} {
		require.Equal(t, account.StateWaiting, account.StateOf(s.Stored(id[name])), name)
	}
	sitetest.RequireError(t, b.Post("/accounts/verify-registration", links["eve"]), 400, "domain_not_allowed")
	require.Equal(t, 200, b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "dan"}).StatusCode)
	sitetest.RequireError(t, b.Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": sitetest.NewPassword, "password_confirm": sitetest.NewPassword})), 400, "domain_not_allowed")
	page := s.Browser().LikeBrowser().Post("/accounts/verify-registration/", sitetest.FormOf(links["eve"]))
	require.Equal(t, 400, page.StatusCode)
	for _, name := range []string{"eve", "dan"} {
		require.Equal(t, account.StateUnconfirmed, account.StateOf(s.Stored(id[name])), name)
	}
}

// Each code costs, whatever else is wrong with the form; and where none is left, a
// right one looks as a wrong one does.
func TestCodesAreThrottled(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Register.Code, s.Throttle = "Sesame", registration.ThrottleSettings{}
	})
	b := s.Browser().Problems()
	tries := 0
	for ; tries < 100; tries++ {
		res := b.Post("/accounts/register", sitetest.Data{"code": "guess"})
		if res.StatusCode == http.StatusTooManyRequests {
			break
		}
		require.Contains(t, res.Text, "signup_code_invalid")
	}
	require.LessOrEqual(t, tries, s.Accounts.Policy.Limits[account.ThrottleRegister].Events)
	require.Equal(t, http.StatusTooManyRequests, b.Post("/accounts/register", sitetest.Data{"code": "Sesame"}).StatusCode)
}

// Each refusal of the ways to sign up is in the document of the endpoint that gives it, and
// only there: every answer of every test is held against that, here they are all.
func TestTheDocumentHasTheCodesOfSignUp(t *testing.T) {
	asks := func(s *registration.Settings) {
		s.Register.AllowDomains, s.Register.Code, s.Register.Reason = []string{"example.org"}, "sesame", account.ReasonRequired
		s.RegisterEmail.Verification, s.User.EditableFields = sitetest.Off(), []string{"first_name", "email"}
		withTerms(s)
	}
	s := sitetest.New(t, asks)
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Password: sitetest.Password})
	require.NoError(t, err)
	b := s.Browser().Problems()
	body := sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"email": "bob@example.net", "code": "open", "reason": "", "terms": "0"})
	sitetest.RequireError(t, b.Post("/accounts/register", body), 400, "email:domain_not_allowed code:signup_code_invalid reason:blank terms:terms_required")
	sitetest.RequireError(t, b.Post("/accounts/register", sitetest.With(body, sitetest.Data{"invitation": "none"})), 403, "invitation_invalid")
	challenge := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)["challenge"]
	require.Equal(t, 200, b.Post("/accounts/login-factor", sitetest.Data{"challenge": challenge, "terms": version}).StatusCode)
	sitetest.RequireError(t, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"email": "ada@example.net"}), 400, "email:domain_not_allowed")
	sitetest.RequireError(t, b.Post("/accounts/register-email", sitetest.Data{"email": "ada@example.net"}), 400, "email:domain_not_allowed")

	names := func(s *sitetest.Site) map[string]string {
		of := map[string]string{}
		for name, e := range s.Realm.Endpoints {
			for _, code := range e.Doc.Codes {
				of[string(code)] += name + " "
			}
		}
		return of
	}
	for code, want := range map[string][]string{
		"domain_not_allowed": {"register", "oidc-register", "register-email", "verify-email", "correct-email", "profile", "verify-registration", "reset-password", "set-password"}, "signup_code_invalid": {"register", "oidc-register"}, "terms_required": {"register", "login-factor", "oidc-register"}, "challenge_expired": {"login-factor", "enrol-totp", "confirm-totp", "passkey-options", "add-passkey", "passkey-login-options"},
	} {
		require.ElementsMatch(t, want, strings.Fields(names(s)[code]), code)
	}
	plain := names(sitetest.New(t))
	require.Empty(t, plain["domain_not_allowed"]+plain["signup_code_invalid"])
	require.NotContains(t, plain["terms_required"], "register")
	require.Equal(t, []string{"oidc-register", "register"}, slices.Sorted(slices.Values(strings.Fields(names(sitetest.New(t, mode(account.ModeInvite)))["invitation_required"]))))
}

// Who has no address of the right domain can ask whoever decides.
func TestRefusedDomainLeadsToTheContact(t *testing.T) {
	s := sitetest.New(t, contact, func(s *registration.Settings) { s.Register.AllowDomains = []string{"example.net"} })
	page := s.Browser().LikeBrowser().Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada")))
	require.Equal(t, http.StatusBadRequest, page.StatusCode)
	require.Contains(t, page.Text, contactLink)
}
