// journal.go: who acts, and how an event gets into the store and the log.

package audit

import (
	"context"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/store"
)

// Actors that are no account.
const (
	// ActorAdmin asks over Caddy's admin endpoint or by the command line.
	ActorAdmin = "admin"
	// ActorSystem is the realm itself: a sweep, the outbox.
	ActorSystem = "system"
)

// A Caller is who an act is done for, as far as it is recorded.
type Caller struct {
	// Actor is the id of the account that is signed in, or one of the actors above;
	// empty: nobody is signed in. What such a one gets done (a sign-up, a sign-in, a
	// mailed link) is taken for the account's own.
	Actor string
	// Address is the IP address that Caddy trusts (client_ip); Agent the User-Agent.
	Address string
	Agent   string
}

type callerKey struct{}

// WithCaller says for whom the acts of a context are done.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is who WithCaller has named; the system where it named nobody.
func CallerOf(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return Caller{Actor: ActorSystem}
}

// failedAgent bounds the User-Agent of what failed, in bytes: a flood chooses it.
const failedAgent = 160

// A Journal takes the events of one configuration. Its fields are set before it is
// used. A nil one takes none. It is safe for concurrent use.
type Journal struct {
	Realm string
	// Off: nothing is stored; the log has its lines all the same.
	Off bool
	// Keep is how long rows are kept.
	Keep time.Duration
	Log  *zap.Logger
	Now  func() time.Time
	// Recorder takes what failed.
	Recorder *Recorder
	// Teller takes what is committed, and what failed at once; nil: nobody listens.
	Teller *Teller
	// Written is called when rows of acts are committed; nil: nobody is told. It is quick.
	Written func()
	// Count is called with each row of an act that is committed, and with each that
	// failed; nil: nobody counts. It is quick.
	Count func(*store.Audit)
}

// Row is an event as it is stored. details are names and values by turns.
func (j *Journal) Row(c Caller, e Event, account uuid.UUID, details ...string) store.Audit {
	row := store.Audit{
		Event: string(e), Account: account, Actor: shorten(c.Actor, store.MaxAuditActor),
		Address: shorten(c.Address, store.MaxAuditAddress), Agent: shorten(c.Agent, store.MaxAuditAgent),
	}
	if j != nil {
		row.At = j.Now().UTC().Truncate(time.Second)
	}
	room := store.MaxAuditDetails
	for i := 0; i+1 < len(details); i += 2 {
		name := details[i]
		value := shorten(details[i+1], max(0, room-len(name)))
		if value == "" {
			continue
		}
		if row.Details == nil {
			row.Details = map[string]string{}
		}
		row.Details[name] = value
		room -= len(name) + len(value)
	}
	return row
}

// shorten cuts a text to at most n bytes of whole characters.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// Write stores a row in the transaction of its act.
func (j *Journal) Write(tx store.Tx, row *store.Audit) error {
	if j == nil || j.Off {
		return nil
	}
	return tx.AddAudit(row)
}

// Names is what the accounts of an act are called, for who is told of it: an account that
// the act removes has no name any more once it is told.
type Names map[uuid.UUID]string

// Name keeps what an account is called for who listens to an event. Where nobody does, and
// of an account that is not there, it does nothing. It is called before the account goes.
func (j *Journal) Name(tx store.Tx, names *Names, e Event, account uuid.UUID) {
	if j == nil || !j.Teller.wants(string(e)) || (*names)[account] != "" {
		return
	}
	if name := usernameOf(tx, account); name != "" {
		if *names == nil {
			*names = Names{}
		}
		(*names)[account] = name
	}
}

// Tell writes the log lines of rows whose act is committed, and tells who listens.
func (j *Journal) Tell(rows ...store.Audit) { j.TellOf(nil, rows...) }

// TellOf is Tell with the names that Name has kept.
func (j *Journal) TellOf(names Names, rows ...store.Audit) {
	if j == nil || len(rows) == 0 {
		return
	}
	for i := range rows {
		j.tell(names, &rows[i])
	}
	if j.Written != nil {
		j.Written()
	}
}

func (j *Journal) tell(names Names, row *store.Audit) {
	if j.Log != nil {
		j.line(row)
	}
	if j.Count != nil {
		j.Count(row)
	}
	if j.Teller.wants(row.Event) {
		j.Teller.take(Told{*row, names[row.Account]})
	}
}

// line writes one: the event as message, then realm and address, always first and in
// this order, since filters look for them (examples/fail2ban).
func (j *Journal) line(row *store.Audit) {
	log := j.Log.Info
	if Event(row.Event).Warns() {
		log = j.Log.Warn
	}
	fields := make([]zap.Field, 0, 5+len(row.Details))
	fields = append(fields, zap.String("realm", j.Realm), zap.String("address", row.Address), zap.String("actor", row.Actor))
	if row.Account != uuid.Nil {
		fields = append(fields, zap.Stringer("account", row.Account))
	}
	fields = append(fields, zap.String("agent", row.Agent))
	for _, name := range slices.Sorted(maps.Keys(row.Details)) {
		fields = append(fields, zap.String(name, row.Details[name]))
	}
	log(row.Event, fields...)
}

// Fail takes what changed nothing: the log has it at once, the store within a
// second, together with others and as far as there is room (Recorder).
func (j *Journal) Fail(c Caller, e Event, account uuid.UUID, details ...string) {
	if j == nil {
		return
	}
	row := j.Row(c, e, account, details...)
	j.tell(nil, &row)
	if j.Off || j.Recorder == nil {
		return
	}
	row.Agent = shorten(row.Agent, failedAgent)
	j.Recorder.add(row)
}

// Prune removes the rows whose time is over, in short transactions.
func (j *Journal) Prune(ctx context.Context, db store.Store) (total int, err error) {
	if j == nil || j.Keep <= 0 {
		return 0, nil
	}
	const chunk = 1000
	now := j.Now()
	for {
		n := 0
		err := db.Update(ctx, func(tx store.Tx) (err error) {
			n, err = tx.DeleteAudits(now.Add(-j.Keep), now.Add(j.Keep), chunk)
			return err
		})
		if total += n; err != nil || n < chunk {
			return total, err
		}
	}
}
