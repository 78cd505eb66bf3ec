// argon2id.go: Argon2id in the PHC string format, the one format that this
// package also writes, and Argon2i, which older systems have written.

package password

import (
	"cmp"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
)

const (
	argon2idPrefix  = "$argon2id$"
	argon2iPrefix   = "$argon2i$"
	argon2idVersion = "v=19" // RFC 9106; version 16 is an obsolete draft

	// What Hash makes: RFC 9106 section 3.1 recommends a 16-byte salt, section
	// 4 a 256-bit key.
	saltLength = 16
	keyLength  = 32

	// What Verify reads. 8 bytes of salt is the least the reference
	// implementation makes. Under 16 bytes of key, guessing the key would come
	// within reach of guessing the password.
	minSalt, maxSalt = 8, 64
	minKey, maxKey   = 16, 64
)

// argon2id is a stored Argon2id hash, or an Argon2i one.
type argon2id struct {
	i         bool
	params    Params
	salt, key []byte
}

// parseArgon2id reads $argon2id$v=19$m=…,t=…,p=…$salt$key.
func parseArgon2id(encoded string) (stored, error) {
	part := strings.Split(encoded, "$")
	if len(part) != 6 {
		return nil, fmt.Errorf("%w: argon2id has not its five parts", ErrFormat)
	}
	if part[2] != argon2idVersion {
		return nil, fmt.Errorf("%w: argon2id is not of version 19", ErrFormat)
	}
	p, err := parseArgon2idParams(part[3])
	if err != nil {
		return nil, err
	}
	salt, saltErr := unbase64(base64.RawStdEncoding, part[4])
	key, keyErr := unbase64(base64.RawStdEncoding, part[5])
	if err := cmp.Or(saltErr, keyErr); err != nil {
		return nil, err
	}
	err = cmp.Or(within("salt", len(salt), minSalt, maxSalt), within("key", len(key), minKey, maxKey))
	if err != nil {
		return nil, err
	}
	return argon2id{i: strings.HasPrefix(encoded, argon2iPrefix), params: p, salt: salt, key: key}, nil
}

// parseArgon2idParams reads m=…,t=…,p=…. The optional keyid and data of the PHC
// format are refused: they name a secret that this package does not hold.
func parseArgon2idParams(s string) (Params, error) {
	field := strings.Split(s, ",")
	if len(field) != 3 {
		return Params{}, fmt.Errorf("%w: argon2id parameters are not m, t and p", ErrFormat)
	}
	var n [3]uint64
	for i, want := range []struct {
		name string
		bits int
	}{{"m=", 32}, {"t=", 32}, {"p=", 8}} {
		digits, ok := strings.CutPrefix(field[i], want.name)
		if !ok {
			return Params{}, fmt.Errorf("%w: argon2id parameters are not m, t and p", ErrFormat)
		}
		var err error
		if n[i], err = decimal(digits, want.bits); err != nil {
			return Params{}, err
		}
	}
	p := Params{Memory: uint32(n[0]), Passes: uint32(n[1]), Lanes: uint8(n[2])} //nolint:gosec // decimal has checked their bits
	if err := p.tooCostly(); err != nil {
		return Params{}, fmt.Errorf("%w: %w", ErrCost, err)
	}
	// Under the floor there is no Argon2: x/crypto would panic, or silently
	// compute something else.
	if err := p.tooSmall(); err != nil {
		return Params{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return p, nil
}

func (a argon2id) derive(password string, length int) []byte {
	kind := orderArgon2id
	if a.i {
		kind = orderArgon2i
	}
	return theSecondProcess.compute(order{
		Kind: kind, Password: []byte(password), Salt: a.salt, Passes: a.params.Passes, Memory: a.params.Memory,
		Lanes: a.params.Lanes, Length: uint32(length), //nolint:gosec // tens of bytes
	})
}

func (a argon2id) encode() string {
	b64 := base64.RawStdEncoding.EncodeToString
	prefix := argon2idPrefix
	if a.i {
		prefix = argon2iPrefix
	}
	return fmt.Sprintf("%s%s$m=%d,t=%d,p=%d$%s$%s", prefix, argon2idVersion,
		a.params.Memory, a.params.Passes, a.params.Lanes, b64(a.salt), b64(a.key))
}

func (a argon2id) matches(password string) (bool, error) {
	return subtle.ConstantTimeCompare(a.derive(password, len(a.key)), a.key) == 1, nil
}

func (a argon2id) weakerThan(p Params) bool {
	return a.i || a.params.Memory < p.Memory || a.params.Passes < p.Passes ||
		len(a.salt) < saltLength || len(a.key) < keyLength
}

// dummy is a hash with params that belongs to nobody: a salt and key of zeroes,
// which cost the verifier what random ones do and cost nothing to make.
func dummy(params Params) string {
	return argon2id{params: params, salt: make([]byte, saltLength), key: make([]byte, keyLength)}.encode()
}
