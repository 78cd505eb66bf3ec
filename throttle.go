// throttle.go: what a call spends: which budgets of which throttle, and when. How
// budgets are counted is in internal/budget.

package registration

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/password"
)

// throttleTables are the throttles that count requests.
var throttleTables = func() map[string]*budget.Throttle {
	tables := map[string]*budget.Throttle{}
	for _, name := range []string{throttleLogin, throttleRegister, throttleReset, throttleEmail, throttleProfile} {
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
	return append(names, mailTables()...)
}

// newThrottles returns the budgets of a realm.
func newThrottles(now func() time.Time) *budget.Ledger { return budget.New(now, lastingTables()...) }

// spends says what a call to an endpoint is counted against.
type spends struct {
	// throttle names the budgets; "": none.
	throttle string
	// target is the account or recipient that has budgets of its own; nil: none. It
	// looks in the order in which the act looks for the account: a second name in
	// the body must not be what is counted.
	target func(*call) string
	// account is the one that has a budget, where there is no doubt which: that
	// which is signed in; nil: none. alone: and no client is counted.
	account func(*call) *User
	alone   bool
	// mails: it mails somebody.
	mails bool
	// device returns the account whose known devices have budgets of their own, nil
	// for none.
	device func(*call) *User
}

// A knownDevice is a browser that the account signed in on before.
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
	realm  *webRealm
	call   *call
	e      *endpoint
	device *knownDevice
	// free: nothing is counted.
	free bool
	// paid is what was spent.
	paid []budget.Charge
}

// newToll looks whether there is anything left for a call.
func (r *webRealm) newToll(c *call, e *endpoint) (*toll, error) {
	t := &toll{realm: r, call: c, e: e}
	if t.free = e.throttle == "" || r.options.Unlimited || e.reads(c.req); t.free {
		return t, nil
	}
	if e.device != nil {
		if t.device = r.knownDevice(c, e.device(c)); t.device != nil {
			c.req = c.req.WithContext(password.Preferred(c.req.Context()))
			return t, nil
		}
	}
	limit := r.options.Limits[e.throttle]
	tables := throttleTables[e.throttle]
	ahead := tables.Form(c.client.Address, limit)
	if !e.alone {
		ahead = append(ahead, tables.Client(c.client.Address, limit)...)
	}
	return t, r.throttled(c, e.throttle, e.name, r.throttles.Look(ahead...))
}

// reads reports whether a request to an endpoint only shows something.
func (e *endpoint) reads(req *http.Request) bool {
	return (req.Method == http.MethodGet || req.Method == http.MethodHead) && !e.linkActs
}

// pay spends once, however often it is called. A nil toll is paid: the caller is
// no request.
func (t *toll) pay() error {
	if t == nil || t.free || t.paid != nil {
		return nil
	}
	r := t.realm
	if t.e.mails {
		if err := r.siteMail(t.call, t.e, t.device != nil); err != nil {
			return err
		}
	}
	paid, err := r.charge(t.call, t.e.name, t.e.spends, t.device)
	t.paid = paid
	return err
}

// charge counts one event. A signed-in account has its own budget. A known device
// has one, and all of an account have one together; where they are used up, it is
// counted as everybody is: against the client's budgets, which it has spent of
// before, and the target's.
func (r *webRealm) charge(c *call, act string, s spends, device *knownDevice) ([]budget.Charge, error) {
	limit, tables := r.options.Limits[s.throttle], throttleTables[s.throttle]
	var clients []budget.Charge
	if !s.alone {
		clients = tables.Client(c.client.Address, limit)
	}
	take := func(charges ...budget.Charge) ([]budget.Charge, error) {
		if v := r.throttles.Take(charges...); v.Wait > 0 {
			return nil, r.throttled(c, s.throttle, act, v)
		}
		return charges, nil
	}
	if s.account != nil {
		if device != nil {
			clients = budget.Soft(clients)
		}
		own := budget.Charge{Table: tables.Target, Key: budgetKey(s.throttle, "account", s.account(c).ID.String()), Limit: limit}
		return take(append(clients, own)...)
	}
	if device != nil {
		charges := append(budget.Soft(clients),
			budget.Charge{Table: tables.Device, Key: budgetKey(s.throttle, "device", device.account.String(), device.name), Limit: limit.Part(2)},
			budget.Charge{Table: tables.Devices, Key: budgetKey(s.throttle, "devices", device.account.String()), Limit: limit})
		if r.throttles.Take(charges...).Wait == 0 {
			return charges, nil
		}
	}
	if s.target != nil {
		if target := s.target(c); target != "" {
			clients = append(clients, r.targets(s.throttle, target, limit)...)
		}
	}
	return take(clients...)
}

// misspelt counts a body that can't be read as a failure of form.
func (r *webRealm) misspelt(c *call, e *endpoint, err error) {
	if e.throttle != "" && !r.options.Unlimited {
		(&toll{realm: r, call: c, e: e}).settle(err)
	}
}

// settle sees to what a call did not use, or used without paying.
func (t *toll) settle(err error) {
	refusal := (*Error)(nil)
	if t.free || !errors.As(err, &refusal) || refusal.Code == CodeThrottled {
		return
	}
	r := t.realm
	formal := len(refusal.Fields) > 0 || statusOf(refusal.Code) < http.StatusInternalServerError
	switch {
	case t.paid != nil && errors.Is(err, password.ErrBusy) && t.call.req.Context().Err() == nil:
		r.throttles.Return(t.paid...) // nothing was tried
		return
	case t.paid != nil && len(refusal.Fields) > 0 && t.e.alone:
		r.throttles.Return(t.paid...)
	case t.paid != nil || !formal:
		return
	}
	limit, tables := r.options.Limits[t.e.throttle], throttleTables[t.e.throttle]
	charges := tables.Form(t.call.client.Address, limit)
	if slices.ContainsFunc(refusal.Fields, func(f FieldError) bool { return f.Code == CodeUnique }) {
		charges = tables.Client(t.call.client.Address, limit) // it has learnt something of others
	}
	r.throttles.Take(budget.Soft(charges)...)
}

// targets are the budgets of a typed target: one for each form in which an
// account can be found by it, so that 7, 07 and 7.0 are no three tries.
func (r *webRealm) targets(throttle, target string, limit budget.Limit) []budget.Charge {
	keys := []budget.Key{budgetKey(throttle, "target", uniqueKey(target))}
	for _, f := range append([]*field{r.options.Fields.byName[fieldEmail]}, r.options.Fields.login...) {
		if key := budgetKey(throttle, "target", f.keyOf(target)); !slices.Contains(keys, key) {
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
func (r *webRealm) throttled(c *call, throttle, act string, v budget.Verdict) error {
	if v.Wait == 0 {
		return nil
	}
	r.count(throttle)
	if v.First && r.throttles.Take(budget.Charge{Table: "log", Limit: maxIncidents}).Wait == 0 {
		r.logger.Warn("throttled", zap.String("realm", r.name), zap.String("throttle", throttle), zap.String("budget", v.Table), zap.String("act", act),
			zap.String("client_ip", c.client.Address), zap.Duration("retry_after", v.Wait))
	}
	refusal := tooOften(v.Wait)
	refusal.counted = true
	return refusal
}

// throttleTarget is the account or recipient that an input names.
func throttleTarget(names ...string) func(*call) string {
	return func(c *call) string {
		for _, name := range names {
			if text := c.in.text(name); text != "" {
				return text
			}
		}
		return ""
	}
}

// guess counts a try of the current password as one to sign in to the account.
func (c *call) guess() error {
	if !c.staleSignIn(c.who.Session) || c.in[paramPassword].kind == valueAbsent {
		return nil
	}
	return c.guessAt(c.who.User)
}

// guessAt counts a try of u's password as one to sign in to the account.
func (c *call) guessAt(u *User) error {
	if c.realm.options.Unlimited {
		return nil
	}
	tries := spends{throttle: throttleLogin, account: func(*call) *User { return u }}
	device := c.realm.knownDevice(c, u)
	if device != nil {
		c.req = c.req.WithContext(password.Preferred(c.req.Context()))
	}
	_, err := c.realm.charge(c, "current password", tries, device)
	return err
}

// whoAsks is the account that is signed in.
func whoAsks(c *call) *User { return c.who.User }

// siteMail refuses an act that mails something while the site has no mail left.
// That is told alike whoever is asked about.
func (r *webRealm) siteMail(c *call, e *endpoint, known bool) error {
	charge := budget.Charge{Table: throttleAllMail, Limit: r.options.Limits[throttleAllMail], Share: strangerShare}
	if known {
		charge.Share = linkShare
	}
	return r.throttled(c, throttleAllMail, e.name, r.throttles.Look(charge))
}

// mailHeld counts and logs a mail that was left out, once an incident.
func (r *webRealm) mailHeld(kind MailKind, v budget.Verdict) {
	throttle := throttleMail
	if v.Table == throttleAllMail {
		throttle = throttleAllMail
	}
	r.count(throttle)
	if v.First && r.throttles.Take(budget.Charge{Table: "log", Limit: maxIncidents}).Wait == 0 {
		r.logger.Warn("mail left out: there were too many", zap.String("realm", r.name), zap.String("throttle", throttle),
			zap.String("budget", v.Table), zap.String("kind", string(kind)), zap.Duration("next_in", v.Wait))
	}
}
