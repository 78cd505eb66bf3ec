// audit_test.go: the record of acts over the admin endpoint: what is chosen of it, and
// who follows it.

package adminapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
	"github.com/seed-928992b0/caddy-registration/store"
)

type auditRow struct {
	Seq                             uint64
	At                              time.Time
	Event, Account, Username, Actor string
	Address, Agent                  string
	Details                         map[string]string
}

// ownerOf answers as Caddy's admin endpoint does; ended is closed when the realm stops.
func ownerOf(s *sitetest.Site, ended chan struct{}) *adminapi.Server {
	return &adminapi.Server{
		Realm: func(name string) *adminapi.Realm {
			if name != "default" {
				return nil
			}
			return &adminapi.Realm{Realm: s.Realm.Realm.Realm, Ended: ended}
		},
		Names: func() []string { return []string{"default"} },
	}
}

// askOwner asks for one operation.
func askOwner(t testing.TB, server *adminapi.Server, method, path, body string) (*httptest.ResponseRecorder, *adminapi.Error) {
	t.Helper()
	rec := httptest.NewRecorder()
	err := server.Serve(rec, httptest.NewRequest(method, "/registration/"+path, strings.NewReader(body)))
	if err == nil {
		return rec, nil
	}
	refused := (*adminapi.Error)(nil)
	require.ErrorAs(t, err, &refused)
	return rec, refused
}

func readAudits(t testing.TB, text string) (rows []auditRow) {
	t.Helper()
	for line := range strings.Lines(text) {
		var row auditRow
		require.NoError(t, json.Unmarshal([]byte(line), &row), line)
		rows = append(rows, row)
	}
	return rows
}

// addAudits writes n rows, one a minute, of two accounts by turns.
func addAudits(t testing.TB, s *sitetest.Site, n int, accounts ...uuid.UUID) {
	t.Helper()
	begin := s.Realm.Now().Add(-time.Duration(n) * time.Minute).UTC().Truncate(time.Second)
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for i := range n {
			row := &store.Audit{At: begin.Add(time.Duration(i) * time.Minute), Event: "signed_in", Details: map[string]string{"n": strconv.Itoa(i)}}
			if len(accounts) > 0 {
				row.Account = accounts[i%len(accounts)]
				row.Actor = row.Account.String()
			}
			if err := tx.AddAudit(row); err != nil {
				return err
			}
		}
		return nil
	}))
}

func TestAuditRoute(t *testing.T) {
	s := sitetest.New(t)
	ada, gone := uuid.MustParse(s.Member("ada")), uuid.Must(uuid.NewV7())
	server := ownerOf(s, nil)
	const n = 450
	addAudits(t, s, n, ada, gone)
	ask := func(query url.Values) ([]auditRow, string) {
		t.Helper()
		rec, refused := askOwner(t, server, http.MethodGet, "default/audit?"+query.Encode(), "")
		require.Nil(t, refused, query.Encode())
		require.Equal(t, "application/x-ndjson", rec.Header().Get("Content-Type"))
		return readAudits(t, rec.Body.String()), rec.Header().Get("Next-After")
	}
	all, next := ask(nil)
	require.Len(t, all, n+2, "all, and those of the sign-up")
	require.Empty(t, next)
	require.Equal(t, []string{"account_registered", "account_verified"}, []string{all[0].Event, all[1].Event})
	require.Equal(t, "ada", all[2].Username)
	require.Equal(t, ada.String(), all[2].Actor)
	require.Empty(t, all[3].Username, "an account that is gone has its id alone")
	require.Equal(t, gone.String(), all[3].Account)
	require.Equal(t, map[string]string{"n": "1"}, all[3].Details)

	last, next := ask(url.Values{"limit": {"3"}})
	require.Equal(t, all[n-1:], last, "the last ones, the newest last")
	require.Empty(t, next)
	last, _ = ask(url.Values{"limit": {"401"}, "account": {"ada"}})
	require.Len(t, last, n/2+2)
	last, _ = ask(url.Values{"limit": {"2"}, "account": {gone.String()}})
	require.Equal(t, []auditRow{all[n-1], all[n+1]}, last)
	last, _ = ask(url.Values{"event": {"account_verified"}, "account": {ada.String()}})
	require.Equal(t, all[1:2], last)
	last, _ = ask(url.Values{"event": {"mail_failed"}})
	require.Empty(t, last)

	var paged []auditRow
	pages := 0
	for after := "0"; after != ""; pages++ {
		var page []auditRow
		page, after = ask(url.Values{"limit": {"226"}, "after": {after}})
		paged = append(paged, page...)
	}
	require.Equal(t, all, paged)
	require.Equal(t, 2, pages, "the last one is full, and says that it is the last")
	rest, _ := ask(url.Values{"after": {strconv.FormatUint(all[n].Seq, 10)}})
	require.Equal(t, all[n+1:], rest)

	for since, want := range map[string]int{
		"90m": 90, "1d": n, "0s": 0, s.Realm.Now().Add(-time.Hour).Format(time.RFC3339): 60, "2020-02-29": n + 2, "99999999d": n + 2,
	} {
		rows, _ := ask(url.Values{"since": {since}})
		kept := 0
		for _, row := range rows { // of those that the sign-up left just now it doesn't matter
			if row.Event == "signed_in" || want == n+2 {
				kept++
			}
		}
		require.InDelta(t, want, kept, 1, since)
	}
}

func TestAuditRouteRefuses(t *testing.T) {
	s := sitetest.New(t)
	server := ownerOf(s, nil)
	for query, part := range map[string]string{
		"limit=0": "limit is", "limit=-1": "limit is", "limit=x": "limit is", "after=": "after is", "after=-1": "after is", "after=x": "after is",
		"event=signed": `event is "signed"; there is account_registered, `, "since=soon": "since is", "since=-1h": "since is", "since=d": "since is", "since=2026-13-01": "since is",
		"follow=yes": "follow is", "page=2": "what it can say is ?limit= or ?after=", "limit=1&limit=2": "twice",
	} {
		_, refused := askOwner(t, server, http.MethodGet, "default/audit?"+query, "")
		require.NotNil(t, refused, query)
		require.Equal(t, http.StatusBadRequest, refused.Status, query)
		require.Contains(t, refused.Message, part)
	}
	_, refused := askOwner(t, server, http.MethodGet, "default/audit?account=nobody", "")
	require.Equal(t, http.StatusNotFound, refused.Status)
	require.Equal(t, "there is no account nobody (user_not_found)", refused.Message)
	_, refused = askOwner(t, server, http.MethodPost, "default/audit", "")
	require.Equal(t, http.StatusMethodNotAllowed, refused.Status)
	server.Offline = true
	_, refused = askOwner(t, server, http.MethodGet, "default/audit?follow=1", "")
	require.Equal(t, http.StatusConflict, refused.Status)
	require.Contains(t, refused.Message, "no server runs")
}

// Whoever answers to two accounts is not guessed.
func TestAuditOfAnAmbiguousName(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutUser(&store.User{ID: uuid.Must(uuid.NewV7()), Username: id}, []store.Key{{Field: "username", Value: id}})
	}))
	_, refused := askOwner(t, ownerOf(s, nil), http.MethodGet, "default/audit?account="+id, "")
	require.NotNil(t, refused)
	require.Equal(t, http.StatusConflict, refused.Status)
}

// follower reads what a follower is sent.
type follower struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Reader
}

func follow(t *testing.T, server *adminapi.Server, query string) *follower {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := server.Serve(w, req); err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
		}
	}))
	t.Cleanup(site.Close) // which waits for the answer
	res, err := http.Get(site.URL + "/registration/default/audit?follow=1" + query)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	require.Equal(t, http.StatusOK, res.StatusCode)
	return &follower{t, res, bufio.NewReader(res.Body)}
}

func (f *follower) next() auditRow {
	f.t.Helper()
	line, err := f.lines.ReadString('\n')
	require.NoError(f.t, err)
	return readAudits(f.t, line)[0]
}

func TestAuditIsFollowed(t *testing.T) {
	s := sitetest.New(t)
	ada := uuid.MustParse(s.Member("ada"))
	s.Member("grace")
	ended := make(chan struct{})
	server := ownerOf(s, ended)
	all, of, tail, none := follow(t, server, ""), follow(t, server, "&account=ada&event=signed_in"), follow(t, server, "&limit=1"), follow(t, server, "&event=mail_failed")
	for range 2 {
		require.Equal(t, "account_registered", all.next().Event)
		require.Equal(t, "account_verified", all.next().Event)
	}
	require.Equal(t, "grace", tail.next().Username)
	addAudits(t, s, 300, ada, uuid.Nil)
	for i := range 300 {
		want := strconv.Itoa(i)
		require.Equal(t, want, all.next().Details["n"])
		require.Equal(t, want, tail.next().Details["n"])
		if i%2 == 0 {
			require.Equal(t, want, of.next().Details["n"])
		}
	}
	s.SignedIn("ada")
	require.Equal(t, "session", of.next().Details["gives"])
	require.Equal(t, "session", all.next().Details["gives"])
	close(ended)
	for _, f := range []*follower{all, of, none} {
		_, err := f.lines.ReadString('\n')
		require.EqualError(t, err, "EOF", "it ends in peace")
	}
}

// A client that doesn't read holds up nobody, and what it left unread is not in memory.
func TestAuditIsFollowedByOneWhoSleeps(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	f := follow(t, ownerOf(s, nil), "")
	for range 20 {
		addAudits(t, s, 2000)
	}
	s.SignedIn("ada")
	for range 2 {
		f.next()
	}
	for i := range 40_000 {
		require.Equal(t, strconv.Itoa(i%2000), f.next().Details["n"])
	}
	require.Equal(t, "signed_in", f.next().Event)
	require.NoError(t, f.res.Body.Close(), "and its end is its client's")
}

// A store that fails on the way doesn't make a short list look like a whole one, but
// where the end was meant.
func TestAuditOfAFailingStore(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	addAudits(t, s, 500)
	real := s.Accounts.Store
	failing := &failingStore{Store: real, err: errors.New("the disk fails")}
	s.Accounts.Store = failing
	_, refused := askOwner(t, ownerOf(s, nil), http.MethodGet, "default/audit", "")
	require.NotNil(t, refused, "what fails at once is said")
	require.Equal(t, http.StatusServiceUnavailable, refused.Status)
	for _, query := range []string{"default/audit", "default/audit?after=0&limit=400"} {
		failing.after = 3
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { _, _ = askOwner(t, ownerOf(s, nil), http.MethodGet, query, "") }, query)
	}
	failing.after = 1
	_, refused = askOwner(t, ownerOf(s, nil), http.MethodGet, "default/audit?after=0&limit=400", "")
	require.NotNil(t, refused)
	ended := make(chan struct{})
	close(ended)
	failing.after = 2
	_, refused = askOwner(t, ownerOf(s, ended), http.MethodGet, "default/audit?follow=1", "")
	require.Nil(t, refused, "the store was closed with its realm")
	failing.after = 2
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, ownerOf(s, nil).Serve(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/registration/default/audit?follow=1", nil)))
	failing.after = 100
	require.NoError(t, ownerOf(s, nil).Serve(&brokenWriter{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/registration/default/audit?follow=1", nil)), "the client has gone")
}

// failingStore fails to read after some times.
type failingStore struct {
	store.Store
	after int
	err   error
}

func (s *failingStore) View(ctx context.Context, fn func(store.Tx) error) error {
	if s.after--; s.after < 0 {
		return s.err
	}
	return s.Store.View(context.WithoutCancel(ctx), fn)
}

// brokenWriter is a client that has gone.
type brokenWriter struct{ *httptest.ResponseRecorder }

func (*brokenWriter) Write([]byte) (int, error) { return 0, fmt.Errorf("broken pipe") }
