// caddyfile_golden_test.go: Caddyfile -> JSON for good ones, and the error for
// wrong ones, as Caddy's own adapter gives them. -update writes the goldens.

package registration_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
)

var update = flag.Bool("update", false, "write the goldens")

func adapt(t testing.TB, name string) (string, error) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "caddyfile", name))
	require.NoError(t, err)
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(raw, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	var pretty any
	require.NoError(t, json.Unmarshal(out, &pretty))
	text, err := json.MarshalIndent(pretty, "", "\t")
	require.NoError(t, err)
	return string(text) + "\n", nil
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "caddyfile", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

var fileAndLine = regexp.MustCompile(`Caddyfile:[1-9][0-9]*`)

func TestCaddyfileGoldens(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "caddyfile", "*.caddyfile"))
	require.NoError(t, err)
	wrong := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfile")
		t.Run(name, func(t *testing.T) {
			out, err := adapt(t, name+".caddyfile")
			if !strings.HasPrefix(name, "wrong-") {
				require.NoError(t, err)
				golden(t, name+".json", out)
				return
			}
			wrong++
			require.Error(t, err)
			require.Regexp(t, fileAndLine, err.Error())
			golden(t, name+".err", err.Error()+"\n")
		})
	}
	require.GreaterOrEqual(t, wrong, 20)
}

// handlerIn finds the registration handler in an adapted configuration.
func handlerIn(t testing.TB, config string) registration.Handler {
	t.Helper()
	var find func(v any) map[string]any
	find = func(v any) map[string]any {
		switch v := v.(type) {
		case map[string]any:
			if v["handler"] == "registration" {
				return v
			}
			for _, inner := range v {
				if got := find(inner); got != nil {
					return got
				}
			}
		case []any:
			for _, inner := range v {
				if got := find(inner); got != nil {
					return got
				}
			}
		}
		return nil
	}
	var all any
	require.NoError(t, json.Unmarshal([]byte(config), &all))
	found := find(all)
	require.NotNil(t, found)
	delete(found, "handler")
	raw, err := json.Marshal(found)
	require.NoError(t, err)
	var h registration.Handler
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&h))
	return h
}

// TestFullFormSetsEverything: each setting has its form in the Caddyfile.
func TestFullFormSetsEverything(t *testing.T) {
	out, err := adapt(t, "full.caddyfile")
	require.NoError(t, err)
	raw, err := json.Marshal(handlerIn(t, out).Settings)
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(raw, &got))
	for _, key := range []string{
		"path", "realm", "base_url", "secrets", "store", "mailer", "from", "reply_to", "templates", "language", "trusted_origins", "user",
		"register", "login", "reset_password", "register_email", "change_password", "session", "password", "throttle", "non_field_errors_key", "pages", "source",
	} {
		require.Contains(t, got, key)
	}
	require.Len(t, got, 24, "a new setting needs its place in full.caddyfile")
	for key, fields := range map[string]int{"user": 5, "register": 19, "login": 3, "reset_password": 10, "register_email": 9, "change_password": 1, "session": 6, "password": 5, "throttle": 7, "pages": 4} {
		require.Len(t, got[key], fields, key)
	}
}
