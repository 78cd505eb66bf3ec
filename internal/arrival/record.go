// record.go: what an import takes in besides accounts: rows of the record of acts, invitations,
// names that were left.

package arrival

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/store"
)

// TakeAudits takes rows of our own export into the record, and returns how many were not
// there. A row is one that is there if all of it is the same, and the n-th of several that
// are the same is the n-th of those that are there; so a second run adds none. Those that are
// older than the record goes back are left out. It keeps some 50 bytes for each row of the
// record while the run lasts.
func (i *Run) TakeAudits(ctx context.Context, rows []*store.Audit) (taken int, err error) {
	if i.audits == nil {
		i.audits = map[uint64]int{}
	}
	for more := true; more && err == nil; { // those that have come since, in short transactions
		err = i.a.View(ctx, func(tx store.Tx) (err error) {
			more, err = i.seeAudits(tx)
			return err
		})
	}
	if err != nil {
		return 0, err
	}
	var there map[uint64]int // how many of them rows have been taken for
	next := i.auditsTo
	err = i.do(ctx, func(tx store.Tx, write bool) error {
		taken, there = 0, map[uint64]int{}
		if more, err := i.seeAudits(tx); err != nil || more {
			return cmp.Or(err, errAuditsGrow)
		}
		next = i.auditsTo
		for _, row := range rows {
			key := i.audit64(row)
			if there[key] < i.audits[key] {
				there[key]++
				continue
			}
			if keep := i.a.Journal.Keep; keep > 0 && row.At.Before(i.a.Now().Add(-keep)) {
				continue
			}
			if taken++; write {
				row.Imported = true
				if err := tx.AddAudit(row); err != nil {
					return err
				}
			}
		}
		if !write || taken == 0 {
			return nil
		}
		// What was written is not to be seen as there: another row of the file may say the same.
		last, err := tx.Audits(store.AuditQuery{Newest: true, Limit: 1})
		if err != nil {
			return err
		}
		for _, row := range last.Rows {
			next = row.Seq
		}
		return tx.(*account.Txn).Audit(audit.AccountsImported, uuid.Nil, "import", i.id.String(), "format", i.o.Format, "audit", strconv.Itoa(taken))
	})
	if err != nil {
		return 0, err
	}
	i.auditsTo = next
	for key, n := range there {
		i.audits[key] -= n
	}
	return taken, nil
}

// errAuditsGrow says that the record grew faster than it was read.
var errAuditsGrow = errors.New("the record of acts grows too fast; import it later")

// seeAudits reads what is in the record behind what was read, and says whether there is more.
func (i *Run) seeAudits(tx store.Tx) (more bool, err error) {
	page, err := tx.Audits(store.AuditQuery{After: i.auditsTo, Limit: importedAudits})
	if err != nil {
		return false, err
	}
	for _, row := range page.Rows {
		i.audits[i.audit64(row)]++
	}
	i.auditsTo = page.Next
	return page.More, nil
}

// importedAudits is how many rows of the record are in memory at once.
const importedAudits = 1000

// audit64 is the hash of all that a row says.
func (i *Run) audit64(a *store.Audit) uint64 {
	parts := []string{strconv.FormatInt(a.At.Unix(), 10), a.Event, a.Account.String(), a.Actor, a.Address, a.Agent}
	for _, name := range slices.Sorted(maps.Keys(a.Details)) {
		parts = append(parts, name, a.Details[name])
	}
	return i.claim("audit", strings.Join(parts, "\x00"))
}

// KeepsAudits reports whether the realm has a record of acts.
func (i *Run) KeepsAudits() bool { return i.a.Journal != nil && !i.a.Journal.Off }

// TakeInvitations takes invitations of our own export in, as they are, and returns how
// many were not there. One whose link is that of another is left out.
func (i *Run) TakeInvitations(ctx context.Context, list []*store.Invitation) (taken int, err error) {
	err = i.do(ctx, func(tx store.Tx, write bool) error {
		taken = 0
		for _, invitation := range list {
			_, byID := tx.Invitation(invitation.ID)
			_, byHash := tx.InvitationByHash(invitation.Hash)
			switch {
			case byID == nil, byHash == nil:
				continue
			case !errors.Is(byID, store.ErrNotFound), !errors.Is(byHash, store.ErrNotFound):
				return errors.Join(byID, byHash)
			}
			if taken++; write {
				if err := tx.PutInvitation(invitation); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return taken, err
}

// A HashedName is a name that was left, as our own export has it.
type HashedName struct {
	Hash store.NameHash
	Left store.LeftName
}

// TakeLeftNames takes names that were left in, and returns how many were not there. They
// mean something where the secret is that of the realm that they come from.
func (i *Run) TakeLeftNames(ctx context.Context, list []HashedName) (taken int, err error) {
	latest := i.a.Time().Add(account.NameReserved)
	err = i.do(ctx, func(tx store.Tx, write bool) error {
		taken = 0
		for _, name := range list {
			_, err := tx.LeftName(name.Hash)
			if err == nil {
				continue
			}
			if !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if name.Left.Until.After(latest) { // no name is kept for longer
				name.Left.Until = latest
			}
			if taken++; write {
				if err := tx.PutLeftName(name.Hash, name.Left); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return taken, err
}
