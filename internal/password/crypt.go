// crypt.go: the hashes of crypt(3) that repeat a digest: SHA-256 and SHA-512 of Linux,
// MD5 in its two spellings, and PHPass.

package password

import (
	"crypto/md5" //nolint:gosec // what other systems made with it is verified, and wrapped before it is kept
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"strings"
)

const (
	// crypt(3) takes no longer password; each round digests all of it.
	maxCryptPassword = 512
	// Drepper's specification lets nobody go under 1000, and makes 5000 where nothing is
	// said. Authelia made 50 000; the cap ends at some 2 s, and 5 for the longest passwords.
	minSHARounds, defaultSHARounds, maxSHARounds = 1000, 5000, 1_000_000
	maxCryptSalt                                 = 16
	// PHPass has the logarithm of its rounds; WordPress makes 13. The cap takes 9 ms,
	// and half a second for the longest passwords.
	minPHPassRounds, maxPHPassRounds = 7, 16
	phpassSalt                       = 8
)

const crypt64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// The orders in which crypt(3) writes the bytes of a digest: three after another, the
// first in the highest bits. What is left over at the end stands alone.
var (
	sha256Order = []int{
		0, 10, 20, 21, 1, 11, 12, 22, 2, 3, 13, 23, 24, 4, 14, 15, 25, 5, 6, 16, 26, 27, 7, 17, 18, 28, 8, 9, 19, 29, 31, 30,
	}
	sha512Order = []int{
		0, 21, 42, 22, 43, 1, 44, 2, 23, 3, 24, 45, 25, 46, 4, 47, 5, 26, 6, 27, 48, 28, 49, 7, 50, 8, 29, 9, 30, 51, 31, 52,
		10, 53, 11, 32, 12, 33, 54, 34, 55, 13, 56, 14, 35, 15, 36, 57, 37, 58, 16, 59, 17, 38, 18, 39, 60, 40, 61, 19, 62, 20, 41, 63,
	}
	md5Order    = []int{0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5, 11}
	phpassOrder = []int{2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, 14, 13, 12, 15}
)

// encodeCrypt64 writes a digest in the order, six bits a character, the lowest first.
func encodeCrypt64(digest []byte, order []int) string {
	var out []byte
	for rest := order; len(rest) > 0; {
		n := min(3, len(rest))
		var bits uint
		for _, at := range rest[:n] {
			bits = bits<<8 | uint(digest[at])
		}
		rest = rest[n:]
		for range n + 1 {
			out = append(out, crypt64[bits&63])
			bits >>= 6
		}
	}
	return string(out)
}

// decodeCrypt64 reads what encodeCrypt64 writes, strictly.
func decodeCrypt64(text string, order []int) ([]byte, error) {
	wrong := fmt.Errorf("%w: its key is not of the length or the letters of its format", ErrFormat)
	digest := make([]byte, len(order))
	rest := text
	for left := order; len(left) > 0; {
		n := min(3, len(left))
		if len(rest) < n+1 {
			return nil, wrong
		}
		var bits uint
		for i := n; i >= 0; i-- {
			value := strings.IndexByte(crypt64, rest[i])
			if value < 0 {
				return nil, wrong
			}
			bits = bits<<6 | uint(value)
		}
		for i := n - 1; i >= 0; i-- {
			digest[left[i]] = byte(bits)
			bits >>= 8
		}
		left, rest = left[n:], rest[n+1:]
	}
	if rest != "" || encodeCrypt64(digest, order) != text {
		return nil, wrong
	}
	return digest, nil
}

// cryptSalt checks a salt of crypt(3).
func cryptSalt(salt string, least int) error {
	if strings.ContainsFunc(salt, func(r rune) bool { return r < '!' || r > '~' || r == ':' }) {
		return fmt.Errorf("%w: its salt has letters that crypt(3) doesn't know", ErrFormat)
	}
	return within("salt", len(salt), least, maxCryptSalt)
}

// readSHACrypt reads $5$salt$key and $5$rounds=…$salt$key, and $6$ likewise.
func readSHACrypt(encoded string, bare bool) (digested, error) {
	digester, order := sha256.New, sha256Order
	if strings.HasPrefix(encoded, "$6$") {
		digester, order = sha512.New, sha512Order
	}
	part := strings.Split(encoded[3:], "$")
	rounds := uint64(defaultSHARounds)
	if digits, ok := strings.CutPrefix(part[0], "rounds="); ok {
		var err error
		if rounds, err = decimal(digits, 64); err != nil {
			return digested{}, err
		}
		part = part[1:]
	}
	if len(part) != 2 {
		return digested{}, fmt.Errorf("%w: sha-crypt has not its parts: salt and key", ErrFormat)
	}
	switch {
	case rounds < minSHARounds:
		return digested{}, fmt.Errorf("%w: its %d sha-crypt rounds are under %d", ErrFormat, rounds, minSHARounds)
	case rounds > maxSHARounds:
		return digested{}, fmt.Errorf("%w: its %d sha-crypt rounds are over %d", ErrCost, rounds, maxSHARounds)
	}
	if err := cryptSalt(part[0], 0); err != nil {
		return digested{}, err
	}
	d := digested{
		settings: strings.TrimSuffix(encoded, part[1]), fast: rounds < slowIterations, heavy: rounds > easySHARounds,
		digest: func(password string) ([]byte, error) {
			if len(password) > maxCryptPassword {
				return nil, nil
			}
			return shaCrypt(digester, []byte(password), []byte(part[0]), int(rounds)), nil //nolint:gosec // bounded above
		},
	}
	return d.withKey(part[1], bare, func(text string) ([]byte, error) { return decodeCrypt64(text, order) })
}

// shaCrypt is the algorithm of Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512".
func shaCrypt(digester func() hash.Hash, key, salt []byte, rounds int) []byte {
	sum := func(parts ...[]byte) []byte {
		h := digester()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	repeated := func(digest []byte, length int) []byte {
		var out []byte
		for length > len(out) {
			out = append(out, digest[:min(len(digest), length-len(out))]...)
		}
		return out
	}
	b := sum(key, salt, key)
	h := digester()
	h.Write(key)
	h.Write(salt)
	h.Write(repeated(b, len(key)))
	for n := len(key); n > 0; n >>= 1 {
		if n&1 != 0 {
			h.Write(b)
		} else {
			h.Write(key)
		}
	}
	digest := h.Sum(nil)
	h.Reset()
	for range key {
		h.Write(key)
	}
	p := repeated(h.Sum(nil), len(key))
	h.Reset()
	for range 16 + int(digest[0]) {
		h.Write(salt)
	}
	s := repeated(h.Sum(nil), len(salt))
	return mixRounds(h, digest, p, s, rounds)
}

// mixRounds is what SHA and MD5 of crypt(3) do in each round.
func mixRounds(h hash.Hash, digest, password, salt []byte, rounds int) []byte {
	for i := range rounds {
		h.Reset()
		first, last := digest, password
		if i&1 != 0 {
			first, last = password, digest
		}
		h.Write(first)
		if i%3 != 0 {
			h.Write(salt)
		}
		if i%7 != 0 {
			h.Write(password)
		}
		h.Write(last)
		digest = h.Sum(digest[:0])
	}
	return digest
}

// newMD5 and newSHA1 verify what other systems made with them.
var newMD5 = md5.New

// readMD5Crypt reads $1$salt$key and $apr1$salt$key.
func readMD5Crypt(encoded string, bare bool) (digested, error) {
	part := strings.Split(encoded, "$")
	if len(part) != 4 {
		return digested{}, fmt.Errorf("%w: %s has not its parts: salt and key", ErrFormat, part[1])
	}
	magic, salt := "$"+part[1]+"$", part[2]
	if err := cryptSalt(salt, 0); err != nil {
		return digested{}, err
	}
	if len(salt) > 8 {
		return digested{}, fmt.Errorf("%w: its salt has %d letters, at most 8 are used", ErrFormat, len(salt))
	}
	d := digested{
		settings: magic + salt + "$", fast: true,
		digest: func(password string) ([]byte, error) { return md5Crypt(magic, []byte(password), []byte(salt)), nil },
	}
	return d.withKey(part[3], bare, func(text string) ([]byte, error) { return decodeCrypt64(text, md5Order) })
}

// md5Crypt is Poul-Henning Kamp's algorithm; Apache's differs in its magic alone.
func md5Crypt(magic string, key, salt []byte) []byte {
	h := newMD5()
	h.Write(key)
	h.Write(salt)
	h.Write(key)
	inner := h.Sum(nil)
	h.Reset()
	h.Write(key)
	h.Write([]byte(magic))
	h.Write(salt)
	for n := len(key); n > 0; n -= len(inner) {
		h.Write(inner[:min(n, len(inner))])
	}
	for n := len(key); n > 0; n >>= 1 {
		if n&1 != 0 {
			h.Write([]byte{0})
		} else {
			h.Write(key[:1])
		}
	}
	return mixRounds(h, h.Sum(nil), key, salt, 1000)
}

// readPHPass reads $P$ or $H$, a letter for the logarithm of the rounds, 8 of salt and 22
// of key.
func readPHPass(encoded string, bare bool) (digested, error) {
	const head = len("$P$B") + phpassSalt
	if len(encoded) < head {
		return digested{}, fmt.Errorf("%w: phpass is too short", ErrFormat)
	}
	settings, salt := encoded[:head], encoded[head-phpassSalt:head]
	if strings.ContainsFunc(settings[3:], notCrypt64) {
		return digested{}, fmt.Errorf("%w: phpass has letters that it doesn't know", ErrFormat)
	}
	switch rounds := strings.IndexByte(crypt64, encoded[3]); {
	case rounds < minPHPassRounds:
		return digested{}, fmt.Errorf("%w: phpass has 2^%d rounds, under 2^%d", ErrFormat, rounds, minPHPassRounds)
	case rounds > maxPHPassRounds:
		return digested{}, fmt.Errorf("%w: its 2^%d phpass rounds are over 2^%d", ErrCost, rounds, maxPHPassRounds)
	default:
		d := digested{
			settings: settings, fast: true,
			digest: func(password string) ([]byte, error) {
				h := newMD5()
				h.Write([]byte(salt + password))
				sum := h.Sum(nil)
				for range 1 << rounds {
					h.Reset()
					h.Write(sum)
					h.Write([]byte(password))
					sum = h.Sum(sum[:0])
				}
				return sum, nil
			},
		}
		return d.withKey(encoded[head:], bare, func(text string) ([]byte, error) { return decodeCrypt64(text, phpassOrder) })
	}
}
