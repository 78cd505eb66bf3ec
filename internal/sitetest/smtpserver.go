// smtpserver.go: servers for the tests of the SMTP mailer: an honest
// one (go-smtp), and scripted ones for what no honest server does.

package sitetest

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

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

const (
	SmtpUser     = "no-reply@example.com"
	SmtpPassword = "s3cret-pässword"
	// FarTimeout is for what is to end by something else than its time.
	FarTimeout = caddy.Duration(time.Minute)
)

// NewCA makes a CA's certificate file and a server's configuration for names.
func NewCA(t testing.TB, names ...string) (caFile string, config *tls.Config) {
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

// PostOffice is an honest SMTP server, whose answers a test changes.
type PostOffice struct {
	Address, CaFile, TLS string

	Mu               sync.Mutex
	Mail, Rcpt, Data error // what the server answers there; nil: it accepts
	Conns            []net.Conn
	Hello            string
	Logins           int
	Received         [][]byte
}

// NewPostOffice runs a server; tlsKind is one of SMTPMailer.TLS.
func NewPostOffice(t testing.TB, tlsKind string) *PostOffice {
	t.Helper()
	p := &PostOffice{TLS: tlsKind}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.Address = listener.Addr().String()
	server := gosmtp.NewServer(p)
	server.Domain = "mail" + ".example.com"
	server.ErrorLog = log.New(io.Discard, "", 0)
	server.AllowInsecureAuth = true
	if tlsKind != smtp.NoTLS {
		p.CaFile, server.TLSConfig = NewCA(t, "127.0.0.1")
	}
	if tlsKind == smtp.ImplicitTLS {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close()           // the server does not know it before Serve has begun
		if err := <-done; err != nil { // it ended by the closing
			t.Log(err)
		}
	})
	return p
}

func (p *PostOffice) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	p.Mu.Lock()
	defer p.Mu.Unlock()
	if _, secure := c.TLSConnectionState(); secure || p.TLS != smtp.StartTLS { // of STARTTLS, count the second EHLO alone
		p.Conns = append(p.Conns, c.Conn())
	}
	p.Hello = c.Hostname()
	return &counter{p}, nil
}

// counter is where one client is served.
type counter struct{ *PostOffice }

func (c *counter) answer(answer *error) error {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	return *answer
}
func (c *counter) Reset()                                 {}
func (c *counter) Logout() error                          { return nil }
func (c *counter) AuthMechanisms() []string               { return []string{sasl.Plain} }
func (c *counter) Mail(string, *gosmtp.MailOptions) error { return c.answer(&c.PostOffice.Mail) }

func (c *counter) Rcpt(_ string, _ *gosmtp.RcptOptions) error { return c.answer(&c.PostOffice.Rcpt) }

func (c *counter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != SmtpUser || password != SmtpPassword {
			return gosmtp.ErrAuthFailed
		}
		c.Mu.Lock()
		defer c.Mu.Unlock()
		c.Logins++
		return nil
	}), nil
}

func (c *counter) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := c.answer(&c.PostOffice.Data); err != nil {
		return err
	}
	c.Mu.Lock()
	defer c.Mu.Unlock()
	c.Received = append(c.Received, raw)
	return nil
}

// Set changes the answers under the lock.
func (p *PostOffice) Set(change func()) {
	p.Mu.Lock()
	defer p.Mu.Unlock()
	change()
}

// Require checks how many connections and mails there were.
func (p *PostOffice) Require(t testing.TB, connections, mails int) {
	t.Helper()
	p.Mu.Lock()
	defer p.Mu.Unlock()
	require.Len(t, p.Conns, connections, "connections")
	require.Len(t, p.Received, mails, "mails")
}

// HangUp closes all connections from the server's side.
func (p *PostOffice) HangUp() {
	p.Set(func() {
		for _, c := range p.Conns {
			_ = c.Close()
		}
	})
}

// Mailer is one that the server fits.
func (p *PostOffice) Mailer(t testing.TB) *registration.SMTPMailer {
	t.Helper()
	return ReadyMailer(t, &registration.SMTPMailer{Address: p.Address, TLS: p.TLS, TrustedCA: p.CaFile, Timeout: FarTimeout})
}

// ReadyMailer does what Caddy does with a configured module.
func ReadyMailer(t testing.TB, m *registration.SMTPMailer) *registration.SMTPMailer {
	t.Helper()
	require.NoError(t, m.Provision(caddy.Context{}))
	require.NoError(t, m.Validate())
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// Hurried is the mailer with so long for each step of a conversation.
func Hurried(m *registration.SMTPMailer, limit time.Duration) *registration.SMTPMailer {
	m.Server.Limits = smtp.Limits{Greeting: limit, Command: limit, DataStart: limit, DataBlock: limit, DataEnd: limit}
	return m
}

// ScriptedServer hands each connection to serve, and counts those still open.
func ScriptedServer(t testing.TB, serve func(net.Conn)) (address string, open *atomic.Int64) {
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

// Tarpit accepts and says nothing until the client gives up.
func Tarpit(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// Script answers each line by the first word of it; "" is the greeting. A line
// without an answer ends the conversation; one that is answered with silence
// has the client wait.
func Script(answers map[string]string) func(net.Conn) {
	return func(conn net.Conn) {
		lines := bufio.NewReader(conn)
		for verb, line := "", ""; ; verb = strings.ToUpper(strings.Fields(line + " .")[0]) {
			answer, ok := answers[verb]
			if !ok {
				return
			}
			if answer == "silence" {
				Tarpit(conn)
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

const Hello = "250-mail.example.com\r\n250 8BITMIME"
