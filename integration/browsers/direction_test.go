// direction_test.go: the pages in a language from right to left, and in Japanese.

package browsers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/langtest"
)

// otherScripts has Arabic letters in every message, and a dozen messages in Japanese.
func otherScripts(t *testing.T) *walker {
	t.Helper()
	s := served.NewServer(t)
	mirrored, err := langtest.Mirrored(filepath.Join(served.RepoRoot, "templates", "locales"))
	require.NoError(t, err)
	folder := filepath.Join(s.Dir, "templates", "locales")
	require.NoError(t, os.MkdirAll(folder, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ar.json"), []byte(mirrored), 0o600))
	japanese, err := os.ReadFile(filepath.Join(served.RepoRoot, "internal", "text", "testdata", "locales", "ja.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ja.json"), japanese, 0o600))
	s.Configure(strings.Replace(accessSite, "pages {", "templates [[dir]]/templates\n\t\tpages {", 1))
	s.Start()
	s.Member("ada")
	return newWalker(t, s.Base())
}

// side is where a thing begins: how far from the left and from the right end of the page.
const side = `(s => { const r = document.querySelector(s).getBoundingClientRect(); return r.left < document.documentElement.clientWidth - r.right ? "left" : "right"; })`

func TestFromRightToLeft(t *testing.T) {
	t.Parallel()
	w := otherScripts(t)
	w.speaks("ar")
	w.at200("/accounts/register/")
	require.Equal(t, []string{"ar", "rtl"}, served.Evaluate[[]string](w.Browser, `[document.documentElement.lang, document.documentElement.dir]`))
	w.show(view{1280, "light"})
	require.Equal(t, "right", served.Evaluate[string](w.Browser, side+`("label[for=username]")`), "labels begin at the right")
	require.Equal(t, "left", served.Evaluate[string](w.Browser, side+`("#password-show")`))
	require.Equal(t, []string{"ltr", "ltr", "auto"}, served.Evaluate[[]string](w.Browser, `["email", "password", "username"].map(id => document.getElementById(id).dir)`))
	w.checkIn("rtl-register", views[:3])
	require.Equal(t, 400, w.Press(submit))
	w.checkIn("rtl-register-refused", views[:3])
	w.at200("/accounts/login/")
	w.checkIn("rtl-login", views[:3])
	w.Fill("login", "ada")
	w.Fill("password", served.TestPassword)
	require.Equal(t, 200, w.Press(submit))
	w.at200("/accounts/profile/")
	w.checkIn("rtl-profile", views[:3])
	w.Fill("first_name", "Ada (Countess)")
	require.Equal(t, 200, w.Press(submit))
	require.Equal(t, "normal", served.Evaluate[string](w.Browser, `getComputedStyle(document.querySelector("h1")).letterSpacing`), "letters that join stand together")
	w.checkIn("rtl-profile-saved", views[:3])
	w.at200("/accounts/sessions/")
	require.Regexp(t, `[٠-٩]`, w.Text("time"))
	require.NotRegexp(t, `[0-9]`, w.Text("time"), "a time has digits of one kind")
	w.checkIn("rtl-sessions", views[:3])
	w.RequireQuiet()

	w.forgetCookies()
	w.speaks("ja")
	w.at200("/accounts/register/")
	require.Contains(t, served.Evaluate[string](w.Browser, `getComputedStyle(document.querySelector("input")).fontFamily`), "Hiragino Sans")
	w.checkIn("ja-register", views[:3])
	w.speaks("en")
	w.at200("/accounts/register/")
	require.NotContains(t, served.Evaluate[string](w.Browser, `getComputedStyle(document.querySelector("input")).fontFamily`), "Hiragino Sans")
	w.validate()
}
