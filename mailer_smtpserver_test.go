// mailer_smtpserver_test.go: servers for the tests of the SMTP mailer: an honest
// one (go-smtp), and scripted ones for what no honest server does.

package registration

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

const (
	smtpUser     = "no-reply@example.com"
	smtpPassword = "s3cret-pässword"
	// farTimeout is for what is to end by something else than its time.
	farTimeout = caddy.Duration(time.Minute)
)

// testCA makes a CA's certificate file and a server's configuration for names.
func testCA(t testing.TB, names ...string) (caFile string, config *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	require.NoError(t, err)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return caFile, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

// postOffice is an honest SMTP server, whose answers a test changes.
type postOffice struct {
	address, caFile, tls string

	mu               sync.Mutex
	mail, rcpt, data error // what the server answers there; nil: it accepts
	conns            []net.Conn
	hello            string
	logins           int
	received         [][]byte
}

// newPostOffice runs a server; tlsKind is one of SMTPMailer.TLS.
func newPostOffice(t testing.TB, tlsKind string) *postOffice {
	t.Helper()
	p := &postOffice{tls: tlsKind}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.address = listener.Addr().String()
	server := gosmtp.NewServer(p)
	server.Domain = "mail.example.com"
	server.ErrorLog = log.New(io.Discard, "", 0)
	server.AllowInsecureAuth = true
	if tlsKind != smtp.SmtpNoTLS {
		p.caFile, server.TLSConfig = testCA(t, "127.0.0.1")
	}
	if tlsKind == smtp.SmtpImplicit {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close() // the server does not know it before Serve has begun
		_ = <-done           // closing makes Serve fail, as it should
	})
	return p
}

func (p *postOffice) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, secure := c.TLSConnectionState(); secure || p.tls != smtp.SmtpStartTLS { // of STARTTLS, count the second EHLO alone
		p.conns = append(p.conns, c.Conn())
	}
	p.hello = c.Hostname()
	return &counter{p}, nil
}

// counter is where one client is served.
type counter struct{ *postOffice }

func (c *counter) answer(answer *error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *answer
}
func (c *counter) Reset()                                     {}
func (c *counter) Logout() error                              { return nil }
func (c *counter) AuthMechanisms() []string                   { return []string{sasl.Plain} }
func (c *counter) Mail(string, *gosmtp.MailOptions) error     { return c.answer(&c.mail) }
func (c *counter) Rcpt(_ string, _ *gosmtp.RcptOptions) error { return c.answer(&c.rcpt) }
func (c *counter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != smtpUser || password != smtpPassword {
			return gosmtp.ErrAuthFailed
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.logins++
		return nil
	}), nil
}

func (c *counter) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := c.answer(&c.data); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, raw)
	return nil
}

// set changes the answers under the lock.
func (p *postOffice) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// require checks how many connections and mails there were.
func (p *postOffice) require(t testing.TB, connections, mails int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Len(t, p.conns, connections, "connections")
	require.Len(t, p.received, mails, "mails")
}

// hangUp closes all connections from the server's side.
func (p *postOffice) hangUp() {
	p.set(func() {
		for _, c := range p.conns {
			_ = c.Close()
		}
	})
}

// mailer is one that the server fits.
func (p *postOffice) mailer(t testing.TB) *SMTPMailer {
	t.Helper()
	return readyMailer(t, &SMTPMailer{Address: p.address, TLS: p.tls, TrustedCA: p.caFile, Timeout: farTimeout})
}

// readyMailer does what Caddy does with a configured module.
func readyMailer(t testing.TB, m *SMTPMailer) *SMTPMailer {
	t.Helper()
	require.NoError(t, m.Provision(caddy.Context{}))
	require.NoError(t, m.Validate())
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// hurried is the mailer with so long for each step of a conversation.
func hurried(m *SMTPMailer, limit time.Duration) *SMTPMailer {
	m.Server.Limits = smtp.Limits{Greeting: limit, Command: limit, DataStart: limit, DataBlock: limit, DataEnd: limit}
	return m
}

// scriptedServer hands each connection to serve, and counts those still open.
func scriptedServer(t testing.TB, serve func(net.Conn)) (address string, open *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	open = new(atomic.Int64)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Add(1)
			all.Go(func() {
				defer open.Add(-1)
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		all.Wait()
	})
	return listener.Addr().String(), open
}

// tarpit accepts and says nothing until the client gives up.
func tarpit(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// script answers each line by the first word of it; "" is the greeting. A line
// without an answer ends the conversation; one that is answered with silence
// has the client wait.
func script(answers map[string]string) func(net.Conn) {
	return func(conn net.Conn) {
		lines := bufio.NewReader(conn)
		for verb, line := "", ""; ; verb = strings.ToUpper(strings.Fields(line + " .")[0]) {
			answer, ok := answers[verb]
			if !ok {
				return
			}
			if answer == "silence" {
				tarpit(conn)
				return
			}
			if _, err := io.WriteString(conn, answer+"\r\n"); err != nil {
				return
			}
			var err error
			if line, err = lines.ReadString('\n'); err != nil {
				return
			}
		}
	}
}

const hello = "250-mail.example.com\r\n250 8BITMIME"
