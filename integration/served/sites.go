// sites.go: the sites that tests of several packages run.

package served

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The parts of which most sites are made.
const (
	// Head has the global options.
	Head = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
`
	// Cheap is a hash that costs nothing.
	Cheap = `
		password {
			argon2id 8KiB 1 1
		}
`
	// Settings are those of accounts at base_url [[base]].
	Settings = `
		throttle off
		base_url [[base]]
		from no-reply@example.com
		mailer file [[dir]]/mail` + Cheap
	// Greeting says who has come.
	Greeting = `respond "for members: {http.auth.user.username}"`
)

// Accounts is the directive `registration` at a base_url, with more settings than the
// usual ones.
func Accounts(base string, settings ...string) string {
	return "registration {" + strings.ReplaceAll(Settings, "[[base]]", base) + strings.Join(append(settings, "}\n"), "\n\t")
}

// Site is a site over plain HTTP: the accounts with more settings, and the directives
// beside them.
func Site(settings string, directives ...string) string {
	return Head + At("http://127.0.0.1:[[port]]", append([]string{Accounts("http://127.0.0.1:[[port]]", settings)}, directives...)...)
}

// At is the block of an address, of these directives.
func At(address string, directives ...string) string {
	return address + " {\n\t" + strings.Join(directives, "\n\t") + "\n}\n"
}

// PlainSite is a site behind a login, over plain HTTP, with a cheap hash.
var PlainSite = Site("", "require_login /members/*", Greeting)

// TokenSite hands out API tokens too, and guards one folder by group.
var TokenSite = Site("login {\n\t\t\ttoken on\n\t\t}", "require_login /members/*", `require_login /staff/* {
		group staff editors
	}
	respond "for members: {http.auth.user.username} {http.auth.user.groups}"`)

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
` + Cheap + `
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

// MailedServer runs it against a mail server.
func MailedServer(t *testing.T, m *MailServer) (*Server, *Client) {
	t.Helper()
	s := NewServer(t)
	s.Env = []string{"SMTP_TEST_PASSWORD=" + SmtpPassword}
	s.Values["smtp"], s.Values["ca"], s.Values["timeout"] = m.Address, m.CaFile, "1s"
	s.Values["plain"] = strconv.Itoa(FreePort(t))
	s.Configure(mailedSite)
	s.Start()
	return s, s.SecureClient()
}

// TrustsCaddy is TLS that trusts Caddy's authority and no other.
func (s *Server) TrustsCaddy() *tls.Config {
	s.T.Helper()
	pem, err := os.ReadFile(filepath.Join(s.DataDir(), "pki", "authorities", "local", "root.crt"))
	require.NoError(s.T, err)
	roots := x509.NewCertPool()
	require.True(s.T, roots.AppendCertsFromPEM(pem))
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// SecureClient is a client of a site on https://localhost, by HTTP/2.
func (s *Server) SecureClient() *Client {
	s.T.Helper()
	transport := &http.Transport{TLSClientConfig: s.TrustsCaddy(), ForceAttemptHTTP2: true}
	s.T.Cleanup(transport.CloseIdleConnections)
	c := NewClient(s.T, fmt.Sprintf("https://localhost:%d", s.Port), transport)
	// Caddy makes the certificate once it serves already.
	require.True(s.T, Eventually(func() bool {
		res, err := c.HTTP.Get(c.Base + "/")
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil
	}, 10*time.Millisecond), "no TLS")
	return c
}

// AdminSite is a site of which the owner asks much.
const AdminSite = `
{
	admin 127.0.0.1:[[admin]]
}
http://127.0.0.1:[[port]] {
	registration {
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mails
		throttle off
		register {
			verification off
		}
		user {
			field plan choice {
				choices free paid
				default free
				read_only
			}
			field seat integer {
				unique
				read_only
			}
			field remark text {
				hidden
			}
			field home url
			field work email
			field height number
			field born date
			field news boolean
		}
	}
}
`
