//go:build !registration_nopostgres

// act.go: one act: its transaction, what waits to be written, and what becomes of it when the
// database fails.

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-928992b0/caddy-registration/store"
)

// A Store has the accounts of one realm. It implements store.Store.
type Store struct {
	db     *DB
	realm  int32
	shared *shared
	closed atomic.Bool
}

var errClosed = errors.New("the store is closed")

// Close implements store.Store.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.shared.leave(func(f *follower) bool { return f.of == s })
	return nil
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(store.Tx) error) error {
	return s.run(ctx, false, func(t *tx) error { return fn(t) })
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.run(ctx, true, func(t *tx) error { return fn(t) })
}

// tries is how often an act is begun whose transaction the database has broken off.
const tries = 3

func (s *Store) run(ctx context.Context, write bool, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return errClosed
	}
	// What has started is finished, though whoever asked has gone.
	until := time.Now().Add(patience)
	if soon, ok := ctx.Deadline(); ok && !write && soon.Before(until) {
		until = soon
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	defer cancel()
	for try := 1; ; try++ {
		err, again := s.attempt(ctx, write, try > 1, fn)
		if !again || try == tries || ctx.Err() != nil {
			return err
		}
	}
}

// attempt runs an act once; again says that it has left nothing behind and may be run anew.
func (s *Store) attempt(ctx context.Context, write, careful bool, fn func(*tx) error) (err error, again bool) {
	conn, err := s.db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("the database: %w", err), false
	}
	t := &tx{
		s: s, ctx: ctx, conn: conn, write: write, careful: careful,
		users: map[uuid.UUID][]byte{}, keys: map[store.Key]uuid.UUID{}, sessions: map[store.TokenHash][]byte{},
		left: map[store.NameHash]*store.LeftName{}, values: map[string][]byte{},
	}
	done := false
	defer func() { // also where fn panics or ends its goroutine
		if !done {
			t.unqueue()
		}
		t.end()
	}()
	err = fn(t)
	if t.broken != nil { // whatever fn has made of it
		if err == nil || !errors.Is(err, t.broken) {
			err = t.broken
		}
		return err, true
	}
	if err != nil {
		return err, false
	}
	if len(t.pending) == 0 && !t.wrote && t.more == (counters{}) && t.change.Empty() {
		done = true
		return nil, false
	}
	if again, err = t.commit(); err == nil {
		done = true
		s.shared.tell(&t.change, t.told)
	}
	return err, again
}

// Trips counts how often acts have waited for the server: all together, and the one that
// has most.
type Trips struct{ All, Most atomic.Int64 }

type tripsKey struct{}

// CountTrips returns a context under which acts count.
func CountTrips(ctx context.Context) (context.Context, *Trips) {
	n := new(Trips)
	return context.WithValue(ctx, tripsKey{}, n), n
}

func (t *tx) trip() {
	t.trips++
	countTrip(t.ctx, t.trips)
}

// countTrip counts one that is the act's so-and-so-many'th.
func countTrip(ctx context.Context, trips int64) {
	if n, ok := ctx.Value(tripsKey{}).(*Trips); ok {
		n.All.Add(1)
		for most := n.Most.Load(); trips > most && !n.Most.CompareAndSwap(most, trips); most = n.Most.Load() {
		}
	}
}

// A query is a statement that waits.
type query struct {
	text string
	args []any
	rows func(pgx.Rows) error // nil: it returns none
}

// tx implements store.Tx.
type tx struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // a tx lives within one call
	conn  *pgxpool.Conn
	write bool
	begun bool
	ended bool
	trips int64
	// wrote: the server has got a write already.
	wrote bool
	// pending are the writes that the server doesn't have yet.
	pending []query
	// ahead are readings that cost nothing with the next round trip, and are left out
	// where there is none but the commit's.
	ahead []query
	// careful: nothing is taken for new that might be there.
	careful bool
	// broken is why the transaction can't go on.
	broken error
	// at is what the row of the realm had, more is what it has more after this act.
	at, more counters
	change   store.Change
	told     int64 // the number of the change
	queued   []*store.Mail
	// users, keys, sessions, left and values are what the act has seen or written: nobody else can change
	// it while the realm is locked, nor in a snapshot. A nil record, a nil id: there is none.
	users    map[uuid.UUID][]byte
	keys     map[store.Key]uuid.UUID
	sessions map[store.TokenHash][]byte
	left     map[store.NameHash]*store.LeftName
	values   map[string][]byte
}

// counters are what the row of the realm has: the last numbers of a mail and of a row of the
// audit, and how many accounts there are in each state but the usual one, and in all.
type counters struct {
	mail, audit int64
	accounts    [stateAll + 1]int64
}

var _ store.Tx = (*tx)(nil)

// usable is why the transaction can't go on.
func (t *tx) usable() error {
	if t.ended {
		panic("registration: a store.Tx was used after its function had returned")
	}
	return t.broken
}

// writable is why nothing can be written in it.
func (t *tx) writable() error {
	err := t.usable()
	if !t.write {
		return store.ErrReadOnly
	}
	return err
}

// exec has a statement written with the next round trip.
func (t *tx) exec(text string, args ...any) {
	t.pending = append(t.pending, query{text: text, args: args})
}

// foresee has the server asked with the next round trip that there is.
func (t *tx) foresee(rows func(pgx.Rows) error, text string, args ...any) {
	t.ahead = append(t.ahead, query{text: text, args: args, rows: rows})
}

// ReadAhead implements store.Ahead.
func (t *tx) ReadAhead(a *store.Ahead) {
	asked := slices.DeleteFunc(slices.Clone(a.Keys), func(k store.Key) bool { return k.Value == "" })
	if keys := t.unknown(asked, nil); len(keys) > 0 {
		text, args, rows := t.holders(keys)
		t.foresee(rows, text, args...)
	}
	if len(a.Users) > 0 {
		t.foresee(t.usersOf(a.Users), usersOf, t.s.realm, ids(a.Users))
	}
	if len(a.Sessions) > 0 {
		t.foresee(t.sessionsOf(a.Sessions), sessionsOf, t.s.realm, hashes(a.Sessions))
	}
	for _, hash := range a.LeftNames {
		t.foresee(t.leftName(hash), leftName, t.s.realm, hash[:])
	}
	for _, name := range a.Values {
		t.foresee(t.value(name), value, t.s.realm, []byte(name))
	}
}

// read asks the server, and gives it all that waits on the way.
func (t *tx) read(rows func(pgx.Rows) error, text string, args ...any) error {
	return t.flush(query{text: text, args: args, rows: rows})
}

// begin locks the realm, if that has not been done.
func (t *tx) begin() error {
	if t.begun {
		return t.usable()
	}
	return t.flush()
}

// opening are the statements that begin a transaction.
func (t *tx) opening() []query {
	if !t.write {
		return []query{{text: `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`}}
	}
	return append(slices.Clone(limits),
		query{text: `SELECT mail_seq, audit_seq FROM ~realms WHERE id = $1 FOR NO KEY UPDATE`, args: []any{t.s.realm}, rows: func(rows pgx.Rows) error {
			return one(rows, &t.at.mail, &t.at.audit)
		}})
}

// limits begin what locks something. A node that hangs must not keep the others from acting:
// they wait for longer (patience) than it may have what it has locked.
var limits = []query{
	{text: `BEGIN ISOLATION LEVEL READ COMMITTED`},
	{text: `SELECT set_config('statement_timeout', '4000', true), set_config('lock_timeout', '4000', true), set_config('idle_in_transaction_session_timeout', '3000', true)`},
}

// row reads the row of a statement that returns one or none; then what it is read into
// stays as it is.
func row(into ...any) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		if !rows.Next() {
			return nil
		}
		return rows.Scan(into...)
	}
}

// one reads the only row.
func one(rows pgx.Rows, into ...any) error {
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	return rows.Scan(into...)
}

// flush sends what waits and some more in one round trip.
func (t *tx) flush(more ...query) error {
	if err := t.usable(); err != nil {
		return err
	}
	t.wrote = t.wrote || len(t.pending) > 0
	all := append(t.pending, append(t.ahead, more...)...)
	t.pending, t.ahead = nil, nil
	if !t.begun {
		all = append(t.opening(), all...)
	}
	batch := &pgx.Batch{}
	for _, q := range all {
		queued := batch.Queue(t.s.db.sql(q.text), q.args...)
		if q.rows != nil {
			queued.Query(func(rows pgx.Rows) error { return errors.Join(q.rows(rows), rows.Err()) })
		}
	}
	t.begun = true
	t.trip()
	if err := t.conn.SendBatch(t.ctx, batch).Close(); err != nil {
		t.broken = fmt.Errorf("the database: %w", err)
	}
	return t.broken
}

// commit writes the numbers of the realm and the change, and commits; again says that nothing
// was, for sure.
func (t *tx) commit() (again bool, err error) {
	if n := &t.more; *n != (counters{}) {
		t.exec(`UPDATE ~realms SET mail_seq = mail_seq + $2, audit_seq = audit_seq + $3, accounts = accounts + $4,
			unconfirmed = unconfirmed + $5, waiting = waiting + $6, disabled = disabled + $7, closing = closing + $8 WHERE id = $1`,
			t.s.realm, n.mail, n.audit, n.accounts[stateAll], n.accounts[stateUnconfirmed], n.accounts[stateWaiting], n.accounts[stateDisabled], n.accounts[stateClosing])
	}
	if !t.change.Empty() {
		accounts, sessions := [][]byte{}, [][]byte{}
		for _, id := range t.change.Users {
			accounts = append(accounts, id[:])
		}
		for _, hash := range t.change.Sessions {
			sessions = append(sessions, hash[:])
		}
		t.pending = append(t.pending, query{
			text: `WITH n AS (UPDATE ~realms SET change_seq = change_seq + 1 WHERE id = $1 RETURNING change_seq)
			INSERT INTO ~changes (realm, seq, accounts, sessions) SELECT $1, change_seq, $2, $3 FROM n RETURNING seq`,
			args: []any{t.s.realm, accounts, sessions},
			rows: func(rows pgx.Rows) error { return one(rows, &t.told) },
		})
	}
	t.exec(`COMMIT`)
	t.ahead = nil
	err = t.flush()
	if err == nil {
		return false, nil
	}
	// The server has said why: then it has not committed. Else nobody knows.
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		// 23505: a session that was taken for new was there.
		return refused.Code == "40001" || refused.Code == "40P01" || refused.Code == "23505" && !t.careful, err
	}
	// That goes for pgconn.SafeToRetry too, which may mean a second failure of the same batch.
	return false, fmt.Errorf("whether the act was done is not known: %w", err)
}

// end gives the connection back.
func (t *tx) end() {
	t.ended = true
	conn := t.conn
	if !t.begun || conn.Conn().PgConn().TxStatus() == 'I' || conn.Conn().IsClosed() {
		conn.Release()
		return
	}
	ended := func() {
		defer conn.Release() // closes it, if it is still within a transaction
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = conn.Exec(ctx, `ROLLBACK`)
	}
	if t.write {
		t.trip()
		ended() // others wait for the realm
		return
	}
	go ended()
}

// unqueue takes back what an act that failed has left in the caller's records.
func (t *tx) unqueue() {
	for _, m := range t.queued {
		m.Seq = 0
	}
}
