// self.go: what the owner of an account, or an administrator, does with
// it besides its password: the profile, the e-mail address, signing out.

package account

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// UpdateProfile changes the editable fields that the input mentions. A full
// update (partial false) needs the required ones to be there.
func (a *Accounts) UpdateProfile(ctx context.Context, p session.Principal, in field.Input, partial bool, client Client) (*store.User, error) {
	read := func(u *store.User, errs *refusal.FieldErrors) {
		before := *u
		before.Extra = maps.Clone(u.Extra)
		a.readEditable(in, partial, &before, u, errs)
		a.choose(&before, u, errs)
		a.NeedsLogin(&before, u, errs)
		if u.Email != before.Email {
			a.checkAddress(u.Email, errs)
		}
	}
	stillGood := func(*Txn, *store.User) error { return nil }
	if a.SetsLogin(p, in) {
		var err error
		if stillGood, err = a.reauthenticate(ctx, p, in); err != nil {
			return nil, refusal.Together(a.wouldRefuse(ctx, p.User.ID, read), err)
		}
	}
	if err := client.pay(); err != nil {
		return nil, err
	}
	var u *store.User
	err := a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		var errs refusal.FieldErrors
		email, name, logins := u.Email, u.Username, a.loginsOf(u)
		before := *u
		before.Extra = maps.Clone(u.Extra)
		read(u, &errs)
		if err := a.taken(t, u, &errs); err != nil {
			return err
		}
		if err := errs.Err(); err != nil {
			return err
		}
		if err := a.rename(t, u, name); err != nil {
			return err
		}
		chosenLanguage(&before, u, client)
		if !slices.Equal(logins, a.loginsOf(u)) {
			if err := a.tellOwner(t, store.MailLoginChanged, &store.User{ID: u.ID, Email: email, EmailVerified: u.EmailVerified, Language: languageOf(u)}, client); err != nil {
				return err
			}
		}
		if u.Email != email { // only possible where addresses are not verified
			proven := u.EmailVerified
			u.EmailVerified = false
			if err := a.leftEmail(t, u, email, proven, client); err != nil {
				return err
			}
			if err := t.Audit(audit.EmailChanged, u.ID, "by", "profile"); err != nil {
				return err
			}
		}
		if err := a.AuditProfile(t, &before, u); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// readEditable reads the editable fields, but those that are settled.
func (a *Accounts) readEditable(in field.Input, partial bool, before, u *store.User, errs *refusal.FieldErrors) {
	fields, required := a.editableFields()
	for _, f := range fields {
		if !f.Settled(before) && (!partial || in[f.Name].Kind != field.ValueAbsent) {
			in.Change(f, required[f.Name], u, errs)
		}
	}
}

// wouldRefuse is all that a profile's save would be refused for, had it come with the
// password: all is told in one round.
func (a *Accounts) wouldRefuse(ctx context.Context, id uuid.UUID, read func(*store.User, *refusal.FieldErrors)) error {
	var errs refusal.FieldErrors
	if err := a.View(ctx, func(tx store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return notSignedIn(err)
		}
		errs = nil
		read(u, &errs)
		return a.taken(tx, u, &errs)
	}); err != nil {
		return err
	}
	return errs.Err()
}

// RegisterEmail asks for a change of the e-mail address: the new one gets a
// mail with a link, or, if it is somebody else's already, a notice without
// one, and the answer is the same. Without verification it changes at once.
// A sign-in older than register_email.max_age needs the password besides. Where accounts can
// have several, it becomes one of them.
func (a *Accounts) RegisterEmail(ctx context.Context, p session.Principal, in field.Input, client Client) error {
	var errs refusal.FieldErrors
	f := a.Policy.Fields.ByName[field.Email]
	wanted := &store.User{}
	in.Field(f, true, wanted, &errs)
	a.checkAddress(wanted.Email, &errs)
	stillGood, err := a.reauthenticate(ctx, p, in)
	if err != nil && client.Page && !a.Policy.RegisterEmail.Verification && len(errs) == 0 {
		// A page's refusals are all by their fields, this one too. A program is told it by
		// itself, once nothing else is wrong.
		if taken := a.wouldRefuse(ctx, p.User.ID, func(u *store.User, _ *refusal.FieldErrors) { u.Email = wanted.Email }); taken != nil {
			errs.Add(field.Email, refusal.CodeEmailAlreadyRegistered)
		}
	}
	if err := refusal.Together(errs.Err(), err); err != nil {
		return err
	}
	if err := client.pay(); err != nil {
		return err
	}
	n := a.Notice(store.MailEmailInUse, wanted.Email)
	err = a.Update(ctx, func(t *Txn) error {
		if err := t.expects(store.MailVerifyEmail, p.User, wanted.Email, n, client); err != nil {
			return err
		}
		u, err := t.User(p.User.ID)
		if err != nil {
			return notSignedIn(err)
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		holder, err := a.addressHolder(t, wanted.Email)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if a.hasAlready(u, wanted.Email) {
			return &refusal.Error{Code: refusal.CodeEmailAlreadyRegistered, Params: text.Params{"own": true}}
		}
		if !a.Policy.RegisterEmail.Verification {
			return a.setEmail(t, u, wanted.Email, false, client)
		}
		if err := a.noteAsked(t, u, wanted.Email); err != nil {
			return err
		}
		if err == nil && holder.ID != u.ID {
			return a.tellHolder(t, holder, wanted.Email, n, client)
		}
		return a.queueMail(t, store.MailVerifyEmail, u, wanted.Email, client)
	})
	if err != nil {
		n.Failed()
	}
	return err
}

// CorrectEmail gives an account that waits for its first confirmation another address, on
// the word of the browser that has signed up for it. The link that was mailed before ends,
// and the new address is mailed one or, where it is somebody's, told so. Who was invited by
// mail has shown that he reads it, and no other is let in by that.
func (a *Accounts) CorrectEmail(ctx context.Context, was *store.User, in field.Input, client Client) (u *store.User, err error) {
	f := a.Policy.Fields.ByName[field.Email]
	read := func(tx store.Tx) error {
		switch u, err = tx.User(was.ID); {
		case err != nil:
			return notSignedIn(err)
		case !CanCorrectEmail(u), u.Generation != was.Generation:
			return refusal.New(refusal.CodeNotAuthenticated)
		}
		var errs refusal.FieldErrors
		before := *u
		in.Field(f, true, u, &errs)
		a.choose(&before, u, &errs)
		if err := a.stillInvited(tx, &before, u, &errs); err != nil {
			return err
		}
		return errors.Join(a.taken(tx, u, &errs), errs.Err())
	}
	if err := a.View(ctx, read); err != nil {
		return nil, err
	}
	if err := client.pay(); err != nil {
		return nil, err
	}
	n := a.Notice(store.MailEmailInUse, u.Email)
	err = a.Update(ctx, func(t *Txn) error {
		t.waiting = was.ID
		if err := errors.Join(t.expects(store.MailVerifyRegistration, u, u.Email, n, client), read(t)); err != nil {
			return err
		}
		holder, err := a.addressHolder(t, u.Email)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := errors.Join(t.Audit(audit.EmailChangeRequested, u.ID), a.PutUser(t, u)); err != nil {
			return err
		}
		return a.mailWaiting(t, store.MailVerifyRegistration, u, holder, n, client)
	})
	if err != nil {
		n.Failed()
		return nil, err
	}
	return u, nil
}

// CanCorrectEmail reports whether the address of an account was never confirmed, and waits
// for that.
func CanCorrectEmail(u *store.User) bool {
	return u.AwaitsVerification && u.EmailPending && !u.EmailVerified
}

// hasAlready reports whether an address is one of several of an account, and good.
func (a *Accounts) hasAlready(u *store.User, email string) bool {
	own := ownEmail(u, email)
	return a.several() && own != "" && (own != u.Email || u.EmailVerified)
}

// noteAsked writes down that an account has asked for an address.
func (a *Accounts) noteAsked(t *Txn, u *store.User, email string) error {
	if err := a.askFor(u, email); err != nil {
		return err
	}
	return errors.Join(t.Audit(audit.EmailChangeRequested, u.ID), a.PutUser(t, u))
}

// setEmail gives an account its new address, or refuses one that is taken.
func (a *Accounts) setEmail(t *Txn, u *store.User, email string, verified bool, client Client) error {
	old, proven := u.Email, u.EmailVerified
	u.Email, u.EmailVerified = email, verified
	giveEmail(u)
	by := "profile"
	if verified {
		by = "link"
	}
	if err := t.Audit(audit.EmailChanged, u.ID, "by", by); err != nil {
		return err
	}
	if err := a.leftEmail(t, u, old, proven, client); err != nil {
		return err
	}
	return a.putEmail(t, u)
}

// VerifyEmail changes the e-mail address by a mailed link, or adds one where accounts can have
// several, and tells those that it had (undo.go).
func (a *Accounts) VerifyEmail(ctx context.Context, in field.Input, client Client) (*store.User, error) {
	var errs refusal.FieldErrors
	l, err := readLink(in, sign.PurposeRegisterEmail, &errs)
	if err = errors.Join(errs.Err(), err); err != nil {
		return nil, StoreError(err)
	}
	period := a.Policy.RegisterEmail.VerificationPeriod
	if err := a.View(ctx, func(tx store.Tx) error { _, err := a.checkLink(tx, l, period); return err }); err != nil {
		return nil, err
	}
	var u *store.User
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = a.checkLink(t, l, period); err != nil {
			return err
		}
		if !a.Policy.AdmitsAddress(l.claim.Email, false) { // the lists may have changed since the mail
			return refusal.New(refusal.CodeDomainNotAllowed)
		}
		useLink(u, l)
		dropAsked(u, l.claim.Email)
		if a.several() && u.Email != "" && !sameEmail(u.Email, l.claim.Email) {
			if err := a.addEmail(t, u, l.claim.Email, client); err != nil {
				return err
			}
			return a.putEmail(t, u)
		}
		u.AskedEmails = nil
		return a.setEmail(t, u, l.claim.Email, true, client)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// SignOut ends the asking session, or the family of the asking access token.
// With revoke, the API token that was used ends or, by cookie, all tokens of
// the account; CodeNoToken says that there was
// none, and the session has ended all the same.
func (a *Accounts) SignOut(ctx context.Context, p session.Principal, revoke bool) error {
	noToken := false
	err := a.Update(ctx, func(t *Txn) error {
		noToken = false
		if p.Session.Kind != store.KindSession {
			if p.Session.Kind == store.KindToken && !revoke {
				return nil
			}
			return errors.Join(t.endSession(p.Session.Hash), t.Audit(audit.SignedOut, p.User.ID))
		}
		tokens := ""
		if revoke {
			tokens = "ended"
		}
		if err := errors.Join(t.endSession(p.Session.Hash), t.Audit(audit.SignedOut, p.User.ID, "tokens", tokens)); err != nil || !revoke {
			return err
		}
		u, err := t.User(p.User.ID)
		if err != nil {
			return notSignedIn(err)
		}
		found, err := t.endTokens(u)
		noToken = !found
		if err == nil && t.raised() {
			err = a.PutUser(t, u)
		}
		return err
	})
	if err == nil && noToken {
		return refusal.New(refusal.CodeNoToken)
	}
	return err
}

// An AdminChange is what an administrator may set. Nil: as it is.
type AdminChange struct {
	// IsActive false disables the account, ends its sessions, tokens, links and
	// device cookies at once and for good, and no mailed link brings it back; true
	// makes it Usable, confirmed or not. An account that waited owns its address
	// from then on, or is refused with CodeEmailAlreadyRegistered where that is
	// somebody else's by now.
	IsActive *bool     `json:"is_active,omitempty"`
	IsStaff  *bool     `json:"is_staff,omitempty"`
	Groups   *[]string `json:"groups,omitempty"`
	// Fields are new values of added fields, by name; null empties one. Fields
	// that are read-only or hidden to the account's owner are set here. first_name,
	// last_name and language may be among them.
	Fields field.Input `json:"-"`
}

// MaxGroups bounds the groups that an account is given.
const MaxGroups = 500

// Administer changes what only an administrator may change. A field that was
// not added by the configuration, a group that is none (identity.IsGroup), and
// more than 500 of them are refused with CodeInvalid.
func (a *Accounts) Administer(ctx context.Context, id uuid.UUID, change AdminChange) (*store.User, error) {
	return a.change(ctx, id, func(t *Txn, u *store.User) error {
		if change.IsActive != nil {
			if err := a.setActive(t, u, *change.IsActive); err != nil {
				return err
			}
		}
		if change.IsStaff != nil {
			u.IsStaff = *change.IsStaff
		}
		var errs refusal.FieldErrors
		if change.Groups != nil {
			if !slices.Equal(u.Groups, *change.Groups) {
				CheckGroups(*change.Groups, &errs)
			}
			u.Groups = *change.Groups
		}
		for name, v := range change.Fields {
			f, ok := a.Policy.Fields.ByName[name]
			switch {
			case ok && !f.Extra && f.OwnerSets():
				change.Fields.Change(f, false, u, &errs)
				continue
			case !ok || !f.Extra:
				errs.Add(name, refusal.CodeInvalid)
				continue
			}
			got, wrong := f.Read(v, false)
			if wrong != nil && (field.Input{name: v}).Keeps(f, u) {
				continue
			}
			if wrong != nil {
				errs = append(errs, *wrong)
				continue
			}
			f.Assign(u, got)
		}
		return errs.Err()
	})
}

// setActive is an owner's word on whether an account may be used.
func (a *Accounts) setActive(t *Txn, u *store.User, active bool) error {
	event, already := audit.AccountDisabled, StateDisabled
	if active {
		event, already = audit.AccountEnabled, StateActive
	}
	if StateOf(u) == already && (active || !u.AwaitsApproval) { // nothing is done, and no row says so
		return nil
	}
	if err := t.Audit(event, u.ID); err != nil {
		return err
	}
	u.IsActive = active
	stays(u)
	if err := a.endWaiting(t, u); err != nil || active {
		return err
	}
	u.Generation++
	return t.EndSessions(u, nil)
}

// Delete removes an account with its sessions and tokens, for good.
func (a *Accounts) Delete(ctx context.Context, id uuid.UUID) error {
	if err := a.endMany(ctx, id); err != nil {
		return err
	}
	return a.Update(ctx, func(t *Txn) error {
		u, err := t.User(id)
		if err != nil {
			return userNotFound(err)
		}
		if err := a.asAdmin(t); err != nil {
			return err
		}
		if err := a.keepAdmin(t, u, nil); err != nil {
			return err
		}
		if err := t.Audit(audit.AccountDeleted, id); err != nil {
			return err
		}
		return a.remove(t, u)
	})
}

// remove is the end of an account: its sign-ins end, and others can't have its name
// for a while.
func (a *Accounts) remove(t *Txn, u *store.User) error {
	if err := t.EndSessions(u, nil); err != nil {
		return err
	}
	if !u.AwaitsVerification { // else it has never been anybody's
		if err := a.leaveName(t, u, u.Username); err != nil {
			return err
		}
	}
	return errors.Join(giveBack(t, u), t.DeleteUser(u.ID))
}

func userNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return refusal.New(refusal.CodeUserNotFound)
	}
	return err
}

// Profile returns the public fields of an account, in their fixed order.
func (a *Accounts) Profile(u *store.User) []field.Shown {
	fields := a.Policy.Fields.Public
	out := make([]field.Shown, len(fields))
	for i, f := range fields {
		out[i] = field.Shown{Name: f.Name, Value: f.Get(u)}
	}
	return out
}

// registerFields are the fields that sign-up takes, and which of them it needs.
// Neither is to be changed.
func (a *Accounts) registerFields() (fields []*field.Field, required map[string]bool) {
	return a.Policy.Fields.Register, a.Policy.Fields.RegisterRequired
}

// editableFields are the fields that the profile takes, and which of them a
// full update needs. Neither is to be changed.
func (a *Accounts) editableFields() (fields []*field.Field, required map[string]bool) {
	return a.Policy.Fields.Profile, a.Policy.Fields.ProfileRequired
}
