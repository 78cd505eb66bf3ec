// credentials.go: what an app behind the guard must not see of a request: our
// cookies and our opaque token, with which it could act for its visitor; and the tokens for
// programs: whose one is and what it is good for. Where one is good, package token knows.

package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/store"
)

// cookieSuffixes are those of all cookies that are ours: whatever newCookie is given
// stands here.
var cookieSuffixes = []string{"", DeviceSuffix, flashSuffix, SignUpSuffix, linkSuffix, keptSuffix, backSuffix, challengeSuffix, passkeySuffix, codeSuffix, trustedSuffix, knownSuffix}

// Credentials are the headers of a request as they were before Take.
type Credentials struct {
	cookie, authorization []string
	rest                  [1]string // what is left of the usual one line
}

// Take removes from a request our cookies, by whichever of their names, and the
// Authorization that an opaque token, or one for programs, came in; kind is what the request was
// authenticated by. An access token stays: backends verify it themselves. The app's
// own cookies stay as they were, byte for byte and in their order. What was there is
// left in taken.
func (r *Realm) Take(req *http.Request, kind store.SessionKind, taken *Credentials) {
	h := req.Header
	lines := h["Cookie"]
	left := taken.rest[:0]
	for i, line := range lines {
		rest, ours := r.withoutOurs(line)
		if ours && taken.cookie == nil { // not in place: Give puts these back
			taken.cookie = lines
			left = append(left, lines[:i]...)
		}
		if taken.cookie != nil && rest != "" {
			left = append(left, rest)
		}
	}
	switch {
	case taken.cookie == nil:
	case len(left) == 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = left
	}
	if kind == store.KindToken || kind == store.KindProgram {
		taken.authorization = h["Authorization"]
		delete(h, "Authorization")
	}
}

// Give puts back what Take has taken.
func (taken *Credentials) Give(req *http.Request) {
	if taken.cookie != nil {
		req.Header["Cookie"] = taken.cookie
	}
	if taken.authorization != nil {
		req.Header["Authorization"] = taken.authorization
	}
}

// withoutOurs is a Cookie header without our pairs, and whether it had any. It takes
// time by the length of the header, whatever is in it, and copies only what it must.
func (r *Realm) withoutOurs(line string) (rest string, ours bool) {
	start, end := r.nextOurs(line, 0)
	if start < 0 {
		return line, false
	}
	if next, _ := r.nextOurs(line, end); next < 0 { // one, as browsers send it
		switch {
		case start == 0:
			return strings.TrimLeft(strings.TrimPrefix(line[end:], ";"), " \t"), true
		case end == len(line):
			return line[:start-1], true
		}
		return line[:start-1] + line[end:], true
	}
	var out strings.Builder
	out.Grow(len(line))
	for from := 0; from <= len(line); {
		if start < 0 {
			start, end = len(line)+1, len(line)+1
		}
		if start > from {
			kept := line[from : start-1]
			if out.Len() > 0 {
				out.WriteByte(';')
			} else if from > 0 {
				kept = strings.TrimLeft(kept, " \t")
			}
			out.WriteString(kept)
		}
		from = end + 1
		start, end = r.nextOurs(line, end)
	}
	return out.String(), true
}

// nextOurs finds the next of our pairs in a Cookie header: from is 0 or where a pair
// ends. start is -1 where there is none.
func (r *Realm) nextOurs(line string, from int) (start, end int) {
	if from > 0 {
		from++ // the semicolon
	}
	for from < len(line) {
		end = strings.IndexByte(line[from:], ';')
		if end < 0 {
			end = len(line)
		} else {
			end += from
		}
		if r.isOurs(line[from:end]) {
			return from, end
		}
		from = end + 1
	}
	return -1, -1
}

// isOurs reports whether a pair of a Cookie header is one of our cookies, read as
// sentCookie reads it.
func (r *Realm) isOurs(pair string) bool {
	for pair != "" && (pair[0] == ' ' || pair[0] == '\t') {
		pair = pair[1:]
	}
	rest, ok := strings.CutPrefix(pair, r.CookieTLS)
	if !ok {
		if rest, ok = strings.CutPrefix(pair, r.CookiePlain); !ok {
			return false
		}
	}
	if rest, _, ok = strings.Cut(rest, "="); !ok {
		return false
	}
	rest = strings.TrimRight(rest, " \t")
	if rest == "" {
		return true
	}
	return slices.Contains(cookieSuffixes, rest)
}

// byProgram is who a token for programs belongs to: ErrNotFound where it is none, or no
// good, CodePermissionDenied where it is not good for what the request is for.
func (r *Realm) byProgram(req *http.Request, a *account.Accounts, text []byte) (session.Principal, error) {
	if !token.Is(text) {
		return session.Principal{}, store.ErrNotFound
	}
	p, err := a.Sessions.LookupProgram(req.Context(), text, r.Now())
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			err = account.StoreError(err)
		}
		return session.Principal{}, err
	}
	if p.Path == "" {
		return p, nil
	}
	if asked, target := r.target(req); !token.Good(p.Path, asked, target) {
		return session.Principal{}, refusal.New(refusal.CodePermissionDenied)
	}
	return p, nil
}

// target is where a request goes, for the path of a token: where another server asks
// about one, that. The path is "" where the server doesn't say it.
func (r *Realm) target(req *http.Request) (path string, to token.Request) {
	if about, ok := req.Context().Value(aboutKey{}).(*token.Request); ok {
		if u, err := url.ParseRequestURI(about.Target); err == nil && u.Host == "" {
			return u.Path, token.Request{Method: about.Method, Target: about.Target, EscapedPath: u.EscapedPath(), Header: about.Header}
		}
		return "", *about
	}
	if path = r.OriginalPath(req); path == "" {
		path = req.URL.Path
	}
	return path, token.Request{Method: req.Method, Target: req.RequestURI, EscapedPath: req.URL.EscapedPath(), Header: req.Header}
}

type aboutKey struct{}

// About is a request by which another server asks about one of its own: the method and the
// target of the request line of that, "" where it isn't told, and its header. For
// Authenticate and ByBasic, tokens are then good by that target.
func About(req *http.Request, method, target string, header http.Header) *http.Request {
	return req.WithContext(context.WithValue(req.Context(), aboutKey{}, &token.Request{Method: method, Target: target, Header: header}))
}

// maxBasic bounds a header of HTTP Basic that is looked into: the longest name that signs in,
// and a token.
const maxBasic = 4 << 10

// ByBasic is who a token for programs belongs to that a client sends as the password of
// HTTP Basic, with the account's username or e-mail address; else as Authenticate. No
// other password is good here.
func (r *Realm) ByBasic(req *http.Request) (session.Principal, error) {
	var short [256]byte
	name, text, ok := basicOf(req.Header["Authorization"], short[:])
	a := r.Ready(req.Context())
	if !ok || a == nil {
		return session.Principal{}, store.ErrNotFound
	}
	p, err := r.byProgram(req, a, text)
	if err != nil {
		return session.Principal{}, err
	}
	if !isNameOf(p.User, name) {
		return session.Principal{}, store.ErrNotFound
	}
	return p, nil
}

// basicOf reads HTTP Basic as req.BasicAuth does, of what may be one of ours, into raw where
// that is large enough.
func basicOf(header []string, raw []byte) (name, password []byte, ok bool) {
	const scheme = "Basic "
	if len(header) == 0 || len(header[0]) > maxBasic || len(header[0]) < len(scheme) || !strings.EqualFold(header[0][:len(scheme)], scheme) {
		return nil, nil, false
	}
	encoded := header[0][len(scheme):]
	if n := base64.StdEncoding.DecodedLen(len(encoded)); n > len(raw) {
		raw = make([]byte, n)
	}
	n, err := base64.StdEncoding.Decode(raw, []byte(encoded))
	if err != nil {
		return nil, nil, false
	}
	return bytes.Cut(raw[:n], []byte{':'})
}

// isNameOf reports whether a name is an account's username, or one of its own addresses.
func isNameOf(u *store.User, sent []byte) bool {
	switch { // as most write it, which costs nothing
	case len(sent) == 0:
		return false
	case string(sent) == u.Username, string(sent) == u.Email && !u.EmailPending:
		return true
	}
	name := string(sent)
	if field.UniqueKey(name) == field.UniqueKey(u.Username) {
		return true
	}
	key := field.EmailKey(name)
	return u.Email != "" && !u.EmailPending && key == field.EmailKey(u.Email) ||
		slices.ContainsFunc(u.FurtherEmails, func(email string) bool { return key == field.EmailKey(email) })
}

// asker is who asks for an endpoint, or its page. A token for programs is good for reading at
// those alone that say so, and for no page.
func (r *Realm) asker(req *http.Request, e *Endpoint, page bool) (session.Principal, error) {
	if e.Programs && isRead(req) && !page {
		if scheme, text, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok && (strings.EqualFold(scheme, "Token") || strings.EqualFold(scheme, "Bearer")) {
			p, err := r.byProgram(req, r.Accounts.Load(), []byte(strings.TrimSpace(text)))
			if refused := (*refusal.Error)(nil); errors.As(err, &refused) && refused.Code == refusal.CodePermissionDenied {
				err = refusal.New(refusal.CodeNotAuthenticated)
			}
			if err == nil || !errors.Is(err, store.ErrNotFound) {
				return p, err
			}
		}
	}
	return r.Authenticate(req, true)
}

// programMembers are those of a token for programs in the list.
func programMembers(txt func(description string, examples ...any) Object) Object {
	stamp := Object{{"type", "string"}, {"format", "date-time"}}
	orNull := func(description string) Object {
		return Object{{"type", []string{"string", "null"}}, {"format", "date-time"}, {"description", description}}
	}
	return Object{
		{"id", txt("For `revoke-token`.", "kPq3mX0bSx2yCkAQo1sI7w")},
		{"name", txt("", "Calendar")},
		{"created", stamp},
		{"last_used", orNull("True to an hour; null: never.")},
		{"expires", orNull("null: never.")},
		{"path", Object{{"type", []string{"string", "null"}}, {"description", "Where it is good, with all below; null: everywhere."}}},
		{"groups", Object{{"type", []string{"array", "null"}}, {"items", Object{{"type", "string"}}}, {"description", "The account's groups that count for it; null: all."}}},
	}
}

// PageToken is a token for programs as the template sees it. Created, LastUsed and Expires
// are as in RFC 3339; the last two, and Limits, may be empty.
type PageToken struct {
	ID, Name, Created, LastUsed, Expires string
	// Limits say where it is good.
	Limits string
}
