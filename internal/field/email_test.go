package field

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The two forms of a domain are one address, and hyphens are no mark but in xn--.
func TestEmailDomains(t *testing.T) {
	for in, want := range map[string]string{"a@Bücher.example": "a@xn--bcher-kva.example", "a@xn--bcher-kva.example": "a@xn--bcher-kva.example", "a@ab--cd.example": "a@ab--cd.example"} {
		got, ok := parseEmail(in)
		require.True(t, ok, in)
		require.Equal(t, want, got)
	}
	require.Equal(t, EmailKey("a@BÜCHER.example"), EmailKey("a@xn--bcher-kva.example"))
	for _, bad := range []string{"a@-b.example", "a@b-.example", "a@b_c.example"} {
		_, ok := parseEmail(bad)
		require.False(t, ok, bad)
	}
}
