//go:build unix

// move_kill_test.go: a killed `caddy registration move`, from the file to PostgreSQL and back.

package faults_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// A mover carries a realm between places that its server is configured for.
type mover struct {
	*served.Server
	site string
	rows map[string]int // of the realm, by kind
	all  string         // the accounts, exported
}

// A stay is a place for accounts: how the configuration names it, and how a move from there does.
type stay struct {
	store string
	from  []string
}

func (m *mover) file(name string) stay {
	path := filepath.Join(m.Dir, name+".db")
	return stay{"store bbolt " + path, []string{"--from", path}}
}

func inSchema(name string) stay {
	return stay{"store postgres {env.DATABASE_URL} {\n\t\t\tschema " + name + "\n\t\t}", []string{"--from", "env:DATABASE_URL", "--from-schema", name}}
}

// at has the configuration name a place.
func (m *mover) at(to stay) {
	m.Configure(strings.Replace(m.site, "registration {", "registration {\n\t\t"+to.store, 1))
}

// moves carries the realm to where the configuration says.
func (m *mover) moves(from stay, kill time.Duration) (rows map[string]int, said string, killed bool) {
	m.T.Helper()
	var out, errs bytes.Buffer
	cmd := m.Command(append([]string{"registration", "move", "--json"}, from.from...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(m.T, cmd.Start())
	if kill > 0 {
		time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
	}
	err := cmd.Wait()
	if err != nil {
		return nil, errs.String(), !cmd.ProcessState.Exited()
	}
	var moved struct{ Rows map[string]int }
	require.NoError(m.T, json.Unmarshal(out.Bytes(), &moved), out.String())
	return moved.Rows, errs.String(), false
}

// accounts are those of where the configuration says.
func (m *mover) accounts() string {
	m.T.Helper()
	cmd := m.Command("registration", "export", "--with-hashes")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(m.T, err)
	return string(out)
}

// whole requires that a place has all.
func (m *mover) whole(at stay) {
	m.T.Helper()
	m.at(m.file("look"))
	defer func() { require.NoError(m.T, os.Remove(filepath.Join(m.Dir, "look.db"))) }()
	rows, said, _ := m.moves(at, 0)
	require.Equal(m.T, m.rows, rows, said)
	require.Equal(m.T, m.all, m.accounts())
}

// seed writes n accounts with a sign-in and a mail that waits into the file of the server.
func (m *mover) seed(path string, n int) {
	m.T.Helper()
	file, err := bolt.Open(path, time.Second)
	require.NoError(m.T, err)
	db, err := file.Realm("default")
	require.NoError(m.T, err)
	now := time.Now().Truncate(time.Second)
	require.NoError(m.T, db.Update(m.T.Context(), func(tx store.Tx) error {
		for i := range n {
			name := "u" + strconv.Itoa(i)
			u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: name, Email: name + "@example.org", EmailVerified: true, IsActive: true, DateJoined: now}
			if err := tx.PutUser(u, []store.Key{{Field: "username", Value: name}, {Field: "email", Value: u.Email}}); err != nil {
				return err
			}
			s := &store.Session{Hash: store.TokenHash(sha256.Sum256([]byte(name))), User: u.ID, Kind: store.KindSession, Created: now, LastUsed: now, Expires: now.Add(24 * time.Hour)}
			if err := tx.PutSession(s); err != nil {
				return err
			}
			if err := tx.PutMail(&store.Mail{MessageID: name + "@example.com", Kind: "reset-password", To: u.Email, User: u.ID, Queued: now, Due: now.Add(24 * time.Hour)}); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(m.T, file.Close())
}

// killedMoves kills a move again and again, each time to a place of its own. Whatever it has
// left there is nothing or all, another move makes it all, and the source stays.
// The first moments, in which it looks for nodes, are as good as none.
func (m *mover) killedMoves(rounds int, from stay, looks time.Duration, place func(string) stay) (killed, whole int) {
	m.T.Helper()
	m.at(place("whole"))
	begin := time.Now()
	rows, said, _ := m.moves(from, 0)
	took := time.Since(begin)
	require.Equal(m.T, m.rows, rows, said)
	for round := range rounds {
		to := place("t" + strconv.Itoa(round))
		m.at(to)
		rows, said, was := m.moves(from, looks+rand.N(took-looks))
		if was {
			killed++
		} else { // it was done before
			require.Equal(m.T, m.rows, rows, said)
		}
		again, said, _ := m.moves(from, 0)
		if again == nil {
			require.Contains(m.T, said, "has something in it", "round %d", round)
			whole++
		} else {
			require.True(m.T, was, "a move that was done has left nothing")
			require.Equal(m.T, m.rows, again, "round %d", round)
		}
		m.whole(to)
	}
	return killed, whole
}

func TestFaultMoveKilled(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	m := &mover{Server: served.NewServer(t), site: served.PlainSite}
	m.Env = []string{"DATABASE_URL=" + server.URL()}
	former, database := m.file("former"), inSchema("former")
	m.at(former)
	m.Start()
	ada := m.Member("ada")
	m.Stop()
	path := former.from[1]
	m.seed(path, lengths(1500, 20000))
	m.all = m.accounts()
	source := sha256.Sum256(served.ReadFile(t, path))
	m.at(database)
	said := ""
	m.rows, said, _ = m.moves(former, 0)
	require.NotNil(t, m.rows, said)
	require.Equal(t, lengths(1501, 20001), m.rows["account"])

	rounds := lengths(2, 20)
	killed, whole := m.killedMoves(rounds, former, time.Millisecond, inSchema)
	require.Equal(t, source, sha256.Sum256(served.ReadFile(t, path)), "the source is as it was")
	killedBack, wholeBack := m.killedMoves(rounds, database, 2*time.Second, m.file)
	m.whole(database)
	require.Positive(t, killed+killedBack)

	for _, at := range []stay{database, m.file("t0")} {
		m.at(at)
		m.Start()
		require.Equal(t, http.StatusOK, ada.Get("/members/").StatusCode, "ada is signed out")
		m.Stop()
	}
	faultResult(t, fmt.Sprintf("`caddy registration move` killed (SIGKILL) at any moment, %d times to PostgreSQL and %d times back", rounds, rounds),
		"the destination has nothing or all, the source stays as it was, the same command then moves all, nobody is signed out",
		fmt.Sprintf("%d accounts, a session and a queued mail each: %d and %d in the middle, %d and %d had moved all; all others nothing, and all with the next try", m.rows["account"], killed, killedBack, whole, wholeBack))
}
