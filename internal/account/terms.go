// terms.go: the terms of a site, to which people agree: at the sign-up, and at the
// next sign-in where they are others than those to which they have agreed.

package account

import (
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ParamTerms is the member with the version of the terms to which somebody agrees. The
// version and no mere yes: who was shown others has not agreed to these.
const ParamTerms = "terms"

// MaxTermsVersion bounds the name of a version, in bytes.
const MaxTermsVersion = 64

// owesTerms reports whether the terms are others than those to which an account has
// agreed.
func (a *Accounts) owesTerms(u *store.User) bool {
	return a.Policy.Register.Terms != "" && u.Terms != a.Policy.Register.Terms
}

// agree notes the agreement of an input to the terms, or refuses it without one.
func (a *Accounts) agree(in field.Input, u *store.User, errs *refusal.FieldErrors) {
	if !a.owesTerms(u) {
		return
	}
	if in.Text(ParamTerms) != a.Policy.Register.Terms {
		errs.Add(ParamTerms, refusal.CodeTermsRequired)
		return
	}
	u.Terms, u.TermsAt = a.Policy.Register.Terms, a.Time()
}

// auditTerms writes the row of an agreement that the act has noted.
func (t *Txn) auditTerms(u *store.User) error {
	return t.Audit(audit.TermsAccepted, u.ID, "version", u.Terms)
}
