// keyindex_test.go: fields that become unique, stop being it, and are both while a
// reload is under way.

package field_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

func TestFieldBecomesUnique(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	plain, unique := field.Spec{Name: "nick", Type: "text"}, field.Spec{Name: "nick", Type: "text", Unique: true}
	s := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(plain))
	withNicks(s, map[string]string{"ada": "one", "bob": "Two", "cyd": "two", "eve": ""})
	s.Close()

	_, err := sitetest.Open(path, sitetest.NoVerification, sitetest.WithFields(unique))
	clash := (*field.ClashError)(nil)
	require.ErrorAs(t, err, &clash)
	require.ErrorContains(t, err, "user.field.nick")
	require.NotContains(t, err.Error(), "two", "a value is personal")
	require.NotEqual(t, clash.First, clash.Second)

	// The failed load changed nothing: the accounts go on under the old field.
	s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(plain))
	require.Equal(t, clash.First.String() == s.ProfileID("bob"), clash.Second.String() == s.ProfileID("cyd"))
	withNicks(s, map[string]string{"fay": "one"})
	require.Equal(t, http.StatusOK, s.SignedIn("fay").Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"nick": "six"}).StatusCode)
	require.Equal(t, http.StatusOK, s.SignedIn("cyd").Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"nick": "three"}).StatusCode)
	s.Close()

	s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(unique), func(s *registration.Settings) { s.User.LoginFields = []string{"username", "nick"} })
	b := s.Browser().Problems()
	require.Equal(t, "unique", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("gus"), sitetest.Data{"nick": "TWO"})), "nick"))
	for _, nick := range []string{"ONE", "two", "three", "six"} {
		require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"nick": nick, "password": sitetest.Password}).StatusCode, nick)
	}
	s.Close()

	// Unique no longer: the old keys are in nobody's way, now and later.
	s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(plain))
	withNicks(s, map[string]string{"gus": "ONE"})
	require.Equal(t, http.StatusOK, s.SignedIn("ada").Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"nick": "four"}).StatusCode)
	s.Close()
	s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(unique))
	require.Equal(t, "unique", sitetest.FieldCodes(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("hal"), sitetest.Data{"nick": "one"})), "nick"))
	s.Close()
}

// While a reload is under way, two configurations write: each keeps the keys of
// both. One that fails half-way leaves the other as it was.
func TestUniqueFieldsOverReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	plain, unique := field.Spec{Name: "nick", Type: "text"}, field.Spec{Name: "nick", Type: "text", Unique: true}
	old := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(plain))
	withNicks(old, map[string]string{"ada": "one"})
	fresh := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(unique))
	// The old one still serves: what it writes now has its key.
	withNicks(old, map[string]string{"bob": "two"})
	require.Equal(t, http.StatusOK, old.SignedIn("ada").Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"nick": "eins"}).StatusCode)
	b := fresh.Browser().Problems()
	for _, nick := range []string{"two", "eins"} {
		require.Equal(t, "unique", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("x"), sitetest.Data{"nick": nick})), "nick"), nick)
	}
	require.Equal(t, "unique", sitetest.FieldCodes(t, old.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("x"), sitetest.Data{"nick": "two"})), "nick"))
	// The new one goes, as after a failed reload: the old one is free again.
	fresh.Close()
	withNicks(old, map[string]string{"cyd": "two"})
	require.Equal(t, http.StatusOK, old.SignedIn("cyd").Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"nick": "drei"}).StatusCode)
	withNicks(old, map[string]string{"eve": "Drei", "fay": "sechs"})
	require.Equal(t, http.StatusOK, old.SignedIn("eve").Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"nick": "fünf"}).StatusCode)
	require.Equal(t, http.StatusOK, old.SignedIn("cyd").Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"nick": "TWO"}).StatusCode)
	_, err := sitetest.Open(path, sitetest.NoVerification, sitetest.WithFields(unique))
	require.Error(t, err, "bob and cyd are both two")
	for name, nick := range map[string]string{"bob": "zwei", "cyd": "drei"} {
		require.Equal(t, http.StatusOK, old.SignedIn(name).Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"nick": nick}).StatusCode)
	}
	fresh = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(unique))
	old.Close() // the reload is done
	b = fresh.Browser().Problems()
	for _, nick := range []string{"eins", "zwei", "drei", "fünf", "sechs"} {
		require.Equal(t, "unique", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("x"), sitetest.Data{"nick": nick})), "nick"), nick)
	}
	require.Equal(t, http.StatusCreated, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("x"), sitetest.Data{"nick": "two"})).StatusCode)
}

// More accounts than a batch get their keys, and a second start writes nothing.
func TestKeysAreBuiltInBatches(t *testing.T) {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), sitetest.LockWait)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	db, err := file.Realm("default")
	require.NoError(t, err)
	ctx := context.Background()
	plain := sitetest.Letters(sitetest.Resolved(t, sitetest.WithFields(field.Spec{Name: "number", Type: "integer"}))).Fields
	unique := sitetest.Letters(sitetest.Resolved(t, sitetest.WithFields(field.Spec{Name: "number", Type: "integer", Unique: true}))).Fields
	const n = 2*field.KeyBatch + 17
	require.NoError(t, db.Update(ctx, func(tx store.Tx) error {
		for i := range n {
			u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: fmt.Sprint("u", i)}
			if i%3 != 0 {
				u.Extra = map[string]any{"number": int64(i)}
			}
			if err := tx.PutUser(u, field.NewKeyIndex().KeysOf(u)); err != nil {
				return err
			}
		}
		return nil
	}))
	q := field.NewKeyIndex()
	require.NoError(t, q.Enter(ctx, db, plain, zap.NewNop()))
	require.NoError(t, q.Enter(ctx, db, unique, zap.NewNop()))
	require.NoError(t, db.View(ctx, func(tx store.Tx) error {
		for i := range n {
			u, err := tx.UserByKey("number.integer", fmt.Sprint(i))
			if i%3 == 0 {
				require.ErrorIs(t, err, store.ErrNotFound)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("u", i), u.Username)
		}
		return nil
	}))
	done, err := field.KeptIn(ctx, db)
	require.NoError(t, err)
	require.Equal(t, []string{"number.integer"}, done.Spaces)
	written, err := field.NewKeyIndex().Build(ctx, db, nil)
	require.NoError(t, err)
	require.Zero(t, written)
	require.NoError(t, q.Leave(ctx, db, unique))
	done, err = field.KeptIn(ctx, db)
	require.NoError(t, err)
	require.Empty(t, done.Spaces)
}

// Keys of URLs from the time when their hosts could be in another script are built anew.
func TestKeysOfOldURLs(t *testing.T) {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), sitetest.LockWait)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	db, err := file.Realm("default")
	require.NoError(t, err)
	ctx := context.Background()
	set := sitetest.Letters(sitetest.Resolved(t, sitetest.WithFields(field.Spec{Name: "home", Type: "url", Unique: true}))).Fields
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada", Extra: map[string]any{"home": "https://bücher.example/"}}
	old := store.Key{Field: "home.url", Value: "https://bücher.example/"}
	require.NoError(t, db.Update(ctx, func(tx store.Tx) error {
		return errors.Join(tx.PutUser(u, []store.Key{{Field: "username", Value: "ada"}, old}), tx.PutValue("unique_fields", []byte("home.url")))
	}))
	require.NoError(t, field.NewKeyIndex().Enter(ctx, db, set, zap.NewNop()))
	require.NoError(t, db.View(ctx, func(tx store.Tx) error {
		_, err := tx.UserByKey(old.Field, old.Value)
		require.ErrorIs(t, err, store.ErrNotFound)
		f := set.ByName["home"]
		for _, typed := range []string{"https://BÜCHER.example/", "https://xn--bcher-kva.example/"} {
			have, err := tx.UserByKey(f.Keyspace(), f.KeyOf(typed))
			require.NoError(t, err, typed)
			require.Equal(t, u.ID, have.ID)
		}
		return nil
	}))
}

// putNick writes an account as an act of a configuration does.
func putNick(a *account.Accounts, name, nick string, during func()) error {
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: name, Email: name + "@example.org", IsActive: true, Extra: map[string]any{"nick": nick}}
	return a.Update(context.Background(), func(t *account.Txn) error {
		err := a.PutUser(t, u)
		if during != nil {
			during()
		}
		return err
	})
}

// An act that is under way when a field becomes unique has computed its keys before.
func TestAnActUnderWayGetsTheNewKeys(t *testing.T) {
	plain, unique := field.Spec{Name: "nick", Type: "text"}, field.Spec{Name: "nick", Type: "text", Unique: true}
	a := sitetest.New(t, sitetest.NoVerification, sitetest.WithFields(plain)).Accounts
	set := sitetest.Letters(sitetest.Resolved(t, sitetest.NoVerification, sitetest.WithFields(unique))).Fields
	entered := make(chan error, 1)
	var once sync.Once
	require.NoError(t, putNick(a, "ada", "one", func() {
		once.Do(func() {
			combined := a.KeyIndex.Keyed.Load()
			go func() { entered <- a.KeyIndex.Enter(context.Background(), a.Store, set, zap.NewNop()) }()
			for a.KeyIndex.Keyed.Load() == combined { // the commit waits for the disk meanwhile
				runtime.Gosched()
			}
		})
	}))
	require.NoError(t, <-entered)
	refusal := (*refusal.Error)(nil)
	require.ErrorAs(t, putNick(a, "bob", "ONE", nil), &refusal, "two accounts hold one unique value")
	require.Equal(t, "nick", refusal.Fields[0].Field)
}

// diesAtUpdate is a store whose process ends before a write; before that, somebody
// else's act is done.
type diesAtUpdate struct {
	store.Store
	before func()
}

func (d *diesAtUpdate) Update(context.Context, func(store.Tx) error) error {
	d.before()
	return errors.New("killed here")
}

// What is no longer kept up leaves the store's list before it leaves the acts: a
// crash in between must not let duplicates in after the next start.
func TestACrashBetweenTwoConfigurations(t *testing.T) {
	plain, unique := field.Spec{Name: "nick", Type: "text"}, field.Spec{Name: "nick", Type: "text", Unique: true}
	for name, crash := range map[string]func(a *account.Accounts, old, plainSet *field.Set, dying store.Store) error{
		"a configuration leaves": func(a *account.Accounts, old, _ *field.Set, dying store.Store) error {
			return a.KeyIndex.Leave(context.Background(), dying, old)
		},
		"one comes after the last has left": func(a *account.Accounts, old, plainSet *field.Set, dying store.Store) error {
			for _, set := range []*field.Set{a.Policy.Fields, old} {
				if err := a.KeyIndex.Leave(context.Background(), a.Store, set); err != nil {
					return err
				}
			}
			return a.KeyIndex.Enter(context.Background(), dying, plainSet, zap.NewNop())
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "registration.db")
			old := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(unique)).Accounts.Policy.Fields
			a := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(plain)).Accounts
			n := 0
			dying := &diesAtUpdate{a.Store, func() {
				n++
				require.NoError(t, putNick(a, fmt.Sprint("ada", n), fmt.Sprint("one", n), nil))
			}}
			_ = crash(a, old, sitetest.Letters(sitetest.Resolved(t, sitetest.NoVerification, sitetest.WithFields(plain))).Fields, dying)
			require.NotZero(t, n)
			// The next start has the field unique.
			a.KeyIndex = field.NewKeyIndex()
			require.NoError(t, a.KeyIndex.Enter(t.Context(), a.Store, sitetest.Letters(sitetest.Resolved(t, sitetest.NoVerification, sitetest.WithFields(unique))).Fields, zap.NewNop()))
			require.Error(t, putNick(a, "bob", "ONE1", nil))
		})
	}
}
