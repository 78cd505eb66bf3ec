// adminapi.go: what an administrator does with accounts, over Caddy's admin API,
// which only the machine's own users reach by default.

package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

func init() {
	caddy.RegisterModule(new(AdminAPI))
}

// AdminAPI answers, below /registration/ of Caddy's admin endpoint:
//
//	GET    /registration/<realm>/users                 all accounts, a JSON object a line, by id
//	GET    /registration/<realm>/users/<id or login>   one account
//	PATCH  /registration/<realm>/users/<id or login>   {"is_active": …, "is_staff": …, "groups": […]} and added fields, read-only and hidden ones too
//	DELETE /registration/<realm>/users/<id or login>   the account is gone for good
//
// Instead of the last part of the path, the query may say which account: ?id=, the
// id alone, or ?name=, a login alone, which takes names that no path can have (`..`).
// Where several accounts answer to a login (one's username is another's address or
// id), nothing is done: 409 with their ids.
//
// A change is in force at the account's very next request.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.registration", New: func() caddy.Module { return new(AdminAPI) }}
}

const adminPrefix = "/registration/"

// Routes implements caddy.AdminRouter.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminPrefix, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func adminError(status int, message string) error {
	return caddy.APIError{HTTPStatus: status, Err: errors.New(message), Message: message}
}

func (*AdminAPI) serve(w http.ResponseWriter, req *http.Request) error {
	realmName, target, err := adminTarget(req.URL)
	if err != nil {
		return err
	}
	// The configuration that runs, and not the one that this module belongs to:
	// Caddy opens the admin endpoint of a new configuration before it has loaded
	// the apps, and a context's apps are not to be read meanwhile.
	app, err := caddy.ActiveContext().AppIfConfigured("registration")
	if err != nil {
		return adminError(http.StatusServiceUnavailable, "no registration directive is running")
	}
	r := app.(*App).realm(realmName)
	if r == nil || r.Accounts.Load() == nil {
		return adminError(http.StatusNotFound, "there is no realm "+realmName)
	}
	accounts := r.Accounts.Load()
	if target.all() {
		return exportUsers(w, req, accounts)
	}
	u, err := target.find(req.Context(), accounts)
	if err == nil {
		switch req.Method {
		case http.MethodGet:
		case http.MethodPatch:
			change, badBody := decodeChange(http.MaxBytesReader(w, req.Body, web.MaxBody))
			if badBody != nil {
				return adminError(http.StatusBadRequest, `the body is {"is_active": true, "is_staff": false, "groups": ["…"]} and added fields by name, each of them optional: `+badBody.Error())
			}
			u, err = accounts.Administer(req.Context(), u.ID, change)
		case http.MethodDelete:
			err = accounts.Delete(req.Context(), u.ID)
		default:
			w.Header().Set("Allow", "GET, PATCH, DELETE")
			return adminError(http.StatusMethodNotAllowed, "the methods are GET, PATCH and DELETE")
		}
	}
	if ambiguous := (*account.AmbiguousError)(nil); errors.As(err, &ambiguous) {
		return adminError(http.StatusConflict, ambiguous.Error())
	}
	if err != nil {
		refused := web.AsRefusal(err)
		if refused.Code == refusal.CodeUserNotFound {
			return adminError(http.StatusNotFound, refused.Error())
		}
		message := refused.Error()
		if slices.ContainsFunc(refused.Fields, func(e refusal.FieldError) bool { return e.Field == field.Groups }) {
			message += fmt.Sprintf("; the name of a group is %s, and an account has at most %d", identity.GroupRule, account.MaxGroups)
		}
		return adminError(web.StatusOf(refused.Code), message)
	}
	if req.Method == http.MethodDelete {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	web.WriteJSON(w, http.StatusOK, "application/json", administered(accounts, u))
	return nil
}

// adminAccount is which account a request is about: a part of the path, an id or a
// name; none of them: all.
type adminAccount struct{ either, id, name string }

func (t adminAccount) all() bool { return t == adminAccount{} }

func (t adminAccount) find(ctx context.Context, accounts *account.Accounts) (*store.User, error) {
	switch {
	case t.id != "":
		return accounts.LookupID(ctx, t.id)
	case t.name != "":
		return accounts.LookupName(ctx, t.name)
	}
	return accounts.Lookup(ctx, t.either)
}

// adminTarget reads an address. Its path is split before it is unescaped, so that
// a name may have a slash (%2F). What it doesn't know it refuses: a mistyped
// parameter must not make one account of all.
func adminTarget(address *url.URL) (realm string, target adminAccount, err error) {
	wrong := adminError(http.StatusNotFound, "the address is /registration/<realm>/users, /registration/<realm>/users/<id or login>, or /registration/<realm>/users?id=<id> or ?name=<login>")
	parts := strings.Split(strings.TrimPrefix(address.EscapedPath(), adminPrefix), "/")
	for i, part := range parts {
		if parts[i], err = url.PathUnescape(part); err != nil {
			return "", target, wrong
		}
	}
	if len(parts) < 2 || len(parts) > 3 || parts[1] != "users" || len(parts) == 3 && parts[2] == "" {
		return "", target, wrong
	}
	if len(parts) == 3 {
		target.either = parts[2]
	}
	query, err := url.ParseQuery(address.RawQuery)
	if err != nil {
		return "", target, adminError(http.StatusBadRequest, "the query can't be read; escape the name in it")
	}
	for param, values := range query {
		switch {
		case len(values) != 1 || values[0] == "" || !target.all():
			return "", target, adminError(http.StatusBadRequest, "name one account, once: in the path, by ?id= or by ?name=")
		case param == "id":
			target.id = values[0]
		case param == "name":
			target.name = values[0]
		default:
			return "", target, adminError(http.StatusBadRequest, "the query has "+param+"; what it can say is ?id=<id> or ?name=<login>")
		}
	}
	return parts[0], target, nil
}

// administered is an account as an administrator sees it: every field, and what
// stands behind is_active. Its password's hash is not among it.
func administered(a *account.Accounts, u *store.User) web.Object {
	var all web.Object
	for _, f := range a.Policy.Fields.All {
		all = append(all, web.NewObject(f.Name, f.Get(u))...)
	}
	return append(all, web.NewObject("email_verified", u.EmailVerified, "awaits_verification", u.AwaitsVerification)...)
}

// decodeChange reads the body of a PATCH. That a field exists, and that its
// value is good, is for Administer to say.
func decodeChange(body io.Reader) (account.AdminChange, error) {
	var change account.AdminChange
	raw, err := io.ReadAll(body)
	if err != nil {
		return change, err
	}
	if err := json.Unmarshal(raw, &change); err != nil {
		return change, err
	}
	in, err := web.DecodeJSON(raw)
	for _, name := range []string{field.IsActive, field.IsStaff, field.Groups} {
		delete(in, name)
	}
	change.Fields = in
	return change, err
}

// exportBatch is how many accounts are read in one transaction, so that an export
// of a million holds back no writer's pages.
const exportBatch = 500

// exportUsers writes all accounts, one JSON object a line (NDJSON), in order of
// id. Who signs up or changes meanwhile may be in it or not, each as a whole. If
// the store fails on the way, the connection is cut: a short list must not look
// like a whole one.
func exportUsers(w http.ResponseWriter, req *http.Request, accounts *account.Accounts) error {
	if req.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		return adminError(http.StatusMethodNotAllowed, "the method is GET")
	}
	var after uuid.UUID
	for begun := false; ; begun = true {
		var batch []*store.User
		err := accounts.View(req.Context(), func(tx store.Tx) (err error) {
			batch, err = tx.Users(after, exportBatch)
			return err
		})
		switch {
		case err != nil && !begun:
			refusal := web.AsRefusal(err)
			return adminError(web.StatusOf(refusal.Code), refusal.Error())
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("Cache-Control", "no-store")
		}
		for _, u := range batch {
			line, err := json.Marshal(administered(accounts, u))
			if err != nil {
				return err
			}
			if _, err := w.Write(append(line, '\n')); err != nil {
				return nil //nolint:nilerr // the client has gone
			}
		}
		if len(batch) < exportBatch {
			return nil
		}
		after = batch[len(batch)-1].ID
	}
}

// Interface guard
var _ caddy.AdminRouter = (*AdminAPI)(nil)
