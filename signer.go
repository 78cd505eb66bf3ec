// signer.go: which secrets sign and which still verify, where the key is kept that signs
// where no secret is configured, and under which keys those of factors are sealed.

package registration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// factorKeys opens the key under which the secrets of factors are sealed, by the secrets
// of the configuration, or by the key in the store where there are none. That one opens
// it too where there was no secret before.
func (r *realm) factorKeys(ctx context.Context) (*factor.Keys, error) {
	var generated [][]byte
	err := r.resources.store.View(ctx, func(tx store.Tx) error {
		key, err := tx.Value(signingKey)
		if err == nil {
			generated = [][]byte{key}
		} else if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the signing key in the store: %w", err)
	}
	var secrets [][]byte
	for _, s := range r.settings.Secrets {
		secrets = append(secrets, []byte(s))
	}
	here := len(secrets) == 0
	if here {
		secrets, generated = generated, nil
	}
	keys, err := factor.Open(ctx, r.resources.store, r.Name, secrets, generated)
	if err != nil {
		return nil, fmt.Errorf("the key of the second factors: %w", err)
	}
	if here {
		keys.StayHere()
	}
	return keys, nil
}

// signingKey is the name of the generated key among the store's values.
const signingKey = "signing_key"

// newSigner uses the configured secrets, or the key in the store, made at the
// first start.
func (r *realm) newSigner() (*sign.Signer, error) {
	var secrets [][]byte
	for _, s := range r.settings.Secrets {
		secrets = append(secrets, []byte(s))
	}
	if len(secrets) > 0 {
		return sign.NewSigner(r.Name, secrets...)
	}
	var key []byte
	err := r.resources.store.View(context.Background(), func(tx store.Tx) (err error) {
		key, err = tx.Value(signingKey)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		fresh := make([]byte, sign.SecretBytes)
		_, _ = rand.Read(fresh) // never fails
		err = r.resources.store.Update(context.Background(), func(tx store.Tx) (err error) {
			if key, err = tx.Value(signingKey); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			key = fresh
			return tx.PutValue(signingKey, key)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("the signing key in the store: %w", err)
	}
	return sign.NewSigner(r.Name, key)
}

// nameKeys is the signer that hashes left names: the configured secrets, and after
// them the generated key, if the store has one from the time before. A first
// `secret` must not free all names.
func (r *realm) nameKeys(signer *sign.Signer) (*sign.Signer, error) {
	if len(r.settings.Secrets) == 0 {
		return signer, nil
	}
	var generated []byte
	err := r.resources.store.View(context.Background(), func(tx store.Tx) (err error) {
		generated, err = tx.Value(signingKey)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return signer, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the signing key in the store: %w", err)
	}
	var secrets [][]byte
	for _, s := range r.settings.Secrets {
		secrets = append(secrets, []byte(s))
	}
	return sign.NewSigner(r.Name, append(secrets, generated)...)
}
