// letter.go: the texts of the mails: which templates, what they may mention, and
// the signed link in them. Checked with sample data when a configuration loads.

package letter

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/templates"
)

// MailData is what a mail template can mention.
type MailData struct {
	// Site is the name of the site: the title of its pages where there is one, else the host.
	Site string
	// Host is the host of the site, such as example.com.
	Host string
	// Link is the signed link, or where to sign in; in a notice where to ask for a new
	// password; empty where nobody knows the address of the page.
	Link string
	// UserID, Timestamp and Signature are what the link carries besides the address
	// that is written to, for one of the template's own
	// (https://app.example.com/verify/<id>/<timestamp>/<signature>/); empty in a notice.
	UserID, Timestamp, Signature string
	// Code is the code to sign in by; else empty.
	Code string
	// Period is how long the link is good, in words.
	Period string
	// Date is when something will happen, in words; else empty.
	Date string
	// Email is the address that is written to.
	Email string
	// User is the account that the mail is about.
	User MailUser
	// Factor is the type of the factor that was added or removed, such as "totp"; empty
	// where the mail is about none, or about one that is long forgotten.
	Factor string
	// Paragraphs are what an owner has written himself.
	Paragraphs []string
	// Waiting and SignedUp name accounts to an owner: those that wait for his approval,
	// and those that can be used. More: there are others, too many to name.
	Waiting, SignedUp []string
	More              bool

	Loc *text.Locale
}

// T is the message of the catalogue with this id. It can mention {site},
// {host}, {period}, {date}, {email}, {name} and {username}.
func (d MailData) T(id string) (string, error) {
	return d.Loc.Message(id, text.Params{"site": d.Site, "host": d.Host, "period": d.Period, "date": d.Date, "email": hostname.DisplayAddress(d.Email), "name": d.User.Name, "username": d.User.Username})
}

// Lang is the BCP 47 tag of the mail's language.
func (d MailData) Lang() string { return d.Loc.Name }

// wrap breaks a text at 72 columns, as plain-text mail is read.
func wrap(text string) string {
	var out strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
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

// MailUser is what a mail template can mention of an account. Until the address
// that is written to is confirmed for it, a stranger may have made the account:
// then names and added texts are empty (names.go).
type MailUser struct {
	Username, Email, FirstName, LastName string
	// Name is the full name, else the username, else empty; empty also where a mail
	// program would make a link of it.
	Name string
	// Extra has the added fields by name, hidden ones too; what has no value is
	// the empty text.
	Extra map[string]any
}

// mailTemplate is one message's parts. html may be nil; text is nil where it is
// derived from html.
type mailTemplate struct {
	subject, text *texttemplate.Template
	html          *htmltemplate.Template
}

// Templates are the texts of all mails in all languages, each rendered once.
type Templates struct {
	options   Options
	languages *text.Languages
	site      string
	Of        map[string]map[store.MailKind]mailTemplate // by language
}

// Signing is what the links of a realm's mails are made with.
type Signing struct {
	Signer *sign.Signer
	// State is what a link of this purpose is bound to; nil: it would be dead on arrival.
	State func(purpose sign.Purpose, u *store.User, email string) []byte
	Links map[sign.Purpose]Link
	// Pages are where the links lead that are not signed.
	Pages map[store.MailKind]string
}

// Renderer turns rows of the outbox into messages.
type Renderer struct {
	*Templates
	signing Signing
	now     func() time.Time
}

// NewRenderer renders these texts, with links signed at the time that now tells.
func NewRenderer(t *Templates, signing Signing, now func() time.Time) *Renderer {
	return &Renderer{Templates: t, signing: signing, now: now}
}

// inLanguageName is the name of a template in one language: body.txt becomes
// body.de.txt.
func inLanguageName(name, language string) string {
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + "." + language + ext
}

// readMailTemplate returns a template in a language: the owner's own for it or
// for one that it rests on, else the one for all languages.
func readMailTemplate(folder string, l *text.Locale, name string, named bool) (string, error) {
	if folder != "" {
		for _, language := range l.Lineage {
			raw, err := readTemplate(folder, inLanguageName(name, language), false)
			if !errors.Is(err, fs.ErrNotExist) {
				return raw, err
			}
		}
	}
	return readTemplate(folder, name, named)
}

// readTemplate returns a template file: the owner's if there is one, else the
// built-in one. A file that the owner names has to be one of the two.
func readTemplate(folder, name string, named bool) (string, error) {
	if folder != "" {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return "", fmt.Errorf("template %q: write a path inside the templates folder", name)
		}
		raw, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name))) //nolint:gosec // the owner names the folder; name is local
		if err == nil {
			return string(raw), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || named && !IsBuiltIn(name) {
			return "", fmt.Errorf("template %q: %w", name, err)
		}
	}
	raw, err := templates.FS.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("template %q: %w", name, err)
	}
	return string(raw), nil
}

// IsBuiltIn reports whether there is a built-in mail template of this name, such as
// register/body.html.
func IsBuiltIn(name string) bool {
	switch path.Base(name) {
	case "subject.txt", "body.txt", "body.html":
		_, err := fs.Stat(templates.FS, name)
		return err == nil
	}
	return false
}

// loadMailTemplate reads and parses the parts of one message in one language.
func loadMailTemplate(folder string, l *text.Locale, kind store.MailKind, s Files) (t mailTemplate, err error) {
	subject, named := s.Subject, s.Subject != ""
	if !named {
		subject = path.Join(string(kind), "subject.txt")
	}
	textName, htmlName := s.TextBody, s.HTMLBody
	switch {
	case strings.HasSuffix(s.Body, ".html"):
		htmlName = s.Body
	case s.Body != "":
		textName = s.Body
	}
	bodyNamed := textName != "" || htmlName != ""
	if !bodyNamed {
		textName, htmlName = path.Join(string(kind), "body.txt"), path.Join(string(kind), "body.html")
	}
	if t.subject, err = parseMailText(folder, l, subject, named); err != nil {
		return t, err
	}
	if textName != "" {
		if t.text, err = parseMailText(folder, l, textName, bodyNamed); err != nil {
			return t, err
		}
	}
	if htmlName != "" {
		raw, err := readMailTemplate(folder, l, htmlName, bodyNamed)
		if err != nil {
			return t, err
		}
		layout, err := readMailTemplate(folder, l, mailLayout, false)
		if err != nil {
			return t, err
		}
		if t.html, err = htmltemplate.New(mailLayout).Option("missingkey=error").Parse(layout); err != nil {
			return t, fmt.Errorf("template %q: %w", mailLayout, err)
		}
		if t.html, err = t.html.New(htmlName).Parse(raw); err != nil {
			return t, fmt.Errorf("template %q: %w", htmlName, err)
		}
	}
	return t, nil
}

// mailLayout is the frame of the built-in HTML bodies, which define what stands
// in it. A body that does not call it stands alone.
const mailLayout = "mail/layout.html"

func parseMailText(folder string, l *text.Locale, name string, named bool) (*texttemplate.Template, error) {
	raw, err := readMailTemplate(folder, l, name, named)
	if err != nil {
		return nil, err
	}
	t, err := texttemplate.New(name).Funcs(texttemplate.FuncMap{"wrap": wrap}).Option("missingkey=error").Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("template %q: %w", name, err)
	}
	return t, nil
}

// Options is what an owner has decided about his mails.
type Options struct {
	// From and ReplyTo are addresses as the headers have them.
	From, ReplyTo string
	// Title is the name of the site; "": its host is.
	Title string
	// Templates is the owner's folder; "": there is none.
	Templates string
	// Files names the owner's files of a message.
	Files  map[store.MailKind]Files
	Fields *field.Set
}

// Files names the files of one message, below the folder. What is empty keeps
// its built-in file.
type Files struct {
	Subject string
	// Body is the only body: HTML if the name ends in .html, else plain text.
	Body, TextBody, HTMLBody string
}

// Link is where the link of a mail leads, and how long it is good.
type Link struct {
	URL    string
	Period time.Duration
}

// NewTemplates loads all templates and renders each once with sample data,
// so that a broken one is an error now and not at the first mail.
func NewTemplates(o Options, l *text.Languages, site string) (*Templates, error) {
	r := &Templates{options: o, languages: l, site: site, Of: map[string]map[store.MailKind]mailTemplate{}}
	kinds := []store.MailKind{
		store.MailVerifyRegistration, store.MailResetPassword,
		store.MailVerifyEmail, store.MailEmailInUse, store.MailEmailChanged,
		store.MailPasswordChanged, store.MailLoginChanged, store.MailApproved, store.MailRefused, store.MailInvitation, store.MailLoginCode, store.MailSignUps, store.MailTest,
		store.MailAccountCreated, store.MailSetPassword, store.MailAccountClosed, store.MailAccountGone,
		store.MailFactorAdded, store.MailFactorRemoved, store.MailFactorGuessed, store.MailRecoveryUsed, store.MailRecoveryFew, store.MailRecoveryMade, store.MailFactorsReset, store.MailProgramToken,
	}
	for _, in := range l.Locales {
		r.Of[in.Name] = map[store.MailKind]mailTemplate{}
		for _, kind := range kinds {
			t, err := loadMailTemplate(o.Templates, in, kind, o.Files[kind])
			if err != nil {
				return nil, err
			}
			r.Of[in.Name][kind] = t
			sample := MailData{Loc: in, Site: "example.com", Host: "example.com", Link: "https://example.com/", UserID: uuid.Nil.String(), Timestamp: "0", Signature: "x", Code: "123456", Period: "7 days", Date: "1 January 2026", Email: "ada@example.com", Factor: string(store.FactorTOTP), User: MailUser{Username: "ada", Name: "Ada", Extra: o.Fields.ExtraValues(&store.User{})}, Paragraphs: []string{"…"}, Waiting: []string{"bob"}, SignedUp: []string{"eve"}, More: true}
			if _, _, _, err := t.Render(sample); err != nil {
				return nil, fmt.Errorf("mail template: %w; it can mention .Site, .Host, .Link, .UserID, .Timestamp, .Signature, .Code, .Period, .Date, .Email, .User (.Name, .Username, .FirstName, .LastName, .Email, and the added fields as .Extra.<name>), .Factor, .Paragraphs, .Waiting, .SignedUp, .More, .Lang and the messages of the catalogue, as {{.T \"mail.greeting\"}}", err)
			}
		}
	}
	return r, nil
}

// oneLine is a subject: one line, whatever a name contains that an older version
// has stored, without control characters and what turns the direction of the rest.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}), " ")
}

func (t mailTemplate) Render(data MailData) (subject, text, html string, err error) {
	var out bytes.Buffer
	if err = t.subject.Execute(&out, data); err != nil {
		return
	}
	subject = oneLine(out.String())
	if t.text != nil {
		out.Reset()
		if err = t.text.Execute(&out, data); err != nil {
			return
		}
		text = strings.TrimSpace(out.String()) + "\n"
	}
	if t.html != nil {
		out.Reset()
		if err = t.html.Execute(&out, data); err != nil {
			return
		}
		html = out.String()
	}
	return
}

// Render is the courier's: the link is signed now, with the time of sending,
// so that a mail that waited for its server still arrives with a good link.
func (r *Renderer) Render(m *store.Mail, u *store.User) (*mail.Message, error) {
	if u == nil {
		u = &store.User{ID: uuid.Nil}
	}
	l := r.languages.Named(m.Language)
	data := MailData{Loc: l, Site: cmp.Or(r.options.Title, r.site), Host: r.site, Email: m.To, User: r.options.MailUser(u, m.To), Link: r.signing.Pages[m.Kind]}
	if purpose, ok := account.Purposes[m.Kind]; ok && m.Kind != store.MailLoginCode {
		to := r.signing.Links[purpose]
		claim := sign.Claim{Purpose: purpose, User: u.ID, Time: r.now(), State: r.signing.State(purpose, u, account.AboutOf(m))}
		if claim.State == nil { // by the clock, which may be wrong
			return nil, errors.New("its link would be dead on arrival: its time is over")
		}
		if purpose == sign.PurposeRegisterEmail || purpose == sign.PurposeUndoEmail || purpose == sign.PurposeUndoFactor {
			claim.Email = account.AboutOf(m)
		}
		data.UserID, data.Timestamp, data.Signature = u.ID.String(), claim.Timestamp(), r.signing.Signer.Sign(claim)
		link, err := sign.LinkURL(to.URL, claim, data.Signature, m.Next)
		if err != nil {
			return nil, err
		}
		data.Link, data.Period = link, l.Text(text.InWords(to.Period))
	}
	if err := r.fill(&data, m, u); err != nil { // nothing that time mends
		return nil, &mail.Error{Permanent: true, Err: err}
	}
	kind := textOf(m.Kind, u)
	template, ok := r.Of[l.Name][kind]
	if !ok { // a newer version has queued it
		return nil, &mail.Error{Permanent: true, Err: fmt.Errorf("this version knows no message %q", kind)}
	}
	subject, text, html, err := template.Render(data)
	if err != nil {
		return nil, err
	}
	return &mail.Message{
		ID: m.MessageID, From: r.options.From, ReplyTo: r.options.ReplyTo, To: m.To, Date: m.Queued,
		Subject: subject, Text: text, HTML: html, Language: l.Name,
	}, nil
}

// textOf names the texts of a mail of this kind about u.
func textOf(kind store.MailKind, u *store.User) store.MailKind {
	switch kind { //nolint:exhaustive // the others have texts of their own
	case store.MailDecoy:
		return store.MailResetPassword
	case store.MailResetByOwner, store.MailSetPassword:
		if u.PasswordHash == "" && u.LastLogin.IsZero() {
			return store.MailAccountCreated
		}
		return store.MailSetPassword
	}
	return kind
}

// fill adds what only one kind of mail has.
func (r *Renderer) fill(data *MailData, m *store.Mail, u *store.User) error {
	switch m.Kind { //nolint:exhaustive // the others have no more than all
	case store.MailAccountClosed:
		data.Date = data.Loc.Moment(u.LeavesAt.Format(time.RFC3339))
	case store.MailFactorAdded, store.MailFactorRemoved:
		data.Factor = string(typeOf(u, m.Factor))
	case store.MailRefused:
		data.Paragraphs = strings.FieldsFunc(m.Words, func(r rune) bool { return r == '\n' })
	case store.MailLoginCode:
		return r.letInByCode(data, m, u)
	case store.MailInvitation:
		return r.invite(data, m)
	case store.MailSignUps:
		s, err := account.SignUpsOf(m)
		data.Waiting, data.SignedUp, data.More = named(s.Waiting), named(s.SignedUp), s.More
		return err
	}
	return nil
}

// typeOf is the type of a factor that an account has, or had until lately; "": nobody
// knows any more.
func typeOf(u *store.User, id uuid.UUID) store.FactorType {
	if f := u.Factor(id); f != nil {
		return f.Type
	}
	for i := range u.FormerFactors {
		if u.FormerFactors[i].ID == id {
			return u.FormerFactors[i].Type
		}
	}
	return ""
}

// named names accounts to an owner: by their usernames, and by the id where there is
// none, or one that a mail program would make a link of.
func named(accounts []account.Named) (names []string) {
	for _, a := range accounts {
		names = append(names, cmp.Or(notLinkLike(a.Username), a.ID.String()))
	}
	return names
}

// letInByCode gives a mail its code and, where there is a page for it, its link.
func (r *Renderer) letInByCode(data *MailData, m *store.Mail, u *store.User) (err error) {
	code, signature := account.MailedLoginCode(r.signing.Signer, u, m)
	data.Code, data.Period = code, data.Loc.Text(text.InWords(account.CodeLifetime))
	if data.Link == "" {
		return nil
	}
	with := url.Values{sign.ParamSignature: {signature}}
	if m.Next != "" {
		with.Set(sign.ParamNext, m.Next)
	}
	data.Link, err = sign.WithParams(data.Link, with)
	return err
}

// invite gives the mail of an invitation its link.
func (r *Renderer) invite(data *MailData, m *store.Mail) error {
	token, until, err := account.MailedInvitation(r.signing.Signer, m)
	if err == nil {
		data.Link, err = sign.WithParams(data.Link, url.Values{sign.ParamInvitation: {token}})
	}
	if err != nil {
		return err
	}
	data.Period = data.Loc.Text(text.InWords(roundedDown(until.Sub(r.now()))))
	return nil
}

// roundedDown is a duration in a unit that people count in. What the sending of a mail
// takes is no reason to tell the unit below.
func roundedDown(d time.Duration) time.Duration {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day-time.Hour:
		return (d + time.Hour).Truncate(day)
	case d >= time.Hour:
		return (d + 5*time.Minute).Truncate(time.Hour)
	}
	return max(d.Truncate(time.Minute), time.Minute)
}
