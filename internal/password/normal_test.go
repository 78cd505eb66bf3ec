// normal_test.go: one password, however a keyboard writes it, and the hashes that
// were made before passwords were normalised.

package password

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNormal(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"ASCII", "correct horse ~!", "correct horse ~!"},
		{"nothing", "", ""},
		{"NFD", "Zu\u0308rich e\u0301te\u0301", "Z\u00fcrich \u00e9t\u00e9"},
		{"NFC", "Z\u00fcrich", "Z\u00fcrich"},
		{"other spaces", "one\u00a0two\u3000three\u2009four", "one two three four"},
		{"spaces at the ends", " a ", " a "},
		{"no other case, no other width", "\uff21bC\u00df", "\uff21bC\u00df"},
		{"Hangul", "\u1112\u1161\u11ab", "\ud55c"},
		{"Angstrom sign", "\u212b", "\u00c5"},
		{"control characters: as bytes", "u\u0308\tx", "u\u0308\tx"},
		{"unassigned: as bytes", "u\u0308\U0003ffff", "u\u0308\U0003ffff"},
		{"no UTF-8: as bytes", "u\u0308\xff", "u\u0308\xff"},
		{"too long: as bytes", strings.Repeat("u\u0308", MaxLength), strings.Repeat("u\u0308", MaxLength)},
		{"would grow too long: as bytes", strings.Repeat("\u0958", MaxLength/3), strings.Repeat("\u0958", MaxLength/3)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, Normal(c.in))
			require.Equal(t, c.want, Normal(Normal(c.in)), "once is enough")
		})
	}
}

// counted is a hash that counts how often it is computed.
type counted struct {
	is    string
	tries int
}

func (c *counted) matches(password string) (bool, error) { c.tries++; return password == c.is, nil }

func (c *counted) weakerThan(Params) bool { return false }

// The normal form is the first try, the bytes as they came are the second, and how
// many there are for a wrong one hangs on the password alone.
func TestTries(t *testing.T) {
	cases := []struct {
		name, stored, typed string
		ok, other           bool
		tries               int
	}{
		{"ASCII", "secret", "secret", true, false, 1},
		{"ASCII, wrong", "secret", "Secret", false, false, 1},
		{"NFC of NFC", "\u00fc", "\u00fc", true, false, 1},
		{"NFC of NFD", "\u00fc", "u\u0308", true, false, 1},
		{"an old hash of NFD", "u\u0308", "u\u0308", true, true, 2},
		{"an old hash of NFD, typed in NFC", "u\u0308", "\u00fc", false, false, 1},
		{"wrong, in NFD", "x", "u\u0308", false, false, 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			hash := &counted{is: c.stored}
			ok, other, err := matchesAny(hash, candidates(c.typed))
			require.NoError(t, err)
			require.Equal(t, c.ok, ok)
			require.Equal(t, c.other, other)
			require.Equal(t, c.tries, hash.tries)
		})
	}
}

// An old hash is made anew of the normal form, so that the other spelling is good
// from then on.
func TestPoolRenewsAHashOfOtherBytes(t *testing.T) {
	const nfd, nfc = "passphrase in Zu\u0308rich", "passphrase in Z\u00fcrich"
	p := NewPool(limits(1, 1, 0))
	old := newHash(nfd, cheap)
	ok, rehashed, err := p.VerifyAndRehash(t.Context(), old, nfc, cheap)
	require.NoError(t, err)
	require.False(t, ok, "nobody knows the bytes")
	require.Empty(t, rehashed)
	ok, rehashed, err = p.VerifyAndRehash(t.Context(), old, nfd, cheap)
	require.NoError(t, err)
	require.True(t, ok)
	require.NotEmpty(t, rehashed)
	for _, typed := range []string{nfd, nfc} {
		ok, again, err := p.VerifyAndRehash(t.Context(), rehashed, typed, cheap)
		require.NoError(t, err)
		require.True(t, ok, typed)
		require.Empty(t, again, typed)
	}
	fresh, err := p.Hash(t.Context(), nfd, cheap)
	require.NoError(t, err)
	ok, err = Verify(fresh, nfc)
	require.NoError(t, err)
	require.True(t, ok)
}

func TestValidatorsJudgeTheNormalForm(t *testing.T) {
	v := Validators{MinLength: 8}
	require.NotEmpty(t, v.Validate("u\u0308u\u0308u\u0308u\u0308", nil), "four letters")
	v = Validators{Similar: true}
	require.NotEmpty(t, v.Validate("Zu\u0308rich", []string{"z\u00fcrich"}))
	require.NotEmpty(t, v.Validate("Z\u00fcrich", []string{"zu\u0308rich"}), "a name of an old store")
}
