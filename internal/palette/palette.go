// Package palette knows the colours of a site: whether people can read what is written in
// one, and what it becomes on a dark ground.
package palette

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Color is one of sRGB.
type Color struct{ R, G, B uint8 }

// An Accent is the colour of buttons and links, and that of the text on them, on a light
// and on a dark ground. The zero value is none.
type Accent struct{ Light, OnLight, Dark, OnDark Color }

// Default is the accent of a site that has chosen none; style.css has it too.
var Default = Accent{Color{0x24, 0x51, 0xc7}, white, Color{0x9d, 0xb8, 0xff}, ink}

// The grounds of pages and mails, each the one on which a colour is harder to read.
var (
	white       = Color{0xff, 0xff, 0xff}
	black       = Color{}
	ink         = Color{0x0c, 0x15, 0x30}
	lightGround = Color{0xf3, 0xf5, 0xf8}
	darkGround  = Color{0x18, 0x1e, 0x2a}
)

// readable is the least contrast between a text and its ground (WCAG 2.2, 1.4.3).
const readable = 4.5

// onDark is the contrast of an accent to the dark ground: what shines is read with less
// strain when there is more of it.
const onDark = 7

// Parse reads a colour of six hexadecimal digits, with or without # before them.
func Parse(text string) (Color, error) {
	digits := strings.TrimPrefix(text, "#")
	n, err := strconv.ParseUint(digits, 16, 24)
	if err != nil || len(digits) != 6 {
		return Color{}, fmt.Errorf("%.40q is no colour of six hexadecimal digits", text)
	}
	return Color{uint8(n >> 16), uint8(n >> 8 & 0xff), uint8(n & 0xff)}, nil
}

// String is the colour as CSS has it.
func (c Color) String() string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// NewAccent makes an accent of a colour that can be read on a light ground. The error names
// one nearby that can.
func NewAccent(c Color) (Accent, error) {
	if got := contrastOf(c, lightGround); got < readable {
		return Accent{}, fmt.Errorf("%s has a contrast of %.1f to 1 to the ground of the pages, and can't be read below %g; take a darker one, such as %s", c, math.Floor(got*10)/10, readable, c.until(black, lightGround, readable))
	}
	return Accent{Light: c, OnLight: white, Dark: c.until(white, darkGround, onDark), OnDark: ink}, nil
}

// until mixes a colour with another, until it has this contrast to the ground.
func (c Color) until(with, ground Color, contrast float64) Color {
	const steps = 100
	for i := range steps {
		if mixed := c.mix(with, float64(i)/steps); contrastOf(mixed, ground) >= contrast {
			return mixed
		}
	}
	return with
}

func (c Color) mix(with Color, share float64) Color {
	one := func(a, b uint8) uint8 { return uint8(math.Round(float64(a)*(1-share) + float64(b)*share)) }
	return Color{one(c.R, with.R), one(c.G, with.G), one(c.B, with.B)}
}

// contrastOf is that of two colours, from 1 (the same) to 21 (black on white), as WCAG 2.2
// defines it.
func contrastOf(a, b Color) float64 {
	one, other := a.luminance(), b.luminance()
	return (max(one, other) + 0.05) / (min(one, other) + 0.05)
}

// luminance is the relative luminance, from 0 to 1.
func (c Color) luminance() float64 {
	linear := func(channel uint8) float64 {
		v := float64(channel) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
}
