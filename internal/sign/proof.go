// proof.go: what somebody who signs in has shown so far, signed, while he is asked for
// more.

package sign

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"github.com/google/uuid"
)

// purposeSignIn is no link: it is what a challenge of a sign-in says.
const purposeSignIn Purpose = "sign_in"

// A Proof says that somebody has shown that an account is his, how and when.
type Proof struct {
	User uuid.UUID
	// Method is how, as RFC 8176 names it: pwd, otp, hwk …
	Method string
	// Browser is what only the browser has that he did it in; "": it may be any. It is not
	// in the text of the proof.
	Browser string
	// Time has a resolution of one second.
	Time time.Time
	// State fingerprints the account (StateOf). It is not in the text either.
	State []byte
}

// BrowserLength is how long what NewBrowser makes is, in bytes.
const BrowserLength = 22

// NewBrowser is what a browser alone is to know (Proof.Browser): 128 bits, as text.
func NewBrowser() string {
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

// maxProof bounds the text of a proof, in bytes; ours have about 80. maxMethod bounds a method.
const maxProof, maxMethod = 256, 32

func (p Proof) claim() Claim {
	browser := StateOf(p.Method, p.Browser)
	return Claim{Purpose: purposeSignIn, User: p.User, Email: string(browser), Time: p.Time, State: p.State}
}

// SignProof writes a proof with its signature as one word.
func (s *Signer) SignProof(p Proof) string {
	says := append(binary.BigEndian.AppendUint64(p.User[:], uint64(p.Time.Unix())), p.Method...) //nolint:gosec // the years before 1970 are past
	return base64.RawURLEncoding.EncodeToString(says) + "." + s.Sign(p.claim())
}

// ReadProof takes the text of a proof apart; ok is false for what is none. Nothing of it
// is to be believed before VerifyProof.
func ReadProof(text string) (p Proof, signature string, ok bool) {
	if len(text) > maxProof || strings.ContainsAny(text, "\r\n") { // which base64 skips: a proof has one text
		return p, "", false
	}
	says, signature, ok := strings.Cut(text, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(says)
	const head = 16 + 8
	if !ok || err != nil || len(raw) < head || len(raw) > head+maxMethod || len(signature) > MaxSignature {
		return p, "", false
	}
	unix := binary.BigEndian.Uint64(raw[16:head])
	if unix > 1<<40 {
		return p, "", false
	}
	p.User, p.Time, p.Method = uuid.UUID(raw[:16]), time.Unix(int64(unix), 0), string(raw[head:])
	return p, signature, true
}

// VerifyProof returns nil, ErrSignature or ErrExpired, as Verify does. Browser and State
// are the caller's, to be set before.
func (s *Signer) VerifyProof(p Proof, signature string, now time.Time, period time.Duration) error {
	return s.Verify(p.claim(), signature, now, period)
}
