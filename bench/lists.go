// lists.go: the pages of an owner who looks for members among many.

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// perPage is how many accounts a page of the list has, deep which page is a late one.
const (
	perPage = 50
	deep    = 10_000
)

// lists measures the pages of the list of a large store, in this process: a page is one
// transaction of its own.
func (b *bench) lists(ctx context.Context, large *seeded) error {
	file, err := bolt.Open(large.path, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	db, err := file.Realm("default")
	if err != nil {
		return err
	}
	page := func(q store.MemberQuery) (page store.MemberPage, err error) {
		err = db.View(ctx, func(tx store.Tx) (err error) {
			page, err = tx.Members(q)
			return err
		})
		return page, err
	}
	// behind walks to where a late page begins.
	behind := func(q store.MemberQuery, pages int) (store.MemberQuery, error) {
		for left := min(pages*perPage, large.n-perPage); left > 0; {
			q.Limit = min(left, 1000)
			p, err := page(q)
			if err != nil {
				return q, err
			}
			left -= len(p.Users)
			q.After = p.Next
		}
		return q, nil
	}
	for _, row := range []struct {
		name  string
		query store.MemberQuery
		pages int
		found int
	}{
		{"the first page of the list", store.MemberQuery{}, 0, perPage},
		{"its page 10000", store.MemberQuery{}, deep, perPage},
		{"a username", store.MemberQuery{Search: large.name(large.n / 2)}, 0, 1},
		{"the beginning of all usernames and addresses", store.MemberQuery{Search: "USER"}, 0, perPage},
		{"its page 10000", store.MemberQuery{Search: "user"}, deep, perPage},
		{"a last name that all have", store.MemberQuery{Search: "lovelace"}, 0, perPage},
		{"its page 10000", store.MemberQuery{Search: "lovelace"}, deep, perPage},
		{"what all begin with, in a state that nobody is in", store.MemberQuery{Search: "user", State: store.StateDisabled}, 0, 0},
		{"those who wait, of whom there are none", store.MemberQuery{State: store.StateWaiting}, 0, 0},
	} {
		q, err := behind(row.query, row.pages)
		if err != nil {
			return err
		}
		q.Limit = perPage
		var took []float64
		for range b.rounds * 4 {
			began := time.Now()
			p, err := page(q)
			took = append(took, float64(time.Since(began).Microseconds())/1e3)
			if err != nil || len(p.Users) != row.found {
				return errors.Join(err, fmt.Errorf("%s: %d accounts, not %d", row.name, len(p.Users), row.found))
			}
		}
		b.judge(fmt.Sprintf("owner's list at %d users: %s, ms", large.n, row.name), "≤ 50", "%.2f", median(took), middle("%.2f", took), median(took) <= 50)
	}
	if err := b.counts(ctx, db, large.n); err != nil {
		return err
	}
	return b.walk(page)
}

// counts measures what stands beside every page of the owner's: how many wait, and how many there are.
func (b *bench) counts(ctx context.Context, db store.Store, users int) error {
	var took []float64
	for range b.rounds * 4 {
		began := time.Now()
		err := db.View(ctx, func(tx store.Tx) error {
			all, err := tx.CountMembers("")
			if err == nil && all.N < users {
				err = fmt.Errorf("%d accounts were counted, where %d were made", all.N, users)
			}
			_, waitErr := tx.CountMembers(store.StateWaiting)
			return errors.Join(err, waitErr)
		})
		took = append(took, float64(time.Since(began).Microseconds())/1e3)
		if err != nil {
			return err
		}
	}
	b.judge(fmt.Sprintf("owner's list at %d users: how many there are, and wait, ms", users), "≤ 1", "%.2f", median(took), middle("%.2f", took), median(took) <= 1)
	return nil
}

// walk measures the memory that a list of all takes.
func (b *bench) walk(page func(store.MemberQuery) (store.MemberPage, error)) error {
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	before, most, n := heap(), 0.0, 0
	began := time.Now()
	for q := (store.MemberQuery{Limit: 500}); ; {
		p, err := page(q)
		if err != nil {
			return err
		}
		if n += len(p.Users); n%100_000 < 500 {
			most = max(most, heap())
		}
		if q.After = p.Next; q.After == "" {
			break
		}
	}
	b.judge(fmt.Sprintf("a list of all %d, MiB of heap more than before", n), "≤ 16", "%.1f", most-before, fmt.Sprintf("%.0f s", time.Since(began).Seconds()), most-before <= 16)
	return nil
}
