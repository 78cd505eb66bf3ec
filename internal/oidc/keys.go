// keys.go: how often a provider is asked for its keys.

package oidc

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// A provider is asked for its keys so often within so long and no more: once to know them, and
// once more for one that has come since. Whatever it signs with, others go by what is known.
const (
	keyFetches = 2
	keyWindow  = 10 * time.Second
)

var errKeysTooOften = errors.New("they were fetched a moment ago, and the key is none of them")

// A keyring is a transport of requests to a provider, in which those for its keys are bounded.
type keyring struct {
	next http.RoundTripper
	now  func() time.Time

	mu    sync.Mutex
	at    string // where the keys are
	asked []time.Time
}

// are says where a provider's keys are.
func (k *keyring) are(jwks string) {
	u, err := url.Parse(jwks)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at = u.String()
}

// RoundTrip implements http.RoundTripper.
func (k *keyring) RoundTrip(req *http.Request) (*http.Response, error) {
	if !k.admits(req.URL.String()) {
		return nil, errKeysTooOften
	}
	return k.next.RoundTrip(req)
}

func (k *keyring) admits(address string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if address != k.at {
		return true
	}
	now := k.now()
	k.asked = slices.DeleteFunc(k.asked, func(t time.Time) bool { return t.After(now) || now.Sub(t) >= keyWindow })
	if len(k.asked) >= keyFetches {
		return false
	}
	k.asked = append(k.asked, now)
	return true
}

// keyed is a client that asks as another does, within the bounds of the keyring.
func (k *keyring) keyed(client *http.Client) *http.Client {
	c := *client
	c.Transport = k
	return &c
}
