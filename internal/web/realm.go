// realm.go: a realm as browsers and programs meet it: what it serves below its path.
// That is the path at which requests arrive, and the one that browsers know, which a
// proxy or handle_path before us may have shortened.

package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/metrics"
	"github.com/seed-928992b0/caddy-registration/internal/palette"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Options is what an owner has decided about the endpoints and pages of a
// realm, resolved. It doesn't change once they are served.
type Options struct {
	*account.Policy
	// Name is the realm's; Path, where its endpoints live, without a slash at the end.
	Name, Path string
	// BaseURL is where people reach the site, without a slash at the end; it may be empty.
	BaseURL string
	// Prefix is its path (PrefixOf).
	Prefix string
	// TrustedOrigins may ask with the cookie besides the site's own.
	TrustedOrigins []string
	// NonFieldErrorsKey: a single refusal stands under non_field_errors.
	NonFieldErrorsKey bool
	// Contact is where who can't get on finds help, a URL; "": nowhere.
	Contact string
	// TermsPage is where people read the terms; "": there are none.
	TermsPage string
	// JWT: tokens are signed access tokens.
	JWT bool
	// Mailed has where the links of mails lead, where that is not our own page,
	// and the redirect mode of their acts.
	Mailed map[sign.Purpose]Mailed
	// Authz: other servers may ask who is signed in; Legacy: below LegacyAuthz too.
	Authz  struct{ On, Legacy bool }
	Cookie struct{ Name, Domain, SameSite string }
	Pages  struct {
		Off                     bool
		Title, Logo, Stylesheet string
		// LogoDark is for who sees dark colours; Favicon what browsers show beside a title.
		LogoDark, Favicon string
		// Home is where a browser goes after a sign-in, Goodbye after a sign-out; "": where
		// it goes by itself (AfterSignIn, SignedOut).
		Home, Goodbye string
		// Links stand at the foot of every page.
		Links []SiteLink
		// Accent is the colour of buttons and links; zero: that of the style sheet.
		Accent palette.Accent
		// Folder has the owner's templates; FolderNamed: he named it, so it has to be there.
		Folder      string
		FolderNamed bool
	}
}

// SiteLink is a link of an owner's at the foot of every page.
type SiteLink struct {
	Href  string
	Label text.Phrase
}

// OnSite is a page that an owner has named, a path or a URL, as browsers ask for it.
func (o *Options) OnSite(page string) string {
	if strings.HasPrefix(page, "/") {
		return o.Prefix + page
	}
	return page
}

// Mailed is what an owner has decided about the link of a mail.
type Mailed struct {
	URL      string
	Redirect Redirect
}

// Redirect is redirect mode: where a browser goes after the act; zero: off.
type Redirect struct{ Success, Failure string }

func (r Redirect) on() bool { return r.Success != "" }

// Realm is what a realm serves. Its fields are set before it serves and do not
// change; Accounts is nil, and Throttles is not to be read, until the store is open.
type Realm struct {
	Name, Path string
	Options    *Options
	Logger     *zap.Logger
	Now        func() time.Time
	Accounts   atomic.Pointer[account.Accounts]
	// Opening is closed when the store has been opened, or won't be; nil: it is
	// not being opened. A request that comes before waits for it, see Ready.
	Opening   chan struct{}
	Throttles *budget.Ledger
	// Count counts a refusal by the throttle of this name.
	Count func(throttle string)
	// Guards are the counters of an endpoint that other servers ask at.
	Guards func(endpoint string) metrics.Guarded
	// SignInElsewhere counts a sign-in that a provider did not give, by the code of its refusal.
	SignInElsewhere func(code string)
	// ClientIP is the address of who asks, as the trusted proxies tell it.
	ClientIP func(*http.Request) string
	// OriginalURI is the address that the client asked for, before any rewrite.
	OriginalURI func(*http.Request) string
	// OriginalPath is the path of that, unescaped; "" where it is not known.
	OriginalPath func(*http.Request) string
	// Heed looks at what came through a proxy.
	Heed func(*http.Request)
	// HeedThrottled looks at what a throttle refuses.
	HeedThrottled func(*http.Request)
	// FromProxy reports whether a request comes from a proxy that the owner trusts.
	FromProxy func(*http.Request) bool
	// SkipLog keeps a request out of the access log.
	SkipLog func(*http.Request)
	// SiteName is what mails and pages call the site.
	SiteName string

	// Owner has the pages of who looks after the accounts; nil: there are none.
	Owner       OwnerPages
	Endpoints   map[string]*Endpoint
	Openapi     *openAPI
	Languages   *text.Languages
	Pages       *pages
	Origins     *OriginPolicy
	Https       bool   // base_url is https: cookies are Secure whoever terminates TLS
	BaseHost    string // host[:port] of base_url, "" if none
	CookiePlain string
	CookieTLS   string
	sameSite    http.SameSite
	// CopiesIdentity is set where a guard copies identity headers: then what a
	// client sends under these names is removed on all routes of the site.
	CopiesIdentity atomic.Bool
	// FrontPage is set where the configuration has something at the site's front page.
	FrontPage    atomic.Bool
	ToldOfGroups atomic.Bool // see GroupsOf
	toldOfCircle atomic.Bool // see SentBack
}

// openPatience is how long a request waits for the store to be opened. Servers may
// listen a moment before that; where it takes longer (the migration of a large
// store), who asks is told to come again.
const openPatience = 4 * time.Second

// Ready returns the accounts once the store is open, nil where it isn't soon.
func (r *Realm) Ready(ctx context.Context) *account.Accounts {
	if a := r.Accounts.Load(); a != nil || r.Opening == nil {
		return a
	}
	return r.await(ctx)
}

func (r *Realm) await(ctx context.Context) *account.Accounts {
	patience := time.NewTimer(openPatience)
	defer patience.Stop()
	select {
	case <-r.Opening:
	case <-ctx.Done():
	case <-patience.C:
	}
	return r.Accounts.Load()
}

// PrefixOf is the path of a base_url, without a slash at the end: what somebody
// before us takes off the addresses that browsers ask for. "" for most.
func PrefixOf(baseURL string) string {
	u, err := url.Parse(baseURL)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.EscapedPath(), "/")
}

// Address is that of a page below the realm's path ("/login/"), as browsers ask for
// it on this site: it begins with a slash.
func (r *Realm) Address(page string) string { return r.Options.Prefix + r.Path + page }

// home is the address of the site's front page.
func (r *Realm) home() string { return r.Options.Prefix + "/" }

// below returns what follows a mount point in a path, without slashes at either end,
// and false for a path that is not below it. Like Caddy's own matchers, and
// so like a guard that stands before other paths, it takes letters in any case.
func below(mount, path string) (rest string, ok bool) {
	if len(path) < len(mount) || !strings.EqualFold(path[:len(mount)], mount) {
		return "", false
	}
	rest = path[len(mount):]
	if rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(rest, "/"), "/")), true
}

// Endpoint returns the name of the endpoint, or file, that a request asks for, and
// false where it asks for nothing of ours. Where a rewrite has taken the path away
// (try_files, as every single-page app has it), the path before that counts.
func (r *Realm) Endpoint(req *http.Request) (name string, ok bool) {
	if name, ok = r.mounted(req.URL.Path); ok {
		return name, true
	}
	original := r.OriginalPath(req)
	if original == "" || original == req.URL.Path {
		return "", false
	}
	if name, ok = r.mounted(original); ok {
		return name, true
	}
	if prefix := r.Options.Prefix; prefix != "" {
		return below(prefix+r.Path, original)
	}
	return "", false
}

// AuthzPath is the first part of the paths at which other servers ask who is signed in;
// LegacyAuthz is where Authelia has them, and so do configurations of its time.
const (
	AuthzPath   = "authz/"
	LegacyAuthz = "/api/authz"
)

// mounted is below for the places where the realm is mounted.
func (r *Realm) mounted(path string) (name string, ok bool) {
	if name, ok = below(r.Path, path); ok || !r.Options.Authz.Legacy {
		return name, ok
	}
	if name, ok = below(LegacyAuthz, path); !ok {
		return "", false
	}
	name = AuthzPath + name
	return name, r.Endpoints[name] != nil
}

// WithNext is the address of a page below the realm's path that remembers where
// the person wanted to go.
func (r *Realm) WithNext(page, next string) string {
	if next == "" {
		return r.Address(page)
	}
	return r.Address(page) + "?" + sign.ParamNext + "=" + url.QueryEscape(next)
}

// AfterSignIn is where a browser goes once signed in.
func (r *Realm) AfterSignIn(next string) string {
	switch {
	case next != "":
		return next
	case r.Options.Pages.Home != "":
		return r.Options.Pages.Home
	case r.FrontPage.Load():
		return r.home()
	}
	return r.Address("/profile/")
}

// SendOn sends on who is signed in already, and returns false where nobody is, or where the
// page that he came from doesn't see it.
func (r *Realm) SendOn(w http.ResponseWriter, c *Call) bool {
	if c.Who == nil || c.Who.Session.Kind != store.KindSession || !r.SentBack(w, c) {
		return false
	}
	SeeOther(w, http.StatusFound, r.AfterSignIn(c.Next))
	return true
}

// OwnerPages are the pages of who looks after the accounts, below OwnerPath.
type OwnerPages interface {
	// Serve answers a request for a path below the realm's, or returns false where
	// there is nothing for who asks: then the answer is that of any unknown path.
	Serve(w http.ResponseWriter, req *http.Request, path string) bool
	// Samples are what the template of the pages has to be able to show (PageData.Owner).
	Samples() []any
	// Described are the pages as endpoints, for the OpenAPI document alone: one for each
	// path and method. Schemas are those that they answer with.
	Described() []*Endpoint
	Schemas() Object
}

// OwnerPath is the first part of the paths of the owner's pages, and the name of their
// template.
const OwnerPath = "admin"
