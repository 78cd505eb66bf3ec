// settings_notify.go: who is told what: people, of sign-ins on new devices; handlers of Caddy's
// events and the endpoints of webhooks, of what happens; servers that ask, of who is signed in.

package registration

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/metrics"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
	"github.com/seed-928992b0/caddy-registration/store"
)

// NoticeSettings is about what people are told of their accounts. A change of how one signs in
// is told whatever is set here.
type NoticeSettings struct {
	// Whether people are mailed when somebody signs in to their account on a device that it
	// does not know, once an hour at most, with a link that ends that sign-in. Default: true.
	NewDevice *bool `json:"new_device,omitempty"`
	// The page of a frontend of yours that the link in that mail opens, as
	// `register_email.verification_url`: it ends the sign-in, for 7 days. Default: the
	// built-in page; with `pages.off` and without this no such mail is sent.
	EndSignInURL string `json:"end_sign_in_url,omitempty"`
}

// noticesOption reads the block `notices`.
func noticesOption(to *NoticeSettings) option {
	return blockOption(map[string]option{
		"new_device":      switchOption(&to.NewDevice),
		"end_sign_in_url": textOption(&to.EndSignInURL, "https://app.example.com/end-sign-in/"),
	})
}

// WebhookSettings is an endpoint of another program that is told what happens, as Standard
// Webhooks has it.
type WebhookSettings struct {
	// Where messages are posted to: `https://`, or `http://` with `allow_private`.
	// Placeholders are replaced when the configuration loads.
	URL string `json:"url,omitempty"`
	// The secrets that sign the messages, each `whsec_` and the base64 of 24 to 64 random
	// bytes: one, and beside it the old one while it is being replaced. Placeholders are
	// replaced when the configuration loads.
	Secrets []string `json:"secrets,omitempty"`
	// The events that the endpoint is told of; `account_*` is all that begin so. Default:
	// all.
	Events []string `json:"events,omitempty"`
	// Whether the endpoint may be in a private network or on this machine, and without
	// TLS. Default: false.
	AllowPrivate bool `json:"allow_private,omitempty"`
}

// maxWebhooks bounds the endpoints of a realm.
const maxWebhooks = 20

// checkWebhooks refuses endpoints that could not be told, or would be told less than they
// have to be.
func (s *Settings) checkWebhooks(bad badFunc) {
	if len(s.Webhooks) > maxWebhooks {
		bad("webhooks", "there are more than %d endpoints; let one of them pass the messages on", maxWebhooks)
	}
	if len(s.Webhooks) > 0 && (s.Audit.Off || time.Duration(s.Audit.Keep) < webhook.GiveUp+day) {
		bad("webhooks", "what waits to be told is kept in the record of acts; leave audit on, and keep it for 4d or longer")
	}
	urls := map[string]bool{}
	for i, w := range s.Webhooks {
		at := "webhooks." + strconv.Itoa(i)
		u, err := url.Parse(w.URL)
		switch {
		case hasPlaceholder(w.URL):
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			bad(at, "the endpoint is no URL; write for example: webhook https://app.example.com/hook { … }")
		case u.User != nil || u.Fragment != "":
			bad(at, "the URL has a user or a fragment; leave it out, the signature says who we are")
		case u.Scheme == "http" && !w.AllowPrivate:
			bad(at, "http sends what happens to accounts in the clear; write https, or allow_private on in its block where the way is your own network")
		case urls[w.URL]:
			bad(at, "this endpoint stands twice; write all its events into one block")
		}
		urls[w.URL] = true
		w.check(at, bad)
	}
}

// check refuses secrets and events that are none.
func (w *WebhookSettings) check(at string, bad badFunc) {
	if n := len(w.Secrets); n == 0 || n > webhook.MaxSecrets {
		bad(at+".secret", "an endpoint needs a secret, or two while one is being replaced; make one with: echo whsec_$(openssl rand -base64 32)")
	}
	for _, secret := range w.Secrets {
		if _, err := webhook.ParseSecret(secret); err != nil && !hasPlaceholder(secret) {
			bad(at+".secret", "%v; make one with: echo whsec_$(openssl rand -base64 32)", err)
		}
	}
	for _, pattern := range w.Events {
		if !slices.ContainsFunc(audit.Events, func(e audit.Description) bool { return webhook.Matches(pattern, string(e.Event)) }) {
			bad(at+".events", "there is no event %q; docs/audit.md lists them, and account_* is all that begin so", pattern)
		}
	}
}

// resolvedWebhooks are the endpoints with their placeholders replaced.
func resolvedWebhooks(all []WebhookSettings, replace func(option, value string) string) (out []WebhookSettings) {
	for i, w := range all {
		at := "webhooks." + strconv.Itoa(i)
		w.URL = hostname.URL(replace(at, w.URL))
		secrets := w.Secrets
		w.Secrets = nil
		for _, secret := range secrets {
			w.Secrets = append(w.Secrets, replace(at+".secret", secret))
		}
		out = append(out, w)
	}
	return out
}

// webhookEndpoints are those of resolved settings, which are checked.
func (s *Settings) webhookEndpoints() (out []*webhook.Endpoint) {
	for _, w := range s.Webhooks {
		e := &webhook.Endpoint{URL: w.URL, Events: w.Events, AllowPrivate: w.AllowPrivate}
		for _, text := range w.Secrets {
			if secret, err := webhook.ParseSecret(text); err == nil {
				e.Secrets = append(e.Secrets, secret)
			}
		}
		out = append(out, e)
	}
	return out
}

// webhookOption reads `webhook <url> { … }`.
func webhookOption(to *[]WebhookSettings) option {
	return func(p *parser, _ string) error {
		token := p.Token()
		args := p.RemainingArgs()
		if len(args) != 1 {
			return p.Errf("webhook takes the URL of an endpoint and a block; write for example: webhook https://app.example.com/hook { secret {env.WEBHOOK_SECRET} }")
		}
		w := WebhookSettings{URL: args[0]}
		path := "webhooks." + strconv.Itoa(len(*to))
		p.lines[path] = token
		err := p.block(path, map[string]option{
			"secret":        listOption(&w.Secrets, "{env.WEBHOOK_SECRET}"),
			"events":        listOption(&w.Events, "account_* signed_in"),
			"allow_private": flagOption(&w.AllowPrivate),
		})
		*to = append(*to, w)
		return err
	}
}

// notifies has the acts tell who listens: handlers of events, and the endpoints.
func (r *realm) notifies(a *account.Accounts) {
	r.sender = webhook.NewSender(webhook.Config{
		Realm: r.Name, Endpoints: r.settings.webhookEndpoints(), Store: r.resources.store, Log: r.Logger.Named("webhooks"), Now: r.Now,
		Count: r.metrics.Webhook, Journal: a.Journal,
	})
	a.Journal.Count, a.Queued = r.metrics.Act, letters.Queued
	a.SignUpFailed = func(err error) {
		refused := (*refusal.Error)(nil)
		r.metrics.SignUpRefused(!errors.As(err, &refused) || refused.Code == refusal.CodeUnavailable)
	}
	a.Observe = r.metrics.Storing
	if len(r.sender.Endpoints) > 0 {
		a.Journal.Written = r.sender.Notify
	}
	if r.events != nil {
		a.Journal.Teller, a.Registering = r.events.teller(r.resources.store), r.events.registering
	}
}

// endpointsOf are the endpoints of a realm, which are there once its store is open.
type endpointsOf struct{ r *realm }

// Statuses implements owner.Webhooks.
func (e endpointsOf) Statuses(ctx context.Context) ([]webhook.Status, error) {
	return e.r.sender.Statuses(ctx)
}

// Ill implements owner.Webhooks.
func (e endpointsOf) Ill(ctx context.Context) bool { return e.r.sender.Ill(ctx) }

// Do implements owner.Webhooks.
func (e endpointsOf) Do(ctx context.Context, act webhook.Act, id string) (webhook.Status, error) {
	return e.r.sender.Do(ctx, act, id)
}

// startNotifying begins to tell the endpoints, and has the metrics look at the realm.
func (r *realm) startNotifying() {
	r.sender.Start()
	r.unwatch = counters.Watch(r.source())
}

// stopNotifying ends that, and waits for what handlers of events are told.
func (r *realm) stopNotifying() {
	r.unwatch()
	r.sender.Stop()
	if accounts := r.Accounts.Load(); accounts != nil {
		accounts.Journal.Teller.Close(closePatience)
	}
}

// What is counted in the process, and which request a mail came from, for all
// configurations: both outlive a reload.
var (
	counters = metrics.New(func() int {
		if pool := theHasher.Load(); pool != nil {
			return pool.Waiting()
		}
		return 0
	})
	letters   metrics.Letters
	theHasher atomic.Pointer[password.Pool]
)

// countedPool is the pool of the machine, whose hashes are counted.
func countedPool() *password.Pool {
	pool := password.NewDefaultPool()
	pool.Observe(counters.Hashing)
	theHasher.Store(pool)
	return pool
}

// source is what the metrics look at.
func (r *realm) source() *metrics.Source {
	e := r.resources
	return &metrics.Source{Realm: r.Name, Now: r.Now, Look: func(ctx context.Context) (s metrics.Snapshot, err error) {
		backlog, err := outbox.BacklogOf(ctx, e.store)
		if err != nil {
			return s, err
		}
		s = metrics.Snapshot{Mails: backlog.Count, Oldest: backlog.Oldest, Sessions: e.sessions.Count(), Accounts: map[string]int{}}
		return s, e.store.View(ctx, func(tx store.Tx) error {
			for _, state := range []string{store.StateActive, store.StateUnconfirmed, store.StateWaiting, store.StateClosing, store.StateDisabled} {
				n, err := tx.CountMembers(state)
				if err != nil {
					return err
				}
				s.Accounts[state] = n.N
			}
			return nil
		})
	}}
}

// EventRegistering is the event before a sign-up, which a handler may abort. All others
// have the names of the record of acts and come after the act's commit.
const EventRegistering = "account_registering"

// Bounds of what handlers of events may cost.
const (
	// maxVetoing bounds the sign-ups that wait for that.
	maxVetoing = 64
	// maxVetoWords bounds what a handler tells who is refused, in bytes.
	maxVetoWords = 500
)

// vetoPatience is how long a sign-up waits for those who are asked about it.
var vetoPatience = 10 * time.Second

// events are Caddy's events, as a configuration has them: the module they come from is
// the handler that defines the realm.
type events struct {
	ctx caddy.Context
	app *caddyevents.App
	// ready is closed when all apps have started: before, the app may not be asked.
	ready   chan struct{}
	started atomic.Bool
	realm   string
	logger  *zap.Logger
	vetoing chan struct{}
}

// newEvents finds the app of a configuration that is being loaded.
func newEvents(ctx caddy.Context, realm string, logger *zap.Logger) (*events, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	e := &events{ctx: ctx, app: app.(*caddyevents.App), ready: make(chan struct{}), realm: realm, logger: logger, vetoing: make(chan struct{}, maxVetoing)}
	return e, e.app.On("started", e)
}

// Handle implements caddyevents.Handler for the event by which Caddy says that the
// configuration runs.
func (e *events) Handle(context.Context, caddy.Event) error {
	if !e.started.Swap(true) {
		close(e.ready)
	}
	return nil
}

// wants reports whether anybody listens to an event.
func (e *events) wants(name string) bool { return e.started.Load() && e.app.ShouldEmit(name) }

// teller tells what happens, as long as a configuration runs.
func (e *events) teller(db store.Store) *audit.Teller {
	return &audit.Teller{Tell: e.tell, Wants: e.wants, Store: db, Lost: func(n int64) {
		e.logger.Warn("events were not told, because their handlers are too slow", zap.Int64("events", n))
	}}
}

// tell emits the event of a row.
func (e *events) tell(row audit.Told) {
	defer func() {
		if v := recover(); v != nil {
			e.logger.Error("a handler of events panicked", zap.String("event", row.Event), zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	data := map[string]any{"at": row.At}
	for name, value := range row.Data(e.realm) {
		data[name] = value
	}
	e.app.Emit(e.ctx, row.Event, data)
}

// registering asks the handlers about a sign-up. One that aborts the event refuses it, with
// its words if it has some. Where none answers in time, the sign-up is not let through.
func (e *events) registering(ctx context.Context, u *store.User, client account.Client) error {
	timer := time.NewTimer(vetoPatience)
	defer timer.Stop()
	unanswered := func(why string) error {
		return refusal.Unavailable(errors.New("the handlers of the event " + EventRegistering + " " + why))
	}
	select {
	case <-e.ready:
	case <-ctx.Done():
		return refusal.Unavailable(ctx.Err())
	case <-timer.C:
		return unanswered("have not started")
	}
	if !e.app.ShouldEmit(EventRegistering) {
		return nil
	}
	select {
	case e.vetoing <- struct{}{}:
	default:
		return unanswered("are busy with too many sign-ups")
	}
	answer := make(chan error, 1)
	data := map[string]any{"realm": e.realm, "username": u.Username, "email": u.Email, "address": client.Address}
	go func() {
		defer func() {
			<-e.vetoing
			if v := recover(); v != nil {
				e.logger.Error("a handler of events panicked", zap.String("event", EventRegistering), zap.Any("panic", v), zap.Stack("stack"))
				answer <- unanswered("panicked")
			}
		}()
		answer <- vetoOf(e.app.Emit(e.ctx, EventRegistering, data).Aborted)
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return refusal.Unavailable(ctx.Err())
	case <-timer.C:
		return unanswered("take too long")
	}
}

// vetoOf is the refusal that an aborted event means. Its words are what the error says
// behind that of Caddy.
func vetoOf(aborted error) error {
	if aborted == nil {
		return nil
	}
	_, words, _ := strings.Cut(aborted.Error(), caddy.ErrEventAborted.Error())
	err := refusal.New(refusal.CodeSignUpRefused)
	if words = guestWords(strings.TrimLeft(words, ": ")); words != "" {
		err.Params = text.Params{"message": words}
	}
	return err
}

// guestWords is what a guest module tells who is refused, in one line and bounded.
func guestWords(words string) string {
	words = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(words, ""))
	if len(words) > maxVetoWords {
		words = strings.ToValidUTF8(words[:maxVetoWords], "")
	}
	return strings.TrimSpace(words)
}

// AuthzSettings lets other servers ask who is signed in (forward authentication).
type AuthzSettings struct {
	// Serves `authz/forward-auth` and `authz/auth-request` below the path. Default: false.
	On bool `json:"on,omitempty"`
	// Serves both below `/api/authz/` too, where Authelia has them. Default: false.
	LegacyPaths bool `json:"legacy_paths,omitempty"`
}
