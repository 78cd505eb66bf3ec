// travel_test.go: keys that come from another realm, and those that are left out.

package factor_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// newStore is the store of a realm.
func newStore(t *testing.T, realm string) store.Store {
	t.Helper()
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), time.Minute)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	db, err := file.Realm(realm)
	require.NoError(t, err)
	return db
}

// stored is what a realm's keys are on their way.
func stored(t *testing.T, db store.Store, realm string) (p factor.Parcel) {
	t.Helper()
	require.NoError(t, db.View(t.Context(), func(tx store.Tx) (err error) {
		p, err = factor.Stored(tx, realm)
		return err
	}))
	return p
}

// take takes the keys of a parcel, and reports whether they open and whether they are new.
func take(t *testing.T, db store.Store, k *factor.Keys, p factor.Parcel) (opens, changed bool) {
	t.Helper()
	u := k.Unpack(p)
	if u == nil {
		return false, false
	}
	require.NoError(t, db.Update(t.Context(), func(tx store.Tx) (err error) {
		_, changed, err = k.Take(tx, u)
		return err
	}))
	return true, changed
}

// member puts an account whose second step depends on the keys, sealed or only noted.
func member(t *testing.T, db store.Store, change func(u *store.User)) *store.User {
	t.Helper()
	u := &store.User{ID: uuid.Must(uuid.NewV7()), IsActive: true, DateJoined: time.Unix(1e9, 0).UTC()}
	change(u)
	require.NoError(t, db.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(u, nil) }))
	return u
}

// The keys of another realm take the place of the own one while nothing depends on that,
// and stand beside it otherwise; in both cases they open what is theirs, through restarts
// and rotations, and nothing that was sealed here is lost.
func TestKeysTravel(t *testing.T) {
	from := newStore(t, "from")
	theirs, err := factor.Open(t.Context(), from, "from", secrets("a"), nil)
	require.NoError(t, err)
	id := uuid.Must(uuid.NewV7())
	sealed, mac := theirs.Seal(id, []byte("secret")), theirs.MAC(id, "CODE")
	requireOpens := func(k *factor.Keys) {
		t.Helper()
		got, err := k.Open(id, sealed)
		require.NoError(t, err)
		require.Equal(t, "secret", string(got))
		require.True(t, k.Fits(id, mac, "CODE"))
		require.False(t, k.Fits(id, mac, "OTHER"))
		require.False(t, k.Fits(uuid.Must(uuid.NewV7()), mac, "CODE"))
	}
	for name, depends := range map[string]func(u *store.User){
		"nobody": nil,
		"a passkey": func(u *store.User) {
			u.Factors = []store.Factor{{ID: u.ID, Type: store.FactorPasskey, CredentialID: []byte{1}}}
		},
		"an app": func(u *store.User) { u.Factors = []store.Factor{{ID: u.ID, Type: store.FactorTOTP}} },
		"a former app": func(u *store.User) {
			u.FormerFactors = []store.FormerFactor{{Factor: store.Factor{ID: u.ID, Type: store.FactorTOTP}}}
		},
		"recovery codes": func(u *store.User) { u.RecoveryCodes = [][]byte{{1}} },
		"an enrolment":   func(u *store.User) { u.Enrolment = &store.Enrolment{Secret: []byte{1}} },
	} {
		t.Run(name, func(t *testing.T) {
			db := newStore(t, "to")
			k, err := factor.Open(t.Context(), db, "to", secrets("b", "a"), nil)
			require.NoError(t, err)
			require.True(t, k.Travel())
			require.Equal(t, "to", k.Realm())
			k.StayHere()
			require.False(t, k.Travel())
			own := k.Seal(id, []byte("own"))
			replaced := true
			if depends != nil {
				replaced = !factor.Depends(member(t, db, depends))
			}
			before := stored(t, db, "to")
			opens, changed := take(t, db, k, stored(t, from, "from"))
			require.True(t, opens && changed)
			after := stored(t, db, "to")
			require.Equal(t, !replaced, bytes.Equal(before.Own, after.Own))
			require.Equal(t, replaced, len(after.Taken) == 0)
			requireOpens(k)
			got, err := k.Open(id, own)
			require.NoError(t, err, "what an act has sealed just before")
			require.Equal(t, "own", string(got))
			opens, changed = take(t, db, k, stored(t, from, "from"))
			require.True(t, opens)
			require.False(t, changed, "a second time")
			for _, names := range [][]string{{"b", "a"}, {"c", "b"}, {"c"}} {
				k, err = factor.Open(t.Context(), db, "to", secrets(names...), nil)
				require.NoError(t, err, names)
				requireOpens(k)
				if !replaced {
					got, err := k.Open(id, own)
					require.NoError(t, err)
					require.Equal(t, "own", string(got))
				}
			}
		})
	}
}

// A realm of the same name and secrets that has nothing of its own has the very same copies
// afterwards: an export of it is that of the other.
func TestKeysTravelAsTheyAre(t *testing.T) {
	from, to := newStore(t, "r"), newStore(t, "r")
	_, err := factor.Open(t.Context(), from, "r", secrets("new", "old"), nil)
	require.NoError(t, err)
	k, err := factor.Open(t.Context(), to, "r", secrets("new", "old"), nil)
	require.NoError(t, err)
	parcel := stored(t, from, "r")
	opens, changed := take(t, to, k, parcel)
	require.True(t, opens && changed)
	require.Equal(t, parcel, stored(t, to, "r"))
	opens, changed = take(t, to, k, parcel)
	require.True(t, opens)
	require.False(t, changed, "a second time")

	// A copy that is damaged is made anew from another one.
	damaged := parcel
	damaged.Own = bytes.Clone(parcel.Own)
	damaged.Own[len(damaged.Own)-1]++
	third := newStore(t, "r")
	k, err = factor.Open(t.Context(), third, "r", secrets("new", "old"), nil)
	require.NoError(t, err)
	opens, _ = take(t, third, k, damaged)
	require.True(t, opens)
	_, err = factor.Open(t.Context(), third, "r", secrets("old"), nil)
	require.NoError(t, err)
}

func TestKeysThatAreNotTaken(t *testing.T) {
	from, to := newStore(t, "r"), newStore(t, "r")
	theirs, err := factor.Open(t.Context(), from, "r", secrets("a"), nil)
	require.NoError(t, err)
	k, err := factor.Open(t.Context(), to, "r", secrets("b"), nil)
	require.NoError(t, err)
	parcel := stored(t, from, "r")
	for name, p := range map[string]factor.Parcel{
		"another secret": parcel, "nothing": {Realm: "r"}, "too long": {Realm: "r", Own: make([]byte, factor.MaxParcel+1)},
		"too long behind": {Realm: "r", Own: parcel.Own, Taken: make([]byte, factor.MaxParcel+1)}, "another name": {Realm: "x", Own: parcel.Own},
	} {
		opens, _ := take(t, to, k, p)
		require.False(t, opens, name)
	}
	_, err = (*factor.Unpacked)(nil).Open(uuid.Nil, nil)
	require.ErrorIs(t, err, factor.ErrSealed)

	// A transaction that fails leaves the keys as they were.
	k, err = factor.Open(t.Context(), to, "r", secrets("b", "a"), nil)
	require.NoError(t, err)
	id := uuid.Must(uuid.NewV7())
	u := k.Unpack(parcel)
	failed := errors.New("the disk is full")
	require.ErrorIs(t, to.Update(t.Context(), func(tx store.Tx) error {
		undo, changed, err := k.Take(tx, u)
		require.NoError(t, err)
		require.True(t, changed)
		undo()
		return failed
	}), failed)
	_, err = k.Open(id, theirs.Seal(id, []byte("x")))
	require.ErrorIs(t, err, factor.ErrSealed)

	// There is an end to how many are taken.
	member(t, to, func(u *store.User) { u.RecoveryCodes = [][]byte{{1}} })
	for i := range factor.MaxTaken {
		other := newStore(t, fmt.Sprint(i))
		_, err := factor.Open(t.Context(), other, fmt.Sprint(i), secrets("a"), nil)
		require.NoError(t, err)
		opens, changed := take(t, to, k, stored(t, other, fmt.Sprint(i)))
		require.True(t, opens && changed)
	}
	require.ErrorIs(t, to.Update(t.Context(), func(tx store.Tx) error {
		_, _, err := k.Take(tx, u)
		return err
	}), factor.ErrTooMany)
}

// A store that fails at any call fails the act, and what was there stays as it was.
func TestKeysOnAFailingStore(t *testing.T) {
	from, to := newStore(t, "r"), newStore(t, "r")
	_, err := factor.Open(t.Context(), from, "r", secrets("a"), nil)
	require.NoError(t, err)
	member(t, to, func(u *store.User) { u.RecoveryCodes = [][]byte{{1}} })
	each := func(try func(db store.Store) error) {
		t.Helper()
		for call := 1; ; call++ {
			faulty := &sitetest.FaultyStore{Store: to, FailAt: call}
			err := try(faulty)
			if !faulty.Met {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, sitetest.ErrFault, call)
		}
	}
	var k *factor.Keys
	open := func(names ...string) func(db store.Store) error {
		return func(db store.Store) (err error) {
			k, err = factor.Open(t.Context(), db, "r", secrets(names...), nil)
			return err
		}
	}
	each(open("b"))
	each(open("a", "b"))
	u := k.Unpack(stored(t, from, "r"))
	require.NotNil(t, u)
	each(func(db store.Store) error {
		return db.Update(t.Context(), func(tx store.Tx) error {
			_, _, err := k.Take(tx, u)
			return err
		})
	})
	each(open("c", "a"))
	faulty := &sitetest.FaultyStore{Store: to, FailAt: 4}
	_, err = factor.Open(t.Context(), faulty, "r", secrets("lost"), nil)
	require.ErrorIs(t, err, sitetest.ErrFault, "who depends on it can't be counted")
}
