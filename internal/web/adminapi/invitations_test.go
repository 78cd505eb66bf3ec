// invitations_test.go: the routes of invitations: what they take, show and refuse.

package adminapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
)

func TestInvitationRoutes(t *testing.T) {
	s := sitetest.New(t)
	server := &adminapi.Server{Realm: func(string) *adminapi.Realm { return &adminapi.Realm{Realm: s.Realm.Realm.Realm} }}
	ask := func(method, path, body string) (string, *adminapi.Error) {
		rec := httptest.NewRecorder()
		err := server.Serve(rec, httptest.NewRequest(method, "/registration/default/invitations"+path, strings.NewReader(body)))
		if err == nil {
			return rec.Body.String(), nil
		}
		refused := (*adminapi.Error)(nil)
		require.ErrorAs(t, err, &refused)
		return "", refused
	}
	body, refused := ask(http.MethodPost, "", `{"email": "ada@example.org", "groups": ["members"], "uses": 1, "expires": "36h", "note": "choir"}`)
	require.Nil(t, refused)
	var made map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	require.Contains(t, made["link"], "/accounts/register/?invitation=")
	list, refused := ask(http.MethodGet, "", "")
	require.Nil(t, refused)
	delete(made, "link")
	require.Equal(t, false, made["mailed"])
	delete(made, "mailed")
	var shown map[string]any
	require.NoError(t, json.Unmarshal([]byte(list), &shown))
	require.Equal(t, made, shown, "all but the link, which is told once")
	for body, part := range map[string]string{
		`{"expires": "soon"}`: `expires is "soon"`, `{"expires": "0d"}`: "expires", `{"expires": "99999999999d"}`: "expires", `{"expires": "-1h"}`: "expires",
		`{"email": "ada"}`: "email: Enter an email address, like name@example.com. (invalid)", `{"groups": ["a b"]}`: "groups: ", `{"mail": true}`: "email: Fill in this field. (required)", `{"email": "ada@example.org", "uses": 2}`: "uses: Leave the number at 1. An invitation with an address is for one person. (max_value)", `{"uses": -1}`: "uses: Enter 1 or more. (min_value)", `{"use": 1}`: "unknown field", `{"uses": "x"}`: "can't be read", ``: "can't be read",
	} {
		_, refused := ask(http.MethodPost, "", body)
		require.NotNil(t, refused, body)
		require.Equal(t, http.StatusBadRequest, refused.Status, body)
		require.Contains(t, refused.Message, part, body)
	}
	_, refused = ask(http.MethodDelete, "/nobody", "")
	require.Equal(t, http.StatusNotFound, refused.Status)
	_, refused = ask(http.MethodDelete, "/"+made["id"].(string), "")
	require.Nil(t, refused)
	_, refused = ask(http.MethodDelete, "/"+made["id"].(string), "")
	require.Equal(t, http.StatusNotFound, refused.Status)
	list, _ = ask(http.MethodGet, "", "")
	require.Empty(t, list)
}

// An owner sees to which terms an account has agreed, and when.
func TestAnAccountShowsItsTerms(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Register.Terms = registration.TermsSettings{Page: "/terms.html", Version: "7"}
	})
	server := &adminapi.Server{Realm: func(string) *adminapi.Realm { return &adminapi.Realm{Realm: s.Realm.Realm.Realm} }}
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "bob"})
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"terms": "7"})).StatusCode)
	for name, want := range map[string]any{"ada": "7", "bob": nil} {
		rec := httptest.NewRecorder()
		require.NoError(t, server.Serve(rec, httptest.NewRequest(http.MethodGet, "/registration/default/users/"+name, nil)))
		var shown struct {
			Terms map[string]any `json:"terms"`
		}
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &shown))
		require.Equal(t, want, shown.Terms["version"])
		if want != nil {
			at, err := time.Parse(time.RFC3339, shown.Terms["accepted"].(string))
			require.NoError(t, err)
			require.Equal(t, time.Unix(0, s.Now.Load()).Unix(), at.Unix())
		}
	}
}
