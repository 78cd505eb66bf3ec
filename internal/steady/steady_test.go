package steady

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClock(t *testing.T) {
	const step = 20 * time.Minute
	start := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for name, c := range map[string]struct {
		walks  []time.Duration // of the wall clock, with a look after each
		passed time.Duration
	}{
		"steps count":                  {[]time.Duration{10 * time.Minute, 10 * time.Minute, step}, 40 * time.Minute},
		"a jump ahead is one step":     {[]time.Duration{365 * 24 * time.Hour}, step},
		"a jump back is nothing":       {[]time.Duration{-365 * 24 * time.Hour}, 0},
		"ahead, back, and on":          {[]time.Duration{30 * 24 * time.Hour, -30 * 24 * time.Hour, time.Minute}, step + time.Minute},
		"back, ahead, and on":          {[]time.Duration{-time.Hour, time.Hour, time.Minute}, step + time.Minute},
		"no look for days is one step": {[]time.Duration{4 * 24 * time.Hour, 10 * time.Minute}, 30 * time.Minute},
		"never back":                   {[]time.Duration{time.Minute, -time.Hour, -time.Hour, time.Minute}, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			var clock Clock
			require.Equal(t, start, clock.At(start), "before the first look it is the wall clock")
			wall := start
			require.Zero(t, clock.Last())
			clock.Look(wall, step)
			require.Equal(t, wall, clock.Last())
			before := clock.At(wall)
			for _, d := range c.walks {
				wall = wall.Add(d)
				clock.Look(wall, step)
				require.False(t, clock.At(wall).Before(before))
				before = clock.At(wall)
				raw, err := clock.MarshalBinary()
				require.NoError(t, err)
				clock = Clock{}
				require.NoError(t, clock.UnmarshalBinary(raw), "it is kept from look to look")
			}
			require.Equal(t, c.passed, clock.At(wall).Sub(start))
		})
	}
	var none Clock
	raw, err := none.MarshalBinary()
	require.NoError(t, err)
	require.Empty(t, raw)
	require.NoError(t, none.UnmarshalBinary(nil))
	require.Error(t, none.UnmarshalBinary([]byte("short")))
}
