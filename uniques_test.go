// uniques_test.go: fields that become unique, stop being it, and are both while a
// reload is under way.

package registration

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

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

func TestFieldBecomesUnique(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	plain, unique := field.Spec{Name: "nick", Type: "text"}, field.Spec{Name: "nick", Type: "text", Unique: true}
	s := newSiteAt(t, path, noVerification, withFields(plain))
	s.withNicks(map[string]string{"ada": "one", "bob": "Two", "cyd": "two", "eve": ""})
	s.close()

	module := &BoltModule{path: path, logger: zap.NewNop()}
	settings := resolvedTestSettings(t, noVerification, withFields(unique))
	_, err := openedRealm(settings, module)
	clash := (*field.ClashError)(nil)
	require.ErrorAs(t, err, &clash)
	require.ErrorContains(t, err, "user.field.nick")
	require.NotContains(t, err.Error(), "two", "a value is personal")
	require.NotEqual(t, clash.First, clash.Second)

	// The failed load changed nothing: the accounts go on under the old field.
	s = newSiteAt(t, path, noVerification, withFields(plain))
	require.Equal(t, clash.First.String() == s.profileID("bob"), clash.Second.String() == s.profileID("cyd"))
	s.withNicks(map[string]string{"fay": "one"})
	require.Equal(t, http.StatusOK, s.signedIn("fay").do(http.MethodPatch, "/accounts/profile", data{"nick": "six"}).StatusCode)
	require.Equal(t, http.StatusOK, s.signedIn("cyd").do(http.MethodPatch, "/accounts/profile", data{"nick": "three"}).StatusCode)
	s.close()

	s = newSiteAt(t, path, noVerification, withFields(unique), func(s *Settings) { s.User.LoginFields = []string{"username", "nick"} })
	b := s.browser().problems()
	require.Equal(t, "unique", fieldCodes(t, b.post("/accounts/register", with(newcomer("gus"), data{"nick": "TWO"})), "nick"))
	for _, nick := range []string{"ONE", "two", "three", "six"} {
		require.Equal(t, http.StatusOK, b.post("/accounts/login", data{"nick": nick, "password": testPassword}).StatusCode, nick)
	}
	s.close()

	// Unique no longer: the old keys are in nobody's way, now and later.
	s = newSiteAt(t, path, noVerification, withFields(plain))
	s.withNicks(map[string]string{"gus": "ONE"})
	require.Equal(t, http.StatusOK, s.signedIn("ada").do(http.MethodPatch, "/accounts/profile", data{"nick": "four"}).StatusCode)
	s.close()
	s = newSiteAt(t, path, noVerification, withFields(unique))
	require.Equal(t, "unique", fieldCodes(t, s.browser().problems().post("/accounts/register", with(newcomer("hal"), data{"nick": "one"})), "nick"))
	s.close()
}

// openedRealm is a realm that has begun to start.
func openedRealm(s *Settings, db StoreModule) (*realm, error) {
	r, err := newRealm(s, db, nil, zap.NewNop())
	if err == nil {
		if err = r.open(patience); err != nil {
			err = errors.Join(err, r.close())
		}
	}
	return r, err
}

func (s *site) profileID(name string) string {
	s.t.Helper()
	return s.signedIn(name).get("/accounts/profile").json(s.t)["id"].(string)
}

// While a reload is under way, two configurations write: each keeps the keys of
// both. One that fails half-way leaves the other as it was.
func TestUniqueFieldsOverReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	plain, unique := field.Spec{Name: "nick", Type: "text"}, field.Spec{Name: "nick", Type: "text", Unique: true}
	old := newSiteAt(t, path, noVerification, withFields(plain))
	old.withNicks(map[string]string{"ada": "one"})
	fresh := newSiteAt(t, path, noVerification, withFields(unique))
	// The old one still serves: what it writes now has its key.
	old.withNicks(map[string]string{"bob": "two"})
	require.Equal(t, http.StatusOK, old.signedIn("ada").do(http.MethodPatch, "/accounts/profile", data{"nick": "eins"}).StatusCode)
	b := fresh.browser().problems()
	for _, nick := range []string{"two", "eins"} {
		require.Equal(t, "unique", fieldCodes(t, b.post("/accounts/register", with(newcomer("x"), data{"nick": nick})), "nick"), nick)
	}
	require.Equal(t, "unique", fieldCodes(t, old.browser().problems().post("/accounts/register", with(newcomer("x"), data{"nick": "two"})), "nick"))
	// The new one goes, as after a failed reload: the old one is free again.
	fresh.close()
	old.withNicks(map[string]string{"cyd": "two"})
	require.Equal(t, http.StatusOK, old.signedIn("cyd").do(http.MethodPatch, "/accounts/profile", data{"nick": "drei"}).StatusCode)
	old.withNicks(map[string]string{"eve": "Drei", "fay": "sechs"})
	require.Equal(t, http.StatusOK, old.signedIn("eve").do(http.MethodPatch, "/accounts/profile", data{"nick": "fünf"}).StatusCode)
	require.Equal(t, http.StatusOK, old.signedIn("cyd").do(http.MethodPatch, "/accounts/profile", data{"nick": "TWO"}).StatusCode)
	_, err := openedRealm(resolvedTestSettings(t, noVerification, withFields(unique)), &BoltModule{path: path, logger: zap.NewNop()})
	require.Error(t, err, "bob and cyd are both two")
	for name, nick := range map[string]string{"bob": "zwei", "cyd": "drei"} {
		require.Equal(t, http.StatusOK, old.signedIn(name).do(http.MethodPatch, "/accounts/profile", data{"nick": nick}).StatusCode)
	}
	fresh = newSiteAt(t, path, noVerification, withFields(unique))
	old.close() // the reload is done
	b = fresh.browser().problems()
	for _, nick := range []string{"eins", "zwei", "drei", "fünf", "sechs"} {
		require.Equal(t, "unique", fieldCodes(t, b.post("/accounts/register", with(newcomer("x"), data{"nick": nick})), "nick"), nick)
	}
	require.Equal(t, http.StatusCreated, b.post("/accounts/register", with(newcomer("x"), data{"nick": "two"})).StatusCode)
}

// More accounts than a batch get their keys, and a second start writes nothing.
func TestKeysAreBuiltInBatches(t *testing.T) {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), lockWait)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	db, err := file.Realm("default")
	require.NoError(t, err)
	ctx := context.Background()
	plain := resolvedTestSettings(t, withFields(field.Spec{Name: "number", Type: "integer"})).fields
	unique := resolvedTestSettings(t, withFields(field.Spec{Name: "number", Type: "integer", Unique: true})).fields
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
	a := newSite(t, noVerification, withFields(plain)).accounts
	set := resolvedTestSettings(t, noVerification, withFields(unique)).fields
	entered := make(chan error, 1)
	var once sync.Once
	require.NoError(t, putNick(a, "ada", "one", func() {
		once.Do(func() {
			combined := a.Uniques.Keyed.Load()
			go func() { entered <- a.Uniques.Enter(context.Background(), a.Store, set, zap.NewNop()) }()
			for a.Uniques.Keyed.Load() == combined { // the commit waits for the disk meanwhile
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
			return a.Uniques.Leave(context.Background(), dying, old)
		},
		"one comes after the last has left": func(a *account.Accounts, old, plainSet *field.Set, dying store.Store) error {
			for _, set := range []*field.Set{a.Policy.Fields, old} {
				if err := a.Uniques.Leave(context.Background(), a.Store, set); err != nil {
					return err
				}
			}
			return a.Uniques.Enter(context.Background(), dying, plainSet, zap.NewNop())
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "registration.db")
			old := newSiteAt(t, path, noVerification, withFields(unique)).realm.settings.fields
			a := newSiteAt(t, path, noVerification, withFields(plain)).accounts
			n := 0
			dying := &diesAtUpdate{a.Store, func() {
				n++
				require.NoError(t, putNick(a, fmt.Sprint("ada", n), fmt.Sprint("one", n), nil))
			}}
			_ = crash(a, old, resolvedTestSettings(t, noVerification, withFields(plain)).fields, dying)
			require.NotZero(t, n)
			// The next start has the field unique.
			a.Uniques = field.NewKeyIndex()
			require.NoError(t, a.Uniques.Enter(t.Context(), a.Store, resolvedTestSettings(t, noVerification, withFields(unique)).fields, zap.NewNop()))
			require.Error(t, putNick(a, "bob", "ONE1", nil))
		})
	}
}
