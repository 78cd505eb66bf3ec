// passkey_challenge.go: what a passkey signs. Nothing is stored for it: a challenge
// says itself what it is for and how old it is, signed.

package factor

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
)

// PasskeyLifetime is how long the challenge of a passkey is good.
const PasskeyLifetime = 5 * time.Minute

// A Ceremony is what a passkey is asked for. A challenge of one is none of another.
type Ceremony string

// The ceremonies.
const (
	// CeremonyAdd makes a passkey.
	CeremonyAdd Ceremony = "add"
	// CeremonySignIn signs in by nothing else.
	CeremonySignIn Ceremony = "sign_in"
	// CeremonyStep is the second step of a sign-in.
	CeremonyStep Ceremony = "step"
	// CeremonySudo shows again who is signed in.
	CeremonySudo Ceremony = "sudo"
)

// A Binding is what the challenge of a passkey is good for, and where alone.
type Binding struct {
	For Ceremony
	// User is the account that is asked; zero: whoever answers.
	User uuid.UUID
	// To is what only the asked browser has or knows: of its session, of its cookie or
	// of the sign-in that it has begun; "": it may be any.
	To string
}

// Errors of a passkey's answer.
var (
	// ErrChallenge says that the answer is to no challenge of ours for this, here: it
	// was made for something else or somewhere else, it is over, or it was answered.
	ErrChallenge = errors.New("the answer is to no challenge that is open")
	// ErrPasskey says that the answer is not good; what it wraps says why.
	ErrPasskey = errors.New("the passkey's answer is not good")
	// ErrCloned says that the signature is good and its counter has been seen before:
	// the passkey is there twice.
	ErrCloned = errors.New("the passkey's counter went back: it may have been copied")
)

// The parts of a challenge, in bytes: when it was made (Unix milliseconds), what tells
// it from all others, and the signature.
const (
	challengeTime  = 8
	challengeNonce = 16
	challengeSize  = challengeTime + challengeNonce + 32
)

// claim is what the signature of a challenge is over.
func (b Binding) claim(head []byte, made time.Time) sign.Claim {
	return sign.Claim{
		Purpose: sign.PurposePasskey, User: b.User, Email: string(b.For), Time: made,
		State: sign.StateOf(b.To, string(head)),
	}
}

// newChallenge makes a challenge for a binding.
func newChallenge(s *sign.Signer, b Binding, now time.Time) []byte {
	head := binary.BigEndian.AppendUint64(make([]byte, 0, challengeSize), uint64(now.UnixMilli()))
	head = head[:challengeTime+challengeNonce]
	_, _ = rand.Read(head[challengeTime:]) // never fails
	mac, _ := base64.RawURLEncoding.DecodeString(s.Sign(b.claim(head, now)))
	return append(head, mac...)
}

// openChallenge returns when a challenge was made, or ErrChallenge for what is none of
// the binding, or is over.
func openChallenge(s *sign.Signer, b Binding, text string, now time.Time) (time.Time, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != challengeSize {
		return time.Time{}, ErrChallenge
	}
	head, mac := raw[:challengeTime+challengeNonce], raw[challengeTime+challengeNonce:]
	ms := binary.BigEndian.Uint64(head)
	if ms > 1<<50 {
		return time.Time{}, ErrChallenge
	}
	made := time.UnixMilli(int64(ms))
	if s.Verify(b.claim(head, made), base64.RawURLEncoding.EncodeToString(mac), now, PasskeyLifetime) != nil {
		return time.Time{}, ErrChallenge
	}
	return made, nil
}
