// million.go: what grows with the number of users, and what must not.

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

func million(ctx context.Context, b *bench) error {
	large, err := b.grown(ctx, "large.db", b.users)
	if err != nil {
		return err
	}
	few, err := b.grown(ctx, "few.db", small)
	if err != nil {
		return err
	}
	empty, err := b.grown(ctx, "empty.db", 0)
	if err != nil {
		return err
	}
	each := large.took.Seconds() / float64(b.users) * 1e6
	b.judge(fmt.Sprintf("seeding %d users with a session and their acts each, s a million", b.users), "≤ 60", "%.0f", each, fmt.Sprintf("%.0f s", large.took.Seconds()), each <= 60)
	for _, step := range []func() error{
		func() error { return b.disk(large) },
		func() error { return b.opens(ctx, large, empty) },
		func() error { return b.backups(ctx, large) },
		func() error { return b.starts(ctx, large, empty) },
		func() error { return b.reloads(ctx, large, few) },
		func() error { return b.resident(ctx, large, empty) },
		func() error { return b.lists(ctx, large) },
		func() error { return b.costs(ctx, large, few) },
		func() error { return b.writes(ctx, large, few) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// grown is a store that a server has begun, as they all are: at its first start on a store that
// has accounts already, it would look at each of them once.
func (b *bench) grown(ctx context.Context, name string, n int) (*seeded, error) {
	path := filepath.Join(b.dir, name)
	s, _, err := b.startAccounts(ctx, "begin", path, "")
	if err != nil {
		return nil, err
	}
	if err := s.stop(); err != nil {
		return nil, err
	}
	return seed(ctx, path, n)
}

// starts measures the time from the process to the first connection.
func (b *bench) starts(ctx context.Context, large, empty *seeded) error {
	var more, base []float64
	for round := range max(b.rounds/3, 5) + 1 {
		took := map[*seeded]float64{}
		for _, store := range []*seeded{empty, large} {
			s, _, err := b.startAccounts(ctx, "start", store.path, "")
			if err != nil {
				return err
			}
			took[store] = float64(s.ready.Microseconds()) / 1e3
			if err := s.stop(); err != nil {
				return err
			}
		}
		if round > 0 { // the first one reads the program into memory
			more, base = append(more, took[large]-took[empty]), append(base, took[empty])
		}
	}
	b.inform("start with an empty store, ms", "%.0f", median(base), middle("%.0f", base))
	b.judge(fmt.Sprintf("start with %d users and sessions, ms more", b.users), "≤ 50", "%.1f", median(more), middle("%.1f", more), median(more) <= 50)
	return nil
}

// resident measures memory after 10 000 requests of as many users, against as
// many of nobody on the empty store.
func (b *bench) resident(ctx context.Context, large, empty *seeded) error {
	const requests = 10_000
	var used []float64
	for _, store := range []*seeded{empty, large} {
		s, base, err := b.startAccounts(ctx, "memory", store.path, "")
		if err != nil {
			return err
		}
		for i := range requests {
			l, status := load{url: base + "/file.html"}, http.StatusUnauthorized
			if store.n > 0 {
				l.headers, status = []string{"Cookie: registration=" + store.token(i*(store.n/requests))}, http.StatusOK
			}
			if _, _, _, err := check(ctx, l, status, func([]byte) bool { return true }); err != nil {
				return errors.Join(err, s.stop())
			}
		}
		bytes, err := s.anonymous()
		if err := errors.Join(err, s.stop()); err != nil {
			return err
		}
		used = append(used, float64(bytes)/(1<<20))
	}
	b.judge(fmt.Sprintf("memory with %d users after %d requests spread over them, MiB more than empty", b.users, requests),
		"≤ 64", "%.1f", used[1]-used[0], fmt.Sprintf("%.1f against %.1f, without the file's pages", used[1], used[0]), used[1]-used[0] <= 64)
	return nil
}

// active is how many users a server serves at once in the comparison: the same
// number of both stores, from all over them.
const active = 1000

func hits(b *bench, base string, store *seeded, name string) (load, error) {
	var tokens strings.Builder
	for i := range min(active, store.n) {
		tokens.WriteString(store.token(i*max(store.n/active, 1)) + "\n")
	}
	path, err := b.write(name+".tokens", tokens.String())
	return load{url: base + "/file.html", connections: 64, args: []string{path}, script: `
local requests, n = {}, 0
function init(args)
  for token in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, {["Cookie"] = "registration=" .. token})
  end
end
function request()
  n = n % #requests + 1
  return requests[n]
end
`}, err
}

// costs compares what a server spends on one act among many users and among few.
func (b *bench) costs(ctx context.Context, large, few *seeded) error {
	type side struct {
		store   *seeded
		server  *server
		base    string
		hits    load
		cpu, ms map[string][]float64
	}
	sides := []*side{{store: few}, {store: large}}
	for i, sd := range sides {
		var err error
		name := fmt.Sprintf("costs%d", i)
		if sd.server, sd.base, err = b.startAccounts(ctx, name, sd.store.path, b.serverCPU); err != nil {
			return err
		}
		defer func() { _ = sd.server.stop() }()
		if sd.hits, err = hits(b, sd.base, sd.store, name); err != nil {
			return err
		}
		// The first answer is checked, and its size taken.
		one := load{url: sd.hits.url, headers: []string{"Cookie: registration=" + sd.store.token(0)}}
		if sd.hits.answer, _, _, err = check(ctx, one, http.StatusOK, func(body []byte) bool { return string(body) == fileText }); err != nil {
			return err
		}
		sd.cpu, sd.ms = map[string][]float64{}, map[string][]float64{}
	}
	acts := []struct {
		name  string
		slice time.Duration
		load  func(*side) load
	}{
		{"guard hit", b.slice, func(sd *side) load { return sd.hits }},
		{"sign-in", 2 * time.Second, func(sd *side) load { return signIns(sd.base, sd.store.n, 4) }},
		{"registration", 2 * time.Second, func(sd *side) load { return registrations(sd.base, 4) }},
	}
	for round := -1; round < max(b.rounds/2, 4); round++ {
		for _, act := range acts {
			for i := range sides {
				sd := sides[(i+max(round, 0))%2]
				shot, err := b.fire(ctx, sd.server, act.load(sd), act.slice, b.clientCPU)
				if err != nil {
					return err
				}
				if round >= 0 {
					sd.cpu[act.name] = append(sd.cpu[act.name], shot.cpuEach())
					sd.ms[act.name] = append(sd.ms[act.name], shot.millis())
				}
				if err := b.rest(ctx); err != nil {
					return err
				}
			}
		}
	}
	for _, act := range acts {
		cost := ratios(sides[1].cpu[act.name], sides[0].cpu[act.name])
		b.judge(fmt.Sprintf("%s at %d users against %d, server CPU", act.name, b.users, small), "≤ 1.05", "%.3f", median(cost), middle("%.3f", cost), median(cost) <= 1.05)
		slow := ratios(sides[1].ms[act.name], sides[0].ms[act.name])
		b.inform(act.name+", the same in time", "%.3f", median(slow), middle("%.3f", slow))
	}
	return nil
}

// writes compares single acts of the stores, in this process: a new user, and a
// sweep of expired sessions.
func (b *bench) writes(ctx context.Context, large, few *seeded) error {
	type side struct {
		*seeded
		store        store.Store
		write, sweep []float64 // ms
	}
	var sides []*side
	for _, s := range []*seeded{few, large} {
		file, err := bolt.Open(s.path, time.Second)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		store, err := file.Realm("default")
		if err != nil {
			return err
		}
		sides = append(sides, &side{seeded: s, store: store})
	}
	hash := hashes(1)[0]
	timed := func(into *[]float64, act func() error) error {
		began := time.Now()
		err := act()
		*into = append(*into, float64(time.Since(began).Microseconds())/1e3)
		return err
	}
	for n := range b.rounds * 25 {
		for i := range sides {
			sd := sides[(i+n)%2]
			name := "new" + strconv.Itoa(n*4871233%10_000_000)
			u := &store.User{
				ID: uuid.Must(uuid.NewV7()), Username: name, Email: name + "@example.org", PasswordHash: hash, IsActive: true, DateJoined: time.Now(),
			}
			keys := []store.Key{{Field: "username", Value: u.Username}, {Field: "email", Value: u.Email}}
			if err := timed(&sd.write, func() error {
				return sd.store.Update(ctx, func(tx store.Tx) error { return tx.PutUser(u, keys) })
			}); err != nil {
				return err
			}
		}
	}
	// Sweeps of the 200 oldest, which are then replaced. What a sweep leaves in the index by account
	// the later ones remove, so they count when they have been around that once.
	for _, sd := range sides {
		for range sd.n / swept / 4 {
			if _, err := sweepOne(ctx, sd.store, sd.seeded); err != nil {
				return err
			}
		}
	}
	for n := range b.rounds {
		for i := range sides {
			sd := sides[(i+n)%2]
			took, err := sweepOne(ctx, sd.store, sd.seeded)
			if err != nil {
				return err
			}
			sd.sweep = append(sd.sweep, took)
		}
	}
	write := ratios(sides[1].write, sides[0].write)
	b.inform(fmt.Sprintf("write of one user among %d, with its fsync, ms", small), "%.2f", median(sides[0].write), middle("%.2f", sides[0].write))
	b.judge(fmt.Sprintf("the same among %d, against that", b.users), "≤ 1.1", "%.2f", median(write), middle("%.2f", write), median(write) <= 1.1)
	sweep := ratios(sides[1].sweep, sides[0].sweep)
	b.inform(fmt.Sprintf("sweep of %d of %d sessions, with its fsync, ms", swept, small), "%.2f", median(sides[0].sweep), middle("%.2f", sides[0].sweep))
	b.judge(fmt.Sprintf("session sweep at %d against that", b.users), "≤ 1.5", "%.2f", median(sweep), middle("%.2f", sweep), median(sweep) <= 1.5)
	if math.IsNaN(median(write)) {
		return errors.New("no writes were measured")
	}
	return nil
}

// swept is how many sessions a sweep removes.
const swept = 200

// sweepOne sweeps when that many have ended, and signs as many in; it returns the milliseconds of
// the sweep.
func sweepOne(ctx context.Context, db store.Store, s *seeded) (took float64, err error) {
	var removed []store.TokenHash
	ended := s.sessionAt(s.gone + swept).Add(sessionLife + time.Second)
	began := time.Now()
	if err := db.Update(ctx, func(tx store.Tx) (err error) {
		removed, err = tx.DeleteExpiredSessions(ended, swept)
		return err
	}); err != nil {
		return 0, err
	}
	took = float64(time.Since(began).Microseconds()) / 1e3
	if len(removed) != swept {
		return 0, fmt.Errorf("%d sessions swept, not %d", len(removed), swept)
	}
	s.gone += swept
	return took, db.Update(ctx, func(tx store.Tx) error { return freshSessions(tx, s) })
}

// freshSessions signs in as many as were swept, from all over the store.
func freshSessions(tx store.Tx, s *seeded) error {
	for i := range swept {
		at := s.sessionAt(s.n + s.gone - swept + i)
		var random [32]byte
		_, _ = rand.Read(random[:]) // never fails
		hash, _ := session.HashToken(tokenOf(at, random))
		if err := tx.PutSession(&store.Session{
			Hash: hash, User: s.ids[mrand.IntN(s.n)], Created: at, LastUsed: at, Expires: at.Add(sessionLife), //nolint:gosec // a choice, no secret
			Address: "203.0.113.7", UserAgent: userAgents[0],
		}); err != nil {
			return err
		}
	}
	return nil
}
