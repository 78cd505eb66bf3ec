// Package registration gives a Caddy site accounts: sign-up with e-mail
// verification, sign-in and sign-out, a profile, change and reset of the
// password, change of the e-mail address, over a REST API and built-in pages.
// A second directive, require_login, lets only signed-in people through to any
// other route of the same Caddy.
//
// # How it fits together
//
// A realm is one set of accounts with its settings. The handler in this file
// (directive `registration`) builds it (realm.go) and enters it in the app of
// the running configuration (app.go); guards (guard.go) and the admin API
// (adminapi.go) find it there by name.
//
// A request to an endpoint (handlers.go lists them) is routed, decoded and
// answered by internal/web, and done by internal/account, which knows neither
// Caddy nor HTTP. An act is one transaction of the store (package store;
// store/bolt is the default): the account, its sessions and the mail that the act
// needs are written together. internal/outbox sends that mail afterwards through
// a mailer (mailer.go), with a link that internal/sign has signed.
// docs/architecture.md has the whole tree.
//
// The open store, the live sessions and the outbox outlive a reload; resources.go
// holds them.
package registration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/mail"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler serves the endpoints and pages of one realm below its path, and
// passes every other request on.
type Handler struct {
	Settings

	app    *App
	realm  *realm
	left   bool // the realm was given back
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.registration", New: func() caddy.Module { return new(Handler) }}
}

// Provision checks the settings, opens the store and enters the realm in the
// app. It leaves the JSON settings as they are: what placeholders stand for,
// secrets among it, is kept in unexported fields.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if err := h.provision(ctx); err != nil {
		return fmt.Errorf("%s: registration: %w", orUnknown(h.Source), err)
	}
	return nil
}

func (h *Handler) provision(ctx caddy.Context) (err error) {
	if err := checkHashing(); err != nil {
		return err
	}
	withoutSource := h.Settings
	withoutSource.Source = ""
	fingerprint, err := json.Marshal(withoutSource)
	if err != nil {
		return err
	}
	settings, err := h.resolve()
	if err != nil {
		return err
	}
	if h.app, err = registrationApp(ctx); err != nil {
		return err
	}
	var store StoreModule
	var mailer mail.Mailer
	if h.StoreRaw == nil {
		bolt := new(BoltModule)
		if err := bolt.Provision(ctx); err != nil {
			return err
		}
		store = bolt
	} else {
		mod, err := ctx.LoadModule(h, "StoreRaw")
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		var ok bool
		if store, ok = mod.(StoreModule); !ok {
			return fmt.Errorf("store: %T is not a store", mod)
		}
	}
	if h.MailerRaw != nil {
		mod, err := ctx.LoadModule(h, "MailerRaw")
		if err != nil {
			return fmt.Errorf("mailer: %w", err)
		}
		var ok bool
		if mailer, ok = mod.(mail.Mailer); !ok {
			return fmt.Errorf("mailer: %T is not a mailer", mod)
		}
	}
	rules, err := h.Password.loadPasswordRules(ctx, settings.Realm, h.logger)
	if err != nil {
		return err
	}
	h.realm, err = h.app.define(settings.Realm, string(fingerprint), h.Source, func() (*realm, error) {
		r, err := newRealm(settings, store, mailer, h.logger, theMachines)
		if err != nil {
			return nil, err
		}
		if rules != nil {
			r.Options.PasswordRules = rules.check
		}
		if err := counters.Register(ctx.GetMetricsRegistry()); err != nil {
			return nil, errors.Join(err, r.close())
		}
		if r.events, err = newEvents(ctx, r.Name, h.logger); err != nil {
			return nil, errors.Join(err, r.close())
		}
		return r, nil
	})
	return err
}

// Cleanup releases what Provision acquired; it also runs after a Provision
// that failed.
func (h *Handler) Cleanup() error {
	if h.realm == nil || h.left {
		return nil
	}
	// The field stays: requests that outlive the grace period still pass through.
	h.left = true
	return h.app.leave(h.realm)
}

// ServeHTTP answers what is below the path and passes the rest on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request, next caddyhttp.Handler) error {
	if h.answers(w, req) {
		return nil
	}
	return next.ServeHTTP(w, req)
}

// answers reports whether it has answered the request, which is for an endpoint.
func (h *Handler) answers(w http.ResponseWriter, req *http.Request) bool {
	if name, ok := h.realm.Endpoint(req); ok {
		h.realm.giveBack(req) // it may stand behind a guard
		h.realm.Serve(w, req, name)
		return true
	}
	if h.realm.CopiesIdentity.Load() {
		identity.Strip(req)
	}
	if req.URL.Path == "/.well-known/change-password" && !h.realm.settings.Pages.Off {
		http.Redirect(w, req, h.realm.Address("/change-password/"), http.StatusFound)
		return true
	}
	return false
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
