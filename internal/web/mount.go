// mount.go: where the accounts are: the path at which requests arrive, and the one
// that browsers know, which a proxy or handle_path before us may have shortened.

package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
)

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

// Below returns what follows a mount point in a path, without slashes at either end,
// and false for a path that is not below it. Like Caddy's own matchers, and
// so like a guard that stands before other paths, it takes letters in any case.
func Below(mount, path string) (rest string, ok bool) {
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
	if name, ok = Below(r.Path, req.URL.Path); ok {
		return name, true
	}
	original := r.OriginalPath(req)
	if original == "" || original == req.URL.Path {
		return "", false
	}
	if name, ok = Below(r.Path, original); ok {
		return name, true
	}
	if prefix := r.Options.Prefix; prefix != "" {
		return Below(prefix+r.Path, original)
	}
	return "", false
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
	if next != "" {
		return next
	}
	return r.Address("/profile/")
}
