// adminapi.go: what an administrator does with accounts, over Caddy's admin API,
// which only the machine's own users reach by default.

package registration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-928992b0/caddy-registration/internal/doctor"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

func init() {
	caddy.RegisterModule(new(AdminAPI))
}

// AdminAPI answers, below /registration/ of Caddy's admin endpoint:
//
//	GET    /registration/openapi.json                  this list, to the last parameter
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

// Routes implements caddy.AdminRouter.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminapi.Prefix, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (*AdminAPI) serve(w http.ResponseWriter, req *http.Request) error {
	// The configuration that runs, and not the one that this module belongs to:
	// Caddy opens the admin endpoint of a new configuration before it has loaded
	// the apps, and a context's apps are not to be read meanwhile.
	app, err := caddy.ActiveContext().AppIfConfigured("registration")
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err, Message: "the server runs without a registration directive, or hasn't loaded its configuration yet; where it has none, add it and run caddy reload"}
	}
	err = app.(*App).administration().Serve(w, req)
	if refused := (*adminapi.Error)(nil); errors.As(err, &refused) {
		return caddy.APIError{HTTPStatus: refused.Status, Err: err, Message: refused.Message}
	}
	return err
}

// administration is what an owner can ask of the app's realms.
func (a *App) administration() *adminapi.Server {
	return &adminapi.Server{
		Realm: func(name string) *adminapi.Realm {
			r := a.realm(name)
			if r == nil {
				return nil
			}
			out := &adminapi.Realm{Realm: r.Realm, Ended: r.life.Done(), Facts: r.facts}
			if file, ok := r.storeModule.(*BoltModule); ok {
				out.Folder = filepath.Dir(file.path)
			}
			if r.Accounts.Load() != nil { // then the rest is there
				out.Post, out.Webhooks = r.post, r.sender
			}
			return out
		},
		Names: a.names,
	}
}

// facts are what the doctor judges.
func (r *realm) facts(ctx context.Context) (*doctor.Facts, error) {
	a := r.Accounts.Load()
	f := &doctor.Facts{
		Now: r.Now(), Running: r.post.Worker.Running(), BaseURL: r.settings.BaseURL, Sites: r.sites, Settings: append(r.settings.warnings(), r.Languages.Partial()...),
		Secret: len(r.settings.Secrets) > 0, Proxies: r.proxies.facts(), Versions: versions(),
	}
	if r.mailer != nil {
		f.Mailer = r.post.Mailer
	}
	if file, ok := r.storeModule.(interface{ facts() doctor.StoreFacts }); ok {
		f.Store = file.facts()
	}
	var errs [5]error
	f.Seen, errs[0] = a.ClockSeen(ctx)
	f.Mail, errs[1] = outbox.HealthOf(ctx, a.Store)
	f.Backlog, errs[2] = outbox.BacklogOf(ctx, a.Store)
	f.Webhooks, errs[4] = webhook.StatusOf(ctx, a.Store, r.settings.webhookEndpoints())
	if !f.Secret {
		f.SecondSteps, errs[3] = store.CountUsers(ctx, a.Store, func(u *store.User) bool { return u.HasFactor() })
	}
	return f, errors.Join(errs[:]...)
}

// versions are those of what runs.
func versions() []string {
	version, _ := caddy.Version()
	plugin := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range append(info.Deps, &info.Main) {
			if module.Path == "github.com/seed-928992b0/caddy-registration" {
				plugin = module.Version
				if module.Replace != nil {
					plugin += " from " + module.Replace.Path
				}
			}
		}
	}
	return []string{"Caddy " + version, "caddy-registration " + plugin, runtime.Version(), fmt.Sprintf("schema %d of bbolt stores", bolt.Schema)}
}

// facts are the modes of the file and its folder.
func (m *BoltModule) facts() doctor.StoreFacts {
	out := doctor.StoreFacts{File: m.path, Warnings: m.warnings()}
	if runtime.GOOS == "windows" { // modes say nothing there
		return out
	}
	if info, err := os.Stat(m.path); err == nil {
		out.Mode = info.Mode()
	}
	if info, err := os.Stat(filepath.Dir(m.path)); err == nil {
		out.Folder = info.Mode()
	}
	return out
}

// Interface guard
var _ caddy.AdminRouter = (*AdminAPI)(nil)
