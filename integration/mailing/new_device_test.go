// new_device_test.go: a sign-in on a new device is told by a real mail, whose link ends it.

package mailing_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestNewDeviceByMail(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t).Listen()
	s, first := served.MailedServer(t, m)
	first.Post(http.StatusCreated, "register", served.Newcomer("ada"))
	first.Post(http.StatusOK, "verify-registration", m.Next().Link(t))
	first.SignIn("ada")

	second := s.SecureClient()
	second.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	second.SignIn("ada")
	told := m.Next() // the first sign-in of the account had none
	require.Equal(t, "ada@example.org", told.To)
	require.Contains(t, told.Subject, "New sign-in")
	require.Contains(t, told.Text, "Device: Firefox, Linux")
	require.Contains(t, told.Html, "127.0.0.1")
	third := s.SecureClient()
	third.SignIn("ada")
	second.SignIn("ada") // known by now: another sign-in on the same device

	link := told.Link(t)
	reader := s.SecureClient()
	reader.Header.Set("Accept", served.BrowserAccept)
	page := reader.Get("/accounts/end-sign-in/?" + told.URL(t).RawQuery)
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, "End this session")
	second.RequireMember()
	ended := s.SecureClient().Post(http.StatusOK, "end-sign-in", link).JSON(t)
	second.RequireMember() // it went on by another sign-in
	require.Contains(t, ended, "reset_password")
	s.SecureClient().Post(http.StatusBadRequest, "end-sign-in", link)
	first.RequireMember()
	third.RequireMember()

	reset := ended["reset_password"].(map[string]any)
	reset["password"] = "quite another passphrase"
	s.SecureClient().Post(http.StatusOK, "reset-password", reset)
	first.RequireStopped()
	require.Contains(t, m.Next().Subject, "password", "none of the third device, and none of the second one's return")
}
