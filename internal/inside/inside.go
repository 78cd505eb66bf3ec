// inside.go: the door by which tests of any package run a realm as the root puts it
// together, without a Caddy around it. The product never goes through it.

// Package inside is what tests see of a realm in their own process. The root package
// fills Open; internal/sitetest is built on it.
package inside

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Options is what a test decides about its realm.
type Options struct {
	// Settings is the root's *Settings, as configured.
	Settings any
	// Path is the file of the embedded store.
	Path   string
	Mailer mail.Mailer
	Logger *zap.Logger
	// Now is the clock of the realm, its acts and its outbox; nil: the real one.
	Now func() time.Time
	// Hasher replaces the pool that all realms of a process share; nil: that one.
	Hasher *password.Pool
	// Unopened leaves the store to Start; Courier, Webhooks and Resources are nil.
	Unopened bool
}

// Realm is a realm that has opened its store and not started.
type Realm struct {
	*web.Realm
	// Settings is the root's *Settings, resolved; Letters is what mails see of them.
	Settings  any
	Letters   letter.Options
	Resources *Resources
	Courier   *outbox.Courier
	Webhooks  *webhook.Sender
	// Handler is the root's *Handler for it; NewGuard makes a *Guard.
	Handler  any
	NewGuard func() any
	Start    func() error
	Stop     func()
	Close    func() error
}

// Resources is what realms on one store share over reloads.
type Resources struct {
	Store     store.Store
	Sessions  *session.Live
	Outbox    *outbox.Worker
	Throttles *budget.Ledger
	KeyIndex  *field.KeyIndex
	Purger    *account.Purger
	Failures  *audit.Recorder
	// Start, Finish begin and end the work for a courier; Working is the one at work.
	Start, Finish func(*outbox.Courier)
	Working       func() *outbox.Courier
	Flush         func(context.Context, *outbox.Courier)
	// Prune removes old rows of the audit, if the clock goes on from the last look.
	Prune func(ctx context.Context, p *outbox.Courier, last *time.Time)
}

// What the root does with its own settings, which are *Settings there.
var (
	// Open puts a realm together and opens its store.
	Open func(Options) (*Realm, error)
	// Resolve replaces placeholders, sets defaults and checks.
	Resolve func(settings any) (any, error)
	// NewEngine is one without a realm, on a store.
	NewEngine func(store.Store) *Resources
	// Letters is what mails see of resolved settings.
	Letters func(settings any) letter.Options
)
