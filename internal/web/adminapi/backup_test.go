// backup_test.go: a backup over the admin endpoint, and why there is none.

package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// copied is a store whose backups are made up.
type copied struct {
	store.Store
	backup *store.Backup
	err    error
}

func (c *copied) Backup(context.Context) (*store.Backup, error) { return c.backup, c.err }

// plainStore can't be copied.
type plainStore struct{ store.Store }

func TestBackupRoute(t *testing.T) {
	sitetest.Embedded(t)
	s := sitetest.New(t)
	s.Member("ada")
	server := ownerOf(s, nil)
	rec, refused := askOwner(t, server, http.MethodGet, "default/backup", "")
	require.Nil(t, refused)
	require.Equal(t, "application/octet-stream", rec.Header().Get("Content-Type"))
	require.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
	require.Equal(t, strconv.Itoa(rec.Body.Len()), rec.Header().Get("Content-Length"))
	file := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, os.WriteFile(file, rec.Body.Bytes(), 0o600))
	contents, err := bolt.Verify(file)
	require.NoError(t, err)
	require.Equal(t, 1, contents.Accounts)
	require.Equal(t, 1, s.Logs.FilterMessage("a backup has been handed out over the admin endpoint").Len())

	real := s.Accounts.Store
	for status, c := range map[int]struct {
		store store.Store
		says  string
	}{
		http.StatusNotImplemented:      {&plainStore{real}, "makes no backups"},
		http.StatusConflict:            {&copied{real, nil, store.ErrBackupRunning}, "another backup"},
		http.StatusInsufficientStorage: {&copied{real, nil, fmt.Errorf("%w on the disk of /x", wholefile.ErrNoRoom)}, "there is no room on the disk of /x"},
		http.StatusInternalServerError: {&copied{real, nil, errors.New("the disk fails")}, "could not be backed up: the disk fails"},
	} {
		s.Accounts.Store = c.store
		_, refused := askOwner(t, server, http.MethodGet, "default/backup", "")
		require.NotNil(t, refused, status)
		require.Equal(t, status, refused.Status)
		require.Contains(t, refused.Error(), c.says)
	}
	s.Accounts.Store = &copied{real, &store.Backup{ReadCloser: io.NopCloser(strings.NewReader("short")), Size: 6}, nil}
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { _, _ = askOwner(t, server, http.MethodGet, "default/backup", "") }, "a short copy must not look like a whole one")
}

// A list whose store fails on the way is cut off, at its beginning it is refused; and a
// client that has gone ends it.
func TestListsOfAFailingStore(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for range 1200 {
			id := uuid.Must(uuid.NewV7())
			if err := tx.PutUser(&store.User{ID: id, Username: id.String()}, []store.Key{{Field: "username", Value: id.String()}}); err != nil {
				return err
			}
			i := &store.Invitation{ID: uuid.Must(uuid.NewV7()), Uses: 1, Created: s.Realm.Now(), Expires: s.Realm.Now().Add(sitetest.Day)}
			copy(i.Hash[:], i.ID[:])
			if err := tx.PutInvitation(i); err != nil {
				return err
			}
		}
		return nil
	}))
	server := ownerOf(s, nil)
	for path, lines := range map[string]int{"default/users": 1201, "default/users?limit=700": 700, "default/invitations": 1200} {
		rec, refused := askOwner(t, server, http.MethodGet, path, "")
		require.Nil(t, refused, path)
		require.Equal(t, lines, strings.Count(rec.Body.String(), "\n"), path)
		require.NoError(t, server.Serve(&brokenWriter{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/registration/"+path, nil)), "the client has gone")
	}
	failing := &failingStore{Store: s.Accounts.Store, err: errors.New("the disk fails")}
	s.Accounts.Store = failing
	for _, path := range []string{"default/users", "default/invitations"} {
		failing.after = 0
		_, refused := askOwner(t, server, http.MethodGet, path, "")
		require.NotNil(t, refused, path)
		require.Equal(t, http.StatusServiceUnavailable, refused.Status)
		failing.after = 1
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { _, _ = askOwner(t, server, http.MethodGet, path, "") }, path)
	}
	failing.after = 1
	_, refused := askOwner(t, server, http.MethodGet, "default/users?limit=700", "")
	require.NotNil(t, refused, "a page is whole or none")
	failing.after = 0
	_, refused = askOwner(t, server, http.MethodGet, "default/users/ada/sessions", "")
	require.NotNil(t, refused)
	require.Equal(t, http.StatusServiceUnavailable, refused.Status)
}

// What is at no address, has another method or a query that nobody knows.
func TestOperationsRefuse(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	server := ownerOf(s, nil)
	for request, want := range map[string]struct {
		status int
		says   string
	}{
		"GET other/users":                   {http.StatusNotFound, "there is no realm other; there is: default"},
		"GET default/nothing":               {http.StatusNotFound, "openapi.json lists what there is"},
		"GET default/users/":                {http.StatusNotFound, "openapi.json lists"},
		"PUT default/users/ada":             {http.StatusMethodNotAllowed, "the methods are GET, PATCH and DELETE"},
		"POST default/backup":               {http.StatusMethodNotAllowed, "the method is GET"},
		"GET default/users/ada?name=ada":    {http.StatusBadRequest, "name one account, once"},
		"GET default/users?name=ada&id=1":   {http.StatusBadRequest, "name one account, once"},
		"GET default/users?name=":           {http.StatusBadRequest, "name one account, once"},
		"GET default/users?name=ada&name=b": {http.StatusBadRequest, "name one account, once"},
		"GET default/users?x=1":             {http.StatusBadRequest, "the query has x; what it can say is ?limit="},
		"GET default/backup?path=1":         {http.StatusBadRequest, "the query has path; it takes none"},
		"GET default/users/ada?x=1":         {http.StatusBadRequest, "what it can say is ?id=<id> or ?name=<login>"},
		"GET default/users?limit=0":         {http.StatusBadRequest, "limit is"},
		"GET default/users?after=x":         {http.StatusBadRequest, "after is"},
		"GET default/users?state=x":         {http.StatusBadRequest, "state"},
		"GET default/users?limit=1&limit=2": {http.StatusBadRequest, "the query has limit twice"},
		"GET default/users?%zz":             {http.StatusBadRequest, "the query can't be read"},
		"GET default/users?id=x":            {http.StatusNotFound, ""},
		"GET default/users?name=x":          {http.StatusNotFound, ""},
		"PATCH default/users/ada":           {http.StatusBadRequest, "the body is"},
	} {
		method, path, _ := strings.Cut(request, " ")
		rec, refused := askOwner(t, server, method, path, "")
		require.NotNil(t, refused, request)
		require.Equal(t, want.status, refused.Status, request)
		require.Contains(t, refused.Message, want.says, request)
		require.Equal(t, want.status == http.StatusMethodNotAllowed, rec.Header().Get("Allow") != "", request)
	}
	rec, refused := askOwner(t, server, http.MethodGet, "realms", "")
	require.Nil(t, refused)
	require.JSONEq(t, `["default"]`, rec.Body.String())
	rec, refused = askOwner(t, server, http.MethodGet, "openapi.json", "")
	require.Nil(t, refused)
	require.Contains(t, rec.Body.String(), "/registration/{realm}/audit")
	rec, refused = askOwner(t, server, http.MethodGet, "default/users?name=ada", "")
	require.Nil(t, refused)
	require.Contains(t, rec.Body.String(), `"username":"ada"`)
	s.SignedIn("ada")
	rec, refused = askOwner(t, server, http.MethodGet, "default/users/ada/sessions", "")
	require.Nil(t, refused)
	require.Equal(t, 1, strings.Count(rec.Body.String(), "\n"))
	_, refused = askOwner(t, server, http.MethodPost, "default/users/ada/groups", `{"add": ["`+strings.Repeat("x", 70_000)+`"]}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, refused.Status)
}
