// keys.go: the key of a realm, under which the secrets of factors are sealed, and how it
// is sealed itself: a copied store must not yield a second factor.

package factor

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// keyName is the name of the sealed key among the store's values.
const keyName = "factor_key"

// Sizes in bytes: of a key, of the name of the secret that a key is sealed under, and of
// a seal, which is a nonce before the data and a tag behind it.
const (
	keySize  = 32
	nameSize = 8
	sealSize = 12 + 16
	copySize = nameSize + keySize + sealSize
)

// ErrSealed says that something was sealed under another key, or is damaged.
var ErrSealed = errors.New("it was sealed under another key")

// Keys seals and opens what a realm keeps of its factors. It is safe for concurrent use.
type Keys struct {
	realm          string
	secrets, older [][]byte
	here           bool
	// ring has the realm's own key, under which all is sealed that is new, and behind it
	// those that came with accounts of other realms (Take). It is replaced as a whole.
	ring atomic.Pointer[[]*oneKey]
}

// oneKey is a key and what is derived from it.
type oneKey struct {
	key, mac []byte
	seal     cipher.AEAD
}

// newRing derives what is used from keys.
func newRing(keys [][]byte) []*oneKey {
	ring := make([]*oneKey, len(keys))
	for i, key := range keys {
		ring[i] = &oneKey{key: key, mac: derive(key, "recovery codes"), seal: newSeal(derive(key, "seal"))}
	}
	return ring
}

// derive makes a key of another one. It fails for lengths alone that nobody asks for.
func derive(key []byte, purpose string) []byte {
	derived, _ := hkdf.Key(sha256.New, key, []byte("caddy-registration factors v1"), purpose, keySize)
	return derived
}

// newSeal seals with a key, whose length is one that AES has.
func newSeal(key []byte) cipher.AEAD {
	block, _ := aes.NewCipher(key)
	seal, _ := cipher.NewGCMWithRandomNonce(block)
	return seal
}

// Seal encrypts a secret of an account, so that it opens for that account alone.
func (k *Keys) Seal(account uuid.UUID, secret []byte) []byte {
	return (*k.ring.Load())[0].seal.Seal(nil, nil, secret, account[:]) //nolint:gosec // it takes a random nonce by itself
}

// Open is the secret that Seal has sealed, here or in a realm whose key was taken, or
// ErrSealed.
func (k *Keys) Open(account uuid.UUID, sealed []byte) ([]byte, error) {
	return openBy(*k.ring.Load(), account, sealed)
}

func openBy(ring []*oneKey, account uuid.UUID, sealed []byte) ([]byte, error) {
	for _, k := range ring {
		if secret, err := k.seal.Open(nil, nil, sealed, account[:]); err == nil {
			return secret, nil
		}
	}
	return nil, ErrSealed
}

// Fits reports whether what is kept of a recovery code of an account is of this one, which
// is a NormalCode.
func (k *Keys) Fits(account uuid.UUID, kept []byte, code string) (fits bool) {
	for _, one := range *k.ring.Load() {
		fits = hmac.Equal(kept, one.of(account, code)) || fits
	}
	return fits
}

// MAC is what is kept of a recovery code of an account. The code is a NormalCode.
func (k *Keys) MAC(account uuid.UUID, code string) []byte {
	return (*k.ring.Load())[0].of(account, code)
}

func (k *oneKey) of(account uuid.UUID, code string) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write(account[:])
	h.Write([]byte(code))
	return h.Sum(nil)
}

// MACs are those of fresh codes.
func (k *Keys) MACs(account uuid.UUID, codes []string) [][]byte {
	macs := make([][]byte, len(codes))
	for i, code := range codes {
		normal, _ := NormalCode(code)
		macs[i] = k.MAC(account, normal)
	}
	return macs
}

// A secretKey is what a secret of the configuration seals with, and the name of it.
type secretKey struct {
	seal cipher.AEAD
	name []byte
}

func secretKeys(realm string, secrets [][]byte) []secretKey {
	keys := make([]secretKey, len(secrets))
	for i, secret := range secrets {
		keys[i] = secretKey{newSeal(derive(secret, "key of realm "+realm)), derive(secret, "name in realm "+realm)[:nameSize]}
	}
	return keys
}

// open is the key of a copy, nil: it is under another secret, or damaged.
func (k *secretKey) open(part []byte) []byte {
	if !bytes.Equal(part[:nameSize], k.name) {
		return nil
	}
	key, err := k.seal.Open(nil, nil, part[nameSize:copySize], k.name)
	if err != nil || len(key) != keySize {
		return nil
	}
	return key
}

// unwrap finds the keys in copies that one of the secrets opens, each once, in the order
// of the copies.
func unwrap(realm string, copies []byte, secrets [][]byte) (keys [][]byte) {
	by := secretKeys(realm, secrets)
	for rest := copies; len(rest) >= copySize; rest = rest[copySize:] {
		for i := range by {
			if key := by[i].open(rest); key != nil && !holds(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// wrap makes the copies of keys, one a secret each.
func wrap(realm string, keys, secrets [][]byte) (copies []byte) {
	by := secretKeys(realm, secrets)
	for _, key := range keys {
		for _, secret := range by {
			copies = append(append(copies, secret.name...), secret.seal.Seal(nil, nil, key, secret.name)...) //nolint:gosec // the same
		}
	}
	return copies
}

// wrapped reports whether copies are those of keys under just these secrets.
func wrapped(realm string, copies []byte, keys, secrets [][]byte) bool {
	if len(copies) != len(keys)*len(secrets)*copySize {
		return false
	}
	by := secretKeys(realm, secrets)
	for _, key := range keys {
		for i := range by {
			if !bytes.Equal(by[i].open(copies), key) {
				return false
			}
			copies = copies[copySize:]
		}
	}
	return true
}

func holds(keys [][]byte, key []byte) bool {
	return slices.ContainsFunc(keys, func(have []byte) bool { return bytes.Equal(have, key) })
}

// LostKeyError says that none of the secrets opens the key.
type LostKeyError struct {
	// Accounts is how many accounts have a factor or recovery codes.
	Accounts int
}

// Error implements error.
func (e *LostKeyError) Error() string {
	return fmt.Sprintf("the second factors of %d account(s) were sealed under a secret that is not in the configuration; list it again, behind the new one, or restore the store's own key", e.Accounts)
}

// Open returns the keys of a realm, and makes one where there is none or nothing
// depends on one that can't be opened. They are sealed under each of the secrets;
// those that only open, such as a key from before there were secrets, come in older.
// Where another process writes the keys at the same time, it has them as those are then.
func Open(ctx context.Context, db store.Store, realm string, secrets, older [][]byte) (*Keys, error) {
	k := &Keys{realm: realm, secrets: secrets, older: older}
	for range maxOpens {
		switch err := k.read(ctx, db); {
		case err == nil:
			return k, nil
		case !errors.Is(err, errKeyChanged):
			return nil, err
		}
	}
	return nil, errKeyChanged
}

// maxOpens bounds how often a start looks at keys that others change just then: each has
// done it after one write, unless two have different secrets and never agree.
const maxOpens = 20

var errKeyChanged = errors.New("other processes keep changing it: do all nodes have the same secrets?")

// read reads the keys, and writes them as they should be, unless they have been changed meanwhile.
func (k *Keys) read(ctx context.Context, db store.Store) error {
	var before Parcel
	if err := db.View(ctx, func(tx store.Tx) (err error) {
		before, err = Stored(tx, k.realm)
		return err
	}); err != nil {
		return err
	}
	all := k.unpack(before)
	if all == nil && len(before.Own) > 0 {
		n, err := concerned(ctx, db)
		if err != nil {
			return err
		}
		if n > 0 {
			return &LostKeyError{Accounts: n}
		}
	}
	if all == nil {
		all = [][]byte{make([]byte, keySize)}
		_, _ = rand.Read(all[0]) // never fails
	}
	if after := k.pack(all, before); !after.same(before) {
		err := db.Update(ctx, func(tx store.Tx) error {
			now, err := Stored(tx, k.realm)
			if err != nil {
				return err
			}
			if !now.same(before) {
				return errKeyChanged
			}
			return after.put(tx, before)
		})
		if err != nil {
			return err
		}
	}
	ring := newRing(all)
	k.ring.Store(&ring)
	return nil
}

// concerned counts the accounts with something that the realm's key has sealed.
func concerned(ctx context.Context, db store.Store) (int, error) {
	return store.CountUsers(ctx, db, func(u *store.User) bool { return u.HasFactor(store.FactorTOTP) || len(u.RecoveryCodes) > 0 })
}
