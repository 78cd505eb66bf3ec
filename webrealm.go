// webrealm.go: a realm as browsers and programs meet it: what it serves below its path.

package registration

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"go.uber.org/zap"
)

// webOptions is what an owner has decided about the endpoints and pages of a
// realm, resolved. It doesn't change once they are served.
type webOptions struct {
	*Policy
	// Name is the realm's; Path, where its endpoints live, without a slash at the end.
	Name, Path string
	// BaseURL is where people reach the site, without a slash at the end; it may be empty.
	BaseURL string
	// TrustedOrigins may ask with the cookie besides the site's own.
	TrustedOrigins []string
	// NonFieldErrorsKey: a single refusal stands under non_field_errors.
	NonFieldErrorsKey bool
	// JWT: tokens are signed access tokens.
	JWT bool
	// Mailed has where the links of mails lead, where that is not our own page,
	// and the redirect mode of their acts.
	Mailed map[Purpose]webMailed
	Cookie struct{ Name, Domain, SameSite string }
	Pages  struct {
		Off                     bool
		Title, Logo, Stylesheet string
		// Folder has the owner's templates; FolderNamed: he named it, so it has to be there.
		Folder      string
		FolderNamed bool
	}
}

// webMailed is what an owner has decided about the link of a mail.
type webMailed struct {
	URL      string
	Redirect webRedirect
}

// webRedirect is redirect mode: where a browser goes after the act; zero: off.
type webRedirect struct{ Success, Failure string }

func (r webRedirect) on() bool { return r.Success != "" }

// webRealm is what a realm serves. Its fields are set before it serves and do not
// change; accounts is nil until the store is open.
type webRealm struct {
	name, path string
	options    *webOptions
	logger     *zap.Logger
	now        func() time.Time
	accounts   atomic.Pointer[Accounts]
	throttles  *budget.Ledger
	// count counts a refusal by the throttle of this name.
	count func(throttle string)
	// clientIP is the address of who asks, as the trusted proxies tell it.
	clientIP func(*http.Request) string
	// originalURI is the address that the client asked for, before any rewrite.
	originalURI func(*http.Request) string
	// heed looks at what came through a proxy.
	heed func(*http.Request)
	// skipLog keeps a request out of the access log.
	skipLog func(*http.Request)
	// siteName is what mails and pages call the site.
	siteName string

	endpoints   map[string]*endpoint
	openapi     *openAPI
	languages   *languages
	pages       *pages
	origins     *originPolicy
	https       bool   // base_url is https: cookies are Secure whoever terminates TLS
	baseHost    string // host[:port] of base_url, "" if none
	cookiePlain string
	cookieTLS   string
	sameSite    http.SameSite
	// copiesIdentity is set where a guard copies identity headers: then what a
	// client sends under these names is removed on all routes of the site.
	copiesIdentity atomic.Bool
	toldOfGroups   atomic.Bool // see groupsOf
}
