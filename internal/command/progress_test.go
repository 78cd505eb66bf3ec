// progress_test.go: the line that says how far a command is.

package command

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressIsShownAfterASecond(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var out bytes.Buffer
	p := newProgress(&out, func() time.Time { return now })
	p.at(1<<20, 4<<20)
	now = now.Add(time.Minute)
	p.at(2<<20, 4<<20)
	p.end()
	require.Empty(t, out.String(), "it is no terminal")

	p = &progress{out: &out, now: func() time.Time { return now }, began: now}
	p.at(1<<20, 4<<20)
	require.Empty(t, out.String(), "what is soon done needs none")
	now = now.Add(2 * time.Second)
	p.at(2<<20, 4<<20)
	require.Contains(t, out.String(), "50 % of 4.0 MiB, 2s left; 2.0 MiB, 1.0 MiB a second")
	shown := out.Len()
	now = now.Add(progressEvery / 2)
	p.at(3<<20, 4<<20)
	require.Equal(t, shown, out.Len(), "not at each step")
	now = now.Add(time.Second)
	p.at(3<<20, -1)
	require.Contains(t, out.String()[shown:], "3.0 MiB, ")
	p.end()
	require.True(t, bytes.HasSuffix(out.Bytes(), []byte("\r\x1b[K")), "it goes")
}
