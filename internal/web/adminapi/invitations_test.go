// invitations_test.go: the routes of invitations: what they take, show and refuse.

package adminapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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
	body, refused := ask(http.MethodPost, "", `{"email": "ada@example.org", "groups": ["members"], "uses": 2, "expires": "36h", "note": "choir"}`)
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
		`{"email": "ada"}`: "email invalid", `{"groups": ["a b"]}`: "groups invalid", `{"mail": true}`: "email required", `{"uses": -1}`: "uses min_value", `{"use": 1}`: "unknown field", `{"uses": "x"}`: "can't be read", ``: "can't be read",
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
