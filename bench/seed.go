// seed.go: stores with many users and a session for each, written through the
// store's own code.

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/argon2"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// The parameters of Argon2id, which are the plugin's defaults, and the password
// of every seeded user.
const (
	argonMemory = 19 << 10 // KiB
	argonPasses = 2
	argonLanes  = 1
	userPass    = "correct horse battery staple"
)

// seeded is a store with users 0 to n-1.
type seeded struct {
	path  string
	realm string
	n     int
	ids   []uuid.UUID
	place []int32 // of each user's session in their order
	gone  int     // of the sessions, the first ones
	began time.Time
	took  time.Duration
	// audits is how many rows the record of acts has.
	audits int
	key    [16]byte // makes the tokens of this run
}

func (s *seeded) name(i int) string { return fmt.Sprintf("user%07d", i*4871233%10_000_000) }

// token is the session token of user i.
func (s *seeded) token(i int) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(s.key[:], uint64(i))) //nolint:gosec // not negative
	return tokenOf(s.signedIn(i), sum)
}

// tokenOf is a token as session.Live's NewToken makes one: it begins with the time of the session.
func tokenOf(at time.Time, random [32]byte) string {
	raw := binary.BigEndian.AppendUint32(nil, uint32(at.Unix())) //nolint:gosec // of today
	return base64.RawURLEncoding.EncodeToString(append(raw, random[:]...))
}

// signedIn is when the session of user i began: they came in another order than that in which
// they had signed up, over the hours before.
func (s *seeded) signedIn(i int) time.Time { return s.sessionAt(int(s.place[i])) }

// sessionAt is when the session of a place began, or will begin.
func (s *seeded) sessionAt(place int) time.Time {
	return s.began.Add(time.Duration(place-s.n) * 10 * time.Millisecond)
}

// sessionLife is how long a session lasts.
const sessionLife = 14 * 24 * time.Hour

// profile is what the profile endpoint answers to user i.
func (s *seeded) profile(i int) string {
	return fmt.Sprintf(`{"id":"%s","username":"%s","email":"%s@example.org","first_name":"Augusta","last_name":"Lovelace"}`, s.ids[i], s.name(i), s.name(i))
}

// identity is what a server that asks is told of a user, as lines of a Caddyfile.
func (s *seeded) identity(i int) string {
	return fmt.Sprintf("Remote-User %s\nRemote-Id %s\nRemote-Email %s@example.org\nRemote-Name \"Augusta Lovelace\"\nRemote-Groups \"\"",
		s.name(i), s.ids[i], s.name(i))
}

// hashes makes some Argon2id hashes of userPass. A million different ones would
// take hours and be of the same size.
func hashes(n int) (out []string) {
	for range n {
		salt := make([]byte, 16)
		_, _ = rand.Read(salt) // never fails
		key := argon2.IDKey([]byte(userPass), salt, argonPasses, argonMemory, argonLanes, 32)
		b64 := base64.RawStdEncoding.EncodeToString
		out = append(out, fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", argonMemory, argonPasses, argonLanes, b64(salt), b64(key)))
	}
	return out
}

// userAgents are of the usual kinds.
var userAgents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
}

// seed writes n users and then a session for each, in another order than that of
// the users, and the rows that the record of acts of a year-old site has of them. A
// transaction is small against the tree, so that pages are as full as single acts
// would leave them. The file is made in memory (/dev/shm),
// where an fsync costs nothing, and copied to its place. A file that is there already, as a server
// has begun it, is what it goes on with.
func seed(ctx context.Context, path string, n int) (s *seeded, err error) {
	return seedRealm(ctx, path, "default", n)
}

// seedRealm is seed of a realm of another name.
func seedRealm(ctx context.Context, path, realm string, n int) (s *seeded, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // pages are short-lived garbage
	s = &seeded{path: path, realm: realm, n: n, ids: make([]uuid.UUID, n), place: make([]int32, n), began: time.Now()}
	_, _ = rand.Read(s.key[:])
	dir, err := inMemory(filepath.Dir(path), "bench-seed-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	made := filepath.Join(dir, "seed.db")
	if err := copyFile(made, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := s.fill(ctx, made); err != nil {
		return nil, err
	}
	if err := copyFile(path, made); err != nil {
		return nil, err
	}
	s.took = time.Since(s.began)
	return s, nil
}

// inMemory makes a folder in memory or, where that can't be, below dir.
func inMemory(dir, name string) (string, error) {
	made, err := os.MkdirTemp("/dev/shm", name)
	if err != nil {
		return os.MkdirTemp(dir, name)
	}
	return made, nil
}

func (s *seeded) fill(ctx context.Context, path string) error {
	file, err := bolt.Open(path, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	db, err := file.Realm(s.realm)
	if err != nil {
		return err
	}
	hash, now := hashes(16), time.Now()
	order := mrand.New(mrand.NewPCG(1, 2)).Perm(s.n) //nolint:gosec // an order, no secret
	for first := 0; first < s.n; first += s.step(first) {
		if err := db.Update(ctx, func(tx store.Tx) error {
			for i := first; i < min(first+s.step(first), s.n); i++ {
				if err := s.putUser(tx, i, hash[i%len(hash)], now); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for at, i := range order {
		s.place[i] = int32(at)
	}
	for first := 0; first < s.n; first += s.step(first) {
		if err := db.Update(ctx, func(tx store.Tx) error {
			for _, i := range order[first:min(first+s.step(first), s.n)] {
				hash, _ := session.HashToken(s.token(i))
				if err := s.putSession(tx, i, hash, s.signedIn(i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if err := db.View(ctx, func(tx store.Tx) error {
		page, err := tx.Audits(store.AuditQuery{Newest: true, Limit: 1})
		if err == nil && len(page.Rows) > 0 {
			s.audits = int(page.Rows[0].Seq) //nolint:gosec // as many as were written
		}
		return err
	}); err != nil {
		return err
	}
	return file.Close()
}

// step is how many records the next transaction writes after so many. Towards
// the end it is small: what large ones have left free is used up then, as in a
// file that has grown by single acts.
func (s *seeded) step(written int) int {
	if written > s.n-s.n/6 {
		return 128
	}
	return min(256+written/400, 2048)
}

func (s *seeded) putUser(tx store.Tx, i int, hash string, now time.Time) (err error) {
	if s.ids[i] == uuid.Nil {
		if s.ids[i], err = uuid.NewV7(); err != nil {
			return err
		}
	}
	name := s.name(i)
	u := &store.User{
		ID: s.ids[i], Username: name, Email: name + "@example.org", FirstName: "Augusta", LastName: "Lovelace",
		PasswordHash: hash, IsActive: true, EmailVerified: true, DateJoined: s.joined(i, now), LastLogin: now,
	}
	if err := tx.PutUser(u, []store.Key{{Field: "username", Value: u.Username}, {Field: "email", Value: u.Email}}); err != nil {
		return err
	}
	if at := u.DateJoined; now.Sub(at) < auditKept {
		return errors.Join(s.audit(tx, i, at, audit.AccountRegistered, nil), s.audit(tx, i, at.Add(time.Minute), audit.AccountVerified, nil))
	}
	return nil
}

// A site is a year old, and as many came on each day of it. The record of acts is kept as long as by default.
const (
	siteAge   = 365 * 24 * time.Hour
	auditKept = 90 * 24 * time.Hour
)

func (s *seeded) joined(i int, now time.Time) time.Time {
	return now.Add(-siteAge).Add(siteAge / time.Duration(s.n) * time.Duration(i))
}

// audit writes a row as the server does of an act of user i's.
func (s *seeded) audit(tx store.Tx, i int, at time.Time, e audit.Event, details map[string]string) error {
	return tx.AddAudit(&store.Audit{
		At: at, Event: string(e), Account: s.ids[i], Actor: s.ids[i].String(), Address: addressOf(i), Agent: userAgents[i%len(userAgents)], Details: details,
	})
}

// addressOf is where user i is.
func addressOf(i int) string { return fmt.Sprintf("203.0.%d.%d", i>>8&0xff, i&0xff) }

func (s *seeded) putSession(tx store.Tx, i int, hash store.TokenHash, at time.Time) error {
	if err := s.audit(tx, i, at, audit.SignedIn, map[string]string{"by": "password", "gives": "session"}); err != nil {
		return err
	}
	return tx.PutSession(&store.Session{
		Hash: hash, User: s.ids[i], Created: at, LastUsed: at, Expires: at.Add(sessionLife),
		Address: addressOf(i), UserAgent: userAgents[i%len(userAgents)],
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from) //nolint:gosec // our own file
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) //nolint:gosec // our own file
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

func basicHeader(user, password string) string {
	var out bytes.Buffer
	enc := base64.NewEncoder(base64.StdEncoding, &out)
	_, _ = enc.Write([]byte(user + ":" + password))
	_ = enc.Close()
	return "Authorization: Basic " + out.String()
}
