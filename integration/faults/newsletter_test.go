// newsletter_test.go: a thousand people sign up in one second, as after a link in a
// newsletter: far more than the machine can hash.

package faults_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/store"
)

// newsletterSite has the default throttles and hash, behind a proxy that tells who asks,
// and a real mail server.
var newsletterSite = bySMTP.Replace(floodSite)

// readers are the answers to them.
type readers struct {
	mu          sync.Mutex
	in, waited  []time.Duration // those who got in, from their first try on; and those who were told to wait, how soon
	other       []string
	most        int // tries of one
	withoutWhen int // told to wait, and not for how long
}

// person signs up, and comes again when he was told to, as a patient one does.
func (all *readers) person(s *served.Server, transport http.RoundTripper, i int, until time.Time) {
	client := &http.Client{Transport: transport, Timeout: served.Patience}
	body, err := json.Marshal(served.Newcomer(reader(i)))
	if err != nil {
		panic(err)
	}
	began := time.Now()
	for try := 1; ; try++ {
		req, err := http.NewRequest(http.MethodPost, s.Base()+"/accounts/register", bytes.NewReader(body))
		if err != nil {
			panic(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Forwarded-For", fmt.Sprintf("%d.%d.%d.%d", 11+i%89, i%199, i%241, 1+i%251))
		asked := time.Now()
		res, err := client.Do(req)
		if err != nil {
			all.failed("%s: %v", reader(i), err)
			return
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		all.mu.Lock()
		all.most = max(all.most, try)
		switch res.StatusCode {
		case http.StatusCreated:
			all.in = append(all.in, time.Since(began))
			all.mu.Unlock()
			return
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			all.waited = append(all.waited, time.Since(asked))
		default:
			all.mu.Unlock()
			all.failed("%s: %s %s", reader(i), res.Status, text)
			return
		}
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			all.withoutWhen++
			seconds = 1
		}
		all.mu.Unlock()
		if time.Now().After(until) {
			all.failed("%s is not in after %d tries: %s %s", reader(i), try, res.Status, text)
			return
		}
		time.Sleep(time.Duration(seconds) * time.Second)
	}
}

func (all *readers) failed(format string, args ...any) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.other = append(all.other, fmt.Sprintf(format, args...))
}

func reader(i int) string { return fmt.Sprintf("reader%d", i) }

func TestFaultNewsletter(t *testing.T) {
	needsLinux(t)
	people, rounds := lengths(200, 1000), lengths(1, 3)
	m := served.NewMailServer(t).Listen()
	s := runWithMail(t, m, newsletterSite)
	c := mailedMember(s, m, "ada")
	guarded := probe{URL: s.Base() + "/members/", Cookie: c.Cookie(), Every: 5 * time.Millisecond, For: lengths(2*time.Second, 6*time.Second)}
	transport := &http.Transport{DisableKeepAlives: true}
	var all readers
	var idle, control, loaded, took []time.Duration
	var peak int64
	for round := range rounds {
		quiet := guarded.start(t)()
		require.Empty(t, quiet.Failures)
		pressed := guarded.start(t)
		onlookers(s, transport, people)
		alone := pressed()
		require.Empty(t, alone.Failures)
		var crowd sync.WaitGroup
		began := time.Now()
		pressed = guarded.start(t)
		for i := range people {
			crowd.Go(func() {
				time.Sleep(time.Duration(i) * time.Second / time.Duration(people))
				all.person(s, transport, round*people+i, began.Add(2*served.Patience))
			})
		}
		seen := pressed()
		crowd.Wait()
		require.Empty(t, seen.Failures, "guarded pages failed")
		idle, control, loaded = append(idle, quiet.at(0.99)), append(control, alone.at(0.99)), append(loaded, seen.at(0.99))
		took = append(took, time.Since(began))
		now := memory(s, "VmHWM")
		for _, pid := range children(s) { // where it hashes
			now += memoryOf(s, pid, "VmHWM") - memoryOf(s, pid, "RssFile")
		}
		peak = max(peak, now)
		t.Logf("all %d are in after %v; guarded p50 %v -> %v -> %v, p99 %v -> %v -> %v", people, time.Since(began),
			quiet.at(0.5), alone.at(0.5), seen.at(0.5), quiet.at(0.99), alone.at(0.99), seen.at(0.99))
	}
	slices.Sort(all.in)
	slices.Sort(all.waited)
	ratio := float64(median(loaded)) / float64(median(idle))
	t.Logf("they are in after p50 %v, max %v; %d answers to wait (p50 %v, max %v), %d tries of one at most; guarded p99 ratio %.2f; peak %d MB",
		percentile(all.in, 0.5), percentile(all.in, 1), len(all.waited), percentile(all.waited, 0.5), percentile(all.waited, 1), all.most, ratio, peak>>20)

	require.Empty(t, all.other)
	require.Len(t, all.in, rounds*people)
	require.NotEmpty(t, all.waited, "this was no burst")
	require.Zero(t, all.withoutWhen, "told to wait, and not for how long")
	require.Less(t, peak, lengths[int64](400<<20, 300<<20), "resident memory")
	mails := map[string]int{"ada@example.org": 1}
	for i := range rounds * people {
		mails[reader(i)+"@example.org"] = 1
	}
	require.Zero(t, checkMailed(t, m, mails), "mails that came twice")
	s.Stop()
	requireStored(t, s, rounds*people)
	if slowest := percentile(all.waited, 1); long && slowest > time.Second {
		t.Errorf("somebody was told to wait after %v, more than a second", slowest)
	}
	if long && ratio > 3 {
		t.Errorf("guarded pages took %.1f times as long as idle (99th percentile), more than 3", ratio)
	}
	faultResult(t, fmt.Sprintf("a newsletter: %d people sign up within a second, each from an address of his own, and come again when they are told to, %d times", people, rounds),
		"none lost: all are in, with one mail each; who has to wait is told in under a second; memory under 300 MB; guarded p99 at most 3 times idle",
		fmt.Sprintf("%d in, half of them within %s, all of a round within %s; %d answers 503 with `Retry-After`, the slowest after %s, %d tries at most; guarded p99 %s idle, %s while as many people open a page, %s in the first %s: %.1f times; %d MB",
			len(all.in), shortly(percentile(all.in, 0.5)), shortly(median(took)), len(all.waited), shortly(percentile(all.waited, 1)), all.most,
			shortly(median(idle)), shortly(median(control)), shortly(median(loaded)), guarded.For, ratio, peak>>20))
}

// onlookers are as many people who come as those who sign up do, and open a page that costs
// nothing, once more after some seconds.
func onlookers(s *served.Server, transport http.RoundTripper, people int) {
	var crowd sync.WaitGroup
	client := &http.Client{Transport: transport, Timeout: served.Patience}
	for i := range people {
		crowd.Go(func() {
			time.Sleep(time.Duration(i) * time.Second / time.Duration(people))
			for try := range 2 {
				if res, err := client.Get(s.Base() + "/"); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				time.Sleep(time.Duration(1-try) * (2*time.Second + time.Duration(i%7)*time.Second))
			}
		})
	}
	crowd.Wait()
}

// requireStored requires that every reader has an account, in a server that has ended.
func requireStored(t *testing.T, s *served.Server, people int) {
	t.Helper()
	db, done := s.OpenStore()
	defer done()
	require.NoError(t, db.View(t.Context(), func(tx store.Tx) error {
		for i := range people {
			if _, err := tx.UserByKey("username", reader(i)); err != nil {
				return fmt.Errorf("%s: %w", reader(i), err)
			}
		}
		return nil
	}))
}
