// look_test.go: mails in the colours of the site, with its picture: which picture mail
// programs are given, and that nothing of a mail lies on a server.

package letter_test

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// picture is a file of this size; noisy: it can't be compressed.
func picture(t *testing.T, name string, width, height int, noisy bool) string {
	t.Helper()
	img := image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.White, color.Black})
	if noisy {
		for i := range img.Pix {
			img.Pix[i] = byte(rand.IntN(2)) //nolint:gosec // noise
		}
	}
	var out bytes.Buffer
	switch filepath.Ext(name) {
	case ".gif":
		require.NoError(t, gif.Encode(&out, img, nil))
	case ".jpg":
		require.NoError(t, jpeg.Encode(&out, img, nil))
	default:
		require.NoError(t, png.Encode(&out, img))
	}
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, out.Bytes(), 0o600))
	return file
}

func TestMailsCarryTheSitesLook(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "logo.svg")
	require.NoError(t, os.WriteFile(svg, []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), 0o600))
	broken := filepath.Join(t.TempDir(), "logo.png")
	require.NoError(t, os.WriteFile(broken, []byte("no picture"), 0o600))
	for name, c := range map[string]struct {
		logo, contentType, size string // contentType "": the name of the site stands there
	}{
		"none":                             {"", "", ""},
		"small":                            {picture(t, "a.png", 60, 20, false), "image/png", `width="60" height="20"`},
		"tall":                             {picture(t, "a.png", 100, 200, false), "image/png", `width="20" height="40"`},
		"wide":                             {picture(t, "a.gif", 800, 50, false), "image/gif", `width="192" height="12"`},
		"a hair":                           {picture(t, "a.png", 4000, 2, false), "image/png", `width="192" height="1"`},
		"a photograph":                     {picture(t, "a.jpg", 80, 40, false), "image/jpeg", `width="80" height="40"`},
		"too large for each mail":          {picture(t, "a.png", 1200, 1200, true), "", ""},
		"no picture that programs show":    {svg, "", ""},
		"no picture, whatever it's called": {broken, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, func(s *registration.Settings) {
				s.Pages.Title, s.Pages.Logo, s.Pages.Accent = "The <garden>", c.logo, "7a1f5c"
			})
			require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
			m := s.Mail()
			require.NotContains(t, m.Text, "cid:")
			require.Contains(t, m.Text, "The <garden>")
			require.Contains(t, m.HTML, "background:#7a1f5c;color:#ffffff")
			require.Contains(t, m.HTML, ".link { color: #")
			require.NotContains(t, m.HTML, "ZgotmplZ")
			require.NotRegexp(t, `(?i)(src|background|srcset)\s*=\s*"?https?:|url\(`, m.HTML, "nothing is fetched")
			if c.contentType == "" {
				require.NotContains(t, m.HTML, "<img")
				require.Empty(t, m.Images)
				return
			}
			require.Len(t, m.Images, 1)
			require.Equal(t, c.contentType, m.Images[0].Type)
			raw, err := os.ReadFile(c.logo)
			require.NoError(t, err)
			require.Equal(t, raw, m.Images[0].Content)
			require.Regexp(t, regexp.QuoteMeta(`<img class="logo" src="cid:`+m.Images[0].ID+`" alt="The &lt;garden&gt;" `+c.size), m.HTML)
			_, err = m.Render()
			require.NoError(t, err)
		})
	}
}

// A body of the owner's that doesn't show the picture doesn't carry it.
func TestALogoThatNoBodyShows(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, sitetest.WriteFile(filepath.Join(folder, "own.html"), `<p>{{.Link}}</p>`))
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Templates, s.Pages.Logo = folder, picture(t, "a.png", 60, 20, false)
		s.Register.Mail.Body = "own.html"
	})
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	require.Empty(t, s.Mail().Images)
}

// No template of a mail has a colour of its own for buttons or links.
func TestMailsHaveOneAccent(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sitetest.Root(), "templates", "*", "*.html"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotRegexp(t, `class="(link|button)"[^>]*#[0-9a-f]{6}`, string(raw), file)
	}
}
