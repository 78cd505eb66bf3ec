// soak_test.go: a long time of mixed traffic, after which the server is
// no larger than its data explain.

package faults_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// mix counts what the traffic of a soak did.
type mix struct{ reads, accounts, signIns, signOuts, refused atomic.Int64 }

// traffic is one worker: for each sign-up a few sign-ins, half of them signed
// out again, wrong passwords, and many reads. After each step it rests for 3/7
// of the time that it took: 70 % of what the server can do.
func traffic(s *served.Server, name string, end <-chan struct{}, did *mix) error {
	c := s.Client()
	step := func(method, path string, body any, want int, count *atomic.Int64) error {
		begin := time.Now()
		res, err := c.HTTP.Do(c.Request(method, path, body))
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			return fmt.Errorf("%s %s: %s", method, path, res.Status)
		}
		count.Add(1)
		time.Sleep(time.Since(begin) * 3 / 7)
		return nil
	}
	for i := 0; ; i++ {
		select {
		case <-end:
			return nil
		default:
		}
		var err error
		if i%10 == 0 {
			err = step(http.MethodPost, "/accounts/register", served.Newcomer(fmt.Sprintf("%s-%d", name, i)), http.StatusCreated, &did.accounts)
		}
		if err == nil && i%5 == 1 {
			err = step(http.MethodPost, "/accounts/login", data{"login": "ada", "password": "wrong, and long enough"}, http.StatusBadRequest, &did.refused)
		}
		if err == nil {
			err = step(http.MethodPost, "/accounts/login", data{"login": "ada", "password": served.TestPassword}, http.StatusOK, &did.signIns)
		}
		for j := 0; err == nil && j < 100; j++ {
			path := "/members/"
			if j%10 == 0 {
				path = "/accounts/profile"
			}
			err = step(http.MethodGet, path, nil, http.StatusOK, &did.reads)
		}
		// A sign-in over a session ends that one, so half of them end either way.
		if err == nil && i%2 == 0 {
			err = step(http.MethodPost, "/accounts/logout", nil, http.StatusOK, &did.signOuts)
		} else if err == nil {
			c.HTTP.Jar, _ = newJar()
		}
		if err != nil {
			return err
		}
	}
}

func TestFaultSoak(t *testing.T) {
	needsLinux(t)
	s := served.Run(t, costlySite)
	s.Member("ada")
	length := lengths(6*time.Second, 30*time.Minute)
	if testing.Short() {
		length = 3 * time.Second
	}
	var did mix
	end := make(chan struct{})
	var load served.Group
	for worker := range 4 {
		load.Go(func() error { return traffic(s, fmt.Sprintf("soak-%d", worker), end, &did) })
	}
	// The first sixth warms up: caches, pools, the first growth of the file.
	time.Sleep(length / 6)
	records := func() int64 { return did.accounts.Load() + did.signIns.Load() - did.signOuts.Load() }
	first, firstStore, firstRecords := measure(s), storeSize(s), records()
	var middle, last []int64
	const samples = 60
	for i := range samples {
		time.Sleep(length * 5 / 6 / samples)
		now := measure(s)
		if i < samples/2 {
			middle = append(middle, now.rss)
		} else {
			last = append(last, now.rss)
		}
		if long && i%6 == 0 {
			t.Logf("%v, store %d KB, %d records", now, storeSize(s)>>10, records())
		}
	}
	close(end)
	require.NoError(t, load.Wait())
	grown, added := storeSize(s)-firstStore, records()-firstRecords
	// Connections of the clients that have gone end, and with them their goroutines.
	var after size
	settled := served.Eventually(func() bool {
		after = measure(s)
		return after.goroutines <= first.goroutines+5 && after.descriptors <= first.descriptors+2
	}, 500*time.Millisecond)
	require.True(t, settled, "it does not let go: %v, before: %v", after, first)
	require.Less(t, median(last), median(middle)+median(middle)/5+16<<20, "resident memory goes on growing")
	// An account with its keys and its mail, or a session, takes less than 2 KB;
	// the file grows by steps of 4 MB.
	require.LessOrEqual(t, grown, added*2048+8<<20, "the store grows by more than its data")
	faultResult(t, fmt.Sprintf("soak: %v of mixed traffic at 70 %% load", length), "memory, goroutines and descriptors flat; the file grows by its data alone",
		fmt.Sprintf("%d reads, %d sign-ups, %d sign-ins, %d sign-outs, %d refused; resident (median) %d MB in the first half, %d MB in the second; goroutines %d then %d, descriptors %d then %d; file +%d KB for %d more records",
			did.reads.Load(), did.accounts.Load(), did.signIns.Load(), did.signOuts.Load(), did.refused.Load(),
			median(middle)>>20, median(last)>>20, first.goroutines, after.goroutines, first.descriptors, after.descriptors, grown>>10, added))
}
