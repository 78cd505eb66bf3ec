// safe.go: which names may be shown in their script.

package hostname

import (
	"strings"
	"unicode"
)

// together are the scripts that are written in one word, besides one alone: what
// UTS 39 (5.2) calls highly restrictive.
var together = [][]*unicode.RangeTable{
	{unicode.Latin, unicode.Han, unicode.Hiragana, unicode.Katakana},
	{unicode.Latin, unicode.Han, unicode.Bopomofo},
	{unicode.Latin, unicode.Han, unicode.Hangul},
}

// alike are the letters of Cyrillic and Greek that look like Latin ones: a label of
// them alone, such as the Cyrillic "аррӏе", reads as another name.
const alike = "асԁеһіјӏорԛѕԝхуъьҽпгѵѡԍмтвкνοαικρυωηχτ"

// safe reports whether no label of a name could be taken for another name: each is in
// one script, or in those that are written together, and not all of its letters are
// Latin ones by their looks.
func safe(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if !isASCII(label) && (!oneWriting(label) || likeLatin(label)) {
			return false
		}
	}
	return true
}

func oneWriting(label string) bool {
	for _, scripts := range together {
		if within(label, scripts...) {
			return true
		}
	}
	for _, script := range unicode.Scripts {
		if script != unicode.Common && script != unicode.Inherited && within(label, script) {
			return true
		}
	}
	return false
}

func within(label string, scripts ...*unicode.RangeTable) bool {
	return !strings.ContainsFunc(label, func(r rune) bool {
		return !unicode.In(r, scripts...) && !unicode.In(r, unicode.Common, unicode.Inherited)
	})
}

func likeLatin(label string) bool {
	return !strings.ContainsFunc(label, func(r rune) bool { return unicode.IsLetter(r) && !strings.ContainsRune(alike, r) })
}
