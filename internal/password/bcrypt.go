// bcrypt.go: verifying bcrypt hashes that came with imported accounts, and those of
// which the password was hashed before.

package password

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	// A bcrypt hash is of fixed length: prefix and cost in 7 bytes, salt in 22,
	// key in 31.
	bcryptLength = 60
	bcryptHeader = len("$2b$10$")
	bcryptSalt   = 22
	// Each step doubles the time. 16 takes some 5 s; the usual is 10 to 12.
	maxBcryptCost = 16
	// The algorithm reads no more of the password than this.
	bcryptReads = 72

	bcryptSHA256Prefix = "$bcrypt-sha256$"
)

// bcryptHash is a stored bcrypt hash, well-formed.
type bcryptHash struct {
	encoded string
	// before is what becomes of the password before it is hashed; nil: nothing.
	before func(password string) string
}

// isBcrypt knows $2a$, $2b$ and $2y$, which are one algorithm for the passwords
// that occur. $2x$ marks hashes made by an implementation with a flaw that the
// others do not share, so it is left out, as is the obsolete bare $2$.
func isBcrypt(encoded string) bool {
	return len(encoded) > 3 && encoded[:2] == "$2" && strings.IndexByte("aby", encoded[2]) >= 0 && encoded[3] == '$'
}

// parseBcrypt reads $2b$10$ and 53 characters of salt and key.
func parseBcrypt(encoded string) (stored, error) { return parseBcryptOf(encoded, nil) }

func parseBcryptOf(encoded string, before func(password string) string) (stored, error) {
	if !isBcrypt(encoded) || len(encoded) != bcryptLength || encoded[6] != '$' {
		return nil, fmt.Errorf("%w: bcrypt is not of the form $2b$10$ and 53 characters", ErrFormat)
	}
	digits, rest := encoded[4:6], encoded[bcryptHeader:]
	if strings.Trim(digits, "0123456789") != "" {
		return nil, fmt.Errorf("%w: its bcrypt cost is no number", ErrFormat)
	}
	if strings.ContainsFunc(rest, notCrypt64) {
		return nil, fmt.Errorf("%w: its bcrypt salt or key is no valid base64", ErrFormat)
	}
	switch cost := int(digits[0]-'0')*10 + int(digits[1]-'0'); {
	case cost < bcrypt.MinCost:
		return nil, fmt.Errorf("%w: its bcrypt cost of %d is under %d", ErrFormat, cost, bcrypt.MinCost)
	case cost > maxBcryptCost:
		return nil, fmt.Errorf("%w: its bcrypt cost of %d is over %d", ErrCost, cost, maxBcryptCost)
	}
	return bcryptHash{encoded: encoded, before: before}, nil
}

func notCrypt64(r rune) bool {
	return r != '.' && r != '/' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// parseBcryptSHA256 reads Django's bcrypt_sha256$$2b$12$…, bcrypt of SHA-256 in
// hexadecimal, and $bcrypt-sha256$v=2,t=2b,r=12$salt$key of Passlib and Authelia, bcrypt
// of HMAC-SHA-256 with the salt in base64.
func parseBcryptSHA256(encoded string) (stored, error) {
	if inner, ok := strings.CutPrefix(encoded, "bcrypt_sha256$"); ok {
		return parseBcryptOf(inner, func(password string) string {
			sum := sha256.Sum256([]byte(password))
			return hex.EncodeToString(sum[:])
		})
	}
	part := strings.Split(strings.TrimPrefix(encoded, bcryptSHA256Prefix), "$")
	if len(part) != 3 || len(part[1]) != bcryptSalt {
		return nil, fmt.Errorf("%w: bcrypt-sha256 is not of the form v=2,t=2b,r=12$salt$key", ErrFormat)
	}
	cost, ok := strings.CutPrefix(part[0], "v=2,t=2b,r=")
	if !ok {
		return nil, fmt.Errorf("%w: bcrypt-sha256 is not of version 2 with bcrypt 2b", ErrFormat)
	}
	if len(cost) == 1 {
		cost = "0" + cost
	}
	salt := part[1]
	return parseBcryptOf("$2b$"+cost+"$"+salt+part[2], func(password string) string {
		mac := hmac.New(sha256.New, []byte(salt))
		mac.Write([]byte(password))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	})
}

// parseWordPressBcrypt reads $wp$2y$10$… of WordPress 6.8 and later: bcrypt of
// HMAC-SHA-384 in base64.
func parseWordPressBcrypt(encoded string) (stored, error) {
	return parseBcryptOf(strings.TrimPrefix(encoded, "$wp"), func(password string) string {
		mac := hmac.New(sha512.New384, []byte("wp-sha384"))
		mac.Write([]byte(password))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	})
}

// matches cuts the password where every implementation of bcrypt stops reading,
// rather than let x/crypto decide whether a longer one is an error: the hash was
// made by an implementation that took it. The rehash that follows a login is of
// the whole password.
func (b bcryptHash) matches(password string) (bool, error) {
	if b.before != nil {
		password = b.before(password)
	}
	key := []byte(password)
	err := bcrypt.CompareHashAndPassword([]byte(b.encoded), key[:min(len(key), bcryptReads)])
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return true, nil
}

func (bcryptHash) weakerThan(Params) bool { return true }
