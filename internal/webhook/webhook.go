// webhook.go: what an endpoint is told, and how it can tell that it is us.

// Package webhook tells other programs what happens, as Standard Webhooks
// (https://www.standardwebhooks.com) has it. The record of acts is its queue: a row is
// there with its act or not at all, and each endpoint has a place in the record up to which
// it was told. So nothing is told that was not committed, nothing is lost by a crash, and
// an act costs nothing more.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/store"
)

// secretPrefix is what a secret begins with.
const secretPrefix = "whsec_"

// Bounds of a secret, in bytes behind its base64.
const (
	minSecret = 24
	maxSecret = 64
)

// MaxSecrets is how many secrets an endpoint may have: the new one and the old one.
const MaxSecrets = 2

var errSecret = errors.New("a secret is " + secretPrefix + " and the base64 of 24 to 64 random bytes")

// ParseSecret reads a secret. Its error does not repeat it.
func ParseSecret(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil || !strings.HasPrefix(text, secretPrefix) || len(raw) < minSecret || len(raw) > maxSecret {
		return nil, errSecret
	}
	return raw, nil
}

// An Endpoint is whom to tell. Its fields don't change.
type Endpoint struct {
	URL     string
	Secrets [][]byte
	// Events are the names of those that it is told of; account_* stands for all that
	// begin so. Empty: all.
	Events []string
	// AllowPrivate: its address may be of a private network, and it may speak HTTP.
	AllowPrivate bool
}

// Matches reports whether a pattern of Endpoint.Events stands for an event.
func Matches(pattern, event string) bool {
	if prefix, many := strings.CutSuffix(pattern, "*"); many {
		return strings.HasPrefix(event, prefix)
	}
	return pattern == event
}

func (e *Endpoint) wants(row *store.Audit) bool {
	return !row.Imported && (len(e.Events) == 0 || slices.ContainsFunc(e.Events, func(p string) bool { return Matches(p, row.Event) }))
}

// Host names an endpoint in the log: its path may be a secret.
func (e *Endpoint) Host() string {
	u, err := url.Parse(e.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

// key names its place in the store, which is not to have the URL.
func (e *Endpoint) key() string {
	sum := sha256.Sum256([]byte("webhook endpoint\x00" + e.URL))
	return hex.EncodeToString(sum[:12])
}

// idOf is the webhook-id of a row: the same over retries and for all endpoints, and
// another one for another row of the same number in a store that was put back.
func idOf(realm string, row *store.Audit) string {
	h := sha256.New()
	h.Write([]byte("webhook id\x00" + realm + "\x00" + row.Event + "\x00"))
	var numbers [16]byte
	binary.BigEndian.PutUint64(numbers[:], row.Seq)
	binary.BigEndian.PutUint64(numbers[8:], uint64(row.At.Unix())) //nolint:gosec // the bits are meant
	h.Write(numbers[:])
	h.Write(row.Account[:])
	return "msg_" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// bodyOf is what is sent: the event, when it happened, and its data.
func bodyOf(realm string, row *audit.Told) ([]byte, error) {
	return json.Marshal(struct {
		Type      string            `json:"type"`
		Timestamp time.Time         `json:"timestamp"`
		Data      map[string]string `json:"data"`
	}{row.Event, row.At.UTC(), row.Data(realm)})
}

// sign adds the headers by which a receiver knows that a body is ours.
func sign(h http.Header, id string, at time.Time, body []byte, secrets [][]byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	var signatures []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h["webhook-id"] = []string{id}
	h["webhook-timestamp"] = []string{timestamp}
	h["webhook-signature"] = []string{strings.Join(signatures, " ")}
}

// toldOf is a row with the name that its account has now; "" where it is gone.
func toldOf(tx store.Tx, row *store.Audit) (audit.Told, error) {
	told := audit.Told{Audit: *row}
	if row.Account == uuid.Nil {
		return told, nil
	}
	u, err := tx.BriefUser(row.Account)
	if errors.Is(err, store.ErrNotFound) {
		return told, nil
	}
	if err == nil {
		told.Username = u.Username
	}
	return told, err
}
