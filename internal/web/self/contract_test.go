// contract_test.go: sentences of the contract that hold for many endpoints.

package self_test

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// withTerms turns on what is off without them.
func withTerms(s *registration.Settings) {
	s.Register.Terms = registration.TermsSettings{Page: "/terms.html", Version: "1"}
}

// A token that is no good is refused wherever it is brought, whatever else is good.
func TestContractBadTokenIsRefusedEverywhere(t *testing.T) {
	s := sitetest.New(t, sitetest.WithTokens, withTerms)
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Password: sitetest.Password})
	require.NoError(t, err)
	for op := range s.Operations(t) {
		b := s.Browser().Problems()
		b.Header.Set("Authorization", "Token "+strings.Repeat("x", 43))
		if op[1] == "/openapi.json" {
			require.Equal(t, 200, b.Do(op[0], "/accounts"+op[1], nil).StatusCode, "a file that everybody may read")
			continue
		}
		sitetest.RequireError(t, b.Do(op[0], "/accounts"+op[1], nil), 401, "token_invalid")
	}
}

// What a link carries comes as texts or as numbers, from a form or in JSON.
func TestContractLinkAsNumbers(t *testing.T) {
	s := sitetest.New(t)
	for name, send := range map[string]func(link sitetest.Data) any{
		"texts": func(link sitetest.Data) any { return link },
		"a number": func(link sitetest.Data) any {
			n, err := strconv.Atoi(link["timestamp"].(string))
			require.NoError(t, err)
			return sitetest.With(link, sitetest.Data{"timestamp": n})
		},
		"a form": func(link sitetest.Data) any { return sitetest.FormOf(link) },
	} {
		user := strings.ReplaceAll(name, " ", "-")
		require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer(user)).StatusCode)
		require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", send(sitetest.LinkOf(s.Mail(), t))).StatusCode, name)
	}
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	link := sitetest.LinkOf(s.Mail(), t)
	for _, odd := range []any{1.5, "1e9", -1, "0", true, sitetest.NullJSON, []int{1}, "９"} {
		require.Equal(t, 400, s.Browser().Post("/accounts/verify-registration", sitetest.With(link, sitetest.Data{"timestamp": odd})).StatusCode, "%v", odd)
	}
	// A clock may be a minute off, and no more.
	s.Travel(-time.Minute)
	require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", link).StatusCode)
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("bob")).StatusCode)
	link = sitetest.LinkOf(s.Mail(), t)
	s.Travel(-61 * time.Second)
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-registration", link), 400, "signature_invalid")
}

// No password is over 4096 bytes, wherever it comes in.
func TestContractLongPasswords(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").Problems()
	long := strings.Repeat("xy9.", 1024) + "z"
	longest := long[:4096]
	sitetest.RequireError(t, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": long}), 400, "password:max_length")
	sitetest.RequireError(t, b.Post("/accounts/change-password", sitetest.Data{"old_password": long, "password": long, "password_confirm": long}), 400, "old_password:max_length password:max_length password_confirm:max_length")
	require.Equal(t, 200, b.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": longest, "password_confirm": longest}).StatusCode)
	require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": longest}).StatusCode)
	s.Travel(time.Hour)
	sitetest.RequireError(t, b.Post("/accounts/register-email", sitetest.Data{"email": "x@example.org", "password": long}), 400, "password:max_length")
	s.Notice()
	require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	reset := sitetest.LinkOf(s.Mail(), t)
	sitetest.RequireError(t, b.Post("/accounts/reset-password", sitetest.With(reset, sitetest.Data{"password": long})), 400, "password:max_length")
	for _, err := range []error{
		func() error {
			_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "eve", Password: long})
			return err
		}(),
		func() error {
			_, err := s.Accounts.SetPassword(t.Context(), sitetest.UUIDOf(t, s, "ada"), long, account.Client{})
			return err
		}(),
	} {
		require.ErrorContains(t, err, "password max_length")
	}
}

// The domain of an address has no upper case, whoever writes it and wherever.
func TestContractDomainsAreLowerCased(t *testing.T) {
	s := sitetest.New(t)
	u, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Email: "Ada@EXAMPLE.org", Password: sitetest.Password})
	require.NoError(t, err)
	require.Equal(t, "Ada@example.org", u.Email)
	u, err = s.Accounts.SetEmail(t.Context(), u.ID, "Ada@EXAMPLE.net", account.Client{})
	require.NoError(t, err)
	require.Equal(t, "Ada@example.net", u.Email)
	for len(s.Mails()) > 0 {
		continue
	}
	for _, login := range []string{"ADA@Example.NET", "ada@example.net"} {
		require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": login, "password": sitetest.Password}).StatusCode)
		require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": login}).StatusCode)
		require.Equal(t, "Ada@example.net", s.Mail().To)
	}
}

// use_email finds by the address, whether people sign in by it or not.
func TestContractUseEmail(t *testing.T) {
	for _, logins := range [][]string{{"username"}, {"username", "email"}} {
		s := sitetest.New(t, sitetest.LoginBy(logins...), func(s *registration.Settings) { s.ResetPassword.UseEmail = sitetest.On() })
		s.Member("ada")
		require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"email": "ADA@example.org"}).StatusCode)
		require.Equal(t, "ada@example.org", s.Mail().To)
		for _, body := range []sitetest.Data{{"login": "ada"}, {"username": "ada"}, {"login": "ada@example.org"}} {
			sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/send-reset-password-link", body), 400, "email:required")
		}
	}
}

// What an account has no value of reads as its default, or as what is empty in its type.
func TestContractUnsetFields(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, sitetest.WithFields(
		field.Spec{Name: "txt", Type: "text"}, field.Spec{Name: "flag", Type: "boolean"}, field.Spec{Name: "num", Type: "integer"},
		field.Spec{Name: "day", Type: "date"}, field.Spec{Name: "pick", Type: "choice", Choices: []string{"a", "b"}, Default: json.RawMessage(`"b"`)},
		field.Spec{Name: "seven", Type: "integer", Default: json.RawMessage(`7`)}, field.Spec{Name: "yes", Type: "boolean", Default: json.RawMessage(`true`)},
		field.Spec{Name: "mail", Type: "email"}, field.Spec{Name: "home", Type: "url"},
	))
	got := s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).JSON(t)
	for name, want := range map[string]any{"txt": "", "flag": false, "num": nil, "day": nil, "pick": "b", "seven": 7.0, "yes": true, "mail": "", "home": ""} {
		require.Contains(t, got, name)
		require.Equal(t, want, got[name], name)
	}
}

// Each endpoint answers with and without the slash, and what isn't there isn't.
func TestContractSlashes(t *testing.T) {
	s := sitetest.New(t, withTerms)
	for op := range s.Operations(t) {
		for _, slash := range []string{"", "/"} {
			res := s.Browser().Do(op[0], "/accounts"+op[1]+slash, nil)
			require.NotContains(t, []int{301, 302, 307, 308, 404, 405}, res.StatusCode, "%s %s", op, slash)
		}
	}
	for _, path := range []string{"/accounts/login//", "/accounts/login/x", "/accounts/nothing", "/accounts/log in"} {
		require.Equal(t, 404, s.Browser().Do("POST", (&url.URL{Path: path}).String(), nil).StatusCode, path)
	}
}

// An account that is gone can do nothing by what it was given.
func TestContractLinksOfTheGone(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	reset := sitetest.LinkOf(s.Mail(), t)
	b := s.SignedIn("ada")
	require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"}).StatusCode)
	change := sitetest.LinkOf(s.Mail(), t)
	require.NoError(t, s.Accounts.Delete(t.Context(), uuid.MustParse(reset["user_id"].(string))))
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/reset-password", sitetest.With(reset, sitetest.Data{"password": sitetest.NewPassword})), 400, "signature_invalid")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-email", change), 400, "signature_invalid")
	require.Equal(t, 401, b.Get("/accounts/profile").StatusCode)
}
