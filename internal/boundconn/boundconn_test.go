package boundconn

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConn(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { require.NoError(t, ours.Close()) }()
	go func() { _, _ = io.Copy(theirs, strings.NewReader(strings.Repeat("x", 1<<20))) }()
	c := New(ours, 3<<10)
	var tooLong *TooLongError
	for range 2 { // what was read in one reply is not held against the next
		got, err := io.ReadAll(c)
		require.ErrorAs(t, err, &tooLong)
		require.EqualError(t, err, "what it says is endless, over 3 KiB")
		require.Len(t, got, 3<<10)
		n, err := c.Read(make([]byte, 1))
		require.ErrorAs(t, err, &tooLong, "and it stays so")
		require.Zero(t, n)
		c.Allow(3 << 10)
	}
	n, err := c.Read(nil)
	require.NoError(t, err)
	require.Zero(t, n)
	small := make([]byte, 10)
	n, err = io.ReadFull(c, small)
	require.NoError(t, err)
	require.Equal(t, 10, n)
}
