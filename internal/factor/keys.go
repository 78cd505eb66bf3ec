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

// Keys seals and opens what a realm keeps of its factors. It is immutable and safe for
// concurrent use.
type Keys struct {
	seal cipher.AEAD
	mac  []byte
}

// newKeys derives what is used from the realm's key.
func newKeys(key []byte) (*Keys, error) {
	sealing, err := derive(key, "seal")
	if err != nil {
		return nil, err
	}
	k := &Keys{}
	if k.mac, err = derive(key, "recovery codes"); err != nil {
		return nil, err
	}
	k.seal, err = newSeal(sealing)
	return k, err
}

func derive(key []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, key, []byte("caddy-registration factors v1"), purpose, keySize)
}

func newSeal(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Seal encrypts a secret of an account, so that it opens for that account alone.
func (k *Keys) Seal(account uuid.UUID, secret []byte) []byte {
	return k.seal.Seal(nil, nil, secret, account[:]) //nolint:gosec // it takes a random nonce by itself
}

// Open is the secret that Seal has sealed, or ErrSealed.
func (k *Keys) Open(account uuid.UUID, sealed []byte) ([]byte, error) {
	secret, err := k.seal.Open(nil, nil, sealed, account[:])
	if err != nil {
		return nil, ErrSealed
	}
	return secret, nil
}

// MAC is what is kept of a recovery code of an account. The code is a NormalCode.
func (k *Keys) MAC(account uuid.UUID, code string) []byte {
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

// secretKey is the key that a secret of the configuration seals with, and the name of it.
func secretKey(realm string, secret []byte) (seal cipher.AEAD, name []byte, err error) {
	key, err := derive(secret, "key of realm "+realm)
	if err != nil {
		return nil, nil, err
	}
	if seal, err = newSeal(key); err != nil {
		return nil, nil, err
	}
	if key, err = derive(secret, "name in realm "+realm); err != nil {
		return nil, nil, err
	}
	return seal, key[:nameSize], nil
}

// unwrap finds the realm's key in its copies, by one of the secrets; nil: by none.
func unwrap(realm string, copies []byte, secrets [][]byte) ([]byte, error) {
	for _, secret := range secrets {
		seal, name, err := secretKey(realm, secret)
		if err != nil {
			return nil, err
		}
		for rest := copies; len(rest) >= copySize; rest = rest[copySize:] {
			if !bytes.Equal(rest[:nameSize], name) {
				continue
			}
			if key, err := seal.Open(nil, nil, rest[nameSize:copySize], name); err == nil && len(key) == keySize {
				return key, nil
			}
		}
	}
	return nil, nil
}

// wrap makes the copies of the realm's key, one a secret.
func wrap(realm string, key []byte, secrets [][]byte) ([]byte, error) {
	var copies []byte
	for _, secret := range secrets {
		seal, name, err := secretKey(realm, secret)
		if err != nil {
			return nil, err
		}
		copies = append(append(copies, name...), seal.Seal(nil, nil, key, name)...) //nolint:gosec // the same
	}
	return copies, nil
}

// wrapped reports whether copies are those under just these secrets.
func wrapped(realm string, copies []byte, secrets [][]byte) bool {
	if len(copies) != len(secrets)*copySize {
		return false
	}
	for i, secret := range secrets {
		if _, name, err := secretKey(realm, secret); err != nil || !bytes.Equal(copies[i*copySize:][:nameSize], name) {
			return false
		}
	}
	return true
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

// Open returns the keys of a realm, and makes them where there are none or nothing
// depends on those that can't be opened. They are sealed under each of the secrets;
// those that only open, such as a key from before there were secrets, come in older.
func Open(ctx context.Context, db store.Store, realm string, secrets, older [][]byte) (*Keys, error) {
	var copies []byte
	read := func(tx store.Tx) (err error) {
		if copies, err = tx.Value(keyName); errors.Is(err, store.ErrNotFound) {
			copies, err = nil, nil
		}
		return err
	}
	if err := db.View(ctx, read); err != nil {
		return nil, err
	}
	key, err := unwrap(realm, copies, append(append([][]byte{}, secrets...), older...))
	if err != nil {
		return nil, err
	}
	if key != nil && wrapped(realm, copies, secrets) {
		return newKeys(key)
	}
	if key == nil && len(copies) > 0 {
		n, err := concerned(ctx, db)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			return nil, &LostKeyError{Accounts: n}
		}
	}
	if key == nil {
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // never fails
	}
	sealed, err := wrap(realm, key, secrets)
	if err != nil {
		return nil, err
	}
	if err := db.Update(ctx, func(tx store.Tx) error {
		before := copies
		if err := read(tx); err != nil {
			return err
		}
		if !bytes.Equal(before, copies) { // another process has begun at the same time
			return errors.New("the key of the second factors has just been changed; start again")
		}
		return tx.PutValue(keyName, sealed)
	}); err != nil {
		return nil, err
	}
	return newKeys(key)
}

// concerned counts the accounts with something that the realm's key has sealed.
func concerned(ctx context.Context, db store.Store) (int, error) {
	return store.CountUsers(ctx, db, func(u *store.User) bool { return u.HasFactor(store.FactorTOTP) || len(u.RecoveryCodes) > 0 })
}
