// pause.go: when the queue as a whole waits, and how it finds out that it need
// not any more.

package outbox

import (
	"errors"
	"math/rand/v2"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// refusedInARow is after how many recipients of different domains that a server
// refuses in a row it is taken to refuse everybody.
const refusedInARow = 3

// pause is why the queue as a whole waits. The zero pause: it doesn't.
type pause struct {
	// failures of the server as a whole, in a row.
	failures int
	// forGood: the last of them was a no for good.
	forGood bool
	// everybody: the server takes our connections, and no recipient.
	everybody bool
	// domains of the recipients that it has refused in a row.
	domains []string
	// told are the replies of which the log has said what to fix.
	told []int
	// down is for how long the mail server has been waited for, by no wall clock.
	down time.Duration
}

func (w *pause) suspended() bool { return w.failures > 0 }

// untilProbe is how long the server is left in peace.
func (w *pause) untilProbe() time.Duration {
	if w.forGood {
		return mailProbe
	}
	return min(backoff(max(w.failures, 1)), mailProbe)
}

// suspend has all mail wait. The log says it once, and once more for another reply.
func (w *pause) suspend(err *mail.Error, log *zap.Logger) {
	w.failures++
	w.forGood = err.Refused
	reply, code := (*textproto.Error)(nil), 0
	if errors.As(err, &reply) {
		code = reply.Code
	}
	if slices.Contains(w.told, code) {
		log.Debug("the mail server still can't be used; all mail waits", zap.Error(err))
		return
	}
	w.told = append(w.told, code)
	log.Error("the mail server can't be used; all mail waits", zap.Error(err))
}

// refuses counts a recipient that the server has refused for another reason than
// the address, and reports whether all mail waits for that. Only the first refusal
// of a message counts: messages that were refused before say nothing new, however
// many there are.
func (w *pause) refuses(to string, fresh bool, err error, log *zap.Logger) bool {
	domain := strings.ToLower(to[strings.LastIndexByte(to, '@')+1:])
	if (fresh || w.everybody) && !slices.Contains(w.domains, domain) && len(w.domains) < mailBatch {
		w.domains = append(w.domains, domain)
	}
	switch {
	case w.everybody:
	case len(w.domains) < refusedInARow:
		return false
	default:
		log.Error("the mail server refuses all recipients; all mail waits, one is tried once a minute and all after a reload", zap.Error(err))
	}
	w.failures, w.forGood, w.everybody = w.failures+1, true, true
	return true
}

// resume ends the waiting: the server does its work. Whatever waited is tried at once.
func (o *Worker) resume(log *zap.Logger) {
	if o.suspended() {
		log.Info("the mail server works again; all mail goes on")
		o.hasten = true
	}
	o.pause = pause{}
}

// again has everything tried at once, and said once more what is wrong.
func (o *Worker) again() { o.pause = pause{down: o.down} }

// probeOf returns what of the mail that is due is sent: all of it, or the one that
// shows whether the server works again. Where it refuses recipients, that is any
// one, of a domain that it has not refused if there is one: nobody's addresses keep
// those of others from being tried.
func (o *Worker) probeOf(due []*store.Mail) []*store.Mail {
	if !o.suspended() {
		return due
	}
	if !o.everybody {
		return due[:1]
	}
	others := slices.DeleteFunc(slices.Clone(due), func(m *store.Mail) bool {
		return slices.Contains(o.domains, strings.ToLower(m.To[strings.LastIndexByte(m.To, '@')+1:]))
	})
	if len(others) == 0 {
		others = due
	}
	return []*store.Mail{others[rand.N(len(others))]} //nolint:gosec // a choice, not a secret
}
