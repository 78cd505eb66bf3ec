// password.go: the front door of the package: hashing a password, verifying one
// against any supported hash, and asking whether a hash has aged.

// Package password holds what is known about passwords alone: the formats in
// which their hashes are stored, a pool that bounds how many are computed at
// once, and the validators that refuse weak ones. It knows neither accounts nor
// HTTP.
//
// Passwords are taken whole: no truncation (bcrypt's own apart) and no composition
// rules, as NIST SP 800-63B-4 section 3.1.1 asks. They are hashed in the normal form
// that it suggests (Normal). Hashes that were made without it, by Django or an
// older version of this package, are verified by a second try.
package password

import (
	"crypto/rand"
	"errors"
	"fmt"
)

// MaxLength is the longest password in bytes. It is far over the 64 characters
// that NIST SP 800-63B wants accepted, and keeps a request from making the
// server digest megabytes.
const MaxLength = 4096

// Errors of this package. They come wrapped, so compare with errors.Is. No
// message contains a password or any part of a hash but its cost and lengths.
var (
	// ErrFormat says that a stored hash is in no format that Verify knows, or
	// is malformed in the one it claims.
	ErrFormat = errors.New("not a supported password hash")
	// ErrCost says that a stored hash is well-formed, but verifying it would
	// cost more than this package is willing to spend, or that its salt or key
	// is unreasonably short or long.
	ErrCost = errors.New("password hash is out of bounds")
	// ErrTooLong says that a password to hash is longer than MaxLength.
	ErrTooLong = fmt.Errorf("password is longer than %d bytes", MaxLength)
)

// Hash returns the Argon2id hash (RFC 9106) of the normal form of password as a PHC
// string,
//
//	$argon2id$v=19$m=…,t=…,p=…$salt$key
//
// with a fresh random salt of 16 bytes and a key of 32, both in unpadded
// standard base64. It fails with the error of Params.Validate, or with
// ErrTooLong. It takes p.Memory KiB while it runs; a server goes through
// Pool.Hash so that this stays bounded. Safe for concurrent use.
func Hash(password string, p Params) (string, error) {
	if err := hashable(password, p); err != nil {
		return "", err
	}
	return newHash(Normal(password), p), nil
}

// Verify reports whether password is the one that encoded was made from: first in
// its normal form and then, where that differs, as it came. It
// reads every format of this package (formats.go), whatever the present settings: the
// Argon2id of Hash, what other systems have made, and what Wrap has made of it.
// Comparison takes constant time.
//
// It fails with ErrFormat or ErrCost, decided before any costly work. A
// password over MaxLength never matches, because Hash made no hash of it. Like
// Hash it belongs in a Pool on a server. Safe for concurrent use.
func Verify(encoded, password string) (bool, error) {
	s, err := parse(encoded)
	if err != nil || len(password) > MaxLength {
		return false, err
	}
	ok, _, err := matchesAny(s, candidates(password))
	return ok, err
}

// matchesAny compares a hash with each candidate until one matches. other says
// that it was none but the first.
func matchesAny(s stored, candidates []string) (ok, other bool, err error) {
	for i, password := range candidates {
		if ok, err = s.matches(password); ok || err != nil {
			return ok, i > 0, err
		}
	}
	return false, false, nil
}

// NeedsRehash reports whether encoded should be replaced, at the next chance
// (a successful login), by a fresh Hash with p: it is of another algorithm or
// unreadable, or weaker than p in memory or passes, or its salt or key is
// shorter than those Hash makes. Lanes alone do not count: they spread the same
// work rather than change its amount.
func NeedsRehash(encoded string, p Params) bool {
	s, err := parse(encoded)
	return err != nil || s.weakerThan(p)
}

// Check reports whether Verify would accept encoded: nil, ErrFormat or ErrCost.
// It only parses, so an import can check every hash it is given.
func Check(encoded string) error {
	_, err := parse(encoded)
	return err
}

// hashable says why password cannot be hashed with p, or nil.
func hashable(password string, p Params) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if len(password) > MaxLength {
		return ErrTooLong
	}
	return nil
}

// newHash is Hash for arguments that passed hashable.
func newHash(password string, p Params) string {
	salt := make([]byte, saltLength)
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(salt)
	a := argon2id{params: p, salt: salt}
	a.key = a.derive(password, keyLength)
	return a.encode()
}
