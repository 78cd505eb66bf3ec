// https_smtp_test.go: the site over HTTPS with Caddy's own authority, and mail by
// SMTP, in good and bad days of the mail server.

package integration

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// mailedSite is a site on HTTPS, and the same accounts on a port that answers
// to any Host.
const mailedSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
	skip_install_trust
	auto_https disable_redirects
}
(accounts) {
	registration {
		throttle off
		base_url https://localhost:[[port]]
		from "Example <no-reply@example.com>"
		reply_to help@example.com
		mailer smtp [[smtp]] {
			username caddy
			password {env.SMTP_TEST_PASSWORD}
			trusted_ca [[ca]]
			timeout [[timeout]]
		}
		password {
			argon2id 8KiB 1 1
		}
	}
	require_login /members/*
	respond "for members"
}
https://localhost:[[port]] {
	tls internal
	import accounts
}
http://:[[plain]] {
	import accounts
}
`

// mailedServer runs it against a mail server.
func mailedServer(t *testing.T, m *mailServer) (*server, *client) {
	t.Helper()
	s := newServer(t)
	s.env = []string{"SMTP_TEST_PASSWORD=" + smtpPassword}
	s.values["smtp"], s.values["ca"], s.values["timeout"] = m.address, m.caFile, "1s"
	s.values["plain"] = strconv.Itoa(freePort(t))
	s.configure(mailedSite)
	s.start()
	return s, s.secureClient()
}

// secureClient trusts Caddy's authority and no other.
func (s *server) secureClient() *client {
	s.t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.dataDir(), "pki", "authorities", "local", "root.crt"))
	require.NoError(s.t, err)
	roots := x509.NewCertPool()
	require.True(s.t, roots.AppendCertsFromPEM(pem))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	s.t.Cleanup(transport.CloseIdleConnections)
	c := newClient(s.t, fmt.Sprintf("https://localhost:%d", s.port), transport)
	// Caddy makes the certificate once it serves already.
	require.True(s.t, eventually(func() bool {
		res, err := c.http.Get(c.base + "/")
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil
	}, 10*time.Millisecond), "no TLS")
	return c
}

func TestHTTPSAndSMTP(t *testing.T) {
	t.Parallel()
	m := newMailServer(t).listen()
	s, c := mailedServer(t, m)
	c.post(http.StatusCreated, "register", newcomer("ada"))
	got := m.next()
	require.Equal(t, "ada@example.org", got.to)
	require.Equal(t, []string{"text/plain", "text/html"}, got.contentTypes)
	require.Equal(t, `"Example" <no-reply@example.com>`, got.header.Get("From"))
	replyTo, err := got.header.AddressList("Reply-To")
	require.NoError(t, err)
	require.Equal(t, "help@example.com", replyTo[0].Address)
	require.Regexp(t, `^<[^<>@\s]+@localhost>$`, got.id)
	require.Equal(t, "auto-generated", got.header.Get("Auto-Submitted"))
	_, err = got.header.Date()
	require.NoError(t, err)
	require.Contains(t, got.subject, "Confirm your account")
	link := got.url(t)
	require.Contains(t, got.html, "Confirm my account")
	require.Contains(t, got.html, link.Query().Get("signature"))
	require.Equal(t, "https://localhost:"+s.values["port"]+"/accounts/verify-registration/", link.Scheme+"://"+link.Host+link.Path)

	c.post(http.StatusOK, "verify-registration", got.link(t))
	signedIn := c.signIn("ada")
	require.Len(t, signedIn.Cookies(), 2)
	device := signedIn.Cookies()[1]
	require.Equal(t, "__Host-registration_device", device.Name)
	require.True(t, device.Secure && device.HttpOnly && device.Path == "/" && device.Domain == "")
	cookie := signedIn.Cookies()[0]
	require.Equal(t, "__Host-registration", cookie.Name)
	require.True(t, cookie.Secure)
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, cookie.SameSite)
	require.Equal(t, "/", cookie.Path)
	require.Empty(t, cookie.Domain)
	require.Equal(t, 14*24*60*60, cookie.MaxAge)
	c.requireMember()
	out := c.post(http.StatusOK, "logout", nil)
	require.Equal(t, "__Host-registration", out.Cookies()[0].Name)
	require.Negative(t, out.Cookies()[0].MaxAge)
	c.requireStopped()
}

func TestMailedLinkIgnoresForgedHosts(t *testing.T) {
	t.Parallel()
	m := newMailServer(t).listen()
	s, _ := mailedServer(t, m)
	c := s.client()
	c.base = "http://127.0.0.1:" + s.values["plain"]
	for name, value := range map[string]string{
		"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http",
		"Forwarded": "host=evil.example", "X-Original-Host": "evil.example",
	} {
		c.header.Set(name, value)
	}
	c.post(http.StatusCreated, "register", newcomer("ada"))
	c.post(http.StatusOK, "send-reset-password-link", data{"login": "ada"})
	for range 2 {
		got := m.next()
		for _, link := range linkInText.FindAllString(got.text+got.html, -1) {
			u, err := url.Parse(link)
			require.NoError(t, err)
			require.Equal(t, "localhost:"+s.values["port"], u.Host)
			require.Equal(t, "https", u.Scheme)
		}
		require.NotContains(t, got.text+got.html+got.subject, "evil")
	}
}

// promptly requires an answer that waited for no mail server: its time-out in
// these tests is a second, and a retry comes after 2.5 at the earliest.
func promptly(t *testing.T, act func()) {
	t.Helper()
	begin := time.Now()
	act()
	require.Less(t, time.Since(begin), 900*time.Millisecond, "an answer waited for the mail")
}

func TestMailServerIsDownAndComesBack(t *testing.T) {
	t.Parallel()
	m := newMailServer(t)
	// Its first day back begins badly: it takes a message in, and then can't.
	m.refuse = func(to string, attempt int) *smtp.SMTPError {
		if to == "ada@example.org" && attempt == 1 {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "disk full"}
		}
		return nil
	}
	s, c := mailedServer(t, m)
	for _, name := range []string{"ada", "bob"} {
		promptly(t, func() { c.post(http.StatusCreated, "register", newcomer(name)) })
	}
	s.logged(0, "the mail server can't be used", "connection refused")
	m.listen()
	// The delayed message holds up nobody else's.
	require.Equal(t, "bob@example.org", m.next().to)
	got := m.next()
	require.Equal(t, "ada@example.org", got.to)
	require.Equal(t, []string{got.id, got.id}, m.ids("ada@example.org"), "the Message-ID changed between two attempts")
	require.Len(t, m.ids("bob@example.org"), 1)
	s.logged(0, "mail delayed", "disk full")
	c.post(http.StatusOK, "verify-registration", got.link(t))
}

func TestMailServerThatNeverGreets(t *testing.T) {
	t.Parallel()
	m := newMailServer(t)
	tarpit, err := net.Listen("tcp", m.address)
	require.NoError(t, err)
	go func() {
		var held []net.Conn // one that is forgotten is closed by the garbage collector
		for {
			conn, err := tarpit.Accept()
			if err != nil { // and never a word
				break
			}
			held = append(held, conn)
		}
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	s, c := mailedServer(t, m)
	promptly(t, func() { c.post(http.StatusCreated, "register", newcomer("ada")) })
	s.logged(0, "the mail server takes long over this mail", "")
	promptly(t, func() { c.post(http.StatusCreated, "register", newcomer("bob")) })
	// The end of Caddy waits for no mail either, and the mail waits for the next.
	begin := time.Now()
	s.stop()
	require.Less(t, time.Since(begin), 10*time.Second)
	require.NoError(t, tarpit.Close())
	m.listen()
	s.start()
	require.Equal(t, "ada@example.org", m.next().to)
	require.Equal(t, "bob@example.org", m.next().to)
}

func TestRefusedRecipientIsGivenUp(t *testing.T) {
	t.Parallel()
	m := newMailServer(t).listen()
	s, c := mailedServer(t, m)
	mark := s.log.mark()
	promptly(t, func() { c.post(http.StatusCreated, "register", newcomer("nobody-here")) })
	s.logged(mark, "mail given up", "no such person")
	promptly(t, func() { c.post(http.StatusCreated, "register", newcomer("ada")) })
	require.Equal(t, "ada@example.org", m.next().to)
	// The account is there, and a mended address would get a new mail.
	c.post(http.StatusBadRequest, "register", newcomer("nobody-here"))
	require.Empty(t, s.log.line(mark, "the mail server can't be used"))
}

func TestCertificateOfAnotherAuthorityIsRefused(t *testing.T) {
	t.Parallel()
	m, other := newMailServer(t).listen(), newMailServer(t)
	m.caFile = other.caFile
	s, c := mailedServer(t, m)
	promptly(t, func() { c.post(http.StatusCreated, "register", newcomer("ada")) })
	line := s.logged(0, "the mail server can't be used", "certificate")
	require.Contains(t, line, "trusted_ca")
	require.Empty(t, m.ids("ada@example.org"), "a mail went to a server that nobody vouches for")
}
