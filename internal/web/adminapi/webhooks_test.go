// webhooks_test.go: the routes of webhooks.

package adminapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
)

func TestWebhooks(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Webhooks = []registration.WebhookSettings{{URL: "https://app.example.com/a-secret", Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}}
	})
	d := &desk{s, &adminapi.Realm{Realm: s.Realm.Realm.Realm, Webhooks: s.Realm.Webhooks}}
	lines, refused := d.ask(http.MethodGet, "webhooks", "")
	require.Nil(t, refused)
	require.Len(t, lines, 1)
	require.Equal(t, "https://app.example.com/…", lines[0]["url"])
	require.Equal(t, "works", lines[0]["state"])
	id := lines[0]["id"].(string)
	for _, act := range []string{"retry", "skip"} {
		lines, refused = d.ask(http.MethodPost, "webhooks/"+id+"/"+act, "")
		require.Nil(t, refused)
		require.Equal(t, id, lines[0]["id"])
	}
	_, refused = d.ask(http.MethodPost, "webhooks/"+id+"/enable", "")
	require.Equal(t, http.StatusConflict, refused.Status)
	_, refused = d.ask(http.MethodPost, "webhooks/nobody/retry", "")
	require.Equal(t, http.StatusNotFound, refused.Status)

	d.realm.Webhooks = nil // a store alone knows no endpoints
	lines, refused = d.ask(http.MethodGet, "webhooks", "")
	require.Nil(t, refused)
	require.Empty(t, lines)
	_, refused = d.ask(http.MethodPost, "webhooks/"+id+"/retry", "")
	require.Equal(t, http.StatusNotFound, refused.Status)
}
