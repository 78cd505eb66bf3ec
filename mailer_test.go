// mailer_test.go: the MIME message, its defence against injected headers, and
// the mailers log and file.

package registration_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
)

// parsedMail is what a recipient's program makes of a mail.
type parsedMail struct {
	header netmail.Header
	parts  map[string]string // decoded, by media type
}

func parseMail(t testing.TB, raw []byte) *parsedMail {
	t.Helper()
	msg, err := netmail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	out := &parsedMail{header: msg.Header, parts: map[string]string{}}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	require.NoError(t, err)
	if kind != "multipart/alternative" {
		require.Equal(t, "quoted-printable", msg.Header.Get("Content-Transfer-Encoding"))
		body, err := io.ReadAll(quotedprintable.NewReader(msg.Body))
		require.NoError(t, err)
		out.parts[kind] = string(body)
		return out
	}
	for r := multipart.NewReader(msg.Body, params["boundary"]); ; {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		require.NoError(t, err)
		require.Equal(t, "UTF-8", params["charset"])
		body, err := io.ReadAll(part)
		require.NoError(t, err)
		out.parts[kind] = string(body)
	}
}

func decodedHeader(t testing.TB, v string) string {
	t.Helper()
	out, err := new(mime.WordDecoder).DecodeHeader(v)
	require.NoError(t, err)
	return out
}

func checkAMail(t testing.TB, raw []byte) {
	t.Helper()
	got := parseMail(t, raw)
	from, err := got.header.AddressList("From")
	require.NoError(t, err)
	require.Equal(t, []*netmail.Address{{Name: "Bücher, Grün & Co.", Address: "no-reply@example.com"}}, from)
	require.Equal(t, "ann@example.org", got.header.Get("To"))
	require.Equal(t, `"Help" <help@example.com>`, got.header.Get("Reply-To"))
	require.Equal(t, "Bestätigen Sie Ihre Adresse", decodedHeader(t, got.header.Get("Subject")))
	require.Equal(t, "<0193.abc@example.com>", got.header.Get("Message-ID"))
	require.Equal(t, "Tue, 24 Nov 2026 12:00:00 +0100", got.header.Get("Date"))
	require.Equal(t, "auto-generated", got.header.Get("Auto-Submitted"))
	require.Equal(t, "de", got.header.Get("Content-Language"))
	require.Equal(t, "Hallo,\r\n\r\n"+sitetest.LinkInTest+"\r\n.\r\nGrüße", strings.ReplaceAll(strings.ReplaceAll(got.parts["text/plain"], "\r\n", "\n"), "\n", "\r\n"))
	require.Contains(t, got.parts["text/html"], "signature=aGk_-x")
	require.NotContains(t, strings.ReplaceAll(string(raw), "\r\n", ""), "\n", "a bare line feed")
}

func TestMessageRender(t *testing.T) {
	file, err := sitetest.AMail().Render()
	require.NoError(t, err)
	require.Equal(t, "no-reply@example.com", file.From)
	require.Equal(t, "ann@example.org", file.To)
	checkAMail(t, file.Content)

	t.Run("text alone", func(t *testing.T) {
		m := sitetest.AMail()
		m.HTML, m.ReplyTo, m.Language = "", "", ""
		file, err := m.Render()
		require.NoError(t, err)
		got := parseMail(t, file.Content)
		require.Contains(t, got.parts["text/plain"], sitetest.LinkInTest)
		require.Len(t, got.parts, 1)
		require.NotContains(t, got.header, "Reply-To")
		require.NotContains(t, got.header, "Content-Language")
	})
	t.Run("a picture goes along", func(t *testing.T) {
		m := sitetest.AMail()
		plain, html := m.Text, `<p><img src="cid:logo.1@example.com" alt="The Garden">`+m.HTML
		m.HTML, m.Images = html, []mail.Image{{ID: "logo.1@example.com", Name: "logo.png", Type: "image/png", Content: []byte("\x89PNG")}}
		file, err := m.Render()
		require.NoError(t, err)
		msg, err := netmail.ReadMessage(bytes.NewReader(file.Content))
		require.NoError(t, err)
		kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
		require.NoError(t, err)
		require.Equal(t, "multipart/related", kind)
		r := multipart.NewReader(msg.Body, params["boundary"])
		texts, err := r.NextPart()
		require.NoError(t, err)
		kind, params, err = mime.ParseMediaType(texts.Header.Get("Content-Type"))
		require.NoError(t, err)
		require.Equal(t, "multipart/alternative", kind)
		alternatives := multipart.NewReader(texts, params["boundary"])
		for _, want := range []string{plain, html} {
			part, err := alternatives.NextPart()
			require.NoError(t, err)
			body, err := io.ReadAll(part)
			require.NoError(t, err)
			require.Equal(t, want, strings.ReplaceAll(string(body), "\r\n", "\n"))
		}
		image, err := r.NextPart()
		require.NoError(t, err)
		require.Equal(t, "<logo.1@example.com>", image.Header.Get("Content-ID"))
		require.Equal(t, `image/png; name="logo.png"`, image.Header.Get("Content-Type"))
		require.Contains(t, image.Header.Get("Content-Disposition"), "inline")
		body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, image))
		require.NoError(t, err)
		require.Equal(t, "\x89PNG", string(body))
		_, err = r.NextPart()
		require.ErrorIs(t, err, io.EOF)
	})
	t.Run("HTML alone", func(t *testing.T) {
		m := sitetest.AMail()
		m.Text = " \n"
		file, err := m.Render()
		require.NoError(t, err)
		require.Contains(t, parseMail(t, file.Content).parts["text/plain"], "hier <"+sitetest.LinkInTest+">")
	})
	t.Run("long and spaced headers do not end the headers", func(t *testing.T) {
		m := sitetest.AMail()
		m.From = `"A` + strings.Repeat(" ", 200) + `B" <no-reply@example.com>`
		m.Subject = "x" + strings.Repeat(" \t", 200) + strings.Repeat("word ", 100)
		file, err := m.Render()
		require.NoError(t, err)
		got := parseMail(t, file.Content)
		require.Equal(t, "x"+strings.Repeat(" word", 100), got.header.Get("Subject"))
		require.Equal(t, `"A B" <no-reply@example.com>`, got.header.Get("From"))
		head, _, _ := bytes.Cut(file.Content, []byte("\r\n\r\n"))
		for line := range strings.SplitSeq(string(head), "\r\n") {
			require.NotEmpty(t, strings.TrimSpace(line))
			require.LessOrEqual(t, len(line), 78)
		}
	})
}

func TestMessagePlainText(t *testing.T) {
	for name, c := range map[string]struct{ html, text string }{
		"link":                       {`<p>Hi</p><p><a href="https://e.org/?a=1&amp;b=2">go</a></p>bye`, "Hi\n\ngo <https://e.org/?a=1&b=2>\n\nbye\n"},
		"link with a line break":     {"<p>Hi <a class='x'\n\thref='https://e.org/'>go</a> now</p>", "Hi go <https://e.org/> now\n"},
		"link, unquoted":             {"<A HREF=https://e.org/x>go</A> now", "go <https://e.org/x> now\n"},
		"link with > in its target":  {`<a href="https://e.org/?a=1>2">go</a> now`, "go <https://e.org/?a=1%3E2> now\n"},
		"link with \" in its target": {`<a href='https://e.org/?a="x"'>go</a> now`, "go <https://e.org/?a=%22x%22> now\n"},
		"anchor without a target":    {`<a name="top">Top</a> and <a>more</a> and <a href="https://e.org/">go</a>`, "Top and more and go <https://e.org/>\n"},
		"a picture":                  {`<td><img class="x" src="cid:a" alt="The Garden"></td><p>Hi <IMG ALT='there' src=x> <img src="y">you</p>`, "The Garden \n\nHi there you\n"},
		"breaks":                     {`one<br />two<br class="x">three`, "one\ntwo\nthree\n"},
		"blocks":                     {`<div class="a">one</div><div>two</div><table><tr><td>a</td><td>b</td></tr></table>`, "one\n\ntwo\n\n a b\n"},
		"list":                       {"<ul><li>one</li><li>two</li></ul>", "- one\n - two\n"},
		"head, style and comment":    {"<head><title>t</title><style>p{}</style></head><!-- <p>no\n --><body lang=de>yes &amp; &#8211;</body>", "yes & –\n"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.text, (&mail.Message{HTML: c.html}).PlainText())
		})
	}
	require.Equal(t, "own", (&mail.Message{Text: "own", HTML: "<p>other</p>"}).PlainText())
	require.Empty(t, (&mail.Message{}).PlainText())
}

func TestMessageRenderRefuses(t *testing.T) {
	fields := map[string]func(*mail.Message, string){
		"Message-ID":       func(m *mail.Message, v string) { m.ID += v },
		"From":             func(m *mail.Message, v string) { m.From = v + m.From },
		"Reply-To":         func(m *mail.Message, v string) { m.ReplyTo = v + m.ReplyTo },
		"To":               func(m *mail.Message, v string) { m.To += v },
		"Subject":          func(m *mail.Message, v string) { m.Subject += v },
		"Content-Language": func(m *mail.Message, v string) { m.Language += v },
	}
	for name, set := range fields {
		for _, attack := range []string{"\r\nBcc: eve@example.net", "\nBcc: eve@example.net", "\rBcc: eve@example.net", "\x00", "\r\n\r\nbody"} {
			m := sitetest.AMail()
			set(m, attack)
			_, err := m.Render()
			sitetest.RequireMailError(t, err, false, true)
			require.EqualError(t, err, "this mail can't be written: its "+name+" has a line break or a NUL", "%q", attack)
		}
	}
	for name, c := range map[string]struct {
		change func(*mail.Message)
		server bool
		err    string
	}{
		"no Message-ID":          {func(m *mail.Message) { m.ID = "" }, false, `"" is no Message-ID`},
		"brackets in Message-ID": {func(m *mail.Message) { m.ID = "<a@b>" }, false, `"<a@b>" is no Message-ID`},
		"Message-ID not ASCII":   {func(m *mail.Message) { m.ID = "ü@b" }, false, `"ü@b" is no Message-ID`},
		"no recipient":           {func(m *mail.Message) { m.To = "" }, false, "no bare address"},
		"two recipients":         {func(m *mail.Message) { m.To = "a@example.org, eve@example.net" }, false, "no bare address"},
		"recipient with a name":  {func(m *mail.Message) { m.To = "Ann <ann@example.org>" }, false, "no bare address"},
		"parameters of RCPT":     {func(m *mail.Message) { m.To = `"x> NOTIFY=NEVER"@example.org` }, false, "no bare address"},
		"recipient not ASCII":    {func(m *mail.Message) { m.To = "änn@example.org" }, false, "no bare address"},
		"a picture with no ID":   {func(m *mail.Message) { m.Images = []mail.Image{{}} }, false, "can't stand in a header"},
		"a picture's ID":         {func(m *mail.Message) { m.Images = []mail.Image{{ID: "a>\r\nBcc: x"}} }, false, "can't stand in a header"},
		"a picture's name":       {func(m *mail.Message) { m.Images = []mail.Image{{ID: "a@b", Name: "a\"; x"}} }, false, "can't stand in a header"},
		"a picture's type":       {func(m *mail.Message) { m.Images = []mail.Image{{ID: "a@b", Type: "image/png\r\nBcc: x"}} }, false, "can't stand in a header"},
		"no text":                {func(m *mail.Message) { m.Text, m.HTML = "", "" }, false, "it has no text"},
		"sender no address":      {func(m *mail.Message) { m.From = "nobody" }, true, "correct the setting from"},
		"sender with quotes":     {func(m *mail.Message) { m.From = `"a> b"@example.com` }, true, "write a plain one (the domain as xn--…); correct the setting from"},
		"reply no address":       {func(m *mail.Message) { m.ReplyTo = "nobody" }, true, "correct the setting reply_to"},
	} {
		t.Run(name, func(t *testing.T) {
			m := sitetest.AMail()
			c.change(m)
			_, err := m.Render()
			sitetest.RequireMailError(t, err, c.server, !c.server)
			require.ErrorContains(t, err, c.err)
		})
	}
}

// The property: whatever the values, a mail that is written has our headers and
// no other, each once, and one recipient.
func FuzzMessageHeaders(f *testing.F) {
	f.Add("id@example.com", "a@example.com", "", "b@example.org", "Hello", "en", "text", "")
	f.Add("id@example.com", `"Bcc: x" <a@example.com>`, "r@example.com", "b@example.org", "=?utf-8?q?x=0D=0ABcc:_eve@example.net?=", "de", "", "<p>x</p>")
	f.Add("i\r\nBcc: eve@example.net", "a@example.com", "", "b@example.org", "x", "en", "text", "")
	f.Add("id", "=?utf-8?q?a=0D=0ABcc:_eve?= <a@example.com>", "", "b@example.org", "x\ny", "en", "text", "")
	f.Add("id", "a@example.com", "", "b@example.org,eve@example.net", strings.Repeat("ü ", 99), "e n", "t", "\n.\n")
	f.Add("id", "a@example.com", "", `"b> SIZE=1"@example.org`, strings.Repeat("x ", 99), "\x00", "t", "")
	f.Add("id", "a@example.com", "a@[x>y]", "b@[x> y]", " \t ", "ü", "t", "<a href='x>y'\n>")
	allowed := []string{
		"Auto-Submitted", "Content-Language", "Content-Transfer-Encoding", "Content-Type", "Date",
		"From", "Message-Id", "Mime-Version", "Reply-To", "Subject", "To",
	}
	f.Fuzz(func(t *testing.T, id, from, replyTo, to, subject, language, text, html string) {
		m := &mail.Message{ID: id, From: from, ReplyTo: replyTo, To: to, Subject: subject, Language: language, Text: text, HTML: html}
		file, err := m.Render()
		if err != nil {
			var mailErr *mail.Error
			require.ErrorAs(t, err, &mailErr)
			require.NotEqual(t, mailErr.Server, mailErr.Permanent)
			return
		}
		got := parseMail(t, file.Content)
		for name, values := range got.header {
			require.Contains(t, allowed, name)
			require.Len(t, values, 1, name)
		}
		list, err := got.header.AddressList("To")
		require.NoError(t, err)
		require.Equal(t, []*netmail.Address{{Address: to}}, list)
		require.Equal(t, to, file.To)
		require.True(t, mail.IsPlain(file.From) && mail.IsPlain(file.To))
		list, err = got.header.AddressList("From")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, file.From, list[0].Address)
		require.Contains(t, got.parts, "text/plain")
	})
}

func TestLogMailer(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	l := new(registration.LogMailer)
	require.NoError(t, l.Provision(caddy.Context{Context: t.Context()}))
	l.Use(zap.New(core))
	require.Len(t, logs.All(), 1)
	require.Equal(t, zap.WarnLevel, logs.All()[0].Level)
	require.Contains(t, logs.All()[0].Message, "for development only")

	m := sitetest.AMail()
	m.Text = ""
	require.NoError(t, l.Send(t.Context(), m))
	require.NoError(t, l.Close())
	require.Len(t, logs.All(), 2)
	line := logs.All()[1]
	require.Equal(t, zap.InfoLevel, line.Level)
	require.Equal(t, "mail", line.Message)
	require.Equal(t, map[string]any{"to": m.To, "subject": m.Subject, "text": "Hallo, hier <" + sitetest.LinkInTest + ">\n"}, line.ContextMap())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := l.Send(ctx, m)
	sitetest.RequireMailError(t, err, true, false)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, logs.All(), 2)
}

func TestLogAndFileMailerCaddyfile(t *testing.T) {
	const folder = "mailer file takes one folder and no block; write for example: mailer file /var/spool/registration, at Testfile:1"
	for input, want := range map[string]string{
		"log":                 "",
		"log x":               "mailer log takes neither a value nor a block; write: mailer log, at Testfile:1",
		"log {\n\tlevel x\n}": "mailer log takes neither a value nor a block; write: mailer log, at Testfile:2",
		"file /var/mails":     "",
		"file":                folder,
		`file ""`:             folder,
		"file /a /b":          folder,
		"file /a {\n\tx\n}":   strings.Replace(folder, ":1", ":2", 1),
	} {
		t.Run(input, func(t *testing.T) {
			mod, err := caddy.GetModule("http.registration.mailers." + strings.Fields(input)[0])
			require.NoError(t, err)
			guest := mod.New()
			err = guest.(caddyfile.Unmarshaler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
			if want != "" {
				require.EqualError(t, err, want)
				return
			}
			require.NoError(t, err)
			out, err := json.Marshal(guest)
			require.NoError(t, err)
			require.JSONEq(t, map[string]string{"log": "{}", "file /var/mails": `{"directory":"/var/mails"}`}[input], string(out))
		})
	}
}

func TestFileMailer(t *testing.T) {
	t.Setenv("TEST_MAIL_FOLDER", t.TempDir())
	f := &registration.FileMailer{Directory: "{env.TEST_MAIL_FOLDER}/new/mails"}
	require.NoError(t, f.Provision(caddy.Context{}))
	require.Equal(t, "{env.TEST_MAIL_FOLDER}/new/mails", f.Directory, "the configuration stays as it is written")
	info, err := os.Stat(f.Folder())
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o700, info.Mode())

	first, second, third := sitetest.AMail(), sitetest.AMail(), sitetest.AMail()
	second.ID = "another@example.com"
	third.ID, third.Date = "0@example.com", first.Date.Add(time.Millisecond)
	for _, m := range []*mail.Message{third, first, second, first} { // first twice: tried again
		require.NoError(t, f.Send(t.Context(), m))
	}
	require.NoError(t, f.Close())
	entries, err := os.ReadDir(f.Folder())
	require.NoError(t, err)
	require.Len(t, entries, 3, "no second copy, no rest of a temporary file")
	var ids []string
	for _, e := range entries {
		require.Regexp(t, `^20261124T110000\.\d{9}Z-[0-9a-f]{32}\.eml$`, e.Name())
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
		raw, err := os.ReadFile(filepath.Join(f.Folder(), e.Name()))
		require.NoError(t, err)
		ids = append(ids, parseMail(t, raw).header.Get("Message-ID"))
		if ids[len(ids)-1] == "<"+first.ID+">" {
			checkAMail(t, raw)
		}
	}
	require.Equal(t, "<0@example.com>", ids[2], "sorted by time")

	t.Run("folder cleaned away", func(t *testing.T) {
		require.NoError(t, os.RemoveAll(f.Folder()))
		require.NoError(t, f.Send(t.Context(), first))
	})
	t.Run("name taken by a folder", func(t *testing.T) {
		entries, err := os.ReadDir(f.Folder())
		require.NoError(t, err)
		path := filepath.Join(f.Folder(), entries[0].Name())
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Mkdir(path, 0o700))
		sitetest.RequireMailError(t, f.Send(t.Context(), first), false, false)
		entries, err = os.ReadDir(f.Folder())
		require.NoError(t, err)
		require.Len(t, entries, 1, "the temporary file is removed")
	})
	t.Run("no folder", func(t *testing.T) {
		require.NoError(t, os.RemoveAll(f.Folder()))
		require.NoError(t, os.WriteFile(f.Folder(), nil, 0o600))
		sitetest.RequireMailError(t, f.Send(t.Context(), first), false, false)
	})
	t.Run("folder that takes no file", func(t *testing.T) {
		err := registration.WriteMail("/proc/self", "x.eml", nil)
		require.Error(t, err)
	})
	t.Run("header injection", func(t *testing.T) {
		m := sitetest.AMail()
		m.Subject += "\r\nBcc: eve@example.net"
		sitetest.RequireMailError(t, f.Send(t.Context(), m), false, true)
	})
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		sitetest.RequireMailError(t, f.Send(ctx, first), true, false)
	})
}

func TestFileMailerProvision(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for dir, want := range map[string]string{
		"":                     "mailer file: directory: it is missing; write for example: mailer file /var/spool/registration",
		"{env.TEST_NOT_SET}":   "mailer file: directory: evaluated placeholder {env.TEST_NOT_SET} is empty; set it before Caddy starts, or write the folder itself",
		"{nonsense}":           "mailer file: directory: unrecognized placeholder {nonsense}; set it before",
		file + "/below/a/file": "name a folder that Caddy's user may write",
	} {
		require.ErrorContains(t, (&registration.FileMailer{Directory: dir}).Provision(caddy.Context{}), want)
	}
}

func TestMailError(t *testing.T) {
	err := error(&mail.Error{Err: io.ErrUnexpectedEOF})
	require.EqualError(t, err, "unexpected EOF")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestMailersAreModules(t *testing.T) {
	var names []string
	for _, m := range caddy.GetModules("http.registration.mailers") {
		names = append(names, m.ID.Name())
		_, ok := m.New().(mail.Mailer)
		require.True(t, ok, m.ID)
	}
	slices.Sort(names)
	require.Equal(t, []string{"file", "log", "smtp"}, names)
}

// The mail server's name and ours may be in another script; resolvers, certificates and
// SMTP know the form in ASCII.
func TestSMTPHostsInASCII(t *testing.T) {
	m := &registration.SMTPMailer{Address: "mail.bücher.example:2525", Hello: "www.BÜCHER.example"}
	require.NoError(t, m.Provision(caddy.Context{}))
	require.NoError(t, m.Validate())
	require.Equal(t, "mail.xn--bcher-kva.example", m.Server.Host)
	require.Equal(t, "2525", m.Server.Port)
	require.Equal(t, "www.xn--bcher-kva.example", m.Server.Hello)
	for address, hello := range map[string]string{"mail.\u200ebücher.example": "", "mail.example.com": "bü cher"} {
		m := &registration.SMTPMailer{Address: address, Hello: hello}
		err := m.Provision(caddy.Context{})
		if err == nil {
			err = m.Validate()
		}
		require.Error(t, err, "%s %s", address, hello)
	}
}
