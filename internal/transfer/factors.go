// factors.go: what belongs to an account's second step, its tokens for programs, and the
// accounts elsewhere by which one signs in, in a line of our own export.

package transfer

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/store"
)

// factorKeyLine are the keys that secrets and recovery codes are sealed under, sealed
// themselves under the secrets of the realm. It comes before the first account that has
// something of the kind.
type factorKeyLine struct {
	Realm string     `json:"realm"`
	Own   base64Text `json:"own"`
	Taken base64Text `json:"taken,omitempty"`
}

// factorLine is a factor, or one that was removed and can be had back: that has an end.
type factorLine struct {
	ID           uuid.UUID        `json:"id"`
	Type         store.FactorType `json:"type"`
	Name         string           `json:"name,omitempty"`
	Created      *moment          `json:"created,omitempty"`
	LastUsed     *moment          `json:"last_used,omitempty"`
	Secret       base64Text       `json:"secret,omitempty"`
	LastStep     int64            `json:"last_step,omitempty"`
	EmailChanges uint32           `json:"email_changes,omitempty"`
	CredentialID base64Text       `json:"credential_id,omitempty"`
	AAGUID       *uuid.UUID       `json:"aaguid,omitempty"`
	Flags        uint8            `json:"flags,omitempty"`
	SignCount    uint32           `json:"sign_count,omitempty"`
	Transports   []string         `json:"transports,omitempty"`
	Until        *moment          `json:"until,omitempty"`
	RemovedAt    uint32           `json:"removed_at,omitempty"`
}

type enrolmentLine struct {
	Secret  base64Text `json:"secret"`
	Session base64Text `json:"session,omitempty"`
	Since   moment     `json:"since"`
}

type failureLine struct {
	At        moment     `json:"at"`
	Challenge base64Text `json:"challenge,omitempty"`
}

type passwordLine struct {
	Hash  string  `json:"hash"`
	Since *moment `json:"since,omitempty"`
	Until moment  `json:"until"`
}

type trustedLine struct {
	Hash      base64Text `json:"hash"`
	Created   moment     `json:"created"`
	LastUsed  moment     `json:"last_used"`
	UserAgent string     `json:"user_agent,omitempty"`
	State     base64Text `json:"state"`
}

type knownLine struct {
	Name     base64Text `json:"name"`
	LastUsed moment     `json:"last_used"`
	Told     *moment    `json:"told,omitempty"`
	SignIn   base64Text `json:"sign_in,omitempty"`
	Trust    base64Text `json:"trust,omitempty"`
}

func knownLineOf(d *store.KnownDevice) knownLine {
	l := knownLine{Name: d.Name[:], LastUsed: moment{d.LastUsed}, Told: momentOf(d.Told)}
	if d.SignIn != uuid.Nil {
		l.SignIn = d.SignIn[:]
	}
	if d.Trust != [16]byte{} {
		l.Trust = d.Trust[:]
	}
	return l
}

func (l *knownLine) device() (d store.KnownDevice, err error) {
	d.LastUsed, d.Told = l.LastUsed.Time, l.Told.time()
	err = l.Name.exactly(d.Name[:])
	if l.SignIn != nil {
		err = errors.Join(err, l.SignIn.exactly(d.SignIn[:]))
	}
	if l.Trust != nil {
		err = errors.Join(err, l.Trust.exactly(d.Trust[:]))
	}
	return d, err
}

// factorLines are what an account's line has of the second step.
type factorLines struct {
	Factors        []factorLine   `json:"factors,omitempty"`
	FormerFactors  []factorLine   `json:"former_factors,omitempty"`
	RecoveryCodes  []base64Text   `json:"recovery_codes,omitempty"`
	RecoveryMade   *moment        `json:"recovery_made,omitempty"`
	Enrolment      *enrolmentLine `json:"enrolment,omitempty"`
	Failures       []failureLine  `json:"factor_failures,omitempty"`
	FailuresInARow uint32         `json:"factor_failures_in_a_row,omitempty"`
	Passwords      []passwordLine `json:"former_passwords,omitempty"`
	PasswordSince  *moment        `json:"password_since,omitempty"`
	Trusted        []trustedLine  `json:"trusted_devices,omitempty"`
	Known          []knownLine    `json:"known_devices,omitempty"`
}

func factorLinesOf(u *store.User) factorLines {
	l := factorLines{RecoveryMade: momentOf(u.RecoveryMade), FailuresInARow: u.FactorFailuresInRow, PasswordSince: momentOf(u.PasswordSince)}
	for _, p := range u.FormerPasswords {
		l.Passwords = append(l.Passwords, passwordLine{Hash: p.Hash, Since: momentOf(p.Since), Until: moment{p.Until}})
	}
	for i := range u.Factors {
		l.Factors = append(l.Factors, factorLineOf(&u.Factors[i]))
	}
	for i := range u.FormerFactors {
		f := factorLineOf(&u.FormerFactors[i].Factor)
		f.Until, f.RemovedAt = &moment{u.FormerFactors[i].Until}, u.FormerFactors[i].RemovedAt
		l.FormerFactors = append(l.FormerFactors, f)
	}
	for _, code := range u.RecoveryCodes {
		l.RecoveryCodes = append(l.RecoveryCodes, code)
	}
	if e := u.Enrolment; e != nil {
		l.Enrolment = &enrolmentLine{Secret: e.Secret, Since: moment{e.Since}}
		if e.Session != (store.TokenHash{}) {
			l.Enrolment.Session = e.Session[:]
		}
	}
	for _, f := range u.FactorFailures {
		line := failureLine{At: moment{f.At}}
		if f.Challenge != [8]byte{} {
			line.Challenge = f.Challenge[:]
		}
		l.Failures = append(l.Failures, line)
	}
	for _, d := range u.TrustedDevices {
		l.Trusted = append(l.Trusted, trustedLine{Hash: d.Hash[:], Created: moment{d.Created}, LastUsed: moment{d.LastUsed}, UserAgent: clean(d.UserAgent), State: d.State[:]})
	}
	for i := range u.KnownDevices {
		l.Known = append(l.Known, knownLineOf(&u.KnownDevices[i]))
	}
	return l
}

func factorLineOf(f *store.Factor) factorLine {
	l := factorLine{
		ID: f.ID, Type: f.Type, Name: clean(f.Name), Created: momentOf(f.Created), LastUsed: momentOf(f.LastUsed), Secret: f.Secret,
		LastStep: f.LastStep, EmailChanges: f.EmailChanges, CredentialID: f.CredentialID, Flags: f.Flags, SignCount: f.SignCount, Transports: f.Transports,
	}
	if f.AAGUID != uuid.Nil {
		l.AAGUID = &f.AAGUID
	}
	return l
}

// addTo gives an account what the line has.
func (l *factorLines) addTo(u *store.User) error {
	for i := range l.Factors {
		u.Factors = append(u.Factors, l.Factors[i].factor())
	}
	for i := range l.FormerFactors {
		u.FormerFactors = append(u.FormerFactors, store.FormerFactor{Factor: l.FormerFactors[i].factor(), Until: l.FormerFactors[i].Until.time(), RemovedAt: l.FormerFactors[i].RemovedAt})
	}
	for _, code := range l.RecoveryCodes {
		u.RecoveryCodes = append(u.RecoveryCodes, code)
	}
	for _, p := range l.Passwords {
		u.FormerPasswords = append(u.FormerPasswords, store.FormerPassword{Hash: p.Hash, Since: p.Since.time(), Until: p.Until.Time})
	}
	u.PasswordSince = l.PasswordSince.time()
	u.RecoveryMade, u.FactorFailuresInRow = l.RecoveryMade.time(), l.FailuresInARow
	if e := l.Enrolment; e != nil {
		u.Enrolment = &store.Enrolment{Secret: e.Secret, Since: e.Since.Time}
		if e.Session != nil {
			if err := e.Session.exactly(u.Enrolment.Session[:]); err != nil {
				return err
			}
		}
	}
	for _, line := range l.Failures {
		f := store.FactorFailure{At: line.At.Time}
		if line.Challenge != nil {
			if err := line.Challenge.exactly(f.Challenge[:]); err != nil {
				return err
			}
		}
		u.FactorFailures = append(u.FactorFailures, f)
	}
	for _, line := range l.Trusted {
		d := store.TrustedDevice{Created: line.Created.Time, LastUsed: line.LastUsed.Time, UserAgent: line.UserAgent}
		if err := errors.Join(line.Hash.exactly(d.Hash[:]), line.State.exactly(d.State[:])); err != nil {
			return err
		}
		u.TrustedDevices = append(u.TrustedDevices, d)
	}
	for i := range l.Known {
		d, err := l.Known[i].device()
		if err != nil {
			return err
		}
		u.KnownDevices = append(u.KnownDevices, d)
	}
	return nil
}

func (l *factorLine) factor() store.Factor {
	f := store.Factor{
		ID: l.ID, Type: l.Type, Name: l.Name, Created: l.Created.time(), LastUsed: l.LastUsed.time(), Secret: l.Secret,
		LastStep: l.LastStep, EmailChanges: l.EmailChanges, CredentialID: l.CredentialID, Flags: l.Flags, SignCount: l.SignCount, Transports: l.Transports,
	}
	if l.AAGUID != nil {
		f.AAGUID = *l.AAGUID
	}
	return f
}

// factorKey takes the keys of second steps in, after the accounts that came before them.
func (m *importer) factorKey(ctx context.Context, l *factorKeyLine) error {
	if err := m.flush(ctx); err != nil {
		return err
	}
	opens, err := m.run.TakeFactorKeys(ctx, factor.Parcel{Realm: l.Realm, Own: l.Own, Taken: l.Taken})
	if err == nil && !opens {
		m.says("the second steps in the file are sealed under a secret that this realm doesn't have, so codes can't be checked. Write the secret of the realm that they come from behind this one's, secret <this> <that>, and import the file again")
	}
	return err
}

// programLine is a token for programs, by its hash.
type programLine struct {
	Hash     base64Text `json:"hash"`
	Name     string     `json:"name,omitempty"`
	Created  *moment    `json:"created,omitempty"`
	LastUsed *moment    `json:"last_used,omitempty"`
	Expires  *moment    `json:"expires,omitempty"`
	Path     string     `json:"path,omitempty"`
	// Groups is left out where all count.
	Groups *[]string `json:"groups,omitempty"`
}

func programLinesOf(u *store.User) (lines []programLine) {
	for _, t := range u.ProgramTokens {
		l := programLine{Hash: t.Hash[:], Name: clean(t.Name), Created: momentOf(t.Created), LastUsed: momentOf(t.LastUsed), Expires: momentOf(t.Expires), Path: clean(t.Path)}
		if t.Groups != nil {
			l.Groups = &t.Groups
		}
		lines = append(lines, l)
	}
	return lines
}

func (l *programLine) token() (store.ProgramToken, error) {
	t := store.ProgramToken{Name: l.Name, Created: l.Created.time(), LastUsed: l.LastUsed.time(), Expires: l.Expires.time(), Path: l.Path}
	if l.Groups != nil {
		t.Groups = *l.Groups
	}
	return t, l.Hash.exactly(t.Hash[:])
}

// linkedLine is an account elsewhere, or one that was unlinked and can be had back: that has
// an end.
type linkedLine struct {
	ID           uuid.UUID `json:"id"`
	Issuer       string    `json:"issuer"`
	Subject      string    `json:"subject"`
	Name         string    `json:"name,omitempty"`
	Created      *moment   `json:"created,omitempty"`
	LastUsed     *moment   `json:"last_used,omitempty"`
	EmailChanges uint32    `json:"email_changes,omitempty"`
	Until        *moment   `json:"until,omitempty"`
	RemovedAt    uint32    `json:"removed_at,omitempty"`
}

func linkedLinesOf(u *store.User) (linked, former []linkedLine) {
	line := func(l *store.LinkedAccount) linkedLine {
		return linkedLine{ID: l.ID, Issuer: clean(l.Issuer), Subject: clean(l.Subject), Name: clean(l.Name), Created: momentOf(l.Created), LastUsed: momentOf(l.LastUsed), EmailChanges: l.EmailChanges}
	}
	for i := range u.LinkedAccounts {
		linked = append(linked, line(&u.LinkedAccounts[i]))
	}
	for i := range u.FormerLinked {
		l := line(&u.FormerLinked[i].LinkedAccount)
		l.Until, l.RemovedAt = &moment{u.FormerLinked[i].Until}, u.FormerLinked[i].RemovedAt
		former = append(former, l)
	}
	return linked, former
}

func (l *linkedLine) linked() store.LinkedAccount {
	return store.LinkedAccount{ID: l.ID, Issuer: l.Issuer, Subject: l.Subject, Name: l.Name, Created: l.Created.time(), LastUsed: l.LastUsed.time(), EmailChanges: l.EmailChanges}
}
