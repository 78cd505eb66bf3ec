// pages_data.go: what the templates of the pages see: texts, facts, forms and their
// inputs, links.

package web

import (
	"cmp"
	"html/template"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// PageData is what a page template can mention.
type PageData struct {
	// Page is the page's name, such as login; that of every error is error.
	Page string
	// Site is the title from the configuration, else the host.
	Site string
	// Title is the heading; Text are the paragraphs below it.
	Title string
	Text  []string
	// Note says what has just been done; empty if nothing was.
	Note string
	// Home is the site's front page, Path the path of the accounts. Style, Brand
	// and Logo are the addresses of the built-in style sheet and of the owner's
	// files; the latter may be empty. LogoDark is in place of Logo on a dark ground.
	Home, Path, Style, Brand, Logo, LogoDark, Favicon string
	// Languages are those in which the page can be had, where there are several; Here is the
	// address to which a form leads back by which who is signed in chooses one for his account;
	// "": they are links.
	Languages []PageLanguage
	Here      string
	// SignedInAs is the name of who is signed in, or empty.
	SignedInAs string
	// SiteLinks stand at the foot of every page: help, privacy, imprint.
	SiteLinks []PageLink
	// Errors are all that is wrong with what was sent.
	Errors []PageError
	// Facts are fields of the account that the page shows and no input has.
	Facts []PageFact
	// Form is nil where there is nothing to fill in or to confirm.
	Form *PageForm
	// Heading stands above the facts and the form where Sections follow them.
	Heading  string
	Sections []PageSection
	// Passkey is a form of its own that is sent by a passkey alone; nil: there is none.
	Passkey *PageForm
	// Script is the address of the script of a page that asks for passkeys; "" on all
	// others.
	Script string
	// Sessions are the sign-ins of who is signed in, each with a button to end it.
	Sessions []PageSession
	// Owner is what an owner's page shows below its heading.
	Owner any
	// Factors are those of who is signed in.
	Factors []PageFactor
	// Trusted are the browsers that are not asked for a factor.
	Trusted []PageTrusted
	// Tokens are those for programs of who is signed in, each with a button to end it.
	Tokens []PageToken
	// Emails are the addresses of who is signed in.
	Emails []PageEmail
	// Picture is the address of a QR code, App a link that opens what reads it.
	Picture string
	App     *PageURL
	// Codes are shown this once; Download has them as a file.
	Codes []string
	// Token is one for a program, shown this once.
	Token string
	// Mailbox leads to the mail of who has just been written to; nil: nobody knows where
	// he reads it.
	Mailbox  *PageLink
	Download *PageURL
	elsewhere
	// Action is the one way on, if there is one; Links are the others.
	Action *PageLink
	Links  []PageLink

	loc *text.Locale
}

// T is the message of the catalogue with this id.
func (d PageData) T(id string) (string, error) {
	return d.loc.Message(id, text.Params{"title": d.Title})
}

// WindowTitle is what the page is called in the window and read out first, without the
// site: where something went wrong or was done, it says so before the title.
func (d PageData) WindowTitle() (string, error) {
	switch {
	case len(d.Errors) > 0:
		return d.T("page.error_title")
	case d.Note != "":
		return d.loc.Message("page.note_title", text.Params{"note": firstSentence(d.Note), "title": d.Title})
	}
	return d.Title, nil
}

// firstSentence is that of a note, without its stop.
func firstSentence(note string) string {
	for i, r := range note {
		if rest := note[i+utf8.RuneLen(r):]; strings.ContainsRune(fullWidthStops, r) || strings.ContainsRune(stops, r) && (rest == "" || rest[0] == ' ') {
			return note[:i]
		}
	}
	return note
}

// A sentence ends with one of stops before a space, or with one of fullWidthStops.
const (
	stops          = ".!?۔؟।"
	fullWidthStops = "。!?"
)

// Unchecked is unchecked, for templates.
func (PageData) Unchecked(fields []PageField) bool { return unchecked(fields) }

// unchecked reports whether a form with these inputs is sent as it is: the server says what
// is wrong, in the page's language and all at once. A day that is half typed is the one thing
// that only the browser knows of; it would send an empty one.
func unchecked(fields []PageField) bool {
	return !slices.ContainsFunc(fields, func(f PageField) bool { return f.Kind == kindInputDate })
}

// Ease leaves a browser that checks a form before it is sent nothing to check but the days.
func Ease(fields []PageField) {
	if unchecked(fields) {
		return
	}
	for i := range fields {
		f := &fields[i]
		f.Eased, f.MinLength = true, 0
		if f.Kind == kindInputEmail || f.Kind == kindInputURL {
			f.Kind, f.InputMode = kindInputText, f.Kind
		}
	}
}

// Rest are the links that stand in no section.
func (d PageData) Rest() []PageLink {
	return slices.DeleteFunc(slices.Clone(d.Links), func(link PageLink) bool {
		return slices.ContainsFunc(d.Sections, func(s PageSection) bool { return slices.Contains(s.Links, link) })
	})
}

// Date writes a moment, given as in RFC 3339, in the page's language.
func (d PageData) Date(moment string) string { return d.loc.Moment(moment) }

// Until writes the moment at which something ends, as Date does: the end of a day is that day.
func (d PageData) Until(moment string) string {
	t, err := time.Parse(time.RFC3339, moment)
	if err != nil || !t.Equal(t.Truncate(24*time.Hour)) {
		return d.loc.Moment(moment)
	}
	return d.loc.Text(text.OnDay(t.Add(-time.Second)))
}

// Lang is the BCP 47 tag of the page's language.
func (d PageData) Lang() string { return d.loc.Name }

// Dir is the direction of its script: ltr or rtl.
func (d PageData) Dir() string { return d.loc.Dir }

// PageError is one thing that is wrong. Field is the id of the input that it is
// about, or empty.
type PageError struct{ Field, Text string }

// PageFact is a field of an account as it is shown. Time is in place of the value: a
// moment, given as in RFC 3339.
type PageFact struct{ Label, Value, Time string }

// PageSection is a part of a page under a heading of its own; part- and the ID is the id of that.
type PageSection struct {
	ID, Heading string
	Text        []string
	Facts       []PageFact
	Links       []PageLink
}

// PageSession is a sign-in as the template sees it. Device is what a person
// recognises in UserAgent: "Firefox, Linux", or all of it where nothing is known.
type PageSession struct {
	ID, Kind, Address, UserAgent string
	Device                       string
	Created, LastUsed            string // RFC 3339
	Current                      bool
}

// PageFactor is a factor of an account as the template sees it. Created and LastUsed are
// as in RFC 3339.
type PageFactor struct{ ID, Name, Kind, Created, LastUsed string }

// PageTrusted is a trusted browser as the template sees it: Device is what a person
// recognises, times are as in RFC 3339.
type PageTrusted struct {
	ID, Device                 string
	Created, LastUsed, Expires string
	Current                    bool
}

// PageEmail is an address of an account as the template sees it: Shown as people read it.
type PageEmail struct {
	Email, Shown, State string
	// Waits: it can be taken back. Further: it can be removed and, with CanLead, be the first.
	Waits, Further, CanLead bool
	// Again: its mail can be sent once more.
	Again bool
}

// PageURL is a link of our own making that leads nowhere in the web.
type PageURL struct {
	Href template.URL
	Text string
}

// PageLink is a link of a page.
type PageLink struct{ Href, Text string }

// PageForm is a form as the template sees it.
type PageForm struct {
	// Action is where it goes; "": to the address of its page.
	Action, Submit string
	// Again: it repeats what was done already, so its button is no call to act.
	Again bool
	// Username names the account for a password manager, where no input does.
	Username string
	Hidden   []PageHidden
	Fields   []PageField
	// Passkey is the button that sends the form with a passkey; nil: there is none.
	Passkey *PagePasskey
}

// PageHidden is a hidden input.
type PageHidden struct{ Name, Value string }

// PageField is an input as the template sees it.
type PageField struct {
	// Name is its name and its id.
	Name, Label string
	// Linked are the pieces of a label that has links; Label is what it says without them.
	Linked []field.LabelPart
	// Kind is the type of an input, or select.
	Kind string
	// Value is what it begins with, of a checkbox what it sends; a password's is always empty.
	Value string
	// Checked is for a checkbox, Options for a select.
	Checked                 bool
	Options                 []PageOption
	Autocomplete, InputMode string
	MinLength, MaxLength    int
	Required                bool
	// Eased: the browser only tells that it is required (Ease).
	Eased bool
	// Verbatim: nothing may correct what is typed.
	Verbatim bool
	// Optional is the word for it, empty where the input is required.
	Optional, Hint string
	Errors         []string
	// Reveal is for a password; nil: the field is of another kind.
	Reveal *PageReveal
	// More is a page that tells more, to be opened beside the form; nil: none.
	More *PageLink
}

// PageReveal is the button that shows a password, and what is said of a new one while it is
// typed. It is hidden until the script has shown it.
type PageReveal struct {
	Show, Hide string
	// Short, Digits, Enough and Long say what is wrong, or right, with a new password;
	// Enough is empty for one that an account has, Digits where digits alone will do. Min is
	// how many characters it needs.
	Short, Digits, Enough, Long string
	Min                         int
}

// linksOf are the pieces of a label that has links, nil for one without, and what it says.
func linksOf(label string) (parts []field.LabelPart, plain string) {
	parts, plain = field.Label(label)
	if !slices.ContainsFunc(parts, func(p field.LabelPart) bool { return p.Href != "" }) {
		parts = nil
	}
	return parts, plain
}

// leadOn makes the paths in the pieces of a label addresses that browsers ask for.
func (o *Options) leadOn(parts []field.LabelPart) {
	for i := range parts {
		parts[i].Href = o.OnSite(parts[i].Href)
	}
}

// DescribedBy lists the ids of the hint and the errors, for aria-describedby.
func (f PageField) DescribedBy() string {
	var ids []string
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	if len(f.Errors) > 0 {
		ids = append(ids, f.Name+"-error")
	}
	return strings.Join(ids, " ")
}

// Dir is the direction of what is typed: of text, that of its first letter; addresses and
// passwords are from left to right everywhere.
func (f PageField) Dir() string {
	switch {
	case slices.Contains([]string{kindInputEmail, kindInputURL, kindInputPassword}, f.Kind), slices.Contains([]string{kindInputEmail, kindInputURL}, f.InputMode):
		return text.LeftToRight
	case f.Kind == kindInputText:
		return "auto"
	}
	return ""
}

// PageOption is one choice of a select.
type PageOption struct {
	Value, Label string
	Selected     bool
}

// Facts are the public fields that the profile's form has no input for. The id
// is left out: it means nothing to a person.
func Facts(c *Call, f *Form) []PageFact {
	var facts []PageFact
	for _, shown := range c.Profile(c.Who.User) {
		fld := c.Policy.Fields.ByName[shown.Name]
		if shown.Name == field.ID || !fld.Settled(c.Who.User) && slices.ContainsFunc(f.Fields, func(ff FormField) bool { return ff.Name == shown.Name }) {
			continue
		}
		facts = append(facts, FactOf(c.Loc, fld, shown.Value))
	}
	return facts
}

// FactOf is a field with a value that it has, for a person.
func FactOf(l *text.Locale, f *field.Field, value any) PageFact {
	fact := PageFact{Label: l.Text(labelPhrase(f))}
	if f.Kind == field.KindBoolean {
		_, fact.Label = field.Label(fact.Label)
	}
	if moment, ok := value.(string); ok && moment != "" && f.Kind == field.KindTime {
		fact.Time = moment
	} else {
		fact.Value = factText(l, f.Kind, value)
		fact.Value = cmp.Or(f.Called[fact.Value], fact.Value)
	}
	return fact
}

// factText writes a value for a person.
func factText(l *text.Locale, kind field.Kind, v any) string {
	txt := ""
	switch v := v.(type) {
	case bool:
		if v {
			return l.Text(text.Say("value.yes"))
		}
		return l.Text(text.Say("value.no"))
	case []string:
		txt = strings.Join(v, ", ")
	case string:
		switch kind {
		case field.KindEmail:
			txt = hostname.DisplayAddress(v)
		case field.KindURL:
			txt = hostname.DisplayURL(v)
		default:
			txt = l.Moment(v)
		}
	default:
		txt = field.TextOf(v)
	}
	if txt == "" {
		return "–"
	}
	return txt
}

// longWord is from how many characters on a word may be broken, and how many its pieces
// have at most.
const longWord = 24

// Pieces are those of a text between which a line may be broken, besides its spaces: a
// long address has its domain on a line of its own, and a word without end fits anywhere.
func (PageData) Pieces(text string) (pieces []string) {
	begin := 0
	cut := func(at int) {
		if at > begin {
			pieces = append(pieces, text[begin:at])
			begin = at
		}
	}
	at := 0
	for word := range strings.SplitAfterSeq(text, " ") {
		if utf8.RuneCountInString(word) > longWord {
			length := 0
			for i, r := range word {
				if r == '@' || length == longWord {
					cut(at + i)
					length = 0
				}
				length++
			}
		}
		at += len(word)
	}
	cut(len(text))
	return pieces
}

// fieldError is a line of the summary: which input, and what is wrong with it. A label may
// be a question.
func fieldError(l *text.Locale, label, wrong string) string {
	id := "page.field_error"
	if strings.HasSuffix(label, "?") {
		id = "page.question_error"
	}
	return l.Text(text.Say(id, text.Params{"field": label, "error": wrong}))
}

// languageField offers the languages, each by its own name.
func (ff *FormField) languageField(f *field.Field) {
	if f.Extra {
		ff.addedField(f)
		return
	}
	ff.kind, ff.options, ff.Hint = kindInputSelect, []formOption{{"", text.Say("value.browser_language")}}, text.Say("hint.language")
	for _, tag := range f.Choices {
		ff.options = append(ff.options, formOption{tag, text.Phrase{Words: f.Called[tag]}})
	}
}
