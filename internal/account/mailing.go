// mailing.go: which mails an act sends. How many there are, to one address and of the
// whole site, and which of them go first; and what keeps strangers from learning who has
// an account: the same answer and the same work, whatever an address belongs to, and a
// word to the one who owns it.

package account

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The ranks of mails: how far each may reach into the budget of links to an address
// and into that of the site. A notice about others' tries only tells something, and
// is left out beyond its part. A link was asked for, by somebody. The link that
// takes an account back is never left out: the act that would make it necessary is
// refused instead.
const (
	noticeShare   = 0.5
	StrangerShare = 0.9 // of the site's; the last tenth is for known devices
	confirmShare  = 0.9 // of an address's; the last tenth is for its resets
	LinkShare     = 1
	undoShare     = 1.5
)

// Parts of the budget of an address that mails of one kind may have.
const (
	linkPart   = 2
	noticePart = 8
	// devicePart is what resets have that were asked for on a known device, besides.
	devicePart = 6
)

// throttleMailDevice is the table of resets that were asked for on a known device.
const throttleMailDevice = ThrottleMail + "/device"

// throttleMailAsked is that of the links that were asked for again, whichever name
// of the account was typed.
const throttleMailAsked = ThrottleMail + "/asked"

// throttleMailDecoy is that of what stands in for a mail, where budgets are rows: as many of
// them are written, which takes as long.
const throttleMailDecoy = ThrottleMail + "/decoy"

// MailTables are the tables of mails that are kept over a restart, and that nodes spend
// together. That of the whole site has one key.
func MailTables() []string {
	tables := []string{"notice", tableCode, tableCodeAccount, ThrottleMail, ThrottleAllMail, throttleMailDevice, throttleMailAsked, throttleMailDecoy}
	for _, kind := range mailKinds {
		tables = append(tables, kindTable(kind))
	}
	return tables
}

// kindTable counts the mails of one kind to a mailbox.
func kindTable(kind store.MailKind) string { return ThrottleMail + "/" + string(kind) }

// mailKinds are the messages that are counted by kind.
var mailKinds = []store.MailKind{
	store.MailVerifyRegistration, store.MailResetPassword, store.MailVerifyEmail, store.MailLoginCode, store.MailPasswordChanged, store.MailLoginChanged,
}

// languageOf is the language in which the owner of an account is written to: the one that he
// has chosen, else the one of his own browser; "": neither is known. Whoever causes a mail
// may be somebody else, so the language of the request is the last that is asked.
func languageOf(u *store.User) string { return cmp.Or(u.Language, u.BrowserLanguage) }

// notesLanguage is part of a sign-in on a device that is no news: the account that follows
// its browser knows from now on what that asks for. The caller writes u.
func notesLanguage(u *store.User, client Client) {
	if u.Language == "" && client.Prefers != "" {
		u.BrowserLanguage = client.Prefers
	}
}

// chosenLanguage is part of each act by which somebody chooses his language: one that he has
// chosen is in place of his browser's.
func chosenLanguage(before, u *store.User, client Client) {
	if before.Language != u.Language {
		followsBrowser(u, client)
	}
}

// followsBrowser notes what the browser asks for of who has chosen nothing else.
func followsBrowser(u *store.User, client Client) {
	if u.BrowserLanguage = ""; u.Language == "" {
		u.BrowserLanguage = client.Prefers
	}
}

// setLanguage gives a new account the language of the page or the request, unless the input
// has said one, or that it is to follow the browser.
func (a *Accounts) setLanguage(in field.Input, u *store.User, client Client) {
	own := a.Policy.Fields.Language == nil || a.Policy.Fields.Language != a.Policy.Fields.ByName[field.Language] // hidden, or another of that name
	if own || in[field.Language].Kind == field.ValueAbsent {
		u.Language = client.Wanted
	}
	followsBrowser(u, client)
}

// SetLanguage is by whom an account belongs to: how he is written to from now on, and
// answered; empty or null: as his browser asks.
func (a *Accounts) SetLanguage(ctx context.Context, p session.Principal, in field.Input, client Client) (u *store.User, err error) {
	var errs refusal.FieldErrors
	if wanted := new(store.User); !in.Field(a.Policy.Fields.Language, false, wanted, &errs) {
		errs.Add(field.Language, refusal.CodeRequired)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if err := client.pay(); err != nil {
		return nil, err
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		before := *u
		in.Field(a.Policy.Fields.Language, false, u, &errs)
		if chosenLanguage(&before, u, client); before.Language == u.Language {
			return nil
		}
		return errors.Join(a.AuditProfile(t, &before, u), a.PutUser(t, u))
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// mailbox is the key of a mailbox: what stands behind a plus sign in the local
// part is its owner's to choose, at most providers, and makes no other of it.
func mailbox(address string) string {
	key := field.EmailKey(address)
	if at := strings.LastIndexByte(key, '@'); at > 0 {
		if plus := strings.IndexByte(key[:at], '+'); plus > 0 {
			key = key[:plus] + key[at:]
		}
	}
	return key
}

// recipientKey is the key of who a mail goes to. An address without a plus sign has
// budgets of its own, and so has one that its account has confirmed; what else
// stands for the same mailbox has budgets together. So nobody makes many budgets of
// one mailbox, and mails to made-up variants take nothing from the address itself.
func recipientKey(to string, confirmed bool) budget.Key {
	own, box := field.EmailKey(to), mailbox(to)
	if confirmed || own == box {
		return BudgetKey(ThrottleMail, own)
	}
	return BudgetKey(ThrottleMail, "variants", box)
}

// confirmedFor reports whether an address was confirmed for u, as its own or as one
// that it can go back to.
func confirmedFor(u *store.User, to string) bool {
	if i := formerIndex(u, to); i >= 0 && !u.Former[i].Unproven {
		return true
	}
	return IsFurther(u, to) || u.EmailVerified && !u.EmailPending && field.EmailKey(u.Email) == field.EmailKey(to)
}

// A postage decides which mails of an act are queued, each once, however often its
// transaction runs.
type postage struct {
	a *Accounts
	// rescue: the act takes an account back, and its mail is part of that.
	rescue bool
	// asked names the throttle of an act that asks for a link, by any name of the
	// account; "": none.
	asked   string
	decided map[string]ruling
	paid    []budget.Charge
}

// A ruling is what was decided of a mail.
type ruling struct {
	wait    time.Duration
	charges []budget.Charge
}

// of decides for one mail about u. 0: it is queued; else how long it would have to
// wait.
func (p *postage) of(t *Txn, kind store.MailKind, u *store.User, to string, client Client) (time.Duration, error) {
	if p == nil || p.a.Policy.Unlimited {
		return 0, nil
	}
	id := string(kind) + " " + to
	r, ok := p.decided[id]
	if !ok {
		wait := time.Duration(0)
		charges := p.ofDevice(kind, u, to, client)
		if charges == nil || p.a.Throttles.Take(charges...).Wait > 0 {
			charges = p.charges(kind, u, to)
			v := p.a.Throttles.Take(charges...)
			if wait = v.Wait; wait > 0 && p.a.MailHeld != nil {
				p.a.MailHeld(kind, v)
			}
		}
		if r.wait = wait; wait == 0 {
			r.charges = charges
			p.paid = append(p.paid, charges...)
		}
		if p.decided == nil {
			p.decided = map[string]ruling{}
		}
		p.decided[id] = r
	}
	return r.wait, t.spendIn(id, r.charges...)
}

// spendIn has the act write what was taken, once in each of its transactions.
func (t *Txn) spendIn(id string, charges ...budget.Charge) error {
	if t.postage == nil || t.spent[id] {
		return nil
	}
	if t.spent == nil {
		t.spent = map[string]bool{}
	}
	t.spent[id] = true
	return t.postage.a.Throttles.SpendIn(t, charges...)
}

// expects has the act learn, with the next that it reads, what other nodes have mailed of the
// kind of mail that it is about to. u is the account as it is known before, nil: there is none.
func (t *Txn) expects(kind store.MailKind, u *store.User, to string, n notice, client Client) error {
	if t.postage.a.Policy.Unlimited {
		return nil
	}
	if u == nil {
		u = &store.User{}
	}
	p := t.postage
	return p.a.Throttles.LookIn(t, slices.Concat(p.charges(kind, u, to), p.ofDevice(kind, u, to, client), n.charges)...)
}

// rescues reports whether a mail is the way back into an account.
func (p *postage) rescues(kind store.MailKind) bool {
	return p.rescue || Purposes[kind] == sign.PurposeUndoEmail
}

// failed gives everything back: the act has failed, and nothing was queued.
func (p *postage) failed() { p.a.Throttles.Return(p.paid...) }

// ofDevice are the budgets of a reset that was asked for on a device of u, which
// nobody else spends of; nil where it was not.
func (p *postage) ofDevice(kind store.MailKind, u *store.User, to string, client Client) []budget.Charge {
	if kind != store.MailResetPassword || p.rescue || client.Device == uuid.Nil || client.Device != u.ID {
		return nil
	}
	limits := p.a.Policy.Limits
	return []budget.Charge{
		{Table: throttleMailDevice, Key: recipientKey(to, confirmedFor(u, to)), Limit: limits[ThrottleMail].Part(devicePart)},
		{Table: ThrottleAllMail, Limit: limits[ThrottleAllMail], Soft: true},
	}
}

// charges are the budgets of a mail. Links, notices of an account's own acts and
// notices of others' tries spend of nothing together but the site's.
func (p *postage) charges(kind store.MailKind, u *store.User, to string) []budget.Charge {
	limits := p.a.Policy.Limits
	one := limits[ThrottleMail]
	site := budget.Charge{Table: ThrottleAllMail, Limit: limits[ThrottleAllMail], Soft: true} // looked at when the act began
	if kind == store.MailDecoy {
		return append([]budget.Charge{site}, p.padding(2, to)...)
	}
	confirmed := confirmedFor(u, to)
	key := recipientKey(to, confirmed)
	together := budget.Charge{Table: ThrottleMail, Key: key, Limit: one, Share: confirmShare}
	ofKind := budget.Charge{Table: kindTable(kind), Key: key, Limit: one.Part(linkPart)}
	_, link := Purposes[kind]
	switch {
	case p.rescues(kind):
		together.Share = undoShare
		return []budget.Charge{together, site}
	case kind == store.MailEmailInUse: // see notice
		site.Share, site.Soft = noticeShare, false
		return append([]budget.Charge{site}, p.padding(1, to)...) // and its own, see Notice
	case !link, kind == store.MailNewDevice:
		// A confirmed address is told whatever the site has sent: strangers could
		// use that up.
		site.Share, site.Soft = noticeShare, confirmed
		ofKind.Limit = one.Part(noticePart)
		return []budget.Charge{ofKind, site}
	case kind == store.MailResetPassword:
		together.Share = LinkShare
	}
	charges := []budget.Charge{ofKind, together, site}
	if p.asked != "" {
		charges = append(charges, budget.Charge{Table: throttleMailAsked, Key: BudgetKey(p.asked, string(key[:])), Limit: limits[p.asked]})
	}
	return charges
}

// padding is what a mail has more budgets than what stands in for it, or tells somebody else.
// Where none is a row it takes no time.
func (p *postage) padding(n int, to string) (charges []budget.Charge) {
	if !p.a.Throttles.Shares() {
		return nil
	}
	if p.asked != "" {
		n++
	}
	for i := range n {
		key := BudgetKey(ThrottleMail, "decoy", strconv.Itoa(i), field.UniqueKey(to))
		charges = append(charges, budget.Charge{Table: throttleMailDecoy, Key: key, Limit: p.a.Policy.Limits[ThrottleMail], Soft: true})
	}
	return charges
}

// Names of the throttles, as the configuration, the log and the metrics have them.
const (
	ThrottleLogin    = "login"
	ThrottleRegister = "register"
	ThrottleReset    = "reset"
	ThrottleEmail    = "email"
	ThrottleProfile  = "profile"
	// ThrottleMail and ThrottleAllMail count mails and not requests (postage).
	ThrottleMail    = "mail"
	ThrottleAllMail = "all_mail"
)

// BudgetKey is the key of an account, a recipient or a device. The values are
// bounded before. Its last bit is from when it told what lasts.
func BudgetKey(parts ...string) budget.Key {
	key := budget.Key(sign.StateOf(append([]string{"throttle"}, parts...)...)[:16])
	key[15] |= 1
	return key
}

// TooOften refuses what is over a budget until wait has passed.
func TooOften(wait time.Duration) *refusal.Error {
	return &refusal.Error{Code: refusal.CodeThrottled, RetryAfter: wait, Params: text.Params{"seconds": refusal.Seconds(wait)}}
}

// noticeLimit bounds how often an address is told about others' tries.
var noticeLimit = budget.Limit{Events: 1, Window: time.Hour}

// decoyMail queues one. The recipient stands for what was typed, so that a
// second one waits behind the first as a second mail would.
func (a *Accounts) decoyMail(t *Txn, typed string, client Client) error {
	to := hex.EncodeToString(sign.StateOf("decoy", field.UniqueKey(typed))[:6]) + "@example.com"
	return a.queueMail(t, store.MailDecoy, &store.User{}, to, client)
}

// typedLogin is the text by which an input names an account.
func typedLogin(in field.Input, names []string) string {
	for _, name := range append([]string{"login"}, names...) {
		if text := in.Text(name); text != "" {
			return text
		}
	}
	return ""
}

// A notice is a mail that an address gets at most once an hour.
type notice struct {
	// Due decides once, however often a transaction runs.
	Due func() bool
	// Failed gives the hour back: the notice could not be queued.
	Failed  func()
	charges []budget.Charge
}

// noticeKey leaves a plain address the key that it had in earlier versions.
func noticeKey(kind store.MailKind, to string) budget.Key {
	own, box := field.EmailKey(to), mailbox(to)
	if own == box {
		return BudgetKey("notice", string(kind), own)
	}
	return BudgetKey("notice", string(kind), "variants", box)
}

// Notice is what tells an address of somebody else's try, unless it was told within
// the hour. Addresses of one mailbox share theirs.
func (a *Accounts) Notice(kind store.MailKind, to string) notice {
	charge := budget.Charge{Table: "notice", Key: noticeKey(kind, to), Limit: noticeLimit}
	spent := false
	return notice{
		charges: []budget.Charge{charge},
		Due: sync.OnceValue(func() bool {
			spent = a.Throttles.Take(charge).Wait == 0
			return spent
		}),
		Failed: func() {
			if spent {
				a.Throttles.Return(charge)
			}
		},
	}
}

// queueNotice queues a notice or, within the hour, does the same work.
func (a *Accounts) queueNotice(t *Txn, kind store.MailKind, u *store.User, to string, n notice, client Client) error {
	if !n.Due() {
		return a.decoyMail(t, to, client)
	}
	if err := t.spendIn("notice "+to, n.charges...); err != nil {
		return err
	}
	return a.queueMail(t, kind, u, to, client)
}

// addressHolder returns the account that an address belongs to: as its own, as
// one that it can go back to or, where people sign in by either, as the value
// of another login field. ErrNotFound: it is free, whoever may wait for it. It
// looks everywhere in any case: an early end would tell. The account is a brief one.
func (a *Accounts) addressHolder(tx store.Tx, email string) (*store.User, error) {
	holder, err := tx.BriefUserByKey(field.Email, field.EmailKey(email))
	former, formerErr := a.FormerHolder(tx, email)
	failed := storeFailure(err, formerErr)
	if errors.Is(err, store.ErrNotFound) {
		holder, err = former, formerErr
	}
	for _, f := range a.besideEmail() {
		u, besideErr := tx.BriefUserByKey(f.Keyspace(), f.KeyOf(email))
		failed = storeFailure(failed, besideErr)
		if errors.Is(err, store.ErrNotFound) && (besideErr != nil || !u.EmailPending) {
			holder, err = u, besideErr
		}
	}
	if failed != nil {
		return nil, failed
	}
	return holder, err
}

// storeFailure returns the first error that is more than a record that isn't there.
func storeFailure(errs ...error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// besideEmail returns the other login fields where people sign in by their
// e-mail address too: there, one `login` can mean either.
func (a *Accounts) besideEmail() []*field.Field {
	set := a.Policy.Fields
	if !set.IsLogin(field.Email) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(set.Login), func(f *field.Field) bool { return f.Name == field.Email })
}

// tellHolder gives a taken address the notice that somebody wanted it.
func (a *Accounts) tellHolder(t *Txn, holder *store.User, email string, n notice, client Client) error {
	to, about := reachedAt(holder, email), holder
	if to == "" || field.EmailKey(to) != field.EmailKey(email) {
		to, about = email, &store.User{ID: uuid.Nil} // held as a username, or no longer: its owner may be another
	}
	return a.queueNotice(t, store.MailEmailInUse, about, to, n, client)
}
