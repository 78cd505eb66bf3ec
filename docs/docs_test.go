// docs_test.go: what stands in the pages is true as far as a machine can tell: each
// Caddyfile of them and of examples/ loads, each link leads somewhere, and the README
// is short.
//
// A fence `caddyfile` is a whole Caddyfile, `caddyfile site` what stands in a site, and
// `caddyfile registration` what stands between the braces of that directive.

package docs_test

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"

	_ "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/moving"
	"github.com/seed-928992b0/caddy-registration/internal/password"
)

const root = ".."

// filesOf are those of the repository whose names fit.
func filesOf(t *testing.T, fits func(name string) bool) (found []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "dist", "node_modules", "testdata"}, entry.Name()):
			return fs.SkipDir
		case !entry.IsDir() && fits(entry.Name()):
			found = append(found, path)
		}
		return nil
	}))
	return found
}

func pages(t *testing.T) []string {
	return filesOf(t, func(name string) bool { return strings.HasSuffix(name, ".md") })
}

// A fence is a block of code in a page.
type fence struct {
	line     int
	language string // the whole of what follows the three backticks
	text     string
}

func fencesOf(text string) (fences []fence) {
	var open *fence
	for i, line := range strings.Split(text, "\n") {
		switch language, is := strings.CutPrefix(line, "```"); {
		case is && open == nil:
			open = &fence{line: i + 1, language: language}
		case is:
			fences, open = append(fences, *open), nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return fences
}

const (
	wrapping = "example.com { # a part of one\n"
	hash     = "$2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"
	accounts = "registration {\nbase_url https://example.com\nfrom no-reply@example.com\nmailer log\n}\n"
)

// wholeOf puts a part of a Caddyfile where it belongs.
func wholeOf(t *testing.T, f fence) string {
	text := strings.NewReplacer("registration { … }", accounts, "$2a$14$…", hash).Replace(f.text)
	switch f.language {
	case "caddyfile":
		return text
	case "caddyfile site":
		if !strings.Contains(text, "registration {") {
			text = accounts + text
		}
		if strings.Contains(text, "@strangers") && !strings.Contains(text, "@strangers {") {
			text = "@strangers not remote_ip 10.0.0.0/8\n" + text
		}
	case "caddyfile registration":
		for _, needed := range []string{"base_url https://example.com", "from no-reply@example.com", "mailer log"} {
			name, _, _ := strings.Cut(needed, " ")
			if !regexp.MustCompile(`(?m)^\s*` + name + ` `).MatchString(text) {
				text = needed + "\n" + text
			}
		}
		text = "registration {\n" + text + "}\n"
	default:
		require.Fail(t, "no such kind of Caddyfile", f.language)
	}
	return wrapping + text + "}\n"
}

// TestEveryCaddyfileLoads adapts and provisions each, as `caddy validate` does.
func TestEveryCaddyfileLoads(t *testing.T) {
	whole := map[string]string{}
	for _, path := range pages(t) {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, f := range fencesOf(string(raw)) {
			if strings.HasPrefix(f.language, "caddyfile") {
				whole[path+":"+strconv.Itoa(f.line)] = wholeOf(t, f)
			}
		}
	}
	for _, path := range filesOf(t, func(name string) bool { return strings.HasSuffix(name, "Caddyfile") }) {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		whole[path] = string(raw)
	}
	require.Greater(t, len(whole), 30)
	for name, text := range whole {
		t.Run(strings.TrimPrefix(name, "../"), func(t *testing.T) {
			var err error
			config := adapt(t, text, strings.HasPrefix(text, wrapping))
			// Paths of an owner's machine stand for files of this test.
			dir := t.TempDir()
			for _, file := range regexp.MustCompile(`/(etc|var|run)/[A-Za-z0-9_./-]+`).FindAllString(config, -1) {
				path := filepath.Join(dir, file)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
				if filepath.Ext(file) != "" || strings.HasPrefix(file, "/run/") {
					require.NoError(t, os.WriteFile(path, []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), 0o600))
				} else {
					require.NoError(t, os.MkdirAll(path, 0o700))
				}
			}
			config = regexp.MustCompile(`/(etc|var|run)/`).ReplaceAllString(config, dir+"$0")
			for _, placeholder := range regexp.MustCompile(`\{env\.([A-Z_]+)\}`).FindAllStringSubmatch(config, -1) {
				t.Setenv(placeholder[1], cmp.Or(map[string]string{"WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}[placeholder[1]], "a secret of the environment"))
			}
			if strings.Contains(config, "{env.DATABASE_URL}") { // nobody listens there: that is told, and no mistake
				t.Setenv("DATABASE_URL", "postgres:///accounts?host="+dir)
			}
			t.Setenv("XDG_DATA_HOME", dir)
			t.Setenv("XDG_CONFIG_HOME", dir)
			t.Chdir(root)
			var parsed caddy.Config
			require.NoError(t, json.Unmarshal([]byte(config), &parsed))
			parsed.StorageRaw, err = json.Marshal(map[string]string{"module": "file_system", "root": dir}) // the default is of the machine
			require.NoError(t, err)
			require.NoError(t, caddy.Validate(&parsed), config)
		})
	}
}

func adapt(t *testing.T, text string, wrapped bool) string {
	t.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	require.NoError(t, err, text)
	for _, w := range warnings {
		require.True(t, wrapped && strings.Contains(w.Message, "not formatted"), w.String())
	}
	return string(config)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	code    = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
)

// anchorOf is the name that GitHub gives to a heading.
func anchorOf(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	links := 0
	for _, path := range pages(t) {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(string(raw), ""), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, ":") { // another site
				continue
			}
			links++
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			_, err := os.Stat(file)
			require.NoError(t, err, "%s links to %s", path, match[1])
			if anchor == "" {
				continue
			}
			there, err := os.ReadFile(file)
			require.NoError(t, err)
			var anchors []string
			for _, h := range heading.FindAllStringSubmatch(string(there), -1) {
				anchors = append(anchors, anchorOf(h[1]))
			}
			require.Contains(t, anchors, anchor, "%s links to %s", path, match[1])
		}
	}
	require.Greater(t, links, 40)
}

// TestReadmeIsShort: it is the way in; the reference is in docs/.
func TestReadmeIsShort(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	require.Less(t, strings.Count(string(raw), "\n"), 250)
}

// TestImageHasItsFiles: what the Dockerfile copies and compose.yaml mounts is there, and
// .dockerignore doesn't keep it from the build.
func TestImageHasItsFiles(t *testing.T) {
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		return string(raw)
	}
	var named []string
	for _, match := range regexp.MustCompile(`(?m)^COPY ([A-Za-z./ ]+) \S+$`).FindAllStringSubmatch(read("Dockerfile"), -1) {
		named = append(named, strings.Fields(match[1])...)
	}
	for _, match := range regexp.MustCompile(`(?m)^ +- \./(\S+?):/`).FindAllStringSubmatch(read("compose.yaml"), -1) {
		named = append(named, match[1])
	}
	require.Greater(t, len(named), 5)
	ignored := strings.Fields(read(".dockerignore"))
	for _, name := range named {
		_, err := os.Stat(filepath.Join(root, name))
		require.NoError(t, err)
		top, _, _ := strings.Cut(name, "/")
		require.NotContains(t, ignored, top)
	}
}

// TestMovingIsWhole: each format of a file has its recipe, and each of a kept hash its row.
func TestMovingIsWhole(t *testing.T) {
	raw, err := os.ReadFile("moving/README.md")
	require.NoError(t, err)
	for _, format := range moving.Formats() {
		require.Contains(t, string(raw), "| `"+format+"` |")
		if format == "ndjson" {
			continue
		}
		recipe, err := os.ReadFile("moving/" + format + ".md")
		require.NoError(t, err)
		require.Contains(t, string(raw), "]("+format+".md)")
		require.Contains(t, string(recipe), "caddy registration import --format "+format+" --dry-run ")
	}
	for _, format := range password.Formats() {
		require.Regexp(t, "(?m)^\\|[^|]*`"+format+"`[^|]*\\|", string(raw))
	}
}
