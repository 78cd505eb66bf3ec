// pages.go: a browser's load over TLS: pages of many small files over HTTP/1.1, HTTP/2 or
// HTTP/3, which wrk does not speak. It runs as a process of its own (bench -pages), so
// that it has a CPU of its own, and compares every byte of every answer.

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// pageFiles is how many files a page has.
const pageFiles = 50

// pageFile is file i of the page, of 0.5 to 3.6 KiB.
func pageFile(i int) string {
	return strings.Repeat(fmt.Sprintf("file %02d of page\n", i), 32+4*i)
}

func pagePath(i int) string { return fmt.Sprintf("/page/%02d.html", i) }

// A pageLoad is what the process is told on its first line.
type pageLoad struct {
	Protocol string // h1, h2, h3
	Port     int
	Root     []byte // the certificate, PEM
	Header   [2]string
	Visitors int // connections; each of h2 and h3 has all files of a page on it at once
	For      time.Duration
}

// visitorHeaders are what a browser sends besides.
var visitorHeaders = [][2]string{
	{"user-agent", userAgents[0]},
	{"accept", "*/*"},
	{"accept-language", "en-GB,en;q=0.9"},
	{"sec-fetch-site", "same-origin"},
	{"sec-fetch-mode", "no-cors"},
	{"sec-fetch-dest", "script"},
}

// A visitor has one connection, and loads the page again and again.
type visitor interface{ page() error }

// pages connects, says so, and prints a shot for each further line of standard input.
func pages(ctx context.Context) error {
	debug.SetGCPercent(400)
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var l pageLoad
	if err := json.Unmarshal(line, &l); err != nil {
		return err
	}
	var visitors []visitor
	for range l.Visitors {
		v, err := l.visit(ctx)
		if err != nil {
			return err
		}
		if err := v.page(); err != nil { // the connection and its tables are warm
			return err
		}
		visitors = append(visitors, v)
	}
	for fmt.Println("ready"); ; {
		if _, err := in.ReadBytes('\n'); err != nil {
			return nil //nolint:nilerr // there is no further one
		}
		var done atomic.Int64
		began := time.Now()
		if err := together(len(visitors), func(i int) error {
			for time.Since(began) < l.For {
				if err := visitors[i].page(); err != nil {
					return err
				}
				done.Add(pageFiles)
			}
			return nil
		}); err != nil {
			return err
		}
		result := shot{Requests: int(done.Load()), Micros: float64(time.Since(began).Microseconds())}
		if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
			return err
		}
	}
}

// together runs an act n times at once.
func together(n int, act func(i int) error) (err error) {
	ended := make(chan error, n)
	for i := range n {
		go func() { ended <- act(i) }()
	}
	for range n {
		err = errors.Join(err, <-ended)
	}
	return err
}

// visit opens a connection.
func (l *pageLoad) visit(ctx context.Context) (visitor, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(l.Root) {
		return nil, errors.New("no certificate")
	}
	alpn := map[string]string{"h1": "http/1.1", "h2": "h2", "h3": http3.NextProtoH3}[l.Protocol]
	config := &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13}
	address := fmt.Sprintf("127.0.0.1:%d", l.Port)
	if l.Protocol == "h3" {
		conn, err := quic.DialAddr(ctx, address, config, &quic.Config{MaxIdleTimeout: 5 * time.Minute})
		if err != nil {
			return nil, err
		}
		return &visitor3{load: l, conn: (&http3.Transport{DisableCompression: true}).NewClientConn(conn)}, nil
	}
	dialer := &tls.Dialer{Config: config}
	plain, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := plain.(*tls.Conn) // of a tls.Dialer
	if got := conn.ConnectionState().NegotiatedProtocol; got != alpn {
		return nil, fmt.Errorf("the server speaks %q, not %q", got, alpn)
	}
	if l.Protocol == "h1" {
		return newVisitor1(l, conn), nil
	}
	return newVisitor2(l, conn)
}

func (l *pageLoad) host() string { return fmt.Sprintf("localhost:%d", l.Port) }

// same compares an answer.
func same(i int, status string, body []byte) error {
	if status != "200" || string(body) != wantedFiles[i] {
		return fmt.Errorf("%s: %s with %d bytes: %.200q", pagePath(i), status, len(body), body)
	}
	return nil
}

var wantedFiles = func() (texts [pageFiles]string) {
	for i := range texts {
		texts[i] = pageFile(i)
	}
	return texts
}()

// visitor1 asks for one file after another: HTTP/1.1 has one request at a time on a
// connection.
type visitor1 struct {
	conn     *tls.Conn
	in       *bufio.Reader
	requests [pageFiles][]byte
	body     bytes.Buffer
}

func newVisitor1(l *pageLoad, conn *tls.Conn) *visitor1 {
	v := &visitor1{conn: conn, in: bufio.NewReaderSize(conn, 8<<10)}
	for i := range pageFiles {
		var out bytes.Buffer
		fmt.Fprintf(&out, "GET %s HTTP/1.1\r\nHost: %s\r\n", pagePath(i), l.host())
		for _, h := range append(slices.Clip(visitorHeaders), l.Header) {
			fmt.Fprintf(&out, "%s: %s\r\n", h[0], h[1])
		}
		out.WriteString("\r\n")
		v.requests[i] = out.Bytes()
	}
	return v
}

func (v *visitor1) page() error {
	for i := range pageFiles {
		if _, err := v.conn.Write(v.requests[i]); err != nil {
			return err
		}
		resp, err := http.ReadResponse(v.in, nil)
		if err != nil {
			return err
		}
		v.body.Reset()
		_, err = v.body.ReadFrom(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if err := same(i, resp.Status[:3], v.body.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// visitor2 writes all requests of a page at once, and reads what comes in any order.
// Go's own client takes more CPU for it than the server does.
type visitor2 struct {
	load    *pageLoad
	conn    *tls.Conn
	frames  *http2.Framer
	out     bytes.Buffer // what frames writes
	block   bytes.Buffer // what encoder writes
	encoder *hpack.Encoder
	decoder *hpack.Decoder
	status  string // of the header block that was read last
	next    uint32 // the first stream of the next page
	taken   int    // bytes that the server hasn't been told of
	answers [pageFiles]struct {
		status string
		body   []byte
	}
}

// window is how much the server may send on a connection before it is told to go on.
const window = 1 << 30

func newVisitor2(l *pageLoad, conn *tls.Conn) (*visitor2, error) {
	v := &visitor2{load: l, conn: conn, next: 1}
	v.frames = http2.NewFramer(&v.out, bufio.NewReaderSize(conn, 32<<10))
	v.frames.SetReuseFrames()
	v.encoder = hpack.NewEncoder(&v.block)
	v.decoder = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			v.status = f.Value
		}
	})
	v.out.WriteString(http2.ClientPreface)
	if err := errors.Join(v.frames.WriteSettings(http2.Setting{ID: http2.SettingEnablePush}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}),
		v.frames.WriteWindowUpdate(0, window)); err != nil {
		return nil, err
	}
	return v, v.flush()
}

func (v *visitor2) flush() error {
	_, err := v.conn.Write(v.out.Bytes())
	v.out.Reset()
	return err
}

func (v *visitor2) page() error {
	first := v.next
	for i := range pageFiles {
		v.block.Reset()
		field := func(name, value string) { _ = v.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) } // into memory
		field(":method", http.MethodGet)
		field(":scheme", "https")
		field(":authority", v.load.host())
		field(":path", pagePath(i))
		for _, h := range visitorHeaders {
			field(h[0], h[1])
		}
		field(strings.ToLower(v.load.Header[0]), v.load.Header[1])
		if err := v.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: v.next, BlockFragment: v.block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
			return err
		}
		v.next += 2
		v.answers[i].status, v.answers[i].body = "", v.answers[i].body[:0]
	}
	if err := v.flush(); err != nil {
		return err
	}
	for left := pageFiles; left > 0; {
		frame, err := v.frames.ReadFrame()
		if err != nil {
			return err
		}
		ended, err := v.take(frame, first)
		if err != nil {
			return err
		}
		if ended {
			left--
		}
	}
	if v.taken > window/2 {
		if err := errors.Join(v.frames.WriteWindowUpdate(0, uint32(v.taken)), v.flush()); err != nil { //nolint:gosec // a page is small
			return err
		}
		v.taken = 0
	}
	for i := range v.answers {
		if err := same(i, v.answers[i].status, v.answers[i].body); err != nil {
			return err
		}
	}
	return nil
}

// take takes a frame; ended: it was the last one of its stream.
func (v *visitor2) take(frame http2.Frame, first uint32) (ended bool, err error) {
	at := func() (i uint32, err error) {
		if i = (frame.Header().StreamID - first) / 2; i >= pageFiles {
			err = fmt.Errorf("a frame of another page: %v", frame)
		}
		return i, err
	}
	switch f := frame.(type) {
	case *http2.HeadersFrame:
		i, err := at()
		if err != nil || !f.HeadersEnded() {
			return false, errors.Join(err, errors.New("a header that is too large"))
		}
		if _, err := v.decoder.Write(f.HeaderBlockFragment()); err != nil {
			return false, err
		}
		v.answers[i].status = v.status
		return f.StreamEnded(), v.decoder.Close()
	case *http2.DataFrame:
		i, err := at()
		if err != nil {
			return false, err
		}
		v.answers[i].body = append(v.answers[i].body, f.Data()...)
		v.taken += int(f.Length)
		return f.StreamEnded(), nil
	case *http2.SettingsFrame:
		if f.IsAck() {
			return false, nil
		}
		return false, errors.Join(v.frames.WriteSettingsAck(), v.flush())
	case *http2.PingFrame:
		if f.IsAck() {
			return false, nil
		}
		return false, errors.Join(v.frames.WritePing(true, f.Data), v.flush())
	case *http2.RSTStreamFrame:
		// The deadline that Caddy sets for an answer fires now and then for one that has long
		// been sent, and net/http resets its stream: to a client that is nothing.
		if f.StreamID < first {
			return false, nil
		}
	case *http2.WindowUpdateFrame:
		return false, nil
	}
	return false, fmt.Errorf("the server sends %v", frame)
}

// visitor3 is quic-go's client.
type visitor3 struct {
	load *pageLoad
	conn *http3.ClientConn
}

func (v *visitor3) page() error {
	return together(pageFiles, func(i int) error {
		req, err := http.NewRequest(http.MethodGet, "https://"+v.load.host()+pagePath(i), nil) //nolint:noctx // the connection has its own end
		if err != nil {
			return err
		}
		for _, h := range append(slices.Clip(visitorHeaders), v.load.Header) {
			req.Header.Set(h[0], h[1])
		}
		resp, err := v.conn.RoundTrip(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		return same(i, resp.Status[:3], body)
	})
}
