// factors.go: how an account's record has what belongs to its second step, its tokens for
// programs, and the accounts elsewhere by which one signs in.

package record

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// stepRecord is what a userRecord has of the second step.
type stepRecord struct {
	Factors   []factorRecord   `cbor:"33,keyasint,omitempty"`
	Recovery  *recoveryRecord  `cbor:"34,keyasint,omitempty"`
	Enrolment *enrolmentRecord `cbor:"35,keyasint,omitempty"`
	Failures  *failuresRecord  `cbor:"36,keyasint,omitempty"`
	Trusted   []trustedRecord  `cbor:"37,keyasint,omitempty"`
}

type factorRecord struct {
	ID           uuid.UUID `cbor:"1,keyasint"`
	Type         string    `cbor:"2,keyasint"`
	Name         string    `cbor:"3,keyasint,omitempty"`
	Created      *int64    `cbor:"4,keyasint,omitempty"` // unix seconds
	LastUsed     *int64    `cbor:"5,keyasint,omitempty"` // unix seconds
	Secret       []byte    `cbor:"6,keyasint,omitempty"`
	LastStep     int64     `cbor:"7,keyasint,omitempty"`
	EmailChanges uint32    `cbor:"8,keyasint,omitempty"`
	CredentialID []byte    `cbor:"9,keyasint,omitempty"`
	AAGUID       []byte    `cbor:"10,keyasint,omitempty"`
	Flags        uint8     `cbor:"11,keyasint,omitempty"`
	SignCount    uint32    `cbor:"12,keyasint,omitempty"`
	Transports   []string  `cbor:"13,keyasint,omitempty"`
	// Of one that was removed; the others have none.
	Until     *int64 `cbor:"14,keyasint,omitempty"` // unix seconds
	RemovedAt uint32 `cbor:"15,keyasint,omitempty"`
}

// recoveryRecord is key 34 of an account.
type recoveryRecord struct {
	_     struct{} `cbor:",toarray"`
	Made  int64    // unix seconds
	Codes [][]byte
}

type enrolmentRecord struct {
	_       struct{} `cbor:",toarray"`
	Secret  []byte
	Session []byte
	Since   int64 // unix seconds
}

// failuresRecord is key 36: the wrong answers of the last hour, and how many there were
// since the last right one.
type failuresRecord struct {
	_     struct{} `cbor:",toarray"`
	InRow uint32
	Last  []failureRecord
}

type failureRecord struct {
	_         struct{} `cbor:",toarray"`
	At        int64    // unix seconds
	Challenge [8]byte
}

// trustedRecord is one of key 37.
type trustedRecord struct {
	_         struct{} `cbor:",toarray"`
	Hash      store.TokenHash
	Created   int64  // unix seconds
	LastUsed  int64  // unix seconds
	UserAgent string // in shorthand
	State     [16]byte
}

// encodeStep is what the record of an account has of its second step, nil for none, and the
// format of the record.
func encodeStep(u *store.User) (format byte, step []byte, err error) {
	var r stepRecord
	r.addStep(u)
	if len(r.Factors)+len(r.Trusted) == 0 && r.Recovery == nil && r.Enrolment == nil && r.Failures == nil {
		return userFormat, nil, nil
	}
	if step, err = cbor.Marshal(&r); err != nil {
		return 0, nil, fmt.Errorf("encoding a second step: %w", err)
	}
	if err := recordDecoder.Wellformed(step); err != nil { // see encodeRecord
		return 0, nil, fmt.Errorf("%w: %w", store.ErrTooLarge, err)
	}
	return userStep, step, nil
}

// DecodeUserBriefly is store.Brief of the account of a record.
func DecodeUserBriefly(id uuid.UUID, data []byte) (*store.User, error) {
	var r briefRecord
	if err := decodeRecord("user", userSeveral, data, &r); err != nil {
		return nil, err
	}
	u, _, err := r.user(id)
	if err != nil {
		return nil, err
	}
	return store.Brief(u), nil
}

// addStep completes the record of an account.
func (r *stepRecord) addStep(u *store.User) {
	for i := range u.Factors {
		r.Factors = append(r.Factors, factorToRecord(&u.Factors[i]))
	}
	for i := range u.FormerFactors {
		f := &u.FormerFactors[i]
		rec := factorToRecord(&f.Factor)
		rec.Until, rec.RemovedAt = new(f.Until.Unix()), f.RemovedAt
		r.Factors = append(r.Factors, rec)
	}
	if len(u.RecoveryCodes) > 0 || !u.RecoveryMade.IsZero() {
		r.Recovery = &recoveryRecord{Made: u.RecoveryMade.Unix(), Codes: u.RecoveryCodes}
	}
	if e := u.Enrolment; e != nil {
		r.Enrolment = &enrolmentRecord{Secret: e.Secret, Session: hashBytes(e.Session), Since: e.Since.Unix()}
	}
	if len(u.FactorFailures) > 0 || u.FactorFailuresInRow > 0 {
		r.Failures = &failuresRecord{InRow: u.FactorFailuresInRow}
		for _, f := range u.FactorFailures {
			r.Failures.Last = append(r.Failures.Last, failureRecord{At: f.At.Unix(), Challenge: f.Challenge})
		}
	}
	for _, d := range u.TrustedDevices {
		r.Trusted = append(r.Trusted, trustedRecord{Hash: d.Hash, Created: d.Created.Unix(), LastUsed: d.LastUsed.Unix(), UserAgent: ToShorthand(d.UserAgent), State: d.State})
	}
}

// readStep takes it from the record of an account.
func (r *stepRecord) readStep(u *store.User) {
	for i := range r.Factors {
		rec := &r.Factors[i]
		f := recordToFactor(rec)
		if rec.Until == nil {
			u.Factors = append(u.Factors, f)
			continue
		}
		u.FormerFactors = append(u.FormerFactors, store.FormerFactor{Factor: f, Until: fromUnixSeconds(rec.Until), RemovedAt: rec.RemovedAt})
	}
	if rec := r.Recovery; rec != nil {
		u.RecoveryMade, u.RecoveryCodes = fromUnixSeconds(&rec.Made), rec.Codes
	}
	if rec := r.Enrolment; rec != nil {
		u.Enrolment = &store.Enrolment{Secret: rec.Secret, Session: fromHashBytes(rec.Session), Since: fromUnixSeconds(&rec.Since)}
	}
	if rec := r.Failures; rec != nil {
		u.FactorFailuresInRow = rec.InRow
		for _, f := range rec.Last {
			u.FactorFailures = append(u.FactorFailures, store.FactorFailure{At: fromUnixSeconds(&f.At), Challenge: f.Challenge})
		}
	}
	for _, d := range r.Trusted {
		u.TrustedDevices = append(u.TrustedDevices, store.TrustedDevice{
			Hash: d.Hash, Created: fromUnixSeconds(&d.Created), LastUsed: fromUnixSeconds(&d.LastUsed), UserAgent: FromShorthand(d.UserAgent), State: d.State,
		})
	}
}

func factorToRecord(f *store.Factor) factorRecord {
	return factorRecord{
		ID: f.ID, Type: string(f.Type), Name: f.Name, Created: UnixSeconds(f.Created), LastUsed: UnixSeconds(f.LastUsed), Secret: f.Secret,
		LastStep: f.LastStep, EmailChanges: f.EmailChanges, CredentialID: f.CredentialID, AAGUID: idBytes(f.AAGUID), Flags: f.Flags,
		SignCount: f.SignCount, Transports: f.Transports,
	}
}

func recordToFactor(r *factorRecord) store.Factor {
	return store.Factor{
		ID: r.ID, Type: store.FactorType(r.Type), Name: r.Name, Created: fromUnixSeconds(r.Created), LastUsed: fromUnixSeconds(r.LastUsed),
		Secret: r.Secret, LastStep: r.LastStep, EmailChanges: r.EmailChanges, CredentialID: r.CredentialID, AAGUID: fromIDBytes(r.AAGUID),
		Flags: r.Flags, SignCount: r.SignCount, Transports: r.Transports,
	}
}

// programRecord is a token for programs, of which key 43 has the list.
type programRecord struct {
	Hash     []byte   `cbor:"1,keyasint"`
	Name     string   `cbor:"2,keyasint,omitempty"`
	Created  *int64   `cbor:"3,keyasint,omitempty"` // unix seconds
	LastUsed *int64   `cbor:"4,keyasint,omitempty"` // unix seconds
	Expires  *int64   `cbor:"5,keyasint,omitempty"` // unix seconds
	Path     string   `cbor:"6,keyasint,omitempty"`
	Groups   []string `cbor:"7,keyasint,omitempty"`
	// Limited tells no groups from all.
	Limited bool `cbor:"8,keyasint,omitempty"`
}

// addPrograms completes the record of an account.
func (r *briefRecord) addPrograms(u *store.User) {
	for i := range u.ProgramTokens {
		t := &u.ProgramTokens[i]
		r.Programs = append(r.Programs, programRecord{
			Hash: t.Hash[:], Name: t.Name, Created: UnixSeconds(t.Created), LastUsed: UnixSeconds(t.LastUsed), Expires: UnixSeconds(t.Expires),
			Path: t.Path, Groups: t.Groups, Limited: t.Groups != nil,
		})
	}
}

// readPrograms gives an account what its record has.
func (r *briefRecord) readPrograms(u *store.User) {
	for _, t := range r.Programs {
		if t.Limited && t.Groups == nil {
			t.Groups = []string{}
		}
		u.ProgramTokens = append(u.ProgramTokens, store.ProgramToken{
			Hash: fromHashBytes(t.Hash), Name: t.Name, Created: fromUnixSeconds(t.Created), LastUsed: fromUnixSeconds(t.LastUsed), Expires: fromUnixSeconds(t.Expires),
			Path: t.Path, Groups: t.Groups,
		})
	}
}

// linkedRecord is an account elsewhere, of which key 50 has the list.
type linkedRecord struct {
	ID           uuid.UUID `cbor:"1,keyasint"`
	Issuer       string    `cbor:"2,keyasint"`
	Subject      string    `cbor:"3,keyasint"`
	Name         string    `cbor:"4,keyasint,omitempty"`
	Created      *int64    `cbor:"5,keyasint,omitempty"` // unix seconds
	LastUsed     *int64    `cbor:"6,keyasint,omitempty"` // unix seconds
	EmailChanges uint32    `cbor:"7,keyasint,omitempty"`
	// Of one that was unlinked; the others have none.
	Until     *int64 `cbor:"8,keyasint,omitempty"` // unix seconds
	RemovedAt uint32 `cbor:"9,keyasint,omitempty"`
}

// addLinked completes the record of an account.
func (r *briefRecord) addLinked(u *store.User) {
	record := func(l *store.LinkedAccount) linkedRecord {
		return linkedRecord{
			ID: l.ID, Issuer: l.Issuer, Subject: l.Subject, Name: l.Name,
			Created: UnixSeconds(l.Created), LastUsed: UnixSeconds(l.LastUsed), EmailChanges: l.EmailChanges,
		}
	}
	for i := range u.LinkedAccounts {
		r.Linked = append(r.Linked, record(&u.LinkedAccounts[i]))
	}
	for i := range u.FormerLinked {
		l := record(&u.FormerLinked[i].LinkedAccount)
		l.Until, l.RemovedAt = new(u.FormerLinked[i].Until.Unix()), u.FormerLinked[i].RemovedAt
		r.Linked = append(r.Linked, l)
	}
}

// readLinked gives an account what its record has.
func (r *briefRecord) readLinked(u *store.User) {
	for _, rec := range r.Linked {
		l := store.LinkedAccount{
			ID: rec.ID, Issuer: rec.Issuer, Subject: rec.Subject, Name: rec.Name,
			Created: fromUnixSeconds(rec.Created), LastUsed: fromUnixSeconds(rec.LastUsed), EmailChanges: rec.EmailChanges,
		}
		if rec.Until == nil {
			u.LinkedAccounts = append(u.LinkedAccounts, l)
			continue
		}
		u.FormerLinked = append(u.FormerLinked, store.FormerLinked{LinkedAccount: l, Until: fromUnixSeconds(rec.Until), RemovedAt: rec.RemovedAt})
	}
}
