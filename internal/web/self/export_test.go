// export_test.go: who takes out what is kept about him.

package self_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// What one is given is about oneself alone, and says what happened, from where and when.
func TestExportOfOnesOwnData(t *testing.T) {
	s := sitetest.New(t)
	_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "ada@example.org", Groups: []string{"choir"}, Note: "between us"})
	require.NoError(t, err)
	s.Member("ada")
	s.Member("bob")
	s.SignedIn("bob")
	b := s.SignedIn("ada")
	_, err = s.Accounts.SetGroups(t.Context(), sitetest.UUIDOf(t, s, "ada"), []string{"choir"}, nil)
	require.NoError(t, err)
	res := b.Get("/accounts/export")
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, `attachment; filename="personal-data.json"`, res.Header.Get("Content-Disposition"))
	var got struct {
		Version  int              `json:"personal_data"`
		Account  map[string]any   `json:"account"`
		Sessions []map[string]any `json:"sessions"`
		Invited  []map[string]any `json:"invitations"`
		Record   []map[string]any `json:"record"`
	}
	require.NoError(t, json.Unmarshal([]byte(res.Text), &got))
	require.Equal(t, 1, got.Version)
	require.Equal(t, "ada", got.Account["username"])
	require.Equal(t, []any{"choir"}, got.Account["groups"])
	require.NotEmpty(t, got.Sessions)
	require.Equal(t, []any{"pwd"}, got.Sessions[0]["amr"])
	require.Len(t, got.Invited, 1)
	events := map[string]map[string]any{}
	for _, row := range got.Record {
		events[row["event"].(string)] = row
	}
	require.Contains(t, events, "signed_in")
	require.Contains(t, events, "data_exported", "it is in it itself")
	require.NotContains(t, res.Text, "bob")
	require.NotContains(t, res.Text, "between us", "what the inviter has noted")
	require.NotContains(t, res.Text, "argon2id")
	require.Equal(t, http.StatusOK, b.Post("/accounts/export", sitetest.Data{}).StatusCode)
}

// What an administrator did is in it, and not who he is nor from where.
func TestExportNamesNoAdministrator(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	root := uuid.Must(uuid.NewV7()).String()
	ctx := audit.WithCaller(t.Context(), audit.Caller{Actor: root, Address: "198.51.100.7", Agent: "Netscape"})
	_, err := s.Accounts.SetGroups(ctx, sitetest.UUIDOf(t, s, "ada"), []string{"choir"}, nil)
	require.NoError(t, err)
	data := s.SignedIn("ada").Get("/accounts/export").Text
	require.Contains(t, data, `"profile_changed"`)
	require.Contains(t, data, `"actor": "administrator"`)
	for _, of := range []string{root, "198.51.100.7", "Netscape"} {
		require.NotContains(t, data, of)
	}
}

// A sign-in of some time ago shows who it is, by POST alone: no address has a password.
func TestExportAsksWhoItIs(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").Problems()
	s.Travel(time.Hour)
	for _, path := range []string{"/accounts/export", "/accounts/export?password=" + url.QueryEscape(sitetest.Password)} {
		sitetest.RequireError(t, b.Get(path), 400, "password:reauthentication_required")
	}
	sitetest.RequireError(t, b.Post("/accounts/export", sitetest.Data{}), 400, "password:reauthentication_required")
	sitetest.RequireError(t, b.Post("/accounts/export", sitetest.Data{"password": "wrong wrong"}), 400, "password:password_incorrect")
	require.Equal(t, http.StatusOK, b.Post("/accounts/export", sitetest.Data{"password": sitetest.Password}).StatusCode)
	for _, do := range []*sitetest.Answer{s.Browser().Problems().Get("/accounts/export"), s.Browser().Problems().Post("/accounts/export", sitetest.Data{})} {
		sitetest.RequireError(t, do, 401, "not_authenticated")
	}
}

// The page: from the profile to the file.
func TestThePageOfTheExport(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	require.Contains(t, b.Get("/accounts/profile/").Text, `href="/accounts/export/"`)
	require.NotContains(t, b.Get("/accounts/export/").Text, `name="password"`, "a sign-in of a moment ago is enough")
	s.Travel(time.Hour)
	page := b.Get("/accounts/export/").Text
	require.Contains(t, page, `name="password"`)
	require.Contains(t, page, "It has no password in it.")
	res := b.Post("/accounts/export/", url.Values{"password": {"wrong wrong"}})
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, res.Text, `action="/accounts/export/"`)
	res = b.Post("/accounts/export/", url.Values{"password": {sitetest.Password}})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	require.Contains(t, res.Text, `"username": "ada"`)
}

// Who has a copy made is told by mail: a thief of a session would make one first.
func TestExportIsToldByMail(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	require.Equal(t, 200, b.Get("/accounts/export").StatusCode)
	m := s.Mail()
	require.Equal(t, "ada@example.org", m.To)
	require.Equal(t, "A copy of your data has been downloaded at example.com", m.Subject)
	require.Contains(t, m.Text, "Device: Firefox, Linux")
	s.Travel(time.Hour)
	require.Equal(t, 400, b.Post("/accounts/export", sitetest.Data{"password": "wrong"}).StatusCode)
	s.NoMail() // nothing was given
}
