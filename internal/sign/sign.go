// sign.go: purpose-bound, expiring signatures, and the URLs that carry them.
// Nothing is stored for a link: what the act changes is part of the signature.

package sign

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// Purpose binds a signature to one act; it can't be used for another.
type Purpose string

// The acts that a mailed link can do.
const (
	PurposeRegister      Purpose = "register"
	PurposeResetPassword Purpose = "reset_password"
	PurposeRegisterEmail Purpose = "register_email"
	PurposeUndoEmail     Purpose = "undo_email"
	PurposeUndoFactor    Purpose = "undo_factor"
	PurposeEndSignIn     Purpose = "end_sign_in"
	// PurposeSetPassword is that of a link which no mail has: an owner hands it out.
	PurposeSetPassword Purpose = "set_password"
	// PurposeInvitation is no signature: it stands for the link of an invitation, whose
	// token is random, or made of its key where the link is mailed.
	PurposeInvitation Purpose = "invitation"
	// PurposeLoginCode is that of the mail by which somebody signs in.
	PurposeLoginCode Purpose = "login_code"
	// PurposeDevice is no link: it is what a device cookie says.
	PurposeDevice Purpose = "device"
	// PurposeSignUp is no link: it marks the browser that asked for an account.
	PurposeSignUp Purpose = "sign_up"
	// PurposePasskey is no link: it is what the challenge of a passkey says.
	PurposePasskey Purpose = "passkey"
	// PurposeOIDC is no link: it is what a browser keeps that signs in by an account
	// elsewhere.
	PurposeOIDC Purpose = "oidc"
	// purposeLeftName is no link: its key is that of the hashes of left names.
	purposeLeftName Purpose = "left_name"
	// purposeAccessToken is no signature of ours: the keys that sign access
	// tokens are derived from its key.
	purposeAccessToken Purpose = "access_token"
)

// Errors of Signer.Verify.
var (
	// ErrSignature says that the signature was not made by this realm for this
	// purpose and account, or that the account has changed since (the link was used).
	ErrSignature = errors.New("bad signature")
	// ErrExpired says that the signature was good and its period is over.
	ErrExpired = errors.New("signature expired")
)

// MaxClockSkew is how far in the future a timestamp may lie: clocks of two
// nodes differ by seconds, a forged timestamp by days.
const MaxClockSkew = 60 * time.Second

// A Claim is what a link says: which act on which account, when it was signed.
type Claim struct {
	Purpose Purpose
	User    uuid.UUID
	// Email is the new address, for PurposeRegisterEmail; the one to go back to,
	// for PurposeUndoEmail; the id of the factor, for PurposeUndoFactor; the sign-in, for
	// PurposeEndSignIn; the random name of the device, for PurposeDevice; else empty.
	Email string
	// Time has a resolution of one second.
	Time time.Time
	// State fingerprints what the act changes (StateOf). It is not in the link:
	// both sides take it from the account, so a link is good until it is used.
	State []byte
}

// A Signer makes and checks the signatures of one realm: HMAC-SHA-256 (RFC
// 2104) under a key derived (HKDF, RFC 5869) for the realm and the purpose.
// It is immutable and safe for concurrent use.
type Signer struct {
	keys []map[Purpose][]byte
}

// NewSigner returns a signer for a realm. The first secret signs, all verify.
// There must be at least one.
func NewSigner(realm string, secrets ...[]byte) (*Signer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("a signer needs at least one secret")
	}
	s := &Signer{}
	for _, secret := range secrets {
		if len(secret) < MinSecret {
			return nil, fmt.Errorf("a signing key has %d bytes; it needs at least %d", len(secret), MinSecret)
		}
		derived := make(map[Purpose][]byte, 16)
		for _, purpose := range []Purpose{PurposeRegister, PurposeResetPassword, PurposeRegisterEmail, PurposeUndoEmail, PurposeUndoFactor, PurposeEndSignIn, PurposeSetPassword, PurposeInvitation, PurposeLoginCode, PurposeDevice, PurposeSignUp, purposeSignIn, PurposePasskey, PurposeOIDC, purposeLeftName, purposeAccessToken} {
			key, err := hkdf.Key(sha256.New, secret, []byte("caddy-registration v1"), string(purpose)+"\x00"+realm, sha256.Size)
			if err != nil {
				return nil, err
			}
			derived[purpose] = key
		}
		s.keys = append(s.keys, derived)
	}
	return s, nil
}

// Sign returns the signature of the claim, 43 characters of base64url.
func (s *Signer) Sign(c Claim) string {
	return base64.RawURLEncoding.EncodeToString(s.mac(s.keys[0], c))
}

// SignAll returns what Sign would under each secret, the first secret's first: what was
// mailed under one that is still listed is good.
func (s *Signer) SignAll(c Claim) []string {
	all := make([]string, len(s.keys))
	for i, derived := range s.keys {
		all[i] = base64.RawURLEncoding.EncodeToString(s.mac(derived, c))
	}
	return all
}

// InvitationTokens are the tokens of the mailed invitation with this id, one a secret,
// the first secret's first: the mail has its token only when it is sent, and the store
// only the token's hash.
func (s *Signer) InvitationTokens(id uuid.UUID) []string {
	tokens := make([]string, len(s.keys))
	for i, derived := range s.keys {
		tokens[i] = base64.RawURLEncoding.EncodeToString(s.mac(derived, Claim{Purpose: PurposeInvitation, User: id}))
	}
	return tokens
}

// Verify returns nil, ErrSignature or ErrExpired. The signature is checked
// first: only its owner learns that it has expired.
func (s *Signer) Verify(c Claim, signature string, now time.Time, period time.Duration) error {
	given, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil {
		return ErrSignature
	}
	good := false
	for _, key := range s.keys {
		if len(key[c.Purpose]) > 0 && hmac.Equal(given, s.mac(key, c)) { // without a key of its own, anybody could sign for a purpose
			good = true
		}
	}
	switch {
	case !good, c.Time.Sub(now) > MaxClockSkew:
		return ErrSignature
	case now.Sub(c.Time) > period:
		return ErrExpired
	}
	return nil
}

// mac signs a canonical encoding: every part is preceded by its length, so no
// two claims have the same bytes.
func (s *Signer) mac(keys map[Purpose][]byte, c Claim) []byte {
	h := hmac.New(sha256.New, keys[c.Purpose])
	h.Write(lengthPrefixed(c.User[:], []byte(c.Email), c.State, []byte(strconv.FormatInt(c.Time.Unix(), 10))))
	return h.Sum(nil)
}

// NameHashes are the hashes of a left name, one a secret, the first secret's first:
// a new one is kept by that, and those that were kept by the others still count.
func (s *Signer) NameHashes(key string) []store.NameHash {
	hashes := make([]store.NameHash, len(s.keys))
	for i, derived := range s.keys {
		h := hmac.New(sha256.New, derived[purposeLeftName])
		h.Write([]byte(key))
		h.Sum(hashes[i][:0])
	}
	return hashes
}

// AccessKeys returns the Ed25519 keys (RFC 8032) with this id, one a secret, the
// first secret's first. They are derived (HKDF, RFC 5869), so that the store
// holds none: whoever copies it can't sign, and a secret that is taken out of
// the configuration takes its keys with it.
func (s *Signer) AccessKeys(id string) ([]ed25519.PrivateKey, error) {
	keys := make([]ed25519.PrivateKey, len(s.keys))
	for i, derived := range s.keys {
		seed, err := hkdf.Expand(sha256.New, derived[purposeAccessToken], id, ed25519.SeedSize)
		if err != nil {
			return nil, err
		}
		keys[i] = ed25519.NewKeyFromSeed(seed)
	}
	return keys, nil
}

func lengthPrefixed(parts ...[]byte) []byte {
	var out []byte
	for _, part := range parts {
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}

// StateOf fingerprints the parts of an account that an act changes or depends on.
func StateOf(parts ...string) []byte {
	raw := make([][]byte, len(parts))
	for i, part := range parts {
		raw[i] = []byte(part)
	}
	sum := sha256.Sum256(lengthPrefixed(raw...))
	return sum[:]
}

// Param is the parameter in which a link of this purpose has what it names (Claim.Email); "":
// it names nothing.
func (p Purpose) Param() string {
	switch p { //nolint:exhaustive // the others name nothing
	case PurposeRegisterEmail, PurposeUndoEmail:
		return ParamEmail
	case PurposeUndoFactor:
		return ParamFactor
	case PurposeEndSignIn:
		return ParamSignIn
	}
	return ""
}

// LinkURL adds the claim and its signature to the address of a page.
func LinkURL(page string, c Claim, signature, next string) (string, error) {
	params := url.Values{}
	params.Set(ParamUserID, c.User.String())
	if name := c.Purpose.Param(); name != "" && c.Email != "" {
		params.Set(name, c.Email)
	}
	params.Set(ParamTimestamp, c.Timestamp())
	params.Set(ParamSignature, signature)
	if next != "" {
		params.Set(ParamNext, next)
	}
	return WithParams(page, params)
}

// Timestamp is the time of the claim as a link has it: Unix seconds.
func (c Claim) Timestamp() string { return strconv.FormatInt(c.Time.Unix(), 10) }

// WithParams sets parameters in the query of an address or, where it has a fragment
// (https://app.example.com/#/verify/), in the query of that: it is where the router
// of an app in the browser looks for them, and no server sees them.
func WithParams(address string, params url.Values) (string, error) {
	page, fragment, routed := strings.Cut(address, "#")
	if routed {
		separator := "?"
		if strings.Contains(fragment, "?") {
			separator = "&"
		}
		return page + "#" + fragment + separator + params.Encode(), nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	q := u.Query()
	maps.Copy(q, params)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// The names of what a link carries, in its query and in the body of the act.
const (
	ParamUserID    = "user_id"
	ParamEmail     = "email"
	ParamFactor    = "factor"
	ParamSignIn    = "sign_in"
	ParamTimestamp = "timestamp"
	ParamSignature = "signature"
	ParamNext      = "next"
	// ParamInvitation has the token of an invitation.
	ParamInvitation = "invitation"
)

// SizeSignIn is the length of a sign-in as a link names it: its id, and two numbers.
const SizeSignIn = 36 + 1 + 12 + 1 + 16

// MinSecret is the least size of a signing key, in bytes: NIST SP 800-107 asks for
// at least half the strength of the hash.
const MinSecret = 16

// MaxSignature bounds a signature and a timestamp before they are looked at, in
// bytes; ours have 43 and 10.
const MaxSignature = 64

// SecretBytes is the size of a generated signing key.
const SecretBytes = 32
