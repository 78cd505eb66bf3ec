// webhook_kill_test.go: a Caddy that is killed again and again under load tells the
// endpoint of a webhook of every act that it has committed, and of no other.

package faults_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hook is an endpoint: what it was told of, by the id of the account, and how often.
type hook struct {
	mu    sync.Mutex
	ids   map[string]map[string]int // of an account: webhook-ids
	all   int
	wrong error
	// refused is how many it has answered with 422, some by chance a second time.
	refused int
}

func (h *hook) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	var body struct {
		Type string
		Data struct{ ID string }
	}
	if err == nil {
		err = json.Unmarshal(raw, &body)
	}
	wh, _ := standardwebhooks.NewWebhook(webhookSecret)
	if err == nil {
		err = wh.Verify(raw, req.Header)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all++
	switch {
	case err != nil:
		h.wrong = err
	case body.Type != "account_registered":
		h.wrong = fmt.Errorf("told of %s", body.Type)
	default:
		if h.ids[body.Data.ID] == nil {
			h.ids[body.Data.ID] = map[string]int{}
		}
		h.ids[body.Data.ID][req.Header.Get("webhook-id")]++
	}
	if h.all%20 == 0 && h.refused < 20 { // an endpoint is a program too
		h.refused++
		w.WriteHeader(http.StatusUnprocessableEntity)
		h.ids[body.Data.ID][req.Header.Get("webhook-id")]--
	}
}

func (h *hook) told() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all
}

func TestFaultKilledWithWebhooks(t *testing.T) {
	rounds := lengths(4, 100)
	h := &hook{ids: map[string]map[string]int{}}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s := served.NewServer(t)
	s.Values["hook"] = server.URL
	s.Configure(strings.Replace(served.PlainSite, "registration {", `registration {
		register {
			verification off
		}
		webhook [[hook]] {
			secret `+webhookSecret+`
			events account_*
			allow_private on
		}`, 1))
	s.Start()
	var mu sync.Mutex
	committed := map[string]bool{} // by id
	for round := range rounds {
		before := h.told()
		load := signUpsUntilKilled(s, round, func(id string) {
			mu.Lock()
			defer mu.Unlock()
			committed[id] = true
		})
		require.True(t, served.Eventually(func() bool { return h.told() > before+3+round%7 }, time.Millisecond), "nothing is told")
		time.Sleep(rand.N(5 * time.Millisecond))
		s.Kill()
		require.NoError(t, load.Wait())
		s.Start()
	}
	// All that was acknowledged is told, whatever the endpoint made of it at first.
	require.True(t, served.Eventually(func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for id := range committed {
			if n := 0; len(h.ids[id]) == 1 {
				for _, n = range h.ids[id] {
				}
				if n > 0 {
					continue
				}
			}
			return false
		}
		return true
	}, 50*time.Millisecond), "acknowledged, and nobody was told")
	require.NoError(t, h.wrong)
	// And all that was told of is there.
	users := allUsers(t, s)
	h.mu.Lock()
	defer h.mu.Unlock()
	twice := 0
	for id, ids := range h.ids {
		require.Len(t, ids, 1, "a second copy has the id of the first")
		require.True(t, users[id], "told of an account that is not there")
		for _, n := range ids {
			if n > 1 {
				twice++
			}
		}
	}
	faultResult(t, fmt.Sprintf("killed (SIGKILL) with webhooks under way, %d times", rounds), "every acknowledged act is told to the endpoint, none that was not committed, a second copy under the same webhook-id",
		fmt.Sprintf("%d acts acknowledged, all told; %d told in all, all of accounts that are there; %d of them more than once", len(committed), len(h.ids), twice))
}

// allUsers are the ids of all accounts.
func allUsers(t *testing.T, s *served.Server) map[string]bool {
	t.Helper()
	var errs strings.Builder
	list := s.Command("registration", "list", "--json", "--config", s.ConfigFile())
	list.Stderr = &errs
	out, err := list.Output()
	require.NoError(t, err, errs.String())
	all := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		var u struct{ ID uuid.UUID }
		require.NoError(t, json.Unmarshal([]byte(line), &u), line)
		all[u.ID.String()] = true
	}
	return all
}

// signUpsUntilKilled has people sign up until the server is killed, and is told of each whose sign-up was
// acknowledged.
func signUpsUntilKilled(s *served.Server, round int, acknowledged func(id string)) *served.Group {
	load := new(served.Group)
	for worker := range 4 {
		load.Go(func() error {
			for i := 0; ; i++ {
				c := s.Client()
				res, err := c.HTTP.Do(c.Request(http.MethodPost, "/accounts/register", served.Newcomer(fmt.Sprintf("u-%d-%d-%d", round, worker, i))))
				if err != nil {
					return nil // killed
				}
				var made struct{ ID string }
				err = json.NewDecoder(res.Body).Decode(&made)
				_ = res.Body.Close()
				c.HTTP.CloseIdleConnections()
				if err == nil && res.StatusCode == http.StatusCreated {
					acknowledged(made.ID)
				} else if err == nil {
					return fmt.Errorf("%s", res.Status)
				}
			}
		})
	}
	return load
}
