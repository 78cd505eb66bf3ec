// similar.go: whether a password is too much like what is known of its user.

package password

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Context is what is known of the user whose password is judged.
type Context struct {
	// UserValues are the user's own field values: username, e-mail address,
	// first and last name and so on.
	UserValues []string
}

// A password is too similar from 0.7 on, Django's default, written as a
// fraction so that the comparison is exact.
const similarNumerator, similarDenominator = 7, 10

// resembles reports whether password is too similar to a value or to a part of
// one, such as the local part of an e-mail address. Case does not count.
func (c Context) resembles(password string) bool {
	t := newTally(strings.ToLower(password))
	for _, value := range c.UserValues {
		value = strings.ToLower(value)
		if t.similar(value) {
			return true
		}
		for part := range strings.FieldsFuncSeq(value, notInWord) {
			if t.similar(part) {
				return true
			}
		}
	}
	return false
}

// notInWord separates the parts of a value: jane.doe@example.com has four.
func notInWord(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) && r != '_'
}

// tally counts the characters of the password. Similarity is the share of
// characters that two texts have in common regardless of their order (the
// Sørensen–Dice coefficient of the two multisets): 2 × common ÷ both lengths.
// It needs one look at each character, where comparing the order too would take
// the product of the lengths, which a 4 KiB password makes millions. Ignoring
// the order also catches what is merely turned round.
type tally struct {
	left   map[rune]int // how many of each are not yet matched
	length int          // in code points
}

func newTally(password string) tally {
	t := tally{left: make(map[rune]int)}
	for _, r := range password {
		t.left[r]++
		t.length++
	}
	return t
}

// similar reports whether text reaches the ratio. It leaves t as it was.
func (t tally) similar(text string) bool {
	length := utf8.RuneCountInString(text)
	// No more than the shorter is in common, so most parts end here.
	if length == 0 || !reaches(min(length, t.length), length+t.length) {
		return false
	}
	common := 0
	for _, r := range text {
		if t.left[r] > 0 {
			common++
		}
		t.left[r]-- // under zero: more than the password has
	}
	for _, r := range text {
		t.left[r]++
	}
	return reaches(common, length+t.length)
}

// reaches is 2 × common ÷ total ≥ 0.7.
func reaches(common, total int) bool {
	return 2*common*similarDenominator >= similarNumerator*total
}
