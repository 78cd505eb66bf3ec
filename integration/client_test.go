// client_test.go: the people at the other end: an HTTP client with a cookie jar,
// and the reader of the mails.

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/http/cookiejar"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// data is a JSON body.
type data = map[string]any

// multipartForm is a body in multipart/form-data; url.Values is an urlencoded one.
type multipartForm map[string]string

const testPassword = "a long enough passphrase"

// browserAccept is what a browser sends when it navigates.
const browserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// client keeps cookies, follows no redirect, and sends what header has.
type client struct {
	t      testing.TB
	http   *http.Client
	base   string
	header http.Header
	// contract is the OpenAPI document that answers are held against.
	contract *contract
}

func newClient(t testing.TB, base string, transport http.RoundTripper) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &client{t: t, base: base, header: http.Header{}, contract: new(contract), http: &http.Client{
		Jar: jar, Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// in is the same client for a subtest.
func (c *client) in(t testing.TB) *client {
	other := *c
	other.t = t
	return &other
}

func (s *server) base() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

func (s *server) client() *client {
	s.t.Helper()
	// A transport of its own: a connection of another test's is none of ours.
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	return newClient(s.t, s.base(), transport)
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func readAnswer(t testing.TB, res *http.Response) *answer {
	t.Helper()
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return &answer{Response: res, body: string(body)}
}

// json returns the body as a JSON object.
func (a *answer) json(t testing.TB) data {
	t.Helper()
	var out data
	require.NoError(t, json.Unmarshal([]byte(a.body), &out), a.body)
	return out
}

// encode turns a body into bytes and their media type.
func encode(t testing.TB, body any) (raw []byte, contentType string) {
	t.Helper()
	switch body := body.(type) {
	case nil:
		return nil, ""
	case url.Values:
		return []byte(body.Encode()), "application/x-www-form-urlencoded"
	case multipartForm:
		var out bytes.Buffer
		w := multipart.NewWriter(&out)
		for name, value := range body {
			require.NoError(t, w.WriteField(name, value))
		}
		require.NoError(t, w.Close())
		return out.Bytes(), w.FormDataContentType()
	}
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	return raw, "application/json"
}

func (c *client) request(method, path string, body any) *http.Request {
	c.t.Helper()
	raw, contentType := encode(c.t, body)
	req, err := http.NewRequest(method, c.base+path, bytes.NewReader(raw))
	require.NoError(c.t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	maps.Copy(req.Header, c.header)
	if host := c.header.Get("Host"); host != "" {
		req.Host = host
	}
	return req
}

func (c *client) do(method, path string, body any) *answer {
	c.t.Helper()
	res, err := c.http.Do(c.request(method, path, body))
	require.NoError(c.t, err)
	a := readAnswer(c.t, res)
	c.checkAnswer(a)
	return a
}

func (c *client) get(path string) *answer {
	c.t.Helper()
	return c.do(http.MethodGet, path, nil)
}

// post sends a body to an endpoint and requires a status.
func (c *client) post(status int, endpoint string, body any) *answer {
	c.t.Helper()
	res := c.do(http.MethodPost, "/accounts/"+endpoint, body)
	require.Equal(c.t, status, res.StatusCode, "%s: %s", endpoint, res.body)
	return res
}

// cookie is the value of the session cookie, "" if there is none.
func (c *client) cookie() string {
	u, err := url.Parse(c.base)
	require.NoError(c.t, err)
	for _, cookie := range c.http.Jar.Cookies(u) {
		if strings.HasSuffix(cookie.Name, "registration") {
			return cookie.Value
		}
	}
	return ""
}

// requireMember requires that the guarded page opens, and requireStopped that
// it does not.
func (c *client) requireMember() {
	c.t.Helper()
	res := c.get("/members/")
	require.Equal(c.t, http.StatusOK, res.StatusCode, res.body)
	require.Contains(c.t, res.body, "for members")
}

func (c *client) requireStopped() {
	c.t.Helper()
	res := c.get("/members/")
	require.Equal(c.t, http.StatusUnauthorized, res.StatusCode, res.body)
	require.NotContains(c.t, res.body, "for members")
}

func newcomer(name string) data {
	return data{"username": name, "email": name + "@example.org", "password": testPassword, "password_confirm": testPassword}
}

// member registers and confirms an account by the mail in the server's folder,
// and returns a client that is signed in to it.
func (s *server) member(name string) *client {
	s.t.Helper()
	c := s.client()
	c.post(http.StatusCreated, "register", newcomer(name))
	c.post(http.StatusOK, "verify-registration", s.mail(name+"@example.org", 1).link(s.t))
	c.signIn(name)
	return c
}

func (c *client) signIn(name string) *answer {
	c.t.Helper()
	return c.post(http.StatusOK, "login", data{"login": name, "password": testPassword})
}

// message is a mail as its reader sees it.
type message struct {
	header       mail.Header
	id, to       string
	subject      string
	text, html   string
	contentTypes []string
}

// parseMail reads an RFC 5322 message with its parts (RFC 2046).
func parseMail(t testing.TB, r io.Reader) *message {
	t.Helper()
	raw, err := mail.ReadMessage(r)
	require.NoError(t, err)
	m := &message{header: raw.Header, id: raw.Header.Get("Message-ID")}
	to, err := raw.Header.AddressList("To")
	require.NoError(t, err)
	require.Len(t, to, 1)
	m.to = to[0].Address
	m.subject, err = new(mime.WordDecoder).DecodeHeader(raw.Header.Get("Subject"))
	require.NoError(t, err)
	mediaType, params, err := mime.ParseMediaType(raw.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", mediaType)
	parts := multipart.NewReader(raw.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF { //nolint:errorlint // what the reader's contract says
			return m
		}
		require.NoError(t, err)
		var body io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(part)
		}
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		mediaType, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		require.NoError(t, err)
		m.contentTypes = append(m.contentTypes, mediaType)
		switch mediaType {
		case "text/plain":
			m.text = string(text)
		case "text/html":
			m.html = string(text)
		}
	}
}

var linkInText = regexp.MustCompile(`https?://[^\s"<>]+`)

// url is the link in the mail.
func (m *message) url(t testing.TB) *url.URL {
	t.Helper()
	u, err := url.Parse(linkInText.FindString(m.text))
	require.NoError(t, err)
	require.NotEmpty(t, u.Query().Get("signature"), m.text)
	return u
}

// link is what the link carries, as the body of its act.
func (m *message) link(t testing.TB) data {
	t.Helper()
	out := data{}
	for name, values := range m.url(t).Query() {
		out[name] = values[0]
	}
	return out
}

// mails reads what the file mailer wrote to an address, oldest first.
func (s *server) mails(to string) []*message {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.dir, "mail", "*.eml")) // sorted: by date
	require.NoError(s.t, err)
	var found []*message
	for _, name := range names {
		raw, err := os.ReadFile(name)
		require.NoError(s.t, err)
		if m := parseMail(s.t, bytes.NewReader(raw)); to == "" || m.to == to {
			found = append(found, m)
		}
	}
	return found
}

// mail waits for the n-th mail to an address. Mails of one second have no order
// among them.
func (s *server) mail(to string, n int) *message {
	s.t.Helper()
	var found []*message
	require.Eventually(s.t, func() bool {
		found = s.mails(to)
		return len(found) >= n
	}, patience, 5*time.Millisecond, "mail %d to %s", n, to)
	require.Len(s.t, found, n)
	return found[n-1]
}
