// session.go: the sign-ins of an account.

package store

import (
	"time"

	"github.com/google/uuid"
)

// SessionKind tells a browser's session from an API token.
type SessionKind uint8

const (
	// KindSession is carried by the session cookie.
	KindSession SessionKind = iota
	// KindToken is carried by the Authorization header.
	KindToken
	// KindRefresh is a sign-in that lives on by refresh tokens: the family of
	// all that follow from it, and of the access tokens (JWT) that they give.
	KindRefresh
	// KindProgram is a token for programs: no record of its own has it, only what a
	// request by one looks like to who asks for its sign-in.
	KindProgram
)

// Session is one sign-in of one account: a browser's session, an API token or
// a family of refresh tokens.
// Times are UTC with a resolution of one second in the store.
type Session struct {
	Hash     TokenHash
	User     uuid.UUID
	Kind     SessionKind
	Created  time.Time
	LastUsed time.Time
	// Expires is the absolute end, whatever the use.
	Expires time.Time
	// Address is the client's IP address at sign-in.
	Address string
	// UserAgent is the client's User-Agent at sign-in, at most 160 bytes.
	UserAgent string
	// Refresh and Previous are the hashes of the second halves of the refresh
	// token that is good now and of the one before it, which was used at
	// Rotated. They are zero where the kind is not KindRefresh.
	Refresh  TokenHash
	Previous TokenHash
	Rotated  time.Time
	// Epoch is User.SessionEpoch, or User.TokenEpoch where the kind is not
	// KindSession, at the sign-in. With another one the sign-in has ended.
	Epoch uint32
	// AMR is how its owner has shown who he is, as RFC 8176 names the methods (pwd, otp,
	// hwk, swk, mfa) and in the order in which he did; ours besides: mail (a link or a
	// code that was mailed) and rec (a recovery code). Methods reads it. It is never
	// written in place: who reads several sessions may get the same slice in each.
	AMR []string
	// SignIn is by what the owner's mail about the sign-in names it, on whatever token it goes
	// on; zero: there was no such mail.
	SignIn uuid.UUID
	// AuthTime is when he did so last. ShownAt reads it.
	AuthTime time.Time
}

// Methods is AMR; a sign-in from before that was kept was by the password, and who comes
// with a token for programs has shown nothing. It is to be read only.
func (s *Session) Methods() []string {
	if s.Kind == KindProgram {
		return nil
	}
	if len(s.AMR) == 0 {
		return passwordOnly
	}
	return s.AMR
}

var passwordOnly = []string{"pwd"}

// ShownAt is AuthTime; who has signed in before that was kept showed it then. It is zero
// where nothing was shown (KindProgram).
func (s *Session) ShownAt() time.Time {
	if s.AuthTime.IsZero() && s.Kind != KindProgram {
		return s.Created
	}
	return s.AuthTime
}

// Epoch is what Session.Epoch of the account's live sessions of a kind is.
func (u *User) Epoch(kind SessionKind) uint32 {
	if kind == KindSession {
		return u.SessionEpoch
	}
	return u.TokenEpoch
}
