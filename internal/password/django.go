// django.go: verifying the PBKDF2 hashes that came with accounts imported from
// Django.

package password

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
)

const (
	djangoPrefix = "pbkdf2_sha256$"
	// Django 5 makes a million; the cap leaves room for some years of its
	// yearly raise and ends at about 2 s.
	maxIterations = 10_000_000
	// Django makes 12 or 22 characters, but lets its users choose.
	maxDjangoSalt = 128
)

// djangoHash is a stored hash of Django's PBKDF2PasswordHasher.
type djangoHash struct {
	iterations int
	salt, key  []byte
}

// parseDjango reads pbkdf2_sha256$iterations$salt$key. The salt is used as it
// is written; the key is in padded base64 and always as long as the digest.
func parseDjango(encoded string) (stored, error) {
	part := strings.Split(encoded, "$")
	if len(part) != 4 {
		return nil, fmt.Errorf("%w: pbkdf2_sha256 has not its four parts", ErrFormat)
	}
	n, err := decimal(part[1], 64)
	if err != nil {
		return nil, err
	}
	switch {
	case n < 1:
		return nil, fmt.Errorf("%w: pbkdf2_sha256 has no iterations", ErrFormat)
	case n > maxIterations:
		return nil, fmt.Errorf("%w: its %d pbkdf2_sha256 iterations are over %d", ErrCost, n, maxIterations)
	}
	if err := within("salt", len(part[2]), 1, maxDjangoSalt); err != nil {
		return nil, err
	}
	key, err := unbase64(base64.StdEncoding, part[3])
	if err != nil {
		return nil, err
	}
	if len(key) != sha256.Size {
		return nil, fmt.Errorf("%w: its pbkdf2_sha256 key has %d bytes, not %d", ErrFormat, len(key), sha256.Size)
	}
	return djangoHash{iterations: int(n), salt: []byte(part[2]), key: key}, nil
}

// matches fails only where Go runs in FIPS 140-only mode and the hash has less
// salt than that demands.
func (d djangoHash) matches(password string) (bool, error) {
	key, err := pbkdf2.Key(sha256.New, password, d.salt, d.iterations, len(d.key))
	if err != nil {
		return false, fmt.Errorf("verify pbkdf2_sha256: %w", err)
	}
	return subtle.ConstantTimeCompare(key, d.key) == 1, nil
}

func (djangoHash) weakerThan(Params) bool { return true }
