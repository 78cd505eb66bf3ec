// validators_test.go: what the validators refuse and let pass.

package password

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// defaultValidators asks for 8 characters, the least that NIST SP 800-63B
// allows, and turns every check on. Its revision 4 (2025) asks for 15 where
// nothing but the password guards the account.
var defaultValidators = Validators{MinLength: 8, Numeric: true, Common: true, Similar: true}

func codes(failures []Failure) []string {
	out := []string{}
	for _, f := range failures {
		out = append(out, f.Code)
	}
	return out
}

func TestValidate(t *testing.T) {
	user := []string{"jane", "jane.doe@example.com", "Jane", "Dœ-Smith", ""}
	for _, tt := range []struct {
		name, password string
		validators     Validators
		want           []string
	}{
		{"sound", "correct horse", defaultValidators, []string{}},
		{"empty", "", defaultValidators, []string{CodeTooShort}},
		{"seven", "xk4!p9z", defaultValidators, []string{CodeTooShort}},
		{"eight", "xk4!p9zw", defaultValidators, []string{}},
		{"code points, not bytes", "日本語日本語日", defaultValidators, []string{CodeTooShort}},
		{"eight code points", "日本語かなカナ字", defaultValidators, []string{}},
		{"eight bad bytes", strings.Repeat("\xff", 8), defaultValidators, []string{}},
		{"digits", "8249571630", defaultValidators, []string{CodeEntirelyNumeric}},
		{"arabic digits", "٨٢٤٩٥٧١٦٣٠", defaultValidators, []string{CodeEntirelyNumeric}},
		{"digits and a space", "82495 71630", defaultValidators, []string{}},
		{"common", "password1", defaultValidators, []string{CodeTooCommon}},
		{"common, upper case", "PassWord1", defaultValidators, []string{CodeTooCommon}},
		{"common, spaces around", "  password1\t", defaultValidators, []string{CodeTooCommon}},
		{"common, space within", "z k.lovemom", defaultValidators, []string{CodeTooCommon}},
		{"first on the list", "123456", Validators{Common: true}, []string{CodeTooCommon}},
		{"last on the list", "chobits", Validators{Common: true}, []string{CodeTooCommon}},
		{"part of an entry", "asswor", Validators{Common: true}, []string{}},
		{"nothing is not common", " ", Validators{Common: true}, []string{}},
		{"neighbours on the list", "123456\npassword", Validators{Common: true}, []string{}},
		{"all at once", "123456", defaultValidators, []string{CodeTooShort, CodeEntirelyNumeric, CodeTooCommon}},
		{"none on", "1", Validators{}, []string{}},
		{"the e-mail address", "jane.doe@example.com", defaultValidators, []string{CodeTooSimilar}},
		{"case", "JANE.DOE@EXAMPLE.COM", defaultValidators, []string{CodeTooSimilar}},
		{"a part", "Jane1", Validators{Similar: true}, []string{CodeTooSimilar}},
		{"a part turned round", "elpmaxe1", defaultValidators, []string{CodeTooSimilar}},
		{"a part among much else", "jane-and-a-horse", defaultValidators, []string{}},
		{"unicode", "smithDŒ", Validators{Similar: true}, []string{CodeTooSimilar}},
		{"similar off", "jane.doe@example.com", Validators{MinLength: 8}, []string{}},
		{"nothing is not similar", "", Validators{Similar: true}, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, codes(tt.validators.Validate(tt.password, user)))
		})
	}
}

func TestValidateParams(t *testing.T) {
	got := Validators{MinLength: 12, Numeric: true}.Validate("12345", nil)
	require.Equal(t, []Failure{
		{Code: "password_too_short", Params: map[string]any{"min": 12}},
		{Code: "password_entirely_numeric"},
	}, got)
	require.Nil(t, defaultValidators.Validate("correct horse", nil))
}

// The boundary is 2 × common ÷ both lengths ≥ 0.7.
func TestSimilarBoundary(t *testing.T) {
	for _, tt := range []struct {
		name, password, value string
		want                  bool
	}{
		{"same", "abcdefghij", "abcdefghij", true},
		{"exactly 0.7", "abcdefgxyz", "abcdefg123", true},
		{"0.6", "abcdefwxyz", "abcdef1234", false},
		{"just under", "abcdefghijk", "abcdefg123", false}, // 14/21
		{"contained, long enough", "abcdefgxyzuv", "abcdefg", true},
		{"contained, too short", "abcdefgxyzuvw1", "abcdefg", false},
		{"a repeated letter counts once", "aaaaaaaaaa", "abbbbbbbbb", false},
		{"repeated alike", "aaaaaaabbb", "aaaaaaaccc", true},
		{"one letter", "a", "a", true},
		{"separators only", "...", "---", false},
		{"underscore joins", "first", "first_name", false},
		{"whole value with separators", "a-b-c-d-e-f", "a-b-c-d-e-f", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, Context{UserValues: []string{tt.value}}.resembles(tt.password))
		})
	}
}

func TestSimilarLeavesTheTallyAsItWas(t *testing.T) {
	// Near misses first: had they used letters up, the last would not match.
	values := []string{"abcdefwxyz", "hgfedcba...", "zzzzzzzzzz", "abcd12345", "abcdefghij"}
	require.True(t, Context{UserValues: values}.resembles("klmnoabcdefghij"[5:]))

	tally := newTally("aabbcc")
	require.False(t, tally.similar("aaaxyz"))
	require.Equal(t, 2, tally.left['a'])
	require.Zero(t, tally.left['x'])
}

// The count and the digest are those of COMMON.md. The list is said to have
// 20 000 entries; it has some fewer.
func TestCommonList(t *testing.T) {
	sum := sha256.Sum256(commonGzip)
	digest := hex.EncodeToString(sum[:])
	require.Equal(t, "a73d3d14f1e9ee570a18232dc1edfd129dc9c0da4315da2b69ad6d92914a6fe6", digest)
	notice, err := os.ReadFile("COMMON.md")
	require.NoError(t, err)
	require.Contains(t, string(notice), digest)
	require.Contains(t, string(notice), "19 727")

	list := commonList()
	require.Len(t, list, 19_727)
	seen := make(map[string]bool, len(list))
	for _, entry := range list {
		require.NotEmpty(t, entry)
		require.Equal(t, strings.ToLower(strings.TrimSpace(entry)), entry, "it would never be found")
		require.False(t, seen[entry], "%q is there twice", entry)
		seen[entry] = true
		if !isCommon(entry) {
			t.Errorf("%q is not found", entry)
		}
	}
}

func TestLoadCommonBroken(t *testing.T) {
	_, err := loadCommon([]byte("this is not gzip"))
	require.ErrorIs(t, err, gzip.ErrHeader)

	half := bytes.Clone(commonGzip[:len(commonGzip)/2])
	_, err = loadCommon(half)
	require.Error(t, err)
	require.Panics(t, func() { must(loadCommon(half)) })
}
