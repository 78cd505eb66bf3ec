// members_test.go: the form in which texts are compared.

package store

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// What is ASCII takes a shorter way to the same.
func TestFoldOfASCII(t *testing.T) {
	var all strings.Builder
	for c := range byte(0x80) {
		all.WriteByte(c)
		text := string(rune(c))
		require.Equal(t, norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text))), Fold(text), "%#x", c)
	}
	require.Equal(t, norm.NFKC.String(cases.Fold().String(all.String())), Fold(all.String()))
	for text, want := range map[string]string{"": "", "ÅSA": "åsa", "Straße": "strasse", "ﬁN": "fin", "ꭰ": "Ꭰ", "Ǆ": "dž"} {
		require.Equal(t, want, Fold(text), text)
	}
}

func TestSearchTexts(t *testing.T) {
	require.Empty(t, SearchTexts(&User{}))
	require.Equal(t, []string{"ada", "ada@example.org", "ada lovelace", "lovelace"}, SearchTexts(&User{Username: "Ada", Email: "ADA@example.org", FirstName: "Ada", LastName: "Lovelace"}))
	require.Equal(t, []string{"lovelace"}, SearchTexts(&User{Username: "Lovelace", LastName: "lovelace"}), "each once")
}

func TestStates(t *testing.T) {
	for want, u := range map[string]*User{
		StateActive: {IsActive: true}, StateDisabled: {}, StateWaiting: {AwaitsApproval: true}, StateUnconfirmed: {AwaitsVerification: true, AwaitsApproval: true},
	} {
		require.Equal(t, want, u.State())
	}
}
