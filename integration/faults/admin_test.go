// admin_test.go: an administrator changes accounts while the configuration
// is reloaded again and again: what is acknowledged is in force at the account's
// very next request, and nothing else is answered.

package faults_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestFaultAdministrationDuringReloads(t *testing.T) {
	needsLinux(t)
	n, every := lengths(8, 60), lengths(100*time.Millisecond, 250*time.Millisecond)
	s := served.Run(t, served.TokenSite)
	before := measure(s)
	var changed, cut atomic.Int64
	stop := make(chan struct{})
	var load served.Group
	for worker := range 3 {
		name := fmt.Sprintf("ada%d", worker)
		member := s.Member(name)
		load.Go(func() error {
			admin := &http.Client{Timeout: served.Patience}
			defer admin.CloseIdleConnections()
			ask := func(client *http.Client, req *http.Request) (status int, body string, ok bool) {
				res, err := client.Do(req)
				if err != nil {
					return 0, "", false
				}
				raw, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				return res.StatusCode, string(raw), err == nil
			}
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				group := fmt.Sprintf("version-%d-of-%s", i, name)
				req, err := http.NewRequest(http.MethodPatch, fmt.Sprintf("http://127.0.0.1:%d/registration/default/users/%s", s.Admin, name), strings.NewReader(`{"groups":["`+group+`"]}`))
				if err != nil {
					return err
				}
				status, body, ok := ask(admin, req)
				if !ok { // Caddy closes its old admin endpoint
					cut.Add(1)
					continue
				}
				if status != http.StatusOK {
					return fmt.Errorf("the admin API: %d %s", status, body)
				}
				changed.Add(1)
				for {
					status, body, ok := ask(member.HTTP, member.Request(http.MethodGet, "/members/", nil))
					if !ok {
						continue
					}
					if status != http.StatusOK || !strings.Contains(body, group) {
						return fmt.Errorf("after the change to %s: %d %s", group, status, body)
					}
					break
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	good, bad := 0, 0
	for i := range n {
		next := time.Now().Add(every)
		if i%4 == 3 {
			res := s.Load(strings.Replace(served.TokenSite, "require_login /members/*", "require_login /members/* {\n\t\trealm nobody\n\t}", 1))
			require.Equal(t, http.StatusBadRequest, res.StatusCode, res.Text)
			bad++
			time.Sleep(time.Until(next))
			continue
		}
		res := s.Load(strings.Replace(served.TokenSite, "for members:", fmt.Sprintf("for members, version %d:", i), 1))
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		good++
		time.Sleep(time.Until(next))
	}
	close(stop)
	require.NoError(t, load.Wait())
	require.Greater(t, changed.Load(), int64(n))
	var after size
	require.True(t, served.Eventually(func() bool {
		after = measure(s)
		return after.goroutines <= before.goroutines+10 && after.descriptors <= before.descriptors+8
	}, 500*time.Millisecond), "it does not let go: %v, before: %v", after, before)
	faultResult(t, fmt.Sprintf("an administrator changes 3 accounts without pause during %d reloads and %d refused ones", good, bad), "each acknowledged change in force at the account's very next request; no wrong answer, no leak",
		fmt.Sprintf("%d changes, all in force at once; %d requests cut off as Caddy changed its admin endpoint; goroutines %d then %d, descriptors %d then %d",
			changed.Load(), cut.Load(), before.goroutines, after.goroutines, before.descriptors, after.descriptors))
}
