// realm.go: one realm of one running configuration, put together: settings with
// their placeholders replaced, store, signer, mailer, accounts, pages.

package registration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	netmail "net/mail"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/password"
)

// A StoreModule is a guest module in http.registration.stores: it opens the
// stores of realms.
type StoreModule interface {
	// StoreKey identifies what is opened, so that it is opened once a process:
	// an absolute path, a database address. It is called after Provision.
	StoreKey() string
	// OpenStore opens the store of a realm. It waits at most wait for another
	// process to let go of it, and then returns an error that matches
	// ErrStoreLocked. release gives back what the store rests on; it is called
	// once, after the store's Close, and may be nil.
	OpenStore(realm string, wait time.Duration) (store Store, release func() error, err error)
}

// Pools of what outlives a reload. They hold no settings.
var (
	enginePool = caddy.NewUsagePool()
	hasherPool = caddy.NewUsagePool()
)

// hasherKey is the only key of hasherPool: there is one machine to hash on.
const hasherKey = "hasher"

type pooledHasher struct{ *password.Pool }

func (pooledHasher) Destruct() error { return nil }

// realm is a realm of one configuration. Its fields are set before it serves
// and do not change; accounts is nil until the store is open.
type realm struct {
	*webRealm
	settings    *Settings
	fingerprint string // of the settings as configured, to tell two definitions apart
	users       int    // handlers that share it; under App.mu

	storeModule StoreModule
	mailer      Mailer

	engineKey string
	engine    *engine
	hasher    *password.Pool
	postman   *postman
	metrics   *metrics
	// warnedOfProxies: the log has said that clients can choose their address.
	warnedOfProxies atomic.Bool
	started         bool
}

// resolve returns the settings with their placeholders replaced. Each that is
// unset is an error: an empty secret or address must not slip in.
func (s *Settings) resolve() (*Settings, error) {
	repl := caddy.NewReplacer()
	repl.Set("data_dir", caddy.AppDataDir())
	out := *s
	var errs []error
	replace := func(setting, value string) string {
		if !hasPlaceholder(value) {
			return value
		}
		got, err := repl.ReplaceOrErr(value, true, true)
		if err != nil {
			errs = append(errs, settingErrorf(setting, "%v; set it before Caddy starts, or write the value itself", err))
		}
		return got
	}
	replaceAll := func(setting string, values []string) []string {
		list := make([]string, len(values))
		for i, v := range values {
			list[i] = replace(setting, v)
		}
		return list
	}
	out.BaseURL = strings.TrimSuffix(replace("base_url", s.BaseURL), "/")
	out.Secrets = replaceAll("secret", s.Secrets)
	out.From = replace("from", s.From)
	out.ReplyTo = replace("reply_to", s.ReplyTo)
	out.Templates = replace("templates", s.Templates)
	out.TrustedOrigins = replaceAll("trusted_origins", s.TrustedOrigins)
	out.Register.VerificationURL = replace("register.verification_url", s.Register.VerificationURL)
	out.ResetPassword.VerificationURL = replace("reset_password.verification_url", s.ResetPassword.VerificationURL)
	out.RegisterEmail.VerificationURL = replace("register_email.verification_url", s.RegisterEmail.VerificationURL)
	out.RegisterEmail.UndoURL = replace("register_email.undo_url", s.RegisterEmail.UndoURL)
	for setting, to := range map[string]*RedirectSettings{
		"register": &out.Register.RedirectSettings, "reset_password": &out.ResetPassword.RedirectSettings, "register_email": &out.RegisterEmail.RedirectSettings,
	} {
		to.SuccessRedirect = replace(setting+".success_redirect", to.SuccessRedirect)
		to.FailureRedirect = replace(setting+".failure_redirect", to.FailureRedirect)
	}
	out.Pages.Logo = replace("pages.logo", s.Pages.Logo)
	out.Pages.Stylesheet = replace("pages.stylesheet", s.Pages.Stylesheet)
	out.Pages.Templates = replace("pages.templates", s.Pages.Templates)
	out.Session.CookieDomain = replace("session.cookie_domain", s.Session.CookieDomain)
	if s.Login.JWT != nil {
		j := *s.Login.JWT
		j.Issuer, j.Audience = replace("login.jwt.issuer", j.Issuer), replaceAll("login.jwt.audience", j.Audience)
		out.Login.JWT = &j
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out.setDefaults()
	return &out, out.check()
}

// newRealm puts a realm together and opens its store. If another process has
// the store open, that is left to start: `caddy validate` beside a running
// server is no mistake.
func newRealm(s *Settings, store StoreModule, mailer Mailer, logger *zap.Logger) (*realm, error) {
	r := &realm{
		webRealm: &webRealm{
			name: s.Realm, path: s.Path, options: s.webOptions(), logger: logger, now: time.Now, siteName: s.site(), clientIP: clientIP, originalURI: originalURI, skipLog: skipAccessLog,
		},
		settings: s, storeModule: store, mailer: mailer,
		engineKey: store.StoreKey() + "\x00" + s.Realm, metrics: newMetrics(),
	}
	r.heed = r.warnOfProxies
	r.count = func(throttle string) { r.metrics.throttled.WithLabelValues(r.name, throttle).Inc() }
	for _, warning := range s.warnings() {
		logger.Warn(warning)
	}
	if u, err := url.Parse(s.BaseURL); err == nil {
		r.https, r.baseHost = u.Scheme == "https", u.Host
	}
	var err error
	if r.languages, err = newLanguages(s.Templates, s.Language); err != nil {
		if unknown := unknownLanguageError(""); errors.As(err, &unknown) {
			err = settingErrorf("language", "%v", unknown)
		}
		return nil, err
	}
	if r.origins, err = newOriginPolicy(r.options); err != nil {
		return nil, err
	}
	r.endpoints = r.routes(endpoints)
	if r.pages, err = newPages(r.webRealm); err != nil {
		return nil, err
	}
	r.cookieNames()
	r.openapi = newOpenAPI(r.webRealm)
	hasher, _, err := hasherPool.LoadOrNew(hasherKey, func() (caddy.Destructor, error) {
		return pooledHasher{password.NewDefaultPool()}, nil
	})
	if err != nil {
		return nil, err
	}
	r.hasher = hasher.(pooledHasher).Pool
	err = r.open(time.Second)
	if errors.Is(err, ErrStoreLocked) {
		logger.Warn("the store is in use by another process; trying again at the start", zap.Error(err))
		err = nil
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// open acquires the engine and builds what rests on it. It is part of loading a
// configuration, which may come to nothing while another one runs. So it writes
// only what that one never notices: an empty file or realm; the generated signing
// key, which is made once and never changed; and the keys of fields that become
// unique, because two accounts with one value have to refuse the configuration
// (keys that the store's list doesn't name count for nothing, and uniques.leave
// puts the list back). All else waits for start.
func (r *realm) open(wait time.Duration) error {
	if r.engine != nil {
		return nil
	}
	e, _, err := enginePool.LoadOrNew(r.engineKey, func() (caddy.Destructor, error) {
		store, release, err := r.storeModule.OpenStore(r.name, wait)
		if err != nil {
			return nil, err
		}
		return newEngine(store, release), nil
	})
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	r.engine = e.(*engine)
	r.throttles = r.engine.throttles
	signer, err := r.newSigner()
	if err != nil {
		return err
	}
	renderer, err := newMailRenderer(r.settings.letters(), r.languages, r.siteName, r.now)
	if err != nil {
		return err
	}
	nameKeys, err := r.nameKeys(signer)
	if err != nil {
		return err
	}
	a := &Accounts{
		policy: r.options.Policy, store: r.engine.store, sessions: r.engine.sessions, signer: signer, nameKeys: nameKeys, hasher: r.hasher,
		mailDomain: r.siteName, mailQueued: r.engine.outbox.notify, throttles: r.engine.throttles, mailHeld: r.mailHeld, uniques: r.engine.uniques, now: r.now,
	}
	if err := r.engine.uniques.enter(context.Background(), r.engine.store, r.settings.fields, r.logger); err != nil {
		return err
	}
	if j := r.settings.Login.JWT; j != nil {
		a.access = newAccessTokens(r.engine.store, signer, j.policy())
		if err := a.access.loadKeys(context.Background()); err != nil {
			return fmt.Errorf("the keys of the access tokens: %w", err)
		}
	}
	renderer.signer, renderer.state, renderer.links = signer, a.state, r.letterLinks()
	r.postman = &postman{render: renderer.render, wanted: a.mailWanted, mailer: r.mailer, logger: r.logger.Named("outbox"), now: r.now, unconfirmed: time.Duration(r.settings.Register.UnconfirmedLifetime)}
	r.accounts.Store(a)
	return nil
}

// site is the name of the site in mails and pages: the host of base_url, else
// the domain of the sender.
func (s *Settings) site() string {
	if u, err := url.Parse(s.BaseURL); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	if addr, err := netmail.ParseAddress(s.From); err == nil {
		return addr.Address[strings.LastIndexByte(addr.Address, '@')+1:]
	}
	return "localhost"
}

// signingKey is the name of the generated key among the store's values.
const signingKey = "signing_key"

// newSigner uses the configured secrets, or the key in the store, made at the
// first start.
func (r *realm) newSigner() (*Signer, error) {
	var secrets [][]byte
	for _, s := range r.settings.Secrets {
		secrets = append(secrets, []byte(s))
	}
	if len(secrets) > 0 {
		return NewSigner(r.name, secrets...)
	}
	var key []byte
	err := r.engine.store.View(context.Background(), func(tx Tx) (err error) {
		key, err = tx.Value(signingKey)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		fresh := make([]byte, secretBytes)
		_, _ = rand.Read(fresh) // never fails
		err = r.engine.store.Update(context.Background(), func(tx Tx) (err error) {
			if key, err = tx.Value(signingKey); !errors.Is(err, ErrNotFound) {
				return err
			}
			key = fresh
			return tx.PutValue(signingKey, key)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("the signing key in the store: %w", err)
	}
	return NewSigner(r.name, key)
}

// nameKeys is the signer that hashes left names: the configured secrets, and after
// them the generated key, if the store has one from the time before. A first
// `secret` must not free all names.
func (r *realm) nameKeys(signer *Signer) (*Signer, error) {
	if len(r.settings.Secrets) == 0 {
		return signer, nil
	}
	var generated []byte
	err := r.engine.store.View(context.Background(), func(tx Tx) (err error) {
		generated, err = tx.Value(signingKey)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return signer, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the signing key in the store: %w", err)
	}
	var secrets [][]byte
	for _, s := range r.settings.Secrets {
		secrets = append(secrets, []byte(s))
	}
	return NewSigner(r.name, append(secrets, generated)...)
}

// start sets the realm to work.
func (r *realm) start() error {
	if err := r.open(4 * time.Second); err != nil {
		return fmt.Errorf("%s: realm %q: %w", orUnknown(r.settings.Source), r.name, err)
	}
	if a := r.accounts.Load(); a.access != nil {
		if err := a.access.refreshKeys(context.Background(), r.now()); err != nil {
			return fmt.Errorf("%s: realm %q: the keys of the access tokens: %w", orUnknown(r.settings.Source), r.name, err)
		}
	}
	r.engine.start(r.postman)
	r.started = true
	return nil
}

// stop ends the work. It may be called more than once.
func (r *realm) stop() {
	if r.started {
		r.started = false
		r.engine.finish(r.postman)
	}
}

// close releases what the realm holds, and only that.
func (r *realm) close() error {
	r.stop()
	var err error
	if r.engine != nil {
		err = r.engine.uniques.leave(context.Background(), r.engine.store, r.settings.fields)
		_, closeErr := enginePool.Delete(r.engineKey)
		err = errors.Join(err, closeErr)
		r.engine = nil
	}
	if r.hasher != nil {
		_, _ = hasherPool.Delete(hasherKey)
		r.hasher = nil
	}
	return err
}

// clientIP is Caddy's client_ip, which knows the trusted proxies, never the bare
// remote address.
func clientIP(req *http.Request) string {
	address, _ := caddyhttp.GetVar(req.Context(), caddyhttp.ClientIPVarKey).(string)
	return address
}

func skipAccessLog(req *http.Request) {
	caddyhttp.SetVar(req.Context(), caddyhttp.LogSkipVar, true)
}
