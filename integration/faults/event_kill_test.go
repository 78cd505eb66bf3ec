// event_kill_test.go: a Caddy that is killed again and again under load has told its handlers
// of no act that it had not committed, and of none twice.

package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"

	_ "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// hearsEnv makes this program a Caddy with a handler of events.
const hearsEnv = "REGISTRATION_HEARS"

// A hearer says at once what it hears of.
type hearer struct{}

// CaddyModule implements caddy.Module.
func (hearer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.hear", New: func() caddy.Module { return new(hearer) }}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler.
func (*hearer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

// Handle implements caddyevents.Handler.
func (*hearer) Handle(_ context.Context, e caddy.Event) error {
	_, err := fmt.Fprintf(os.Stderr, "heard of %s: %v\n", e.Name(), e.Data["id"])
	return err
}

// beCaddyThatHears runs as a Caddy where the environment says so.
func beCaddyThatHears() {
	if os.Getenv(hearsEnv) != "" {
		caddy.RegisterModule(hearer{})
		caddycmd.Main()
		os.Exit(0)
	}
}

func TestFaultKilledWithEvents(t *testing.T) {
	rounds := lengths(4, 100)
	program, err := os.Executable()
	require.NoError(t, err)
	s := served.NewServer(t)
	s.Program, s.Env = program, []string{hearsEnv + "=1"}
	s.Configure(strings.Replace(strings.Replace(served.PlainSite, "registration {", `registration {
		register {
			verification off
		}`, 1), "default_bind 127.0.0.1\n", "default_bind 127.0.0.1\n\tevents {\n\t\ton account_registered hear\n\t}\n", 1))
	s.Start()
	var mu sync.Mutex
	committed := map[string]bool{} // by id
	heard := map[string]int{}
	for round := range rounds {
		from := s.Log.Mark()
		load := signUpsUntilKilled(s, round, func(id string) {
			mu.Lock()
			defer mu.Unlock()
			committed[id] = true
		})
		require.True(t, served.Eventually(func() bool { return strings.Count(s.Log.Since(from), "heard of account_registered: ") > 3+round%7 }, time.Millisecond), "nothing is told")
		time.Sleep(rand.N(5 * time.Millisecond))
		s.Kill()
		require.NoError(t, load.Wait())
		for line := range strings.Lines(s.Log.Since(from)) {
			if id, is := strings.CutPrefix(line, "heard of account_registered: "); is {
				heard[strings.TrimSpace(id)]++
			}
		}
		s.Start()
	}
	users, both := allUsers(t, s), 0
	for id, n := range heard {
		require.True(t, users[id], "told of an account that is not there")
		require.Equal(t, 1, n, "told twice")
		if committed[id] {
			both++
		}
	}
	for id := range committed {
		require.True(t, users[id], "acknowledged, and not there")
	}
	faultResult(t, fmt.Sprintf("killed (SIGKILL) with a handler of events, %d times", rounds), "no event is told before its act is committed, and none twice; the last ones before a kill may be told to nobody",
		fmt.Sprintf("%d acts told, all of accounts that are there, none twice; of %d acknowledged %d told", len(heard), len(committed), both))
}
