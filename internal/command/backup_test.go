// backup_test.go: `backup` and `restore`: what they say, and what they leave where
// something fails.

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// storeFileOf makes a store with so many accounts and returns its file and a backup of it.
func storeFileOf(t *testing.T, accounts int) (file string, backup []byte) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "registration.db")
	f, err := bolt.Open(file, time.Minute)
	require.NoError(t, err)
	realm, err := f.Realm("default")
	require.NoError(t, err)
	require.NoError(t, realm.Update(t.Context(), func(tx store.Tx) error {
		for range accounts {
			id := uuid.Must(uuid.NewV7())
			if err := tx.PutUser(&store.User{ID: id, Username: id.String()}, []store.Key{{Field: "username", Value: id.String()}}); err != nil {
				return err
			}
		}
		return nil
	}))
	copied, err := f.Backup(t.Context())
	require.NoError(t, err)
	backup, err = io.ReadAll(copied)
	require.NoError(t, err)
	require.NoError(t, errors.Join(copied.Close(), f.Close()))
	return file, backup
}

// sends answers a backup of so many bytes as it says.
func sends(body io.Reader, size int) *scripted {
	return &scripted{answers: []func(*http.Request) (*http.Response, error){func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, ContentLength: int64(size), Body: io.NopCloser(body)}, nil
	}}}
}

func requireOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	found := []string{}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	require.ElementsMatch(t, names, found)
}

func TestBackupIsWrittenWhole(t *testing.T) {
	_, raw := storeFileOf(t, 2)
	dir := t.TempDir()
	file := filepath.Join(dir, "b.db")
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".b.db.unfinished-1"), nil, 0o600))
	s := sends(bytes.NewReader(raw), len(raw))
	out, _, err := runs(t.Context(), s, "backup", file)
	require.NoError(t, err)
	require.Contains(t, out, file+" has 2 accounts in 1 realm, ")
	require.Equal(t, []string{"/registration/default/backup"}, s.asked)
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, raw, got)
	requireOnly(t, dir, "b.db") // what was killed before is gone

	out, _, err = runs(t.Context(), sends(bytes.NewReader(raw), len(raw)), "backup", file, "--json")
	require.NoError(t, err)
	var said backedUp
	require.NoError(t, json.Unmarshal([]byte(out), &said))
	require.Equal(t, backedUp{File: file, Realms: []string{"default"}, Accounts: 2, Size: int64(len(raw))}, said)
}

func TestBackupLeavesTheLastOne(t *testing.T) {
	_, raw := storeFileOf(t, 1)
	for name, c := range map[string]struct {
		server *scripted
		says   string
	}{
		"no server":      {&scripted{}, "connection refused"},
		"refused":        {&scripted{answers: []func(*http.Request) (*http.Response, error){says(http.StatusConflict, strings.NewReader(`{"error": "another backup of this store is being made"}`))}}, "another backup"},
		"no room":        {sends(bytes.NewReader(raw), math.MaxInt64), "there is no room"},
		"broken off":     {sends(io.MultiReader(bytes.NewReader(raw[:5000]), &brokenReader{}), len(raw)), "the backup broke off"},
		"cut short":      {sends(bytes.NewReader(raw[:len(raw)/2]), len(raw)/2), "could not be read back"},
		"something else": {sends(strings.NewReader("no accounts in here"), 19), "could not be read back"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "b.db")
		_, _, err := runs(t.Context(), c.server, "backup", file)
		require.ErrorContains(t, err, c.says, name)
		require.ErrorContains(t, err, "nothing was written", name)
		requireOnly(t, dir)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "b.db")
	require.NoError(t, os.WriteFile(file, []byte("the last one"), 0o600))
	_, _, err := runs(t.Context(), &scripted{}, "backup", file)
	require.ErrorContains(t, err, file+" is still the one from before")
	_, _, err = runs(t.Context(), &scripted{}, "backup", dir)
	require.EqualError(t, err, dir+" is not a file; name one", "nothing of it is from before")
	_, _, err = runs(t.Context(), &scripted{}, "backup", filepath.Join(dir, "missing", "b.db"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, _, err = runs(t.Context(), &scripted{}, "backup", filepath.Join(file, "b.db"))
	require.Error(t, err)
	requireOnly(t, dir, "b.db")
}

// restores runs `restore` on a store's file, or with an error in its place.
func restores(t *testing.T, file string, err error, args ...string) (string, error) {
	t.Helper()
	cmd := treeOf(nil, func(context.Context, *Flags) (string, error) { return file, err }).Root()
	cmd.SilenceErrors = true
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	cmd.SetArgs(append([]string{"registration", "restore"}, args...))
	ran := cmd.ExecuteContext(t.Context())
	return out.String(), ran
}

func TestRestoreSaysWhatItDid(t *testing.T) {
	file, raw := storeFileOf(t, 3)
	backup := filepath.Join(t.TempDir(), "b.db")
	require.NoError(t, os.WriteFile(backup, raw, 0o600))
	out, err := restores(t, file, nil, backup)
	require.NoError(t, err)
	require.Contains(t, out, file+" has 3 accounts in 1 realm, ")
	require.Contains(t, out, "What was there before is "+file+".before-restore-")

	missing := filepath.Join(t.TempDir(), "new", "registration.db")
	out, err = restores(t, missing, nil, backup, "--json")
	require.NoError(t, err)
	var said backedUp
	require.NoError(t, json.Unmarshal([]byte(out), &said))
	require.Equal(t, missing, said.File)
	require.Empty(t, said.Kept)

	_, err = restores(t, "", errors.New("a server runs at localhost:2019"), backup)
	require.EqualError(t, err, "a server runs at localhost:2019")
	before, err := os.ReadFile(missing)
	require.NoError(t, err)
	_, err = restores(t, missing, nil, filepath.Join(t.TempDir(), "nothing"))
	require.ErrorContains(t, err, "nothing has been restored")
	for says, content := range map[string]string{
		"(it is damaged; take another one): it is shorter": string(raw[:len(raw)/2]),
		"(it is no backup of accounts; name a file that":   "some text, no accounts",
		"not even the place for them":                      "",
	} {
		bad := filepath.Join(t.TempDir(), "bad.db")
		require.NoError(t, os.WriteFile(bad, []byte(content), 0o600))
		_, err = restores(t, missing, nil, bad)
		require.ErrorContains(t, err, "nothing has been restored: backup "+bad+" cannot be restored ")
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "account file")
	}
	_, err = restores(t, missing, nil, t.TempDir())
	require.ErrorContains(t, err, "name a file, not a folder")
	_, err = restores(t, missing, nil, filepath.Join(t.TempDir(), "nothing"))
	require.ErrorContains(t, err, "there is no backup")
	source := filepath.Join(t.TempDir(), "served.db")
	require.NoError(t, os.WriteFile(source, raw, 0o600))
	open, err := bolt.Open(source, time.Minute)
	require.NoError(t, err)
	_, err = restores(t, missing, nil, source)
	require.ErrorIs(t, err, store.ErrStoreLocked)
	require.ErrorContains(t, err, "so it is a store and no backup")
	require.NoError(t, open.Close())
	held, err := bolt.Open(missing, time.Minute)
	require.NoError(t, err)
	_, err = restores(t, missing, nil, backup)
	require.ErrorIs(t, err, store.ErrStoreLocked)
	require.NoError(t, held.Close())
	_, err = restores(t, missing, nil, missing)
	require.ErrorContains(t, err, "is the account file itself")
	requireOnly(t, filepath.Dir(missing), "registration.db")
	require.NotEmpty(t, before)
}
