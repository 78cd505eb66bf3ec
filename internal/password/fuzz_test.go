// fuzz_test.go: whatever stands in a store or an import, reading it ends in a
// verdict within the caps.

package password

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzVerify(f *testing.F) {
	for _, k := range knownAnswers {
		f.Add(k.encoded, k.password)
	}
	for _, r := range refused {
		f.Add(r.encoded, "password")
	}
	for _, k := range foreignAnswers {
		f.Add(k.encoded, foreignPassword)
		f.Add(wrappedPrefix+k.encoded+dummy(cheap), foreignPassword)
	}
	for _, r := range foreignRefused {
		f.Add(r.encoded, "password")
	}
	f.Add(dummy(cheap), "password")
	f.Fuzz(func(t *testing.T, encoded, password string) {
		s, err := parse(encoded)
		if err != nil {
			require.NotEqual(t, errors.Is(err, ErrFormat), errors.Is(err, ErrCost), "one or the other: %v", err)
			ok, verifyErr := Verify(encoded, password)
			require.False(t, ok)
			require.Equal(t, err, verifyErr)
			require.True(t, NeedsRehash(encoded, cheap))
			return
		}
		require.LessOrEqual(t, len(encoded), maxEncoded)
		if !withinCaps(t, s, encoded) {
			return
		}
		_, err = Verify(encoded, password)
		require.NoError(t, err, "what parses can be verified")
	})
}

// withinCaps checks what a parsed hash promises, and says whether it is also
// cheap enough to be computed here.
func withinCaps(t *testing.T, s stored, encoded string) (alsoCheap bool) {
	encoded = Respell(encoded)
	switch s := s.(type) {
	case argon2id:
		require.NoError(t, s.params.Validate())
		require.Equal(t, encoded, s.encode(), "a hash has one spelling")
		return uint64(s.params.Memory)*uint64(s.params.Passes) <= 1024
	case bcryptHash:
		cost := s.encoded[4:6]
		require.True(t, cost >= "04" && cost <= "16", cost)
		return cost <= "05"
	case scryptHash:
		require.LessOrEqual(t, s.cost.work(), uint64(maxScryptWork))
		require.LessOrEqual(t, s.cost.n*s.cost.r, uint32(maxScryptMemory))
		return s.cost.work() <= 1024
	case wrapped:
		return withinCaps(t, s.outer, s.outer.encode()) && quick(s.inner.settings)
	case digested:
		require.True(t, strings.HasPrefix(encoded, s.settings[:2]))
		return quick(s.settings)
	}
	t.Fatalf("no such format: %T", s)
	return false
}

// quick says whether the numbers in a digest's settings are small enough for here.
func quick(settings string) bool {
	many := regexp.MustCompile(`[0-9]{5}|^\$[PH]\$[^56]`)
	return !many.MatchString(settings)
}
