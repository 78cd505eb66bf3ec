// postage.go: how many mails there are, to one address and of the whole site, and
// which of them go first.

package registration

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/budget"
)

// The ranks of mails: how far each may reach into the budget of all mails to an
// address and into that of the site. A notice only tells something, and is left out
// beyond its part; the first of its kind within an hour has told it. A link was
// asked for, by somebody. The link that takes an account back is never left out: the
// act that would make it necessary is refused instead.
const (
	noticeShare   = 0.5
	strangerShare = 0.9 // of the site's; the last tenth is for known devices
	linkShare     = 1
	undoShare     = 1.5
)

// Parts of the budget of an address that mails of one kind may have.
const (
	linkPart   = 2
	noticePart = 8
)

// mailTables are the tables of mails that are kept over a restart. That of the
// whole site has one key.
func mailTables() []string {
	tables := []string{"notice", throttleMail, throttleAllMail}
	for _, kind := range mailKinds {
		tables = append(tables, kindTable(kind))
	}
	return tables
}

func kindTable(kind MailKind) string { return throttleMail + "/" + string(kind) }

// mailKinds are the messages that are counted by kind.
var mailKinds = []MailKind{
	MailVerifyRegistration, MailResetPassword, MailVerifyEmail, MailPasswordChanged, MailLoginChanged,
}

// mailbox is the key of a mailbox: what stands behind a plus sign in the local
// part is its owner's to choose, at most providers, and makes no other of it.
func mailbox(address string) string {
	key := emailKey(address)
	if at := strings.LastIndexByte(key, '@'); at > 0 {
		if plus := strings.IndexByte(key[:at], '+'); plus > 0 {
			key = key[:plus] + key[at:]
		}
	}
	return key
}

// A postage decides which mails of an act are queued, each once, however often its
// transaction runs.
type postage struct {
	a *Accounts
	// rescue: the act takes an account back, and its mail is part of that.
	rescue  bool
	decided map[string]time.Duration
	paid    []budget.Charge
}

// of decides for one mail. 0: it is queued; else how long it would have to wait.
func (p *postage) of(kind MailKind, to string) time.Duration {
	if p == nil || p.a.settings.Throttle.Off {
		return 0
	}
	id := string(kind) + " " + to
	wait, ok := p.decided[id]
	if !ok {
		charges := p.a.postageOf(kind, mailbox(to), p.rescues(kind))
		v := p.a.throttles.Take(charges...)
		if wait = v.Wait; wait == 0 {
			p.paid = append(p.paid, charges...)
		} else if p.a.mailHeld != nil {
			p.a.mailHeld(kind, v)
		}
		if p.decided == nil {
			p.decided = map[string]time.Duration{}
		}
		p.decided[id] = wait
	}
	return wait
}

// rescues reports whether a mail is the way back into an account.
func (p *postage) rescues(kind MailKind) bool {
	return p.rescue || purposes[kind] == PurposeUndoEmail
}

// failed gives everything back: the act has failed, and nothing was queued.
func (p *postage) failed() { p.a.throttles.Return(p.paid...) }

// postageOf are the budgets of a mail.
func (a *Accounts) postageOf(kind MailKind, mailbox string, rescues bool) []budget.Charge {
	one, all := a.settings.Throttle.limit(throttleMail).budget(), a.settings.Throttle.limit(throttleAllMail).budget()
	site := budget.Charge{Table: throttleAllMail, Limit: all, Soft: true} // looked at when the act began
	if kind == mailDecoy {
		return []budget.Charge{site}
	}
	key := budgetKey(throttleMail, mailbox)
	together := budget.Charge{Table: throttleMail, Key: key, Limit: one, Share: linkShare}
	ofKind := budget.Charge{Table: kindTable(kind), Key: key, Limit: one.Part(linkPart)}
	switch _, link := purposes[kind]; {
	case rescues:
		together.Share = undoShare
		return []budget.Charge{together, site}
	case !link:
		together.Share, site.Share, site.Soft = noticeShare, noticeShare, false
		ofKind.Limit = one.Part(noticePart)
		if kind == MailEmailInUse { // see notice
			return []budget.Charge{together, site}
		}
	}
	return []budget.Charge{ofKind, together, site}
}

// siteMail refuses an act that mails something while the site has no mail left.
// That is told alike whoever is asked about.
func (r *realm) siteMail(c *call, e *endpoint, known bool) error {
	charge := budget.Charge{Table: throttleAllMail, Limit: r.settings.Throttle.limit(throttleAllMail).budget(), Share: strangerShare}
	if known {
		charge.Share = linkShare
	}
	return r.throttled(c, throttleAllMail, e.name, r.engine.throttles.Look(charge))
}

// mailHeld counts and logs a mail that was left out, once an incident.
func (r *realm) mailHeld(kind MailKind, v budget.Verdict) {
	throttle := throttleMail
	if v.Table == throttleAllMail {
		throttle = throttleAllMail
	}
	r.metrics.throttled.WithLabelValues(r.name, throttle).Inc()
	if v.First && r.engine.throttles.Take(budget.Charge{Table: "log", Limit: maxIncidents}).Wait == 0 {
		r.logger.Warn("mail left out: there were too many", zap.String("realm", r.name), zap.String("throttle", throttle),
			zap.String("budget", v.Table), zap.String("kind", string(kind)), zap.Duration("next_in", v.Wait))
	}
}
