// lists.go: the pages of an owner who looks for members among many.

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"go.etcd.io/bbolt"

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
	if err := b.walk(page); err != nil {
		return err
	}
	last, err := behind(store.MemberQuery{}, deep)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := b.ownersPages(ctx, large, last.After); err != nil {
		return err
	}
	return b.built(large)
}

// ownersPages measures pages in a browser's place: the time from the request to the
// answer's last byte, that of the client with it.
func (b *bench) ownersPages(ctx context.Context, large *seeded, late string) error {
	s, base, err := b.startAccounts(ctx, "owner", large.path, b.serverCPU)
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	first := load{url: base + "/accounts/admin/accounts/", headers: []string{"Cookie: registration=" + large.token(0), "Accept: text/html"}}
	for try := 0; ; try++ { // its store may have to be read from a slow disk
		if _, _, _, err = check(ctx, first, http.StatusOK, func([]byte) bool { return true }); err == nil {
			break
		} else if try == 20 {
			return err
		}
	}
	before, err := s.anonymous()
	if err != nil {
		return err
	}
	for _, row := range []struct{ name, path string }{
		{"accounts", "accounts/"},
		{"accounts, page 10000", "accounts/?after=" + late},
		{"accounts that a search finds", "accounts/?search=lovelace"},
		{"accounts, a search that finds nobody in the group", "accounts/?search=lovelace&group=none"},
		{"one account", "accounts/" + large.ids[large.n/2].String() + "/"},
		{"events", "audit/"},
	} {
		l := load{url: base + "/accounts/admin/" + row.path, headers: []string{"Cookie: registration=" + large.token(0), "Accept: text/html"}}
		var took []float64
		for range b.rounds * 4 {
			began := time.Now()
			if _, _, _, err := check(ctx, l, http.StatusOK, func(text []byte) bool { return strings.Contains(string(text), "<h1>") }); err != nil {
				return err
			}
			took = append(took, float64(time.Since(began).Microseconds())/1e3)
		}
		b.judge(fmt.Sprintf("owner's pages at %d users: %s, ms a request", large.n, row.name), "≤ 50", "%.1f", median(took), middle("%.1f", took), median(took) <= 50)
	}
	after, err := s.anonymous()
	b.judge("memory after these, MiB more than before", "≤ 16", "%.1f", float64(after-before)/(1<<20), "without the file's pages", after-before <= 16<<20)
	return err
}

// built measures the build of the indexes, as at the first start of a version that has
// them.
func (b *bench) built(large *seeded) error {
	db, err := bbolt.Open(large.path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("members")) }), db.Close()); err != nil {
		return err
	}
	var most uint64
	stop, done := make(chan struct{}), make(chan struct{})
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base := m.HeapInuse
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
		}
	}()
	began := time.Now()
	file, err := bolt.Open(large.path, time.Second)
	took := time.Since(began)
	close(stop)
	<-done
	if err != nil {
		return err
	}
	b.inform(fmt.Sprintf("the indexes of %d users, built at the first start of a version that has them, s", large.n), "%.0f", took.Seconds(),
		fmt.Sprintf("with up to %.0f MiB of heap more than before", float64(max(most, base)-base)/(1<<20)))
	return file.Close()
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

// indexes measures what the indexes of the owner's list take of the disk.
func (b *bench) indexes(db *bbolt.DB, users int) error {
	return db.View(func(tx *bbolt.Tx) error {
		realm := tx.Bucket([]byte("realm/default"))
		used := 0
		if err := realm.ForEachBucket(func(name []byte) error {
			if strings.HasPrefix(string(name), "members_") {
				s := realm.Bucket(name).Stats()
				used += s.BranchAlloc + s.LeafAlloc
			}
			return nil
		}); err != nil {
			return err
		}
		b.inform("of these the indexes of names, groups and states for the owner's list", "%.0f", float64(used)/float64(users), "every user has the same first and last name; who has none costs nothing")
		return nil
	})
}
