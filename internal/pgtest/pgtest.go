//go:build unix

// Package pgtest starts a PostgreSQL server for tests, in a folder of its own and on a Unix
// socket, and ends it with the test.
package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Server is a running PostgreSQL.
type Server struct {
	t    testing.TB
	bin  string
	dir  string
	args []string
	cmd  *exec.Cmd
	cred *syscall.Credential
}

// bin is the folder of the newest server's programs; empty: there is none.
func bin() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		if path, err := exec.LookPath("initdb"); err == nil {
			return filepath.Dir(path)
		}
		return ""
	}
	version := func(path string) int { n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))); return n }
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1])
}

// Need returns the folder of PostgreSQL's programs. Without them the test is skipped, with
// CI=true it fails.
func Need(t testing.TB) string {
	t.Helper()
	folder := bin()
	if folder == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("PostgreSQL is missing; install the package postgresql")
		}
		t.Skip("needs PostgreSQL (Debian: postgresql)")
	}
	return folder
}

// Start makes a cluster and starts a server on it with these settings (name=value), where
// there is what it needs (Need).
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := &Server{t: t, bin: Need(t), args: []string{"-c", "listen_addresses="}}
	for _, setting := range settings {
		s.args = append(s.args, "-c", setting)
	}
	dir, err := os.MkdirTemp("", "pg")
	require.NoError(t, err)
	s.dir = dir
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Getuid() == 0 { // it refuses root
		s.cred = credential(t)
		require.NoError(t, os.Chown(dir, int(s.cred.Uid), int(s.cred.Gid)))
	}
	out, err := s.command("initdb", "-D", filepath.Join(dir, "data"), "-A", "trust", "-U", "test", "-E", "UTF8", "--no-locale", "--no-sync").CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.Run()
	t.Cleanup(s.Kill)
	return s
}

// credential is that of somebody who may run a server.
func credential(t testing.TB) *syscall.Credential {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("no user may run PostgreSQL")
	return nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...) //nolint:gosec // a program of the system
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
	return cmd
}

// Run starts the server, which must not be running, and waits for it.
func (s *Server) Run() {
	s.t.Helper()
	s.cmd = s.command("postgres", append([]string{"-D", filepath.Join(s.dir, "data"), "-k", s.dir}, s.args...)...)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	defer log.Close() //nolint:errcheck // the server has its own
	s.cmd.Stdout, s.cmd.Stderr = log, log
	require.NoError(s.t, s.cmd.Start())
	port := "5432"
	for _, setting := range s.args {
		if own, ok := strings.CutPrefix(setting, "port="); ok {
			port = own
		}
	}
	for range 600 {
		if s.command("pg_isready", "-q", "-h", s.dir, "-p", port).Run() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Fatalf("the server did not start: %s", s.Log())
}

// With has the server run anew with more settings, which go before those that it has.
func (s *Server) With(settings ...string) {
	s.t.Helper()
	s.Stop()
	for _, setting := range settings {
		s.args = append(s.args, "-c", setting)
	}
	s.Run()
}

// Put writes a file that is the server's own.
func (s *Server) Put(name string, contents []byte) (path string) {
	s.t.Helper()
	path = filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path, contents, 0o600))
	if s.cred != nil {
		require.NoError(s.t, os.Chown(path, int(s.cred.Uid), int(s.cred.Gid)))
	}
	return path
}

// URL is that of the server's only database.
func (s *Server) URL() string { return fmt.Sprintf("postgres://test@/postgres?host=%s", s.dir) }

// Dir is where its socket is.
func (s *Server) Dir() string { return s.dir }

// Log is what it has written.
func (s *Server) Log() string {
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(log)
}

// Stop ends it as an administrator would who has no time: what runs is broken off.
func (s *Server) Stop() { s.signal(syscall.SIGINT) }

// Kill ends it as a failure of power would.
func (s *Server) Kill() { s.signal(syscall.SIGQUIT) }

func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	_ = s.cmd.Wait()
	s.cmd = nil
}
