// token.go: how a token for programs looks, so that who finds one somewhere knows it for
// what it is.

// Package token knows what a token for programs looks like, and where on a site one that
// is limited to a path is good. It knows no accounts.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"
)

// A token is Prefix, 43 digits of base 62 with 256 random bits, and 6 with the CRC-32 of
// all before. Pattern finds one in a text; what Sum and Whole say no to is none.
const (
	Prefix  = "crt_"
	Pattern = `\bcrt_[0-9A-Za-z]{49}\b`

	bodyLength = 43
	sumLength  = 6
	length     = len(Prefix) + bodyLength + sumLength
)

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// New returns a token, and the hash that is stored.
func New() (text string, hash [32]byte) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand since Go 1.24)
	body := make([]byte, bodyLength)
	n, rest, base := new(big.Int).SetBytes(raw[:]), new(big.Int), big.NewInt(int64(len(digits)))
	for i := len(body) - 1; i >= 0; i-- {
		n.DivMod(n, base, rest)
		body[i] = digits[rest.Int64()]
	}
	text = Prefix + string(body)
	sum := sumOf([]byte(text))
	text += string(sum[:])
	hash, _ = Sum([]byte(text))
	return text, hash
}

// Is reports whether a text is meant to be a token for programs, good or not.
func Is(text []byte) bool { return len(text) >= len(Prefix) && string(text[:len(Prefix)]) == Prefix }

// Within reports whether a text, such as an address, has a whole token in it.
func Within(text string) bool {
	for {
		at := strings.Index(text, Prefix)
		if at < 0 || len(text)-at < length {
			return false
		}
		text = text[at:]
		if Whole([]byte(text[:length])) {
			return true
		}
		text = text[len(Prefix):]
	}
}

// Sum is the hash of a text that has the form of a token, whatever it ends with: for who has
// those that are good at hand. Others ask Whole, before they ask a store. It does not allocate, and
// takes bytes, so that who has decoded them need not either.
func Sum(text []byte) (hash [32]byte, ok bool) {
	if len(text) != length || !Is(text) {
		return hash, false
	}
	var buf [length]byte
	copy(buf[:], text)
	return sha256.Sum256(buf[:]), true
}

// Whole reports whether a text of which Sum is ok ends as a token does.
func Whole(text []byte) bool {
	sum := sumOf(text[:length-sumLength])
	return string(text[length-sumLength:]) == string(sum[:])
}

// sumOf is the checksum at the end of a token.
func sumOf(text []byte) (sum [sumLength]byte) {
	rest := ^uint32(0) // as crc32.ChecksumIEEE, which puts a copy of the text on the heap
	for i := range len(text) {
		rest = crc32.IEEETable[byte(rest&0xff)^text[i]] ^ rest>>8
	}
	rest = ^rest
	for i := len(sum) - 1; i >= 0; i-- {
		sum[i] = digits[rest%uint32(len(digits))]
		rest /= uint32(len(digits))
	}
	return sum
}
