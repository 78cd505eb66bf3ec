// settings.go:

package sitetest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/inside"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// TemplatesFolder puts files into a new templates folder.
func TemplatesFolder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	return dir
}

// OtherLanguages are all but English, and those that only say what another language says
// otherwise.
func OtherLanguages() []string {
	return slices.DeleteFunc(slices.Collect(maps.Keys(text.Shipped())), func(name string) bool {
		return name == text.DefaultLanguage || len(text.Shipped()[name]) < len(text.Shipped()[text.DefaultLanguage])
	})
}

// FaultResult adds a row to the table of the fault harness, see integration/.
func FaultResult(t testing.TB, fault, goal, seen string) {
	t.Helper()
	t.Logf("fault: %s: %s: %s", fault, goal, seen)
	path := os.Getenv("REGISTRATION_FAULTS_TABLE")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	_, err = fmt.Fprintf(file, "| %s | %s | %s | held |\n", fault, goal, seen)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// WithJWT turns access tokens on.
func WithJWT(s *registration.Settings) {
	s.Login.Token, s.Login.JWT = On(), new(registration.JWTSettings)
}

// newJWTSite runs a realm with access tokens whose keys are as young as the
// clock of the test says.
func NewJWT(t testing.TB, configure ...func(*registration.Settings)) *Site {
	s := New(t, append([]func(*registration.Settings){WithJWT}, configure...)...)
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue(session.AccessKeysValue, []byte("[]")) }))
	require.NoError(t, s.Accounts.Access.RefreshKeys(t.Context(), s.Realm.Now()))
	return s
}

func LoginBy(names ...string) func(*registration.Settings) {
	return func(s *registration.Settings) { s.User.LoginFields = names }
}

func WriteFile(path, text string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600))
}

func Redirecting(s *registration.Settings) {
	r := registration.RedirectSettings{SuccessRedirect: "/welcome/?from=mail", FailureRedirect: "https://app.example.net/failed"}
	s.Register.RedirectSettings, s.ResetPassword.RedirectSettings, s.RegisterEmail.RedirectSettings = r, r, r
}

// WithoutVerification makes new accounts usable at once.
func WithoutVerification(s *registration.Settings) { s.Register.Verification = Off() }

func WithTokens(s *registration.Settings) { s.Login.Token = On() }

func Throttled(s *registration.Settings) { s.Throttle = registration.ThrottleSettings{} }

func Resolved(t testing.TB, configure ...func(*registration.Settings)) *registration.Settings {
	t.Helper()
	s := Settings()
	for _, c := range configure {
		c(s)
	}
	resolved, err := inside.Resolve(s)
	require.NoError(t, err)
	return resolved.(*registration.Settings)
}

// Letters is what mails see of resolved settings.
func Letters(s *registration.Settings) letter.Options { return inside.Letters(s) }

// WithFields adds fields to the settings.
func WithFields(fields ...field.Spec) func(*registration.Settings) {
	return func(s *registration.Settings) { s.User.Fields = append(s.User.Fields, fields...) }
}

// NoVerification lets a new account sign in at once.
func NoVerification(s *registration.Settings) { s.Register.Verification = Off() }
