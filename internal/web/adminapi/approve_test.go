// approve_test.go: the routes by which an owner lets somebody in, or doesn't.

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
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestApprovalRoutes(t *testing.T) {
	s := sitetest.New(t)
	server := &adminapi.Server{Realm: func(string) *adminapi.Realm { return &adminapi.Realm{Realm: s.Realm.Realm.Realm} }}
	ask := func(method, path, body string) (map[string]any, *adminapi.Error) {
		rec := httptest.NewRecorder()
		err := server.Serve(rec, httptest.NewRequest(method, "/registration/default/users"+path, strings.NewReader(body)))
		if err == nil {
			var answer map[string]any
			require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &answer), rec.Body.String())
			return answer, nil
		}
		refused := (*adminapi.Error)(nil)
		require.ErrorAs(t, err, &refused)
		return nil, refused
	}
	for _, name := range []string{"ada", "bob", "eve"} {
		s.Set(s.Member(name), func(u *store.User) { u.IsActive, u.AwaitsApproval, u.Reason = false, true, "I sing" })
	}
	s.Set(s.Member("off"), func(u *store.User) { u.IsActive = false })
	s.Set(s.Member("new"), func(u *store.User) { u.IsActive, u.AwaitsVerification = false, true })
	shown, _ := ask(http.MethodGet, "/ada", "")
	require.Equal(t, "ada@example.org", shown["email"])
	require.Equal(t, "I sing", shown["reason"])
	require.Equal(t, true, shown["awaits_approval"])
	answer, refused := ask(http.MethodPost, "/ada/approve", "")
	require.Nil(t, refused)
	require.Equal(t, true, answer["mailed"])
	require.Equal(t, false, answer["awaits_approval"])
	require.NotContains(t, answer, "reason")
	answer, refused = ask(http.MethodPost, "/bob/refuse", `{"message": "We are full."}`)
	require.Nil(t, refused)
	require.Equal(t, "bob", answer["username"])
	require.Equal(t, true, answer["mailed"])
	_, refused = ask(http.MethodPost, "/eve/refuse", `{"words": "x"}`)
	require.Equal(t, http.StatusBadRequest, refused.Status)
	_, refused = ask(http.MethodPost, "/eve/refuse", "")
	require.Nil(t, refused, "without a body")

	for name, says := range map[string]string{"ada": "active already", "off": "disabled", "new": "confirmed"} {
		for _, verb := range []string{"approve", "refuse"} {
			_, refused = ask(http.MethodPost, "/"+name+"/"+verb, "")
			require.Equal(t, http.StatusConflict, refused.Status)
			require.Contains(t, refused.Message, "not_waiting: the account doesn't wait for approval: ")
			require.Contains(t, refused.Message, says)
		}
	}
	_, refused = ask(http.MethodPost, "/nobody/approve", "")
	require.Equal(t, http.StatusNotFound, refused.Status)
}
