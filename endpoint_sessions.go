// endpoint_sessions.go: GET P/sessions: where an account is signed in.

package registration

import (
	"net/http"
	"strconv"

	"github.com/mileusna/useragent"
)

func endpointSessions(*webRealm) *endpoint {
	return &endpoint{
		name: "sessions", methods: []string{http.MethodGet, http.MethodHead}, signedIn: true, act: actSessions,
		doc: endpointDoc{
			tag: tagSignIn, summary: "Where the account is signed in", success: http.StatusOK, answer: schemaSessions,
			description: "The latest used first, 50 a page. An account has a bounded number of sessions and tokens; beyond it the least recently used ends.",
			inQuery:     true,
			inputs:      []inputDoc{newInput(paramPage, false, newObject("type", "integer", "minimum", 1, "default", 1, "description", "Behind the last page the list is empty."))},
		},
		form: &form{
			title: say("page.sessions.title"), links: []formLink{linkToProfile},
			complete: func(c *call, d *PageData, _ *User) error {
				list, more, err := shownSessions(c)
				d.Form, d.Sessions = nil, pageSessions(list)
				if more {
					next := c.realm.path + "/sessions/?" + paramPage + "=" + strconv.Itoa(pageOf(c.req)+1)
					d.Links = append([]PageLink{{Href: next, Text: c.loc.text(say("link.more_sessions"))}}, d.Links...)
				}
				return err
			},
		},
	}
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
	n, err := strconv.Atoi(queryOf(req).Get(paramPage))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// shownSessions lists a page of the sign-ins of who asks, and reports whether
// there are more behind it.
func shownSessions(c *call) (list []sessionShown, more bool, err error) {
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
	list, _, err := shownSessions(c)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: list, user: c.who.User}, nil
}

func pageSessions(list []sessionShown) []PageSession {
	out := make([]PageSession, len(list))
	for i, s := range list {
		created, _ := s.Created.(string)
		used, _ := s.LastUsed.(string)
		out[i] = PageSession{ID: s.ID, Kind: s.Kind, Address: s.Address, UserAgent: s.UserAgent, Device: deviceOf(s.UserAgent), Created: created, LastUsed: used, Current: s.Current}
	}
	return out
}

// deviceOf names the program and the system of a User-Agent.
func deviceOf(header string) string {
	ua := useragent.Parse(header)
	switch {
	case ua.Name == "" || ua.OS == "" && ua.Version == "":
		return header
	case ua.OS == "":
		return ua.Name
	}
	return ua.Name + ", " + ua.OS
}
