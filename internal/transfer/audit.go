// audit.go: the record of acts, as lines of our own export.

package transfer

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/moving"
	"github.com/seed-928992b0/caddy-registration/store"
)

// auditLine is a row of the record.
type auditLine struct {
	At      moment            `json:"at"`
	Event   string            `json:"event"`
	Account *uuid.UUID        `json:"account,omitempty"`
	Actor   string            `json:"actor,omitempty"`
	Address string            `json:"address,omitempty"`
	Agent   string            `json:"agent,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

func auditLineOf(a *store.Audit) *auditLine {
	l := &auditLine{At: moment{a.At}, Event: clean(a.Event), Actor: clean(a.Actor), Address: clean(a.Address), Agent: clean(a.Agent)}
	if a.Account != uuid.Nil {
		l.Account = &a.Account
	}
	for name, v := range a.Details {
		if l.Details == nil {
			l.Details = make(map[string]string, len(a.Details))
		}
		l.Details[clean(name)] = clean(v)
	}
	return l
}

// row is the row of a line; false: no version would have written it. Its texts may be
// whatever a stranger's browser has sent: who shows rows escapes them.
func (l *auditLine) row() (*store.Audit, bool) {
	a := &store.Audit{At: l.At.Time, Event: l.Event, Actor: l.Actor, Address: l.Address, Agent: l.Agent, Details: l.Details}
	if l.Account != nil {
		a.Account = *l.Account
	}
	size := 0
	for name, v := range a.Details {
		size += len(name) + len(v)
	}
	return a, a.Event != "" && strings.Trim(a.Event, "abcdefghijklmnopqrstuvwxyz_") == "" && len(a.Event) <= store.MaxAuditEvent && len(a.Actor) <= store.MaxAuditActor &&
		len(a.Address) <= store.MaxAuditAddress && len(a.Agent) <= store.MaxAuditAgent && size <= store.MaxAuditDetails
}

// audits writes the record, from its oldest row on.
func (e *exporter) audits() error {
	for after := uint64(0); ; {
		page, err := e.tx.Audits(store.AuditQuery{After: after, Limit: exportBatch})
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			if err := e.line(line{Audit: auditLineOf(row)}); err != nil {
				return err
			}
		}
		if after = page.Next; !page.More {
			return e.ctx.Err()
		}
	}
}

// audit takes a row of the record.
func (m *importer) audit(ctx context.Context, line int, l *auditLine) error {
	if !m.run.KeepsAudits() {
		if !m.unrecorded {
			m.unrecorded = true
			m.says("the record of acts in the file is left out: this realm keeps none")
		}
		return nil
	}
	row, ok := l.row()
	if !ok {
		return m.refused(&moving.Problem{Line: line, Code: moving.CodeSyntax, Message: "it is no row of the record of acts"})
	}
	if m.rows = append(m.rows, row); len(m.rows) < importBatch {
		return nil
	}
	return m.flush(ctx)
}
