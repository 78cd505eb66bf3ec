// https_smtp_test.go: the site over HTTPS with Caddy's own authority, and mail by
// SMTP, in good and bad days of the mail server.

package mailing_test

import (
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestHTTPSAndSMTP(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t).Listen()
	s, c := served.MailedServer(t, m)
	c.Post(http.StatusCreated, "register", served.Newcomer("ada"))
	got := m.Next()
	require.Equal(t, "ada@example.org", got.To)
	require.Equal(t, []string{"text/plain", "text/html"}, got.ContentTypes)
	require.Equal(t, `"Example" <no-reply@example.com>`, got.Header.Get("From"))
	replyTo, err := got.Header.AddressList("Reply-To")
	require.NoError(t, err)
	require.Equal(t, "help@example.com", replyTo[0].Address)
	require.Regexp(t, `^<[^<>@\s]+@localhost>$`, got.Id)
	require.Equal(t, "auto-generated", got.Header.Get("Auto-Submitted"))
	_, err = got.Header.Date()
	require.NoError(t, err)
	require.Contains(t, got.Subject, "Confirm your account")
	link := got.URL(t)
	require.Contains(t, got.Html, "Confirm my account")
	require.Contains(t, got.Html, link.Query().Get("signature"))
	require.Equal(t, "https://localhost:"+s.Values["port"]+"/accounts/verify-registration/", link.Scheme+"://"+link.Host+link.Path)

	c.Post(http.StatusOK, "verify-registration", got.Link(t))
	signedIn := c.SignIn("ada")
	require.Len(t, signedIn.Cookies(), 3)
	known := signedIn.Cookies()[2]
	require.Equal(t, "__Host-registration_known", known.Name)
	require.True(t, known.Secure && known.HttpOnly && known.Path == "/" && known.Domain == "")
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
	c.RequireMember()
	out := c.Post(http.StatusOK, "logout", nil)
	require.Equal(t, "__Host-registration", out.Cookies()[0].Name)
	require.Negative(t, out.Cookies()[0].MaxAge)
	c.RequireStopped()
}

func TestMailedLinkIgnoresForgedHosts(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t).Listen()
	s, _ := served.MailedServer(t, m)
	c := s.Client()
	c.Base = "http://127.0.0.1:" + s.Values["plain"]
	for name, value := range map[string]string{
		"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http",
		"Forwarded": "host=evil.example", "X-Original-Host": "evil.example",
	} {
		c.Header.Set(name, value)
	}
	c.Post(http.StatusCreated, "register", served.Newcomer("ada"))
	c.Post(http.StatusOK, "send-reset-password-link", data{"login": "ada"})
	for range 2 {
		got := m.Next()
		for _, link := range served.LinkInText.FindAllString(got.Text+got.Html, -1) {
			u, err := url.Parse(link)
			require.NoError(t, err)
			require.Equal(t, "localhost:"+s.Values["port"], u.Host)
			require.Equal(t, "https", u.Scheme)
		}
		require.NotContains(t, got.Text+got.Html+got.Subject, "evil")
	}
}

// promptly requires an answer that waited for no mail server: the slow ones of these
// tests take 12 seconds or for ever.
func promptly(t *testing.T, act func()) {
	t.Helper()
	begin := time.Now()
	act()
	require.Less(t, time.Since(begin), 10*time.Second, "an answer waited for the mail")
}

func TestMailServerIsDownAndComesBack(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t)
	// Its first day back begins badly: it takes a message in, and then can't.
	m.Refuse = func(to string, attempt int) *smtp.SMTPError {
		if to == "ada@example.org" && attempt == 1 {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "disk full"}
		}
		return nil
	}
	s, c := served.MailedServer(t, m)
	for _, name := range []string{"ada", "bob"} {
		promptly(t, func() { c.Post(http.StatusCreated, "register", served.Newcomer(name)) })
	}
	s.Logged(0, "the mail server can't be used", "connection refused")
	m.Listen()
	// The delayed message holds up nobody else's.
	require.Equal(t, "bob@example.org", m.Next().To)
	got := m.Next()
	require.Equal(t, "ada@example.org", got.To)
	require.Equal(t, []string{got.Id, got.Id}, m.IDs("ada@example.org"), "the Message-ID changed between two attempts")
	require.Len(t, m.IDs("bob@example.org"), 1)
	s.Logged(0, "mail delayed", "disk full")
	c.Post(http.StatusOK, "verify-registration", got.Link(t))
}

func TestMailServerThatNeverGreets(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t)
	tarpit, err := net.Listen("tcp", m.Address)
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
	s, c := served.MailedServer(t, m)
	promptly(t, func() { c.Post(http.StatusCreated, "register", served.Newcomer("ada")) })
	s.Logged(0, "the mail server takes long over this mail", "")
	promptly(t, func() { c.Post(http.StatusCreated, "register", served.Newcomer("bob")) })
	// The end of Caddy waits for no mail either, and the mail waits for the next.
	begin := time.Now()
	s.Stop()
	require.Less(t, time.Since(begin), time.Minute) // the greeting may take five
	require.NoError(t, tarpit.Close())
	m.Listen()
	s.Start()
	require.Equal(t, "ada@example.org", m.Next().To)
	require.Equal(t, "bob@example.org", m.Next().To)
}

func TestRefusedRecipientIsGivenUp(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t).Listen()
	s, c := served.MailedServer(t, m)
	mark := s.Log.Mark()
	promptly(t, func() { c.Post(http.StatusCreated, "register", served.Newcomer("nobody-here")) })
	s.Logged(mark, "mail given up", "no such person")
	promptly(t, func() { c.Post(http.StatusCreated, "register", served.Newcomer("ada")) })
	require.Equal(t, "ada@example.org", m.Next().To)
	// The account is there, and a fixed address would get a new mail.
	c.Post(http.StatusBadRequest, "register", served.Newcomer("nobody-here"))
	require.Empty(t, s.Log.Line(mark, "the mail server can't be used"))
}

func TestCertificateOfAnotherAuthorityIsRefused(t *testing.T) {
	t.Parallel()
	m, other := served.NewMailServer(t).Listen(), served.NewMailServer(t)
	m.CaFile = other.CaFile
	s, c := served.MailedServer(t, m)
	promptly(t, func() { c.Post(http.StatusCreated, "register", served.Newcomer("ada")) })
	line := s.Logged(0, "the mail server can't be used", "certificate")
	require.Contains(t, line, "trusted_ca")
	require.Empty(t, m.IDs("ada@example.org"), "a mail went to a server that nobody vouches for")
}
