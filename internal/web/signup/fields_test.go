// fields_test.go: what the page of the sign-up asks for, and boxes that have to be ticked.

package signup_test

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// inputsOf are the names of a page's inputs that somebody fills in.
func inputsOf(page string) (names []string) {
	for _, found := range regexp.MustCompile(`<(?:input|select|textarea) id="([a-z_]+)"`).FindAllStringSubmatch(page, -1) {
		names = append(names, found[1])
	}
	return names
}

func TestWhatTheSignUpAsksFor(t *testing.T) {
	off := false
	number := field.Spec{Name: "number", Type: "integer"}
	for name, c := range map[string]struct {
		settings func(*registration.Settings)
		want     []string
	}{
		"nobody's name": {func(*registration.Settings) {}, []string{"username", "email", "number"}},
		"as listed":     {func(s *registration.Settings) { s.Register.Fields = []string{"first_name", "email", "username"} }, []string{"first_name", "email", "username"}},
		"no address": {func(s *registration.Settings) {
			s.Register.Fields, s.Register.Verification = []string{"username"}, &off
		}, []string{"username"}},
		"by the address": {func(s *registration.Settings) {
			s.User.LoginFields, s.Register.Fields = []string{"email"}, []string{"email"}
		}, []string{"email"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, func(s *registration.Settings) {
				s.User.Fields = []field.Spec{number}
				c.settings(s)
			})
			page := s.Browser().LikeBrowser().Get("/accounts/register/").Text
			require.Equal(t, append(c.want, "password", "password_confirm"), inputsOf(page))
			ada := sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"first_name": "Ada", "number": 7})
			require.Equal(t, 201, s.Browser().Post("/accounts/register", ada).StatusCode, "the API takes more than the page asks for")
			u, err := s.Accounts.Lookup(t.Context(), "ada@example.org")
			if err != nil {
				u, err = s.Accounts.Lookup(t.Context(), "ada")
			}
			require.NoError(t, err)
			require.Equal(t, "Ada", u.FirstName)
			require.EqualValues(t, 7, u.Extra["number"])
		})
	}
	for name, c := range map[string]struct {
		settings func(*registration.Settings)
		want     string
	}{
		"the name is missing":    {func(s *registration.Settings) { s.Register.Fields = []string{"email"} }, `register.fields: "username" is missing`},
		"the address is missing": {func(s *registration.Settings) { s.Register.Fields = []string{"username"} }, `"email" is missing, and nobody can sign up without it`},
		"a required one is missing": {func(s *registration.Settings) {
			s.User.Fields = []field.Spec{{Name: "number", Type: "integer", Required: true}}
			s.Register.Fields = []string{"username", "email"}
		}, `"number" is missing`},
		"twice":     {func(s *registration.Settings) { s.Register.Fields = []string{"username", "email", "username"} }, `"username" stands twice`},
		"no field":  {func(s *registration.Settings) { s.Register.Fields = []string{"username", "email", "shoe"} }, `a sign-up takes no "shoe"; possible are: username, email, first_name, last_name`},
		"read-only": {func(s *registration.Settings) { s.Register.Fields = []string{"username", "email", "is_staff"} }, `takes no "is_staff"`},
		"nothing":   {func(s *registration.Settings) { s.Register.Fields = []string{} }, `"username" is missing`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitetest.Open(t.TempDir()+"/r.db", c.settings)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestABoxThatHasToBeTicked(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.User.Fields = []field.Spec{{Name: "rules", Type: "boolean", Label: "I keep the rules", Required: true}, {Name: "news", Type: "boolean"}}
	})
	b := s.Browser().LikeBrowser()
	page := b.Get("/accounts/register/").Text
	require.Regexp(t, `<input id="rules" name="rules" type="checkbox" value="true" required>`, page)
	require.Regexp(t, `<input id="news" name="news" type="checkbox" value="true">`, page)
	form := url.Values{"username": {"ada"}, "email": {"ada@example.org"}, "password": {sitetest.Password}, "password_confirm": {sitetest.Password}}
	refused := b.Post("/accounts/register/", form)
	require.Equal(t, 400, refused.StatusCode)
	require.Contains(t, refused.Text, "Tick this box to continue.")
	for name, value := range map[string]any{"false": false, "no": "no", "absent": nil} {
		sent := sitetest.Newcomer("ada")
		if value != nil {
			sent["rules"] = value
		}
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sent), 400, "rules:required")
		require.NotEmpty(t, name)
	}
	form.Set("rules", "true")
	require.Equal(t, 303, b.Post("/accounts/register/", form).StatusCode)
	s.Mail()
}

// The label of a box may lead to what is agreed to; errors and facts have its words alone.
func TestLabelWithLinks(t *testing.T) {
	label := `I accept the [terms](/terms.html) & <b>[rules](https://example.net/rules)</b>`
	s := sitetest.New(t, func(s *registration.Settings) {
		s.BaseURL = "http://example.com/shop"
		s.User.Fields = []field.Spec{{Name: "terms_read", Type: "boolean", Label: label, Required: true}, {Name: "note", Type: "text", Label: "A [note](/x)"}}
	})
	b := s.Browser().LikeBrowser()
	page := b.Get("/accounts/register/").Text
	require.Contains(t, page, `<label for="terms_read">I accept the <a href="/shop/terms.html" target="_blank" rel="noopener">terms</a> &amp; &lt;b&gt;<a href="https://example.net/rules" target="_blank" rel="noopener">rules</a>&lt;/b&gt;</label>`)
	require.Contains(t, page, `<label for="note">A [note](/x)`, "only a box has one")
	form := url.Values{"username": {"ada"}, "email": {"ada@example.org"}, "password": {sitetest.Password}, "password_confirm": {sitetest.Password}}
	refused := b.Post("/accounts/register/", form).Text
	require.Contains(t, refused, `<a href="#terms_read">I accept the terms &amp; &lt;b&gt;rules&lt;/b&gt;`)
	require.Contains(t, b.Get("/accounts/openapi.json").Text, `[terms](/terms.html)`, "as it is written")

	for _, bad := range []string{"[x](javascript:x)", "[x](//evil.example)", "[x](terms.html)", "[x](ftp://example.com/)"} {
		_, err := sitetest.Open(t.TempDir()+"/r.db", func(s *registration.Settings) {
			s.User.Fields = []field.Spec{{Name: "terms_read", Type: "boolean", Label: bad}}
		})
		require.ErrorContains(t, err, "user.field.terms_read.label", bad)
	}
}
