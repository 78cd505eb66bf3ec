//go:build !registration_nopostgres

// dump.go: a realm as rows, and an empty one filled with them in one transaction.

package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

var _ store.Moving = (*Store)(nil)

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) } //nolint:gosec // the bits are meant

// dumps are what rows are read by: a column or two of the key, and the data, each of which
// may be a number.
var dumps = []struct {
	kind store.RowKind
	text string
}{
	{store.RowAccount, `SELECT id, data FROM ~users WHERE realm = $1 ORDER BY id`},
	{store.RowSession, `SELECT hash, data FROM ~sessions WHERE realm = $1 ORDER BY hash`},
	{store.RowMail, `SELECT seq, data FROM ~mails WHERE realm = $1 ORDER BY seq`},
	{store.RowValue, `SELECT name, value FROM ~values WHERE realm = $1 ORDER BY name`},
	{store.RowBudget, `SELECT name || '\x00'::bytea || key, whole FROM ~budgets WHERE realm = $1 ORDER BY 1`},
	{store.RowLeftName, `SELECT hash, account, until FROM ~left_names WHERE realm = $1 ORDER BY hash`},
	{store.RowInvitation, `SELECT id, data FROM ~invitations WHERE realm = $1 ORDER BY id`},
	{store.RowAudit, `SELECT seq, data FROM ~audits WHERE realm = $1 ORDER BY seq`},
}

// plain is the first column as the key and the others, one behind the other, as the data.
func plain(values []any) (key, data []byte) {
	for i, v := range values {
		var raw []byte
		switch v := v.(type) {
		case []byte:
			raw = v
		case int64:
			raw = number(v)
		}
		if i == 0 {
			key = raw
			continue
		}
		data = append(data, raw...)
	}
	return key, data
}

// Dump implements store.Moving.
func (s *Store) Dump(ctx context.Context, fn func(store.Row) error) error {
	if s.closed.Load() {
		return errClosed
	}
	var fnErr error
	err := pgx.BeginTxFunc(ctx, s.db.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var mail, audit int64
		if err := tx.QueryRow(ctx, s.db.sql(`SELECT mail_seq, audit_seq FROM ~realms WHERE id = $1`), s.realm).Scan(&mail, &audit); err != nil {
			return err
		}
		fnErr = errors.Join(fn(store.Row{Kind: store.RowNumber, Key: []byte(store.RowMail), Data: number(mail)}),
			fn(store.Row{Kind: store.RowNumber, Key: []byte(store.RowAudit), Data: number(audit)}))
		for _, d := range dumps {
			if fnErr != nil {
				return fnErr
			}
			rows, err := tx.Query(ctx, s.db.sql(d.text), s.realm)
			if err != nil {
				return err
			}
			for fnErr == nil && rows.Next() {
				values, err := rows.Values()
				if err != nil {
					rows.Close()
					return err
				}
				key, data := plain(values)
				fnErr = fn(store.Row{Kind: d.kind, Key: key, Data: data})
			}
			rows.Close()
			if err := rows.Err(); err != nil && fnErr == nil {
				return err
			}
		}
		return fnErr
	})
	if fnErr != nil {
		return fnErr
	}
	if err != nil {
		return fmt.Errorf("the database: %w", err)
	}
	return nil
}

const (
	// silence is for how long nobody may read where no node is at work. A node reads all the
	// time, and the server hears of it once a second.
	silence = 2 * time.Second
	// leaving is for how long the server goes on to hear of reads of a node that has ended.
	leaving = 2 * time.Second
	// readsOfNodes is how many reads are a node's. It has twenty a second; who looks at a table
	// by hand, or backs it up, has one.
	readsOfNodes = 5
)

// atWork is store.ErrStoreLocked where nodes use these tables. Each asks many times a second what
// the others have changed, and the server counts how often a table is read: so nodes behind a
// pooler are seen, too. Where track_counts is off, none is.
func atWork(ctx context.Context, o Options) error {
	c, err := o.config()
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, c.ConnConfig)
	if err != nil {
		return unreachable(err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	first, last := int64(-1), int64(0)
	var heard time.Time                                     // when there were more for the first time
	for quiet := time.Now(); time.Since(quiet) < silence; { // since when there have been no more
		var reads int64
		if err := conn.QueryRow(ctx, `SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::bigint FROM pg_stat_user_tables WHERE schemaname = $1::text AND relname = 'realms'`, o.Schema).Scan(&reads); err != nil {
			return fmt.Errorf("the database: %w", err)
		}
		now := time.Now()
		switch {
		case first < 0:
			first = reads
		case reads > last:
			if quiet = now; heard.IsZero() {
				heard = now
			}
			if now.Sub(heard) >= leaving && reads-first >= readsOfNodes {
				return fmt.Errorf("nodes are at work on the schema %s: %w", o.Schema, store.ErrStoreLocked)
			}
		}
		last = reads
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(silence / 10):
		}
	}
	return nil
}

// OpenToDump opens a realm of a database and writes nothing to it. One on which nodes are at
// work is store.ErrStoreLocked: what they do meanwhile would be lost.
func OpenToDump(ctx context.Context, o Options, realm string) (*Store, func(), error) {
	if err := Look(ctx, o); err != nil {
		return nil, nil, err
	}
	if err := atWork(ctx, o); err != nil {
		return nil, nil, err
	}
	c, err := o.config()
	if err != nil {
		return nil, nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, nil, fmt.Errorf("the database: %w", err)
	}
	db := newDB(pool, o)
	var id int32
	err = db.pool.QueryRow(ctx, db.sql(`SELECT id FROM ~realms WHERE name = $1`), realm).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) || noTables(err) {
		err = fmt.Errorf("the schema %s has no realm %s", db.schema, realm)
	} else if err != nil {
		err = unreachable(err)
	}
	if err != nil {
		db.pool.Close()
		return nil, nil, err
	}
	return &Store{db: db, realm: id, shared: &shared{db: db, realm: id}}, db.Close, nil
}

// loadBatch is how many rows are copied at once.
const loadBatch = 5000

// A table that rows are copied to, with those that wait.
type copied struct {
	name    string
	columns []string
	rows    [][]any
}

// A loader fills a realm within a transaction.
type loader struct {
	s      *Store
	ctx    context.Context //nolint:containedctx // it lives within one call
	tx     pgx.Tx
	tables map[string]*copied
	n      int
	heads  map[string]bool // recipients
	more   counters
}

var loadColumns = map[string]string{
	"users": "id state waiting_since data", "keys": "field value account", "waiting": "value account",
	"groups": "name account", "texts": "text account", "sessions": "hash account expires data",
	"mails": "seq recipient head due data", "values": "name value", "budgets": "name key whole",
	"audits": "seq at account event data", "left_names": "hash account until", "invitations": "id hash expires data",
}

// Load implements store.Moving, in one transaction.
func (s *Store) Load(ctx context.Context, fill func(put func(store.Row) error) error) error {
	if s.closed.Load() {
		return errClosed
	}
	l := &loader{s: s, ctx: ctx, tables: map[string]*copied{}, heads: map[string]bool{}}
	var own error
	err := pgx.BeginFunc(ctx, s.db.pool, func(tx pgx.Tx) error {
		l.tx = tx
		// Nobody acts in the realm meanwhile.
		var mail, audit int64
		if err := tx.QueryRow(ctx, s.db.sql(`SELECT mail_seq, audit_seq FROM ~realms WHERE id = $1 FOR NO KEY UPDATE`), s.realm).Scan(&mail, &audit); err != nil {
			return err
		}
		for name := range loadColumns {
			var there bool
			if err := tx.QueryRow(ctx, s.db.sql(`SELECT EXISTS (SELECT FROM ~`+name+` WHERE realm = $1)`), s.realm).Scan(&there); err != nil {
				return err
			}
			if there {
				own = store.ErrNotEmpty
				return own
			}
		}
		if own = fill(func(row store.Row) error {
			if err := l.load(row); err != nil {
				return fmt.Errorf("%s: %w", row.Kind, err)
			}
			if l.n++; l.n%loadBatch == 0 {
				return l.flush()
			}
			return nil
		}); own != nil {
			return own
		}
		if err := l.flush(); err != nil {
			return err
		}
		n := &l.more
		_, err := tx.Exec(ctx, s.db.sql(`UPDATE ~realms SET mail_seq = $2, audit_seq = $3, accounts = $4, unconfirmed = $5, waiting = $6, disabled = $7, closing = $8 WHERE id = $1`),
			s.realm, n.mail, n.audit, n.accounts[stateAll], n.accounts[stateUnconfirmed], n.accounts[stateWaiting], n.accounts[stateDisabled], n.accounts[stateClosing])
		return err
	})
	if own != nil {
		return own
	}
	if err != nil {
		return fmt.Errorf("the database: %w", err)
	}
	for name := range loadColumns { // its statistics would come in a minute or so
		_, _ = s.db.pool.Exec(ctx, s.db.sql(`ANALYZE ~`+name))
	}
	return nil
}

// add has a row of a table copied.
func (l *loader) add(table string, values ...any) {
	t := l.tables[table]
	if t == nil {
		t = &copied{name: table, columns: append([]string{"realm"}, strings.Fields(loadColumns[table])...)}
		l.tables[table] = t
	}
	t.rows = append(t.rows, append([]any{l.s.realm}, values...))
}

func (l *loader) flush() error {
	for _, t := range l.tables {
		if len(t.rows) == 0 {
			continue
		}
		if _, err := l.tx.CopyFrom(l.ctx, pgx.Identifier{l.s.db.name, t.name}, t.columns, pgx.CopyFromRows(t.rows)); err != nil {
			return fmt.Errorf("the database: %w", err)
		}
		t.rows = t.rows[:0]
	}
	return nil
}

func (l *loader) load(row store.Row) error {
	if err := record.CheckKey(row); err != nil {
		return err
	}
	key, data := bytes.Clone(row.Key), append([]byte{}, row.Data...)
	switch row.Kind {
	case store.RowNumber:
		return l.loadNumber(row)
	case store.RowAccount:
		return l.loadUser(uuid.UUID(key), data)
	case store.RowSession:
		s, err := record.DecodeSession(store.TokenHash(key), data)
		if err != nil {
			return err
		}
		l.add("sessions", key, bytes.Clone(s.User[:]), s.Expires.Unix(), data)
	case store.RowMail:
		seq := binary.BigEndian.Uint64(key)
		m, err := record.DecodeMail(seq, data)
		if err != nil {
			return err
		}
		to := recipient(m.To)
		l.add("mails", int64(seq), to, !l.heads[string(to)], m.Due.UnixMilli(), data) //nolint:gosec // no larger one was given away; they come in their order
		l.heads[string(to)] = true
	case store.RowValue:
		l.add("values", key, data)
	case store.RowBudget:
		return l.loadBudget(key, data)
	case store.RowLeftName:
		if len(data) != 16+8 {
			return record.ErrDamaged
		}
		l.add("left_names", key, data[:16], int64(binary.BigEndian.Uint64(data[16:]))) //nolint:gosec // written as signed
	case store.RowInvitation:
		i, err := record.DecodeInvitation(uuid.UUID(key), data)
		if err != nil {
			return err
		}
		l.add("invitations", key, bytes.Clone(i.Hash[:]), i.Expires.Unix(), data)
	case store.RowAudit:
		seq := binary.BigEndian.Uint64(key)
		a, err := record.ReadAudit(seq, data)
		if err != nil {
			return err
		}
		var account []byte
		if a.Account != uuid.Nil {
			account = bytes.Clone(a.Account[:])
		}
		l.add("audits", int64(seq), a.At, account, bytes.Clone(a.Event), data) //nolint:gosec // as above
	default:
		return errors.New("it is of a kind that this version doesn't know")
	}
	return nil
}

func (l *loader) loadBudget(key, data []byte) error {
	table, of, ok := bytes.Cut(key, []byte{0})
	if !ok || len(of) != 16 || len(data) != 8 {
		return record.ErrDamaged
	}
	l.add("budgets", table, of, int64(binary.BigEndian.Uint64(data))) //nolint:gosec // written as signed
	return nil
}

func (l *loader) loadNumber(row store.Row) error {
	if len(row.Data) != 8 {
		return record.ErrDamaged
	}
	n := int64(binary.BigEndian.Uint64(row.Data)) //nolint:gosec // no larger one was given away
	switch store.RowKind(row.Key) {
	case store.RowMail:
		l.more.mail = n
	case store.RowAudit:
		l.more.audit = n
	default:
		return record.ErrDamaged
	}
	return nil
}

// loadUser is what PutUser writes of a new account.
func (l *loader) loadUser(id uuid.UUID, data []byte) error {
	u, keys, err := record.DecodeUser(id, data)
	if err != nil {
		return err
	}
	var since *int64
	if u.AwaitsVerification {
		since = new(u.WaitingSince.Unix())
	}
	state := states[u.State()]
	l.more.accounts[stateAll]++
	if state != stateActive {
		l.more.accounts[state]++
	}
	account := bytes.Clone(id[:])
	l.add("users", account, int16(state), since, data) //nolint:gosec // there are five
	fields, values, waiting := split(keys)
	for i := range fields {
		l.add("keys", fields[i], values[i], account)
	}
	slices.SortFunc(waiting, bytes.Compare)
	for _, value := range slices.CompactFunc(waiting, bytes.Equal) {
		l.add("waiting", value, account)
	}
	for _, group := range indexGroups(u) {
		l.add("groups", keyBytes(group), account)
	}
	for _, text := range indexTexts(u, "") {
		l.add("texts", keyBytes(text), account)
	}
	return nil
}
