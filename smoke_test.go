package registration

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWholeTrip(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	stranger := s.browser()
	require.Equal(t, http.StatusUnauthorized, stranger.get("/members/").StatusCode)
	b := s.signedIn("ada")
	res := b.get("/members/")
	require.Equal(t, protectedPage, res.body)
	require.Equal(t, "private, no-cache", res.Header.Get("Cache-Control"))
	require.Equal(t, http.StatusOK, b.get("/accounts/profile").StatusCode)
	saved := b.cookie["registration"]
	require.Equal(t, http.StatusOK, b.post("/accounts/logout", nil).StatusCode)
	b.cookie["registration"] = saved
	require.Equal(t, http.StatusUnauthorized, b.get("/members/").StatusCode)
}
