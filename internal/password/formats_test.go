package password

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFormatOf(t *testing.T) {
	fresh, err := Hash("a password", Params{Memory: 8, Passes: 1, Lanes: 1})
	require.NoError(t, err)
	for encoded, want := range map[string]string{
		"": "", "x": "unknown", fresh: "argon2id", "pbkdf2_sha256$600000$salt$hash": "pbkdf2_sha256",
		"$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy": "bcrypt",
	} {
		require.Equal(t, want, FormatOf(encoded), encoded)
		require.Equal(t, want != "" && want != "unknown", slices.Contains(Formats(), want))
	}
}
