// sessions.go: the sign-ins of an account as its owner sees them, how they end (one,
// all, or those beyond what an account may have), and the tokens among them: API
// tokens, access tokens and the refresh tokens that renew them.

package account

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// SessionKinds are the names of the kinds in answers.
var SessionKinds = map[store.SessionKind]string{store.KindSession: "session", store.KindToken: "token", store.KindRefresh: "jwt"}

// SessionsShown is how many sign-ins a page of the list has.
const SessionsShown = 50

// ListSessions returns the live sessions, API tokens and families of refresh
// tokens of who asks, the latest used first. Of an account from before their
// number had a limit it may be a part.
func (a *Accounts) ListSessions(ctx context.Context, p session.Principal) ([]*store.Session, error) {
	var all []*store.Session
	var u *store.User
	err := a.View(ctx, func(tx store.Tx) (err error) {
		if u, err = tx.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		all, err = a.someSessions(tx, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	now, idle := a.Time(), a.Policy.Session.Idle
	all = slices.DeleteFunc(all, func(s *store.Session) bool {
		if used := a.Sessions.LastUse(s.Hash); used.After(s.LastUsed) {
			s.LastUsed = used
		}
		if s.LastUsed.After(now) { // a clock was ahead
			s.LastUsed = now
		}
		return s.Epoch != u.Epoch(s.Kind) || !now.Before(s.Expires) || now.Sub(s.LastUsed) >= idle
	})
	slices.SortFunc(all, latestUsed)
	return all, nil
}

// latestUsed orders sign-ins, the latest used first.
func latestUsed(x, y *store.Session) int {
	if c := y.LastUsed.Compare(x.LastUsed); c != 0 {
		return c
	}
	return y.Created.Compare(x.Created)
}

// someSessions returns the sign-ins of an account as far as it may have them; of
// one from before there was a limit, a part with the one that asks. The rest is
// then on its way out.
func (a *Accounts) someSessions(tx store.Tx, p session.Principal) ([]*store.Session, error) {
	chunk := 2*a.Policy.Session.Max + session.SessionChunk
	all, err := tx.Sessions(p.User.ID, chunk)
	if err != nil || len(all) < chunk {
		return all, err
	}
	a.Sessions.Leave(p.User.ID, a.Policy.Session.Max)
	if !slices.ContainsFunc(all, func(s *store.Session) bool { return s.Hash == p.Session.Hash }) {
		asking, err := tx.Session(p.Session.Hash)
		if err != nil {
			return nil, notSignedIn(err)
		}
		all = append(all, asking)
	}
	return all, nil
}

// Inputs of the endpoint that ends sign-ins.
const (
	ParamSession = "id"
	ParamOthers  = "others"
)

// EndOtherSessions signs out everywhere else: every session, token and family but
// the one that asks ends, and so do links, pending changes and device cookies. It
// returns the account as it is then.
func (a *Accounts) EndOtherSessions(ctx context.Context, p session.Principal) (*store.User, error) {
	var u *store.User
	err := a.Update(ctx, func(t *Txn) (err error) {
		if _, err := t.Session(p.Session.Hash); err != nil {
			return notSignedIn(err)
		}
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if err := t.EndSessions(u, &p.Session.Hash); err != nil {
			return err
		}
		u.Generation++
		if err := t.Audit(audit.SessionsEnded, u.ID, "which", "others"); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	return u, err
}

// EndSession ends the session, token or family that the input names by `id`.
// endedSelf reports whether it is the one that asks. An unknown id, somebody
// else's too, is CodeSessionNotFound.
func (a *Accounts) EndSession(ctx context.Context, p session.Principal, in field.Input) (endedSelf bool, err error) {
	var errs refusal.FieldErrors
	id := in.Required(ParamSession, &errs)
	if err := errs.Err(); err != nil {
		return false, err
	}
	// Looked up before: a wrong id is to cost those who write nothing.
	var hash store.TokenHash
	err = a.View(ctx, func(tx store.Tx) error {
		all, err := a.someSessions(tx, p)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Hash.PublicID() == id {
				hash = s.Hash
				return nil
			}
		}
		return refusal.New(refusal.CodeSessionNotFound)
	})
	if err != nil {
		return false, err
	}
	err = a.Update(ctx, func(t *Txn) error {
		if s, err := t.Session(hash); errors.Is(err, store.ErrNotFound) || err == nil && s.User != p.User.ID {
			return refusal.New(refusal.CodeSessionNotFound)
		} else if err != nil {
			return err
		}
		return errors.Join(t.endSession(hash), t.Audit(audit.SessionsEnded, p.User.ID, "which", "one"))
	})
	return hash == p.Session.Hash && err == nil, err
}

// EndSignIn ends one sign-in of an account, by its id in the list. An unknown one is
// CodeSessionNotFound.
func (a *Accounts) EndSignIn(ctx context.Context, id uuid.UUID, signIn string) error {
	u, err := a.LookupID(ctx, id.String())
	if err != nil {
		return err
	}
	list, err := a.SignInsOf(ctx, u)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(s *store.Session) bool { return s.Hash.PublicID() == signIn })
	if i < 0 {
		return refusal.New(refusal.CodeSessionNotFound)
	}
	return a.Update(ctx, func(t *Txn) error {
		return errors.Join(a.asAdmin(t), t.endSession(list[i].Hash), t.Audit(audit.SessionsEnded, id, "which", "one"))
	})
}

// Grant writes what a sign-in of u hands out, and ends what is beyond the number
// of sign-ins that an account may have. amr is how its owner has shown that he is
// (store.Session.AMR). The caller writes u.
func (a *Accounts) Grant(t *Txn, u *store.User, client Client, amr []string) (*session.Grant, error) {
	g := &session.Grant{}
	now := a.Time()
	signIn, err := a.meetDevice(t, u, client)
	if err != nil {
		return nil, err
	}
	var issued []store.TokenHash
	issue := func(kind store.SessionKind) (string, *store.Session, error) {
		token, hash := a.Sessions.NewToken(now)
		s := &store.Session{
			Hash: hash, User: u.ID, Kind: kind, Created: now, LastUsed: now,
			Expires: now.Add(a.Policy.Session.Lifetime),
			Address: client.Address, UserAgent: session.Shorten(client.UserAgent, session.MaxUserAgent), Epoch: u.Epoch(kind),
			AMR: amr, AuthTime: now, SignIn: signIn,
		}
		issued = append(issued, hash)
		return token, s, t.PutSession(s)
	}
	if a.Policy.Login.Session {
		if g.Cookie, g.Session, err = issue(store.KindSession); err != nil {
			return nil, err
		}
	}
	gives := a.Policy.Login.Token && !client.sessionAlone && (!client.Page || !a.Policy.Login.Session) // a page shows none
	if gives && a.Access != nil {
		family, s, err := issue(store.KindRefresh)
		if err != nil {
			return nil, err
		}
		generation, hash := session.NewToken()
		s.Refresh = hash
		g.Refresh, g.Family = family+refreshSeparator+generation, s
		if err := t.PutSession(s); err != nil {
			return nil, err
		}
	} else if gives {
		if g.Token, _, err = issue(store.KindToken); err != nil {
			return nil, err
		}
	}
	return g, a.makeRoom(t, u, issued)
}

// SignInNew signs in who has just signed up as u, by the password that he has chosen, and
// gives him a session but no token. The grant is nil where more is asked for. old ends.
func (a *Accounts) SignInNew(ctx context.Context, u *store.User, client Client, old *store.Session) (grant *session.Grant, err error) {
	client.sessionAlone = true
	err = a.Update(ctx, func(t *Txn) error {
		grant = nil
		now, err := t.User(u.ID)
		if err != nil {
			return userNotFound(err)
		}
		if now.PasswordHash != u.PasswordHash || !letsBegin(now) || a.asks(now, MethodPassword) != nil {
			return nil
		}
		grant, err = a.letIn(t, now, client, old, MethodPassword)
		return err
	})
	return grant, err
}

// renewSession gives a session a new token; its lifetime goes on.
func (a *Accounts) renewSession(t *Txn, s *store.Session) (*session.Grant, error) {
	token, hash := a.Sessions.NewToken(a.Time())
	renewed := *s
	renewed.Hash = hash
	if err := t.PutSession(&renewed); err != nil {
		return nil, err
	}
	return &session.Grant{Cookie: token, Session: &renewed}, t.endSession(s.Hash)
}

// endSession ends a session or token; one that has ended already is no error.
func (t *Txn) endSession(hash store.TokenHash) error {
	t.ended++
	if err := t.DeleteSession(hash); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// EndSessions ends every session and token of an account, those for programs too, but
// keep's; the caller has to put u. Where the sign-ins are too many for one transaction it raises the epochs of u, which ends them all
// the same (raised), and the records go later.
func (t *Txn) EndSessions(u *store.User, keep *store.TokenHash) error {
	u.ProgramTokens = nil
	return t.endSignIns(u, keep)
}

// endSignIns is EndSessions, but leaves the tokens for programs.
func (t *Txn) endSignIns(u *store.User, keep *store.TokenHash) error {
	return t.endAll(u, keep, store.KindSession, store.KindToken, store.KindRefresh)
}

// endTokens ends the API tokens and refresh tokens of an account, and reports
// whether there were any. The caller has to put u where its epoch was raised.
func (t *Txn) endTokens(u *store.User) (found bool, err error) {
	before := t.ended
	err = t.endAll(u, nil, store.KindToken, store.KindRefresh)
	return t.raised() || t.ended > before, err
}

// raised reports whether the act has raised an epoch.
func (t *Txn) raised() bool { return len(t.left) > 0 }

func (t *Txn) endAll(u *store.User, keep *store.TokenHash, kinds ...store.SessionKind) error {
	all, err := t.Sessions(u.ID, session.SessionChunk)
	if err != nil {
		return err
	}
	for _, s := range all {
		if !slices.Contains(kinds, s.Kind) || keep != nil && s.Hash == *keep {
			continue
		}
		if err := t.endSession(s.Hash); err != nil {
			return err
		}
	}
	if len(all) < session.SessionChunk {
		return nil
	}
	if slices.Contains(kinds, store.KindSession) {
		u.SessionEpoch++
	}
	u.TokenEpoch++
	t.left = append(t.left, u.ID)
	if keep == nil {
		return nil
	}
	kept, err := t.Session(*keep)
	if err != nil {
		return err
	}
	kept.Epoch = u.Epoch(kept.Kind)
	return t.PutSession(kept)
}

// endMany ends the sign-ins of an account and removes them, in short
// transactions, if they are too many for one.
func (a *Accounts) endMany(ctx context.Context, id uuid.UUID) error {
	many := false
	err := a.View(ctx, func(tx store.Tx) error {
		some, err := tx.Sessions(id, session.SessionChunk)
		many = len(some) == session.SessionChunk
		return err
	})
	if err != nil || !many {
		return err
	}
	err = a.Update(ctx, func(t *Txn) error {
		u, err := t.User(id)
		if err != nil {
			return userNotFound(err)
		}
		if err := t.EndSessions(u, nil); err != nil || !t.raised() {
			return err
		}
		return a.PutUser(t, u)
	})
	if err == nil {
		_, err = a.Sessions.EndLeft(ctx, session.Leftover{User: id}, a.Now)
	}
	return StoreError(err)
}

// makeRoom ends the sign-ins of an account beyond the number that it may have,
// the least recently used ones. issued are those of this very act, which stay.
func (a *Accounts) makeRoom(t *Txn, u *store.User, issued []store.TokenHash) error {
	limit := a.Policy.Session.Max
	chunk := 2*limit + session.SessionChunk
	all, err := t.Sessions(u.ID, chunk)
	if err != nil || len(all) <= limit {
		return err
	}
	for _, hash := range a.Sessions.Surplus(all, u, limit, issued, a.Now()) {
		if err := t.endSession(hash); err != nil {
			return err
		}
	}
	if len(all) == chunk { // an account from before there was a limit
		t.left = append(t.left, u.ID)
	}
	return nil
}

// addAccessToken completes what a sign-in hands out, after its transaction:
// signing may have to read the store.
func (a *Accounts) addAccessToken(ctx context.Context, u *store.User, g *session.Grant) (err error) {
	if g == nil || g.Family == nil {
		return nil
	}
	if g.Token, g.Expires, err = a.Access.Sign(ctx, a.Now(), u, g.Family); err != nil {
		return StoreError(err)
	}
	return nil
}

// ByToken returns who an API token or access token belongs to, or ErrNotFound.
// A JWT alone is not enough: the sign-in that it names must still be there, so
// a revocation counts at the very next request.
func (a *Accounts) ByToken(ctx context.Context, token string, now time.Time, idle time.Duration) (session.Principal, error) {
	if a.Access == nil || strings.Count(token, ".") != 2 {
		return a.Sessions.Lookup(ctx, token, store.KindToken, now, idle)
	}
	user, sess, err := a.Access.Verify(ctx, now, token)
	if err != nil {
		return session.Principal{}, err
	}
	p, err := a.Sessions.LookupHash(ctx, sess, store.KindRefresh, now, idle)
	if err == nil && p.User.ID != user {
		return session.Principal{}, store.ErrNotFound
	}
	return p, err
}

// refreshSeparator stands between the two halves of a refresh token: the secret
// name of the family, which stays, and that of the generation.
const refreshSeparator = "."

// RefreshGrace is how long the token before the present one is refused without
// ending its family. Two tabs of one browser that refresh at once, or a request
// that a network repeats, are no theft; the one who comes second gets nothing
// either way. Whoever comes with it later has kept a token that its owner has
// exchanged, or its owner has lost it to somebody: the family ends.
const RefreshGrace = 10 * time.Second

// Refresh exchanges a refresh token for the next one and a new access token.
// A token that was exchanged before ends the sign-in that it belongs to (RFC
// 9700, 4.14.2), with CodeTokenReused; within the grace it is
// CodeRefreshConflict. Of any number of callers with one token, one succeeds.
func (a *Accounts) Refresh(ctx context.Context, in field.Input) (*store.User, *session.Grant, error) {
	var errs refusal.FieldErrors
	text := in.Required(ParamRefreshToken, &errs)
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	family, generation, _ := strings.Cut(text, refreshSeparator)
	hash, ok := session.HashToken(family)
	given, ok2 := session.HashToken(generation)
	if !ok || !ok2 {
		return nil, nil, refusal.New(refusal.CodeTokenInvalid)
	}
	idle := a.Policy.Session.Idle
	p, err := a.Sessions.LookupHash(ctx, hash, store.KindRefresh, a.Now(), idle)
	if err != nil {
		return nil, nil, tokenInvalid(err)
	}
	next, nextHash := session.NewToken()
	var g *session.Grant
	var u *store.User
	reused := false
	err = a.Update(ctx, func(t *Txn) error {
		g, reused = nil, false
		s, err := t.Session(hash)
		if err != nil {
			return tokenInvalid(err)
		}
		if u, err = t.User(s.User); err != nil {
			return tokenInvalid(err)
		}
		now := a.Time()
		switch {
		case !u.IsActive || !now.Before(s.Expires):
			return refusal.New(refusal.CodeTokenInvalid)
		case given == s.Refresh:
			s.Previous, s.Refresh, s.Rotated, s.LastUsed = s.Refresh, nextHash, now, now
			g = &session.Grant{Refresh: family + refreshSeparator + next, Family: s}
			return t.PutSession(s)
		case given == s.Previous && now.Sub(s.Rotated) < RefreshGrace && s.Rotated.Sub(now) < sign.MaxClockSkew:
			return &refusal.Error{Code: refusal.CodeRefreshConflict, RetryAfter: RefreshGrace}
		}
		reused = true
		return errors.Join(t.endSession(hash), t.Audit(audit.TokenReused, u.ID))
	})
	if err == nil && reused {
		err = refusal.New(refusal.CodeTokenReused)
	}
	if err == nil {
		err = a.addAccessToken(ctx, u, g)
	}
	if err != nil {
		return p.User, nil, err
	}
	return u, g, nil
}

// ParamRefreshToken is the field of the refresh token, in and out.
const ParamRefreshToken = "refresh_token"

func tokenInvalid(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return refusal.New(refusal.CodeTokenInvalid)
	}
	return StoreError(err)
}
