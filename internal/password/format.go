// format.go: what all formats of stored hashes share: what can be asked of a parsed one,
// and the reading of numbers and base64.

package password

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// stored is one parsed hash, known to be within the caps.
type stored interface {
	// matches is the costly part: it hashes password and compares.
	matches(password string) (bool, error)
	// weakerThan says whether a Hash with p would be stronger.
	weakerThan(p Params) bool
}

// maxEncoded is over the longest hash that the caps on its parts allow, so that
// a huge string is refused before it is taken apart.
const maxEncoded = 512

// decimal reads a number as the PHC string format writes it: digits only,
// without sign or leading zero, so that a hash has one spelling. A number that
// does not fit is ErrCost: whatever it stands for, it is over the cap.
func decimal(s string, bits int) (uint64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" || (s[0] == '0' && s != "0") {
		return 0, fmt.Errorf("%w: a cost parameter is no plain decimal number", ErrFormat)
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%w: a cost parameter is too large", ErrCost)
	}
	return n, nil
}

// unbase64 decodes strictly: unlike encoding/base64 alone it refuses line
// breaks, and unlike its default also stray bits at the end, so that a hash has
// one spelling.
func unbase64(enc *base64.Encoding, s string) ([]byte, error) {
	b, err := enc.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("%w: its salt or key is no valid base64", ErrFormat)
	}
	return b, nil
}

// hexadecimal decodes digits and small letters.
func hexadecimal(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || strings.ContainsAny(s, "ABCDEF") {
		return nil, fmt.Errorf("%w: its key is no valid hexadecimal", ErrFormat)
	}
	return b, nil
}

// within says that a length lies out of bounds, or nil.
func within(what string, n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("%w: its %s has %d bytes, not %d to %d", ErrCost, what, n, least, most)
	}
	return nil
}
