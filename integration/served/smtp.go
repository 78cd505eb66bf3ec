// smtp.go: a real mail server (STARTTLS with a certificate of its own
// authority, AUTH) that can be down, stall, and refuse.

package served

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

const (
	smtpUser     = "caddy"
	SmtpPassword = "the mail server's password"
)

// MailServer keeps the messages that it accepted, and refuses as told.
type MailServer struct {
	t       testing.TB
	Address string
	CaFile  string
	tls     *tls.Config
	// Refuse returns the answer to a message that has come in whole; nil: 250.
	Refuse func(to string, attempt int) *smtp.SMTPError

	Mu       sync.Mutex
	Attempts []*Message // accepted or not
	accepted chan *Message
	server   *smtp.Server
}

// NewMailServer prepares a server that does not listen yet.
func NewMailServer(t testing.TB) *MailServer {
	t.Helper()
	m := &MailServer{t: t, accepted: make(chan *Message, 1<<16)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m.Address = l.Addr().String()
	require.NoError(t, l.Close())
	m.certify()
	t.Cleanup(func() {
		if m.server != nil {
			_ = m.server.Close()
		}
	})
	return m
}

// certify makes an authority and a certificate of 127.0.0.1.
func (m *MailServer) certify() {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(m.t, err)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	require.NoError(m.t, err)
	m.CaFile = filepath.Join(m.t.TempDir(), "ca.pem")
	require.NoError(m.t, os.WriteFile(m.CaFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mail"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), key)
	require.NoError(m.t, err)
	m.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

// Listen brings the server up.
func (m *MailServer) Listen() *MailServer {
	m.t.Helper()
	l, err := net.Listen("tcp", m.Address)
	require.NoError(m.t, err)
	m.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{server: m}, nil }))
	m.server.TLSConfig, m.server.Domain = m.tls, "mail.example.com"
	m.server.ReadTimeout, m.server.WriteTimeout = Patience, Patience
	m.server.ErrorLog = log.New(io.Discard, "", 0) // what clients do to it is the test's business
	go func(server *smtp.Server) { _ = server.Serve(l) }(m.server)
	return m
}

// Next waits for the next accepted message.
func (m *MailServer) Next() *Message {
	m.t.Helper()
	select {
	case got := <-m.accepted:
		return got
	case <-time.After(Patience):
		require.FailNow(m.t, "no mail came")
		return nil
	}
}

// IDs are the Message-IDs of all attempts to an address.
func (m *MailServer) IDs(to string) []string {
	var ids []string
	for _, a := range m.To(to) {
		ids = append(ids, a.Id)
	}
	return ids
}

// To are all attempts to an address, oldest first.
func (m *MailServer) To(address string) (found []*Message) {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	for _, a := range m.Attempts {
		if a.To == address {
			found = append(found, a)
		}
	}
	return found
}

// mailSession is one connection.
type mailSession struct {
	server   *MailServer
	signedIn bool
	from, to string
}

// AuthMechanisms implements smtp.AuthSession.
func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth implements smtp.AuthSession. The library offers it after STARTTLS alone.
func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != smtpUser || password != SmtpPassword {
			return smtp.ErrAuthFailed
		}
		s.signedIn = true
		return nil
	}), nil
}

// Mail implements smtp.Session.
func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	if !s.signedIn {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

// Rcpt implements smtp.Session.
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.to = to; to == "nobody-here@example.org" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such person"}
	}
	return nil
}

// Data implements smtp.Session.
func (s *mailSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	got := parseMail(s.server.t, bytes.NewReader(raw))
	if got.To != s.to {
		return errors.New("the envelope and the header differ")
	}
	s.server.Mu.Lock()
	s.server.Attempts = append(s.server.Attempts, got)
	s.server.Mu.Unlock()
	if s.server.Refuse != nil {
		if refusal := s.server.Refuse(s.to, len(s.server.IDs(s.to))); refusal != nil {
			return refusal
		}
	}
	s.server.accepted <- got
	return nil
}

// Reset implements smtp.Session.
func (s *mailSession) Reset() { s.from, s.to = "", "" }

// Logout implements smtp.Session.
func (s *mailSession) Logout() error { return nil }
