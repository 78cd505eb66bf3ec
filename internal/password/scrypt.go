// scrypt.go: verifying the scrypt hashes of Django and Authelia, and Firebase's, which
// encrypts the project's key with what scrypt makes of the password.

package password

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/scrypt"
)

const (
	// 128·N·r bytes are held while hashing: 256 MiB.
	maxScryptMemory = 1 << 21
	// N·r·p is what time goes with: some 5 s. Django's, of N=2^14, r=8, p=5, takes
	// a twenty-fifth of it.
	maxScryptWork = 1 << 24
	maxScryptN    = 1 << 20
	maxScryptRP   = 64
	// Firebase's key and hash are of 64 bytes, its salt of 10.
	maxFirebaseKey, maxFirebaseSalt = 64, 48
)

// scryptCost is the cost of a scrypt hash.
type scryptCost struct {
	n, r uint32
	p    uint8
}

// newScryptCost reads the three numbers and checks them.
func newScryptCost(n, r, p string) (scryptCost, error) {
	cost, nErr := decimal(n, 64)
	blocks, rErr := decimal(r, 64)
	lanes, pErr := decimal(p, 64)
	if err := cmp.Or(nErr, rErr, pErr); err != nil {
		return scryptCost{}, err
	}
	return checkScrypt(cost, blocks, lanes)
}

func checkScrypt(n, r, p uint64) (scryptCost, error) {
	switch {
	case n < 2 || n&(n-1) != 0 || r < 1 || p < 1:
		return scryptCost{}, fmt.Errorf("%w: scrypt's N is no power of 2, or its r or p is 0", ErrFormat)
	case n > maxScryptN || r > maxScryptRP || p > maxScryptRP:
		return scryptCost{}, fmt.Errorf("%w: its scrypt cost N=%d, r=%d, p=%d is over N=%d, r=%d, p=%d", ErrCost, n, r, p, maxScryptN, maxScryptRP, maxScryptRP)
	case n*r > maxScryptMemory || n*r*p > maxScryptWork:
		return scryptCost{}, fmt.Errorf("%w: its scrypt cost N=%d, r=%d, p=%d takes too much memory or time", ErrCost, n, r, p)
	}
	return scryptCost{n: uint32(n), r: uint32(r), p: uint8(p)}, nil
}

func (c scryptCost) work() uint64 { return uint64(c.n) * uint64(c.r) * uint64(c.p) }

// key computes in this process. The cost has been checked, so it can't fail.
func (c scryptCost) key(password, salt []byte, length int) []byte {
	key, _ := scrypt.Key(password, salt, int(c.n), int(c.r), int(c.p), length)
	return key
}

// derive computes where the second process says.
func (c scryptCost) derive(password string, salt []byte, length int) []byte {
	return theSecondProcess.compute(order{
		Kind: orderScrypt, Password: []byte(password), Salt: salt, Memory: c.n, Passes: c.r, Lanes: c.p,
		Length: uint32(length), //nolint:gosec // tens of bytes
	})
}

// scryptHash is a stored scrypt hash.
type scryptHash struct {
	cost      scryptCost
	salt, key []byte
	// signer is what Firebase encrypts with the key; nil in other hashes.
	signer []byte
}

// parseScrypt reads Django's scrypt$N$salt$r$p$key, of which the salt is used as it is
// written, and the PHC string $scrypt$ln=…,r=…,p=…$salt$key.
func parseScrypt(encoded string) (stored, error) {
	if strings.HasPrefix(encoded, "$") {
		return parsePHCScrypt(encoded)
	}
	part := strings.Split(encoded, "$")
	if len(part) != 6 {
		return nil, fmt.Errorf("%w: scrypt has not its five parts", ErrFormat)
	}
	cost, err := newScryptCost(part[1], part[3], part[4])
	if err != nil {
		return nil, err
	}
	key, err := unbase64(base64.StdEncoding, part[5])
	if err != nil {
		return nil, err
	}
	err = cmp.Or(within("salt", len(part[2]), 1, maxDjangoSalt), within("key", len(key), minKey, maxKey))
	if err != nil {
		return nil, err
	}
	return scryptHash{cost: cost, salt: []byte(part[2]), key: key}, nil
}

func parsePHCScrypt(encoded string) (stored, error) {
	part := strings.Split(encoded, "$")
	if len(part) != 5 {
		return nil, fmt.Errorf("%w: scrypt has not its three parts", ErrFormat)
	}
	value, err := namedValues(part[2], "ln", "r", "p")
	if err != nil {
		return nil, err
	}
	cost, err := newScryptCostOf2(value[0], value[1], value[2])
	if err != nil {
		return nil, err
	}
	salt, saltErr := unbase64(base64.RawStdEncoding, part[3])
	key, keyErr := unbase64(base64.RawStdEncoding, part[4])
	err = cmp.Or(saltErr, keyErr)
	if err == nil {
		err = cmp.Or(within("salt", len(salt), 1, maxSalt), within("key", len(key), minKey, maxKey))
	}
	if err != nil {
		return nil, err
	}
	return scryptHash{cost: cost, salt: salt, key: key}, nil
}

// newScryptCostOf2 is newScryptCost with the logarithm of N.
func newScryptCostOf2(log, r, p string) (scryptCost, error) {
	n, err := decimal(log, 64)
	if err != nil {
		return scryptCost{}, err
	}
	if n > 62 {
		return scryptCost{}, fmt.Errorf("%w: its scrypt cost N=2^%d is over %d", ErrCost, n, maxScryptN)
	}
	return newScryptCost(fmt.Sprint(uint64(1)<<n), r, p)
}

// namedValues reads a=…,b=…, all of them and in this order.
func namedValues(s string, names ...string) ([]string, error) {
	field := strings.Split(s, ",")
	if len(field) != len(names) {
		return nil, fmt.Errorf("%w: its parameters are not %s", ErrFormat, strings.Join(names, ", "))
	}
	for i, name := range names {
		value, ok := strings.CutPrefix(field[i], name+"=")
		if !ok {
			return nil, fmt.Errorf("%w: its parameters are not %s", ErrFormat, strings.Join(names, ", "))
		}
		field[i] = value
	}
	return field, nil
}

// parseFirebase reads $fbscrypt$v=1,n=14,r=8,p=1,ss=…,sk=…$salt$key as Supabase spells
// it: n is the logarithm of scrypt's N, ss what the project has after each salt, sk its
// key; all base64 is padded.
func parseFirebase(encoded string) (stored, error) {
	part := strings.Split(encoded, "$")
	if len(part) != 5 {
		return nil, fmt.Errorf("%w: fbscrypt has not its three parts", ErrFormat)
	}
	value, err := namedValues(part[2], "v", "n", "r", "p", "ss", "sk")
	if err != nil {
		return nil, err
	}
	if value[0] != "1" {
		return nil, fmt.Errorf("%w: fbscrypt is not of version 1", ErrFormat)
	}
	cost, err := newScryptCostOf2(value[1], value[2], value[3])
	if err != nil {
		return nil, err
	}
	var raw [4][]byte
	for i, text := range []string{value[4], value[5], part[3], part[4]} {
		if raw[i], err = unbase64(base64.StdEncoding, text); err != nil {
			return nil, err
		}
	}
	separator, signer, salt, key := raw[0], raw[1], raw[2], raw[3]
	err = cmp.Or(within("salt separator", len(separator), 0, maxFirebaseSalt), within("salt", len(salt), 1, maxFirebaseSalt),
		within("signer key", len(signer), minKey, maxFirebaseKey))
	if err != nil {
		return nil, err
	}
	if len(key) != len(signer) {
		return nil, fmt.Errorf("%w: its fbscrypt key has %d bytes, the signer key %d", ErrFormat, len(key), len(signer))
	}
	return scryptHash{cost: cost, salt: append(salt, separator...), key: key, signer: signer}, nil
}

func (s scryptHash) matches(password string) (bool, error) {
	if s.signer == nil {
		return subtle.ConstantTimeCompare(s.cost.derive(password, s.salt, len(s.key)), s.key) == 1, nil
	}
	const keySize = 32
	// The length of the key is AES's, so this doesn't fail.
	block, err := aes.NewCipher(s.cost.derive(password, s.salt, keySize))
	if err != nil {
		return false, fmt.Errorf("verify fbscrypt: %w", err)
	}
	key := make([]byte, len(s.signer))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(key, s.signer) //nolint:gosec // Firebase's IV; the key is another for each password and salt
	return subtle.ConstantTimeCompare(key, s.key) == 1, nil
}

func (scryptHash) weakerThan(Params) bool { return true }
