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
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// PlainSite is a site behind a login, over plain HTTP, with a cheap hash.
const PlainSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://127.0.0.1:[[port]] {
	registration {
		throttle off
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		password {
			argon2id 8KiB 1 1
		}
	}
	require_login /members/*
	respond "for members: {http.auth.user.username}"
}
`

// TokenSite hands out API tokens too, and guards one folder by group.
const TokenSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://127.0.0.1:[[port]] {
	registration {
		throttle off
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		password {
			argon2id 8KiB 1 1
		}
		login {
			token on
		}
	}
	require_login /members/*
	require_login /staff/* {
		group staff editors
	}
	respond "for members: {http.auth.user.username} {http.auth.user.groups}"
}
`

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
