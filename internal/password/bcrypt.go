// bcrypt.go: verifying bcrypt hashes that came with imported accounts.

package password

import (
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
	// Each step doubles the time. 16 takes some 5 s; the usual is 10 to 12.
	maxBcryptCost = 16
	// The algorithm reads no more of the password than this.
	bcryptReads = 72
)

// bcryptHash is a stored bcrypt hash, well-formed, as it was encoded.
type bcryptHash string

// isBcrypt knows $2a$, $2b$ and $2y$, which are one algorithm for the passwords
// that occur. $2x$ marks hashes made by an implementation with a flaw that the
// others do not share, so it is left out, as is the obsolete bare $2$.
func isBcrypt(encoded string) bool {
	return len(encoded) > 3 && encoded[:2] == "$2" && strings.IndexByte("aby", encoded[2]) >= 0 && encoded[3] == '$'
}

// parseBcrypt reads $2b$10$ and 53 characters of salt and key.
func parseBcrypt(encoded string) (stored, error) {
	if len(encoded) != bcryptLength || encoded[6] != '$' {
		return nil, fmt.Errorf("%w: bcrypt is not of the form $2b$10$ and 53 characters", ErrFormat)
	}
	digits, rest := encoded[4:6], encoded[bcryptHeader:]
	if strings.Trim(digits, "0123456789") != "" {
		return nil, fmt.Errorf("%w: its bcrypt cost is no number", ErrFormat)
	}
	if strings.ContainsFunc(rest, notBcryptBase64) {
		return nil, fmt.Errorf("%w: its bcrypt salt or key is no valid base64", ErrFormat)
	}
	switch cost := int(digits[0]-'0')*10 + int(digits[1]-'0'); {
	case cost < bcrypt.MinCost:
		return nil, fmt.Errorf("%w: its bcrypt cost of %d is under %d", ErrFormat, cost, bcrypt.MinCost)
	case cost > maxBcryptCost:
		return nil, fmt.Errorf("%w: its bcrypt cost of %d is over %d", ErrCost, cost, maxBcryptCost)
	}
	return bcryptHash(encoded), nil
}

func notBcryptBase64(r rune) bool {
	return r != '.' && r != '/' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// matches cuts the password where every implementation of bcrypt stops reading,
// rather than let x/crypto decide whether a longer one is an error: the hash was
// made by an implementation that took it. The rehash that follows a login is of
// the whole password.
func (b bcryptHash) matches(password string) (bool, error) {
	key := []byte(password)
	err := bcrypt.CompareHashAndPassword([]byte(b), key[:min(len(key), bcryptReads)])
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return true, nil
}

func (bcryptHash) weakerThan(Params) bool { return true }
