// hardening_flood_test.go: one network floods the endpoints while people use them.

package faults_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// attackLong is set by `make attack`: attacks at full length.
var attackLong = os.Getenv("REGISTRATION_ATTACK") == "long"

// floodSite has the default throttles and hash, behind a proxy that tells who asks.
var floodSite = strings.NewReplacer(
	"argon2id 8KiB 1 1", "argon2id 19MiB 2 1", "throttle off\n", "",
	"default_bind 127.0.0.1\n", "default_bind 127.0.0.1\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1\n\t\ttrusted_proxies_strict\n\t}\n",
).Replace(served.PlainSite)

// attacker keeps requests under way from 65,536 networks of a /48: sign-ups with
// an address and nothing else, guesses, mails for names that nobody has.
func attacker(s *served.Server, done <-chan struct{}, codes *[600]atomic.Int64) (wait func()) {
	var all sync.WaitGroup
	var n atomic.Int64
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	for range 4 {
		all.Go(func() {
			client := &http.Client{Transport: transport, Timeout: served.Patience}
			for {
				select {
				case <-done:
					return
				default:
				}
				i := n.Add(1)
				path, body := "register", fmt.Sprintf(`{"email":"person%d@example.org"}`, i%100)
				switch i % 4 {
				case 1:
					path, body = "login", fmt.Sprintf(`{"login":"nobody%d","password":"a guess at something"}`, i)
				case 2:
					path, body = "send-reset-password-link", fmt.Sprintf(`{"login":"nobody%d"}`, i)
				case 3:
					path, body = "login", fmt.Sprintf(`{"login":"person%d","password":"a guess at something"}`, i/4%100)
				}
				req, err := http.NewRequest(http.MethodPost, s.Base()+"/accounts/"+path, strings.NewReader(body))
				if err != nil {
					panic(err)
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("X-Forwarded-For", fmt.Sprintf("2001:db8:0:%x::1", i*40503%65536))
				res, err := client.Do(req)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				codes[res.StatusCode].Add(1)
			}
		})
	}
	return func() { all.Wait(); transport.CloseIdleConnections() }
}

// patiently asks again where the server says that it is busy, as a person does.
func patiently(c *served.Client, endpoint string, body data) int {
	for try := 1; ; try++ {
		res := c.Do(http.MethodPost, "/accounts/"+endpoint, body)
		if res.StatusCode != http.StatusServiceUnavailable || try == 4 {
			return res.StatusCode
		}
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		time.Sleep(time.Duration(seconds) * time.Second)
	}
}

func TestHardeningFlood(t *testing.T) {
	people, enough := 10, 9
	least := 3 * time.Second
	if attackLong {
		people, enough, least = 100, 95, time.Minute
	}
	s := served.Run(t, floodSite)
	clients := make([]*served.Client, people)
	for i := range clients {
		name := fmt.Sprintf("person%d", i)
		c := s.Client()
		c.Header.Set("X-Forwarded-For", fmt.Sprintf("198.%d.100.%d", 18+i, i))
		c.Post(http.StatusCreated, "register", served.Newcomer(name))
		c.Post(http.StatusOK, "verify-registration", s.Mail(name+"@example.org", 1).Link(t))
		if i < people/2 {
			c.Post(http.StatusOK, "login", data{"login": name, "password": served.TestPassword})
			c.Post(http.StatusOK, "logout", data{})
		}
		clients[i] = c
	}
	var codes [600]atomic.Int64
	done := make(chan struct{})
	wait := attacker(s, done, &codes)
	time.Sleep(least) // so that it has filled what it can
	known, others, began := 0, 0, time.Now()
	for i, c := range clients {
		name := fmt.Sprintf("person%d", i)
		passed := true
		for _, step := range []struct {
			endpoint string
			Text     data
			want     int
		}{
			{"login", data{"login": name, "password": served.TestPassword}, http.StatusOK},
			{"register-email", data{"email": name + "@example.net"}, http.StatusOK},
			{"logout", data{}, http.StatusOK},
			{"send-reset-password-link", data{"login": name}, http.StatusOK},
			{"register", served.Newcomer("child" + strconv.Itoa(i)), http.StatusCreated},
		} {
			if got := patiently(c, step.endpoint, step.Text); got != step.want {
				t.Logf("%s: %s: %d", name, step.endpoint, got)
				passed = false
				break
			}
		}
		switch {
		case passed && i < people/2:
			known++
		case passed:
			others++
		}
	}
	took := time.Since(began)
	close(done)
	wait()
	var seen []string
	for code := range codes {
		if n := codes[code].Load(); n > 0 {
			seen = append(seen, fmt.Sprintf("%d: %d", code, n))
		}
	}
	t.Logf("of %d people on known devices %d passed, of %d others %d, in %v; the flood got %s",
		people/2, known, people-people/2, others, took.Round(time.Second), strings.Join(seen, ", "))
	require.Equal(t, people/2, known, "all who are on known devices pass")
	require.GreaterOrEqual(t, known+others, enough)
}
