// realm.go: one realm of one running configuration, put together: settings with
// their placeholders replaced, store, signer, mailer, accounts, pages.

package registration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/inside"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/metrics"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/siting"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
	"github.com/seed-928992b0/caddy-registration/internal/web/owner"
	"github.com/seed-928992b0/caddy-registration/internal/web/signin"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

// Pools of what outlives a reload. They hold no settings.
var (
	resourcePool = caddy.NewUsagePool()
	hasherPool   = caddy.NewUsagePool()
)

// hasherKey is the only key of hasherPool: there is one machine to hash on.
const hasherKey = "hasher"

type pooledHasher struct{ *password.Pool }

func (pooledHasher) Destruct() error { return nil }

// realm is a realm of one configuration. Its fields are set before it serves
// and do not change; accounts is nil until the store is open.
type realm struct {
	*web.Realm
	settings    *Settings
	fingerprint string // of the settings as configured, to tell two definitions apart
	users       int    // handlers that share it; under App.mu

	storeModule StoreModule
	mailer      mail.Mailer

	resourceKey string
	resources   *resources
	hasher      *password.Pool
	// hashesShared: hasher is the one of hasherPool, and one use of it is ours.
	hashesShared bool
	templates    *letter.Templates
	courier      *outbox.Courier
	post         *adminapi.Post // what mail goes out by, for an owner; set before Accounts
	metrics      *metrics.Realm
	unwatch      func()          // ends that the metrics look at it
	events       *events         // nil: Caddy has none, as in tests
	sender       *webhook.Sender // set with accounts
	proxies      proxiesSeen
	// sites are the mistakes of where the configuration has put the accounts and their
	// guards, as they were found when it was started.
	sites []siting.Warning
	// warnedOfUnnamed is when the log has last said that a proxy is named nowhere, in
	// Unix seconds.
	warnedOfUnnamed atomic.Int64
	started         bool
	// closeBreached lets go of the file of breached passwords; nil: there is none.
	closeBreached func() error
	gaveUp        sync.Once // closes Opening
	// life ends when the realm stops.
	life context.Context
	end  context.CancelFunc
	// stopStore ends what the store does by itself; nil: it does nothing.
	stopStore func()
}

// resolve returns the settings with their placeholders and defaults filled in, and
// with what is built of them; the receiver stays as it is. A placeholder that is
// unset is an error: an empty secret or address must not slip in.
func (s *Settings) resolve() (*Settings, error) {
	repl := caddy.NewReplacer()
	repl.Set("data_dir", caddy.AppDataDir())
	out := *s
	var errs []error
	replace := func(option, value string) string {
		if !hasPlaceholder(value) {
			return value
		}
		got, err := repl.ReplaceOrErr(value, true, true)
		if err != nil {
			errs = append(errs, setting.Errorf(option, "%v; set it before Caddy starts, or write the value itself", err))
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
	out.Factors.RPID = replace("factors.rp_id", s.Factors.RPID)
	out.Password.Breached = s.Password.Breached.resolved(replace)
	out.Webhooks = resolvedWebhooks(s.Webhooks, replace)
	out.From = replace("from", s.From)
	out.ReplyTo = replace("reply_to", s.ReplyTo)
	out.Templates = replace("templates", s.Templates)
	out.TrustedOrigins = replaceAll("trusted_origins", s.TrustedOrigins)
	out.Register.Code = replace("register.code", s.Register.Code)
	out.Register.Terms.Page = replace("register.terms", s.Register.Terms.Page)
	out.Register.Terms.Version = replace("register.terms", s.Register.Terms.Version)
	out.Register.Notify = replace("register.notify", s.Register.Notify)
	out.Register.Contact = replace("register.contact", s.Register.Contact)
	out.Register.VerificationURL = replace("register.verification_url", s.Register.VerificationURL)
	out.ResetPassword.VerificationURL = replace("reset_password.verification_url", s.ResetPassword.VerificationURL)
	out.RegisterEmail.VerificationURL = replace("register_email.verification_url", s.RegisterEmail.VerificationURL)
	out.RegisterEmail.UndoURL = replace("register_email.undo_url", s.RegisterEmail.UndoURL)
	out.Factors.UndoURL = replace("factors.undo_url", s.Factors.UndoURL)
	out.Notices.EndSignInURL = replace("notices.end_sign_in_url", s.Notices.EndSignInURL)
	for setting, to := range map[string]*RedirectSettings{
		"register": &out.Register.RedirectSettings, "reset_password": &out.ResetPassword.RedirectSettings, "register_email": &out.RegisterEmail.RedirectSettings,
	} {
		to.SuccessRedirect = replace(setting+".success_redirect", to.SuccessRedirect)
		to.FailureRedirect = replace(setting+".failure_redirect", to.FailureRedirect)
	}
	out.Pages.Logo = replace("pages.logo", s.Pages.Logo)
	out.Pages.LogoDark = replace("pages.logo_dark", s.Pages.LogoDark)
	out.Pages.Favicon = replace("pages.favicon", s.Pages.Favicon)
	out.Pages.Home = replace("pages.home", s.Pages.Home)
	out.Pages.Goodbye = replace("pages.goodbye", s.Pages.Goodbye)
	out.Pages.Links = resolvedLinks(s.Pages.Links, replace)
	out.Pages.Stylesheet = replace("pages.stylesheet", s.Pages.Stylesheet)
	out.Pages.Templates = replace("pages.templates", s.Pages.Templates)
	out.Session.CookieDomain = replace("session.cookie_domain", s.Session.CookieDomain)
	if s.Login.JWT != nil {
		j := *s.Login.JWT
		j.Issuer, j.Audience = replace("login.jwt.issuer", j.Issuer), replaceAll("login.jwt.audience", j.Audience)
		out.Login.JWT = &j
	}
	out.Login.OIDC = resolvedOIDC(s.Login.OIDC, replace)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out.hostsInASCII()
	out.setDefaults()
	if err := out.check(); err != nil {
		return nil, err
	}
	fields, err := out.fieldSetOf()
	out.fields, out.reserved = fields, out.reservedKeys()
	return &out, err
}

// instruments are what a realm measures time and hashes passwords with.
type instruments struct {
	now func() time.Time
	// hasher is for tests; nil: the pool that all realms of the process share.
	hasher *password.Pool
}

// theMachines are the instruments of a running Caddy.
var theMachines = instruments{now: time.Now}

// newRealm puts a realm together. It is part of loading a configuration, which may
// only be looked at (`caddy validate`) or come to nothing while another one runs:
// so the store is looked at, if it can be, and neither made nor changed. It is
// opened by start.
func newRealm(s *Settings, db StoreModule, mailer mail.Mailer, logger *zap.Logger, tools instruments) (*realm, error) {
	r := &realm{
		hasher: tools.hasher,
		Realm: &web.Realm{
			Name: s.Realm, Path: s.Path, Options: s.webOptions(), Logger: logger, Now: tools.now, Opening: make(chan struct{}), SiteName: hostname.Display(s.site()), ClientIP: clientIP, OriginalURI: originalURI, OriginalPath: originalPath, FromProxy: fromProxy, SkipLog: skipAccessLog,
		},
		settings: s, storeModule: db, mailer: mailer,
		resourceKey: db.StoreKey() + "\x00" + s.Realm, metrics: counters.Of(s.Realm),
	}
	r.life, r.end = context.WithCancel(context.Background())
	r.Heed, r.HeedThrottled = r.heed, r.warnOfUnnamedProxy
	if g, ok := mailer.(mail.Greeter); ok {
		g.GreetAs(s.site())
	}
	r.Count, r.Guards, r.SignInElsewhere = r.metrics.Throttled, r.metrics.GuardedBy, r.metrics.SignInElsewhere
	if u, err := url.Parse(s.BaseURL); err == nil {
		r.Https, r.BaseHost = u.Scheme == "https", u.Host
	}
	var err error
	if r.Languages, err = text.NewLanguages(s.Templates, s.Language); err != nil {
		if unknown := text.UnknownLanguageError(""); errors.As(err, &unknown) {
			err = setting.Errorf("language", "%v", unknown)
		}
		return nil, err
	}
	for _, warning := range append(s.warnings(), r.Languages.Partial()...) {
		logger.Warn(warning)
	}
	if r.Origins, err = web.NewOriginPolicy(r.Options); err != nil {
		return nil, err
	}
	s.speak(r.Languages)
	s.oidcPolicy(r.Options.Policy, tools.now)
	r.Endpoints = r.Routes(append(signin.OIDCCallbacks(r.Realm), endpoints...))
	if s.Admin != nil {
		r.Owner = owner.New(r.Realm, r.ownersSite())
	}
	if r.Pages, err = web.NewPages(r.Realm); err != nil {
		return nil, err
	}
	r.CookieNames()
	r.Openapi = web.NewOpenAPI(r.Realm)
	if r.hasher == nil {
		hasher, _, err := hasherPool.LoadOrNew(hasherKey, func() (caddy.Destructor, error) {
			return pooledHasher{countedPool()}, nil
		})
		if err != nil {
			return nil, err
		}
		r.hasher, r.hashesShared = hasher.(pooledHasher).Pool, true
	}
	if err := r.look(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// look finds what is wrong with the mails, with the list of breached passwords and, as far
// as reading tells, with the store.
func (r *realm) look() (err error) {
	if err := r.openBreached(); err != nil {
		return err
	}
	if r.templates, err = letter.NewTemplates(r.settings.letters(), r.Languages, r.SiteName); err != nil {
		return err
	}
	if looker, ok := r.storeModule.(StoreLooker); ok {
		err := looker.LookAtStore()
		if errors.Is(err, store.ErrStoreLocked) { // `caddy validate` beside a running server is no mistake
			r.Logger.Warn("the store is in use by another process; trying again at the start", zap.Error(err))
			return nil
		}
		if errors.Is(err, store.ErrUnreachable) { // nor is a server that starts beside this one
			r.Logger.Warn("the store can't be reached yet; trying again at the start", zap.Error(err))
			return nil
		}
		if err != nil {
			return fmt.Errorf("opening the store: %w", err)
		}
	}
	return nil
}

// open acquires the resources and builds what rests on it. The configuration may still
// come to nothing (another app fails to start) while another one runs on the same
// resources. So of what that one sees it changes only the generated signing key, which
// is made once and stays; and the keys of fields that become unique, because two
// accounts with one value have to refuse the configuration (keys that the store's
// list doesn't name count for nothing, and keyIndex.Leave puts the list back).
func (r *realm) open(wait time.Duration) error {
	if r.resources != nil {
		return nil
	}
	e, _, err := resourcePool.LoadOrNew(r.resourceKey, func() (caddy.Destructor, error) {
		store, release, err := r.storeModule.OpenStore(r.Name, wait)
		if err != nil {
			return nil, err
		}
		return newResources(store, release, r.Now), nil
	})
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	r.resources = e.(*resources)
	r.Throttles = r.resources.throttles
	signer, err := r.newSigner()
	if err != nil {
		return err
	}
	nameKeys, err := r.nameKeys(signer)
	if err != nil {
		return err
	}
	factorKeys, err := r.factorKeys(context.Background())
	if err != nil {
		return err
	}
	if err := r.keepPasskeys(context.Background()); err != nil {
		return err
	}
	a := &account.Accounts{
		FactorKeys: factorKeys,
		Policy:     r.Options.Policy, Store: r.resources.store, Sessions: r.resources.sessions, Signer: signer, NameKeys: nameKeys, Hasher: r.hasher,
		MailDomain: r.settings.mailDomain(), Links: r.linkPages(), MailQueued: r.resources.outbox.Notify, Throttles: r.resources.throttles, MailHeld: r.MailHeld, KeyIndex: r.resources.keyIndex, SignUps: r.resources.signUps, Now: r.Now,
		Journal: &audit.Journal{
			Realm: r.Name, Off: r.settings.Audit.Off, Keep: time.Duration(r.settings.Audit.Keep), Log: r.Logger.Named("audit"), Now: r.Now, Recorder: r.resources.failures,
		},
	}
	r.notifies(a)
	if err := r.resources.keyIndex.Enter(context.Background(), r.resources.store, r.settings.fields, r.Logger); err != nil {
		return err
	}
	if j := r.settings.Login.JWT; j != nil {
		a.Access = session.NewAccessTokens(r.resources.store, signer, j.policy())
		if err := a.Access.LoadKeys(context.Background()); err != nil {
			return fmt.Errorf("the keys of the access tokens: %w", err)
		}
	}
	renderer := letter.NewRenderer(r.templates, r.signing(a), r.Now)
	r.courier = &outbox.Courier{Render: renderer.Render, Wanted: a.MailWanted, Prepare: a.PrepareMail, Mailer: r.mailer, Logger: r.Logger.Named("outbox"), Now: r.Now, Unconfirmed: time.Duration(r.settings.Register.UnconfirmedLifetime), Grace: a.Policy.Leaving.Grace, RemoveLeft: a.RemoveLeft, Journal: a.Journal}
	r.courier.Count, r.courier.Sending = r.metrics.Mail, letters.Sending
	r.post = &adminapi.Post{Courier: r.courier, Worker: r.resources.outbox}
	if module, ok := r.mailer.(caddy.Module); ok {
		r.post.Mailer = module.CaddyModule().ID.Name()
	}
	r.Accounts.Store(a)
	r.gaveUp.Do(func() { close(r.Opening) })
	return nil
}

// hostsInASCII makes the names of hosts ASCII, once: what browsers and mail servers
// are told, and what they say, is compared in this form.
func (s *Settings) hostsInASCII() {
	for _, v := range []*string{
		&s.BaseURL, &s.Register.VerificationURL, &s.ResetPassword.VerificationURL, &s.RegisterEmail.VerificationURL, &s.RegisterEmail.UndoURL, &s.Factors.UndoURL, &s.Notices.EndSignInURL,
		&s.Register.SuccessRedirect, &s.Register.FailureRedirect, &s.ResetPassword.SuccessRedirect, &s.ResetPassword.FailureRedirect,
		&s.RegisterEmail.SuccessRedirect, &s.RegisterEmail.FailureRedirect, &s.Pages.Logo, &s.Pages.LogoDark, &s.Pages.Favicon, &s.Pages.Stylesheet, &s.Pages.Home, &s.Pages.Goodbye, &s.Register.Terms.Page, &s.Register.Contact,
	} {
		*v = hostname.URL(*v)
	}
	for i, origin := range s.TrustedOrigins {
		s.TrustedOrigins[i] = hostname.URL(origin)
	}
	if j := s.Login.JWT; j != nil { // a copy of what was configured; URIs are ASCII (RFC 7519, 2)
		j.Issuer = hostname.URL(j.Issuer)
		for i, audience := range j.Audience {
			j.Audience[i] = hostname.URL(audience)
		}
	}
	s.From, s.ReplyTo, s.Register.Notify = hostname.Mailbox(s.From), hostname.Mailbox(s.ReplyTo), hostname.Mailbox(s.Register.Notify)
	if domain, err := hostname.ToASCII(s.Session.CookieDomain); err == nil {
		s.Session.CookieDomain = domain
	}
}

// startWait is how long a start waits for another process to let go of the store.
const startWait = 5 * time.Second

// start opens the store and sets the realm to work. Servers may have begun to
// listen before: Caddy starts its apps in any order, and requests wait (Ready).
func (r *realm) start() error {
	if err := r.open(startWait); err != nil {
		return fmt.Errorf("%s: realm %q: %w", orUnknown(r.settings.Source), r.Name, err)
	}
	if a := r.Accounts.Load(); a.Access != nil {
		if err := a.Access.RefreshKeys(context.Background(), r.Now()); err != nil {
			return fmt.Errorf("%s: realm %q: the keys of the access tokens: %w", orUnknown(r.settings.Source), r.Name, err)
		}
	}
	if err := webhook.Enter(context.Background(), r.resources.store, r.sender.Endpoints); err != nil {
		return fmt.Errorf("%s: realm %q: the webhooks: %w", orUnknown(r.settings.Source), r.Name, err)
	}
	if worker, ok := r.storeModule.(StoreWorker); ok {
		stop, err := worker.WorkOnStore()
		if err != nil {
			return fmt.Errorf("%s: realm %q: the store: %w", orUnknown(r.settings.Source), r.Name, err)
		}
		r.stopStore = stop
	}
	r.resources.start(r.courier)
	r.startNotifying()
	r.started = true
	return nil
}

// stop ends the work. It may be called more than once.
func (r *realm) stop() {
	r.end()
	if r.started {
		r.started = false
		if r.stopStore != nil {
			r.stopStore()
		}
		r.resources.finish(r.courier)
		r.stopNotifying()
	}
}

// close releases what the realm holds, and only that.
func (r *realm) close() error {
	r.stop()
	r.gaveUp.Do(func() { close(r.Opening) })
	var err error
	if r.closeBreached != nil {
		_ = r.closeBreached() // it was only read; more than once does no harm
	}
	if r.resources != nil {
		err = r.resources.keyIndex.Leave(context.Background(), r.resources.store, r.settings.fields)
		_, closeErr := resourcePool.Delete(r.resourceKey)
		err = errors.Join(err, closeErr)
		r.resources = nil
	}
	if r.hashesShared {
		_, _ = hasherPool.Delete(hasherKey)
		r.hashesShared = false
	}
	return err
}

// ClientIP is Caddy's client_ip, which knows the trusted proxies, never the bare
// remote address.
func clientIP(req *http.Request) string {
	address, _ := caddyhttp.GetVar(req.Context(), caddyhttp.ClientIPVarKey).(string)
	return address
}

// fromProxy reports whether a request comes from a proxy that trusted_proxies names.
func fromProxy(req *http.Request) bool {
	trusted, _ := caddyhttp.GetVar(req.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

func skipAccessLog(req *http.Request) {
	caddyhttp.SetVar(req.Context(), caddyhttp.LogSkipVar, true)
}

func init() {
	inside.Open = openInside
	inside.Resolve = func(settings any) (any, error) { return settings.(*Settings).resolve() }
	inside.NewEngine = func(db store.Store) *inside.Resources { return insideResources(newResources(db, nil, time.Now)) }
	inside.Letters = func(settings any) letter.Options { return settings.(*Settings).letters() }
}

// openInside is the door for the tests of other packages, see internal/inside.
func openInside(o inside.Options) (*inside.Realm, error) {
	resolved, err := o.Settings.(*Settings).resolve()
	if err != nil {
		return nil, err
	}
	tools := instruments{now: o.Now, hasher: o.Hasher}
	if tools.now == nil {
		tools.now = time.Now
	}
	r, err := newRealm(resolved, storeOfTest(o.Path), o.Mailer, o.Logger, tools)
	if err != nil {
		return nil, err
	}
	app := &App{realms: map[string]*realm{r.Name: r}}
	out := &inside.Realm{
		Realm: r.Realm, Settings: resolved, Letters: resolved.letters(), Handler: &Handler{app: app, realm: r},
		NewGuard: func() any {
			g := &Guard{logger: zap.NewNop()}
			g.app, g.name = app, r.Name
			return g
		},
		Start: r.start, Stop: r.stop, Close: r.close,
	}
	if o.Unopened {
		return out, nil
	}
	if err := r.open(startWait); err != nil {
		return nil, errors.Join(err, r.close())
	}
	out.Courier, out.Resources, out.Webhooks = r.courier, insideResources(r.resources), r.sender
	return out, nil
}

// storeOfTest is the embedded store in a file, or with REGISTRATION_STORE=postgres://… one in that
// database, in a schema for each file.
func storeOfTest(path string) StoreModule {
	url := os.Getenv("REGISTRATION_STORE")
	if url == "" || filepath.Base(path) != "registration.db" {
		return &BoltModule{path: path, logger: zap.NewNop()}
	}
	sum := sha256.Sum256([]byte(path))
	return &PostgresModule{options: postgres.Options{URL: url, Schema: "test_" + hex.EncodeToString(sum[:8]), Pool: 4, Grace: postgresGrace}}
}
