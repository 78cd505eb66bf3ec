// sessions.go: GET P/sessions: where an account is signed in.

package signin

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointSessions lists where the account is signed in, the latest used first.
func EndpointSessions(*web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "sessions", Methods: []string{http.MethodGet, http.MethodHead}, SignedIn: true, Act: actSessions,
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Where the account is signed in", Success: http.StatusOK, Answer: web.SchemaSessions,
			Description: "The latest used first, 50 a page. An account has a bounded number of sessions and tokens; beyond it the least recently used ends.",
			InQuery:     true,
			Inputs:      []web.InputDoc{web.NewInput(paramPage, false, web.NewObject("type", "integer", "minimum", 1, "default", 1, "description", "Behind the last page the list is empty."))},
		},
		Form: &web.Form{
			Title: text.Say("page.sessions.title"), Links: []web.FormLink{web.LinkToProfile},
			Complete: func(c *web.Call, d *web.PageData, _ *store.User) error {
				list, more, err := shownSessions(c, true)
				d.Form, d.Sessions = nil, pageSessions(list)
				if len(list) > 1 {
					d.Text = append(d.Text, c.Loc.Text(text.Say("page.sessions.ends_tokens")))
				}
				if more {
					next := c.Realm.Address("/sessions/?") + paramPage + "=" + strconv.Itoa(pageOf(c.Req)+1)
					d.Links = append([]web.PageLink{{Href: next, Text: c.Loc.Text(text.Say("link.more_sessions"))}}, d.Links...)
				}
				return err
			},
		},
	}
}

// sessionShown is one sign-in in an answer.
type sessionShown struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"`
	Created   any      `json:"created"`
	LastUsed  any      `json:"last_used"`
	Expires   any      `json:"expires"`
	Address   string   `json:"address"`
	UserAgent string   `json:"user_agent"`
	AMR       []string `json:"amr"`
	AuthTime  any      `json:"auth_time"`
	Current   bool     `json:"current"`
}

// paramPage is the query parameter with the number of the page of a list.
const paramPage = "page"

// pageOf is the number of the page that a request asks for, from 1. What is no
// such number is the first.
func pageOf(req *http.Request) int {
	n, err := strconv.Atoi(web.QueryOf(req).Get(paramPage))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// shownSessions lists a page of the sign-ins of who asks, and reports whether
// there are more behind it. thisFirst: the one that asks is before the others.
func shownSessions(c *web.Call, thisFirst bool) (list []sessionShown, more bool, err error) {
	all, err := c.ListSessions(c.Req.Context(), *c.Who)
	if err != nil {
		return nil, false, err
	}
	isThis := func(s *store.Session) bool { return s.Hash == c.Who.Session.Hash }
	if at := slices.IndexFunc(all, isThis); thisFirst && at > 0 {
		this := all[at]
		copy(all[1:], all[:at])
		all[0] = this
	}
	// Not a product of what the client chose, which could overflow.
	for n := pageOf(c.Req); n > 1 && len(all) > 0; n-- {
		all = all[min(account.SessionsShown, len(all)):]
	}
	if more = len(all) > account.SessionsShown; more {
		all = all[:account.SessionsShown]
	}
	list = make([]sessionShown, len(all))
	for i, s := range all {
		list[i] = sessionShown{
			ID: s.Hash.PublicID(), Kind: account.SessionKinds[s.Kind], Created: field.TimeValue(s.Created), LastUsed: field.TimeValue(s.LastUsed),
			Expires: field.TimeValue(s.Expires), Address: s.Address, UserAgent: s.UserAgent, AMR: s.Methods(), AuthTime: field.TimeValue(s.ShownAt()), Current: isThis(s),
		}
	}
	return list, more, nil
}

func actSessions(c *web.Call) (*web.Reply, error) {
	list, _, err := shownSessions(c, false)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Body: list, User: c.Who.User}, nil
}

func pageSessions(list []sessionShown) []web.PageSession {
	out := make([]web.PageSession, len(list))
	for i, s := range list {
		created, _ := s.Created.(string)
		used, _ := s.LastUsed.(string)
		out[i] = web.PageSession{ID: s.ID, Kind: s.Kind, Address: s.Address, UserAgent: s.UserAgent, Device: device.Describe(s.UserAgent), Created: created, LastUsed: used, Current: s.Current}
	}
	return out
}
