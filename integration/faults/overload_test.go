// overload_test.go: far more sign-ins than the machine can hash.

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// costlySite is plainSite with the default hash, which is what an overload is made of.
var costlySite = strings.Replace(served.PlainSite, "argon2id 8KiB 1 1", "argon2id 19MiB 2 1", 1)

// signIns are the answers to a crowd that signs in.
type signIns struct {
	mu              sync.Mutex
	good, busy      []time.Duration
	other           []string
	firstGood       time.Time
	withoutRetry    int
	lastErrorOfRead error
}

// signInCrowd keeps n sign-ins under way until ctx ends.
func signInCrowd(s *served.Server, ctx context.Context, n int, seen *signIns) (wait func()) {
	transport := &http.Transport{MaxIdleConnsPerHost: n, MaxConnsPerHost: n}
	client := &http.Client{Transport: transport}
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				body := fmt.Sprintf(`{"login":"ada","password":%q}`, served.TestPassword)
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Base()+"/accounts/login", strings.NewReader(body))
				if err != nil {
					panic(err)
				}
				req.Header.Set("Content-Type", "application/json")
				begin := time.Now()
				res, err := client.Do(req)
				took := time.Since(begin)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				seen.add(res, err, took)
			}
		})
	}
	return func() { all.Wait(); transport.CloseIdleConnections() }
}

func (seen *signIns) add(res *http.Response, err error, took time.Duration) {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case err != nil:
		seen.other = append(seen.other, err.Error())
	case res.StatusCode == http.StatusOK:
		seen.good = append(seen.good, took)
	case res.StatusCode == http.StatusServiceUnavailable:
		seen.busy = append(seen.busy, took)
		if res.Header.Get("Retry-After") == "" {
			seen.withoutRetry++
		}
	default:
		seen.other = append(seen.other, res.Status)
	}
}

// TestFaultOverload: idle and overloaded rounds take turns, so that whatever
// else the machine does falls on both.
func TestFaultOverload(t *testing.T) {
	needsLinux(t)
	const crowd = 1000
	s := served.Run(t, costlySite)
	c := s.Member("ada")
	guarded := probe{URL: s.Base() + "/members/", Cookie: c.Cookie(), Every: 5 * time.Millisecond}
	var idle, loaded, busiest []time.Duration
	var seen signIns
	var aside int64 // the most memory of the hashing process
	rounds := lengths(2, 7)
	guarded.For = lengths(2*time.Second, 6*time.Second)
	for range rounds {
		quiet := guarded.start(t)()
		require.Empty(t, quiet.Failures)

		ctx, end := context.WithTimeout(t.Context(), served.Patience)
		wait := signInCrowd(s, ctx, crowd, &seen)
		time.Sleep(time.Second) // until all have come
		done := guarded.start(t)
		if profile := os.Getenv("REGISTRATION_PROFILE"); profile != "" {
			raw := s.AdminRequest(http.MethodGet, "/debug/pprof/profile?seconds=2", "", "")
			require.NoError(t, os.WriteFile(profile, []byte(raw.Text), 0o600))
		}
		pressed := done()
		hashing := children(s)
		require.Len(t, hashing, 1, "it hashes in a process of its own")
		requireNoRights(t, hashing[0])
		// The pages of the program's file are the server's too, which counts them.
		aside = max(aside, memoryOf(s, hashing[0], "VmHWM")-memoryOf(s, hashing[0], "RssFile"))
		end()
		begin := time.Now()
		again := s.Client()
		again.HTTP.Timeout = 2 * time.Second
		again.SignIn("ada")
		after := time.Since(begin)
		wait()
		require.Empty(t, pressed.Failures, "guarded pages failed")
		idle, loaded, busiest = append(idle, quiet.at(0.99)), append(loaded, pressed.at(0.99)), append(busiest, after)
		t.Logf("guarded p50 %v -> %v, p99 %v -> %v, max %v -> %v; sign-in at once afterwards: %v", quiet.at(0.5), pressed.at(0.5),
			quiet.at(0.99), pressed.at(0.99), quiet.at(1), pressed.at(1), after)
	}
	slices.Sort(seen.busy)
	slices.Sort(seen.good)
	peak := memory(s, "VmHWM") + aside
	ratio := float64(median(loaded)) / float64(median(idle))
	t.Logf("%d signed in (p50 %v, max %v), %d were told to wait (p50 %v, max %v), peak %d MB, %d MB of them where it hashes, p99 ratio %.2f", len(seen.good),
		percentile(seen.good, 0.5), percentile(seen.good, 1), len(seen.busy), percentile(seen.busy, 0.5), percentile(seen.busy, 1), peak>>20, aside>>20, ratio)

	require.Empty(t, seen.other)
	require.Zero(t, seen.withoutRetry, "503 without Retry-After")
	require.NotEmpty(t, seen.good, "nobody got in")
	require.NotEmpty(t, seen.busy, "this was no overload")
	require.Less(t, peak, lengths[int64](400<<20, 300<<20), "resident memory")
	// Times are judged in the long form alone, which is for a quiet machine; the
	// row is written either way.
	if long && ratio > 3 {
		t.Errorf("guarded pages took %.1f times as long as idle (99th percentile), more than 3", ratio)
	}
	if slowest := percentile(seen.busy, 1); long && slowest > time.Second {
		t.Errorf("the excess was told after %v, more than a second", slowest)
	}
	faultResult(t, "overload: 1 000 sign-ins under way at any moment", "memory under 300 MB; guarded p99 at most 3 times idle; the excess told 503 in under a second; full service at once afterwards",
		fmt.Sprintf("%d MB; p99 %s idle, %s loaded: %.1f times; %d signed in, %d told 503, the slowest after %s; the next sign-in took %s",
			peak>>20, shortly(median(idle)), shortly(median(loaded)), ratio, len(seen.good), len(seen.busy),
			shortly(percentile(seen.busy, 1)), shortly(median(busiest))))
}

// requireNoRights: the process that hashes is the hidden command, and can do
// nothing but that.
func requireNoRights(t *testing.T, pid int) {
	t.Helper()
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	require.NoError(t, err)
	require.Equal(t, "caddy\x00registration\x00hash-passwords\x00", string(line))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	require.Contains(t, string(status), "NoNewPrivs:\t1")
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
		require.Contains(t, string(status), set+":\t0000000000000000")
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	require.NoError(t, err)
	require.Regexp(t, `Max core file size +0 +0 `, string(limits))
}
