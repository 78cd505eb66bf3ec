// message.go: a message, and what takes it.

package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

	gomail "github.com/go-mail/mail"
	"github.com/k3a/html2text"

	"github.com/seed-928992b0/caddy-registration/internal/pattern"
)

// A Message is a rendered mail.
type Message struct {
	// ID is the Message-ID without its angle brackets. Required; a message that
	// is sent again keeps it.
	ID string
	// From and ReplyTo are RFC 5322 mailboxes, `a@example.com` or
	// `Name <a@example.com>`; To is a bare address. All addresses are ASCII, and
	// none has a quoted local part: few servers deliver these. ReplyTo may be
	// empty.
	From, ReplyTo, To string
	// Text may be empty where there is HTML: then it is derived from it, with
	// its URLs. HTML may be empty.
	Subject, Text, HTML string
	// Images are what the HTML shows by their IDs. They go along in the message, so that
	// opening it asks no server for anything.
	Images []Image
	// Date is when the message was written, not when it is sent. A message that
	// is sent again keeps it.
	Date time.Time
	// Language is a BCP 47 tag for Content-Language. Empty: no such header.
	Language string
}

// An Image is a part of a message that its HTML shows as cid:<ID> (RFC 2392).
type Image struct {
	// ID is a Content-ID without its angle brackets: plain ASCII with an @, of this
	// message alone. Required.
	ID string
	// Name is what a program calls it that saves it; Type its media type.
	Name, Type string
	Content    []byte
}

// A Mailer hands messages to the outside world. Implementations are guest
// modules in the namespace http.registration.mailers.
type Mailer interface {
	// Send delivers one message, or returns a *Error that says whose failure
	// it is. Any other error counts as temporary and about this message. After an
	// error the message may have been delivered all the same (an answer got
	// lost), so a message may arrive twice, never less than once.
	//
	// It is called by a few goroutines at a time: a message that takes long does
	// not hold up the others. The end of ctx cuts it off; where the cause is
	// ErrHandedOver, a server that has the whole message may be heard out.
	Send(ctx context.Context, m *Message) error
	// Close ends an idle connection. Send may be called again afterwards. Close
	// may be called while Send runs; what that uses is closed when it returns.
	Close() error
}

// A Pretender is a Mailer that can do the work of a message and not deliver it.
// The outbox asks it to where a stranger's act brings no mail, such as the reset
// for an unknown address: what is left to be done after an answer must not tell
// whether there is an account, by the disk that it keeps busy. What a mailer waits
// for, and the disk and the processor don't, need not be pretended.
type Pretender interface {
	// Pretend does what Send does, but for the delivery. Nothing of it stays.
	// It is called as Send is, and its failures have no consequence.
	Pretend(ctx context.Context, m *Message) error
}

// A Greeter is a Mailer that greets mail servers with a name. Before the first Send
// it is told the host of the site, in ASCII, as the default for that name.
type Greeter interface {
	GreetAs(host string)
}

// ErrHandedOver is the cause of the end of a context where the process goes on
// with another mailer.
var ErrHandedOver = errors.New("another configuration goes on with the mail")

// Error is a failed delivery and whose failure it is. With no flag set, this
// message is to be tried again later, and others go on.
type Error struct {
	// Permanent: this message will never be accepted; trying again is useless.
	// Never set together with Server.
	Permanent bool
	// Recipient, with Permanent: nobody reads mail at the recipient's address.
	Recipient bool
	// Server: the mail server as a whole can't be used (down, no TLS, sign-in or
	// sender refused). No message is to blame; all wait.
	Server bool
	// Refused: the server has said no for good (5xx), so that it will hardly say
	// anything else before somebody has fixed something.
	Refused bool
	// Line is the line of a Caddyfile that mends it; empty where none is known.
	Line string
	// Err is the cause. Its text is for the log and holds no password.
	Err error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func unmailable(format string, args ...any) error {
	return &Error{Permanent: true, Err: fmt.Errorf("this mail can't be written: "+format, args...)}
}

// File is a message as it goes out.
type File struct {
	From, To string // the envelope (RFC 5321): bare addresses
	Content  []byte
}

// Render builds the MIME message. It refuses, for good, whatever could add a
// header or a recipient; a sender that is no address is the configuration's
// fault, so that one makes all mail wait.
func (m *Message) Render() (*File, error) {
	for _, h := range []struct{ name, value string }{
		{"Message-ID", m.ID},
		{"From", m.From},
		{"Reply-To", m.ReplyTo},
		{"To", m.To},
		{"Subject", m.Subject},
		{"Content-Language", m.Language},
	} {
		if strings.ContainsAny(h.value, "\r\n\x00") {
			return nil, unmailable("its %s has a line break or a NUL", h.name)
		}
	}
	if m.ID == "" || !IsPlain(m.ID) {
		return nil, unmailable("%q is no Message-ID", m.ID)
	}
	to, err := ParseMailbox(m.To)
	if err != nil || to.Address != m.To {
		return nil, unmailable("its recipient is no bare address, such as a@example.com")
	}
	from, err := ParseMailbox(m.From)
	if err != nil {
		return nil, &Error{Server: true, Err: fmt.Errorf("the sender: %w; correct the setting from", err)}
	}
	text := m.PlainText()
	if text == "" && m.HTML == "" {
		return nil, unmailable("it has no text")
	}

	msg := gomail.NewMessage() // UTF-8, quoted-printable
	msg.SetAddressHeader("From", from.Address, oneSpace(from.Name))
	if m.ReplyTo != "" && m.ReplyTo != m.From {
		reply, err := ParseMailbox(m.ReplyTo)
		if err != nil {
			return nil, &Error{Server: true, Err: fmt.Errorf("the address for replies: %w; correct the setting reply_to", err)}
		}
		msg.SetAddressHeader("Reply-To", reply.Address, oneSpace(reply.Name))
	}
	msg.SetAddressHeader("To", to.Address, "")
	msg.SetHeader("Subject", oneSpace(m.Subject))
	msg.SetDateHeader("Date", m.Date)
	msg.SetHeader("Message-ID", "<"+m.ID+">")
	msg.SetHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	if m.Language != "" {
		msg.SetHeader("Content-Language", m.Language)
	}
	msg.SetBody("text/plain", text)
	if m.HTML != "" {
		msg.AddAlternative("text/html", m.HTML)
	}
	for _, image := range m.Images {
		if image.ID == "" || !IsPlain(image.ID+image.Name) || strings.ContainsAny(image.Type, "\r\n\x00") {
			return nil, unmailable("the ID, the name or the type of its image can't stand in a header")
		}
		msg.EmbedReader(image.Name, bytes.NewReader(image.Content), gomail.SetHeader(map[string][]string{
			"Content-ID": {"<" + image.ID + ">"}, "Content-Type": {image.Type + `; name="` + image.Name + `"`},
		}))
	}
	// Rendered as a whole before anything is sent: no half message goes out.
	var out bytes.Buffer
	_, _ = msg.WriteTo(&out) // a bytes.Buffer takes everything
	return &File{From: from.Address, To: to.Address, Content: out.Bytes()}, nil
}

// ParseMailbox parses one address, with or without a name. It is stricter than
// RFC 5322: what needs quotes or UTF-8 in the envelope is refused, so that
// nothing can break out of the angle brackets of RCPT TO:<…>.
func ParseMailbox(v string) (*mail.Address, error) {
	addr, err := mail.ParseAddress(v)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address: %w", v, err)
	}
	// mail.ParseAddress takes quotes away, around "a..b"@example.com too.
	if bare, err := mail.ParseAddress(addr.Address); err != nil || bare.Address != addr.Address || !IsPlain(addr.Address) {
		return nil, fmt.Errorf("%q has quotes, or is beyond ASCII, in its address, which many mail servers refuse; write a plain one (the domain as xn--…)", v)
	}
	return addr, nil
}

// IsPlain reports whether v can stand between angle brackets as it is.
func IsPlain(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"\<>(),;`, r)
	})
}

// oneSpace leaves one space between words. The library folds long header lines
// at any space, and a run of them into a blank line, which may end the headers.
func oneSpace(v string) string {
	return strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == '\t' }), " ")
}

// PlainText returns the text part, derived from the HTML where there is none.
func (m *Message) PlainText() string {
	if strings.TrimSpace(m.Text) != "" || m.HTML == "" {
		return m.Text
	}
	return strings.TrimSpace(html2text.HTML2TextWithOptions(plainHTML(m.HTML),
		html2text.WithUnixLineBreaks(), html2text.WithLinksInnerText(), html2text.WithListSupport())) + "\n"
}

// plainHTML takes out of HTML what html2text stumbles over. Of a link tag with
// a line break in it, or without a target, the library would swallow all that
// follows; it knows `<br>` and `<p>` only without attributes, and `<div>` and
// table rows not at all.
func plainHTML(html string) string {
	html = htmlComment().ReplaceAllString(html, "")
	return htmlTag().ReplaceAllStringFunc(html, func(tag string) string {
		part := htmlTag().FindStringSubmatch(tag)
		end, name := part[1], strings.ToLower(part[2])
		switch name {
		case "a":
			if end != "" {
				return "</a>"
			}
			href := htmlHref().FindStringSubmatch(part[3])
			if href == nil {
				return ""
			}
			// > would end the tag for the library, " the value.
			url := strings.NewReplacer(">", "%3E", `"`, "%22").Replace(strings.TrimSpace(href[1] + href[2] + href[3]))
			return `<a href="` + url + `">`
		case "div", "table", "tr", "section", "article", "header", "footer", "blockquote":
			name = "p"
		case "td", "th":
			return " "
		case "img":
			if alt := htmlAlt().FindStringSubmatch(part[3]); alt != nil {
				return alt[1] + alt[2]
			}
		}
		return "<" + end + name + ">"
	})
}

// Stopped reports, as an error, that ctx has ended.
func Stopped(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return &Error{Server: true, Err: fmt.Errorf("sending was stopped: %w", context.Cause(ctx))}
}

var (
	htmlComment = pattern.Of(`(?s)<!--.*?-->`)
	htmlTag     = pattern.Of(`<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:\s(?:"[^"]*"|'[^']*'|[^"'>])*)?)/?>`)
	htmlAlt     = pattern.Of(`(?i)\salt\s*=\s*(?:"([^"]*)"|'([^']*)')`)
	htmlHref    = pattern.Of(`(?i)\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))`)
)
