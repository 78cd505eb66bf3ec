// breach_test.go: the search in files of all forms and sizes, the questions to a service.

package breach_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/breach"
	"github.com/seed-928992b0/caddy-registration/internal/password"
)

func digits(password string) string {
	sum := sha1.Sum([]byte(password))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// sorted is a file of passwords as people download it.
func sorted(end string, passwords ...string) string {
	lines := make([]string, len(passwords))
	for i, p := range passwords {
		lines[i] = fmt.Sprintf("%s:%d%s", digits(p), i+1, end)
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func fileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pwned.txt")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func open(t *testing.T, path string) *breach.File {
	t.Helper()
	f, err := breach.OpenFile(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint("password-", i)
	}
	return list
}

func TestEveryLineOfAFileIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		n    int
		edit func(string) string
	}{
		"one line":                {1, nil},
		"one line without end":    {1, func(s string) string { return strings.TrimSpace(s) }},
		"a page":                  {90, nil},
		"three pages":             {250, nil},
		"a megabyte":              {23_000, nil},
		"CRLF":                    {3_000, func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }},
		"lower case":              {3_000, strings.ToLower},
		"no end of the last line": {3_000, func(s string) string { return strings.TrimSpace(s) }},
		"no counts": {3_000, func(s string) string {
			var b strings.Builder
			for line := range strings.Lines(s) {
				b.WriteString(line[:40] + "\n")
			}
			return b.String()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			text := sorted("\n", names(c.n)...)
			if c.edit != nil {
				text = c.edit(text)
			}
			f := open(t, fileOf(t, text))
			for _, p := range names(c.n) {
				found, err := f.Breached(t.Context(), p)
				require.NoError(t, err)
				require.True(t, found, p)
			}
			for i := range 2_000 {
				found, err := f.Breached(t.Context(), fmt.Sprint("another-", i))
				require.NoError(t, err)
				require.False(t, found)
			}
		})
	}
}

func TestWhatIsNoFileOfHashesIsRefused(t *testing.T) {
	good := sorted("\n", names(3_000)...)
	lines := strings.SplitAfter(good, "\n")
	turned := slices.Clone(lines[:3_000])
	slices.Reverse(turned)
	byCount := slices.Clone(lines[:40])
	slices.SortFunc(byCount, func(a, b string) int { return strings.Compare(a[40:], b[40:]) })
	half := strings.Repeat("0", 32)
	for name, c := range map[string]struct{ text, says string }{
		"empty":                 {"", "is empty"},
		"words":                 {"password\n123456\n", "HASH:COUNT"},
		"one long line":         {strings.Repeat("A", 100_000), "HASH:COUNT"},
		"packed":                {"\x1f\x8b\x08" + good, "HASH:COUNT"},
		"no hexadecimal":        {strings.Repeat("X", 40) + ":1\n", "HASH:COUNT"},
		"the count is none":     {digits("a") + ":often\n", "HASH:COUNT"},
		"NTLM":                  {half + ":1\n", "NTLM"},
		"turned":                {strings.Join(turned, ""), "sorted"},
		"small, by count":       {strings.Join(byCount, ""), "sorted"},
		"the end is turned":     {good + lines[0], "sorted"},
		"the end is none":       {good + "<html>\n", "HASH:COUNT"},
		"the middle is garbage": {good[:len(good)/2] + strings.Repeat("x", 10_000) + good[len(good)/2:], "HASH:COUNT"},
		"lines without end":     {good[:43] + strings.ReplaceAll(good, "\n", " "), "HASH:COUNT"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := breach.OpenFile(fileOf(t, c.text))
			require.ErrorContains(t, err, c.says)
		})
	}
	dir := t.TempDir()
	_, err := breach.OpenFile(dir)
	require.ErrorContains(t, err, "is no file")
	_, err = breach.OpenFile(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = breach.OpenFile(os.DevNull)
	require.ErrorContains(t, err, "is no file")
	if os.Getuid() != 0 {
		locked := fileOf(t, good)
		require.NoError(t, os.Chmod(locked, 0))
		_, err = breach.OpenFile(locked)
		require.ErrorIs(t, err, os.ErrPermission)
	}
}

// A count of nothing is no password that anybody had.
func TestACountOfNothing(t *testing.T) {
	f := open(t, fileOf(t, digits("a")+":00\n"))
	found, err := f.Breached(t.Context(), "a")
	require.NoError(t, err)
	require.False(t, found)
}

// An owner may put another file in its place, cut it, or write into it.
func TestAFileThatChanges(t *testing.T) {
	path := fileOf(t, sorted("\n", names(3_000)...))
	f := open(t, path)
	other := fileOf(t, sorted("\n", "another"))
	require.NoError(t, os.Rename(other, path))
	found, err := f.Breached(t.Context(), "password-7")
	require.NoError(t, err)
	require.True(t, found, "the one that was opened")
	found, err = open(t, path).Breached(t.Context(), "another")
	require.NoError(t, err)
	require.True(t, found)

	path = fileOf(t, sorted("\n", names(3_000)...))
	f = open(t, path)
	for name, text := range map[string]string{"emptied": "", "small": "x\n", "a long line": strings.Repeat("y", 100_000), "long garbage": strings.Repeat("zz\n", 30_000)} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		found, err := f.Breached(t.Context(), "password-7")
		require.False(t, found, name)
		require.Equal(t, text == "", err == nil, name)
	}
	require.NoError(t, f.Close())
	_, err = f.Breached(t.Context(), "password-7")
	require.ErrorIs(t, err, os.ErrClosed)
}

// large writes a sorted file of some size that has these passwords: the first in its first
// line, the last in its last, which has no end; lines end in CRLF here and in LF there.
func large(t testing.TB, size int, passwords ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pwned.txt")
	file, err := os.Create(path)
	require.NoError(t, err)
	out := bufio.NewWriterSize(file, 1<<20)
	var line []byte
	write := func(h []byte, count int) {
		line = append(strconv.AppendInt(append(hex.AppendEncode(line[:0], h), ':'), int64(count), 10), '\r', '\n')
		if count%2 == 0 {
			line = append(line[:len(line)-2], '\n')
		}
		_, _ = out.Write(bytes.ToUpper(line))
	}
	sums := make([][]byte, len(passwords))
	for i, p := range passwords {
		sum := sha1.Sum([]byte(p))
		sums[i] = sum[:]
	}
	require.True(t, slices.IsSortedFunc(sums, bytes.Compare), "by their hashes")
	lowest, highest := binary.BigEndian.Uint64(sums[0]), binary.BigEndian.Uint64(sums[len(sums)-1])
	n := uint64(size / 45)
	step := (highest - lowest) / n
	rows := rand.New(rand.NewPCG(1, 2))
	h := make([]byte, sha1.Size)
	for i := uint64(1); i < n; i++ {
		binary.BigEndian.PutUint64(h, lowest+i*step)
		binary.BigEndian.PutUint64(h[12:], i)
		for len(sums) > 1 && bytes.Compare(sums[0], h) < 0 {
			write(sums[0], 3)
			sums = sums[1:]
		}
		write(h, rows.IntN(900)+1)
	}
	_, _ = fmt.Fprintf(out, "%X:4", sums[0])
	require.NoError(t, out.Flush())
	require.NoError(t, file.Close())
	return path
}

// atThe finds a password whose hash begins with these two bytes.
func atThe(begin uint16) string {
	for i := 0; ; i++ {
		p := fmt.Sprint("number ", i)
		if sum := sha1.Sum([]byte(p)); binary.BigEndian.Uint16(sum[:]) == begin {
			return p
		}
	}
}

// some are passwords in the order of their hashes, from the first that there can be to the last.
func some() []string { return []string{atThe(0), atThe(0x4d2f), atThe(0x8000), atThe(0xffff)} }

func sizeOfLarge() int {
	if os.Getenv("REGISTRATION_FAULTS") == "long" {
		return 1 << 30
	}
	return 1 << 20
}

// TestALargeFile is the long one: a gigabyte, as the list grows by that a year.
func TestALargeFile(t *testing.T) {
	size := sizeOfLarge()
	inside := some()
	path := large(t, size, inside...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f := open(t, path)
	for _, p := range inside {
		found, err := f.Breached(t.Context(), p)
		require.NoError(t, err)
		require.True(t, found, p)
	}
	began := time.Now()
	const tries = 1_000
	for i := range tries {
		found, err := f.Breached(t.Context(), fmt.Sprint("not there ", i))
		require.NoError(t, err)
		require.False(t, found)
	}
	took := time.Since(began) / tries
	runtime.ReadMemStats(&after)
	each := (after.TotalAlloc - before.TotalAlloc) / tries
	t.Logf("%d MB: %v and %d bytes a search; %d KB more from the system", size>>20, took, each, (after.Sys-before.Sys)>>10)
	require.Less(t, each, uint64(32<<10), "by whatever the size is")
	require.Less(t, after.Sys-before.Sys, uint64(64<<20), "the memory is not the file's")
	require.Less(t, testing.AllocsPerRun(10, func() { _, _ = f.Breached(t.Context(), inside[0]) }), 100.0)
}

// BenchmarkLargeFile says what a search costs against the hash that a new password is given
// anyway, by turns; with REGISTRATION_FAULTS=long in a gigabyte.
func BenchmarkLargeFile(b *testing.B) {
	path := large(b, sizeOfLarge(), some()...)
	f, err := breach.OpenFile(path)
	require.NoError(b, err)
	b.Cleanup(func() { _ = f.Close() })
	var ratios []float64
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		_, _ = password.Hash("correct horse", password.DefaultParams)
		hashed := time.Since(began)
		const each = 20
		began = time.Now()
		for j := range each {
			if _, err := f.Breached(b.Context(), fmt.Sprint("not there ", i, j)); err != nil {
				b.Fatal(err)
			}
		}
		ratios = append(ratios, float64(time.Since(began))/each/float64(hashed))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "of-a-hash")
}

// service answers as the range API does, padded.
func service(t *testing.T, passwords ...string) (*httptest.Server, *[]*http.Request) {
	t.Helper()
	var asked []*http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r)
		prefix := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		var lines []string
		for _, p := range passwords {
			if rest, ok := strings.CutPrefix(digits(p), prefix); ok {
				lines = append(lines, rest+":12")
			}
		}
		for i := range 800 {
			lines = append(lines, digits(fmt.Sprint("padding", i))[5:]+":0")
		}
		lines = append(lines, digits("padded")[5:]+":0")
		slices.Sort(lines)
		_, _ = w.Write([]byte(strings.Join(lines, "\r\n")))
	}))
	t.Cleanup(s.Close)
	return s, &asked
}

func online(url string) *breach.Online {
	return &breach.Online{Client: breach.NewClient(), URL: url, UserAgent: "caddy-registration", Timeout: time.Minute}
}

func TestOnlyFiveDigitsAreTold(t *testing.T) {
	s, asked := service(t, "monkey", "dragon")
	for _, url := range []string{s.URL + "/range", s.URL + "/range/"} {
		for password, want := range map[string]bool{"monkey": true, "dragon": true, "Monkey": false, "padded": false, "": false} {
			found, err := online(url).Breached(t.Context(), password)
			require.NoError(t, err)
			require.Equal(t, want, found, password)
			r := (*asked)[len(*asked)-1]
			require.Equal(t, "/range/"+digits(password)[:5], r.RequestURI)
			require.Equal(t, "true", r.Header.Get("Add-Padding"))
			require.Equal(t, "caddy-registration", r.UserAgent())
			for name, values := range r.Header {
				require.NotContains(t, strings.Join(values, " "), digits(password)[5:15], name)
			}
		}
	}
}

// TestAServiceThatFails: each is an error, and no answer; and the digits that were told
// stand in none.
func TestAServiceThatFails(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"an error":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "503"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, "302"},
		"too much":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 3*(1<<20))) }, "more than"},
		"HTML":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "range protocol"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("AB"))
		}, "EOF"},
		"large heads": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "header"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.answer)
			defer s.Close()
			_, err := online(s.URL).Breached(t.Context(), "monkey")
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, strings.ToUpper(err.Error()), digits("monkey")[:5])
		})
	}
	require.Zero(t, elsewhere, "no redirect is followed")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, err = online("http://"+address).Breached(t.Context(), "monkey")
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), digits("monkey")[:5])
	_, err = online("http://\x00").Breached(t.Context(), "monkey")
	require.Error(t, err)
}

// Nobody waits for a service: what it has not said in a second, it has not said.
func TestAServiceThatIsSlow(t *testing.T) {
	stop := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(stop)
	o := online(s.URL)
	o.Timeout = 0
	_, err := o.Breached(t.Context(), "monkey")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = online(s.URL).Breached(ctx, "monkey")
	require.ErrorIs(t, err, context.Canceled)
}
