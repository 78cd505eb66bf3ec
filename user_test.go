// user_test.go: who handlers behind the guard learn is signed in.

package registration

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/web"
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
	s := newSite(t, withFields(
		field.Spec{Name: "nick", Type: "text"},
		field.Spec{Name: "size", Type: "integer"},
		field.Spec{Name: "secret", Type: "text", Hidden: true, Default: jsonText(`"x"`)},
	))
	s.member("ada")
	id := uuidOf(t, s, "ada")
	groups := []string{"staff", "editors"}
	_, err := s.accounts.Administer(t.Context(), id, account.AdminChange{Groups: &groups})
	require.NoError(t, err)
	cookie := &http.Cookie{Name: "registration", Value: s.signedIn("ada").cookie["registration"]}
	want := User{
		Realm: "default", ID: id, Username: "ada", Email: "ada@example.org", EmailVerified: true, Groups: []string{"staff", "editors"},
		Public: map[string]any{"id": id.String(), "username": "ada", "email": "ada@example.org", "first_name": "", "last_name": "", "nick": "", "size": nil},
	}
	for name, way := range map[string]func(req *http.Request) error{
		"nobody has asked": func(*http.Request) error { return nil },
		"guard": func(req *http.Request) error {
			return s.guard.ServeHTTP(&nullWriter{h: http.Header{}}, req, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, behind *http.Request) error {
				got, ok := UserFrom(behind)
				require.True(t, ok)
				require.Equal(t, want, got)
				got.Groups[0], got.Public["nick"] = "root", "mine" // the caller's own
				return nil
			}))
		},
		"provider": func(req *http.Request) error {
			p := &Provider{}
			p.app, p.name = s.app, "default"
			_, _, err := p.Authenticate(&nullWriter{h: http.Header{}}, req)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			req, _ := caddyRequest(t, cookie)
			require.NoError(t, way(req))
			got, ok := UserFrom(req)
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
			_, ok := UserFrom(req)
			require.False(t, ok)
		})
	}
	plain, err := http.NewRequest(http.MethodGet, "/", nil)
	require.NoError(t, err)
	_, ok := UserFrom(plain)
	require.False(t, ok, "outside of Caddy too")
}

// Behind guards of two realms, nobody's fields are shown by the rules of the other.
func TestTwoGuards(t *testing.T) {
	open := newSite(t, withFields(field.Spec{Name: "nick", Type: "text"}))
	closed := newSite(t, withFields(field.Spec{Name: "nick", Type: "text", Hidden: true}), func(s *Settings) { s.Realm = "staff" })
	alice := &store.User{Username: "alice", Extra: map[string]any{"nick": "al"}}
	bob := &store.User{Username: "bob", Extra: map[string]any{"nick": "secret"}}
	req, repl := caddyRequest(t)
	publish(req, &signedIn{realm: open.realm, user: alice})
	require.Equal(t, "alice al", repl.ReplaceAll("{http.auth.user.username} {http.auth.user.nick}", ""))
	repl.Set("http.auth.user.first_name", "of another authentication")
	publish(req, &signedIn{realm: closed.realm, user: bob})
	require.Equal(t, "bob  ", repl.ReplaceAll("{http.auth.user.username} {http.auth.user.nick} {http.auth.user.first_name}", ""))
	got, ok := UserFrom(req)
	require.True(t, ok)
	require.Equal(t, "staff", got.Realm)
	require.NotContains(t, got.Public, "nick")
}

// AsAda is for ExampleUserFrom: a request as a guard hands it on.
func AsAda(req *http.Request) *http.Request {
	s := &Settings{From: "a@example.com", BaseURL: "https://example.com", MailerRaw: json.RawMessage(`{}`)}
	resolved, err := s.resolve()
	if err != nil {
		panic(err)
	}
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	req = req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
	publish(req, &signedIn{
		realm: &realm{Realm: &web.Realm{Name: resolved.Realm}, settings: resolved},
		user:  &store.User{ID: uuid.MustParse(web.ExampleID), Username: "ada", FirstName: "Ada", Groups: []string{"staff"}},
	})
	return req
}
