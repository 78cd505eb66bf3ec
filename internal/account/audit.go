// audit.go: the rows that acts leave in the record, and what failed.

package account

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Audit writes what the act does to an account, in its transaction; the log has it
// after the commit. Who does it is the context's Caller; nobody who is signed in is
// the account's owner, since he could not do it otherwise. details are names and
// values by turns; empty ones are left out.
func (t *Txn) Audit(e audit.Event, user uuid.UUID, details ...string) error {
	if t.journal == nil {
		return nil
	}
	c := t.caller
	if c.Actor == "" {
		c.Actor = user.String()
	}
	row := t.journal.Row(c, e, user, details...)
	t.told = append(t.told, row)
	return t.journal.Write(t.Tx, &row)
}

// failed takes a try that changed nothing; an account is named only where it is
// known which.
func (a *Accounts) failed(ctx context.Context, e audit.Event, u *store.User, details ...string) {
	id := uuid.Nil
	if u != nil {
		id = u.ID
	}
	a.Journal.Fail(audit.CallerOf(ctx), e, id, details...)
}

// guessed takes a wrong password or factor, or one that is right and doesn't let its owner in.
// Of other refusals (a form, a busy machine) nothing was learnt.
func (a *Accounts) guessed(ctx context.Context, u *store.User, act string, err error) {
	refused := (*refusal.Error)(nil)
	if !errors.As(err, &refused) {
		return
	}
	code := refused.Code
	if i := slices.IndexFunc(refused.Fields, func(f refusal.FieldError) bool {
		return f.Code == refusal.CodePasswordIncorrect || f.Code == refusal.CodeFactorInvalid
	}); i >= 0 {
		code = refused.Fields[i].Code
	}
	switch code {
	case refusal.CodeLoginInvalid, refusal.CodeNotVerified, refusal.CodeApprovalPending, refusal.CodeDisabled, refusal.CodePasswordIncorrect, refusal.CodeFactorInvalid, refusal.CodeLoginCodeInvalid:
		a.failed(ctx, audit.SignInFailed, u, "code", string(code), "act", act)
	default:
	}
}

// auditSignIn writes the rows of a sign-in.
func (t *Txn) auditSignIn(u *store.User, g *session.Grant, by string) error {
	var gives []string
	kind := ""
	if g.Cookie != "" {
		gives = append(gives, "session")
	}
	switch {
	case g.Family != nil:
		kind = "refresh"
	case g.Token != "":
		kind = "token"
	}
	if kind != "" {
		gives = append(gives, kind)
	}
	err := t.Audit(audit.SignedIn, u.ID, "by", by, "gives", strings.Join(gives, " "))
	if err == nil && kind != "" {
		err = t.Audit(audit.TokenCreated, u.ID, "kind", kind)
	}
	return err
}

// auditProfile writes which fields of an account an act has changed; none: no row.
func (a *Accounts) auditProfile(t *Txn, before, u *store.User) error {
	var names []string
	for _, f := range a.Policy.Fields.All {
		if f.Name != field.IsActive && f.Name != field.Email && field.TextOf(f.Get(before)) != field.TextOf(f.Get(u)) {
			names = append(names, f.Name)
		}
	}
	if !slices.Equal(before.Groups, u.Groups) && !slices.Contains(names, field.Groups) {
		names = append(names, field.Groups)
	}
	if len(names) == 0 {
		return nil
	}
	return t.Audit(audit.ProfileChanged, u.ID, "fields", strings.Join(names, " "))
}

// Audits returns a page of the record. The newest first, where q says so; a walk
// from the oldest can be gone on with for what comes later (store.AuditPage).
func (a *Accounts) Audits(ctx context.Context, q store.AuditQuery) (page store.AuditPage, err error) {
	err = a.View(ctx, func(tx store.Tx) (err error) {
		page, err = tx.Audits(q)
		return err
	})
	return page, err
}
