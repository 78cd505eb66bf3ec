// letter.go: the texts of the mails: which templates, what they may mention, and
// the signed link in them. Checked with sample data when a configuration loads.

package letter

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"net/url"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/palette"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
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
	// Time, Device and Address are when, on what and from which IP address was done what a
	// notice tells of, in words; empty where the mail tells of nothing, or it is not known.
	Time, Device, Address string
	// Tokens: tokens for programs go on, in the mail about a new password.
	Tokens bool
	// First: the account has never had a password, in a mail whose link sets one.
	First bool
	// Gone: the address that is written to is no longer one of the account's, in the mail
	// which says that a way back was used.
	Gone bool
	// Paragraphs are what an owner has written himself.
	Paragraphs []string
	// Waiting and SignedUp name accounts to an owner: those that wait for his approval,
	// and those that can be used. More: there are others, too many to name.
	Waiting, SignedUp []string
	More              bool

	// Logo is the picture that stands for the site in HTML; nil: its name does.
	Logo *MailLogo

	Loc     *text.Locale
	accent  palette.Accent
	changes string // of addresses, see account.EmailAdded
}

// T is the message of the catalogue with this id. It can mention {site},
// {host}, {period}, {date}, {time}, {device}, {address}, {email}, {name} and {username}.
func (d MailData) T(id string) (string, error) {
	return d.Loc.Message(id, text.Params{"site": d.Site, "host": d.Host, "period": d.Period, "date": d.Date, "email": hostname.DisplayAddress(d.Email), "name": d.User.Name, "username": d.User.Username, "time": d.Time, "device": d.Device, "address": d.Address})
}

// Step is the message with this id as what a line above a link says; how such a line
// ends is the language's.
func (d MailData) Step(id string) (string, error) {
	step, err := d.T(id)
	if err != nil {
		return "", err
	}
	return d.Loc.Message("mail.step", text.Params{"step": step})
}

// Lang is the BCP 47 tag of the mail's language.
func (d MailData) Lang() string { return d.Loc.Name }

// Dir is the direction of its script: ltr or rtl.
func (d MailData) Dir() string { return d.Loc.Dir }

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

// Templates are the texts of all mails in all languages.
type Templates struct {
	options   Options
	languages *text.Languages
	site      string
	logo      *logo
	own       map[string]map[store.MailKind]mailTemplate // the owner's, by language
}

// of are the texts of a kind of mail in a language.
func (r *Templates) of(kind store.MailKind, language string) (mailTemplate, error) {
	if t, ok := r.own[language][kind]; ok {
		return t, nil
	}
	if load := builtIns[kind]; load != nil {
		return load()
	}
	// A newer version has queued it.
	return mailTemplate{}, &mail.Error{Permanent: true, Err: fmt.Errorf("this version knows no message %q", kind)}
}

// kinds are those of mails that have texts of their own.
var kinds = []store.MailKind{
	store.MailVerifyRegistration, store.MailResetPassword,
	store.MailVerifyEmail, store.MailEmailInUse, store.MailEmailChanged, store.MailEmailsChanged, store.MailEmailsRestored, store.MailResetByUndo,
	store.MailPasswordChanged, store.MailLoginChanged, store.MailApproved, store.MailRefused, store.MailInvitation, store.MailLoginCode, store.MailSignUps, store.MailTest,
	store.MailAccountCreated, store.MailSetPassword, store.MailAccountClosed, store.MailAccountGone,
	store.MailFactorAdded, store.MailFactorRemoved, store.MailFactorGuessed, store.MailRecoveryUsed, store.MailRecoveryFew, store.MailRecoveryMade, store.MailFactorsReset, store.MailProgramToken, store.MailDataExported, store.MailNewDevice,
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

// Options is what an owner has decided about his mails.
type Options struct {
	// From and ReplyTo are addresses as the headers have them.
	From, ReplyTo string
	// Title is the name of the site; "": its host is.
	Title string
	// Logo is the image file that stands for it; "": there is none. One that mail programs
	// can't be trusted to show, or that is large, is left out.
	Logo string
	// Accent is the colour of buttons and links; zero: the built-in one.
	Accent palette.Accent
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

// NewTemplates loads the owner's templates and renders each once with sample data,
// so that a broken one is an error now and not at the first mail.
func NewTemplates(o Options, l *text.Languages, site string) (*Templates, error) {
	r := &Templates{options: o, languages: l, site: site, logo: readLogo(o.Logo), own: map[string]map[store.MailKind]mailTemplate{}}
	if err := o.checkFolder(); err != nil {
		return nil, err
	}
	parsed, own := map[sources]mailTemplate{}, o.own()
	for _, in := range l.Locales {
		r.own[in.Name] = map[store.MailKind]mailTemplate{}
		for _, kind := range own {
			read, err := readMail(o.Templates, in, kind, o.Files[kind])
			if err != nil {
				return nil, err
			}
			if built, err := readMail("", nil, kind, Files{}); err == nil && read == built {
				continue // nothing of it is the owner's
			}
			t, known := parsed[read]
			if !known {
				if t, err = read.parse(); err != nil {
					return nil, err
				}
				parsed[read] = t
			}
			r.own[in.Name][kind] = t
			sample := MailData{Loc: in, Site: "example.com", Host: "example.com", Link: "https://example.com/", UserID: uuid.Nil.String(), Timestamp: "0", Signature: "x", Code: "123456", Period: "7 days", Date: "1 January 2026", Email: "ada@example.com", Factor: string(store.FactorTOTP), Time: "1 January 2026, 10:00 UTC", Device: "Firefox, Linux", Address: "192.0.2.1", User: MailUser{Username: "ada", Name: "Ada", Extra: o.Fields.ExtraValues(&store.User{})}, Paragraphs: []string{"…"}, Waiting: []string{"bob"}, SignedUp: []string{"eve"}, More: true, Logo: &MailLogo{}, changes: account.EmailAdded + " ada@example.org"}
			if _, _, _, err := t.Render(sample); err != nil {
				return nil, fmt.Errorf("mail template: %w; it can mention .Site, .Host, .Link, .UserID, .Timestamp, .Signature, .Code, .Period, .Date, .Email, .User (.Name, .Username, .FirstName, .LastName, .Email, and the added fields as .Extra.<name>), .Factor, .Time, .Device, .Address, .Circumstances, .Changes, .First, .Gone, .Tokens, .Paragraphs, .Waiting, .SignedUp, .More, .Logo, .Accent, .OnAccent, .AccentDark, .OnAccentDark, .Lang and the messages of the catalogue, as {{.T \"mail.greeting\"}}", err)
			}
		}
	}
	return r, nil
}

// oneLine is a subject: one line, whatever a name contains that an older version
// has stored, without control characters and what turns the direction of the rest.
func oneLine(subject string) string {
	return strings.Join(strings.FieldsFunc(text.KeepIsolates(subject), func(r rune) bool {
		return unicode.IsSpace(r) && !noBreak(r) || unicode.IsControl(r) || r == 0x2028 || r == 0x2029
	}), " ")
}

// noBreak says whether this is a space at which no line may break: part of the word
// that a language writes with it, as French does before a colon.
func noBreak(r rune) bool { return r == '\u00a0' || r == '\u202f' }

func (t mailTemplate) Render(data MailData) (subject, text, html string, err error) {
	var out bytes.Buffer
	inHTML := data
	data.Loc = data.Loc.Plain()
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
		if err = t.html.Execute(&out, inHTML); err != nil {
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
	// What he has chosen since then counts.
	l := r.languages.Named(u.Language, u.BrowserLanguage, m.Language)
	data := MailData{Loc: l, Site: cmp.Or(r.options.Title, r.site), Host: r.site, Email: m.To, User: r.options.MailUser(u, m.To), Link: r.signing.Pages[m.Kind], accent: r.options.Accent, Logo: r.logo.of(m)}
	if purpose, ok := account.Purposes[m.Kind]; ok && m.Kind != store.MailLoginCode {
		to := r.signing.Links[purpose]
		about := account.AboutOf(m, u)
		claim := sign.Claim{Purpose: purpose, User: u.ID, Time: r.now(), State: r.signing.State(purpose, u, about)}
		if claim.State == nil { // by the clock, which may be wrong
			return nil, errors.New("its link would be dead on arrival: its time is over")
		}
		if purpose.Param() != "" {
			claim.Email = about
		}
		data.UserID, data.Timestamp, data.Signature = u.ID.String(), claim.Timestamp(), r.signing.Signer.Sign(claim)
		link, err := sign.LinkURL(to.URL, claim, data.Signature, m.Next)
		if err != nil {
			return nil, err
		}
		data.Link, data.Period = link, l.Text(text.InWords(to.Period))
	}
	if account.TellsOfAct(m.Kind) && !m.Queued.IsZero() {
		data.Time, data.Device, data.Address = l.Moment(m.Queued.Format(time.RFC3339)), m.Device, m.Address
	}
	if err := r.fill(&data, m, u); err != nil { // nothing that time mends
		return nil, &mail.Error{Permanent: true, Err: err}
	}
	template, err := r.of(textOf(m.Kind, u), l.Name)
	if err != nil {
		return nil, err
	}
	subject, text, html, err := template.Render(data)
	if err != nil {
		return nil, err
	}
	return &mail.Message{
		ID: m.MessageID, From: r.options.From, ReplyTo: r.options.ReplyTo, To: m.To, Date: m.Queued,
		Subject: subject, Text: text, HTML: html, Images: r.logo.in(m, html), Language: l.Name,
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
	case store.MailResetPassword, store.MailResetByOwner, store.MailSetPassword:
		data.First = u.NeverHadPassword()
	case store.MailPasswordChanged:
		data.Tokens = len(u.ProgramTokens) > 0
	case store.MailEmailsChanged:
		data.changes = m.Words
	case store.MailEmailsRestored:
		if data.Gone = m.Words != ""; data.Gone {
			data.Link = ""
		}
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

// linkedType stands for the type of an account elsewhere, which is no factor.
const linkedType store.FactorType = "linked"

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
	if u.Linked(id) != nil || slices.ContainsFunc(u.FormerLinked, func(l store.FormerLinked) bool { return l.ID == id }) {
		return linkedType
	}
	return ""
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
