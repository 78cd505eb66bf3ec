//go:build unix

// move_test.go: a site that is carried from the file to a database and back: who was signed in
// is, and what was queued is sent once.

package command_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/command"
	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

// moves runs `move` with a configuration that names this place.
func moves(t *testing.T, to command.Place, args ...string) (string, error) {
	t.Helper()
	root := &cobra.Command{Use: "caddy", SilenceUsage: true, SilenceErrors: true}
	parent := &cobra.Command{Use: "registration "}
	root.AddCommand(parent)
	command.AddTo(parent, nil, nil, func(context.Context, *command.Flags) (command.Place, error) { return to, nil })
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append([]string{"registration", "move"}, args...))
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestMovingASite(t *testing.T) {
	sitetest.Embedded(t)
	server := pgtest.Start(t, "fsync=off")
	dir := t.TempDir()
	file := filepath.Join(dir, "former.db")
	before := sitetest.NewAt(t, file)
	before.Member("ada")
	cookies := before.SignedIn("ada").Cookie
	before.Mailer.Mu.Lock()
	before.Mailer.Fail = func(*mail.Message) error { return errors.New("451 later") }
	before.Mailer.Mu.Unlock()
	res := before.Browser().Post("/accounts/send-reset-password-link/", sitetest.Data{"login": "ada"})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	realm := func() string { // of the test's sites
		var name string
		copied := filepath.Join(t.TempDir(), "copy.db")
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(copied, raw, 0o600))
		contents, err := bolt.Verify(copied)
		require.NoError(t, err)
		require.Len(t, contents.Realms, 1)
		name = contents.Realms[0]
		return name
	}

	path := filepath.Join(dir, "registration.db") // sitetest makes a schema of it
	sum := sha256.Sum256([]byte(path))
	schema := "test_" + hex.EncodeToString(sum[:8])
	database := command.Place{Database: &postgres.Options{URL: server.URL(), Schema: schema, Pool: 4}}
	_, err := moves(t, database, "--from", file)
	require.ErrorIs(t, err, store.ErrStoreLocked)
	require.ErrorContains(t, err, "stop the server")
	before.Close()
	name := realm()
	source, err := os.ReadFile(file)
	require.NoError(t, err)

	out, err := moves(t, database, "--from", file, "--realm", name)
	require.NoError(t, err)
	require.Contains(t, out, "account\t1\nsession\t1\nmail\t")
	require.Contains(t, out, "Start the servers")
	_, err = moves(t, database, "--from", file, "--realm", name)
	require.ErrorIs(t, err, store.ErrNotEmpty)
	require.ErrorContains(t, err, "name another file, database or schema")
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(source, now), "the source is as it was")

	t.Setenv("REGISTRATION_STORE", server.URL())
	there := sitetest.NewAt(t, path)
	signedIn(t, there, cookies)
	there.Travel(time.Hour) // to the next try
	require.NotEmpty(t, there.Mail().Subject)
	there.NoMail()
	t.Setenv("FORMER", server.URL())
	back := filepath.Join(dir, "back.db")
	_, err = moves(t, command.Place{File: back}, "--from", "env:FORMER", "--from-schema", schema, "--realm", name)
	require.ErrorIs(t, err, store.ErrStoreLocked)
	require.ErrorContains(t, err, "nodes are at work on the schema "+schema)
	require.ErrorContains(t, err, "stop all of them")
	require.NoFileExists(t, back)
	there.Close()

	t.Setenv("REGISTRATION_STORE", "")
	_, err = moves(t, command.Place{File: back}, "--from", "env:FORMER", "--from-schema", schema, "--realm", name, "--json")
	require.NoError(t, err)
	again := sitetest.NewAt(t, back)
	signedIn(t, again, cookies)
	again.NoMail()
}

func signedIn(t *testing.T, s *sitetest.Site, cookies map[string]string) {
	t.Helper()
	b := s.Browser()
	b.Cookie = cookies
	res := b.Get("/accounts/profile")
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, "ada", res.JSON(t)["username"])
}

func TestMoveRefuses(t *testing.T) {
	dir := t.TempDir()
	to := command.Place{File: filepath.Join(dir, "to.db")}
	t.Setenv("EMPTY", "")
	t.Setenv("ODD", "postgres://user:hunter2@[/x")
	t.Setenv("AWAY", "host="+dir+" user=x password=hunter2 dbname=x")
	foreign := filepath.Join(dir, "foreign.db")
	require.NoError(t, os.WriteFile(foreign, []byte(strings.Repeat("no accounts", 1000)), 0o600))
	for args, says := range map[string]string{
		"":                                      "--from is missing",
		"--from postgres://u:hunter2@host/x":    "others see a command line",
		"--from env:EMPTY":                      "EMPTY is empty",
		"--from env:ODD":                        "can't be read",
		"--from env:AWAY":                       "can't be reached",
		"--from " + filepath.Join(dir, "no.db"): "there is no account file",
		"--from " + foreign:                     "it is not an account file",
	} {
		out, err := moves(t, to, strings.Fields(args)...)
		require.ErrorContains(t, err, says, args)
		require.NotContains(t, out+err.Error(), "hunter2", args)
		require.NoFileExists(t, to.File)
	}
	empty := filepath.Join(dir, "empty.db")
	f, err := bolt.Open(empty, time.Second)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = moves(t, to, "--from", empty)
	require.ErrorContains(t, err, "has no realm default")
}
