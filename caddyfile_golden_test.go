// caddyfile_golden_test.go: Caddyfile -> JSON for good ones, and the error for
// wrong ones, as Caddy's own adapter gives them. -update writes the goldens.

package registration_test

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
		"register", "login", "reset_password", "register_email", "change_password", "session", "password", "throttle", "non_field_errors_key", "pages", "factors", "notices", "source",
	} {
		require.Contains(t, got, key)
	}
	require.Len(t, got, 30, "a new setting needs its place in full.caddyfile")
	for key, fields := range map[string]int{"user": 6, "register": 21, "login": 6, "reset_password": 10, "register_email": 9, "change_password": 1, "session": 6, "password": 7, "throttle": 7, "pages": 10, "factors": 6} {
		require.Len(t, got[key], fields, key)
	}
}

// The words behind `backup` come in any order, and each wrong one is named.
func TestBackupInTheCaddyfile(t *testing.T) {
	adapt := func(store string) (string, error) {
		out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("example.com {\n\tregistration {\n\t\tbase_url https://example.com\n\t\tfrom a@example.com\n\t\tmailer log\n\t\tstore bbolt "+store+"\n\t}\n}\n"), map[string]any{"filename": "Caddyfile"})
		return string(out), err
	}
	for store, want := range map[string]string{
		"{\n backup /b\n}":                 `"backup":{"folder":"/b"},`,
		"{\n backup /b keep 2 every 2d\n}": `"backup":{"every":172800000000000,"folder":"/b","keep":2},`,
		"{\n}":                             `"store":{"module":"bbolt"}`,
	} {
		out, err := adapt(store)
		require.NoError(t, err, store)
		require.Contains(t, out, want)
	}
	for store, want := range map[string]string{
		"a b":                                "takes one path",
		"{\n backups /b\n}":                  `has no setting "backups"`,
		"{\n backup /b\n backup /c\n}":       "backup stands twice",
		"{\n backup\n}":                      "store.backup.folder: missing",
		"{\n backup /b every\n}":             "every has no value",
		"{\n backup /b every 1h every 2h\n}": "every stands twice",
		"{\n backup /b every soon\n}":        `"soon" is no duration`,
		"{\n backup /b every 0s\n}":          `"0s" is no duration`,
		"{\n backup /b every 59s\n}":         "write a time from a minute to a year",
		"{\n backup /b every 400d\n}":        "write a time from a minute to a year",
		"{\n backup /b every -24h\n}":        "write a time from a minute to a year",
		"{\n backup /b keep all\n}":          `"all" is no number`,
		"{\n backup /b keep 0\n}":            `"0" is no number from 1 on`,
		"{\n backup /b keep -1\n}":           "write how many backups are kept",
		"{\n backup /b keep 10001\n}":        "write how many backups are kept",
		"{\n backup /b at night\n}":          `backup has no word "at"`,
	} {
		_, err := adapt(store)
		require.ErrorContains(t, err, want, store)
		require.Regexp(t, fileAndLine, err.Error())
	}
}

// A value that is written and empty, as where a variable isn't set, is no way to turn
// a setting off.
func TestEmptyValueInTheCaddyfile(t *testing.T) {
	t.Setenv("SIGNUP_CODE", "")
	adapt := func(line string) error {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("example.com {\n"+line+"\n}\n"), map[string]any{"filename": "Caddyfile"})
		return err
	}
	in := func(line string) string {
		return "registration {\nbase_url https://example.com\nfrom a@example.com\nmailer log\n" + line + "\n}"
	}
	const what = ": a value is empty; write one, or remove the line"
	cases := map[string][2]string{
		"a variable that isn't set": {in("register {\ncode \"{$SIGNUP_CODE}\"\n}"), "register.code" + what},
		"one of two":                {in("secret \"{$SIGNUP_CODE}\" 0123456789abcdef"), "secret" + what},
		"of a list":                 {in("register {\nallow_domains example.com \"\"\n}"), "register.allow_domains" + what},
		"a page":                    {in("register {\nterms \"\" 1\n}"), "register.terms" + what},
		"a version":                 {in("register {\nterms /terms.html \"\"\n}"), "register.terms" + what},
		"a store's path":            {in("store bbolt \"\""), "store" + what},
		"the path":                  {"registration \"\" {\n}", "path" + what},
		"the matcher of a guard":    {"require_login \"\"", "the matcher" + what},
		"an option of a mailer":     {"registration {\nmailer smtp a.example {\nusername \"\"\n}\n}", "username takes one value"},
		"a field's label":           {in("user {\nfield nick text {\nlabel \"\"\n}\n}"), "user.field.nick.label" + what},
	}
	for block, settings := range map[string][]string{
		"":               {"realm", "reply_to", "templates", "language", "trusted_origins", "pages", "audit", "authz", "non_field_errors_key"},
		"register":       {"mode", "notify", "contact", "deny_domains", "reason", "fields", "verification_url", "reserved_names", "success_redirect", "enabled"},
		"session":        {"cookie_domain", "cookie_name", "same_site", "lifetime"},
		"pages":          {"title", "logo", "logo_dark", "favicon", "accent", "stylesheet", "home", "goodbye"},
		"register_email": {"undo_url", "max_age"},
		"factors":        {"rp_id", "undo_url"},
		"notices":        {"end_sign_in_url"},
	} {
		for _, setting := range settings {
			line, path := setting+" \"\"", setting
			if block != "" {
				line, path = block+" {\n"+line+"\n}", block+"."+setting
			}
			cases[path] = [2]string{in(line), path + what}
		}
	}
	for _, setting := range []string{"realm", "group", "login_url", "factors", "max_age", "copy_headers", "keep_credentials", "basic"} {
		cases["guard "+setting] = [2]string{"require_login {\n" + setting + " \"\"\n}", setting + what}
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			err := adapt(cases[name][0])
			require.ErrorContains(t, err, cases[name][1])
			require.Regexp(t, fileAndLine, err.Error())
		})
	}
}
