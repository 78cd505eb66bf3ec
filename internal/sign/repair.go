// repair.go: what mail programs and services do to a link, undone: an ampersand left
// as its HTML entity, the full stop or the bracket behind it, line breaks, the marks
// of quoted-printable, escapes of escapes. What a signature covers is unchanged.

package sign

import (
	"net/url"
	"strings"
)

// The sizes of what a link carries, in bytes.
const (
	sizeUserID    = 36
	sizeSignature = 43
)

// repairRounds bounds the escapes of escapes that are undone.
const repairRounds = 3

// RepairQuery parses the query of a mailed link as it was opened. A query in order is
// parsed as url.Values would have it, but for the values that RepairParam fixes.
func RepairQuery(raw string) url.Values {
	var values url.Values
	for range repairRounds {
		for range repairRounds {
			raw = entities.Replace(raw)
		}
		if n := strings.Count(raw, "="); n > 1 && n == strings.Count(raw, "=3D") { // quoted-printable; a timestamp begins otherwise
			raw = strings.ReplaceAll(raw, "=3D", "=")
		}
		values, _ = url.ParseQuery(raw) // what can be read of it, as net/http does
		plain, err := url.QueryUnescape(strings.ReplaceAll(raw, "+", "%2B"))
		if err != nil || plain == raw || !escapedWhole(values) {
			break
		}
		raw = plain
	}
	for name, all := range values {
		for i := range all {
			all[i] = RepairParam(name, all[i])
		}
	}
	return values
}

var entities = strings.NewReplacer("&amp;", "&", "&AMP;", "&", "&#38;", "&", "&#038;", "&", "&#x26;", "&", "&#X26;", "&")

// escapedWhole reports whether a query was escaped once more than it should be, so
// that one parameter has the others within it.
func escapedWhole(values url.Values) bool {
	if values.Has(ParamSignature) {
		return false
	}
	for name, all := range values {
		if name == ParamNext || len(all) == 0 { // it may have a link of its own within it
			continue
		}
		if strings.Contains(name, ParamSignature) || strings.Contains(all[len(all)-1], "&"+ParamSignature+"=") {
			return true
		}
	}
	return false
}

// RepairParam returns a part of a mailed link without what was added to it on its way.
// A value that is none of a link's comes back as it is.
func RepairParam(name, value string) string {
	if len(value) > 4*MaxSignature && name != ParamEmail {
		return value // no link of ours, whatever is taken away
	}
	switch name {
	case ParamUserID, ParamFactor:
		return onlyOf(value, sizeUserID, "-", isHex)
	case ParamSignIn:
		return onlyOf(value, SizeSignIn, "-", isHex)
	case ParamSignature:
		return onlyOf(value, sizeSignature, "-_", isBase64URL)
	case ParamTimestamp:
		return onlyOf(strings.TrimPrefix(value, "3D"), len(value), "", isDigit)
	case ParamEmail:
		return repairEmail(value)
	}
	return value
}

// onlyOf takes line breaks and what stands around a value away: blanks and equals
// signs within it, anything before and after it, the escaped equals sign of
// quoted-printable before one that is whole, and beyond the size what may trail.
func onlyOf(value string, size int, trail string, is func(byte) bool) string {
	plain := strings.Map(func(r rune) rune {
		if r <= ' ' || r == '=' || r == 0x7f {
			return -1
		}
		return r
	}, value)
	start := 0
	for start < len(plain) && !is(plain[start]) {
		start++
	}
	end := start
	for end < len(plain) && is(plain[end]) {
		end++
	}
	plain = plain[start:end]
	if len(plain) >= size+len("3D") {
		if rest, ok := strings.CutPrefix(plain, "3D"); ok && strings.Trim(rest[size:], trail) == "" {
			plain = rest
		}
	}
	if len(plain) > size && strings.Trim(plain[size:], trail) == "" {
		plain = plain[:size]
	}
	return plain
}

// repairEmail is an address without brackets around it; the blank of a plus sign that
// was not escaped is one again.
func repairEmail(value string) string {
	if !strings.Contains(value, "@") {
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
	}
	value = strings.TrimRight(strings.TrimLeft(strings.TrimSpace(value), `<("'`), `>)"'.,;`)
	return strings.ReplaceAll(value, " ", "+")
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' || c == '-'
}

func isBase64URL(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_'
}
