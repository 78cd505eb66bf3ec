// uploads_test.go: what people send through the servers that ask: large, slow, and by who
// is not signed in.

package guarded_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// A store answers with the hash of what it was sent, and says as soon as something comes.
type store struct {
	*httptest.Server
	asked   atomic.Int64
	arrived chan string // the first bytes of an upload to /slow
}

func newStore(t *testing.T) *store {
	s := &store{arrived: make(chan string, 1)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.asked.Add(1)
		sum := sha256.New()
		if req.URL.Path == "/slow" {
			first := make([]byte, 5)
			if _, err := io.ReadFull(req.Body, first); err == nil {
				s.arrived <- string(first)
			}
			sum.Write(first)
		}
		if _, err := io.Copy(sum, req.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Method", req.Method)
		w.Header().Set("X-Sum", hex.EncodeToString(sum.Sum(nil)))
		w.Header().Set("X-User", req.Header.Get("Remote-User"))
		_, _ = io.WriteString(w, "kept")
	}))
	t.Cleanup(s.Close)
	return s
}

func TestUploadsThroughServersThatAsk(t *testing.T) {
	s := served.Run(t, askedSite, "trusted", "127.0.0.1/8")
	cookie := cookieOf(t, s.Member("ada").SignIn("ada"))
	for name := range asking {
		t.Run(name, func(t *testing.T) {
			app := newStore(t)
			at := startAsking(t, name, fmt.Sprintf("127.0.0.1:%d", s.Port), strings.TrimPrefix(app.URL, "http://"))
			v := &visitor{t, at, http.Header{}}
			ada := v.with("Cookie", cookie)
			t.Run("large", func(t *testing.T) { largeUploads(t, ada) })
			t.Run("methods", func(t *testing.T) { uploadMethods(t, ada, v, app) })
			t.Run("slow", func(t *testing.T) { slowUpload(t, at, cookie, app) })
			t.Run("asks first", func(t *testing.T) { uploadThatAsksFirst(t, at, cookie) })
			t.Run("of nobody", func(t *testing.T) { uploadOfNobody(t, at, app) })
		})
	}
}

// largeUploads are 64 MiB, with their length told and without.
func largeUploads(t *testing.T, ada *visitor) {
	for _, path := range []string{"/upload", "/upload?chunked"} {
		sum := sha256.New()
		var body io.Reader = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), 64<<20), sum)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+ada.at+path, body)
		require.NoError(t, err)
		req.Header, req.Host = ada.header.Clone(), "app.example.com"
		if !strings.Contains(path, "chunked") {
			req.ContentLength = 64 << 20
		}
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		require.NoError(t, err, path)
		answer := served.ReadAnswer(t, res)
		require.Equal(t, "kept", answer.Text, path)
		require.Equal(t, hex.EncodeToString(sum.Sum(nil)), answer.Header.Get("X-Sum"), path)
		require.Equal(t, "ada", answer.Header.Get("X-User"))
	}
}

// uploadMethods are those of WebDAV and its kind, each with a body and without.
func uploadMethods(t *testing.T, ada, v *visitor, app *store) {
	before := app.asked.Load()
	for _, method := range []string{"HEAD", "GET", "PUT", "PATCH", "DELETE", "PROPFIND", "PROPPATCH", "REPORT", "LOCK", "MOVE"} {
		for _, body := range []string{"", "<propfind/>"} {
			res := ada.do(method, "/m", strings.NewReader(body))
			require.Equal(t, http.StatusOK, res.StatusCode, method)
			require.Equal(t, method, res.Header.Get("X-Method"))
			sum := sha256.Sum256([]byte(body))
			if method != "HEAD" { // whose body means nothing
				require.Equal(t, hex.EncodeToString(sum[:]), res.Header.Get("X-Sum"), "%s %q", method, body)
			}
			before++
			require.Equal(t, http.StatusUnauthorized, v.do(method, "/m", strings.NewReader(body)).StatusCode, method)
			require.Equal(t, before, app.asked.Load(), method)
		}
	}
}

// dialUpload begins an upload by hand.
func dialUpload(t *testing.T, at, head string) (net.Conn, *bufio.Reader) {
	conn, err := net.Dial("tcp", at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, "POST "+head+"\r\n")
	require.NoError(t, err)
	return conn, bufio.NewReader(conn)
}

// slowUpload comes a few bytes at a time; the app has the first before the last is sent.
func slowUpload(t *testing.T, at, cookie string, app *store) {
	conn, in := dialUpload(t, at, "/slow HTTP/1.1\r\nHost: app.example.com\r\nCookie: "+cookie+"\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n")
	sum := sha256.New()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for i := range 20 {
		part := fmt.Sprintf("%05d", i)
		sum.Write([]byte(part))
		_, err := io.WriteString(conn, "5\r\n"+part+"\r\n")
		require.NoError(t, err)
		<-tick.C
	}
	select {
	case first := <-app.arrived:
		require.Equal(t, "00000", first)
	case <-time.After(30 * time.Second):
		require.Fail(t, "nothing has come to the app before the upload was whole")
	}
	_, err := io.WriteString(conn, "0\r\n\r\n")
	require.NoError(t, err)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	answer := served.ReadAnswer(t, res)
	require.Equal(t, "kept", answer.Text)
	require.Equal(t, hex.EncodeToString(sum.Sum(nil)), answer.Header.Get("X-Sum"))
}

// uploadThatAsksFirst sends its body when it is told to go on, and only who is signed in is.
func uploadThatAsksFirst(t *testing.T, at, cookie string) {
	for _, who := range []string{"Cookie: " + cookie + "\r\n", ""} {
		conn, in := dialUpload(t, at, "/upload HTTP/1.1\r\nHost: app.example.com\r\n"+who+"Connection: close\r\nContent-Length: 4\r\nExpect: 100-continue\r\n")
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		if who == "" {
			require.Contains(t, line, " 401 ")
			continue
		}
		require.Contains(t, line, " 100 ")
		_, err = in.ReadString('\n')
		require.NoError(t, err)
		_, err = io.WriteString(conn, "abcd")
		require.NoError(t, err)
		res, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		for res.StatusCode == http.StatusContinue { // of the app, too
			res, err = http.ReadResponse(in, nil)
			require.NoError(t, err)
		}
		require.Equal(t, "kept", served.ReadAnswer(t, res).Text)
	}
}

// uploadOfNobody is refused by what its head says: no server reads it whole first. (Caddy's,
// which is Go's, takes in up to 256 KiB before it answers.)
func uploadOfNobody(t *testing.T, at string, app *store) {
	before := app.asked.Load()
	for _, framing := range []string{"Content-Length: 1000000000\r\n", "Transfer-Encoding: chunked\r\n"} {
		conn, in := dialUpload(t, at, "/upload HTTP/1.1\r\nHost: app.example.com\r\n"+framing)
		var sent atomic.Int64
		var sending sync.WaitGroup
		sending.Go(func() {
			piece := "4000\r\n" + strings.Repeat("x", 0x4000) + "\r\n"
			for {
				n, err := io.WriteString(conn, piece)
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		})
		res, err := http.ReadResponse(in, nil)
		require.NoError(t, conn.Close())
		sending.Wait()
		require.NoError(t, err, framing)
		require.Equal(t, http.StatusUnauthorized, res.StatusCode, framing)
		require.Less(t, sent.Load(), int64(100<<20), framing)
	}
	require.Equal(t, before, app.asked.Load(), "the app was asked")
}
