// Package steady counts how much time has passed for somebody who looks at the
// wall clock now and then and doesn't trust it: of a jump ahead, and of the time
// in which nobody looked, at most one step counts; of a jump back, nothing. What
// can't be undone waits for such a clock, so that a clock that is wrong for a
// moment does no harm.
package steady

import (
	"encoding/binary"
	"errors"
	"time"
)

// A Clock is what has to be kept between two looks. Its zero value has not been
// looked at yet. It is a plain value: not safe for concurrent use.
type Clock struct {
	// last is the wall clock at the last look, in Unix seconds; skipped is how
	// far this clock is behind it, in seconds.
	last, skipped int64
	begun         bool
}

// Look counts the time since the last look, at most step of it. A step under
// one second is one second.
func (c *Clock) Look(wall time.Time, step time.Duration) {
	now := wall.Unix()
	if c.begun {
		passed := now - c.last
		counts := min(max(passed, 0), max(1, int64(step/time.Second)))
		c.skipped += passed - counts
	}
	c.last, c.begun = now, true
}

// Last is what the wall clock said at the last look, zero where there was none.
func (c *Clock) Last() time.Time {
	if !c.begun {
		return time.Time{}
	}
	return time.Unix(c.last, 0).UTC()
}

// At is this clock's reading for a moment of the wall clock since the last look.
func (c *Clock) At(wall time.Time) time.Time {
	return time.Unix(wall.Unix()-c.skipped, 0).UTC()
}

// size is that of the two numbers in bytes.
const size = 16

// MarshalBinary implements encoding.BinaryMarshaler.
func (c *Clock) MarshalBinary() ([]byte, error) {
	if !c.begun {
		return nil, nil
	}
	out := binary.BigEndian.AppendUint64(nil, uint64(c.last))         //nolint:gosec // the bits are meant
	return binary.BigEndian.AppendUint64(out, uint64(c.skipped)), nil //nolint:gosec // the bits are meant
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. No bytes are a clock
// that has not been looked at.
func (c *Clock) UnmarshalBinary(data []byte) error {
	switch len(data) {
	case 0:
		*c = Clock{}
		return nil
	case size:
		*c = Clock{last: int64(binary.BigEndian.Uint64(data)), skipped: int64(binary.BigEndian.Uint64(data[8:])), begun: true} //nolint:gosec // as above, back again
		return nil
	}
	return errors.New("a steady clock has 16 bytes")
}
