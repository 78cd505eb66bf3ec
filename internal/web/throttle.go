// throttle.go: what a call spends: which budgets of which throttle, and when. How
// budgets are counted is in internal/budget.

package web

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/store"
)

// throttleTables are the throttles that count requests.
var throttleTables = func() map[string]*budget.Throttle {
	tables := map[string]*budget.Throttle{}
	for _, name := range []string{account.ThrottleLogin, account.ThrottleRegister, account.ThrottleReset, account.ThrottleEmail, account.ThrottleProfile} {
		tables[name] = budget.NewThrottle(name)
	}
	return tables
}()

// lastingTables are those whose budgets are kept over a restart.
func lastingTables() []string {
	var names []string
	for _, t := range throttleTables {
		names = append(names, t.Lasting()...)
	}
	return append(names, account.MailTables()...)
}

// TableOIDCState is where it is counted that the state of a sign-in elsewhere is used once.
const TableOIDCState = "oidc_state"

// sharedTables are those whose budgets the nodes of a realm spend together.
func sharedTables() []string {
	names := append(account.MailTables(), TableOIDCState)
	for _, t := range throttleTables {
		names = append(names, t.Shared()...)
	}
	return names
}

// NewThrottles returns the budgets of a realm on a store.
func NewThrottles(now func() time.Time, s store.Store) *budget.Ledger {
	l := budget.New(now, lastingTables()...)
	if s.Shared() {
		l.Share(s, sharedTables()...)
	}
	return l
}

// Spends says what a call to an endpoint is counted against.
type Spends struct {
	// Throttle names the budgets; "": none.
	Throttle string
	// Target is the account or recipient that has budgets of its own; nil: none. It
	// looks in the order in which the act looks for the account: a second name in
	// the body must not be what is counted.
	Target func(*Call) string
	// Account is the one that has a budget, where there is no doubt which: that
	// which is signed in; nil: none. alone: and no client is counted.
	Account func(*Call) *store.User
	Alone   bool
	// Mails: it mails somebody.
	Mails bool
	// Device returns the account whose known devices have budgets of their own, nil
	// for none.
	Device func(*Call) *store.User
	// Crowds: strangers have their passwords hashed here, and in a crowd wait before anything else
	// is done (line).
	Crowds bool
	// TurnedAway is told of who is refused then; nil: nobody is.
	TurnedAway func(*Call, error)
}

// A KnownDevice is a browser that the account signed in on before.
type knownDevice struct {
	account uuid.UUID
	name    string
}

// A toll is what one call spends. A call that is refused for its form alone (a
// field is missing or can't be read, a new password is refused) spends of nothing
// but a wide budget of the client's. All others spend of the client's budgets and
// the target's at one moment: before a password is hashed or a mail is queued.
//
// A device that signed in to the account before is counted by itself: whatever
// others do, at whatever address, its owner gets in, and has his turn to hash.
// The client's budgets are spent by it too, as far as they go, and all devices of
// an account have one budget together: many stolen cookies are no more tries.
type toll struct {
	realm  *Realm
	call   *Call
	e      *Endpoint
	device *knownDevice
	// free: nothing is counted.
	free bool
	// paid is what was spent.
	paid []budget.Charge
}

// newToll looks whether there is anything left for a call.
func (r *Realm) newToll(c *Call, e *Endpoint) (*toll, error) {
	t := &toll{realm: r, call: c, e: e}
	t.free = e.Throttle == "" || r.Options.Unlimited || e.reads(c.Req)
	if e.Device != nil && !e.reads(c.Req) { // what an account itself counts asks for it too
		if t.device = r.knownDevice(c, e.Device(c)); t.device != nil && !t.free {
			c.Req = c.Req.WithContext(password.Preferred(c.Req.Context()))
			return t, nil
		}
	}
	if t.free {
		return t, nil
	}
	limit := r.Options.Limits[e.Throttle]
	ahead := r.ofClient(c, e, limit)
	if e.Target != nil && r.Throttles.Shares() { // a flood asks the database nothing
		if target := e.Target(c); target != "" {
			ahead = append(ahead, r.targets(e.Throttle, target, limit)...)
		}
	}
	return t, r.throttled(c, e.Throttle, e.Name, r.Throttles.Look(ahead...))
}

// ofClient are the budgets of who calls, whatever the call says.
func (r *Realm) ofClient(c *Call, e *Endpoint, limit budget.Limit) []budget.Charge {
	tables := throttleTables[e.Throttle]
	charges := tables.Form(c.Client.Address, limit)
	if e.Alone {
		return append(charges, ownBudget(c, e.Spends, limit))
	}
	return append(charges, tables.Client(c.Client.Address, limit)...)
}

// line holds a call of a crowd that is more than the machine can hash, and refuses it where its
// turn would not come: before anything is read or looked up, so that it costs its wait and no more.
// Who is signed in goes on, who brings the cookie of a known device, and who is refused anyway.
// The page that html asks for shows what was typed, so its body is still to be read.
func (r *Realm) line(w http.ResponseWriter, c *Call, e *Endpoint, html bool) (leave func(), err error) {
	if !e.Crowds || c.Who != nil || !c.Hasher.Crowded() || r.sentDevice(c.Req) ||
		!r.Options.Unlimited && r.Throttles.Look(r.ofClient(c, e, r.Options.Limits[e.Throttle])...).Wait > 0 {
		return func() {}, nil
	}
	ctx, leave, err := c.Hasher.Line(c.Req.Context())
	c.Req = c.Req.WithContext(ctx)
	err = account.HashError(err)
	if err != nil && e.TurnedAway != nil {
		e.TurnedAway(c, err)
	}
	if err != nil && !html {
		_, _ = readBody(w, c.Req, bodyPatience) // net/http would read it, however long that takes
	}
	return leave, err
}

// reads reports whether a request to an endpoint only shows something.
func (e *Endpoint) reads(req *http.Request) bool {
	return (req.Method == http.MethodGet || req.Method == http.MethodHead) && !e.linkActs
}

// pay spends once, however often it is called. A nil toll is paid: the caller is
// no request.
func (t *toll) pay() error {
	if t == nil || t.free || t.paid != nil {
		return nil
	}
	r := t.realm
	if t.e.Mails {
		if err := r.siteMail(t.call, t.e, t.device != nil); err != nil {
			return err
		}
	}
	paid, err := r.charge(t.call, t.e.Name, t.e.Spends, t.device)
	t.paid = paid
	return err
}

// charge counts one event. A signed-in account has its own budget. A known device
// has one, and all of an account have one together; where they are used up, it is
// counted as everybody is: against the client's budgets, which it has spent of
// before, and the target's.
func (r *Realm) charge(c *Call, act string, s Spends, device *knownDevice) ([]budget.Charge, error) {
	limit, tables := r.Options.Limits[s.Throttle], throttleTables[s.Throttle]
	var clients []budget.Charge
	if !s.Alone {
		clients = tables.Client(c.Client.Address, limit)
	}
	take := func(charges ...budget.Charge) ([]budget.Charge, error) {
		v, err := r.Throttles.Spend(c.Req.Context(), charges...)
		switch {
		case err != nil:
			return nil, account.StoreError(err)
		case v.Wait > 0:
			return nil, r.throttled(c, s.Throttle, act, v)
		}
		return charges, nil
	}
	if s.Account != nil {
		if device != nil {
			clients = budget.Soft(clients)
		}
		return take(append(clients, ownBudget(c, s, limit))...)
	}
	if device != nil {
		charges := append(budget.Soft(clients),
			budget.Charge{Table: tables.Device, Key: account.BudgetKey(s.Throttle, "device", device.account.String(), device.name), Limit: limit.Part(2)},
			budget.Charge{Table: tables.Devices, Key: account.BudgetKey(s.Throttle, "devices", device.account.String()), Limit: limit})
		switch v, err := r.Throttles.Spend(c.Req.Context(), charges...); {
		case err != nil:
			return nil, account.StoreError(err)
		case v.Wait == 0:
			return charges, nil
		}
	}
	if s.Target != nil {
		if target := s.Target(c); target != "" {
			clients = append(clients, r.targets(s.Throttle, target, limit)...)
		}
	}
	return take(clients...)
}

// ownBudget is the budget of the signed-in account.
func ownBudget(c *Call, s Spends, limit budget.Limit) budget.Charge {
	return budget.Charge{Table: throttleTables[s.Throttle].Target, Key: account.BudgetKey(s.Throttle, "account", s.Account(c).ID.String()), Limit: limit}
}

// misspelt counts a body that can't be read as a failure of form.
func (r *Realm) misspelt(c *Call, e *Endpoint, err error) {
	if e.Throttle != "" && !r.Options.Unlimited {
		(&toll{realm: r, call: c, e: e}).settle(err)
	}
}

// settle sees to what a call did not use, or used without paying.
func (t *toll) settle(err error) {
	refused := (*refusal.Error)(nil)
	if t.free || !errors.As(err, &refused) || refused.Code == refusal.CodeThrottled {
		return
	}
	r := t.realm
	formal := len(refused.Fields) > 0 || StatusOf(refused.Code) < http.StatusInternalServerError
	learnt := slices.ContainsFunc(refused.Fields, tellsOfOthers)
	switch {
	case t.paid != nil && errors.Is(err, password.ErrBusy) && t.call.Req.Context().Err() == nil:
		r.Throttles.GiveBack(t.call.Req.Context(), t.paid...) // nothing was tried
		return
	case t.paid != nil && len(refused.Fields) > 0 && t.e.Alone && !learnt:
		r.Throttles.GiveBack(t.call.Req.Context(), t.paid...)
	case t.paid != nil || !formal:
		return
	}
	limit, tables := r.Options.Limits[t.e.Throttle], throttleTables[t.e.Throttle]
	charges := tables.Form(t.call.Client.Address, limit)
	switch {
	case learnt && t.e.Alone:
		charges = []budget.Charge{ownBudget(t.call, t.e.Spends, limit)}
	case learnt:
		charges = tables.Client(t.call.Client.Address, limit)
	}
	_, _ = r.Throttles.Spend(t.call.Req.Context(), budget.Soft(charges)...) // refuses nobody
}

// tellsOfOthers reports whether a refusal says what others have.
func tellsOfOthers(f refusal.FieldError) bool {
	return f.Code == refusal.CodeUnique || f.Code == refusal.CodeEmailAlreadyRegistered
}

// targets are the budgets of a typed target: one for each form in which an
// account can be found by it, so that 7, 07 and 7.0 are no three tries.
func (r *Realm) targets(throttle, target string, limit budget.Limit) []budget.Charge {
	keys := []budget.Key{account.BudgetKey(throttle, "target", field.UniqueKey(target))}
	for _, f := range append([]*field.Field{r.Options.Fields.ByName[field.Email]}, r.Options.Fields.Login...) {
		if key := account.BudgetKey(throttle, "target", f.KeyOf(target)); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	charges := make([]budget.Charge, len(keys))
	for i, key := range keys {
		charges[i] = budget.Charge{Table: throttleTables[throttle].Target, Key: key, Limit: limit}
	}
	return charges
}

// maxIncidents bounds the log lines about throttles: a flood from many addresses
// is one incident for each.
var maxIncidents = budget.Limit{Events: 60, Window: time.Minute}

// throttled counts and logs a refusal, and makes it the answer.
func (r *Realm) throttled(c *Call, throttle, act string, v budget.Verdict) error {
	if v.Wait == 0 {
		return nil
	}
	r.Count(throttle)
	if r.HeedThrottled != nil && c.Req != nil {
		r.HeedThrottled(c.Req)
	}
	if v.First && r.Throttles.Take(budget.Charge{Table: "log", Limit: maxIncidents}).Wait == 0 {
		if c.Accounts != nil {
			var id uuid.UUID
			if c.Who != nil {
				id = c.Who.User.ID
			}
			c.Journal.Fail(audit.CallerOf(c.Req.Context()), audit.Throttled, id, "throttle", throttle, "act", act)
		}
		r.Logger.Warn("throttled", zap.String("realm", r.Name), zap.String("throttle", throttle), zap.String("budget", v.Table), zap.String("act", act),
			zap.String("client_ip", c.Client.Address), zap.Duration("retry_after", v.Wait))
	}
	refusal := account.TooOften(v.Wait)
	refusal.Counted = true
	return refusal
}

// throttleHashing is how the metric of throttles calls what the machine itself is too slow for.
const throttleHashing = "hashing"

// maxCrowds bounds the log lines about it.
var maxCrowds = budget.Limit{Events: 1, Window: time.Minute}

// tooMany counts and logs a request that is told to come again because more passwords are to be
// hashed than the machine can.
func (r *Realm) tooMany(req *http.Request) {
	r.Count(throttleHashing)
	if r.Throttles.Take(budget.Charge{Table: "log of " + throttleHashing, Limit: maxCrowds}).Wait == 0 {
		r.Logger.Warn("more people sign in or up than this machine can hash passwords for: some are told to come again in a few seconds, which the metric throttled_total counts as hashing",
			zap.String("realm", r.Name), zap.String("path", req.URL.Path))
	}
}

// ThrottleTarget is the account or recipient that an input names.
func ThrottleTarget(names ...string) func(*Call) string {
	return func(c *Call) string {
		for _, name := range names {
			if text := c.In.Text(name); text != "" {
				return text
			}
		}
		return ""
	}
}

// Guess counts a try of the current password, or of a factor, as one to sign in to the
// account.
func (c *Call) Guess() error {
	asked := c.SudoAsks(c.Who.User, c.Who.Session, false)
	if asked == "" || c.In[asked].Kind == field.ValueAbsent {
		return nil
	}
	return c.guessAt(c.Who.User)
}

// GuessOwn counts a try of the current password of who asks as one to sign in.
func (c *Call) GuessOwn() error { return c.guessAt(c.Who.User) }

// guessAt counts a try of u's password as one to sign in to the account.
func (c *Call) guessAt(u *store.User) error {
	if c.Realm.Options.Unlimited {
		return nil
	}
	tries := Spends{Throttle: account.ThrottleLogin, Account: func(*Call) *store.User { return u }}
	device := c.Realm.knownDevice(c, u)
	if device != nil {
		c.Req = c.Req.WithContext(password.Preferred(c.Req.Context()))
	}
	_, err := c.Realm.charge(c, "current password", tries, device)
	return err
}

// WhoAsks is the account that is signed in.
func WhoAsks(c *Call) *store.User { return c.Who.User }

// siteMail refuses an act that mails something while the site has no mail left.
// That is told alike whoever is asked about.
func (r *Realm) siteMail(c *Call, e *Endpoint, known bool) error {
	charge := budget.Charge{Table: account.ThrottleAllMail, Limit: r.Options.Limits[account.ThrottleAllMail], Share: account.StrangerShare}
	if known {
		charge.Share = account.LinkShare
	}
	return r.throttled(c, account.ThrottleAllMail, e.Name, r.Throttles.Look(charge))
}

// MailHeld counts and logs a mail that was left out, once an incident.
func (r *Realm) MailHeld(kind store.MailKind, v budget.Verdict) {
	throttle := account.ThrottleMail
	if v.Table == account.ThrottleAllMail {
		throttle = account.ThrottleAllMail
	}
	r.Count(throttle)
	if v.First && r.Throttles.Take(budget.Charge{Table: "log", Limit: maxIncidents}).Wait == 0 {
		r.Logger.Warn("mail left out: there were too many", zap.String("realm", r.Name), zap.String("throttle", throttle),
			zap.String("budget", v.Table), zap.String("kind", string(kind)), zap.Duration("next_in", v.Wait))
	}
}
