// throttle.go: how often one client, account or recipient may ask for what can
// be guessed or sends mail. Memory is bounded whatever the number of keys.

package registration

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// Names of the throttles, as the configuration and the log have them.
const (
	throttleLogin    = "login"
	throttleRegister = "register"
	throttleReset    = "reset"
	throttleEmail    = "email"
)

// throttleKey is a hash of what is counted, so that the table holds no address
// or name, and a long one takes no more room than a short one. Its last bit
// tells the budgets that survive a restart.
type throttleKey [16]byte

func newThrottleKey(parts ...string) throttleKey {
	key := throttleKey(stateOf(append([]string{"throttle"}, parts...)...)[:16])
	key[15] &^= 1
	return key
}

// lastingKey is the key of an account, a recipient or a device: its budget is
// written to the store. A client's address is not: there are too many of them.
func lastingKey(parts ...string) throttleKey {
	key := newThrottleKey(parts...)
	key[15] |= 1
	return key
}

func (k throttleKey) lasting() bool { return k[15]&1 == 1 }

// Bounds of a table: the keys with a budget of their own, and the budgets that
// all further keys share by their hash. A flood of keys so neither takes more
// memory nor makes the table forget anybody.
const (
	maxThrottleKeys = 1 << 16
	sharedBudgets   = 1 << 10
)

// A budget is a token bucket with the moment of its last logged refusal.
type budget struct {
	*rate.Limiter
	incident time.Time
}

// throttles counts events by key. It is shared by the configurations of a realm
// over reloads, and safe for concurrent use.
type throttles struct {
	mu     sync.Mutex
	own    map[throttleKey]*budget
	shared [sharedBudgets]*budget
	swept  time.Time
	latest time.Time // on the wall clock
	max    int
	// changed: a lasting budget was spent since the last snapshot.
	changed bool
}

func newThrottles() *throttles {
	return &throttles{own: map[throttleKey]*budget{}, max: maxThrottleKeys}
}

// take counts one event against every key, or against none: then it returns how
// long to wait, and whether this is the first refusal of an incident.
func (t *throttles) take(now time.Time, limit ThrottleLimit, keys ...throttleKey) (wait time.Duration, first bool) {
	every := time.Duration(limit.Window) / time.Duration(limit.Events)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turnBack(now)
	budgets := make([]*budget, len(keys))
	for i, key := range keys {
		b := t.budget(now, key, rate.Every(every), limit.Events)
		budgets[i] = b
		if missing := 1 - b.TokensAt(now); missing > 0 {
			// A little more than what is missing: the next try must not come
			// a rounding error too early.
			wait = max(wait, time.Duration(missing*float64(every))+time.Millisecond)
			if now.Sub(b.incident) >= time.Duration(limit.Window) {
				first = true
			}
			b.incident = now
		}
	}
	if wait > 0 {
		return wait, first
	}
	for i, b := range budgets {
		b.AllowN(now, 1)
		t.changed = t.changed || keys[i].lasting()
	}
	return 0, false
}

// turnBack lets no budget wait for a moment that the clock has left by being set
// back: what is spent comes back from now on. Running budgets go by the monotonic
// clock; those of a snapshot by the one that was on the wall.
func (t *throttles) turnBack(now time.Time) {
	wall := now.Round(0)
	if wall.Add(time.Second).After(t.latest) { // callers come a little out of order
		if wall.After(t.latest) {
			t.latest = wall
		}
		return
	}
	t.latest = wall
	for b := range maps.Values(t.own) {
		b.turnBack(now)
	}
	for _, b := range t.shared {
		if b != nil {
			b.turnBack(now)
		}
	}
}

func (b *budget) turnBack(now time.Time) {
	b.SetLimitAt(now, b.Limit()) // it counts from the time that it is told
	if b.incident.After(now) {
		b.incident = time.Time{}
	}
}

// refund makes the budget of a key whole again: what it was spent on failed.
func (t *throttles) refund(key throttleKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.own, key)
	t.changed = true
}

// budget finds the budget of a key. A changed setting applies from here on.
func (t *throttles) budget(now time.Time, key throttleKey, limit rate.Limit, burst int) *budget {
	b, ok := t.own[key]
	if !ok && len(t.own) >= t.max {
		t.sweep(now)
	}
	switch {
	case ok:
	case len(t.own) < t.max:
		b = &budget{Limiter: rate.NewLimiter(limit, burst)}
		t.own[key] = b
	default:
		slot := &t.shared[binary.BigEndian.Uint16(key[:])%sharedBudgets]
		if *slot == nil {
			*slot = &budget{Limiter: rate.NewLimiter(limit, burst)}
		}
		b = *slot
	}
	if b.Limit() != limit || b.Burst() != burst {
		b.SetLimitAt(now, limit)
		b.SetBurstAt(now, burst)
	}
	return b
}

// sweep forgets the budgets that are whole again, at most once a second: a
// flood must not make every request walk the table.
func (t *throttles) sweep(now time.Time) {
	if now.Sub(t.swept) < time.Second && !now.Before(t.swept) {
		return
	}
	t.swept = now
	for key, b := range t.own {
		if b.TokensAt(now) >= float64(b.Burst()) {
			delete(t.own, key)
		}
	}
}

// addressKey names a client: an IPv4 address, or the /64 of an IPv6 one, since
// that is what one household or server has.
func addressKey(kind, address string) throttleKey {
	if a, err := netip.ParseAddr(address); err == nil {
		a = a.Unmap().WithZone("")
		if a.Is6() {
			if p, err := a.Prefix(64); err == nil {
				a = p.Addr()
			}
		}
		address = a.String()
	}
	return newThrottleKey(kind, "address", address)
}

// limit counts a call against the budgets of its endpoint, or refuses it. A
// device that signed in to the account before is counted by itself: whatever
// others do, at whatever address, its owner gets in.
func (r *realm) limit(c *call, e *endpoint) error {
	if e.throttle == "" || r.settings.Throttle.Off {
		return nil
	}
	if e.device {
		if key, ok := r.deviceKey(c); ok {
			return r.spend(c, e.throttle, e.name, key)
		}
	}
	keys := []throttleKey{addressKey(e.throttle, c.client.Address)}
	if e.target != nil {
		if target := e.target(c); target != "" {
			keys = append(keys, r.targetKeys(e.throttle, target)...)
		}
	}
	return r.spend(c, e.throttle, e.name, keys...)
}

// targetKeys are the budgets of a typed target: one for each form in which an
// account can be found by it, so that 7, 07 and 7.0 are no three tries.
func (r *realm) targetKeys(throttle, target string) []throttleKey {
	keys := []throttleKey{lastingKey(throttle, "target", uniqueKey(target))}
	for _, f := range append([]*field{r.settings.fields.byName[fieldEmail]}, r.settings.fields.login...) {
		if key := lastingKey(throttle, "target", f.keyOf(target)); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// spend counts one event against every key, or refuses it.
func (r *realm) spend(c *call, throttle, act string, keys ...throttleKey) error {
	wait, first := r.engine.throttles.take(r.now(), r.settings.Throttle.limit(throttle), keys...)
	if wait == 0 {
		return nil
	}
	r.metrics.throttled.WithLabelValues(r.name, throttle).Inc()
	if first {
		r.logger.Warn("throttled", zap.String("realm", r.name), zap.String("throttle", throttle), zap.String("act", act),
			zap.String("client_ip", c.client.Address), zap.Duration("retry_after", wait))
	}
	return &Error{Code: CodeThrottled, RetryAfter: wait, Params: Params{"seconds": seconds(wait)}}
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
