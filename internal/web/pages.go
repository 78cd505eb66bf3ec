// pages.go: the built-in HTML pages: their templates and files, the owner's in
// place of ours, and the writing of a page. What each page has stands in
// pages_forms.go, when it is shown in pages_show.go, what a template sees of it in
// pages_data.go.

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
	"sync"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/palette"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/templates"
)

// The templates of all pages, and the style sheet. Besides them an owner may
// give a page a template of its own, named after it (login.html).
const (
	layoutTemplate  = "layout.html"
	contentTemplate = "page.html"
	ownerTemplate   = OwnerPath + ".html"
	fieldTemplate   = "field.html"
	passkeyTemplate = "passkey.html"
	styleName       = "style.css"
)

// sharedTemplates are those that all pages have.
var sharedTemplates = []string{layoutTemplate, contentTemplate, fieldTemplate, passkeyTemplate}

// errorPage is the name of the page of errors.
const errorPage = "error"

// pages renders the HTML of one realm. It does not change once loaded.
type pages struct {
	realm *Realm
	own   map[string]*template.Template // by page, where the owner has a folder of templates
	Files map[string]*pageFile          // by name below the path
	Names []string                      // that can have a template of their own
	site  string
	// These are the addresses of the files; "": there is none.
	style, brand, logo, logoDark, favicon string
	// These are of the pages that ask for a password or a passkey; "": none does.
	passwordScript, passkeyScript string
	csp                           string
}

// A pageFile is a file that the pages load.
type pageFile struct {
	contentType, version string
	Body                 []byte
}

// NewPages reads the templates and the logo, so that what is wrong with them is an error
// now; with pages off it reads nothing. The endpoints have to be set.
func NewPages(r *Realm) (*pages, error) {
	p := &pages{realm: r, site: r.Options.Pages.Title, own: map[string]*template.Template{}, Files: map[string]*pageFile{}}
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
	p.style = p.serveFile(styleName, contentTypes[".css"], []byte(style+accentStyle(r.Options.Pages.Accent)))
	if err := p.serveScripts(r.Options.Factors.Passkeys != nil); err != nil {
		return nil, err
	}
	if p.brand, err = p.ownFile("pages.stylesheet", r.Options.Pages.Stylesheet, "brand", 256<<10); err != nil {
		return nil, err
	}
	if p.logo, err = p.ownFile("pages.logo", r.Options.Pages.Logo, "logo", 1<<20); err != nil {
		return nil, err
	}
	if p.logoDark, err = p.ownFile("pages.logo_dark", r.Options.Pages.LogoDark, "logo-dark", 1<<20); err != nil {
		return nil, err
	}
	if p.favicon, err = p.ownFile("pages.favicon", r.Options.Pages.Favicon, "favicon", 256<<10); err != nil {
		return nil, err
	}
	if p.favicon != "" { // whoever asks by the name that has been usual
		p.Files["favicon"+IconExtension] = p.Files["favicon"+strings.ToLower(filepath.Ext(r.Options.Pages.Favicon))]
	}
	// form-action also governs where an answer to a form may redirect.
	actions := append([]string{"'self'"}, r.Origins.trusted.Sources()...)
	reset := r.Options.Mailed[sign.PurposeResetPassword].Redirect
	for _, target := range []string{reset.Success, reset.Failure, r.Options.Pages.Home, r.Options.Pages.Goodbye} {
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
	return readBuiltIn(name)
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
	known := slices.Clone(sharedTemplates)
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

// parse reads the owner's templates and renders every page that has one of them with sample
// data, so that a broken one is an error now and not at the first visit.
func (p *pages) parse(folder string) error {
	if folder == "" {
		return nil
	}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(folder, name))
		return !errors.Is(err, fs.ErrNotExist)
	}
	shared := slices.ContainsFunc(sharedTemplates, has)
	read := func(name string) (string, error) { return p.read(folder, name) }
	base := sync.OnceValues(func() (*template.Template, error) { return parseLayout(read) })
	usual := sync.OnceValues(func() (*template.Template, error) { return pageSet(base, read, contentTemplate) })
	for _, name := range p.Names {
		mine := has(name + ".html")
		if !shared && !mine {
			continue
		}
		var err error
		if mine || name == OwnerPath { // which has a template of its own
			p.own[name], err = pageSet(base, read, name+".html")
		} else {
			p.own[name], err = usual()
		}
		for _, sample := range p.samples(name) {
			if err == nil {
				err = p.own[name].ExecuteTemplate(&bytes.Buffer{}, layoutTemplate, sample)
			}
		}
		if err != nil {
			return fmt.Errorf("page template in %s: %w", folder, err)
		}
	}
	return nil
}

// pageSet is what all pages have, with the template of what stands in the layout.
func pageSet(base func() (*template.Template, error), read func(name string) (string, error), content string) (*template.Template, error) {
	shared, err := base()
	if err != nil {
		return nil, err
	}
	set, err := shared.Clone()
	if err != nil {
		return nil, err
	}
	inside := set.Lookup(content)
	if content != contentTemplate {
		text, err := read(content)
		if err != nil {
			return nil, err
		}
		if inside, err = set.New(content).Parse(text); err != nil {
			return nil, err
		}
	}
	return set.AddParseTree("content", inside.Tree)
}

// builtInPages are the templates of all pages and that of the owner's, as they come with the
// program, by the one that has what stands in the layout. They are the same in every
// configuration, so they are parsed once, for the first page; what can go wrong in them the
// tests have seen.
var builtInPages = sync.OnceValues(func() (sets map[string]*template.Template, err error) {
	base := sync.OnceValues(func() (*template.Template, error) { return parseLayout(readBuiltIn) })
	sets = map[string]*template.Template{}
	for _, name := range []string{contentTemplate, ownerTemplate} {
		if sets[name], err = pageSet(base, readBuiltIn, name); err != nil {
			return nil, err
		}
	}
	return sets, nil
})

// template is that of a page.
func (p *pages) template(name string) (*template.Template, error) {
	if own := p.own[name]; own != nil {
		return own, nil
	}
	sets, err := builtInPages()
	if name == OwnerPath {
		return sets[ownerTemplate], err
	}
	return sets[contentTemplate], err
}

// parseLayout reads what all pages have.
func parseLayout(read func(name string) (string, error)) (*template.Template, error) {
	base := template.New("")
	for _, name := range sharedTemplates {
		text, err := read(name)
		if err == nil {
			_, err = base.New(name).Parse(text)
		}
		if err != nil {
			return nil, err
		}
	}
	return base, nil
}

func readBuiltIn(name string) (string, error) {
	raw, err := templates.FS.ReadFile("pages/" + name)
	return string(raw), err
}

// samples are a page that has everything, and one that has nothing.
func (p *pages) samples(name string) []PageData {
	full := PageData{
		Page: name, Title: "x", Text: []string{"x"}, Note: "x", SignedInAs: "x", SiteLinks: []PageLink{{"x", "x"}}, Here: "x", Languages: []PageLanguage{{"x", "x", "x", true}, {}}, Errors: []PageError{{Field: "x", Text: "x"}, {Text: "x"}},
		Facts: []PageFact{{"x", "x", ""}, {"x", "", "x"}}, Sessions: []PageSession{{ID: "x", UserAgent: "x", Device: "x", Current: true}, {}}, Action: &PageLink{"x", "x"}, Links: []PageLink{{"x", "x"}}, Heading: "x", Sections: []PageSection{{"x", "x", []string{"x"}, []PageFact{{"x", "x", ""}, {"x", "", "x"}}, []PageLink{{"y", "y"}}}, {}}, Brand: "x", Logo: "x", LogoDark: "x", Favicon: "x",
		Factors: []PageFactor{{ID: "x", Created: "x", LastUsed: "x"}, {}}, Trusted: []PageTrusted{{ID: "x", Device: "x", Current: true}, {}}, Tokens: []PageToken{{ID: "x", Created: "x", LastUsed: "x", Expires: "x", Limits: "x"}, {}}, Emails: []PageEmail{{Email: "x", Shown: "x", Waits: true, Further: true, CanLead: true}, {}}, Picture: "x", Mailbox: &PageLink{"x", "x"}, App: &PageURL{"x", "x"}, Codes: []string{"x"}, Download: &PageURL{"x", "x"}, elsewhere: elsewhere{Providers: []PageProvider{{"x", "x", []PageHidden{{"x", "x"}}}, {}}, Linked: []PageLinked{{ID: "x", Created: "x", LastUsed: "x"}, {}}},
		Form: &PageForm{Again: true, Username: "x", Hidden: []PageHidden{{"x", "x"}}, Passkey: &PagePasskey{Sudo: "x", Autofill: true, Needed: "x"}}, Script: "x",
		Passkey: &PageForm{Hidden: []PageHidden{{"x", "x"}}, Passkey: &PagePasskey{Creates: true, Alone: true}},
	}
	for _, kind := range []string{"text", "checkbox", "select", "textarea"} {
		full.Form.Fields = append(full.Form.Fields, PageField{
			Name: "x", Kind: kind, Value: "x", Checked: true, Options: []PageOption{{"x", "x", true}, {"y", "y", false}}, Autocomplete: "x", InputMode: "x",
			MinLength: 1, MaxLength: 1, Required: true, Verbatim: true, Optional: "x", Hint: "x", Linked: []field.LabelPart{{Text: "x", Href: "x"}, {Text: "x"}}, Errors: []string{"x", "y"}, Reveal: &PageReveal{Digits: "x", Enough: "x"}, More: &PageLink{"x", "x"},
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
	contentType := cmp.Or(contentTypes[extension], LogoTypes[extension])
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
	d.Style, d.Brand, d.Logo, d.LogoDark, d.Favicon, d.Script = p.style, p.brand, p.logo, p.logoDark, p.favicon, d.script(p)
	if c.Who != nil {
		d.SignedInAs = hostname.DisplayAddress(AccountName(c.Who.User))
	}
	for _, link := range p.realm.Options.Pages.Links {
		d.SiteLinks = append(d.SiteLinks, PageLink{link.Href, c.Loc.Text(link.Label)})
	}
	d.settle()
	if d.Form != nil {
		Ease(d.Form.Fields)
	}
	p.offerLanguages(c, &d, status)
	if asked := p.realm.askedLanguage(c.Req); asked != nil && d.Form != nil && d.Form.Action != "" {
		d.Form.Action = withQuery(d.Form.Action, paramLang, asked.Name) // of a browser that keeps no cookie
	}
	var out bytes.Buffer
	set, err := p.template(d.Page)
	if err == nil {
		err = set.ExecuteTemplate(&out, layoutTemplate, d)
	}
	if err != nil {
		// The templates were checked when they were loaded; what can still fail is
		// an owner's own logic.
		p.realm.writeError(w, c.Req, &refusal.Error{Code: refusal.CodeInternal, Cause: err})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	policy := d.formsLead(p.realm, p.csp)
	switch d.Script {
	case "":
	case p.passkeyScript:
		policy += passkeyCSP
	default:
		policy += scriptCSP
	}
	h.Set("Content-Security-Policy", p.realm.Origins.formActions(policy))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// The origin alone: a link's signature stays out of the Referer, which logs
	// keep, and forms still carry the Origin that the CSRF check needs.
	h.Set("Referrer-Policy", "strict-origin")
	inLanguage(w, c.Loc)
	h.Add("Vary", "Cookie")
	p.realm.keepAsked(w, c.Req)
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

// IconExtension is how the name of an icon ends that every browser knows.
const IconExtension = ".ico"

// contentTypes are those of the other files.
var contentTypes = map[string]string{".css": "text/css; charset=utf-8", IconExtension: "image/x-icon"}

// accentStyle has the style sheet take on an accent.
func accentStyle(a palette.Accent) string {
	if a == (palette.Accent{}) {
		return ""
	}
	return fmt.Sprintf("\n:root { --accent: %s; --on-accent: %s; }\n@media (prefers-color-scheme: dark) {\n  :root { --accent: %s; --on-accent: %s; }\n}\n", a.Light, a.OnLight, a.Dark, a.OnDark)
}
