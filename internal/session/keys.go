// keys.go: the keys that sign access tokens: published before they sign, kept
// until all that they signed has expired, changed by age.

package session

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// AccessKeysValue is the name of the list of keys among the store's values.
const AccessKeysValue = "access_token_keys"

// AccessKey is one key. The store has when it signs, and its public half to
// recognise it by; the private half is derived from a secret (Signer.AccessKeys).
type AccessKey struct {
	// ID is its `kid`: 128 random bits, from which the key is derived.
	ID string `json:"id"`
	// Public is the public key, in base64url.
	Public string `json:"public"`
	// SignsFrom is when it begins to sign; the next key's SignsFrom ends it.
	SignsFrom time.Time `json:"signs_from"`
	// Tokens is the longest lifetime of a token that it may have signed.
	Tokens time.Duration `json:"tokens"`

	Private ed25519.PrivateKey `json:"-"` // never stored: it is derived
}

// keyring has the keys of one realm in memory, the oldest first, and brings the
// list in the store up to date. It is safe for concurrent use.
type keyring struct {
	Store         store.Store
	signer        *sign.Signer
	keyLifetime   time.Duration
	tokenLifetime time.Duration

	keys atomic.Pointer[[]AccessKey]
	mu   sync.Mutex // one at a time reads or writes the list
	// looked is when the list was last read for an unknown id.
	looked time.Time
}

// maxKeyLead is how long a key is published, at most, before it signs: far more
// than any backend keeps a JWKS without asking again.
const maxKeyLead = 24 * time.Hour

// unknownKeyPause is how often, at most, an unknown key id makes the list be
// read anew: another node may have added it, and anybody can make one up.
const unknownKeyPause = 10 * time.Second

func (r *keyring) Lead() time.Duration { return min(r.keyLifetime/4, maxKeyLead) }

func (r *keyring) Current() []AccessKey {
	if keys := r.keys.Load(); keys != nil {
		return *keys
	}
	return nil
}

// signingKey returns the key that signs now. A change that is due is made
// first; if the store fails then, the old key goes on.
func (r *keyring) signingKey(ctx context.Context, now time.Time) (AccessKey, error) {
	var err error
	if _, changed := r.due(r.Current(), now); changed {
		err = r.RefreshKeys(ctx, now)
	}
	key, ok := signing(r.Current(), now)
	if !ok {
		return key, errors.Join(errors.New("there is no key to sign with"), err)
	}
	return key, nil
}

// signing returns the last key that has begun to sign.
func signing(keys []AccessKey, now time.Time) (key AccessKey, ok bool) {
	for _, k := range keys {
		if !k.SignsFrom.After(now) {
			key, ok = k, true
		}
	}
	return key, ok
}

// VerificationKey returns the public key with an id, or ErrNotFound. The id is
// only ever compared with ours.
func (r *keyring) VerificationKey(ctx context.Context, now time.Time, id string) (ed25519.PublicKey, error) {
	find := func() (ed25519.PublicKey, error) {
		keys := r.Current()
		for i, k := range keys {
			if k.ID == id && !over(keys, i, now) {
				return k.Private.Public().(ed25519.PublicKey), nil
			}
		}
		return nil, store.ErrNotFound
	}
	if key, err := find(); err == nil || len(id) != base64.RawURLEncoding.EncodedLen(16) {
		return key, err
	}
	r.mu.Lock()
	pause := now.Sub(r.looked) < unknownKeyPause && !now.Before(r.looked)
	if !pause {
		r.looked = now
	}
	r.mu.Unlock()
	if pause {
		return nil, store.ErrNotFound
	}
	if err := r.RefreshKeys(ctx, now); err != nil {
		return nil, err
	}
	return find()
}

// over reports whether all that a key signed has expired.
func over(keys []AccessKey, i int, now time.Time) bool {
	return i+1 < len(keys) && !now.Before(keys[i+1].SignsFrom.Add(keys[i].Tokens))
}

// due returns the list as it should be now, and whether it differs: keys that
// are over are gone, and the next key is there early enough.
func (r *keyring) due(keys []AccessKey, now time.Time) (out []AccessKey, changed bool) {
	for i, k := range keys {
		// No key is made further ahead than that: a clock was wrong.
		if over(keys, i, now) || k.SignsFrom.Sub(now) > maxKeyLead {
			changed = true
			continue
		}
		if last := i+1 >= len(keys) || keys[i+1].SignsFrom.After(now); last && k.Tokens < r.tokenLifetime {
			k.Tokens, changed = r.tokenLifetime, true
		}
		out = append(out, k)
	}
	if _, ok := signing(out, now); !ok {
		// The first, or one whose secret is gone: there is nothing to overlap with.
		return append([]AccessKey{{SignsFrom: now.UTC().Truncate(time.Second), Tokens: r.tokenLifetime}}, out...), true
	}
	if next := out[len(out)-1].SignsFrom.Add(r.keyLifetime); !now.Before(next.Add(-r.Lead())) {
		if soonest := now.Add(r.Lead()); next.Before(soonest) { // nobody looked for a while
			next = soonest
		}
		return append(out, AccessKey{SignsFrom: next.UTC(), Tokens: r.tokenLifetime}), true
	}
	return out, changed
}

// LoadKeys reads the list from the store and changes nothing there: what is due
// waits for RefreshKeys, because a configuration that is only being loaded may
// never run.
func (r *keyring) LoadKeys(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []AccessKey
	err := r.Store.View(ctx, func(tx store.Tx) (err error) { keys, _, err = r.stored(tx); return err })
	if err == nil {
		r.keys.Store(&keys)
	}
	return err
}

// stored is the list in the store: the keys that a configured secret has made, and
// those of others.
func (r *keyring) stored(tx store.Tx) (ours, others []AccessKey, err error) {
	raw, err := tx.Value(AccessKeysValue)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var all []AccessKey
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, nil, fmt.Errorf("the list of keys: %w", err)
	}
	for _, k := range all {
		switch mine, err := r.derive(&k); {
		case err != nil:
			return nil, nil, err
		case mine:
			ours = append(ours, k)
		default:
			others = append(others, k)
		}
	}
	return ours, others, nil
}

// maxOtherKeys bounds the keys of other secrets that the list keeps.
const maxOtherKeys = 8

// RefreshKeys reads the list from the store and, where something is due,
// changes it there. Keys that no configured secret has made count for nothing: a
// secret that was taken away signs nothing any more. They stay in the list until
// all that they signed is over, for they may be another configuration's that runs
// still, or again if this one doesn't come to run.
func (r *keyring) RefreshKeys(ctx context.Context, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys, others []AccessKey
	read := func(tx store.Tx) (changed bool, err error) {
		if keys, others, err = r.stored(tx); err != nil {
			return false, err
		}
		before := len(others)
		others = slices.DeleteFunc(others, func(k AccessKey) bool {
			return k.SignsFrom.Sub(now) > maxKeyLead || now.Sub(k.SignsFrom) > r.keyLifetime+r.Lead()+k.Tokens
		})
		others = others[max(0, len(others)-maxOtherKeys):]
		keys, changed = r.due(keys, now)
		return changed || len(others) < before, nil
	}
	changed := false
	err := r.Store.View(ctx, func(tx store.Tx) (err error) { changed, err = read(tx); return err })
	if err == nil && changed {
		err = r.Store.Update(ctx, func(tx store.Tx) error {
			if _, err := read(tx); err != nil {
				return err
			}
			for i := range keys {
				if keys[i].ID == "" {
					if err := r.create(&keys[i]); err != nil {
						return err
					}
				}
			}
			raw, err := json.Marshal(append(slices.Clone(others), keys...))
			if err != nil {
				return err
			}
			return tx.PutValue(AccessKeysValue, raw)
		})
	}
	if err != nil {
		return err
	}
	r.keys.Store(&keys)
	return nil
}

// derive finds the private half of a key, and reports whether one of the
// configured secrets has made it.
func (r *keyring) derive(k *AccessKey) (ours bool, err error) {
	candidates, err := r.signer.AccessKeys(k.ID)
	if err != nil {
		return false, err
	}
	for _, candidate := range candidates {
		if publicText(candidate) == k.Public {
			k.Private = candidate
			return true, nil
		}
	}
	return false, nil
}

// create makes a new key of the first secret.
func (r *keyring) create(k *AccessKey) error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	k.ID = base64.RawURLEncoding.EncodeToString(id[:])
	candidates, err := r.signer.AccessKeys(k.ID)
	if err != nil {
		return err
	}
	k.Private, k.Public = candidates[0], publicText(candidates[0])
	return nil
}

func publicText(key ed25519.PrivateKey) string {
	return base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}
