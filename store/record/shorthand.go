// shorthand.go: one byte for the long fragments that nearly every record
// repeats. It saves a third of what a user and his session take on disk.

package record

import (
	"strings"
	"time"
)

// fragments are the long parts of User-Agents and password hashes; the n-th is
// written as byte n+1. The list may grow at its end (31 at most). Changing or
// moving an entry would misread records: that needs a new record format.
var fragments = []string{
	"$argon2id$v=19$m=19456,t=2,p=1$",
	"$argon2id$v=19$m=",
	"Mozilla/5.0 (",
	"Windows NT 10.0; Win64; x64",
	"Macintosh; Intel Mac OS X 10_15_7",
	"X11; Linux x86_64",
	"Linux; Android 10; K",
	"iPhone; CPU iPhone OS ",
	" like Mac OS X",
	") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
	") AppleWebKit/605.1.15 (KHTML, like Gecko) Version/",
	".0.0.0 Safari/537.36",
	".0.0.0 Mobile Safari/537.36",
	" Mobile/15E148 Safari/604.1",
	" Safari/605.1.15",
	") Gecko/20100101 Firefox/",
	" Edg/",
	"; rv:",
}

// rawMark begins a string with control characters, which is written as it is.
const rawMark = "\x00"

var shortener, lengthen = func() (*strings.Replacer, *strings.Replacer) {
	var short, long []string
	for i, f := range fragments {
		b := string(rune(i + 1))
		short, long = append(short, f, b), append(long, b, f)
	}
	return strings.NewReplacer(short...), strings.NewReplacer(long...)
}()

// ToShorthand writes the long fragments of a text as a byte each.
func ToShorthand(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
		return rawMark + s
	}
	return shortener.Replace(s)
}

// FromShorthand is what ToShorthand was given.
func FromShorthand(s string) string {
	if raw, ok := strings.CutPrefix(s, rawMark); ok {
		return raw
	}
	return lengthen.Replace(s)
}

// UnixSeconds is nil for the zero time: the record then leaves the field out, and
// the epoch stays a time like any other.
func UnixSeconds(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.Unix())
}

func fromUnixSeconds(s *int64) time.Time {
	if s == nil {
		return time.Time{}
	}
	return time.Unix(*s, 0).UTC()
}

func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMilli())
}

func fromMillis(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return time.UnixMilli(*ms).UTC()
}
