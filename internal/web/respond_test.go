// respond_test.go: which kind of answer a request accepts.

package web_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

func TestAcceptedQuality(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/html": true, "TEXT/HTML": true, "text/html;q=2": false, "text/html;q=x": false, "text/html; charset=utf-8; q=0.5": true,
		"application/json;q=0.4,text/html;q=0.5": true, "*/*": false, "text/*": false, "application/xhtml+xml": true,
	} {
		require.Equal(t, want, web.AcceptsHTML(http.Header{"Accept": {accept}}), accept)
	}
	require.True(t, web.AcceptsProblem(http.Header{"Accept": {"application/json", "application/problem+json"}}))
	require.False(t, web.AcceptsProblem(http.Header{"Accept": {"application/json, application/problem+json;q=0.5"}}))
}

func TestObjectKeepsItsOrder(t *testing.T) {
	for want, o := range map[string]web.Object{"{}": nil, `{"b":1,"a":"x"}`: {{Name: "b", Value: 1}, {Name: "a", Value: "x"}}} {
		got, err := json.Marshal(o)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	_, err := web.Object{{Name: "x", Value: func() {}}}.MarshalJSON()
	require.Error(t, err)
}

func TestEveryRefusalHasAMessage(t *testing.T) {
	for code := range web.Statuses {
		require.NotEmpty(t, sitetest.Message(code, nil), code)
	}
}
