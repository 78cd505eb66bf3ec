// direction.go: languages that are written from right to left, and values among them that
// are written the other way.

package text

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/unicode/bidi"
)

// What dir is in HTML.
const (
	LeftToRight = "ltr"
	RightToLeft = "rtl"
)

// fromRightToLeft are the scripts that are written so, by ISO 15924.
var fromRightToLeft = map[string]bool{
	"Adlm": true, "Arab": true, "Hebr": true, "Mand": true, "Mend": true, "Nkoo": true, "Rohg": true, "Samr": true, "Syrc": true, "Thaa": true, "Yezi": true,
}

// directionOf is the direction of what is written in a language, by its script.
func directionOf(tag language.Tag) string {
	script, _ := tag.Script()
	if fromRightToLeft[script.String()] {
		return RightToLeft
	}
	return LeftToRight
}

// The marks around a value that keep what is written in the other direction from moving its
// neighbours (Unicode Standard Annex #9); in HTML, <bdi> does the same.
const (
	firstStrongIsolate    = "\u2068"
	popDirectionalIsolate = "\u2069"
)

// Plain is the language for texts that programs show which may know nothing of directions:
// in one from left to right, values stand there without marks.
func (l *Locale) Plain() *Locale {
	plain := *l
	plain.plain = true
	return &plain
}

// isolated is a value as it stands in a text: between marks where it has letters of the other
// direction. What turns directions in a value from elsewhere is left out of it.
func (l *Locale) isolated(value string, foreign bool) string {
	if !l.runsAgainst(value) {
		return value
	}
	if foreign {
		value = strings.Map(func(r rune) rune {
			if turnsDirection(r) {
				return -1
			}
			return r
		}, value)
	}
	return firstStrongIsolate + value + popDirectionalIsolate
}

// runsAgainst reports whether a value has a letter that is written in the other direction
// than the language.
func (l *Locale) runsAgainst(value string) bool {
	rtl := l.Dir == RightToLeft
	if l.plain && !rtl {
		return false
	}
	for i := 0; i < len(value); {
		if b := value[i]; b < utf8.RuneSelf {
			if rtl && (b|0x20 >= 'a' && b|0x20 <= 'z') {
				return true
			}
			i++
			continue
		}
		p, size := bidi.LookupString(value[i:])
		switch p.Class() { //nolint:exhaustive // the others are of no direction
		case bidi.L:
			if rtl {
				return true
			}
		case bidi.R, bidi.AL:
			if !rtl {
				return true
			}
		}
		i += max(size, 1)
	}
	return false
}

// turnsDirection reports whether a character has no other use than to change the direction of
// those around it.
func turnsDirection(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// KeepIsolates takes the marks of direction out of a line of text that is shown among others,
// such as the subject of a mail, but for isolates that all end in it.
func KeepIsolates(line string) string {
	depth, whole := 0, true
	for _, r := range line {
		switch string(r) {
		case firstStrongIsolate:
			depth++
		case popDirectionalIsolate:
			depth--
		}
		whole = whole && depth >= 0
	}
	whole = whole && depth == 0
	return strings.Map(func(r rune) rune {
		isolate := string(r) == firstStrongIsolate || string(r) == popDirectionalIsolate
		if turnsDirection(r) && (!isolate || !whole) {
			return -1
		}
		return r
	}, line)
}
