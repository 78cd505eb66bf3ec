//go:build unix

// versions_test.go: a cluster of two builds: one of an earlier day, and this one.

package cluster_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
)

// older is the first commit whose tables say which plugins can use them. The builds before it
// kept accounts in PostgreSQL, too, and can't work beside this one.
const older = "83d138c33f7436a690e7fac565d9884fa269043c"

// olderBinary is a Caddy of that commit: the one that REGISTRATION_OLDER_CADDY names, else one
// that is built of the history, once.
func olderBinary(t *testing.T) string {
	t.Helper()
	pgtest.Need(t)
	if path := os.Getenv("REGISTRATION_OLDER_CADDY"); path != "" {
		return path
	}
	git := func(args ...string) *exec.Cmd {
		return exec.Command("git", append([]string{"-C", served.RepoRoot}, args...)...)
	}
	if out, err := git("cat-file", "-e", older+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("needs the project's history with the commit %.7s (a whole clone, not a shallow one), or REGISTRATION_OLDER_CADDY=<a Caddy of it>: %s", older, out)
	}
	path := filepath.Join(served.RepoRoot, "dist", "served", "caddy-"+older[:7])
	if _, err := os.Stat(path); err == nil {
		return path
	}
	source := t.TempDir()
	archive := filepath.Join(source, "source.tar")
	for _, cmd := range []*exec.Cmd{git("archive", "-o", archive, older), exec.Command("tar", "-xf", archive, "-C", source)} {
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755)) //nolint:gosec // programs
	build := exec.Command("go", "build", "-o", path+".new", "./cmd/caddy")
	build.Dir = source
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Rename(path+".new", path))
	return path
}

// A choice is a program that becomes the Caddy that was chosen for its node.
type choice struct {
	t   testing.TB
	dir string
}

func newChoice(t *testing.T) *choice {
	dir := t.TempDir()
	program := filepath.Join(dir, "caddy")
	text := fmt.Sprintf("#!/bin/sh\nexec \"$(cat '%s'/of-\"${NODE:-balancer}\")\" \"$@\"\n", dir)
	require.NoError(t, os.WriteFile(program, []byte(text), 0o700)) //nolint:gosec // a program
	c := &choice{t, dir}
	c.choose("balancer", served.Binary())
	return c
}

func (c *choice) program() string { return "CADDY=" + filepath.Join(c.dir, "caddy") }

// choose says what a node runs when it starts again.
func (c *choice) choose(node, binary string) {
	c.t.Helper()
	require.NoError(c.t, os.WriteFile(filepath.Join(c.dir, "of-"+node), []byte(binary), 0o600))
}

// replace has a node run another build, as a service manager does, and waits until it serves.
func (c *cluster) replace(chosen *choice, n int, binary string) {
	c.t.Helper()
	node := fmt.Sprintf("node%d", n)
	pid := func() string {
		raw, _ := os.ReadFile(filepath.Join(c.dir, node+".pid"))
		return strings.TrimSpace(string(raw))
	}
	before := pid()
	chosen.choose(node, binary)
	c.signal(node, syscall.SIGTERM)
	require.True(c.t, served.Eventually(func() bool {
		if pid() == before {
			return false
		}
		res, err := http.Get(c.base(n) + "/alive")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusNoContent
	}, 20*time.Millisecond), "%s does not come back", node)
	running, err := os.Readlink("/proc/" + pid() + "/exe")
	if err == nil { // Linux
		require.Equal(c.t, binary, running)
	}
}

// Two builds in one cluster: an account of either is one at the other, and what ends at one has
// ended at the other. Then the tables are those of a later day: the older build is refused, with
// words, and the other goes on.
func TestTwoBuildsSideBySide(t *testing.T) {
	t.Parallel()
	before, chosen := olderBinary(t), newChoice(t)
	chosen.choose("node1", before)
	chosen.choose("node2", before)
	c := up(t, 2, chosen.program(), "CADDYFILE="+siteOfTest(t))
	c.replace(chosen, 2, served.Binary())
	mails := &served.Server{T: t, Dir: c.dir}
	require.NoError(t, os.Symlink("mails", filepath.Join(c.dir, "mail")))
	at := func(n int, client *served.Client) *served.Client {
		client.Base = c.base(n)
		return client
	}
	var slowest time.Duration
	ended := func(what string, n int, client *served.Client) {
		t.Helper()
		begin := time.Now()
		require.True(t, served.Eventually(func() bool {
			return at(n, client).Get("/members/").StatusCode == http.StatusUnauthorized
		}, time.Millisecond), what)
		slowest = max(slowest, time.Since(begin))
	}
	for _, here := range []int{1, 2} {
		there := 3 - here
		name := fmt.Sprintf("ada-%d", here)
		one, other := c.client(), c.client()
		at(here, one).Post(http.StatusCreated, "register", served.Newcomer(name))
		at(there, one).Post(http.StatusOK, "verify-registration", mails.Mail(name+"@example.org", 1).Link(t))
		both := func(client *served.Client) {
			t.Helper()
			for _, n := range []int{1, 2} {
				require.Equal(t, http.StatusOK, at(n, client).Get("/members/").StatusCode, "node %d", n)
			}
		}
		at(here, one).SignIn(name)
		both(one)
		at(there, other).SignIn(name)
		both(other)
		// A sign-out ends one session, a new password all others.
		cookie := one.Cookie()
		at(here, one).Post(http.StatusOK, "logout", nil)
		one.Header.Set("Cookie", "registration="+cookie)
		ended("a sign-out", there, one)
		both(other)
		third := c.client()
		at(here, third).SignIn(name)
		both(third)
		at(there, other).Post(http.StatusOK, "change-password", served.Data{
			"old_password": served.TestPassword, "password": served.TestPassword + " anew", "password_confirm": served.TestPassword + " anew",
		})
		ended("a new password", here, third)
		both(other)
		at(here, c.client()).Post(http.StatusBadRequest, "login", served.Data{"login": name, "password": served.TestPassword})
		at(here, c.client()).Post(http.StatusOK, "login", served.Data{"login": name, "password": served.TestPassword + " anew"})
	}
	t.Logf("what one build ended the other knew after %s at most", slowest.Round(time.Millisecond))

	version := c.query("SELECT version || ', oldest = ' || oldest FROM registration.schema")
	c.query("UPDATE registration.schema SET version = 99, oldest = 99")
	c.signal("node1", syscall.SIGTERM)
	log := func() string { return string(served.ReadFile(t, filepath.Join(c.dir, "node1.log"))) }
	require.True(t, served.Eventually(func() bool {
		return strings.Contains(log(), "the tables have version 99, for plugins that know 99 or later; this plugin knows up to ")
	}, 20*time.Millisecond), "it is not refused")
	for range 20 {
		require.Equal(t, http.StatusOK, c.client().Do(http.MethodPost, "/accounts/login", served.Data{"login": "ada-1", "password": served.TestPassword + " anew"}).StatusCode)
	}
	c.query("UPDATE registration.schema SET version = " + version)
	require.True(t, served.Eventually(func() bool {
		res, err := http.Get(c.base(1) + "/alive")
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusNoContent
	}, 20*time.Millisecond), "it does not come back")
}

// Node after node of the older build becomes one of this, while people come and go.
func TestFaultUpgradeNodeByNode(t *testing.T) {
	length := 12 * time.Second
	if long {
		length = 2 * time.Minute
	}
	const nodes = 3
	before, chosen := olderBinary(t), newChoice(t)
	for n := range nodes {
		chosen.choose(fmt.Sprintf("node%d", n+1), before)
	}
	m := served.NewMailServer(t).Listen()
	c := upWithMail(t, nodes, m, chosen.program())
	l := newLedger()
	load, until := c.comeAndGo(l, m, length)
	for n := range nodes {
		time.Sleep(length / (nodes + 1))
		c.replace(chosen, n+1, served.Binary())
	}
	time.Sleep(time.Until(until))
	require.NoError(t, load.Wait())
	c.quiet(l)
	sent, twice, waiting := c.mails(m, l)
	l.verdict(t)
	require.Zero(t, twice, "a mail twice where nobody had died")
	served.FaultResult(t, fmt.Sprintf("three nodes of an earlier build become this one, one after the other, under load for %s", length),
		"no acknowledged act lost, no mail lost or twice; nobody signed out, no session good again", fmt.Sprintf("%s; %d mails sent, %d of them twice, %d wait", l, sent, twice, waiting))
}
