//go:build unix && !registration_nopostgres

// connect_test.go: the ways to a database that libpq has.

package postgres_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

func TestADatabaseIsReachedAsByLibpq(t *testing.T) {
	const secret = "hunter2 secret:word"
	server := pgtest.Start(t, "fsync=off")
	asAdmin(t, server, `ALTER USER test PASSWORD '`+secret+`'`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	ca, own := sitetest.NewCA(t, "localhost")
	other, _ := sitetest.NewCA(t, "localhost")
	key, err := x509.MarshalPKCS8PrivateKey(own.Certificates[0].PrivateKey)
	require.NoError(t, err)
	server.With(
		"listen_addresses=127.0.0.1", fmt.Sprintf("port=%d", port), "ssl=on",
		"ssl_cert_file="+server.Put("cert", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificates[0].Certificate[0]})),
		"ssl_key_file="+server.Put("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"hba_file="+server.Put("hba", []byte("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")),
	)
	passfile := filepath.Join(t.TempDir(), "pgpass")
	require.NoError(t, os.WriteFile(passfile, fmt.Appendf(nil, "localhost:%d:postgres:test:hunter2 secret\\:word\n", port), 0o600))
	inURL := "postgres://test:hunter2%20secret%3Aword@"
	for name, c := range map[string]struct {
		url  string
		env  map[string]string
		want string // of the error; empty: it works
	}{
		"a Unix socket":               {url: fmt.Sprintf("postgres://test@/postgres?host=%s&port=%d", server.Dir(), port)},
		"key and value":               {url: fmt.Sprintf("host=%s port=%d user=test dbname=postgres", server.Dir(), port)},
		"PG variables":                {url: "postgres://", env: map[string]string{"PGHOST": server.Dir(), "PGPORT": fmt.Sprint(port), "PGUSER": "test", "PGDATABASE": "postgres"}},
		"verify-full":                 {url: fmt.Sprintf("%slocalhost:%d/postgres?sslmode=verify-full&sslrootcert=%s", inURL, port, ca)},
		"a password file":             {url: fmt.Sprintf("postgres://test@localhost:%d/postgres?sslmode=verify-full&sslrootcert=%s&passfile=%s", port, ca, passfile)},
		"PGPASSWORD":                  {url: fmt.Sprintf("postgres://test@localhost:%d/postgres?sslmode=verify-full&sslrootcert=%s", port, ca), env: map[string]string{"PGPASSWORD": secret}},
		"another name":                {url: fmt.Sprintf("%s127.0.0.1:%d/postgres?sslmode=verify-full&sslrootcert=%s", inURL, port, ca), want: "certificate"},
		"another authority":           {url: fmt.Sprintf("%slocalhost:%d/postgres?sslmode=verify-full&sslrootcert=%s", inURL, port, other), want: "certificate"},
		"in the clear, which it bars": {url: fmt.Sprintf("%slocalhost:%d/postgres?sslmode=disable", inURL, port), want: "no encryption"},
		"another password":            {url: fmt.Sprintf("postgres://test:hunter3@localhost:%d/postgres?sslmode=verify-full&sslrootcert=%s", port, ca), want: "password authentication failed"},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			o := postgres.Options{URL: c.url}
			look := postgres.Look(t.Context(), o)
			db, err := postgres.Open(t.Context(), o)
			if err == nil {
				db.Close()
			}
			for _, err := range []error{look, err} {
				if c.want == "" {
					require.NoError(t, err)
					continue
				}
				require.ErrorContains(t, err, c.want)
				require.NotContains(t, err.Error(), "hunter")
			}
		})
	}
}
