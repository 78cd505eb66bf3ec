// adminapi.go: what an administrator does with accounts, over Caddy's admin API,
// which only the machine's own users reach by default.

package registration

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(new(AdminAPI))
}

// AdminAPI answers, below /registration/ of Caddy's admin endpoint:
//
//	GET    /registration/<realm>/users/<id or login>   one account
//	PATCH  /registration/<realm>/users/<id or login>   {"is_active": …, "is_staff": …, "groups": […]}
//	DELETE /registration/<realm>/users/<id or login>   the account is gone for good
//
// A change is in force at the account's very next request.
type AdminAPI struct {
	ctx caddy.Context
}

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.registration", New: func() caddy.Module { return new(AdminAPI) }}
}

// Provision keeps the context, through which the running app is found.
func (a *AdminAPI) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	return nil
}

const adminPrefix = "/registration/"

// Routes implements caddy.AdminRouter.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminPrefix, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func adminError(status int, message string) error {
	return caddy.APIError{HTTPStatus: status, Err: errors.New(message), Message: message}
}

func (a *AdminAPI) serve(w http.ResponseWriter, req *http.Request) error {
	parts := strings.Split(strings.TrimPrefix(req.URL.Path, adminPrefix), "/")
	if len(parts) != 3 || parts[1] != "users" || parts[2] == "" {
		return adminError(http.StatusNotFound, "the address is /registration/<realm>/users/<id or login>")
	}
	app, err := a.ctx.AppIfConfigured("registration")
	if err != nil {
		return adminError(http.StatusServiceUnavailable, "no registration directive is running")
	}
	r := app.(*App).realm(parts[0])
	if r == nil || r.accounts.Load() == nil {
		return adminError(http.StatusNotFound, "there is no realm "+parts[0])
	}
	accounts := r.accounts.Load()
	u, err := accounts.Lookup(req.Context(), parts[2])
	if err == nil {
		switch req.Method {
		case http.MethodGet:
		case http.MethodPatch:
			var change AdminChange
			dec := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxBody))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&change); err != nil {
				return adminError(http.StatusBadRequest, `the body is {"is_active": true, "is_staff": false, "groups": ["…"]}, each of them optional: `+err.Error())
			}
			u, err = accounts.Administer(req.Context(), u.ID, change)
		case http.MethodDelete:
			err = accounts.Delete(req.Context(), u.ID)
		default:
			w.Header().Set("Allow", "GET, PATCH, DELETE")
			return adminError(http.StatusMethodNotAllowed, "the methods are GET, PATCH and DELETE")
		}
	}
	if err != nil {
		refusal := asRefusal(err)
		if refusal.Code == CodeUserNotFound {
			return adminError(http.StatusNotFound, refusal.Error())
		}
		return adminError(statusOf(refusal.Code), refusal.Error())
	}
	if req.Method == http.MethodDelete {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	var all shownFields
	for _, f := range r.settings.fields.all {
		all = append(all, Shown{f.name, f.get(u)})
	}
	all = append(all, Shown{"email_verified", u.EmailVerified}, Shown{"awaits_verification", u.AwaitsVerification})
	writeJSON(w, http.StatusOK, "application/json", all)
	return nil
}

// Interface guards
var (
	_ caddy.AdminRouter = (*AdminAPI)(nil)
	_ caddy.Provisioner = (*AdminAPI)(nil)
)
