// members.go: which accounts an owner looks for: what a store finds by its indexes, page
// by page, and in which form texts are compared.

package store

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The states of an account. Each has one of them.
const (
	StateActive = "active"
	// StateUnconfirmed is that of an account that awaits its verification.
	StateUnconfirmed = "unconfirmed"
	// StateWaiting is that of an account that awaits its approval, confirmed already
	// where that is asked for.
	StateWaiting = "waiting"
	// StateClosing is that of an account that its owner has closed: it will be gone.
	StateClosing  = "closing"
	StateDisabled = "disabled"
)

// State is the account's state.
func (u *User) State() string {
	switch {
	case u.AwaitsVerification:
		return StateUnconfirmed
	case u.AwaitsApproval:
		return StateWaiting
	case u.IsActive:
		return StateActive
	case !u.LeavesAt.IsZero():
		return StateClosing
	}
	return StateDisabled
}

// MembersRead bounds the accounts, and the entries of indexes, that one page of Members
// looks at, so that no filter holds a transaction for long.
const MembersRead = 2_000

// MembersCounted is up to which number CountMembers is exact.
const MembersCounted = 1_000

// A MemberQuery says which accounts are wanted. Its zero values leave out nothing;
// those that aren't zero have all to be met.
type MemberQuery struct {
	// Search is the beginning of a text of SearchTexts, in any case.
	Search string
	// State is one of the states.
	State string
	// Group is the name of a group, letter by letter.
	Group string
	// Newest walks from the largest id to the smallest. A search has an order of its
	// own and takes no notice of it.
	Newest bool
	// After is the Next of the page before; empty: from the beginning. Without a Search,
	// it is an id as text, whether there is such an account or not.
	After string
	// Limit is how many accounts a page has at most.
	Limit int
}

// A MemberPage is a part of the accounts.
type MemberPage struct {
	Users []*User
	// Next is the After of the next page; empty: this was the last one. A page may have
	// fewer accounts than Limit, even none, and still a Next: see MembersRead.
	Next string
}

// A MemberCount is a number of accounts.
type MemberCount struct {
	N int
	// More says that there are more than N, which is then at least MembersCounted.
	More bool
}

// SearchTexts are the texts of an account by whose beginning it is found, each in the form
// of Fold, without empty ones and without repetition: username, address, first and last
// name together, last name, and further addresses.
func SearchTexts(u *User) []string {
	texts := make([]string, 0, 4)
	for _, text := range append([]string{u.Username, u.Email, strings.TrimSpace(u.FirstName + " " + u.LastName), u.LastName}, u.FurtherEmails...) {
		if text == "" {
			continue
		}
		if text = Fold(text); text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// SameSearchTexts reports whether two accounts surely have the same SearchTexts, without
// folding them; nil is nobody, who has none that are known.
func SameSearchTexts(a, b *User) bool {
	return a != nil && b != nil && a.Username == b.Username && a.Email == b.Email && a.FirstName == b.FirstName && a.LastName == b.LastName &&
		slices.Equal(a.FurtherEmails, b.FurtherEmails)
}

// maxIndexedText bounds what an index has of a text, in bytes.
const maxIndexedText = 64

// IndexedText is the beginning of a folded text as an index of them has it. It has no NUL,
// which may end it there.
func IndexedText(text string) string {
	text = strings.ReplaceAll(text, "\x00", " ")
	if len(text) <= maxIndexedText {
		return text
	}
	end := maxIndexedText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// Fold is the form in which texts are compared without regard to case: case-folded NFKC.
func Fold(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return strings.ToLower(text) // the same, and nothing is copied where there is no capital
	}
	return norm.NFKC.String(strings.Map(foldCherokee, cases.Fold().String(norm.NFKC.String(text))))
}

// FoldVersion changes when Fold may give something else for the same text: an index of
// such texts has to be built anew.
const FoldVersion = norm.Version + "/" + cases.UnicodeVersion

// foldCherokee makes up for x/text, whose Fold swaps the cases of Cherokee
// instead of folding them; Unicode folds this script to upper case.
func foldCherokee(r rune) rune {
	if unicode.Is(unicode.Cherokee, r) {
		return unicode.ToUpper(r)
	}
	return r
}

// countedAtOnce is how many accounts CountUsers reads in one transaction.
const countedAtOnce = 500

// CountUsers reads all accounts, a part of them in a transaction each, and counts those
// that match.
func CountUsers(ctx context.Context, db Store, match func(*User) bool) (n int, err error) {
	for after := uuid.Nil; ; {
		var users []*User
		if err := db.View(ctx, func(tx Tx) (err error) { users, err = tx.Users(after, countedAtOnce); return err }); err != nil {
			return 0, err
		}
		for _, u := range users {
			if after = u.ID; match(u) {
				n++
			}
		}
		if len(users) < countedAtOnce {
			return n, nil
		}
	}
}
