// settings_pages.go: the settings of the built-in pages, how they are branded, and
// redirect mode, in which a mailed link acts at once; and the owner's pages: who may see
// them, and how fresh a sign-in has to be to change something on them.

package registration

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/palette"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// PagesSettings turns the built-in HTML pages off, or makes them the owner's.
// The files are read when the configuration loads, and served below the path.
type PagesSettings struct {
	// Whether the pages are off, because a frontend of yours does their work.
	// Default: false.
	Off bool `json:"off,omitempty"`
	// The name of the site on its pages and in its mails. Default: the host of `base_url`.
	Title string `json:"title,omitempty"`
	// An image file that stands for the name in the page's head, at most 1 MiB:
	// `.svg`, `.png`, `.jpg`, `.webp`, `.avif` or `.gif`. Its alternative text is
	// the title. Placeholders are replaced when the configuration loads.
	// Mails show it too where it is a PNG, JPEG or GIF of at most 64 KiB.
	// Default: the title in words.
	Logo string `json:"logo,omitempty"`
	// The same for who has chosen dark colours. It needs a `logo`. Default: the logo.
	LogoDark string `json:"logo_dark,omitempty"`
	// The icon that browsers show beside the title of a page, at most 256 KiB: `.ico`,
	// `.svg`, `.png`, `.jpg`, `.webp`, `.avif` or `.gif`. Placeholders are replaced when
	// the configuration loads. Default: what the site itself has at `/favicon.ico`.
	Favicon string `json:"favicon,omitempty"`
	// The colour of buttons and links, on pages and in mails: six hexadecimal digits,
	// such as `7a1f5c`. It has to be dark enough to be read on a light ground (a contrast
	// of 4.5 to 1); what takes its place on a dark one is made of it. Default: `2451c7`.
	Accent string `json:"accent,omitempty"`
	// Where a browser goes after a sign-in that no page has asked for (`next`), and who is
	// signed in already and opens the page to sign in or up: a path on this site, or a URL.
	// Placeholders are replaced when the configuration loads. Default: the site's front page,
	// `/`, or the profile where the configuration has nothing there.
	Home string `json:"home,omitempty"`
	// Where a browser goes after a sign-out: a path on this site, or a URL. Placeholders are
	// replaced when the configuration loads. Default: a page that says so, with the way back.
	Goodbye string `json:"goodbye,omitempty"`
	// What stands at the foot of every page, in this order. Default: nothing.
	Links []LinkSettings `json:"links,omitempty"`
	// A CSS file, at most 256 KiB, that pages load after the built-in style
	// sheet: it mostly sets the custom properties (colours, shapes) at the
	// top of that. Placeholders are replaced when the configuration loads.
	// Default: none.
	Stylesheet string `json:"stylesheet,omitempty"`
	// A folder whose files replace the page templates of the same name
	// (`layout.html`, `form.html`, …). Placeholders are replaced when the
	// configuration loads. Default: the folder `pages` in `templates`.
	Templates string `json:"templates,omitempty"`
}

// LinkSettings is a link at the foot of every page: to help, what becomes of the data, who
// runs the site.
type LinkSettings struct {
	// What it says: `help`, `privacy` or `imprint`, which the reader sees in his language, or
	// words of your own, which are the same in all.
	Label string `json:"label,omitempty"`
	// Where it leads: a path on this site, a URL, or an e-mail address. Placeholders are
	// replaced when the configuration loads.
	URL string `json:"url,omitempty"`
}

// Bounds of the links at the foot of a page.
const (
	maxLinks     = 12
	maxLinkLabel = 100 // bytes
)

// linkLabels are those that the pages have in all languages.
var linkLabels = map[string]text.Phrase{
	"help": text.Say("link.help"), "privacy": text.Say("link.privacy"), "imprint": text.Say("link.imprint"),
}

// resolvedLinks are the links with their placeholders filled in, and hosts in ASCII.
func resolvedLinks(links []LinkSettings, replace func(setting, value string) string) []LinkSettings {
	links = slices.Clone(links)
	for i := range links {
		links[i].URL = hostname.URL(replace("pages.links.url", links[i].URL))
	}
	return links
}

// links are the links as pages have them.
func (p *PagesSettings) links(o *web.Options) (out []web.SiteLink) {
	for _, l := range p.Links {
		link := web.SiteLink{Href: o.OnSite(l.URL), Label: text.Phrase{Words: l.Label}}
		if !strings.HasPrefix(l.URL, "/") {
			link.Href = mailtoOrURL(l.URL)
		}
		if known, ok := linkLabels[l.Label]; ok {
			link.Label = known
		}
		out = append(out, link)
	}
	return out
}

func (s *Settings) checkSiteLinks(bad badFunc) {
	if len(s.Pages.Links) > maxLinks {
		bad("pages.links", "there are more than %d; lead to a page that has the others", maxLinks)
	}
	for _, l := range s.Pages.Links {
		if strings.TrimSpace(l.Label) == "" || len(l.Label) > maxLinkLabel || strings.ContainsFunc(l.Label, unicode.IsControl) {
			bad("pages.links.label", "%q is no line of up to %d bytes; write for example: link privacy /privacy/", l.Label, maxLinkLabel)
		}
		switch {
		case hasPlaceholder(l.URL):
		case strings.HasPrefix(l.URL, "/") && web.IsSitePath(l.URL), field.MeansAddress(l.URL):
		case strings.Contains(l.URL, "://"):
			if err := checkHTTPURL(l.URL, true); err != nil {
				bad("pages.links.url", "%v, or a path on this site, or an e-mail address", err)
			}
		default:
			bad("pages.links.url", "%q is no path on this site, no URL and no e-mail address; write for example: link privacy /privacy/", l.URL)
		}
	}
}

// linkOption reads `link privacy /privacy/`.
func linkOption(to *[]LinkSettings) option {
	return func(p *parser, name string) error {
		args := p.RemainingArgs()
		if len(args) != 2 {
			return p.Errf("%s takes what the link says and where it leads; write for example: link privacy /privacy/", name)
		}
		*to = append(*to, LinkSettings{args[0], args[1]})
		return nil
	}
}

// RedirectSettings is redirect mode: the act behind a mailed link is done as
// soon as the link is opened, and the browser is sent on. Whatever opens links
// before people do, as some mail scanners do, then acts too.
type RedirectSettings struct {
	// Where a browser goes once the act is done: a URL, or a path on this site.
	// Placeholders are replaced when the configuration loads. Default: none, and
	// the built-in page asks first.
	SuccessRedirect string `json:"success_redirect,omitempty"`
	// Where a browser goes if the link is not valid, was used, or has expired.
	// Needed with `success_redirect`, and only with it.
	FailureRedirect string `json:"failure_redirect,omitempty"`
}

// on reports whether redirect mode is on.
func (s RedirectSettings) on() bool { return s.SuccessRedirect != "" }

func (s *Settings) checkPages(bad badFunc) {
	p := s.Pages
	if strings.ContainsFunc(p.Title, func(r rune) bool { return r < ' ' }) || len(p.Title) > 200 {
		bad("pages.title", "a title is one line of up to 200 bytes; shorten it")
	}
	for _, f := range []named[string]{{"pages.logo", p.Logo}, {"pages.logo_dark", p.LogoDark}, {"pages.favicon", p.Favicon}, {"pages.stylesheet", p.Stylesheet}} {
		if strings.Contains(f.value, "://") {
			bad(f.setting, "%q is an address; name a file, which the plugin then serves itself, so that pages load nothing from elsewhere", f.value)
			return
		}
	}
	for _, f := range []named[string]{{"pages.logo", p.Logo}, {"pages.logo_dark", p.LogoDark}} {
		if f.value != "" && !hasPlaceholder(f.value) && web.LogoTypes[strings.ToLower(path.Ext(f.value))] == "" {
			bad(f.setting, "%q is no image file that pages can show; name a .svg, .png, .jpg, .webp, .avif or .gif file", f.value)
		}
	}
	s.checkColours(bad)
	if p.LogoDark != "" && p.Logo == "" {
		bad("pages.logo_dark", "there is no logo beside it for who sees light colours; add: logo /etc/caddy/logo.svg")
	}
	if extension := strings.ToLower(path.Ext(p.Favicon)); p.Favicon != "" && !hasPlaceholder(p.Favicon) && extension != web.IconExtension && web.LogoTypes[extension] == "" {
		bad("pages.favicon", "%q is no icon that browsers show; name a .ico, .svg, .png, .jpg, .webp, .avif or .gif file", p.Favicon)
	}
	if p.Stylesheet != "" && !hasPlaceholder(p.Stylesheet) && !strings.EqualFold(path.Ext(p.Stylesheet), ".css") {
		bad("pages.stylesheet", "%q is no style sheet; name a .css file", p.Stylesheet)
	}
	s.checkSiteLinks(bad)
	s.checkWaysOn(bad)
	s.checkRedirects(bad)
}

func (s *Settings) checkWaysOn(bad badFunc) {
	for _, f := range []named[string]{{"pages.home", s.Pages.Home}, {"pages.goodbye", s.Pages.Goodbye}} {
		if f.value != "" && !hasPlaceholder(f.value) {
			if err := s.checkWayOn(f.value); err != nil {
				bad(f.setting, "%v", err)
			}
		}
	}
}

// checkWayOn accepts where people go after a sign-in or sign-out: an absolute URL, or a path
// that is not itself a page which sends on who is signed in, or asks for it.
func (s *Settings) checkWayOn(target string) error {
	err := s.checkRedirect(target)
	path, own := target, strings.HasPrefix(target, "/")
	if base := strings.TrimSuffix(s.BaseURL, "/"); !own && base != "" {
		path, own = strings.CutPrefix(target, base)
	}
	if err != nil || !own {
		return err
	}
	for _, name := range []string{"login", "login-factor", "register", "logout", "step-up"} {
		if rest, ok := strings.CutPrefix(path, s.Path+"/"+name); ok && (rest == "" || strings.ContainsAny(rest[:1], "/?#")) {
			return fmt.Errorf("%q is where people come from, so the browser would go round in a circle; name another page, such as /", target)
		}
	}
	return nil
}

// checkRedirects says what is wrong with where mailed links lead on to.
func (s *Settings) checkRedirects(bad badFunc) {
	for _, r := range []named[RedirectSettings]{
		{"register", s.Register.RedirectSettings}, {"reset_password", s.ResetPassword.RedirectSettings}, {"register_email", s.RegisterEmail.RedirectSettings},
	} {
		success, failure := r.value.SuccessRedirect, r.value.FailureRedirect
		switch {
		case success != "" && failure == "":
			bad(r.setting+".failure_redirect", "missing, but success_redirect is set; add: failure_redirect https://example.com/link-failed/")
		case success == "" && failure != "":
			bad(r.setting+".success_redirect", "missing, but failure_redirect is set; add: success_redirect https://example.com/welcome/")
		}
		for _, u := range []named[string]{{r.setting + ".success_redirect", success}, {r.setting + ".failure_redirect", failure}} {
			if u.value != "" && !hasPlaceholder(u.value) {
				if err := s.checkRedirect(u.value); err != nil {
					bad(u.setting, "%v", err)
				}
			}
		}
	}
}

func (s *Settings) checkColours(bad badFunc) {
	if _, err := s.Pages.accent(); err != nil {
		bad("pages.accent", "%v; write for example: accent 7a1f5c", err)
	}
}

// accent is the colour that was chosen; zero: none.
func (p *PagesSettings) accent() (palette.Accent, error) {
	if p.Accent == "" {
		return palette.Accent{}, nil
	}
	c, err := palette.Parse(p.Accent)
	if err != nil {
		return palette.Accent{}, err
	}
	return palette.NewAccent(c)
}

// checkRedirect accepts an absolute URL or a path on this site that is not
// itself a link's endpoint, which would send the browser round in a circle.
func (s *Settings) checkRedirect(target string) error {
	if !strings.HasPrefix(target, "/") {
		if err := checkHTTPURL(target, true); err != nil {
			return fmt.Errorf("%w, or a path on this site, such as /welcome/", err)
		}
		return nil
	}
	// A path has to pass the check of `next`: no browser may read it as a host.
	if !web.IsSitePath(target) {
		return fmt.Errorf("%q is not a path on this site; write for example /welcome/", target)
	}
	for _, name := range []string{"verify-registration", "verify-email"} {
		if rest, ok := strings.CutPrefix(target, s.Path+"/"+name); ok && (rest == "" || strings.ContainsAny(rest[:1], "/?#")) {
			return fmt.Errorf("%q is where the mailed link leads, so the browser would go round in a circle; name a page of yours", target)
		}
	}
	return nil
}

// pagesOption reads `pages on`, `pages off` or `pages { … }`.
func pagesOption(to *PagesSettings) option {
	lines := blockOption(map[string]option{
		"title":      textOption(&to.Title, `"Example"`),
		"logo":       textOption(&to.Logo, "/etc/caddy/logo.svg"),
		"logo_dark":  textOption(&to.LogoDark, "/etc/caddy/logo-dark.svg"),
		"favicon":    textOption(&to.Favicon, "/etc/caddy/favicon.ico"),
		"home":       textOption(&to.Home, "/members/"),
		"goodbye":    textOption(&to.Goodbye, "/goodbye/"),
		"link":       linkOption(&to.Links),
		"accent":     textOption(&to.Accent, "7a1f5c"),
		"stylesheet": textOption(&to.Stylesheet, "/etc/caddy/brand.css"),
		"templates":  textOption(&to.Templates, "/etc/caddy/pages"),
	})
	return func(p *parser, name string) error {
		const usage = "pages takes on, off or a block; write for example: pages off, or a line such as title \"Example\" in its block"
		switch args := p.RemainingArgs(); {
		case len(args) > 1 || len(args) == 1 && !slices.Contains([]string{"on", "off"}, args[0]):
			return p.Err(usage)
		case len(args) == 1:
			to.Off = args[0] == "off"
			return nil
		}
		if err := lines(p, name); err != nil {
			return err
		}
		if reflect.DeepEqual(*to, PagesSettings{}) {
			return p.Err(usage)
		}
		return nil
	}
}

// AdminSettings turns on the owner's pages, below `admin/` of the path.
type AdminSettings struct {
	// The group whose members see the pages and act on them. To everybody else they
	// don't exist (404). Required.
	Group string `json:"group,omitempty"`
	// How long after the sign-in something can be changed without the password.
	// Default: 15 minutes.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
	// Whether who may needs a second factor, and has to have shown it at the sign-in, before
	// he sees or does anything: `off` or `required`. It asks for nothing where nobody can set
	// up a factor. Default: `required`.
	SecondFactor string `json:"second_factor,omitempty"`
}

// What admin.second_factor can be.
const (
	secondFactorOff      = "off"
	secondFactorRequired = "required"
)

// maxAdminAge bounds how old a sign-in may be that changes somebody else's account.
const maxAdminAge = day

func (s *Settings) setAdminDefaults() {
	if s.Admin == nil {
		return
	}
	a := *s.Admin // the settings as they were configured stay as they are
	setDefault(&a.MaxAge, caddy.Duration(15*time.Minute))
	setDefault(&a.SecondFactor, secondFactorRequired)
	s.Admin = &a
}

func (s *Settings) checkAdmin(bad badFunc) {
	a := s.Admin
	if a == nil {
		return
	}
	switch {
	case a.Group == "":
		bad("admin.group", "missing: who may see the owner's pages? Write for example: group admins")
	case !identity.IsGroup(a.Group):
		bad("admin.group", "%q can't be the name of a group, which is %s; write for example: group admins", a.Group, identity.GroupRule)
	}
	if d := time.Duration(a.MaxAge); d < time.Minute || d > maxAdminAge {
		bad("admin.max_age", "must be at least one minute and at most one day; write for example: max_age 15m")
	}
	if a.SecondFactor != secondFactorOff && a.SecondFactor != secondFactorRequired {
		bad("admin.second_factor", "%q is neither off nor required; write: second_factor required", a.SecondFactor)
	}
	if !*s.Login.Session {
		bad("admin", "the owner's pages need the session cookie; remove session off from login, or the block admin")
	}
}

// adminOption reads `admin { group admins … }`.
func adminOption(to **AdminSettings) option {
	return func(p *parser, name string) error {
		*to = new(AdminSettings)
		return blockOption(map[string]option{
			"group":         textOption(&(*to).Group, "admins"),
			"max_age":       durationOption(&(*to).MaxAge),
			"second_factor": textOption(&(*to).SecondFactor, secondFactorRequired),
		})(p, name)
	}
}
