// signer.go: which secrets sign and which still verify, and where the key is kept that
// signs where no secret is configured.

package registration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

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
