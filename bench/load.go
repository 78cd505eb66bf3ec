// load.go: wrk, and what its answer is trusted for: every request must have
// succeeded, and where all answers are alike, all their bytes are counted.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A load is what wrk sends.
type load struct {
	url         string
	headers     []string // "Name: value"
	connections int
	// script is Lua that defines request(), for bodies that differ; "": none.
	script string
	args   []string // of the script's init
	// answer is the size of each answer in bytes, head and body, as one checked
	// answer had it; 0 where they differ.
	answer int
}

// A shot is what came of a load.
type shot struct {
	Requests int     `json:"requests"`
	Bytes    int     `json:"bytes"`
	Micros   float64 `json:"micros"`
	P50      float64 `json:"p50"` // microseconds
	P99      float64 `json:"p99"`
	Status   int     `json:"status"` // answers above 399
	Failed   int     `json:"failed"` // connections, reads, writes
	Timeouts int     `json:"timeouts"`

	cpu time.Duration // of the server
}

func (s shot) rate() float64    { return float64(s.Requests) / s.Micros * 1e6 }
func (s shot) cpuEach() float64 { return float64(s.cpu.Nanoseconds()) / 1e3 / float64(s.Requests) } // microseconds
func (s shot) millis() float64  { return s.Micros / 1e3 / float64(s.Requests) }

const doneScript = `
function done(summary, latency, requests)
  local e = summary.errors
  io.stderr:write(string.format('{"requests":%d,"bytes":%d,"micros":%d,"p50":%f,"p99":%f,"status":%d,"failed":%d,"timeouts":%d}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write, e.timeout))
end
`

// fire runs wrk for a while against a server.
func (b *bench) fire(ctx context.Context, s *server, l load, d time.Duration, cpus string) (shot, error) {
	file, err := os.CreateTemp(b.dir, "load-*.lua")
	if err != nil {
		return shot{}, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	if _, err := io.WriteString(file, l.script+doneScript); err != nil {
		return shot{}, err
	}
	if err := file.Close(); err != nil {
		return shot{}, err
	}
	words := append(b.pinned(cpus), "wrk", "-t1", "-c", strconv.Itoa(l.connections), "--timeout", "30s",
		"-d", strconv.Itoa(int(d/time.Second))+"s", "-s", file.Name())
	for _, h := range l.headers {
		words = append(words, "-H", h)
	}
	words = append(append(words, l.url), l.args...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // our own words
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	before, err := s.cpu()
	if err != nil {
		return shot{}, err
	}
	if err := cmd.Run(); err != nil {
		return shot{}, fmt.Errorf("wrk: %w: %s%s", err, out.String(), errOut.String())
	}
	after, err := s.cpu()
	if err != nil {
		return shot{}, err
	}
	result := shot{cpu: after - before}
	last := strings.TrimSpace(errOut.String())
	if err := json.Unmarshal([]byte(last[strings.LastIndexByte(last, '\n')+1:]), &result); err != nil {
		return shot{}, fmt.Errorf("wrk said %q: %w", last, err)
	}
	switch {
	case result.Requests == 0 || result.Status > 0 || result.Failed > 0 || result.Timeouts > 0:
		return shot{}, fmt.Errorf("%s: not every request succeeded: %+v", l.url, result)
	case l.answer > 0 && unlike(result, l):
		return shot{}, fmt.Errorf("%s: %d answers have %d bytes, not %d each", l.url, result.Requests, result.Bytes, l.answer)
	}
	return result, nil
}

// unlike reports whether the bytes are not those of the answers. At the end wrk
// may have read answers, or parts, that it does not count: at most one a connection.
func unlike(s shot, l load) bool {
	over := s.Bytes - s.Requests*l.answer
	return over < 0 || over > l.connections*l.answer
}

// check sends one request and compares status and body; it returns the size of
// the whole answer and a copy of its header.
func check(ctx context.Context, l load, status int, body func([]byte) bool) (size int, head http.Header, text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	for _, h := range l.headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	req.Header.Set("Accept-Encoding", "identity") // Go would ask for gzip
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err = io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, nil, err
	}
	if resp.StatusCode != status || !body(text) {
		return 0, nil, nil, fmt.Errorf("%s answers %s with %d bytes: %.200q", l.url, resp.Status, len(text), text)
	}
	size = len("HTTP/1.1 "+resp.Status+"\r\n\r\n") + len(text)
	for name, values := range resp.Header {
		for _, v := range values {
			size += len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	return size, resp.Header, text, nil
}

// write puts a file into the run's folder and returns its path.
func (b *bench) write(name, text string) (string, error) {
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // Caddy serves it
		return "", err
	}
	return path, os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // Caddy serves it
}
