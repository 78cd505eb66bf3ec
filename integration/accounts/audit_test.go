// audit_test.go: the record of acts, read and followed by its command.

package accounts_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// A follower sees what comes, over a reload, and holds up neither that nor the stop.
func TestAuditCommand(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.AdminSite)
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))
	address := fmt.Sprintf("127.0.0.1:%d", s.Admin)
	out, err := s.Command("registration", "audit", "--address", address, "--account", "ada").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "\taccount_registered\tada\t")

	cmd := s.Command("registration", "audit", "--follow", "--json", "--limit", "1", "--address", address)
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	defer time.AfterFunc(served.Patience, func() { _ = cmd.Process.Kill() }).Stop()
	lines := bufio.NewScanner(pipe)
	next := func() (event, username string) {
		t.Helper()
		require.True(t, lines.Scan(), lines.Err())
		var row struct{ Event, Username string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &row), lines.Text())
		return row.Event, row.Username
	}
	_, name := next()
	require.Equal(t, "ada", name)
	mark := s.Log.Mark()
	s.Administer(http.MethodPatch, "ada", `{"is_active": false}`)
	event, _ := next()
	require.Equal(t, "account_disabled", event)
	require.Equal(t, http.StatusOK, s.Load(strings.Replace(served.AdminSite, "throttle off", "throttle off\n\t\taudit {\n\t\t\tkeep 30d\n\t\t}", 1)).StatusCode)
	s.Administer(http.MethodPatch, "ada", `{"is_active": true}`)
	event, _ = next()
	require.Equal(t, "account_enabled", event)
	s.Logged(mark, "stopped previous server")
	mark = s.Log.Mark()
	s.Stop()
	s.Logged(mark, "stopped previous server") // it waits some seconds for who doesn't let go, and then says so
	require.False(t, lines.Scan(), lines.Text())
	require.Error(t, cmd.Wait(), "the server has stopped")

	out, err = s.Command("registration", "audit", "--config", s.ConfigFile(), "--limit", "1").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "\taccount_enabled\tada\tadmin\t", "where no server runs it is read all the same")
	out, err = s.Command("registration", "audit", "--config", s.ConfigFile(), "--follow").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "there is nothing to follow, no server runs")
}
