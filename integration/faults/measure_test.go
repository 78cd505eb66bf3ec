// measure_test.go: what the faults measure with: the size of the server's
// process, and how long guarded pages take, seen from a process of its own.

package faults_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// size is what a process takes of the machine.
type size struct {
	rss, peak   int64 // bytes of resident memory, now and at most
	descriptors int
	goroutines  int
}

func (s size) String() string {
	return fmt.Sprintf("%d MB, %d goroutines, %d descriptors", s.rss>>20, s.goroutines, s.descriptors)
}

var goroutinesInProfile = regexp.MustCompile(`goroutine profile: total (\d+)`)

// measure asks the kernel and Caddy's own profiler (the admin endpoint).
func measure(s *served.Server) size {
	s.T.Helper()
	found := goroutinesInProfile.FindStringSubmatch(s.AdminRequest(http.MethodGet, "/debug/pprof/goroutine?debug=1", "", "").Text)
	require.NotNil(s.T, found, "no profile of the goroutines")
	out := size{}
	out.goroutines, _ = strconv.Atoi(found[1])
	out.rss, out.peak = memory(s, "VmRSS"), memory(s, "VmHWM")
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Cmd.Process.Pid))
	require.NoError(s.T, err)
	out.descriptors = len(open)
	return out
}

// memory reads a line of /proc/<pid>/status, in bytes.
func memory(s *served.Server, line string) int64 {
	s.T.Helper()
	return memoryOf(s, s.Cmd.Process.Pid, line)
}

// children are the processes that the server has started and that still run.
func children(s *served.Server) (pids []int) {
	s.T.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.Cmd.Process.Pid))
	require.NoError(s.T, err)
	for _, path := range paths {
		text, _ := os.ReadFile(path) // of a thread that may have ended
		for _, word := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(word)
			require.NoError(s.T, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

func memoryOf(s *served.Server, pid int, line string) int64 {
	s.T.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(s.T, err)
	found := regexp.MustCompile(line + `:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(s.T, found, line)
	kilobytes, err := strconv.ParseInt(string(found[1]), 10, 64)
	require.NoError(s.T, err)
	return kilobytes << 10
}

// needsLinux skips what reads /proc or mounts.
func needsLinux(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
}

// storeSize is the size of the account file, 0 where there is none.
func storeSize(s *served.Server) int64 {
	s.T.Helper()
	if served.InDatabase() {
		return 0
	}
	info, err := os.Stat(filepath.Join(s.DataDir(), "registration.db"))
	require.NoError(s.T, err)
	return info.Size()
}

// percentile returns the value below which the share p of the sorted values is.
func percentile[T any](sorted []T, p float64) (zero T) {
	if len(sorted) == 0 {
		return zero
	}
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

func median[T int64 | float64 | time.Duration](values []T) T {
	values = slices.Clone(values)
	slices.Sort(values)
	return percentile(values, 0.5)
}

// A probe is a process that asks for one page at a steady pace, whether or not
// the answers keep up. It is a process of its own, so that what the test itself
// does to the server is not in its figures.
type probe struct {
	URL, Cookie string
	Every, For  time.Duration
}

// probed is what it saw.
type probed struct {
	Sorted   []time.Duration // of the good answers
	Failures []string        // the first few others
	Failed   int
}

func (p probed) at(share float64) time.Duration { return percentile(p.Sorted, share) }

// probeEnv makes the test binary a probe.
const probeEnv = "REGISTRATION_PROBE"

// start runs the probe; the returned function waits for its end.
func (p probe) start(t testing.TB) (wait func() probed) {
	t.Helper()
	config, err := json.Marshal(p)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), probeEnv+"="+string(config))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return func() probed {
		var seen probed
		raw, err := io.ReadAll(out)
		require.NoError(t, err)
		require.NoError(t, cmd.Wait())
		require.NoError(t, json.Unmarshal(raw, &seen), string(raw))
		return seen
	}
}

// run is the probe in its own process.
func (p probe) run(w io.Writer) error {
	client := &http.Client{Timeout: served.Patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	type result struct {
		took time.Duration
		err  error
	}
	count := int(p.For / p.Every)
	results := make(chan result, count)
	tick := time.NewTicker(p.Every)
	defer tick.Stop()
	for range count {
		due := <-tick.C
		go func() {
			err := p.ask(client)
			results <- result{time.Since(due), err}
		}()
	}
	var seen probed
	for range count {
		switch r := <-results; {
		case r.err == nil:
			seen.Sorted = append(seen.Sorted, r.took)
		default:
			if seen.Failed++; seen.Failed <= 5 {
				seen.Failures = append(seen.Failures, r.err.Error())
			}
		}
	}
	slices.Sort(seen.Sorted)
	return json.NewEncoder(w).Encode(seen)
}

func (p probe) ask(client *http.Client) error {
	req, err := http.NewRequest(http.MethodGet, p.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Cookie", "registration="+p.Cookie)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), "for members") {
		return fmt.Errorf("%s %.80q %w", res.Status, body, err)
	}
	return nil
}

// beProbe runs as a probe where the environment says so.
func beProbe() (code int, is bool) {
	config := os.Getenv(probeEnv)
	if config == "" {
		return 0, false
	}
	var p probe
	err := json.Unmarshal([]byte(config), &p)
	if err == nil {
		err = p.run(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// shortly is a duration as a table shows it.
func shortly(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// newJar is an empty cookie jar.
func newJar() (http.CookieJar, error) { return cookiejar.New(nil) }
