// leaving.go: who takes out what is kept about him, and who closes his account: it can be
// used no more at once, can be kept for a while, and is gone then, with all that is kept
// about him.

package account

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ParamKeep is the member by which somebody keeps the account that he has closed.
const ParamKeep = "keep_account"

// detailReason is the detail of the record that says why.
const detailReason = "reason"

// leaves reports whether the owner of an account has closed it.
func leaves(u *store.User) bool { return u.State() == StateClosing }

// letsBegin reports whether somebody may begin to sign in: what one is asked for who
// leaves is whether he stays.
func letsBegin(u *store.User) bool { return u.IsActive || leaves(u) }

// stays ends the leaving of an account.
func stays(u *store.User) { u.LeavesAt, u.LeavesBy = time.Time{}, time.Time{} }

// keepAccount is part of the sign-in of who leaves and stays. The caller writes u.
func (a *Accounts) keepAccount(t *Txn, u *store.User) error {
	if !leaves(u) {
		return nil
	}
	stays(u)
	u.IsActive = true
	return t.Audit(audit.AccountKept, u.ID)
}

// CloseAccount closes the account of who asks, as he has shown once more: nobody is signed in to
// it from now on, and after the grace of Policy.Leaving it is gone. Who signs in
// meanwhile is asked whether he keeps it. The last of the admins can't leave.
func (a *Accounts) CloseAccount(ctx context.Context, p session.Principal, in field.Input, client Client) (u *store.User, err error) {
	stillGood, err := a.reauthenticate(ctx, p, in)
	if err != nil {
		return nil, err
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		if !u.IsActive {
			return refusal.New(refusal.CodeNotAuthenticated)
		}
		if a.Policy.IsAdmin(u) {
			if err := a.anotherAdmin(t, u); err != nil {
				return err
			}
		}
		now, err := lookAgain(t, a.Now(), 2*MaxPurgeEvery) // nobody may have looked for a while
		if err != nil {
			return err
		}
		u.LeavesAt, u.LeavesBy = a.Time().Add(a.Policy.Leaving.Grace), now.Add(a.Policy.Leaving.Grace)
		u.IsActive = false
		u.Generation++
		if err := t.EndSessions(u, nil); err != nil {
			return err
		}
		if err := a.tellOwner(t, store.MailAccountClosed, u, client); err != nil {
			return err
		}
		if err := t.Audit(audit.AccountClosed, u.ID, "until", u.LeavesAt.Format(time.RFC3339)); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// TakeOut is asked before somebody is given all that is kept about him: he has to show once
// more who he is, the record has it, and he is mailed: a thief has it all by that.
func (a *Accounts) TakeOut(ctx context.Context, p session.Principal, in field.Input, client Client) error {
	stillGood, err := a.reauthenticate(ctx, p, in)
	if err != nil {
		return err
	}
	return a.Update(ctx, func(t *Txn) error {
		u, err := t.User(p.User.ID)
		if err != nil {
			return notSignedIn(err)
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		if err := a.tellOwner(t, store.MailDataExported, u, client); err != nil {
			return err
		}
		return t.Audit(audit.DataExported, u.ID)
	})
}

// removeChunk is how many rows one transaction of a removal reads.
const removeChunk = 500

// RemoveLeft removes the accounts whose grace is over, by the clock of those who wait, with
// what is kept about their owners, and returns how many.
func (a *Accounts) RemoveLeft(ctx context.Context) (removed int, err error) {
	ctx = audit.WithCaller(ctx, audit.Caller{Actor: audit.ActorSystem})
	over, err := a.leftBy(ctx)
	if err != nil || len(over) == 0 {
		return 0, err
	}
	if err := a.forgetActs(ctx, over); err != nil {
		return 0, err
	}
	for _, id := range over {
		if err := a.endMany(ctx, id); err != nil {
			return removed, err
		}
		gone, err := a.removeOne(ctx, id)
		if err != nil {
			return removed, err
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

// leftBy are the accounts whose time is over. It lets the clock go on as long as there are
// some whose is not.
func (a *Accounts) leftBy(ctx context.Context) (over []uuid.UUID, err error) {
	some := false
	if err := a.View(ctx, func(tx store.Tx) error {
		n, err := tx.CountMembers(StateClosing)
		some = n.N > 0
		return err
	}); err != nil || !some {
		return nil, err
	}
	var now time.Time
	if err := a.Update(ctx, func(t *Txn) (err error) {
		now, err = lookAgain(t, a.Now(), 2*MaxPurgeEvery)
		return err
	}); err != nil {
		return nil, err
	}
	for q := (store.MemberQuery{State: StateClosing, Limit: removeChunk}); ; {
		var page store.MemberPage
		if err := a.View(ctx, func(tx store.Tx) (err error) { page, err = tx.Members(q); return err }); err != nil {
			return nil, err
		}
		for _, u := range page.Users {
			if !u.LeavesBy.After(now) {
				over = append(over, u.ID)
			}
		}
		if q.After = page.Next; q.After == "" {
			return over, nil
		}
	}
}

// forgetActs takes what is personal out of what people have done to others' accounts.
func (a *Accounts) forgetActs(ctx context.Context, ids []uuid.UUID) error {
	actors := map[string]bool{}
	for _, id := range ids {
		actors[id.String()] = true
	}
	for q := (store.AuditQuery{Limit: removeChunk}); ; {
		var page store.AuditPage
		if err := a.View(ctx, func(tx store.Tx) (err error) { page, err = tx.Audits(q); return err }); err != nil {
			return err
		}
		theirs := slices.DeleteFunc(page.Rows, func(row *store.Audit) bool { return !actors[row.Actor] || !personal(row) })
		if len(theirs) > 0 {
			if err := a.Update(ctx, func(t *Txn) error { return forget(t, theirs) }); err != nil {
				return err
			}
		}
		if q.After = page.Next; !page.More {
			return nil
		}
	}
}

// personal reports whether a row tells of its people more than that they have done it.
func personal(row *store.Audit) bool {
	own := ownDetail(row)
	return row.Address != "" || row.Agent != "" || own != "" && row.Details[own] != ""
}

// ownDetail names the detail of a row that has somebody's own words, or his address; "": none.
func ownDetail(row *store.Audit) string { return ownDetails[audit.Event(row.Event)] }

var ownDetails = map[audit.Event]string{audit.MailFailed: detailReason, audit.ProgramTokenCreated: ParamTokenPath}

// forget takes what is personal out of rows of the record: from where somebody came and
// with what, and what a mail server has said of an address. That it happened stays.
func forget(t *Txn, rows []*store.Audit) error {
	for _, row := range rows {
		row.Address, row.Agent = "", ""
		if own := ownDetail(row); own != "" {
			delete(row.Details, own)
		}
		if err := t.PutAudit(row); err != nil && !errors.Is(err, store.ErrNotFound) { // its time is over
			return err
		}
	}
	return nil
}

// removeOne removes an account, unless its owner stays meanwhile.
func (a *Accounts) removeOne(ctx context.Context, id uuid.UUID) (gone bool, err error) {
	for after, more := uint64(0), true; more; {
		next := after
		err := a.Update(ctx, func(t *Txn) error {
			more, gone = false, false
			u, err := t.User(id)
			if errors.Is(err, store.ErrNotFound) || err == nil && !leaves(u) {
				return nil
			}
			if err != nil {
				return err
			}
			page, err := t.Audits(store.AuditQuery{Account: id, After: after, Limit: removeChunk})
			if err != nil {
				return err
			}
			next, more = page.Next, page.More
			rows := slices.DeleteFunc(page.Rows, func(row *store.Audit) bool { return !personal(row) })
			if err := forget(t, rows); err != nil || more {
				return err
			}
			gone = true
			return a.removeLeaver(t, u)
		})
		if err != nil {
			return false, err
		}
		after = next
	}
	return gone, nil
}

// removeLeaver is the end of an account that its owner has closed: with it go the mail that
// Waits for him, and the invitations to his addresses. The last mail tells him.
func (a *Accounts) removeLeaver(t *Txn, u *store.User) error {
	own := map[string]bool{field.EmailKey(u.Email): u.Email != ""}
	for _, email := range u.FurtherEmails {
		own[field.EmailKey(email)] = true
	}
	for _, f := range u.Former {
		own[field.EmailKey(f.Email)] = true
	}
	for after := uint64(0); ; {
		rows, err := t.Mails(after, removeChunk)
		if err != nil {
			return err
		}
		for _, m := range rows {
			if after = m.Seq; m.User == u.ID || own[field.EmailKey(m.To)] {
				if err := t.DeleteMail(m.Seq); err != nil {
					return err
				}
			}
		}
		if len(rows) < removeChunk {
			break
		}
	}
	for after := uuid.Nil; ; {
		list, err := t.Invitations(after, removeChunk)
		if err != nil {
			return err
		}
		for _, i := range list {
			if after = i.ID; i.Email != "" && own[field.EmailKey(i.Email)] {
				if err := t.DeleteInvitation(i.ID); err != nil {
					return err
				}
			}
		}
		if len(list) < removeChunk {
			break
		}
	}
	if !u.EmailPending {
		if _, err := a.mailByOwner(t, &store.Mail{Kind: store.MailAccountGone, To: u.Email, Language: languageOf(u)}); err != nil { // about nobody: the account is gone
			return err
		}
	}
	if err := t.Audit(audit.AccountDeleted, u.ID, detailReason, "closed"); err != nil {
		return err
	}
	return a.remove(t, u)
}
