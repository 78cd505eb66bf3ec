// pbkdf2.go: verifying the PBKDF2 hashes that came with accounts imported from
// Django, Keycloak and Authelia.

package password

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // what other systems made with it is verified, and wrapped before it is kept
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
)

const (
	// Django 5 makes a million; the cap leaves room for some years of its
	// yearly raise and ends at about 2 s.
	maxIterations = 10_000_000
	// Django makes 12 or 22 characters, but lets its users choose.
	maxDjangoSalt = 128
	// What has fewer, of PBKDF2 or sha-crypt, is wrapped at import: it takes a core under
	// some 3 ms.
	slowIterations = 10_000
)

var newSHA1 = sha1.New

// pbkdf2Digests are the spellings of PBKDF2: Django's, of which the salt is used as it
// is written, and the key is in padded base64 and as long as the digest; and
// Passlib's, of which both are in base64 without padding and with a dot for the plus.
var pbkdf2Digests = []struct {
	begins string
	django bool
	digest func() hash.Hash
}{
	{"pbkdf2_sha256$", true, sha256.New},
	{"pbkdf2_sha1$", true, newSHA1},
	{"$pbkdf2-sha256$", false, sha256.New},
	{"$pbkdf2-sha512$", false, sha512.New},
	{"$pbkdf2$", false, newSHA1},
}

// readPBKDF2 reads pbkdf2_sha256$iterations$salt$key or $pbkdf2-sha256$iterations$salt$key.
func readPBKDF2(encoded string, bare bool) (digested, error) {
	for _, spelling := range pbkdf2Digests {
		rest, ok := strings.CutPrefix(encoded, spelling.begins)
		if !ok {
			continue
		}
		part := strings.Split(rest, "$")
		if len(part) != 3 {
			return digested{}, fmt.Errorf("%w: pbkdf2 has not its parts: iterations, salt and key", ErrFormat)
		}
		n, err := decimal(part[0], 64)
		if err != nil {
			return digested{}, err
		}
		switch {
		case n < 1:
			return digested{}, fmt.Errorf("%w: pbkdf2 has no iterations", ErrFormat)
		case n > maxIterations:
			return digested{}, fmt.Errorf("%w: its %d pbkdf2 iterations are over %d", ErrCost, n, maxIterations)
		}
		size := spelling.digest().Size()
		salt, key, err := pbkdf2Parts(part[1], part[2], spelling.django, size, bare)
		if err != nil {
			return digested{}, err
		}
		return digested{
			settings: strings.TrimSuffix(encoded, part[2]), key: key, fast: n < slowIterations, heavy: n > easyIterations,
			// It fails only where Go runs in FIPS 140-only mode and the hash has less salt
			// than that demands.
			digest: func(password string) ([]byte, error) {
				key, err := pbkdf2.Key(spelling.digest, password, salt, int(n), size) //nolint:gosec // bounded above
				if err != nil {
					return nil, fmt.Errorf("verify pbkdf2: %w", err)
				}
				return key, nil
			},
		}, nil
	}
	return digested{}, fmt.Errorf("%w: it is no pbkdf2", ErrFormat)
}

// pbkdf2Parts decodes salt and key. Of a key that is longer than the digest, as
// Keycloak makes them, its first block is all that is compared: the others cost who
// verifies as much again, and a guesser nothing.
func pbkdf2Parts(saltText, keyText string, django bool, size int, bare bool) (salt, key []byte, err error) {
	encoding, most := passlib64, maxKey
	if django {
		encoding, most = base64.StdEncoding, size
		salt = []byte(saltText)
		err = within("salt", len(salt), 1, maxDjangoSalt)
	} else if salt, err = unbase64(passlib64, saltText); err == nil {
		err = within("salt", len(salt), 1, maxSalt)
	}
	if err != nil || bare {
		return salt, nil, err
	}
	if key, err = unbase64(encoding, keyText); err != nil {
		return nil, nil, err
	}
	if len(key) < size || len(key) > most {
		return nil, nil, fmt.Errorf("%w: its pbkdf2 key has %d bytes, not %d", ErrFormat, len(key), size)
	}
	return salt, key[:size], nil
}

// passlib64 is the base64 of Passlib: without padding, and with a dot for the plus.
var passlib64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").WithPadding(base64.NoPadding)
