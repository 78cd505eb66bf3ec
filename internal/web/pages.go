// pages.go: the built-in HTML pages: their templates and files, the owner's in
// place of ours, and the writing of a page. What each page has stands in
// pages_forms.go, when it is shown in pages_show.go.

package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/templates"
)

// The templates of all pages, and the style sheet. Besides them an owner may
// give a page a template of its own, named after it (login.html).
const (
	layoutTemplate  = "layout.html"
	contentTemplate = "page.html"
	fieldTemplate   = "field.html"
	passkeyTemplate = "passkey.html"
	styleName       = "style.css"
)

// errorPage is the name of the page of errors.
const errorPage = "error"

// pages renders the HTML of one realm. It does not change once loaded.
type pages struct {
	realm     *Realm
	templates map[string]*template.Template // by page
	Files     map[string]*pageFile          // by name below the path
	Names     []string                      // that can have a template of their own
	site      string
	// style, brand and logo are the addresses of the files; "": there is none.
	style, brand, logo string
	// script is that of the pages that ask for passkeys; "": none does.
	script string
	csp    string
}

// A pageFile is a file that the pages load.
type pageFile struct {
	contentType, version string
	Body                 []byte
}

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
	// files; the latter may be empty.
	Home, Path, Style, Brand, Logo string
	// SignedInAs is the name of who is signed in, or empty.
	SignedInAs string
	// Errors are all that is wrong with what was sent.
	Errors []PageError
	// Facts are fields of the account that the page shows and no input has.
	Facts []PageFact
	// Form is nil where there is nothing to fill in or to confirm.
	Form *PageForm
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
	// Picture is the address of a QR code, App a link that opens what reads it.
	Picture string
	App     *PageURL
	// Codes are shown this once; Download has them as a file.
	Codes    []string
	Download *PageURL
	// Action is the one way on, if there is one; Links are the others.
	Action *PageLink
	Links  []PageLink

	loc *text.Locale
}

// T is the message of the catalogue with this id.
func (d PageData) T(id string) (string, error) {
	return d.loc.Message(id, text.Params{"title": d.Title})
}

// Date writes a moment, given as in RFC 3339, in the page's language.
func (d PageData) Date(moment string) string { return d.loc.Moment(moment) }

// Lang is the BCP 47 tag of the page's language.
func (d PageData) Lang() string { return d.loc.Name }

// PageError is one thing that is wrong. Field is the id of the input that it is
// about, or empty.
type PageError struct{ Field, Text string }

// PageFact is a field of an account as it is shown. Time is in place of the value: a
// moment, given as in RFC 3339.
type PageFact struct{ Label, Value, Time string }

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
	// Kind is the type of an input, or select.
	Kind string
	// Value is what it begins with, of a checkbox what it sends; a password's is always empty.
	Value string
	// Checked is for a checkbox, Options for a select.
	Checked                 bool
	Options                 []PageOption
	Autocomplete, InputMode string
	MinLength, MaxLength    int
	Min, Max, Step          string
	Required                bool
	// Verbatim: nothing may correct what is typed.
	Verbatim bool
	// Optional is the word for it, empty where the input is required.
	Optional, Hint string
	Errors         []string
	// More is a page that tells more, to be opened beside the form; nil: none.
	More *PageLink
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

// PageOption is one choice of a select.
type PageOption struct {
	Value, Label string
	Selected     bool
}

// NewPages reads the templates and the logo, so that what is wrong with them is an error
// now; with pages off it reads nothing. The endpoints have to be set.
func NewPages(r *Realm) (*pages, error) {
	p := &pages{realm: r, site: r.Options.Pages.Title, templates: map[string]*template.Template{}, Files: map[string]*pageFile{}}
	p.site = cmp.Or(p.site, r.SiteName)
	if r.Options.Pages.Off {
		return p, nil
	}
	for name, e := range r.Endpoints {
		if e.Form != nil {
			p.Names = append(p.Names, name)
		}
	}
	slices.Sort(p.Names)
	p.Names = append(p.Names, errorPage)
	if r.Owner != nil {
		p.Names = append(p.Names, OwnerPath)
	}
	folder := r.Options.Pages.Folder
	if err := p.checkFolder(folder, r.Options.Pages.FolderNamed); err != nil {
		return nil, err
	}
	style, err := p.read(folder, styleName)
	if err != nil {
		return nil, err
	}
	p.style = p.serveFile(styleName, "text/css; charset=utf-8", []byte(style))
	if r.Options.Factors.Passkeys != nil {
		script, err := templates.FS.ReadFile("pages/" + scriptName)
		if err != nil {
			return nil, err
		}
		p.script = p.serveFile(scriptName, "text/javascript; charset=utf-8", script)
	}
	if p.brand, err = p.ownFile("pages.stylesheet", r.Options.Pages.Stylesheet, "brand", 256<<10); err != nil {
		return nil, err
	}
	if p.logo, err = p.ownFile("pages.logo", r.Options.Pages.Logo, "logo", 1<<20); err != nil {
		return nil, err
	}
	// form-action also governs where an answer to a form may redirect.
	actions := append([]string{"'self'"}, r.Origins.trusted.Sources()...)
	for _, target := range []string{r.Options.Mailed[sign.PurposeResetPassword].Redirect.Success, r.Options.Mailed[sign.PurposeResetPassword].Redirect.Failure} {
		if u, err := url.Parse(target); err == nil && u.Host != "" {
			actions = append(actions, u.Scheme+"://"+u.Host)
		}
	}
	p.csp = "default-src 'none'; style-src 'self'; img-src 'self'; form-action " + strings.Join(actions, " ") + "; frame-ancestors 'none'; base-uri 'none'"
	return p, p.parse(folder)
}

// read returns a template of the pages: the owner's if there is one, else ours.
func (p *pages) read(folder, name string) (string, error) {
	if folder != "" {
		raw, err := os.ReadFile(filepath.Join(folder, name)) //nolint:gosec // the owner names the folder; the name is ours
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return string(raw), err
		}
	}
	raw, err := templates.FS.ReadFile("pages/" + name)
	return string(raw), err
}

// checkFolder refuses a folder that is missing though it was named, and a
// template that no page uses, most likely for a slip in its name.
func (p *pages) checkFolder(folder string, named bool) error {
	if folder == "" {
		return nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !named {
			return nil
		}
		return setting.Errorf("pages.templates", "%v", err)
	}
	known := []string{layoutTemplate, contentTemplate, fieldTemplate, passkeyTemplate}
	for _, name := range p.Names {
		known = append(known, name+".html")
	}
	for _, entry := range entries {
		if name := entry.Name(); path.Ext(name) == ".html" && !slices.Contains(known, name) {
			return setting.Errorf("pages.templates", "%s: no page uses this file; the names are: %s, %s", filepath.Join(folder, name), strings.Join(known, ", "), styleName)
		}
	}
	return nil
}

// parse reads all templates and renders every page with sample data, so that a
// broken one is an error now and not at the first visit.
func (p *pages) parse(folder string) error {
	wrong := func(err error) error {
		if folder == "" {
			return fmt.Errorf("page template: %w", err)
		}
		return fmt.Errorf("page template in %s: %w", folder, err)
	}
	base := template.New("")
	for _, name := range []string{layoutTemplate, contentTemplate, fieldTemplate, passkeyTemplate} {
		text, err := p.read(folder, name)
		if err == nil {
			_, err = base.New(name).Parse(text)
		}
		if err != nil {
			return wrong(err)
		}
	}
	for _, name := range p.Names {
		set, err := base.Clone()
		if err != nil {
			return wrong(err)
		}
		content := set.Lookup(contentTemplate)
		switch {
		case name == OwnerPath: // has a template of its own
			text, err := p.read(folder, name+".html")
			if err == nil {
				content, err = set.New(name + ".html").Parse(text)
			}
			if err != nil {
				return wrong(err)
			}
		case folder != "":
			raw, err := os.ReadFile(filepath.Join(folder, name+".html")) //nolint:gosec // as above
			if err == nil {
				content, err = set.New(name + ".html").Parse(string(raw))
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return wrong(err)
			}
		}
		if _, err = set.AddParseTree("content", content.Tree); err != nil {
			return wrong(err)
		}
		p.templates[name] = set
		for _, sample := range p.samples(name) {
			if err := set.ExecuteTemplate(&bytes.Buffer{}, layoutTemplate, sample); err != nil {
				return wrong(err)
			}
		}
	}
	return nil
}

// samples are a page that has everything, and one that has nothing.
func (p *pages) samples(name string) []PageData {
	full := PageData{
		Page: name, Title: "x", Text: []string{"x"}, Note: "x", SignedInAs: "x", Errors: []PageError{{Field: "x", Text: "x"}, {Text: "x"}},
		Facts: []PageFact{{"x", "x", ""}, {"x", "", "x"}}, Sessions: []PageSession{{ID: "x", UserAgent: "x", Device: "x", Current: true}, {}}, Action: &PageLink{"x", "x"}, Links: []PageLink{{"x", "x"}}, Brand: "x", Logo: "x",
		Factors: []PageFactor{{ID: "x", Created: "x", LastUsed: "x"}, {}}, Trusted: []PageTrusted{{ID: "x", Device: "x", Current: true}, {}}, Tokens: []PageToken{{ID: "x", Created: "x", LastUsed: "x", Expires: "x", Limits: "x"}, {}}, Picture: "x", App: &PageURL{"x", "x"}, Codes: []string{"x"}, Download: &PageURL{"x", "x"},
		Form: &PageForm{Again: true, Username: "x", Hidden: []PageHidden{{"x", "x"}}, Passkey: &PagePasskey{Sudo: "x", Autofill: true, Needed: "x"}}, Script: "x",
		Passkey: &PageForm{Hidden: []PageHidden{{"x", "x"}}, Passkey: &PagePasskey{Creates: true, Alone: true}},
	}
	for _, kind := range []string{"text", "checkbox", "select", "textarea"} {
		full.Form.Fields = append(full.Form.Fields, PageField{
			Name: "x", Kind: kind, Value: "x", Checked: true, Options: []PageOption{{"x", "x", true}, {"y", "y", false}}, Autocomplete: "x", InputMode: "x",
			MinLength: 1, MaxLength: 1, Min: "1", Max: "1", Step: "1", Required: true, Verbatim: true, Optional: "x", Hint: "x", Errors: []string{"x", "y"}, More: &PageLink{"x", "x"},
		}, PageField{Name: "y", Kind: kind})
	}
	full.loc = p.realm.Languages.Locales[0]
	samples := []PageData{full, {Page: name, loc: full.loc}, {Page: name, loc: full.loc, Form: &PageForm{}}}
	if name != OwnerPath {
		return samples
	}
	for i, owner := range p.realm.Owner.Samples() {
		sample := samples[min(i, 1)]
		sample.Owner = owner
		samples = append(samples, sample)
	}
	return samples[3:]
}

// ownFile reads a file of the owner's and returns the address at which the
// pages find it, "" where there is none.
func (p *pages) ownFile(option, file, name string, limit int64) (string, error) {
	if file == "" {
		return "", nil
	}
	extension := strings.ToLower(filepath.Ext(file))
	contentType := LogoTypes[extension]
	if extension == ".css" {
		contentType = "text/css; charset=utf-8"
	}
	info, err := os.Stat(file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > limit) {
		return "", setting.Errorf(option, "%s is no file of up to %d KiB; name another, or make it smaller", file, limit>>10)
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(file) //nolint:gosec // the owner names it
	}
	if err != nil {
		return "", setting.Errorf(option, "%v", err)
	}
	return p.serveFile(name+extension, contentType, raw), nil
}

// serveFile makes a file available below the path and returns its address,
// which changes with what is in it.
func (p *pages) serveFile(name, contentType string, body []byte) string {
	sum := sha256.Sum256(body)
	version := base64.RawURLEncoding.EncodeToString(sum[:6])
	p.Files[name] = &pageFile{contentType: contentType, version: version, Body: body}
	return p.realm.Address("/"+name) + "?v=" + version
}

// file answers with a file of the pages, or returns false.
func (p *pages) file(w http.ResponseWriter, req *http.Request, name string) bool {
	f, ok := p.Files[name]
	if !ok {
		return false
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	if req.URL.RawQuery == "v="+f.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	// A logo may be an SVG, which could bring a script along when opened by itself.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	serveVersion(w, req, f.contentType, `"`+f.version+`"`, f.Body)
	return true
}

// Write renders a page and sends it.
func (p *pages) Write(w http.ResponseWriter, c *Call, status int, d PageData) {
	d.loc, d.Site, d.Path, d.Home = c.Loc, p.site, p.realm.Address(""), p.realm.home()
	d.Style, d.Brand, d.Logo, d.Script = p.style, p.brand, p.logo, d.script(p)
	if c.Who != nil {
		d.SignedInAs = hostname.DisplayAddress(AccountName(c.Who.User))
	}
	var out bytes.Buffer
	if err := p.templates[d.Page].ExecuteTemplate(&out, layoutTemplate, d); err != nil {
		// The templates were checked when they were loaded; what can still fail is
		// an owner's own logic.
		p.realm.writeError(w, c.Req, &refusal.Error{Code: refusal.CodeInternal, Cause: err})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	policy := p.csp
	if d.Script != "" {
		policy += passkeyCSP
	}
	h.Set("Content-Security-Policy", p.realm.Origins.formActions(policy))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// The origin alone: a link's signature stays out of the Referer, which logs
	// keep, and forms still carry the Origin that the CSRF check needs.
	h.Set("Referrer-Policy", "strict-origin")
	inLanguage(w, c.Loc)
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(status)
	if c.Req.Method != http.MethodHead {
		_, _ = w.Write(out.Bytes())
	}
}

// AccountName is what an account is called on its pages.
func AccountName(u *store.User) string {
	if u.Username == "" {
		return u.Email
	}
	return u.Username
}

// LogoTypes are the media types that a logo may have, by the end of its name.
var LogoTypes = map[string]string{
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
	".webp": "image/webp", ".avif": "image/avif", ".gif": "image/gif",
}
