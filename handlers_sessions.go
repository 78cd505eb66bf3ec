// handlers_sessions.go: the endpoints of sign-ins: their list, how one ends, the
// exchange of refresh tokens, the keys of access tokens.

package registration

import (
	"net/http"
	"strconv"
	"time"
)

// grants takes the tokens of a sign-in into the reply.
func (rep *reply) grants(g *Grant) {
	rep.token, rep.refresh, rep.expires = g.Token, g.Refresh, g.Expires
}

// sessionShown is one sign-in in an answer.
type sessionShown struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Created   any    `json:"created"`
	LastUsed  any    `json:"last_used"`
	Expires   any    `json:"expires"`
	Address   string `json:"address"`
	UserAgent string `json:"user_agent"`
	Current   bool   `json:"current"`
}

// paramPage is the query parameter with the number of the page of a list.
const paramPage = "page"

// pageOf is the number of the page that a request asks for, from 1. What is no
// such number is the first.
func pageOf(req *http.Request) int {
	n, err := strconv.Atoi(req.URL.Query().Get(paramPage))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// shownSessions lists a page of the sign-ins of who asks, and reports whether
// there are more behind it.
func (c *call) shownSessions() (list []sessionShown, more bool, err error) {
	all, err := c.ListSessions(c.req.Context(), *c.who)
	if err != nil {
		return nil, false, err
	}
	// Not a product of what the client chose, which could overflow.
	for n := pageOf(c.req); n > 1 && len(all) > 0; n-- {
		all = all[min(sessionsShown, len(all)):]
	}
	if more = len(all) > sessionsShown; more {
		all = all[:sessionsShown]
	}
	list = make([]sessionShown, len(all))
	for i, s := range all {
		list[i] = sessionShown{
			ID: s.Hash.publicID(), Kind: sessionKinds[s.Kind], Created: timeValue(s.Created), LastUsed: timeValue(s.LastUsed),
			Expires: timeValue(s.Expires), Address: s.Address, UserAgent: s.UserAgent, Current: s.Hash == c.who.Session.Hash,
		}
	}
	return list, more, nil
}

func actSessions(c *call) (*reply, error) {
	list, _, err := c.shownSessions()
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: list, user: c.who.User}, nil
}

func actRevokeSession(c *call) (*reply, error) {
	if c.in.truthy(paramOthers) {
		// A device that was known stays so: it is where the owner is.
		_, known := c.realm.device(c.req, c.signer, c.who.User)
		u, err := c.EndOtherSessions(c.req.Context(), *c.who)
		if err != nil {
			return nil, err
		}
		return &reply{status: http.StatusOK, detail: say("detail.other_sessions_ended"), user: u, knownDevice: known}, nil
	}
	self, err := c.EndSession(c.req.Context(), *c.who, c.in)
	if err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.session_ended"), user: c.who.User}
	if self {
		rep.detail, rep.signedOut = say("detail.logged_out"), c.who.Session.Kind == KindSession
	}
	return rep, nil
}

func actRefreshToken(c *call) (*reply, error) {
	u, grant, err := c.Refresh(c.req.Context(), c.in)
	if err != nil {
		return &reply{user: u}, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.tokens_refreshed"), user: u}
	rep.grants(grant)
	return rep, nil
}

// jwksName is the last part of the address of the keys.
const jwksName = ".well-known/jwks.json"

// jwksMaxAge is how long a backend may keep the keys without asking again. It is
// far less than a key is published before it signs.
const jwksMaxAge = 5 * time.Minute

// serveJWKS publishes the keys that verify access tokens (RFC 7517).
func serveJWKS(w http.ResponseWriter, req *http.Request, r *realm) {
	a := r.accounts.Load()
	if a == nil || a.access == nil {
		r.refuse(w, req, unavailable(nil))
		return
	}
	set, err := a.access.published(req.Context(), r.now())
	if err != nil {
		r.refuse(w, req, unavailable(err))
		return
	}
	maxAge := min(jwksMaxAge, a.access.lead())
	w.Header().Set("Cache-Control", "public, max-age="+strconv.FormatInt(seconds(maxAge), 10))
	writeJSON(w, http.StatusOK, "application/jwk-set+json", set)
}
