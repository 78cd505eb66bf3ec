// token_test.go: what a token looks like, and what is none.

package token

import (
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTokenIsFoundByItsPattern(t *testing.T) {
	find := regexp.MustCompile(Pattern)
	seen := map[string]bool{}
	for range 200 {
		text, hash := New()
		require.Len(t, text, length)
		require.False(t, seen[text])
		seen[text] = true
		require.True(t, Is([]byte(text)))
		require.Equal(t, text, find.FindString("password = \""+text+"\"\n"))
		again, ok := hashOf(text)
		require.True(t, ok)
		require.Equal(t, hash, again)
		require.Equal(t, hash, sha256.Sum256([]byte(text)))
		sum := big.NewInt(int64(crc32.ChecksumIEEE([]byte(text[:length-sumLength])))).Text(62)
		require.Equal(t, strings.Repeat("0", sumLength-len(sum))+swapCase(sum), text[length-sumLength:])
	}
}

// hashOf is the hash of a text that is a token as a whole.
func hashOf(text string) (hash [32]byte, ok bool) {
	hash, ok = Sum([]byte(text))
	return hash, ok && Whole([]byte(text))
}

// swapCase makes our digits of those of math/big, which has the small letters first.
func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

func TestWhatIsNoToken(t *testing.T) {
	text, _ := New()
	other := "A"
	if strings.HasSuffix(text, other) {
		other = "B"
	}
	for name, wrong := range map[string]string{
		"nothing": "", "a session's": strings.Repeat("a", 43), "cut short": text[:len(text)-1], "too long": text + "a", "another prefix": "crx_" + text[4:],
		"a digit changed": text[:len(text)-1] + other, "in capitals": strings.ToUpper(text[:4]) + text[4:], "the prefix alone": Prefix,
	} {
		_, ok := hashOf(wrong)
		require.False(t, ok, name)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = hashOf(text) }))
}

func TestWithin(t *testing.T) {
	text, _ := New()
	for _, address := range []string{text, "/x?access_token=" + text, "/feed/" + text + "/", "crt_x/crt_crt_" + text + "#", text + text} {
		require.True(t, Within(address), address)
	}
	for _, address := range []string{"", "crt_", text[:len(text)-1], "/x?crt_=" + text[4:], text[:20] + "-" + text[20:]} {
		require.False(t, Within(address), address)
	}
}
