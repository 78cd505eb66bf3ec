// app_test.go: realms and guards of one configuration: shared, refused, released.

package registration

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// shortSettings are those of the shortest configuration, with a cheap hash.
func shortSettings() *Settings {
	return &Settings{
		BaseURL: "http://example.com", From: "Example <no-reply@example.com>", MailerRaw: json.RawMessage(`{"module":"log"}`),
		Throttle: ThrottleSettings{Off: true},
		Password: PasswordSettings{Argon2id: &Argon2idSettings{Memory: 8, Passes: 1, Lanes: 1}},
	}
}

func moreFields(fields ...field.Spec) func(*Settings) {
	return func(s *Settings) { s.User.Fields = append(s.User.Fields, fields...) }
}

func putFile(path, text string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600))
}

func unpack(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unpacked)
}

func newTestApp() *App { return &App{realms: map[string]*realm{}} }

// boltRealm builds a realm on a file, as Provision does.
func boltRealm(t testing.TB, path string) func() (*realm, error) {
	return func() (*realm, error) {
		s := shortSettings()
		resolved, err := s.resolve()
		require.NoError(t, err)
		resolved.Source = "Caddyfile:3"
		return newRealm(resolved, &BoltModule{path: path, logger: zap.NewNop()}, new(LogMailer), zap.NewNop(), theMachines)
	}
}

func TestAppRealms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	app := newTestApp()
	first, err := app.define("default", "{}", "Caddyfile:3", boltRealm(t, path))
	require.NoError(t, err)
	again, err := app.define("default", "{}", "Caddyfile:9", boltRealm(t, path))
	require.NoError(t, err)
	require.Same(t, first, again, "two addresses of one site share a realm")
	_, err = app.define("default", `{"path":"/x"}`, "Caddyfile:20", boltRealm(t, path))
	require.ErrorContains(t, err, "Caddyfile:3 and Caddyfile:20")
	app.need(guardRef{realm: "default", source: "Caddyfile:5", copies: true})
	require.True(t, first.CopiesIdentity.Load())
	require.NoError(t, app.Start())
	require.NotNil(t, first.resources.courier())
	require.NoError(t, app.Stop())
	require.Nil(t, first.resources.courier())
	require.NoError(t, app.leave(again))
	require.NotNil(t, first.resources, "the other handler still has it")
	require.NoError(t, app.leave(first))
	file, err := bolt.Open(path, 100*time.Millisecond)
	require.NoError(t, err, "the file was let go")
	require.NoError(t, file.Close())
	_, err = app.define("default", "{}", "", func() (*realm, error) { return nil, errors.New("no") })
	require.Error(t, err)
}

func TestAppRefusesGuardWithoutRealm(t *testing.T) {
	app := newTestApp()
	app.need(guardRef{realm: "mebmers", source: "Caddyfile:7"})
	err := app.Start()
	require.ErrorContains(t, err, "Caddyfile:7")
	require.ErrorContains(t, err, `"mebmers"`)
	require.ErrorContains(t, err, "write realm <name> in the block of require_login")
}

func TestReloadKeepsTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	before, after, failed := newTestApp(), newTestApp(), newTestApp()
	old, err := before.define("default", "{}", "", boltRealm(t, path))
	require.NoError(t, err)
	require.NoError(t, before.Start())
	// A reload that fails after Provision gives back only what it took.
	bad, err := failed.define("default", "{}", "", boltRealm(t, path))
	require.NoError(t, err)
	failed.need(guardRef{realm: "nobody"})
	require.Error(t, failed.Start())
	require.NoError(t, failed.leave(bad))
	require.Same(t, old.courier, old.resources.courier())
	// One that works takes over the resources, the sessions and the outbox.
	fresh, err := after.define("default", "{}", "", boltRealm(t, path))
	require.NoError(t, err)
	require.NoError(t, after.Start())
	require.Same(t, old.resources, fresh.resources)
	require.Same(t, fresh.courier, fresh.resources.courier())
	require.NoError(t, before.Stop())
	require.NoError(t, before.leave(old))
	require.NoError(t, fresh.resources.store.View(t.Context(), func(store.Tx) error { return nil }), "the store is still open")
	require.NoError(t, after.Stop())
	require.NoError(t, after.leave(fresh))
}

func TestStoreInUseIsTriedAgainAtStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	other, err := bolt.Open(path, 100*time.Millisecond)
	require.NoError(t, err)
	app := newTestApp()
	r, err := app.define("default", "{}", "", boltRealm(t, path))
	require.NoError(t, err, "caddy validate beside a running server is no mistake")
	require.Nil(t, r.Accounts.Load())
	err = app.Start()
	require.ErrorIs(t, err, store.ErrStoreLocked)
	require.ErrorContains(t, err, "caddy reload")
	require.NoError(t, other.Close())
	require.NoError(t, app.Start())
	require.NoError(t, app.Stop())
	require.NoError(t, app.leave(r))
}

func TestResolveNamesWhatIsUnset(t *testing.T) {
	s := shortSettings()
	s.Secrets, s.BaseURL = []string{"{env.NO_SUCH_VARIABLE}"}, "{env.NEITHER_THIS}"
	_, err := s.resolve()
	require.ErrorContains(t, err, "secret: ")
	require.ErrorContains(t, err, "NO_SUCH_VARIABLE")
	require.ErrorContains(t, err, "base_url: ")
	t.Setenv("A_SECRET", "0123456789abcdef")
	s = shortSettings()
	s.Secrets = []string{"{env.A_SECRET}"}
	resolved, err := s.resolve()
	require.NoError(t, err)
	require.Equal(t, []string{"0123456789abcdef"}, resolved.Secrets)
	require.Equal(t, []string{"{env.A_SECRET}"}, s.Secrets, "the JSON stays as it is written")
}

func TestBrokenTemplates(t *testing.T) {
	for name, text := range map[string]string{"register/body.txt": "{{.Nothing}}", "register/subject.txt": "{{", "pages/page.html": "{{.Nothing}}", "pages/login.html": "\n{{if .Form}}{{.Nothing}}{{end}}"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, putFile(filepath.Join(dir, filepath.FromSlash(name)), text))
			s := shortSettings()
			s.Templates = dir
			resolved, err := s.resolve()
			require.NoError(t, err)
			_, err = newRealm(resolved, &BoltModule{path: filepath.Join(dir, "r.db"), logger: zap.NewNop()}, nil, zap.NewNop(), theMachines)
			require.Error(t, err)
			require.ErrorContains(t, err, filepath.Base(name))
			if dir, _, _ := strings.Cut(name, "/"); dir == "pages" {
				require.ErrorContains(t, err, filepath.Join(s.Templates, "pages"))
				require.Regexp(t, `\.html:[12]:[0-9]+`, err.Error(), "file and line")
			}
		})
	}
}

// TestCheckChangesNothing: what is built of the settings is built by resolve.
func TestCheckChangesNothing(t *testing.T) {
	for name, options := range map[string][]func(*Settings){
		"good": {moreFields(field.Spec{Name: "code", Type: "text", Unique: true}), func(s *Settings) {
			s.Register.ReservedNames, s.Login.Token, s.Login.JWT = []string{"Ada"}, new(true), new(JWTSettings)
		}},
		"wrong": {moreFields(field.Spec{Name: "code", Type: "text", MaxLength: -1}), func(s *Settings) {
			s.Register.ReservedNames, s.From, s.User.LoginFields = []string{" "}, "", []string{"none"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := shortSettings()
			for _, option := range options {
				option(s)
			}
			s.setDefaults()
			before := *s
			written, err := json.Marshal(s)
			require.NoError(t, err)
			require.Equal(t, name == "good", s.check() == nil)
			require.Equal(t, before, *s)
			after, err := json.Marshal(s)
			require.NoError(t, err)
			require.JSONEq(t, string(written), string(after))
		})
	}
}

// Loading a configuration, as `caddy validate` does, makes no file, and changes none:
// not the rights of one that others can read, nor the layout of an old one.
func TestLoadingLeavesTheStoreAsItIs(t *testing.T) {
	old, err := unpack("testdata/stores/schema1.db.gz")
	require.NoError(t, err)
	for name, before := range map[string][]byte{"an old one": old, "an empty one": {}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "deep", "r.db")
			if before != nil {
				require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
				require.NoError(t, os.WriteFile(path, before, 0o644)) //nolint:gosec // that is what it is about
			}
			app := newTestApp()
			r, err := app.define("default", "{}", "", boltRealm(t, path))
			require.NoError(t, err)
			require.NoError(t, app.leave(r))
			if before == nil {
				entries, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.Empty(t, entries)
				return
			}
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after))
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o644), info.Mode().Perm())
		})
	}
}

// Loading finds what reading can find, with the words of the start.
func TestLoadingLooksAtTheStore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("no accounts\n", 1000)), 0o600))
	for path, want := range map[string]string{
		file: "it is not an account file", dir: "name a file, not a folder", filepath.Join(file, "deep", "r.db"): "name a file, not a folder",
	} {
		_, err := boltRealm(t, path)()
		require.ErrorContains(t, err, want)
		_, openErr := bolt.Open(path, 100*time.Millisecond)
		require.ErrorContains(t, openErr, want)
	}
}

// Servers may listen before the store is open: who asks then waits for it, and does
// not for long.
// A store of the version before the leases and the audit goes on: who is signed in
// stays signed in, the mail in the queue is sent, budgets and links hold.
