// invited_test.go: what an invitation opens, in each mode and with all else that an
// owner asks of who signs up.

package signup_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

func choosy(s *registration.Settings) {
	s.Register.Code, s.Register.Reason = "sesame", account.ReasonRequired
	s.Register.AllowDomains, s.Register.DenyDomains = []string{"example.org", "*.example.org"}, []string{"bad.example.org"}
}

// inviteFor makes an invitation and returns its token.
func inviteFor(s *sitetest.Site, email string) string {
	s.T.Helper()
	_, link, err := s.Accounts.Invite(s.T.Context(), account.NewInvitation{Email: email, Groups: []string{"guests"}})
	require.NoError(s.T, err)
	u, err := url.Parse(link)
	require.NoError(s.T, err)
	return u.Query().Get("invitation")
}

// A try is one sign-up of the table.
type try struct {
	mode                             account.Mode
	choosy                           bool
	invitation, code, domain, reason string
}

// wanted is what becomes of it: the refusal's code, or its fields with theirs; "": it is done.
func (c try) wanted() string {
	good := c.invitation == "any" || c.invitation == "named"
	switch {
	case c.mode == account.ModeClosed && !good:
		return "not_found"
	case c.invitation == "bad":
		return "invitation_invalid"
	case c.mode == account.ModeInvite && !good:
		return "invitation_required"
	case !c.choosy, c.invitation == "named":
		return ""
	case good && c.domain == "bad.example.org":
		return "email:domain_not_allowed"
	case good:
		return ""
	}
	var fields []string
	switch c.code {
	case "":
		fields = append(fields, "code:required")
	case "wrong":
		fields = append(fields, "code:signup_code_invalid")
	}
	if c.domain != "good.example.org" {
		fields = append(fields, "email:domain_not_allowed")
	}
	if c.reason == "" {
		fields = append(fields, "reason:required")
	}
	return strings.Join(fields, " ")
}

func (c try) body(s *sitetest.Site, name string) sitetest.Data {
	email := name + "@" + c.domain
	body := sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": email})
	for field, value := range map[string]string{"code": c.code, "reason": c.reason} {
		if value != "" {
			body[field] = value
		}
	}
	switch c.invitation {
	case "any":
		body["invitation"] = inviteFor(s, "")
	case "named":
		body["invitation"] = inviteFor(s, email)
	case "bad":
		body["invitation"] = strings.Repeat("x", 43)
	}
	return body
}

// all are the tries of one site.
func (c try) all(each func(try)) {
	for _, c.invitation = range []string{"", "any", "named", "bad"} {
		for _, c.code = range []string{"", "wrong", "sesame"} {
			for _, c.domain = range []string{"good.example.org", "elsewhere.example", "bad.example.org"} {
				for _, c.reason = range []string{"", "I sing"} {
					each(c)
				}
			}
		}
	}
}

func TestWhoGetsIn(t *testing.T) {
	for _, m := range account.Modes {
		for _, picky := range []bool{false, true} {
			t.Run(fmt.Sprint(m, picky), func(t *testing.T) {
				configure := []func(*registration.Settings){mode(m), contact}
				if picky {
					configure = append(configure, choosy)
				}
				s := sitetest.New(t, configure...)
				n := 0
				try{mode: m, choosy: picky}.all(func(c try) {
					n++
					c.requireAPI(s, fmt.Sprintf("api%d", n))
					c.requirePage(s, fmt.Sprintf("page%d", n))
				})
			})
		}
	}
}

func (c try) requireAPI(s *sitetest.Site, name string) {
	s.T.Helper()
	res := s.Browser().Problems().Post("/accounts/register", c.body(s, name))
	want := c.wanted()
	if want == "" {
		require.Equal(s.T, http.StatusCreated, res.StatusCode, "%+v: %s", c, res.Text)
		u := s.Stored(res.JSON(s.T)["id"].(string))
		invited := c.invitation != ""
		require.Equal(s.T, c.mode == account.ModeApprove && !invited, u.AwaitsApproval, "%+v", c)
		require.Equal(s.T, c.invitation == "named", u.IsActive, "%+v", c)
		require.Equal(s.T, invited, len(u.Groups) == 1)
		require.Equal(s.T, c.choosy && !invited, u.Reason != "", "%+v", c)
		return
	}
	if !strings.Contains(want, ":") {
		require.Equal(s.T, want, res.JSON(s.T)["code"], "%+v", c)
		return
	}
	require.Equal(s.T, http.StatusBadRequest, res.StatusCode, "%+v: %s", c, res.Text)
	errs := res.JSON(s.T)["errors"].(map[string]any)
	require.Len(s.T, errs, len(strings.Fields(want)), "%+v: %v", c, errs)
	for f := range strings.FieldsSeq(want) {
		name, code, _ := strings.Cut(f, ":")
		require.Contains(s.T, fmt.Sprint(errs[name]), "code:"+code, "%+v: %v", c, errs)
	}
}

func (c try) requirePage(s *sitetest.Site, name string) {
	s.T.Helper()
	b := s.Browser().LikeBrowser()
	body := c.body(s, name)
	res := b.Post("/accounts/register/", sitetest.FormOf(body))
	want := c.wanted()
	switch {
	case want == "":
		require.Equal(s.T, http.StatusSeeOther, res.StatusCode, "%+v: %s", c, res.Text)
	case strings.Contains(want, ":"):
		require.Equal(s.T, http.StatusBadRequest, res.StatusCode, "%+v", c)
		for f := range strings.FieldsSeq(want) {
			name, _, _ := strings.Cut(f, ":")
			require.Contains(s.T, res.Text, `name="`+name+`"`, "the field is there to be mended")
		}
	default:
		says := map[string]string{
			"not_found": "page.register.closed", "invitation_invalid": "error.invitation_invalid", "invitation_required": "page.register.invitation_required",
		}[want]
		status := map[bool]int{true: http.StatusNotFound, false: http.StatusForbidden}[want == "not_found"]
		query := ""
		if token, ok := body["invitation"]; ok {
			query = "?invitation=" + token.(string)
		}
		for _, page := range []*sitetest.Answer{res, b.Get("/accounts/register/" + query)} {
			require.Equal(s.T, status, page.StatusCode, "%+v", c)
			require.Contains(s.T, page.Text, sitetest.Words(text.Say(says)), "%+v", c)
			require.Contains(s.T, page.Text, contactLink, "whom to ask")
			require.NotContains(s.T, page.Text, "<form")
		}
	}
}

// The page of who is invited asks for nothing that he is let off.
func TestPageOfAnInvitationAsksForLess(t *testing.T) {
	for _, m := range account.Modes {
		s := sitetest.New(t, mode(m), choosy, func(s *registration.Settings) {
			s.Register.Terms = registration.TermsSettings{Page: "/terms.html", Version: "1"}
		})
		b := s.Browser().LikeBrowser()
		token := inviteFor(s, "ada@good.example.org")
		page := b.Get("/accounts/register/?invitation=" + token)
		require.Equal(t, http.StatusOK, page.StatusCode)
		require.Contains(t, page.Text, `value="ada@good.example.org"`)
		require.NotContains(t, page.Text, `name="code"`)
		require.NotContains(t, page.Text, `name="reason"`)
		require.Contains(t, page.Text, `name="terms"`, "the law doesn't know of invitations")
		if m.OpenToAll() {
			page = b.Get("/accounts/register/")
			require.Contains(t, page.Text, `name="code"`)
			require.Contains(t, page.Text, `name="reason"`)
		}
		// What is wrong with the form is shown as ever, and the invitation is still good.
		body := sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": "ada@good.example.org", "invitation": token, "terms": "1", "password_confirm": "another"})
		page = b.Post("/accounts/register/", sitetest.FormOf(body))
		require.Equal(t, http.StatusBadRequest, page.StatusCode)
		require.Contains(t, page.Text, `value="`+token+`"`)
		require.NotContains(t, page.Text, `name="code"`)
		body["password_confirm"] = body["password"]
		require.Equal(t, http.StatusSeeOther, b.Post("/accounts/register/", sitetest.FormOf(body)).StatusCode)
	}
}

// Nothing about a closed sign-up tells whether an invitation was ever there.
func TestClosedTellsNothingOfInvitations(t *testing.T) {
	s := sitetest.New(t, mode(account.ModeClosed), func(s *registration.Settings) { s.TrustedOrigins = []string{"https://app.example"} })
	used, over, revoked := inviteFor(s, "used@example.org"), inviteFor(s, ""), ""
	i, link, err := s.Accounts.Invite(t.Context(), account.NewInvitation{})
	require.NoError(t, err)
	_, revoked, _ = strings.Cut(link, "invitation=")
	require.NoError(t, s.Accounts.RevokeInvitation(t.Context(), i.ID))
	sitetest.WantJSON(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("used"), sitetest.Data{"invitation": used})), http.StatusCreated)
	named := inviteFor(s, "other@example.org")
	s.Travel(8 * sitetest.Day)
	wrongAddress := inviteFor(s, "other@example.org")
	signUp := func(changes sitetest.Data) *sitetest.Answer {
		return s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), changes))
	}
	want, pages := signUp(nil), map[string]bool{}
	require.Equal(t, http.StatusNotFound, want.StatusCode)
	for name, token := range map[string]any{"used": used, "over": over, "revoked": revoked, "named and over": named, "for another": wrongAddress, "none": strings.Repeat("x", 43), "short": "x", "no text": 7, "empty": ""} {
		res := signUp(sitetest.Data{"invitation": token})
		require.Equal(t, http.StatusNotFound, res.StatusCode, name)
		require.Equal(t, want.Text, res.Text, name)
		if token, ok := token.(string); ok && name != "for another" {
			page := s.Browser().LikeBrowser().Get("/accounts/register/?invitation=" + url.QueryEscape(token))
			require.Equal(t, http.StatusNotFound, page.StatusCode, name)
			require.Contains(t, page.Text, sitetest.Words(text.Say("page.register.closed")))
			require.Equal(t, token != "", strings.Contains(page.Text, sitetest.Words(text.Say("page.register.closed_invitation"))), name)
			if token != "" {
				pages[page.Text] = true
			}
		}
	}
	posted := s.Browser().LikeBrowser().Post("/accounts/register/", sitetest.FormOf(sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"invitation": revoked})))
	require.Equal(t, http.StatusNotFound, posted.StatusCode)
	pages[posted.Text] = true
	require.Len(t, pages, 1, "the same page for every bad invitation")
	without := s.Browser().LikeBrowser().Get("/accounts/register/")
	require.Equal(t, http.StatusNotFound, without.StatusCode)
	require.NotContains(t, without.Text, sitetest.Words(text.Say("page.register.closed_invitation")))
	for name, send := range map[string]func() *sitetest.Answer{
		"no JSON": func() *sitetest.Answer {
			return s.Browser().Set("Content-Type", "application/json").Post("/accounts/register", "{")
		},
		"no type": func() *sitetest.Answer {
			return s.Browser().Set("Content-Type", "text/plain").Post("/accounts/register", "x")
		},
		"another method": func() *sitetest.Answer { return s.Browser().Do(http.MethodPut, "/accounts/register", nil) },
		"a bad token":    func() *sitetest.Answer { return s.WithToken("nonsense").Post("/accounts/register", nil) },
		"JSON's page":    func() *sitetest.Answer { return s.Browser().Get("/accounts/register") },
	} {
		require.Equal(t, http.StatusNotFound, send().StatusCode, name)
	}
	// Another site's page: as if there were nothing, too.
	b := s.SignedIn("used")
	b.Header.Set("Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusNotFound, b.Post("/accounts/register", sitetest.Newcomer("eve")).StatusCode)
	// A trusted one may send an invitation.
	req := httptest.NewRequest(http.MethodOptions, "/accounts/register", nil)
	req.Header.Set("Origin", "https://app.example")
	req.Header.Set("Access-Control-Request-Method", "POST")
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	require.Equal(t, http.StatusNoContent, rec.Code)
}

// Guesses are counted as failed sign-ups are.
func TestClosedCountsGuesses(t *testing.T) {
	s := sitetest.New(t, mode(account.ModeClosed), func(s *registration.Settings) {
		s.Throttle = registration.ThrottleSettings{Register: &registration.ThrottleLimit{Events: 2, Window: 3600e9}}
	})
	last := 0
	for range 200 {
		last = s.Browser().From("203.0.113.7").Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"invitation": strings.Repeat("x", 43)})).StatusCode
		if last != http.StatusNotFound {
			break
		}
	}
	require.Equal(t, http.StatusTooManyRequests, last)
}

// Where nobody could confirm an address, an invitation has to name it.
func TestClosedWithoutMail(t *testing.T) {
	s := sitetest.New(t, mode(account.ModeClosed), func(s *registration.Settings) {
		s.ResetPassword.Enabled, s.RegisterEmail.Verification = sitetest.Off(), sitetest.Off()
	})
	_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{})
	require.ErrorIs(t, err, account.ErrUnconfirmable)
	body := sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"invitation": inviteFor(s, "ada@example.org")})
	sitetest.WantJSON(t, s.Browser().Post("/accounts/register", body), http.StatusCreated)
	s.SignedIn("ada")
}
