// palette_test.go: the contrasts that WCAG names, and that each accent can be read on
// both grounds.

package palette

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{ // "" means refused
		"#7a1f5c": "#7a1f5c", "7A1F5C": "#7a1f5c", "000000": "#000000", "#FFFFFF": "#ffffff",
		"": "", "#": "", "fff": "", "#fff": "", "#7a1f5c00": "", "##7a1f5": "", "7a1f5g": "", "-a1f5c": "", "+a1f5c": "", "0x1f5c": "", "red": "", "7a1f5c;": "", "7_1f5c": "",
	} {
		c, err := Parse(in)
		if want == "" {
			require.Error(t, err, in)
			continue
		}
		require.NoError(t, err, in)
		require.Equal(t, want, c.String())
	}
}

func TestContrast(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want float64
	}{{"000000", "ffffff", 21}, {"ffffff", "000000", 21}, {"123456", "123456", 1}, {"767676", "ffffff", 4.54}, {"777777", "ffffff", 4.48}, {"ff0000", "ffffff", 4}} {
		a, err := Parse(c.a)
		require.NoError(t, err)
		b, err := Parse(c.b)
		require.NoError(t, err)
		require.InDelta(t, c.want, contrastOf(a, b), 0.01, c)
	}
}

// Whatever an owner takes, his buttons and links can be read in light and in dark.
func TestEveryAccentIsReadable(t *testing.T) {
	taken, refused := 0, 0
	for r := 0; r <= 255; r += 17 {
		for g := 0; g <= 255; g += 17 {
			for b := 0; b <= 255; b += 17 {
				c := Color{uint8(r), uint8(g), uint8(b)}
				a, err := NewAccent(c)
				if err != nil {
					refused++
					require.Less(t, contrastOf(c, lightGround), readable)
					require.ErrorContains(t, err, "darker one, such as #")
					suggested := c.until(black, lightGround, readable)
					_, err = NewAccent(suggested)
					require.NoError(t, err, "what the error of %s says", c)
					continue
				}
				taken++
				for _, pair := range [][2]Color{{a.Light, lightGround}, {a.Light, white}, {a.OnLight, a.Light}, {a.Dark, darkGround}, {a.OnDark, a.Dark}} {
					require.GreaterOrEqual(t, contrastOf(pair[0], pair[1]), readable, "%s: %s", c, pair)
				}
			}
		}
	}
	require.Positive(t, taken)
	require.Positive(t, refused)
	for _, pair := range [][2]Color{{Default.Light, lightGround}, {Default.OnLight, Default.Light}, {Default.Dark, darkGround}, {Default.OnDark, Default.Dark}} {
		require.GreaterOrEqual(t, contrastOf(pair[0], pair[1]), readable, "the default: %s", pair)
	}
	_, err := NewAccent(Color{0xff, 0xcc, 0})
	require.EqualError(t, err, "#ffcc00 has a contrast of 1.3 to 1 to the ground of the pages, and can't be read below 4.5; take a darker one, such as #876c00")
	require.Equal(t, black, white.until(black, black, 30), "no contrast is as large")
}
