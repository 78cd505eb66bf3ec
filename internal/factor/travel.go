// travel.go: the keys of a realm on their way to another one, with the accounts whose second
// steps are sealed under them. They travel sealed, and open by a secret that both realms have.

package factor

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// takenName is the name of the sealed keys of other realms among the store's values: what
// came from there is sealed under theirs, and stays so, because nobody has the recovery
// codes from which it could be made anew.
const takenName = "factor_keys_taken"

// maxTaken is how many keys of other realms a realm has at most.
const maxTaken = 16

// errTooMany says that a realm has keys of maxTaken others already.
var errTooMany = fmt.Errorf("the realm has the keys of %d other realms, and takes no more", maxTaken)

// A Parcel is what a store has of the keys of a realm: copies under its secrets.
type Parcel struct {
	// Realm is the name of the realm, which is part of how they are sealed.
	Realm string
	// Own are the copies of its own key, Taken those of the keys that it has taken.
	Own, Taken []byte
}

// maxParcel is how long either of the two is at most, in bytes: maxTaken keys under a dozen
// secrets.
const maxParcel = 32 << 10

// Stored is what the store has of a realm's keys.
func Stored(tx store.Tx, realm string) (p Parcel, err error) {
	p.Realm = realm
	for name, copies := range map[string]*[]byte{keyName: &p.Own, takenName: &p.Taken} {
		if *copies, err = tx.Value(name); err != nil && !errors.Is(err, store.ErrNotFound) {
			return p, err
		}
	}
	return p, nil
}

// put writes what has changed.
func (p Parcel) put(tx store.Tx, before Parcel) error {
	if !bytes.Equal(p.Own, before.Own) {
		if err := tx.PutValue(keyName, p.Own); err != nil {
			return err
		}
	}
	if !bytes.Equal(p.Taken, before.Taken) {
		return tx.PutValue(takenName, p.Taken)
	}
	return nil
}

func (p Parcel) same(other Parcel) bool {
	return bytes.Equal(p.Own, other.Own) && bytes.Equal(p.Taken, other.Taken)
}

// unpack opens the keys of a parcel, its own first; nil: the secrets don't open that.
func (k *Keys) unpack(p Parcel) [][]byte {
	secrets := append(append([][]byte{}, k.secrets...), k.older...)
	own := unwrap(p.Realm, p.Own, secrets)
	if len(own) == 0 {
		return nil
	}
	return append(own[:1:1], unwrap(p.Realm, p.Taken, secrets)...)
}

// pack seals keys for the store. Of like, what is already sealed so stays.
func (k *Keys) pack(keys [][]byte, like Parcel) Parcel {
	p := Parcel{Realm: k.realm, Own: like.Own, Taken: like.Taken}
	if like.Realm != k.realm || !wrapped(k.realm, like.Own, keys[:1], k.secrets) {
		p.Own = wrap(k.realm, keys[:1], k.secrets)
	}
	if like.Realm != k.realm || !wrapped(k.realm, like.Taken, keys[1:], k.secrets) {
		p.Taken = wrap(k.realm, keys[1:], k.secrets)
	}
	return p
}

// StayHere says that no secret is known outside of the store: what is sealed in it can't be
// opened anywhere else, and travels in vain.
func (k *Keys) StayHere() { k.here = true }

// Travel reports whether the keys can be opened elsewhere.
func (k *Keys) Travel() bool { return !k.here }

// Realm is the name of the realm that the keys are of.
func (k *Keys) Realm() string { return k.realm }

// Depends reports whether something of an account is sealed under the keys of its realm.
func Depends(u *store.User) bool {
	for i := range u.FormerFactors {
		if u.FormerFactors[i].Type == store.FactorTOTP {
			return true
		}
	}
	return u.HasFactor(store.FactorTOTP) || len(u.RecoveryCodes) > 0 || u.Enrolment != nil
}

// Unpacked are keys that came from elsewhere and that a secret here has opened.
type Unpacked struct {
	parcel Parcel
	keys   [][]byte
	ring   []*oneKey
}

// Unpack opens the keys of a parcel by the secrets of the realm; nil: they don't.
func (k *Keys) Unpack(p Parcel) *Unpacked {
	if len(p.Own) > maxParcel || len(p.Taken) > maxParcel { // it is none of ours
		return nil
	}
	keys := k.unpack(p)
	if keys == nil {
		return nil
	}
	return &Unpacked{p, keys, newRing(keys)}
}

// News are those of the keys that the realm doesn't have, nil: none.
func (k *Keys) News(u *Unpacked) *Unpacked {
	if u == nil {
		return nil
	}
	var have, fresh [][]byte
	for _, one := range *k.ring.Load() {
		have = append(have, one.key)
	}
	for _, key := range u.keys {
		if !holds(have, key) {
			fresh = append(fresh, key)
		}
	}
	if fresh == nil {
		return nil
	}
	return &Unpacked{u.parcel, fresh, newRing(fresh)}
}

// Open is Keys.Open of what was sealed under them. It may be called on nil.
func (u *Unpacked) Open(account uuid.UUID, sealed []byte) ([]byte, error) {
	if u == nil {
		return nil, ErrSealed
	}
	return openBy(u.ring, account, sealed)
}

// freshUpTo is how many accounts are looked at for whether anything depends on a key: the
// transaction in which they are must be short.
const freshUpTo = 1000

// Take keeps keys that came from elsewhere, in a transaction that writes: in place of the
// realm's own as long as nothing depends on that, so that a realm which has moved is what
// it was, else beside it. From now on they open what is theirs; undo takes them away again,
// for a transaction that fails. changed is false where the realm has all of them. It fails
// with errTooMany.
func (k *Keys) Take(tx store.Tx, u *Unpacked) (undo func(), changed bool, err error) {
	before, err := Stored(tx, k.realm)
	if err != nil {
		return nil, false, err
	}
	have := k.unpack(before)
	fresh, err := dependsNobody(tx)
	if err != nil {
		return nil, false, err
	}
	keys, like := append([][]byte{}, have...), before
	for _, key := range u.keys {
		if !holds(keys, key) {
			keys = append(keys, key)
		}
	}
	if fresh && len(have) == 1 && len(keys) > 1 {
		keys, like = u.keys, u.parcel
	}
	if len(keys) > maxTaken+1 {
		return nil, false, errTooMany
	}
	after := k.pack(keys, like)
	if changed = !after.same(before); changed {
		if err := after.put(tx, before); err != nil {
			return nil, false, err
		}
	}
	// What was in use until now still opens: an act may have sealed with it just before.
	old := k.ring.Load()
	for _, one := range *old {
		if !holds(keys, one.key) {
			keys = append(slices.Clip(keys), one.key)
		}
	}
	ring := newRing(keys)
	k.ring.Store(&ring)
	return func() { k.ring.Store(old) }, changed, nil
}

// dependsNobody reports whether there are few accounts, and none has anything sealed.
func dependsNobody(tx store.Tx) (bool, error) {
	users, err := tx.Users(uuid.Nil, freshUpTo)
	return len(users) < freshUpTo && !slices.ContainsFunc(users, Depends), err
}
