// export_test.go: what tests of the outside need of the inside.

package registration

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
	"github.com/seed-928992b0/caddy-registration/store"
)

// StatusOf is the HTTP status of a code.
func StatusOf(code refusal.Code) int { return web.StatusOf(code) }

const UserVar = userVar

type PrivateWriter = privateWriter

var (
	Counters = counters
	// VetoPatience is changed by no test that runs beside others.
	VetoPatience = &vetoPatience
	WriteMail    = writeMail
)

// IsSecretSetting reports whether a setting is shown to nobody; SecretSettings, how many are.
func IsSecretSetting(path string) bool { return secret(path) }

func SecretSettings() int { return len(secretSettings) }

func (h *Handler) CopyIdentity(to http.Header, u *store.User, percent bool) {
	h.realm.CopyIdentity(to, u, percent)
}

func (h *Handler) Placeholder(u *store.User, name string) (any, bool) {
	return h.realm.placeholder(u, name)
}

// Use has the provider ask a realm of a handler's configuration.
func (p *Provider) Use(h *Handler, name string) { p.app, p.name = h.app, name }

func NewBolt(path string) *BoltModule { return &BoltModule{path: path, logger: zap.NewNop()} }

func (l *LogMailer) Use(logger *zap.Logger) { l.use(logger) }

func (s *Settings) SetDefaults() { s.setDefaults() }

func (s *Settings) Check() error { return s.check() }

func (s *Settings) Warnings() []string { return s.warnings() }

func (s *Settings) Site() string { return s.site() }

func (m *SMTPMailer) Settings() smtp.Server { return m.settings() }

type BudgetStore = budgetStore

// NewBudgetStore is how a ledger sees a store.
func NewBudgetStore(db store.Store) BudgetStore { return budgetStore{db} }

var SweepThrottles = sweepThrottles

// Folder is where the mails go.
func (f *FileMailer) Folder() string { return f.dir }

// Publish is what a guard of a handler's realm does for who is signed in.
func Publish(req *http.Request, h *Handler, u *store.User) {
	publish(req, &signedIn{realm: h.realm, user: u, session: &store.Session{}})
}

// AsAda is for ExampleUserFrom: a request as a guard hands it on.
func AsAda(req *http.Request) *http.Request {
	s := &Settings{From: "a@example.com", BaseURL: "https://example.com", MailerRaw: json.RawMessage(`{}`)}
	resolved, err := s.resolve()
	if err != nil {
		panic(err)
	}
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	req = req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
	publish(req, &signedIn{
		realm:   &realm{Realm: &web.Realm{Name: resolved.Realm}, settings: resolved},
		user:    &store.User{ID: uuid.MustParse(web.ExampleID), Username: "ada", FirstName: "Ada", Groups: []string{"staff"}},
		session: &store.Session{},
	})
	return req
}

// NewPasswordRules are the site's own rules for a realm `shop`, with their check.
func NewPasswordRules(patience time.Duration, logger *zap.Logger, rules ...PasswordValidator) func(context.Context, string, *store.User, []string) ([]string, error) {
	p := &passwordRules{realm: "shop", rules: rules, names: make([]string, len(rules)), running: make(chan struct{}, maxValidating), patience: patience, logger: logger}
	return p.check
}
