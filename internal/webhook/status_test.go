// status_test.go: how endpoints do, and what owners do about one that fails.

package webhook_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
	"github.com/seed-928992b0/caddy-registration/store"
)

func (b *bench) only(s *webhook.Sender) webhook.Status {
	b.t.Helper()
	all, err := s.Statuses(b.t.Context())
	require.NoError(b.t, err)
	require.Len(b.t, all, 1)
	return all[0]
}

// steps takes so many steps.
func (b *bench) steps(step func(context.Context) (time.Duration, error), n int) {
	b.t.Helper()
	for range n {
		_, err := step(b.t.Context())
		require.NoError(b.t, err)
	}
}

// written is a sender whose acts are recorded.
func (b *bench) written(url string) *webhook.Sender {
	s := b.sender(b.endpoint(url))
	s.Journal = &audit.Journal{Realm: "default", Keep: time.Hour, Log: b.log, Now: b.clock}
	return s
}

func TestHowAnEndpointDoes(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.written(r.URL + "/a/secret/path?and=a-query")
	step := webhook.Steps(s)
	got := b.only(s)
	require.Len(t, got.ID, 8)
	require.Equal(t, r.URL+"/…", got.URL, "neither path nor query is shown")
	require.Equal(t, webhook.StateWorks, got.State)
	require.Zero(t, got.Told)
	require.False(t, s.Ill(t.Context()))

	r.answers(status(500))
	b.act("one")
	b.act("two")
	b.steps(step, 1)
	got = b.only(s)
	require.Equal(t, webhook.StateFailing, got.State)
	require.Equal(t, 2, got.Waiting)
	require.Equal(t, "it answered 500", got.Words)
	require.Equal(t, b.clock().UTC(), got.Missed.UTC())
	require.True(t, got.NextTry.After(b.clock()))
	require.Equal(t, b.clock().UTC(), got.Oldest.UTC())
	require.True(t, s.Ill(t.Context()))

	r.answers(nil)
	b.travel(time.Hour)
	b.steps(step, 2)
	got = b.only(s)
	require.Equal(t, webhook.StateWorks, got.State)
	require.Zero(t, got.Waiting)
	require.Equal(t, "it answered 500", got.Words, "the last failure is told still")
	require.True(t, got.Told.After(got.Missed))
	require.False(t, s.Ill(t.Context()))
}

// Only so many rows are looked at.
func TestHowFarBehind(t *testing.T) {
	b := newBench(t)
	s := b.written("https://example.com/")
	require.Equal(t, "https://example.com/", b.only(s).URL)
	require.NoError(t, b.db.Update(t.Context(), func(tx store.Tx) error {
		for range webhook.MaxLooked + 100 {
			if err := tx.AddAudit(&store.Audit{At: b.clock().UTC(), Event: "signed_in", Actor: "system"}); err != nil {
				return err
			}
		}
		return nil
	}))
	got := b.only(s)
	require.True(t, got.More)
	require.Equal(t, webhook.MaxLooked, got.Waiting)
}

// What is put off is tried at once, also by the worker that waits for it.
func TestRetryNow(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.written(r.URL)
	r.answers(status(500))
	b.act("one")
	b.run(s)
	b.eventually(func() bool { return b.only(s).State == webhook.StateFailing })
	r.answers(nil)
	s.Notify() // a new row is no reason to try again
	got, err := s.Do(t.Context(), webhook.Retry, b.only(s).ID)
	require.NoError(t, err)
	require.Equal(t, 1, got.Waiting)
	b.eventually(func() bool { return r.events() == "one one webhook_retried" })
	b.eventually(func() bool { return b.only(s).State == webhook.StateWorks })
}

// A message that was refused comes again at once, too.
func TestRetryWhatWasRefused(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.written(r.URL)
	step := webhook.Steps(s)
	r.answers(status(422))
	b.act("one")
	b.steps(step, 2)
	require.Equal(t, "one", r.events())
	got := b.only(s)
	require.Equal(t, []int{1, 1}, []int{got.Waiting, got.Refused})
	require.Equal(t, "it answered 422", got.Words)
	require.True(t, got.NextTry.After(b.clock()))
	r.answers(nil)
	_, err := s.Do(t.Context(), webhook.Retry, got.ID)
	require.NoError(t, err)
	b.steps(step, 2)
	require.Equal(t, "one one webhook_retried", r.events())
}

func TestEnable(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.written(r.URL)
	step := webhook.Steps(s)
	id := b.only(s).ID
	_, err := s.Do(t.Context(), webhook.Enable, id)
	require.ErrorIs(t, err, webhook.ErrWorks)
	r.answers(status(410))
	b.act("one")
	b.steps(step, 2)
	got := b.only(s)
	require.Equal(t, webhook.StateOff, got.State)
	require.Equal(t, "it wants no more (410)", got.Words)
	require.True(t, s.Ill(t.Context()))
	for _, act := range []webhook.Act{webhook.Retry, webhook.Skip} {
		_, err = s.Do(t.Context(), act, id)
		require.ErrorIs(t, err, webhook.ErrOff)
	}
	b.act("two")
	r.answers(nil)
	got, err = s.Do(t.Context(), webhook.Enable, id)
	require.NoError(t, err)
	require.Equal(t, webhook.StateWorks, got.State)
	b.act("three")
	b.steps(step, 2)
	require.Equal(t, "one webhook_enabled three", r.events(), "what happened meanwhile is not told")
	_, err = s.Do(t.Context(), webhook.Enable, "another")
	require.ErrorIs(t, err, webhook.ErrUnknown)
}

func TestSkip(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.written(r.URL)
	step := webhook.Steps(s)
	r.answers(status(422))
	b.act("one")
	b.steps(step, 1)
	r.answers(status(500))
	b.act("two")
	b.act("three")
	b.steps(step, 1)
	got, err := s.Do(t.Context(), webhook.Skip, b.only(s).ID)
	require.NoError(t, err)
	require.Zero(t, got.Waiting)
	require.Equal(t, webhook.StateWorks, got.State)
	r.answers(nil)
	b.act("four")
	b.steps(step, 3)
	require.Equal(t, "one two webhook_skipped four", r.events())
}

// What an owner does while a message is under way is not undone by its end.
func TestAnActMeanwhile(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.written(r.URL)
	step := webhook.Steps(s)
	id := b.only(s).ID
	for range 5 {
		b.act("one")
	}
	r.answers(func(w http.ResponseWriter, _ *http.Request) {
		r.answers(status(500))
		_, err := s.Do(context.Background(), webhook.Skip, id)
		if err != nil {
			w.WriteHeader(500)
		}
	})
	b.steps(step, 1)
	require.Equal(t, "one", r.events(), "the others are not told any more")
	r.answers(nil)
	b.steps(step, 2)
	require.Equal(t, "one webhook_skipped", r.events())
	require.Equal(t, webhook.StateWorks, b.only(s).State)
}

// A worker that knows an endpoint from before another one was told 410, or has failed, asks
// nobody: what the other has learnt is kept.
func TestWhatAnotherWorkerHasLearnt(t *testing.T) {
	for code, state := range map[int]string{410: webhook.StateOff, 500: webhook.StateFailing} {
		b, r := newBench(t), newReceiver(t)
		s := b.written(r.URL)
		one, two := webhook.Steps(s), webhook.Steps(b.written(r.URL))
		b.act("one")
		b.steps(one, 1)
		b.steps(two, 1) // both know the place
		r.answers(status(code))
		b.act("two")
		b.steps(one, 1)
		b.steps(two, 3)
		require.Equal(t, "one two", r.events(), state)
		require.Equal(t, state, b.only(s).State)
		if code == 500 {
			r.answers(nil)
			b.travel(time.Hour)
			b.steps(two, 2)
			require.True(t, strings.HasSuffix(r.events(), " two"))
		}
	}
}

// An owner's act on a store that fails is done or not.
func TestActsOnAStoreThatFails(t *testing.T) {
	for n := 0; ; n++ {
		b := newBench(t)
		e := b.endpoint("https://example.com/")
		b.enter(e)
		failing := &failingStore{Store: b.db, left: n}
		s := webhook.NewSender(webhook.Config{Realm: "default", Endpoints: []*webhook.Endpoint{e}, Store: failing, Log: b.log, Now: b.clock, Count: func(_, _ string) {}, Journal: &audit.Journal{Log: b.log, Now: b.clock}})
		_, err := s.Do(t.Context(), webhook.Skip, b.only(webhook.NewSender(webhook.Config{Endpoints: s.Endpoints, Store: b.db, Log: b.log})).ID)
		if failing.left >= 0 {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, errOperation)
	}
}
