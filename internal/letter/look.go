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
	"unicode/utf8"

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

// wrap breaks a text at 72 columns, as plain-text mail is read, and at no space that forbids it.
func wrap(text string) string {
	var out strings.Builder
	column := 0
	for i, word := range strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) && !noBreak(r) }) {
		width := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+width > 72:
			out.WriteByte('\n')
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += width
	}
	return out.String()
}
