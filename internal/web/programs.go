// programs.go: tokens for programs in requests, in the document and on pages: whose one is,
// and what it is good for. Where one is good, package token knows.

package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/store"
)

// byProgram is who a token for programs belongs to: ErrNotFound where it is none, or no
// good, CodePermissionDenied where it is not good for what the request is for.
func (r *Realm) byProgram(req *http.Request, a *account.Accounts, text string) (session.Principal, error) {
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
	asked := r.OriginalPath(req)
	if asked == "" {
		asked = req.URL.Path
	}
	if !token.Good(p.Path, asked, token.Request{Target: req.RequestURI, EscapedPath: req.URL.EscapedPath(), Header: req.Header}) {
		return session.Principal{}, refusal.New(refusal.CodePermissionDenied)
	}
	return p, nil
}

// ByBasic is who a token for programs belongs to that a client sends as the password of
// HTTP Basic, with the account's username or e-mail address; else as Authenticate. No
// other password is good here.
func (r *Realm) ByBasic(req *http.Request) (session.Principal, error) {
	name, text, ok := req.BasicAuth()
	a := r.Ready(req.Context())
	if !ok || a == nil {
		return session.Principal{}, store.ErrNotFound
	}
	p, err := r.byProgram(req, a, text)
	if err != nil {
		return session.Principal{}, err
	}
	u := p.User
	if name == "" || field.UniqueKey(name) != field.UniqueKey(u.Username) && (u.Email == "" || u.EmailPending || field.EmailKey(name) != field.EmailKey(u.Email)) {
		return session.Principal{}, store.ErrNotFound
	}
	return p, nil
}

// asker is who asks for an endpoint. A token for programs is good for reading at those
// alone that say so.
func (r *Realm) asker(req *http.Request, e *Endpoint) (session.Principal, error) {
	if e.Programs && isRead(req) {
		if scheme, text, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok && (strings.EqualFold(scheme, "Token") || strings.EqualFold(scheme, "Bearer")) {
			p, err := r.byProgram(req, r.Accounts.Load(), strings.TrimSpace(text))
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
