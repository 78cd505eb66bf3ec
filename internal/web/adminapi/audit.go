// audit.go: the record of acts, to read, and to follow.

package adminapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

var auditOperations = []Operation{{
	Method: http.MethodGet, Path: "{realm}/audit", Summary: "The record of acts, a JSON object a line, the newest last; where limit left out later rows, the header " + nextAfter + " has the seq to go on behind",
	Query: []Parameter{
		{"limit", "How many rows, at most: the last ones, or, with after, the first ones behind it"},
		{"after", "The seq behind which to begin; 0: at the first row"},
		{"account", "Rows of this account: its id, also where it is gone, or a login"},
		{"event", "Rows of this event"},
		{"since", "Rows from this time on: how long ago (24h, 7d), a date, or a time as in RFC 3339"},
		{"follow", "1: the connection stays open and has what comes; it ends when the server stops or loads a configuration"},
	}, Do: listAudit,
}}

const (
	// followEvery is how often a follower is told what has come. A look without news
	// is one short transaction, and sees what other nodes have written too.
	followEvery = 500 * time.Millisecond
	// auditBatch is how many rows are in memory at once.
	auditBatch = 200
)

// listAudit writes rows of the record. They are read in short transactions, and written
// outside of them: it doesn't matter how slowly the client reads.
func listAudit(c *Call) (any, error) {
	q, limit, err := c.readAuditQuery()
	if err != nil {
		return nil, err
	}
	follow := c.Query.Get("follow") == "1"
	if v := c.Query.Get("follow"); v != "" && !follow {
		return nil, errorf(http.StatusBadRequest, "follow is %q; write 1, or leave it out", v)
	}
	if follow && c.Server.Offline {
		return nil, errorf(http.StatusConflict, "there is nothing to follow, no server runs; start it, or read what is there without follow")
	}
	last, more, err := c.auditBounds(&q, limit)
	if err != nil {
		return nil, err
	}
	if follow {
		last = math.MaxUint64
	} else if more {
		c.W.Header().Set(nextAfter, strconv.FormatUint(last, 10))
	}
	c.beginLines()
	out := http.NewResponseController(c.W)
	_ = out.Flush() // who follows sees that it has begun
	ticks := time.NewTicker(followEvery)
	defer ticks.Stop()
	for {
		page, lines, err := c.auditPage(q, last)
		if err != nil {
			if c.ended() {
				return answered, nil
			}
			panic(http.ErrAbortHandler) // a short list must not look like a whole one
		}
		if _, err := c.W.Write(lines); err != nil {
			return answered, nil //nolint:nilerr // the client has gone
		}
		q.After = page.Next
		if page.More && page.Next < last {
			continue
		}
		if !follow {
			return answered, nil
		}
		if len(lines) > 0 {
			_ = out.Flush()
		}
		select {
		case <-c.Context().Done():
			return answered, nil
		case <-c.Realm.Ended:
			return answered, nil
		case <-ticks.C:
		}
	}
}

// ended reports whether nobody waits for an answer any more, or the realm's
// configuration has stopped.
func (c *Call) ended() bool {
	select {
	case <-c.Context().Done():
	case <-c.Realm.Ended:
	default:
		return false
	}
	return true
}

// auditBounds finds the first and the last row of what is wanted, as it is now:
// q.After is set before the first one. more says that limit left out later ones.
func (c *Call) auditBounds(q *store.AuditQuery, limit int) (last uint64, more bool, err error) {
	newest := *q
	newest.Newest, newest.After = true, 0
	fromEnd := limit > 0 && !c.Query.Has("after")
	wanted := 1
	if fromEnd {
		wanted = limit
	}
	found, first := 0, uint64(0)
	err = c.eachAudit(newest, wanted, func(a *store.Audit) {
		if found++; found == 1 {
			last = a.Seq
		}
		first = a.Seq
	})
	if err != nil || found == 0 {
		return last, false, err
	}
	if fromEnd {
		q.After = first - 1
	}
	if fromEnd || limit == 0 {
		return last, false, nil
	}
	found, newestSeq := 0, last
	err = c.eachAudit(*q, limit, func(a *store.Audit) { found++; last = a.Seq })
	return last, found == limit && last < newestSeq, err
}

// eachAudit goes through rows, at most limit.
func (c *Call) eachAudit(q store.AuditQuery, limit int, tell func(*store.Audit)) error {
	for limit > 0 {
		q.Limit = min(limit, auditBatch)
		page, err := c.Accounts.Audits(c.Context(), q)
		if err != nil {
			return err
		}
		for _, a := range page.Rows {
			tell(a)
		}
		if !page.More {
			return nil
		}
		q.After = page.Next
		limit -= len(page.Rows)
	}
	return nil
}

// auditPage reads a page of rows up to the one with the number last, as lines.
func (c *Call) auditPage(q store.AuditQuery, last uint64) (page store.AuditPage, lines []byte, err error) {
	q.Limit = auditBatch
	names := map[uuid.UUID]string{}
	err = c.Accounts.View(c.Context(), func(tx store.Tx) (err error) {
		if page, err = tx.Audits(q); err != nil {
			return err
		}
		for _, a := range page.Rows {
			if _, known := names[a.Account]; known || a.Account == uuid.Nil {
				continue
			}
			u, err := tx.User(a.Account)
			switch {
			case err == nil:
				names[a.Account] = u.Username
			case errors.Is(err, store.ErrNotFound):
				names[a.Account] = ""
			default:
				return err
			}
		}
		return nil
	})
	if err != nil {
		return page, nil, err
	}
	for _, a := range page.Rows {
		if a.Seq > last {
			break
		}
		line, err := json.Marshal(shownAudit(a, names[a.Account]))
		if err != nil {
			return page, nil, err
		}
		lines = append(append(lines, line...), '\n')
	}
	return page, lines, nil
}

// shownAudit is a row as an owner sees it, with the name that its account has now.
func shownAudit(a *store.Audit, username string) web.Object {
	row := web.NewObject("seq", a.Seq, "at", a.At, "event", a.Event)
	if a.Account != uuid.Nil {
		row = append(row, web.NewObject("account", a.Account)...)
	}
	if username != "" {
		row = append(row, web.NewObject("username", username)...)
	}
	details := a.Details
	if details == nil {
		details = map[string]string{}
	}
	return append(row, web.NewObject("actor", a.Actor, "address", a.Address, "agent", a.Agent, "details", details)...)
}

func (c *Call) readAuditQuery() (q store.AuditQuery, limit int, err error) {
	if text := c.Query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return q, 0, errorf(http.StatusBadRequest, "limit is %q; write a number from 1 on", text)
		}
	}
	if c.Query.Has("after") {
		text := c.Query.Get("after")
		if q.After, err = strconv.ParseUint(text, 10, 64); err != nil {
			return q, 0, errorf(http.StatusBadRequest, "after is %q; write the seq of a row, or 0", text)
		}
	}
	if q.Event = c.Query.Get("event"); q.Event != "" && !slices.ContainsFunc(eventNames(), func(name string) bool { return name == q.Event }) {
		return q, 0, errorf(http.StatusBadRequest, "event is %q; there is %s", q.Event, strings.Join(eventNames(), ", "))
	}
	if q.Since, err = sinceOf(c.Query.Get("since"), c.Realm.Now()); err != nil {
		return q, 0, err
	}
	if text := c.Query.Get("account"); text != "" {
		q.Account, err = c.auditedAccount(text)
	}
	return q, limit, err
}

func eventNames() (names []string) {
	for _, e := range audit.Events {
		names = append(names, string(e.Event))
	}
	return names
}

// auditedAccount finds whose rows are meant. The record outlives accounts.
func (c *Call) auditedAccount(text string) (uuid.UUID, error) {
	u, err := c.Accounts.Lookup(c.Context(), text)
	if err == nil {
		return u.ID, nil
	}
	if web.AsRefusal(err).Code != refusal.CodeUserNotFound {
		return uuid.Nil, err
	}
	if id, ok := store.ParseID(text); ok {
		return id, nil
	}
	return uuid.Nil, noAccount(text)
}

// sinceOf reads a time of the past: how long ago, a date (UTC), or a time.
func sinceOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	ago, err := parseDuration(text)
	if err != nil || ago < 0 {
		return time.Time{}, errorf(http.StatusBadRequest, "since is %q; write how long ago, as 24h or 7d, a date as 2026-11-01, or a time as 2026-11-01T12:00:00Z", text)
	}
	return now.Add(-ago), nil
}
