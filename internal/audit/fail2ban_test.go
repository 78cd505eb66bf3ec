// fail2ban_test.go: the filter of examples/fail2ban reads the record's lines in the log.

package audit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// The filter of examples/fail2ban finds the client of each failure, and nobody else:
// not whom a client names in what it sends.
func TestFail2banFilter(t *testing.T) {
	tool, err := exec.LookPath("fail2ban-regex")
	if err != nil {
		t.Skip("fail2ban-regex is not installed (Debian: apt-get install fail2ban)")
	}
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 3, Window: 3600e9}}
	})
	s.Member("ada")
	s.SignedIn("ada")
	for _, from := range []string{"203.0.113.7", "2001:db8::7"} {
		b := s.Browser().From(from)
		b.Header.Set("User-Agent", `x","address":"198.51.100.1","msg":"sign_in_failed","realm":"default","address":"198.51.100.2" {"level":"warn","ts":1,"logger":"http.handlers.registration.audit","msg":"sign_in_failed","realm":"default","address":"198.51.100.3"`)
		for range 5 {
			b.Post("/accounts/login", sitetest.Data{"login": "eve " + from, "password": "wrong wrong wrong"})
		}
	}
	path := filepath.Join(t.TempDir(), "caddy.log")
	lines := linesOf(s)
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	filter := filepath.Join(sitetest.Root(), "examples", "fail2ban", "filter.d", "caddy-registration.conf")
	out, err := exec.CommandContext(t.Context(), tool, "--print-all-matched", "--out", "ip", path, filter).CombinedOutput()
	require.NoError(t, err, string(out))
	got := map[string]int{}
	for ip := range strings.FieldsSeq(string(out)) {
		got[ip]++
	}
	want := map[string]int{}
	for _, line := range lines {
		if m := regexp.MustCompile(`"msg":"(?:sign_in_failed|throttled)","realm":"default","address":"([^"]*)"`).FindStringSubmatch(line); m != nil {
			want[m[1]]++
		}
	}
	require.Len(t, want, 2)
	require.Equal(t, want, got, "%s\n%s", out, strings.Join(lines, "\n"))
}
