// client.go: the people at the other end: an HTTP client with a cookie jar,
// and the reader of the mails.

package served

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Data is a JSON body.
type Data = map[string]any

// MultipartForm is a body in multipart/form-data; url.Values is an urlencoded one.
type MultipartForm map[string]string

const TestPassword = "a long enough passphrase"

// BrowserAccept is what a browser sends when it navigates.
const BrowserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// Client keeps cookies, follows no redirect, and sends what header has.
type Client struct {
	T      testing.TB
	HTTP   *http.Client
	Base   string
	Header http.Header
	// contract is the OpenAPI document that answers are held against.
	contract *contract
}

func NewClient(t testing.TB, base string, transport http.RoundTripper) *Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &Client{T: t, Base: base, Header: http.Header{}, contract: new(contract), HTTP: &http.Client{
		Jar: jar, Transport: transport, Timeout: Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// In is the same client for a subtest.
func (c *Client) In(t testing.TB) *Client {
	other := *c
	other.T = t
	return &other
}

func (s *Server) Base() string { return fmt.Sprintf("http://127.0.0.1:%d", s.Port) }

func (s *Server) Client() *Client {
	s.T.Helper()
	// A transport of its own: a connection of another test's is none of ours.
	transport := &http.Transport{}
	s.T.Cleanup(transport.CloseIdleConnections)
	return NewClient(s.T, s.Base(), transport)
}

// Answer is a response with its body read.
type Answer struct {
	*http.Response
	Text string
}

func ReadAnswer(t testing.TB, res *http.Response) *Answer {
	t.Helper()
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NotContains(t, html.UnescapeString(string(body)), "<nil>", "a message lacks a value")
	return &Answer{Response: res, Text: string(body)}
}

// JSON returns the body as a JSON object.
func (a *Answer) JSON(t testing.TB) Data {
	t.Helper()
	var out Data
	require.NoError(t, json.Unmarshal([]byte(a.Text), &out), a.Text)
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
	case MultipartForm:
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

func (c *Client) Request(method, path string, body any) *http.Request {
	c.T.Helper()
	raw, contentType := encode(c.T, body)
	req, err := http.NewRequest(method, c.Base+path, bytes.NewReader(raw))
	require.NoError(c.T, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	maps.Copy(req.Header, c.Header)
	if host := c.Header.Get("Host"); host != "" {
		req.Host = host
	}
	return req
}

func (c *Client) Do(method, path string, body any) *Answer {
	c.T.Helper()
	res, err := c.HTTP.Do(c.Request(method, path, body))
	require.NoError(c.T, err)
	a := ReadAnswer(c.T, res)
	c.checkAnswer(a)
	return a
}

func (c *Client) Get(path string) *Answer {
	c.T.Helper()
	return c.Do(http.MethodGet, path, nil)
}

// Post sends a body to an endpoint and requires a status.
func (c *Client) Post(status int, endpoint string, body any) *Answer {
	c.T.Helper()
	res := c.Do(http.MethodPost, "/accounts/"+endpoint, body)
	require.Equal(c.T, status, res.StatusCode, "%s: %s", endpoint, res.Text)
	return res
}

// Cookie is the value of the session cookie, "" if there is none.
func (c *Client) Cookie() string {
	u, err := url.Parse(c.Base)
	require.NoError(c.T, err)
	for _, cookie := range c.HTTP.Jar.Cookies(u) {
		if strings.HasSuffix(cookie.Name, "registration") {
			return cookie.Value
		}
	}
	return ""
}

// RequireMember requires that the guarded page opens, and requireStopped that
// it does not.
func (c *Client) RequireMember() {
	c.T.Helper()
	res := c.Get("/members/")
	require.Equal(c.T, http.StatusOK, res.StatusCode, res.Text)
	require.Contains(c.T, res.Text, "for members")
}

func (c *Client) RequireStopped() {
	c.T.Helper()
	res := c.Get("/members/")
	require.Equal(c.T, http.StatusUnauthorized, res.StatusCode, res.Text)
	require.NotContains(c.T, res.Text, "for members")
}

func Newcomer(name string) Data {
	return Data{"username": name, "email": name + "@example.org", "password": TestPassword, "password_confirm": TestPassword}
}

// Member registers and confirms an account by the mail in the server's folder,
// and returns a client that is signed in to it.
func (s *Server) Member(name string) *Client {
	s.T.Helper()
	c := s.Client()
	c.Post(http.StatusCreated, "register", Newcomer(name))
	c.Post(http.StatusOK, "verify-registration", s.Mail(name+"@example.org", 1).Link(s.T))
	c.SignIn(name)
	return c
}

func (c *Client) SignIn(name string) *Answer {
	c.T.Helper()
	return c.Post(http.StatusOK, "login", Data{"login": name, "password": TestPassword})
}

// Message is a mail as its reader sees it.
type Message struct {
	Header       mail.Header
	Id, To       string
	Subject      string
	Text, Html   string
	ContentTypes []string
}

// parseMail reads an RFC 5322 message with its parts (RFC 2046).
func parseMail(t testing.TB, r io.Reader) *Message {
	t.Helper()
	raw, err := mail.ReadMessage(r)
	require.NoError(t, err)
	m := &Message{Header: raw.Header, Id: raw.Header.Get("Message-ID")}
	to, err := raw.Header.AddressList("To")
	require.NoError(t, err)
	require.Len(t, to, 1)
	m.To = to[0].Address
	m.Subject, err = new(mime.WordDecoder).DecodeHeader(raw.Header.Get("Subject"))
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
		m.ContentTypes = append(m.ContentTypes, mediaType)
		switch mediaType {
		case "text/plain":
			m.Text = string(text)
		case "text/html":
			m.Html = string(text)
		}
	}
}

var LinkInText = regexp.MustCompile(`https?://[^\s"<>]+`)

// URL is the link in the mail.
func (m *Message) URL(t testing.TB) *url.URL {
	t.Helper()
	u, err := url.Parse(LinkInText.FindString(m.Text))
	require.NoError(t, err)
	require.Contains(t, u.RawQuery+u.Fragment, "signature=", m.Text)
	return u
}

// Link is what the link carries, as the body of its act.
func (m *Message) Link(t testing.TB) Data {
	t.Helper()
	out := Data{}
	for name, values := range m.URL(t).Query() {
		out[name] = values[0]
	}
	return out
}

// Mails reads what the file mailer wrote to an address, oldest first.
func (s *Server) Mails(to string) []*Message {
	s.T.Helper()
	names, err := filepath.Glob(filepath.Join(s.Dir, "mail", "*.eml"))
	require.NoError(s.T, err)
	written := make(map[string]time.Time, len(names)) // a name has the second in which the mail was queued
	for _, name := range names {
		info, err := os.Stat(name)
		require.NoError(s.T, err)
		written[name] = info.ModTime()
	}
	slices.SortStableFunc(names, func(a, b string) int { return written[a].Compare(written[b]) })
	var found []*Message
	for _, name := range names {
		raw, err := os.ReadFile(name)
		require.NoError(s.T, err)
		if m := parseMail(s.T, bytes.NewReader(raw)); to == "" || m.To == to {
			found = append(found, m)
		}
	}
	return found
}

// Mail waits for the n-th mail to an address, in the order in which they were sent.
func (s *Server) Mail(to string, n int) *Message {
	s.T.Helper()
	var found []*Message
	require.Eventually(s.T, func() bool {
		found = s.Mails(to)
		return len(found) >= n
	}, Patience, 5*time.Millisecond, "mail %d to %s", n, to)
	require.Len(s.T, found, n)
	return found[n-1]
}

// MailWithLink waits for a mail to an address with a link whose path has a part such as
// /reset-password/, and returns the last of them.
func (s *Server) MailWithLink(to, part string) (found *Message) {
	s.T.Helper()
	require.True(s.T, Eventually(func() bool {
		for _, m := range s.Mails(to) {
			if u, err := url.Parse(LinkInText.FindString(m.Text)); err == nil && strings.Contains(u.Path, part) {
				found = m
			}
		}
		return found != nil
	}, 5*time.Millisecond), "a mail to %s with a link to %s", to, part)
	return found
}

// Code is the code of a refusal, those of its fields behind it.
func (c *Client) Code(method, path string, body any) string {
	c.T.Helper()
	c.Header.Set("Accept", "application/problem+json")
	defer c.Header.Del("Accept")
	res := c.Do(method, path, body)
	if res.StatusCode < 400 {
		return fmt.Sprint(res.StatusCode)
	}
	problem := res.JSON(c.T)
	text := fmt.Sprint(problem["code"])
	fields, _ := problem["errors"].(map[string]any)
	var names []string
	for name, list := range fields {
		for _, e := range list.([]any) {
			names = append(names, name+":"+fmt.Sprint(e.(map[string]any)["code"]))
		}
	}
	slices.Sort(names)
	return strings.Join(append([]string{text}, names...), " ")
}

func WaitMails(s *Server, to string, n int) []*Message {
	s.T.Helper()
	s.Mail(to, n)
	return s.Mails(to)
}

// LoginPath is where people sign in.
const LoginPath = "/accounts/login"

// ReadFile is what a file has; the test fails without it.
func ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return raw
}
