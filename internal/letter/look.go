// look.go: how a mail looks: its colours, and the picture that stands for the site. That
// goes along in each, so that no server learns when somebody opens one.

package letter

import (
	"bytes"
	"cmp"
	htmltemplate "html/template"
	"image"
	_ "image/gif" // what mail programs show
	_ "image/jpeg"
	_ "image/png"
	"os"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"github.com/seed-928992b0/caddy-registration/internal/palette"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Accent is the colour of buttons and links.
func (d MailData) Accent() string { return d.colors().Light.String() }

// OnAccent is the colour of what is written on the accent.
func (d MailData) OnAccent() string { return d.colors().OnLight.String() }

// AccentDark is Accent where the mail is shown in dark colours.
func (d MailData) AccentDark() string { return d.colors().Dark.String() }

// OnAccentDark is OnAccent where the mail is shown in dark colours.
func (d MailData) OnAccentDark() string { return d.colors().OnDark.String() }

func (d MailData) colors() palette.Accent { return cmp.Or(d.accent, palette.Default) }

// MailLogo is the picture of the site as a template can mention it.
type MailLogo struct {
	// Source is its address within the message.
	Source htmltemplate.URL
	// Width and Height are in CSS pixels.
	Width, Height int
}

// Bounds of a logo in a mail. Each message carries it.
const (
	maxLogo       = 64 << 10 // bytes
	maxLogoWidth  = 192
	maxLogoHeight = 40
)

// A logo is a picture that is small and that mail programs show.
type logo struct {
	width, height int
	format        string
	content       []byte
}

// readLogo reads a picture, or returns nil where mails had better do without it: the pages
// say what is wrong with a file that can't be read.
func readLogo(file string) *logo {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxLogo {
		return nil
	}
	content, err := os.ReadFile(file) //nolint:gosec // the owner names it
	if err != nil {
		return nil
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(content))
	if err != nil || config.Width == 0 || config.Height == 0 {
		return nil
	}
	l := &logo{config.Width, config.Height, format, content}
	if l.height > maxLogoHeight {
		l.width, l.height = max(1, l.width*maxLogoHeight/l.height), maxLogoHeight
	}
	if l.width > maxLogoWidth {
		l.width, l.height = maxLogoWidth, max(1, l.height*maxLogoWidth/l.width)
	}
	return l
}

// id is the Content-ID of the picture in a message.
func (*logo) id(m *store.Mail) string { return "logo." + m.MessageID }

// of is the picture as the message's template mentions it; nil: there is none.
func (l *logo) of(m *store.Mail) *MailLogo {
	if l == nil {
		return nil
	}
	return &MailLogo{Source: htmltemplate.URL("cid:" + l.id(m)), Width: l.width, Height: l.height} //nolint:gosec // an address of our own making
}

// in is the picture as a part of the message, where its HTML shows it.
func (l *logo) in(m *store.Mail, html string) []mail.Image {
	if l == nil || !strings.Contains(html, "cid:"+l.id(m)) {
		return nil
	}
	return []mail.Image{{ID: l.id(m), Name: "logo." + l.format, Type: "image/" + l.format, Content: l.content}}
}

// columns is how many a plain-text mail has.
const columns = 72

// wrap breaks a text at 72 columns, as plain-text mail is read: at its spaces, but none
// that forbids it, and where Chinese and Japanese have none, between their characters.
func wrap(text string) string {
	var out strings.Builder
	column := 0
	for i, word := range strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) && !noBreak(r) }) {
		for j, piece := range unspaced(word) {
			gap := 0
			if i > 0 && j == 0 {
				gap = 1
			}
			wide := widthOf(piece)
			switch {
			case i+j == 0:
			case column+gap+wide > columns:
				out.WriteByte('\n')
				column, gap = 0, 0
			case gap > 0:
				out.WriteByte(' ')
			}
			out.WriteString(piece)
			column += gap + wide
		}
	}
	return out.String()
}

// widthOf is how many columns a text takes: two for each character that is as wide as high.
func widthOf(text string) (n int) {
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf): // on or between the others
		case width.LookupRune(r).Kind() == width.EastAsianWide, width.LookupRune(r).Kind() == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// unspaced are the pieces of a word between which a line may end.
func unspaced(word string) (pieces []string) {
	begin, before := 0, rune(-1)
	for i, r := range word {
		if i > 0 && (isUnspaced(before) || isUnspaced(r)) && !keepsNext(before) && !keepsLast(r) {
			pieces = append(pieces, word[begin:i])
			begin = i
		}
		before = r
	}
	return append(pieces, word[begin:])
}

// isUnspaced reports a character of a script that has no spaces between words.
func isUnspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r >= 0x3000 && r <= 0x303f || r >= 0xff00 && r <= 0xffef
}

// keepsNext reports what no line ends with; keepsLast, what none begins with.
func keepsNext(r rune) bool {
	return noBreak(r) || unicode.In(r, unicode.Ps, unicode.Pi, unicode.Cf)
}

func keepsLast(r rune) bool {
	return noBreak(r) || unicode.In(r, unicode.Pe, unicode.Pf, unicode.Po, unicode.Mn, unicode.Cf) || strings.ContainsRune("ーぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ々〻〜", r)
}
