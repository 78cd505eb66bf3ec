// mailer_smtp_test.go: the settings of the SMTP mailer, in a Caddyfile and in
// JSON, and what is wrong with them.

package registration_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

func TestSMTPCaddyfile(t *testing.T) {
	for name, c := range map[string]struct{ input, json, err string }{
		"shortest": {input: "smtp localhost:25", json: `{"address":"localhost:25"}`},
		"all": {
			input: "smtp mail.example.com:587 {\n\tusername u\n\tpassword {env.SMTP_PASSWORD}\n\ttls starttls\n\ttimeout 1m\n\thello www.example.com\n\ttrusted_ca /ca.pem\n}",
			json:  `{"address":"mail.example.com:587","username":"u","password":"{env.SMTP_PASSWORD}","tls":"starttls","timeout":60000000000,"hello":"www.example.com","trusted_ca":"/ca.pem"}`,
		},
		"placeholder": {
			input: "smtp {env.SMTP_SERVER} {\n\ttls none\n\tusername u\n\tpassword p\n}",
			json:  `{"address":"{env.SMTP_SERVER}","username":"u","password":"p","tls":"none"}`,
		},
		"no server":            {input: "smtp", err: "mailer smtp takes one server; write for example: mailer smtp mail.example.com:587, at Testfile:1"},
		"two servers":          {input: "smtp a:25 b:25", err: "mailer smtp takes one server; write for example: mailer smtp mail.example.com:587, at Testfile:1"},
		"a URL":                {input: "smtp smtp://a", err: `mailer smtp: address: "smtp://a" is no mail server; write for example mail.example.com:587, at Testfile:1`},
		"unknown setting":      {input: "smtp a {\n\tuser u\n}", err: `mailer smtp has no setting "user"; its settings are: username, password, tls, timeout, hello, trusted_ca, at Testfile:2`},
		"address in the block": {input: "smtp a {\n\taddress b\n}", err: `mailer smtp has no setting "address"; its settings are: username, password, tls, timeout, hello, trusted_ca, at Testfile:2`},
		"twice":                {input: "smtp a {\n\thello b\n\n\thello c\n}", err: "mailer smtp: hello stands twice; keep one of them, at Testfile:4"},
		"no value":             {input: "smtp a {\n\tpassword\n}", err: "mailer smtp: password takes one value; write for example: password {env.SMTP_PASSWORD}, at Testfile:2"},
		"empty value":          {input: "smtp a {\n\tusername \"\"\n}", err: "mailer smtp: username takes one value; write for example: username no-reply@example.com, at Testfile:2"},
		"two values":           {input: "smtp a {\n\ttrusted_ca /a /b\n}", err: "mailer smtp: trusted_ca takes one value; write for example: trusted_ca /etc/ssl/mail-ca.pem, at Testfile:2"},
		"wrong tls":            {input: "smtp a {\n\thello b\n\ttls ssl\n}", err: `mailer smtp: tls: "ssl" is none of starttls, implicit, none, at Testfile:3`},
		"no duration":          {input: "smtp a {\n\ttimeout 10\n}", err: `mailer smtp: timeout: "10" is no duration; write for example: timeout 10s, at Testfile:2`},
		"negative duration":    {input: "smtp a {\n\ttimeout -10s\n}", err: `mailer smtp: timeout: "-10s" is no duration; write for example: timeout 10s, at Testfile:2`},
		"wrong hello":          {input: "smtp a {\n\thello \"a b\"\n}", err: `mailer smtp: hello: "a b" is no host name; write for example www.example.com, at Testfile:2`},
		"no password":          {input: "smtp a {\n\tusername u\n}", err: "mailer smtp: username: it has no password; add password {env.SMTP_PASSWORD}, or remove username, at Testfile:2"},
		"no username":          {input: "smtp a {\n\thello b\n\tpassword p\n}", err: "mailer smtp: password: it has no username; add username <name>, or remove password, at Testfile:3"},
		"password in the clear": {
			input: "smtp mail.example.com {\n\tusername u\n\tpassword p\n\ttls none\n}",
			err:   "mailer smtp: tls: none would send the password to mail.example.com in the clear; write starttls or implicit, or remove username and password, at Testfile:4",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := new(registration.SMTPMailer)
			err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser(c.input))
			if c.err != "" {
				require.EqualError(t, err, c.err)
				return
			}
			require.NoError(t, err)
			out, err := json.Marshal(m)
			require.NoError(t, err)
			require.JSONEq(t, c.json, string(out))
		})
	}
}

func TestSMTPAddress(t *testing.T) {
	for _, c := range []struct{ address, tls, host, port string }{
		{"mail.example.com", "", "mail.example.com", "587"},
		{"mail.example.com", smtp.StartTLS, "mail.example.com", "587"},
		{"mail.example.com", smtp.ImplicitTLS, "mail.example.com", "465"},
		{"mail.example.com", smtp.NoTLS, "mail.example.com", "25"},
		{"mail.example.com:465", "", "mail.example.com", "465"},
		{"mail.example.com:2525", smtp.ImplicitTLS, "mail.example.com", "2525"},
		{"[::1]:25", smtp.NoTLS, "::1", "25"},
		{"[::1]", smtp.NoTLS, "::1", "25"},
		{"::1", smtp.NoTLS, "::1", "25"},
	} {
		m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: c.address, TLS: c.tls})
		require.Equal(t, []string{c.host, c.port}, []string{m.Server.Host, m.Server.Port}, c.address)
	}
	for _, wrong := range []string{"", ":25", "a:", "a:0", "a:65536", "a:smtp", "a:1:2", "[a", "a b:25", "a/b", "u@a", "a\r\nb"} {
		require.ErrorContains(t, (&registration.SMTPMailer{Address: wrong}).Provision(caddy.Context{}), "mailer smtp: address: ", wrong)
	}
}

func TestSMTPDefaults(t *testing.T) {
	m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: "localhost"})
	require.Equal(t, 10*time.Second, m.Server.Timeout)
	require.Equal(t, "starttls", m.Server.TLS)
	require.Empty(t, m.Server.Hello, "the realm says it")
	for address, want := range map[string]string{"a:465": smtp.ImplicitTLS, "[::1]:465": smtp.ImplicitTLS, "a:587": smtp.StartTLS, "a:25": smtp.StartTLS, "a": smtp.StartTLS} {
		require.Equal(t, want, sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address}).Server.TLS, address)
	}
	require.Equal(t, smtp.StartTLS, sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: "a:465", TLS: "starttls"}).Server.TLS, "who writes it means it")
	out, err := json.Marshal(m)
	require.NoError(t, err)
	require.JSONEq(t, `{"address":"localhost"}`, string(out), "the configuration stays as it is written")
}

func TestSMTPPlaceholders(t *testing.T) {
	caFile, _ := sitetest.NewCA(t, "mail.example.com")
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte(sitetest.SmtpPassword+"\n"), 0o600))
	t.Setenv("TEST_SMTP_SERVER", "mail.example.com:465")
	t.Setenv("TEST_SMTP_USER", sitetest.SmtpUser)
	t.Setenv("TEST_SMTP_CA", caFile)
	m := &registration.SMTPMailer{
		Address: "{env.TEST_SMTP_SERVER}", Username: "{env.TEST_SMTP_USER}", Password: "{file." + secret + "}",
		TrustedCA: "{env.TEST_SMTP_CA}", TLS: "implicit",
	}
	written := m.Settings()
	sitetest.ReadyMailer(t, m)
	require.Equal(t, "mail.example.com", m.Server.Host)
	require.Equal(t, "465", m.Server.Port)
	require.Equal(t, sitetest.SmtpUser, m.Server.Username)
	require.Equal(t, sitetest.SmtpPassword, m.Server.Password)
	require.NotNil(t, m.Server.Roots)
	require.Equal(t, written, m.Settings(), "the configuration stays as it is written")
}

func TestSMTPWrongSettings(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(noPEM, []byte("nonsense"), 0o600))
	t.Setenv("TEST_SMTP_SERVER", "mail.example.com")
	const notSet = "{env.TEST_NOT_SET} is empty; set it before Caddy starts, or write the value itself"
	for name, c := range map[string]struct {
		m   *registration.SMTPMailer
		err string
	}{
		"address not set":         {&registration.SMTPMailer{Address: "{env.TEST_NOT_SET}"}, "mailer smtp: address: evaluated placeholder " + notSet},
		"username not set":        {&registration.SMTPMailer{Address: "a", Username: "{env.TEST_NOT_SET}"}, "mailer smtp: username: evaluated placeholder " + notSet},
		"password not set":        {&registration.SMTPMailer{Address: "a", Username: "u", Password: "{env.TEST_NOT_SET}"}, "mailer smtp: password: evaluated placeholder " + notSet},
		"trusted_ca not set":      {&registration.SMTPMailer{Address: "a", TrustedCA: "{env.TEST_NOT_SET}"}, "mailer smtp: trusted_ca: evaluated placeholder " + notSet},
		"password with braces":    {&registration.SMTPMailer{Address: "a", Username: "u", Password: "x{secret}"}, `write \{ for a brace of the password itself`},
		"unknown tls":             {&registration.SMTPMailer{Address: "a", TLS: "ssl"}, `mailer smtp: tls: "ssl" is none of starttls, implicit, none`},
		"no CA file":              {&registration.SMTPMailer{Address: "a", TrustedCA: "/nowhere/ca.pem"}, "mailer smtp: trusted_ca: open /nowhere/ca.pem: no such file or directory; name a PEM file"},
		"CA file without a CA":    {&registration.SMTPMailer{Address: "a", TrustedCA: noPEM}, "has no certificate in PEM form; name the file of the CA's certificate"},
		"username alone":          {&registration.SMTPMailer{Address: "a", Username: "u"}, "mailer smtp: username: it has no password"},
		"password alone":          {&registration.SMTPMailer{Address: "a", Password: "p"}, "mailer smtp: password: it has no username"},
		"negative timeout":        {&registration.SMTPMailer{Address: "a", Timeout: -1}, "mailer smtp: timeout: it is negative; write for example 10s"},
		"hello that is two lines": {&registration.SMTPMailer{Address: "a", Hello: "a\r\nMAIL"}, "mailer smtp: hello: "},
		"password in the clear": {
			&registration.SMTPMailer{Address: "{env.TEST_SMTP_SERVER}", Username: "u", Password: "hunter2", TLS: "none"},
			"mailer smtp: tls: none would send the password to mail.example.com in the clear",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.m.Provision(caddy.Context{})
			if err == nil {
				err = c.m.Validate()
			}
			require.ErrorContains(t, err, c.err)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	for _, local := range []string{"localhost", "127.0.0.1", "[::1]"} {
		sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: local, Username: "u", Password: "p", TLS: "none"})
	}
}
