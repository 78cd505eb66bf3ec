// passkey.go: passkeys (WebAuthn level 3): what a browser is asked, and whether its
// answer is good. It knows no store: what is kept of a passkey goes in and comes out.

package factor

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/origin"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Bounds, in bytes: of a browser's answer (those without attestation have about 1,200),
// of the id of a credential (CTAP 2.1 allows no longer one) and of its public key.
const (
	MaxPasskeyAnswer = 16 << 10
	maxCredentialID  = 1023
	maxPublicKey     = 2048
)

// Bounds of the transports that a browser names.
const maxTransports, maxTransport = 8, 32

// Passkeys asks for passkeys of one relying party. It doesn't change and is safe for
// concurrent use.
type Passkeys struct {
	party   Party
	trusted origin.Set
	web     *webauthn.WebAuthn
}

// NewPasskeys returns the passkeys of a party that has them. site is what browsers call
// it; trusted are the origins besides its own whose pages may ask too.
func NewPasskeys(party Party, site string, trusted origin.Set) (*Passkeys, error) {
	if site == "" {
		site = party.ID
	}
	web, err := webauthn.New(&webauthn.Config{
		RPID: party.ID, RPDisplayName: site, RPOrigins: []string{party.Origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
		// Password managers answer what they weren't asked; nothing here reads it.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, err
	}
	return &Passkeys{party: party, trusted: trusted, web: web}, nil
}

// ID is the domain that the passkeys belong to.
func (p *Passkeys) ID() string { return p.party.ID }

// A Holder is whose passkeys they are, as authenticators show it.
type Holder struct {
	ID uuid.UUID
	// Name tells his accounts apart; Display is what he is called.
	Name, Display string
	Factors       []store.Factor
}

// holder is one as the library wants it.
type holder struct {
	Holder
	credentials []webauthn.Credential
}

func (h *holder) WebAuthnID() []byte                         { return h.ID[:] }
func (h *holder) WebAuthnName() string                       { return h.Name }
func (h *holder) WebAuthnDisplayName() string                { return h.Display }
func (h *holder) WebAuthnCredentials() []webauthn.Credential { return h.credentials }

// descriptors names the passkeys of a holder for a browser.
func descriptors(factors []store.Factor) []protocol.CredentialDescriptor {
	var out []protocol.CredentialDescriptor
	for i := range factors {
		if f := &factors[i]; f.Type == store.FactorPasskey {
			out = append(out, protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: f.CredentialID, Transport: transports(f.Transports)})
		}
	}
	return out
}

func transports(names []string) []protocol.AuthenticatorTransport {
	out := make([]protocol.AuthenticatorTransport, len(names))
	for i, name := range names {
		out[i] = protocol.AuthenticatorTransport(name)
	}
	return out
}

// algorithms are those of keys that may be made: the three that all authenticators
// have one of, the best first.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// Creation is what a browser is asked to make a passkey: the JSON of
// CredentialCreationOptions. b is of CeremonyAdd and names the holder.
func (p *Passkeys) Creation(s *sign.Signer, b Binding, h Holder, now time.Time) (json.RawMessage, error) {
	options, _, err := p.web.BeginRegistration(&holder{Holder: h}, webauthn.WithExclusions(descriptors(h.Factors)), webauthn.WithCredentialParameters(algorithms),
		func(o *protocol.PublicKeyCredentialCreationOptions) error {
			o.Challenge, o.Timeout = newChallenge(s, b, now), int(PasskeyLifetime.Milliseconds())
			return nil
		})
	if err != nil {
		return nil, err
	}
	return json.Marshal(options)
}

// Request is what a browser is asked to use a passkey: the JSON of
// CredentialRequestOptions. allowed are those that can be used; none: any that it has
// for the domain.
func (p *Passkeys) Request(s *sign.Signer, b Binding, allowed []store.Factor, now time.Time) (json.RawMessage, error) {
	options, _, err := p.web.BeginDiscoverableLogin(webauthn.WithUserVerification(verification(b.For)), webauthn.WithChallenge(newChallenge(s, b, now)), webauthn.WithAllowedCredentials(descriptors(allowed)),
		func(o *protocol.PublicKeyCredentialRequestOptions) error {
			o.Timeout = int(PasskeyLifetime.Milliseconds())
			return nil
		})
	if err != nil {
		return nil, err
	}
	return json.Marshal(options)
}

// verification says whether a passkey has to ask who uses it. Only beside a password is
// it enough that somebody does.
func verification(c Ceremony) protocol.UserVerificationRequirement {
	if c == CeremonyStep {
		return protocol.VerificationPreferred
	}
	return protocol.VerificationRequired
}

// wrong wraps why the library refuses an answer.
func wrong(err error) error {
	if told, ok := errors.AsType[*protocol.Error](err); ok {
		return fmt.Errorf("%w: %s: %s", ErrPasskey, told.Details, told.DevInfo)
	}
	return fmt.Errorf("%w: %w", ErrPasskey, err)
}

// from binds a ceremony to the origin that an answer names, where that is to be trusted.
func (p *Passkeys) from(session *webauthn.SessionData, data *protocol.CollectedClientData) error {
	if !p.party.trusts(data.Origin, p.trusted) {
		return fmt.Errorf("%w: it was made on a page of %q", ErrPasskey, data.Origin)
	}
	session.Challenge, session.RelyingPartyID, session.Origin = data.Challenge, p.party.ID, data.Origin
	return nil
}

// Created checks a browser's answer to Creation and returns what is to be kept of the
// passkey, but for its id, name and times.
func (p *Passkeys) Created(s *sign.Signer, b Binding, answer []byte, now time.Time) (f store.Factor, err error) {
	if len(answer) > MaxPasskeyAnswer {
		return f, fmt.Errorf("%w: it is too long", ErrPasskey)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return f, wrong(err)
	}
	data := &parsed.Response.CollectedClientData
	made, err := openChallenge(s, b, data.Challenge, now)
	if err != nil {
		return f, err
	}
	session := webauthn.SessionData{UserID: b.User[:], UserVerification: protocol.VerificationRequired, CredParams: algorithms}
	if err := p.from(&session, data); err != nil {
		return f, err
	}
	c, err := p.web.CreateCredential(&holder{Holder: Holder{ID: b.User}}, session, parsed)
	if err != nil {
		return f, wrong(err)
	}
	if len(c.ID) > maxCredentialID || len(c.PublicKey) > maxPublicKey {
		return f, fmt.Errorf("%w: its id or key is too long", ErrPasskey)
	}
	f = store.Factor{
		Type: store.FactorPasskey, Secret: c.PublicKey, CredentialID: c.ID, Flags: uint8(c.Flags.ProtocolValue()), SignCount: c.Authenticator.SignCount,
		LastStep: made.UnixMilli(),
	}
	f.AAGUID, _ = uuid.FromBytes(c.Authenticator.AAGUID) // zero: it doesn't say
	for _, t := range c.Transport {
		if len(f.Transports) < maxTransports && len(t) <= maxTransport {
			f.Transports = append(f.Transports, string(t))
		}
	}
	return f, nil
}

// An Assertion is a browser's answer to Request. Nothing of it is to be believed before
// Check.
type Assertion struct {
	parsed *protocol.ParsedCredentialAssertionData
	// Credential is the id of the passkey, User the account that it says it is of; zero:
	// it says of none.
	Credential []byte
	User       uuid.UUID
}

// ReadAssertion takes an answer apart.
func ReadAssertion(answer []byte) (*Assertion, error) {
	if len(answer) > MaxPasskeyAnswer {
		return nil, fmt.Errorf("%w: it is too long", ErrPasskey)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, wrong(err)
	}
	a := &Assertion{parsed: parsed, Credential: parsed.RawID}
	a.User, _ = uuid.FromBytes(parsed.Response.UserHandle)
	return a, nil
}

// Passkey returns the one of these factors that an answer is of; nil: none.
func (a *Assertion) Passkey(factors []store.Factor) *store.Factor {
	for i := range factors {
		if f := &factors[i]; f.Type == store.FactorPasskey && string(f.CredentialID) == string(a.Credential) {
			return f
		}
	}
	return nil
}

// A Shown is what the use of a passkey has shown.
type Shown struct {
	// Verified: the passkey has asked who uses it, so it counts as two factors.
	Verified bool
	// Synced: it can be on several devices.
	Synced bool
}

// AMR are the methods of RFC 8176 that it stands for.
func (s Shown) AMR() []string {
	key := "hwk"
	if s.Synced {
		key = "swk"
	}
	if s.Verified {
		return []string{key, "mfa"}
	}
	return []string{key}
}

// ShownBy is what was shown by making a passkey.
func ShownBy(f *store.Factor) Shown {
	return Shown{Verified: true, Synced: protocol.AuthenticatorFlags(f.Flags).HasBackupEligible()}
}

// Check checks an answer by the passkey f of the account user, and writes into f what
// has changed of it: its counter, its flags, and which challenge it has answered, so that no
// challenge up to that counts again. LastUsed is left to the caller. After an error f is as it was.
func (p *Passkeys) Check(s *sign.Signer, b Binding, a *Assertion, user uuid.UUID, f *store.Factor, now time.Time) (Shown, error) {
	data := &a.parsed.Response.CollectedClientData
	made, err := openChallenge(s, b, data.Challenge, now)
	if err != nil {
		return Shown{}, err
	}
	if made.UnixMilli() <= f.LastStep { // a replay, or a page that was there before
		return Shown{}, ErrChallenge
	}
	session := webauthn.SessionData{UserID: user[:], AllowedCredentialIDs: [][]byte{f.CredentialID}, UserVerification: verification(b.For)}
	if err := p.from(&session, data); err != nil {
		return Shown{}, err
	}
	flags := protocol.AuthenticatorFlags(f.Flags)
	if a.parsed.Response.AuthenticatorData.Flags.HasBackupEligible() {
		// A keeper that begins to sync says so from then on, whatever the specification
		// says of this flag; the other way round it is another passkey.
		flags |= protocol.FlagBackupEligible
	}
	c, err := p.web.ValidateLogin(&holder{Holder: Holder{ID: user}, credentials: []webauthn.Credential{{
		ID: f.CredentialID, PublicKey: f.Secret, Flags: webauthn.NewCredentialFlags(flags), Authenticator: webauthn.Authenticator{SignCount: f.SignCount},
	}}}, session, a.parsed)
	if err != nil {
		return Shown{}, wrong(err)
	}
	if c.Authenticator.CloneWarning {
		return Shown{}, ErrCloned
	}
	f.Flags, f.SignCount, f.LastStep = uint8(c.Flags.ProtocolValue()), c.Authenticator.SignCount, made.UnixMilli()
	return Shown{Verified: a.parsed.Response.AuthenticatorData.Flags.HasUserVerified(), Synced: c.Flags.BackupEligible}, nil
}
