// front_page_test.go: where people go after a sign-in, by what the site has at its front page.

package guarded_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestFrontPageAfterASignIn(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "site"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "bare"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "site", "index.html"), []byte("welcome"), 0o600))
	cases := []struct {
		rest  string
		front bool
	}{
		{"root * [[dir]]/site\n\tfile_server", true},
		{"root * [[dir]]/bare\n\tfile_server", false},
		{"root * [[dir]]/bare\n\tfile_server browse", true},
		{"", false},
		{"respond 404", false},
		{"respond /members/* inside", false},
		{"respond hello", true},
		{"handle {\n\t\terror 404\n\t}", false},
		{"header X-Y z\n\treverse_proxy 127.0.0.1:9", true},
		{"require_login {\n\t\trealm [[realm]]\n\t}\n\trespond hello", true},
		{"require_login {\n\t\trealm [[realm]]\n\t\tgroup staff\n\t}\n\trespond hello", false},
	}
	var config strings.Builder
	config.WriteString("{\n\tadmin 127.0.0.1:[[admin]]\n\tdefault_bind 127.0.0.1\n}\n")
	for i, c := range cases {
		name := fmt.Sprintf("front%d", i)
		fmt.Fprintf(&config, `http://%[1]s.example:[[port]] {
	registration {
		realm %[1]s
		base_url http://%[1]s.example:[[port]]
		from no-reply@example.com
		mailer log
		register {
			verification off
			auto_login on
		}
		password {
			argon2id 8KiB 1 1
		}
	}
	%[2]s
}
`, name, strings.ReplaceAll(c.rest, "[[realm]]", name))
	}
	s.Configure(config.String())
	s.Start()
	for i, c := range cases {
		b := s.Client()
		b.Header.Set("Host", fmt.Sprintf("front%d.example:%d", i, s.Port))
		b.Header.Set("Accept", served.BrowserAccept)
		form := url.Values{}
		for name, value := range served.Newcomer("ada") {
			form.Set(name, fmt.Sprint(value))
		}
		res := b.Do(http.MethodPost, "/accounts/register/", form)
		want := "/accounts/profile/"
		if c.front {
			want = "/"
		}
		require.Equal(t, want, res.Header.Get("Location"), "%s: %s", c.rest, res.Text)
	}
}
