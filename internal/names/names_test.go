package names

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	for _, name := range []string{".", "..", "...", ".ssh", "-rf", "--"} {
		require.True(t, BadStart(name), name)
	}
	for _, name := range []string{"", "a.", "a-b", "_x", "+1", "@x", "9"} {
		require.False(t, BadStart(name), name)
	}
	for _, name := range []string{"01890a5d-ac96-774b-bcce-b302099a8057", "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5dac96774bbcceb302099a8057"} {
		require.True(t, IsUUID(name), name)
	}
	require.False(t, IsUUID("01890a5d-ac96-774b-bcce-b302099a805"))
	for _, name := range []string{"admin", "root", "postmaster", "null", "undefined"} {
		require.True(t, Reserved(name), name)
	}
	require.False(t, Reserved("ada"))
}
