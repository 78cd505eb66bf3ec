// overload_test.go: far more sign-ins than the machine can hash.

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
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
	mu           sync.Mutex
	good, busy   []time.Duration
	other        []string
	withoutRetry int
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

// overloaded waits until the crowd is there: somebody more got in, and somebody more
// was told to wait.
func (seen *signIns) overloaded(t *testing.T) {
	t.Helper()
	count := func() (good, busy int) {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return len(seen.good), len(seen.busy)
	}
	goodBefore, busyBefore := count()
	require.True(t, served.Eventually(func() bool {
		good, busy := count()
		return good > goodBefore && busy > busyBefore
	}, 10*time.Millisecond), "this is no overload, or nobody gets in")
}

// signInAgain is somebody who signs in when the crowd has hung up, and asks again where
// the server hasn't noticed that yet. It returns how long that took.
func signInAgain(s *served.Server) time.Duration {
	s.T.Helper()
	begin := time.Now()
	c := s.Client()
	require.True(s.T, served.Eventually(func() bool {
		res := c.Do(http.MethodPost, "/accounts/login", map[string]any{"login": "ada", "password": served.TestPassword})
		require.Contains(s.T, []int{http.StatusOK, http.StatusServiceUnavailable}, res.StatusCode, res.Text)
		return res.StatusCode == http.StatusOK
	}, 100*time.Millisecond), "no service after the crowd")
	return time.Since(begin)
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

		ctx, end := context.WithCancel(t.Context())
		wait := signInCrowd(s, ctx, crowd, &seen)
		seen.overloaded(t)
		done := guarded.start(t)
		if profile := os.Getenv("REGISTRATION_PROFILE"); profile != "" {
			raw := s.AdminRequest(http.MethodGet, "/debug/pprof/profile?seconds=2", "", "")
			require.NoError(t, os.WriteFile(profile, []byte(raw.Text), 0o600))
		}
		pressed := done()
		hashing := hashingProcess(s)
		// The pages of the program's file are the server's too, which counts them.
		aside = max(aside, memoryOf(s, hashing, "VmHWM")-memoryOf(s, hashing, "RssFile"))
		end()
		after := signInAgain(s)
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
	require.NotContains(t, s.Log.Since(0), "unable to determine directory", "where it hashes, Caddy looks for its folders")
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
	if slowest := slices.Max(busiest); long && slowest > 2*time.Second {
		t.Errorf("it took %v after the crowd until somebody could sign in, more than two seconds", slowest)
	}
	faultResult(t, "overload: 1 000 sign-ins under way at any moment", "memory under 300 MB; guarded p99 at most 3 times idle; the excess told 503 in under a second; full service at once afterwards",
		fmt.Sprintf("%d MB; p99 %s idle, %s loaded: %.1f times; %d signed in, %d told 503, the slowest after %s; the next sign-in took %s",
			peak>>20, shortly(median(idle)), shortly(median(loaded)), ratio, len(seen.good), len(seen.busy),
			shortly(percentile(seen.busy, 1)), shortly(median(busiest))))
}

// hashingProcess waits until the server hashes in a process of its own that can do
// nothing but that, and returns its id. A crowd starts it, and on a slow machine that
// takes a while.
func hashingProcess(s *served.Server) (pid int) {
	s.T.Helper()
	lacking := ""
	there := served.Eventually(func() bool {
		pids := children(s)
		if lacking = fmt.Sprintf("%d processes", len(pids)); len(pids) == 1 {
			pid, lacking = pids[0], rightsOf(pids[0])
		}
		return lacking == ""
	}, 10*time.Millisecond)
	require.True(s.T, there, "it hashes in a process of its own, which has no rights: %s", lacking)
	return pid
}

// rightsOf returns "" where a process is the hidden command and can do nothing but
// that, and else what is there instead.
func rightsOf(pid int) string {
	read := func(name string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	if line := read("cmdline"); line != "caddy\x00registration\x00hash-passwords\x00" {
		return line
	}
	status := read("status")
	for _, want := range []string{"NoNewPrivs:\t1", "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000"} {
		if !strings.Contains(status, want) {
			return status
		}
	}
	if limits := read("limits"); !regexp.MustCompile(`Max core file size +0 +0 `).MatchString(limits) {
		return limits
	}
	return ""
}
