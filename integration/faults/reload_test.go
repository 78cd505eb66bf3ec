// reload_test.go: a reload every second under load, with a control: the
// same Caddy without this plugin.

package faults_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// bareSite answers the requests of the test alike, without this plugin.
const bareSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://127.0.0.1:[[port]] {
	respond /accounts/login "You’re signed in."
	respond "for members: ada"
}
`

// reloads is what the clients of a Caddy saw that was reloaded again and again.
type reloads struct {
	served, cut atomic.Int64
	good, bad   int
	wrong       served.Group // answers that nobody should get
}

// reloadAgain reloads n times while people read and sign in. Every third
// configuration is a bad one, and must be refused.
func reloadAgain(t *testing.T, s *served.Server, c *served.Client, n int, every time.Duration, good string, bad []string) *reloads {
	t.Helper()
	var seen reloads
	stop := make(chan struct{})
	request := func(reader *served.Client, signsIn bool) error {
		req := reader.Request(http.MethodGet, "/members/", nil)
		want := "for members"
		if signsIn {
			req = reader.Request(http.MethodPost, "/accounts/login", data{"login": "ada", "password": served.TestPassword})
			want = "signed in"
		}
		res, err := reader.HTTP.Do(req)
		if err != nil { // cut off: what the control is for
			seen.cut.Add(1)
			return nil
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			seen.cut.Add(1)
			return nil
		}
		if res.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			return fmt.Errorf("%s %.100q", res.Status, body)
		}
		seen.served.Add(1)
		return nil
	}
	for worker := range 6 {
		reader := s.Client()
		if worker < 4 {
			reader.HTTP.Jar = c.HTTP.Jar
		}
		seen.wrong.Go(func() error {
			defer reader.HTTP.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return nil
				case <-time.After(2 * time.Millisecond):
					if err := request(reader, worker >= 4); err != nil {
						return err
					}
				}
			}
		})
	}
	for i := range n {
		next := time.Now().Add(every)
		if i%3 == 2 {
			res := s.Load(bad[i/3%len(bad)])
			require.Equal(t, http.StatusBadRequest, res.StatusCode, res.Text)
			seen.bad++
		} else {
			res := s.Load(strings.Replace(good, "for members:", fmt.Sprintf("for members, version %d:", i), 1))
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			seen.good++
		}
		time.Sleep(time.Until(next))
	}
	close(stop)
	require.NoError(t, seen.wrong.Wait())
	return &seen
}

func TestFaultReload(t *testing.T) {
	needsLinux(t)
	n, every := lengths(12, 60), lengths(250*time.Millisecond, time.Second)
	if testing.Short() {
		n = 6
	}
	s := served.Run(t, served.PlainSite)
	c := s.Member("ada")
	broken := filepath.Join(s.Dir, "broken", "register")
	require.NoError(t, os.MkdirAll(broken, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(broken, "subject.txt"), []byte("{{.Nonsense}}"), 0o600))
	var bad []string
	for _, change := range [][2]string{
		{"base_url", "base_ulr"},
		{"from no-reply@example.com", "from {env.REGISTRATION_UNSET}"},
		{"registration {", "registration {\n\t\ttemplates [[dir]]/broken"},
		{"registration {", "registration {\n\t\tstore bbolt [[dir]]/Caddyfile"},
		{"require_login /members/*", "require_login /members/* {\n\t\trealm nobody\n\t}"},
		{"respond ", "templates {\n\t\tmime\n\t}\n\trespond "},
	} {
		bad = append(bad, strings.Replace(served.PlainSite, change[0], change[1], 1))
	}
	before := measure(s)
	ours := reloadAgain(t, s, c, n, every, served.PlainSite, bad)
	c.RequireMember()
	var after size
	settled := served.Eventually(func() bool {
		after = measure(s)
		return after.goroutines <= before.goroutines+5 && after.descriptors <= before.descriptors+2
	}, 500*time.Millisecond)
	require.True(t, settled, "it does not let go: %v, before: %v", after, before)

	control := served.Run(t, bareSite)
	bare := reloadAgain(t, control, control.Client(), n, every, bareSite, []string{
		strings.Replace(bareSite, "respond ", "respnod ", 1),
		strings.Replace(bareSite, "respond \"for", "templates {\n\t\tmime\n\t}\n\trespond \"for", 1),
	})
	share := func(r *reloads) float64 { return float64(r.cut.Load()) / float64(r.cut.Load()+r.served.Load()) * 1000 }
	require.NotZero(t, ours.served.Load())
	// Connections that wait to be accepted when Caddy closes its old listener are
	// cut, a handful in a minute; more than that would be ours.
	require.LessOrEqual(t, ours.cut.Load(), 3*bare.cut.Load()+int64(n), "requests that were cut off; without the plugin: %d", bare.cut.Load())
	faultResult(t, fmt.Sprintf("reload every %v under load: %d good, %d bad configurations", every, ours.good, ours.bad),
		"no failed request but those that Caddy itself cuts off; no goroutine or descriptor leak",
		fmt.Sprintf("%d requests answered, 0 wrongly; cut off: %d (%.2f in 1 000), by the same Caddy without the plugin: %d (%.2f in 1 000); goroutines %d then %d, descriptors %d then %d",
			ours.served.Load(), ours.cut.Load(), share(ours), bare.cut.Load(), share(bare), before.goroutines, after.goroutines, before.descriptors, after.descriptors))
}
