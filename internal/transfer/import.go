// import.go: the accounts of a file into a realm: batch by batch, each as a whole, so
// that a run that was broken off goes on where it is run again.

package transfer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/arrival"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/moving"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ImportFormats are those that accounts are imported from.
func ImportFormats() []string { return moving.Formats() }

// Options say how a file is imported.
type Options struct {
	arrival.Options
	Moving moving.Options
	// Tell is told of each thing that is to be said of a line, and how far the run is.
	// An error ends the run.
	Tell func(Event) error
}

// An Event is one of its members.
type Event struct {
	Progress *Progress `json:"progress,omitempty"`
	Remark   *Remark   `json:"remark,omitempty"`
	Report   *Report   `json:"report,omitempty"`
}

// Progress says how far a run is, in bytes of the file.
type Progress struct {
	Done     int64 `json:"done"`
	Of       int64 `json:"of"`
	Accounts int   `json:"accounts"`
	// Hashed is how many hashes have been made.
	Hashed int `json:"hashed,omitempty"`
}

// A Remark is something to be said of a line of the file.
type Remark struct {
	Line int `json:"line"`
	// Account is the username or the address of the line.
	Account string       `json:"account,omitempty"`
	Fate    arrival.Fate `json:"fate"`
	Field   string       `json:"field,omitempty"`
	Code    string       `json:"code"`
	Message string       `json:"message"`
}

// A Report says what became of a file. That of a dry run is that of the run.
type Report struct {
	DryRun    bool `json:"dry_run"`
	Added     int  `json:"added"`
	Updated   int  `json:"updated"`
	Unchanged int  `json:"unchanged"`
	Different int  `json:"different"`
	Refused   int  `json:"refused"`
	// Invitations and LeftNames are those that our own export has beside accounts and
	// that were not there.
	Invitations int `json:"invitations,omitempty"`
	LeftNames   int `json:"left_names,omitempty"`
	// Audits are rows of the record of acts that were not there.
	Audits int `json:"audits,omitempty"`
	// Mended is how many accounts that are there had codes which could not be checked, and
	// can be now.
	Mended int `json:"mended,omitempty"`
	// Reasons are the remarks together, by fate, field, code and message; where one code
	// has many messages, the rest of them together.
	Reasons []*Reason `json:"reasons"`
	// Notes are what is to be said of the file as a whole.
	Notes []string `json:"notes,omitempty"`
	// Error is why the rest of the file could not be taken; empty: all of it was read.
	Error string `json:"error,omitempty"`
}

// A Reason is how often a remark was made.
type Reason struct {
	Fate    arrival.Fate `json:"fate"`
	Field   string       `json:"field,omitempty"`
	Code    string       `json:"code"`
	Message string       `json:"message"`
	Count   int          `json:"count"`
	// Lines are the first of them.
	Lines []int `json:"lines"`
	// Accounts are the names of those, where the file has several accounts in a line.
	Accounts []string `json:"accounts,omitempty"`
}

// Bounds of what is told of a file, whatever is wrong with it.
const (
	maxReasons     = 200
	maxMessages    = 10 // of one fate, field and code
	maxReasonLines = 10
	// maxTold is of how many lines each reason is told at once; the rest is counted.
	maxTold = 1000
)

// Bounds of a batch: of accounts, and of those for which a hash is to be made, which
// takes some seconds.
const (
	importBatch = 500
	costlyBatch = 64
)

// Import reads a file of accounts and takes them in. The report is that of what has been
// done, also beside an error, which then says why the run has ended.
func Import(ctx context.Context, a *account.Accounts, in io.ReadSeeker, o Options) (*Report, error) {
	size, err := in.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = in.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	run, err := arrival.New(a, o.Options)
	if err != nil {
		return nil, err
	}
	m := &importer{run: run, o: o, in: &counted{ReadSeeker: in}, progress: Progress{Of: size}, report: &Report{DryRun: o.DryRun, Reasons: []*Reason{}}}
	whole, err := m.whole()
	if err == nil && whole {
		err = m.all(ctx)
	}
	if !m.shared {
		for _, reason := range m.report.Reasons {
			reason.Accounts = nil
		}
	}
	if err != nil {
		return m.report, err
	}
	return m.report, m.tell(Event{Report: m.report})
}

// counted counts what is read.
type counted struct {
	io.ReadSeeker
	done int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.done += int64(n)
	return n, err
}

// Seek implements io.Seeker: what is read again counts once.
func (c *counted) Seek(offset int64, whence int) (int64, error) {
	at, err := c.ReadSeeker.Seek(offset, whence)
	c.done = at
	return at, err
}

// An importer is one run.
type importer struct {
	run      *arrival.Run
	o        Options
	in       *counted
	progress Progress
	report   *Report
	// own says that the file is our own export.
	own   bool
	batch []*arrival.Arrival
	who   []string // of the batch
	costs int      // of the batch
	// hashless says that the file is our own export without hashes; proven, that an account
	// has something to sign in with.
	hashless, proven bool
	// last is the line of the record before, shared says that one has had several.
	last   int
	shared bool

	invitations []*store.Invitation
	names       []arrival.HashedName
	rows        []*store.Audit // of the record
	byName      int            // accounts that were found by their names alone
	// unrecorded: it was told that they are left out.
	unrecorded bool
}

func (m *importer) tell(e Event) error {
	if m.o.Tell == nil {
		return nil
	}
	return m.o.Tell(e)
}

func (m *importer) all(ctx context.Context) error {
	for record, err := range moving.Read(m.o.Format, m.in, m.o.Moving) {
		problem := (*moving.Problem)(nil)
		switch {
		case errors.As(err, &problem):
			m.at(problem.Line)
			err = m.refused(problem)
		case err != nil:
			// What was read before is taken, and the rest is not.
			m.report.Error = err.Error()
			return m.flush(ctx)
		default:
			m.at(record.Line)
			err = m.take(ctx, &record)
		}
		if err != nil {
			return err
		}
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	m.note()
	return nil
}

// at is told where each record begins.
func (m *importer) at(line int) {
	m.shared = m.shared || line == m.last
	m.last = line
}

func (m *importer) refused(p *moving.Problem) error {
	m.report.Refused++
	return m.remark(Remark{Line: p.Line, Account: p.Who, Fate: arrival.FateRefused, Field: p.Field, Code: p.Code, Message: p.Message})
}

// take puts a record into the batch.
func (m *importer) take(ctx context.Context, r *moving.Record) error {
	if r.Own == nil || !m.own && !isHeader(r.Own) {
		if m.own || r.Username != "" || r.Email != "" {
			return m.add(ctx, arrivalOf(r), cmp.Or(r.Username, r.Email))
		}
		return m.refused(&moving.Problem{Line: r.Line, Code: moving.CodeSyntax, Message: "it is no account, and the file doesn't begin as our own export does"})
	}
	if !m.own {
		return m.begin(r)
	}
	if bytes.HasPrefix(r.Own, []byte(`{"registration_export":`)) {
		return m.refused(&moving.Problem{Line: r.Line, Code: moving.CodeSyntax, Message: "another export begins here; import each by itself"})
	}
	var l readableLine
	if err := readLine(r.Own, &l); err != nil {
		return m.refused(&moving.Problem{Line: r.Line, Who: r.Username, Code: moving.CodeSyntax, Message: err.Error()})
	}
	switch {
	case l.End != nil:
		return nil
	case l.FactorKey != nil:
		return m.factorKey(ctx, l.FactorKey)
	case l.Audit != nil:
		return m.audit(ctx, r.Line, l.Audit)
	case l.Invitation != nil || l.LeftName != nil:
		return m.beside(ctx, r.Line, &l)
	}
	u, err := l.user()
	if err != nil {
		return m.refused(&moving.Problem{Line: r.Line, Who: r.Username, Code: moving.CodeSyntax, Message: err.Error()})
	}
	if p := check(u); p != nil {
		p.Line, p.Who = r.Line, cmp.Or(u.Username, u.Email)
		return m.refused(p)
	}
	return m.add(ctx, &arrival.Arrival{Line: r.Line, Whole: u}, cmp.Or(u.Username, u.Email))
}

func isHeader(raw []byte) bool {
	var h struct {
		Export json.RawMessage `json:"registration_export"`
	}
	return json.Unmarshal(raw, &h) == nil && h.Export != nil
}

// begin reads the first line of our own export.
func (m *importer) begin(r *moving.Record) error {
	var h header
	if err := readLine(r.Own, &h); err != nil || !h.known() {
		return fmt.Errorf("line %d: the export is of a newer version than this plugin reads; update the plugin", r.Line)
	}
	m.own, m.hashless = true, !h.WithHashes
	return nil
}

// arrivalOf is a record as the rules of accounts take it.
func arrivalOf(r *moving.Record) *arrival.Arrival {
	out := &arrival.Arrival{
		Line: r.Line, Fields: field.Input{}, IsActive: r.IsActive, EmailVerified: r.EmailVerified, IsStaff: r.IsStaff, Groups: r.Groups,
		Joined: r.Joined, LastLogin: r.LastLogin, Password: r.Password, PasswordHash: r.PasswordHash,
	}
	out.ID, _ = store.ParseID(r.ID)
	for name, value := range r.Fields {
		if value != nil && value != "" {
			out.Fields[name] = valueOf(value)
		}
	}
	for name, value := range map[string]string{field.Username: r.Username, field.Email: r.Email, field.FirstName: r.FirstName, field.LastName: r.LastName} {
		if value != "" {
			out.Fields[name] = field.Value{Kind: field.ValueText, Text: value}
		} else {
			delete(out.Fields, name)
		}
	}
	return out
}

// valueOf is a value of a file as an input has it.
func valueOf(v any) field.Value {
	switch n := v.(type) {
	case int64:
		v = json.Number(strconv.FormatInt(n, 10))
	case float64:
		v = json.Number(strconv.FormatFloat(n, 'g', -1, 64))
	}
	return field.JSONValue(v)
}

func (m *importer) add(ctx context.Context, r *arrival.Arrival, who string) error {
	m.batch, m.who = append(m.batch, r), append(m.who, who)
	m.proven = m.proven || r.Password != "" || r.PasswordHash != "" || r.Whole != nil && (r.Whole.PasswordHash != "" || len(r.Whole.Factors) > 0)
	if r.Costs() && !m.o.DryRun {
		m.costs++
	}
	if len(m.batch) < importBatch && m.costs < costlyBatch {
		return nil
	}
	return m.flush(ctx)
}

// flush takes the batch in.
func (m *importer) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(m.invitations)+len(m.names)+len(m.rows) > 0 {
		if err := m.flushBeside(ctx); err != nil {
			return err
		}
	}
	if len(m.batch) == 0 {
		return nil
	}
	costly, err := m.run.Costly(ctx, m.batch)
	if err != nil {
		return err
	}
	if err := m.hash(ctx, costly); err != nil {
		return err
	}
	outcomes, err := m.run.Take(ctx, m.batch)
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		*map[arrival.Fate]*int{
			arrival.FateAdded: &m.report.Added, arrival.FateUpdated: &m.report.Updated, arrival.FateUnchanged: &m.report.Unchanged,
			arrival.FateDifferent: &m.report.Different, arrival.FateRefused: &m.report.Refused,
		}[o.Fate]++
		if o.ByName {
			m.byName++
		}
		if o.Mended {
			m.report.Mended++
		}
		for _, r := range o.Remarks {
			if o.Fate == arrival.FateRefused && r.Code == arrival.RemarkUnknownField {
				continue // that is no reason to refuse it
			}
			message := r.Message
			if r.Refusal != nil {
				message = english().Text(r.Refusal.Phrase())
			}
			if err := m.remark(Remark{m.batch[i].Line, m.who[i], o.Fate, r.Field, r.Code, message}); err != nil {
				return err
			}
		}
	}
	m.progress.Accounts += len(m.batch)
	m.batch, m.who, m.costs = m.batch[:0], m.who[:0], 0
	return m.told()
}

func (m *importer) told() error {
	p := m.progress
	p.Done = m.in.done
	return m.tell(Event{Progress: &p})
}

// hash makes the hashes of accounts, on half of the cores: sign-ins have the others.
func (m *importer) hash(ctx context.Context, costly []*arrival.Arrival) error {
	workers := max(1, min(runtime.GOMAXPROCS(0)/2, len(costly)))
	var all sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		all.Go(func() {
			for k := w; k < len(costly) && errs[w] == nil; k += workers {
				errs[w] = m.run.Hash(ctx, costly[k])
			}
		})
	}
	all.Wait()
	m.progress.Hashed += len(costly)
	return errors.Join(errs...)
}

// beside takes what our own export has beside accounts.
func (m *importer) beside(ctx context.Context, line int, l *readableLine) error {
	var err error
	if l.Invitation != nil {
		var i *store.Invitation
		if i, err = l.Invitation.invitation(); err == nil {
			m.invitations = append(m.invitations, i)
		}
	} else {
		name := arrival.HashedName{Left: store.LeftName{User: l.LeftName.User, Until: l.LeftName.Until.Time}}
		if err = l.LeftName.Hash.exactly(name.Hash[:]); err == nil {
			m.names = append(m.names, name)
		}
	}
	if err != nil {
		return m.remark(Remark{Line: line, Fate: arrival.FateRefused, Code: moving.CodeSyntax, Message: err.Error()})
	}
	if len(m.invitations)+len(m.names) < importBatch {
		return nil
	}
	return m.flush(ctx)
}

// flushBeside takes them in.
func (m *importer) flushBeside(ctx context.Context) error {
	if len(m.invitations) > 0 {
		n, err := m.run.TakeInvitations(ctx, m.invitations)
		if err != nil {
			return err
		}
		m.report.Invitations += n
	}
	if len(m.names) > 0 {
		n, err := m.run.TakeLeftNames(ctx, m.names)
		if err != nil {
			return err
		}
		m.report.LeftNames += n
	}
	if len(m.rows) > 0 {
		n, err := m.run.TakeAudits(ctx, m.rows)
		if err != nil {
			return err
		}
		m.report.Audits += n
		m.rows = m.rows[:0]
	}
	m.invitations, m.names = m.invitations[:0], m.names[:0]
	return m.told()
}

// english are the shipped messages.
var english = sync.OnceValue(func() *text.Locale {
	l, err := text.NewLanguages("", text.DefaultLanguage)
	if err != nil {
		panic(err) // it is shipped
	}
	return l.Named(text.DefaultLanguage)
})
