// user_test.go: who handlers behind the guard learn is signed in.

package registration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// caddyRequest is a request as Caddy hands it to its first handler.
func caddyRequest(t *testing.T, cookies ...*http.Cookie) (*http.Request, *caddy.Replacer) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://example.com/members/", nil)
	require.NoError(t, err)
	for _, c := range cookies {
		req.AddCookie(c)
	}
	repl := caddy.NewReplacer()
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, repl)
	return req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{})), repl
}

func TestUserFrom(t *testing.T) {
	s := sitetest.New(t, sitetest.WithFields(
		field.Spec{Name: "nick", Type: "text"},
		field.Spec{Name: "size", Type: "integer"},
		field.Spec{Name: "secret", Type: "text", Hidden: true, Default: json.RawMessage(`"x"`)},
	))
	s.Member("ada")
	id := sitetest.UUIDOf(t, s, "ada")
	groups := []string{"staff", "editors"}
	_, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{Groups: &groups})
	require.NoError(t, err)
	cookie := &http.Cookie{Name: "registration", Value: s.SignedIn("ada").Cookie["registration"]}
	want := registration.User{
		Realm: "default", ID: id, Username: "ada", Email: "ada@example.org", EmailVerified: true, Groups: []string{"staff", "editors"},
		AMR: []string{"pwd"}, AuthTime: s.Realm.Now().UTC().Truncate(time.Second),
		Public: map[string]any{"id": id.String(), "username": "ada", "email": "ada@example.org", "first_name": "", "last_name": "", "nick": "", "size": nil},
	}
	for name, way := range map[string]func(req *http.Request) error{
		"nobody has asked": func(*http.Request) error { return nil },
		"guard": func(req *http.Request) error {
			return s.Guard.ServeHTTP(&sitetest.NullWriter{H: http.Header{}}, req, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, behind *http.Request) error {
				got, ok := registration.UserFrom(behind)
				require.True(t, ok)
				require.Equal(t, want, got)
				got.Groups[0], got.AMR[0], got.Public["nick"] = "root", "mfa", "mine" // the caller's own
				return nil
			}))
		},
		"provider": func(req *http.Request) error {
			p := &registration.Provider{}
			p.Use(s.Handler, "default")
			_, _, err := p.Authenticate(&sitetest.NullWriter{H: http.Header{}}, req)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			req, _ := caddyRequest(t, cookie)
			require.NoError(t, way(req))
			got, ok := registration.UserFrom(req)
			require.Equal(t, name != "nobody has asked", ok)
			if ok {
				require.Equal(t, want, got)
			}
		})
		t.Run(name+", signed out", func(t *testing.T) {
			req, _ := caddyRequest(t)
			if name != "guard" {
				require.NoError(t, way(req))
			}
			_, ok := registration.UserFrom(req)
			require.False(t, ok)
		})
	}
	plain, err := http.NewRequest(http.MethodGet, "/", nil)
	require.NoError(t, err)
	_, ok := registration.UserFrom(plain)
	require.False(t, ok, "outside of Caddy too")
}

// What a sign-in has shown is said wherever somebody may go by it, and refreshing tokens
// doesn't change it. One that was kept without is by the password.
func TestWhatASignInHasShown(t *testing.T) {
	s := sitetest.NewJWT(t, sitetest.NoVerification, func(s *registration.Settings) { s.Login.Session = sitetest.On() })
	s.Member("ada")
	at := s.Realm.Now().UTC().Truncate(time.Second)
	b := s.Browser()
	got := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)
	says := func(t *testing.T, amr []any) {
		t.Helper()
		req, repl := caddyRequest(t, &http.Cookie{Name: "registration", Value: b.Cookie["registration"]})
		require.NoError(t, s.Guard.ServeHTTP(&sitetest.NullWriter{H: http.Header{}}, req, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })))
		require.Equal(t, fmt.Sprint(amr[0], " ", at.Unix(), " ada"), repl.ReplaceAll("{http.auth.user.amr} {http.auth.user.auth_time} {http.auth.user.username}", ""))
		p := &registration.Provider{}
		p.Use(s.Handler, "default")
		user, ok, err := p.Authenticate(&sitetest.NullWriter{H: http.Header{}}, req)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, amr[0], user.Metadata["amr"])
		require.Equal(t, strconv.FormatInt(at.Unix(), 10), user.Metadata["auth_time"])
		var listed []map[string]any
		require.NoError(t, json.Unmarshal([]byte(b.Get("/accounts/sessions").Text), &listed))
		require.Len(t, listed, 2)
		for _, one := range listed {
			require.Equal(t, amr, one["amr"])
			require.Equal(t, at.Format(time.RFC3339), one["auth_time"])
		}
	}
	says(t, []any{"pwd"})
	claimsOf := func(token any) sitetest.Data {
		_, claims := sitetest.ClaimsOf(t, token.(string))
		return claims
	}
	require.Equal(t, []any{"pwd"}, claimsOf(got["token"])["amr"])
	require.EqualValues(t, at.Unix(), claimsOf(got["token"])["auth_time"])
	s.Travel(time.Minute)
	refreshed := claimsOf(s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": got["refresh_token"]}).JSON(t)["token"])
	require.EqualValues(t, at.Unix(), refreshed["auth_time"])
	require.EqualValues(t, at.Add(time.Minute).Unix(), refreshed["iat"])

	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		all, err := tx.Sessions(sitetest.UUIDOf(t, s, "ada"), 10)
		for _, one := range all {
			one.AMR, one.AuthTime = nil, time.Time{}
			err = errors.Join(err, tx.PutSession(one))
		}
		return err
	}))
	says(t, []any{"pwd"})
}

// A link that was mailed and signs in shows the mailbox, and no password.
func TestAutoLoginIsByMail(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Register.AutoLogin = sitetest.On() })
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	b := s.Browser()
	require.Equal(t, http.StatusOK, b.Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
	require.Contains(t, b.Get("/accounts/sessions").Text, `"amr":["mail"]`)
}

// Behind guards of two realms, nobody's fields are shown by the rules of the other.
func TestTwoGuards(t *testing.T) {
	open := sitetest.New(t, sitetest.WithFields(field.Spec{Name: "nick", Type: "text"}))
	closed := sitetest.New(t, sitetest.WithFields(field.Spec{Name: "nick", Type: "text", Hidden: true}), func(s *registration.Settings) { s.Realm = "staff" })
	alice := &store.User{Username: "alice", Extra: map[string]any{"nick": "al"}}
	bob := &store.User{Username: "bob", Extra: map[string]any{"nick": "secret"}}
	req, repl := caddyRequest(t)
	registration.Publish(req, open.Handler, alice)
	require.Equal(t, "alice al", repl.ReplaceAll("{http.auth.user.username} {http.auth.user.nick}", ""))
	repl.Set("http.auth.user.first_name", "of another authentication")
	registration.Publish(req, closed.Handler, bob)
	require.Equal(t, "bob  ", repl.ReplaceAll("{http.auth.user.username} {http.auth.user.nick} {http.auth.user.first_name}", ""))
	got, ok := registration.UserFrom(req)
	require.True(t, ok)
	require.Equal(t, "staff", got.Realm)
	require.NotContains(t, got.Public, "nick")
}

func TestFieldInMailPlaceholderAndAdmin(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, sitetest.WriteFile(filepath.Join(folder, "hello.txt"), "{{.User.Extra.nick}}/{{.User.Extra.size}}/{{.User.Extra.secret}} {{.Link}}"))
	s := sitetest.New(t, sitetest.WithFields(
		field.Spec{Name: "nick", Type: "text"},
		field.Spec{Name: "size", Type: "choice", Choices: []string{"s"}},
		field.Spec{Name: "secret", Type: "integer", Hidden: true, Default: json.RawMessage("42")},
	), func(s *registration.Settings) {
		s.Templates, s.Register.Mail.TextBody, s.ResetPassword.Mail.TextBody = folder, "hello.txt", "hello.txt"
	})
	res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"nick": "countess"}))
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	m := s.Mail()
	require.Contains(t, m.Text, "//42 http", "no added text until the address is confirmed")
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(m, t)).StatusCode)
	s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
	require.Contains(t, s.Mail().Text, "countess//42 http")
	u := &store.User{Extra: map[string]any{"nick": "x"}}
	for name, want := range map[string]any{"nick": "x", "size": ""} {
		got, ok := s.Handler.Placeholder(u, name)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}
	_, ok := s.Handler.Placeholder(u, "secret")
	require.False(t, ok, "what is hidden is no placeholder")
	// A template with a field that isn't there fails when it is loaded.
	require.NoError(t, sitetest.WriteFile(filepath.Join(folder, "hello.txt"), "{{.User.Extra.nikc}}"))
	_, err := letter.NewTemplates(s.Realm.Letters, s.Realm.Languages, "example.com")
	require.ErrorContains(t, err, "nikc")
	require.ErrorContains(t, err, ".Extra.<name>")
}
