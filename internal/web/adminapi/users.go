// users.go: accounts: all of them, one, its change and its end.

package adminapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

var userOperations = []Operation{
	{
		Method: http.MethodGet, Path: "{realm}/users", Summary: "Accounts, a JSON object a line, in order of id, or of what search finds; where limit left some out, the header " + nextAfter + " has what after takes",
		Query: []Parameter{
			{"limit", "How many, at most: from 1 to " + strconv.Itoa(maxPage)},
			{"after", "The id behind which to begin; with search, what " + nextAfter + " said"},
			{"search", "The beginning of a username, an e-mail address, a first name with the last one behind it, or a last name, in any case"},
			{"state", strings.Join(account.States, ", ")},
			{"group", "Members of this group"},
			{"hash_format", "The format of the password's hash: " + strings.Join(password.Formats(), ", ") + ", or none"},
		}, Do: listUsers,
	},
	{Method: http.MethodGet, Path: "{realm}/users/{account}", Summary: "One account", Do: showUser},
	{Method: http.MethodPatch, Path: "{realm}/users/{account}", Summary: "Changes what only an owner may change", Do: changeUser},
	{Method: http.MethodDelete, Path: "{realm}/users/{account}", Summary: "Removes an account for good", Do: deleteUser},
}

// shown is an account as an owner sees it.
func shown(a *account.Accounts, u *store.User) web.Object { return web.AccountShown(a, u) }

func showUser(c *Call) (any, error) { return shown(c.Accounts, c.User), nil }

func changeUser(c *Call) (any, error) {
	change, err := readChange(http.MaxBytesReader(c.W, c.Req.Body, web.MaxBody))
	if err != nil {
		return nil, errorf(http.StatusBadRequest, `the body is {"is_active": true, "is_staff": false, "groups": ["…"]} and added fields by name, each of them optional: %v`, err)
	}
	u, err := c.Accounts.Administer(c.Context(), c.User.ID, change)
	if err != nil {
		return nil, err
	}
	return shown(c.Accounts, u), nil
}

func deleteUser(c *Call) (any, error) { return nil, c.Accounts.Delete(c.Context(), c.User.ID) }

// readChange reads the body of a PATCH. That a field exists, and that its value is
// good, is for Administer to say.
func readChange(body io.Reader) (account.AdminChange, error) {
	var change account.AdminChange
	raw, err := io.ReadAll(body)
	if err != nil {
		return change, err
	}
	if err := json.Unmarshal(raw, &change); err != nil {
		return change, err
	}
	in, err := web.DecodeJSON(raw)
	for _, name := range []string{field.IsActive, field.IsStaff, field.Groups} {
		delete(in, name)
	}
	change.Fields = in
	return change, err
}

// nextAfter is the header that says where a list that was cut short goes on.
const nextAfter = "Next-After"

// listBatch is how many accounts are read in one transaction, so that a list of a
// million holds back no writer's pages.
const listBatch = 500

// maxPage bounds limit: a page is in memory as a whole before it is sent.
const maxPage = 10_000

// A listing is what is asked of the list.
type listing struct {
	limit  int // 0: all
	after  string
	filter account.Filter
}

func (c *Call) readListing() (l listing, err error) {
	if text := c.Query.Get("limit"); text != "" {
		if l.limit, err = strconv.Atoi(text); err != nil || l.limit < 1 || l.limit > maxPage {
			return l, errorf(http.StatusBadRequest, "limit is %q; write a number from 1 to %d, or leave it out for all accounts", text, maxPage)
		}
	}
	l.after = c.Query.Get("after")
	l.filter = account.Filter{Search: c.Query.Get("search"), State: c.Query.Get("state"), Group: c.Query.Get("group"), HashFormat: c.Query.Get("hash_format")}
	if err := l.filter.Check(); err != nil {
		return l, errorf(http.StatusBadRequest, "%v", err)
	}
	return l, nil
}

// next reads some of the accounts, and goes on behind them; done: there are no more.
func (c *Call) next(l *listing, limit int) (users []*store.User, done bool, err error) {
	page, err := c.Accounts.List(c.Context(), l.filter, l.after, limit)
	if errors.Is(err, store.ErrNotFound) {
		return nil, true, errorf(http.StatusBadRequest, "after is %q; write what the header %s of the page before said, for the same search", l.after, nextAfter)
	}
	l.after = page.Next
	return page.Users, page.Next == "", err
}

// listUsers writes accounts, one JSON object a line (NDJSON), in order of id. Who
// signs up or changes meanwhile may be in it or not, each as a whole. If the store
// fails on the way, the connection is cut: a short list must not look like a whole
// one.
func listUsers(c *Call) (any, error) {
	l, err := c.readListing()
	if err != nil {
		return nil, err
	}
	if l.limit > 0 {
		return answered, c.listPage(l)
	}
	for begun := false; ; begun = true {
		batch, done, err := c.next(&l, listBatch)
		switch {
		case err != nil && !begun:
			return nil, err
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		if !begun {
			c.beginLines()
		}
		if err := c.writeLines(batch); err != nil || done {
			return answered, nil //nolint:nilerr // the client has gone
		}
	}
}

// listPage writes one page: it is whole before its header is sent.
func (c *Call) listPage(l listing) error {
	var page []*store.User
	for done := false; !done && len(page) < l.limit; {
		batch, end, err := c.next(&l, min(l.limit-len(page), listBatch))
		if err != nil {
			return err
		}
		page, done = append(page, batch...), end
	}
	if l.after != "" {
		c.W.Header().Set(nextAfter, l.after)
	}
	c.beginLines()
	_ = c.writeLines(page) // the client has gone
	return nil
}

func (c *Call) beginLines() {
	c.W.Header().Set("Content-Type", "application/x-ndjson")
	c.W.Header().Set("Cache-Control", "no-store")
}

func (c *Call) writeLines(users []*store.User) error {
	for _, u := range users {
		line, err := json.Marshal(shown(c.Accounts, u))
		if err != nil {
			return err
		}
		if _, err := c.W.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}
