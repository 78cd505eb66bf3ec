// transfer_test.go: whole files of accounts over the admin endpoint.

package adminapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
	"github.com/seed-928992b0/caddy-registration/store"
)

// inFolder is the owner's endpoint with a place for temporary files.
func inFolder(s *sitetest.Site, folder string) *adminapi.Server {
	return &adminapi.Server{
		Realm: func(string) *adminapi.Realm { return &adminapi.Realm{Realm: s.Realm.Realm.Realm, Folder: folder} },
		Names: func() []string { return []string{"default"} },
	}
}

func TestExportRoute(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	folder := t.TempDir()
	server := inFolder(s, folder)
	for query, c := range map[string]struct{ kind, begins string }{
		"":                             {"application/x-ndjson", `{"registration_export":2,"with_hashes":false}`},
		"?format=ndjson&with_hashes=1": {"application/x-ndjson", `{"registration_export":2,"with_hashes":true}`},
		"?format=csv":                  {"text/csv; charset=utf-8", "id,username,"},
		"?format=django":               {"application/json", "["},
	} {
		rec, refused := askOwner(t, server, http.MethodGet, "default/export"+query, "")
		require.Nil(t, refused, query)
		require.Equal(t, c.kind, rec.Header().Get("Content-Type"))
		require.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
		require.Equal(t, "1", rec.Header().Get("Accounts"))
		require.Equal(t, strconv.Itoa(rec.Body.Len()), rec.Header().Get("Content-Length"))
		require.True(t, strings.HasPrefix(rec.Body.String(), c.begins), rec.Body)
		require.Contains(t, rec.Body.String(), "ada@example.org")
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Empty(t, entries, "nothing stays")
	}
	s.Set(s.Member("bob"), func(u *store.User) { u.RecoveryCodes = [][]byte{{1}} })
	rec, refused := askOwner(t, server, http.MethodGet, "default/export?with_hashes=1", "")
	require.Nil(t, refused)
	require.Equal(t, "1", rec.Header().Get("Sealed-Factors"), "the realm has no secret")
	for query, says := range map[string]string{
		"?format=xml":              `format is "xml"; the formats are ndjson, csv, django`,
		"?with_audit=maybe":        `with_audit is "maybe"; write 1, or leave it out`,
		"?with_audit=1&format=csv": `with_audit is of the format ndjson, and not of csv; leave one out`,
		"?with_hashes=maybe":       `with_hashes is "maybe"; write 1, or leave it out`,
		"?hashes=1":                "the query has hashes",
	} {
		_, refused := askOwner(t, server, http.MethodGet, "default/export"+query, "")
		require.NotNil(t, refused, query)
		require.Equal(t, http.StatusBadRequest, refused.Status)
		require.Contains(t, refused.Message, says)
	}
	_, refused = askOwner(t, inFolder(s, "/nowhere/at/all"), http.MethodGet, "default/export", "")
	require.Equal(t, http.StatusInternalServerError, refused.Status)
	require.Contains(t, refused.Message, "no temporary file can be made")

	s.Accounts.Store = &sitetest.FaultyStore{Store: s.Accounts.Store, FailAt: 4}
	_, refused = askOwner(t, server, http.MethodGet, "default/export", "")
	require.Equal(t, http.StatusServiceUnavailable, refused.Status)
}

// goneWriter is a client that has gone.
type goneWriter struct{ *httptest.ResponseRecorder }

func (goneWriter) Write([]byte) (int, error) { return 0, http.ErrHandlerTimeout }

func TestExportToAClientThatHasGone(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		_ = inFolder(s, t.TempDir()).Serve(goneWriter{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/registration/default/export", nil))
	}, "a short file must not look like a whole one")
}

func TestImportRoute(t *testing.T) {
	s := sitetest.New(t)
	folder := t.TempDir()
	server := inFolder(s, folder)
	file := "username,email\nada,ada@example.org\na b,x@example.org\n"
	rec, refused := askOwner(t, server, http.MethodPost, "default/import?format=csv&dry_run=1&update=1&group=moved", file)
	require.Nil(t, refused)
	require.Equal(t, "application/x-ndjson", rec.Header().Get("Content-Type"))
	lines := strings.Split(strings.TrimSpace(rec.Body.String()), "\n")
	require.Len(t, lines, 3, rec.Body)
	require.Contains(t, lines[0], `{"remark":{"line":3,"account":"a b","fate":"refused","field":"username","code":"invalid"`)
	require.Equal(t, `{"progress":{"done":53,"of":53,"accounts":2}}`, lines[1])
	require.Contains(t, lines[2], `{"report":{"dry_run":true,"added":1,"updated":0,"unchanged":0,"different":0,"refused":1,"reasons":[{"fate":"refused",`)
	users, _ := s.Census()
	require.Zero(t, users)
	_, refused = askOwner(t, server, http.MethodPost, "default/import?format=csv", file)
	require.Nil(t, refused)
	users, _ = s.Census()
	require.Equal(t, 1, users)
	require.Equal(t, 1, s.Logs.FilterMessage("accounts have been imported over the admin endpoint").Len())
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, entries, "nothing stays")

	for query, says := range map[string]string{
		"":                        `format is ""; the formats are `,
		"?format=xml":             `format is "xml"; the formats are `,
		"?format=csv&dry_run=":    "",
		"?format=csv&dry_run=yes": `dry_run is "yes"; write 1, or leave it out`,
		"?format=csv&update=yes":  `update is "yes"; write 1, or leave it out`,
		"?format=csv&group=a,b":   `group is "a,b"; the name of a group is 1 to 64 letters`,
	} {
		_, refused := askOwner(t, server, http.MethodPost, "default/import"+query, file)
		if says == "" {
			require.Nil(t, refused)
			continue
		}
		require.NotNil(t, refused, query)
		require.Equal(t, http.StatusBadRequest, refused.Status)
		require.Contains(t, refused.Message, says)
	}
	_, refused = askOwner(t, inFolder(s, "/nowhere/at/all"), http.MethodPost, "default/import?format=csv", file)
	require.Equal(t, http.StatusInternalServerError, refused.Status)

	// What breaks off on its way here has changed nothing.
	rec = httptest.NewRecorder()
	err = server.Serve(rec, httptest.NewRequest(http.MethodPost, "/registration/default/import?format=csv", io.MultiReader(strings.NewReader("username\nbob\n"), iotest.ErrReader(io.ErrUnexpectedEOF))))
	require.ErrorContains(t, err, "the file broke off, and nothing of it has been taken")
	users, _ = s.Census()
	require.Equal(t, 1, users)

	s.Accounts.Store = &sitetest.BrokenStore{Store: s.Accounts.Store}
	s.Accounts.Store.(*sitetest.BrokenStore).Broken.Store(true)
	rec, refused = askOwner(t, server, http.MethodPost, "default/import?format=csv", "username\neve\n")
	require.Nil(t, refused)
	require.Contains(t, rec.Body.String(), `{"error":"unavailable: no space left on device","report":{`)
}
