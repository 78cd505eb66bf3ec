// send.go: one message to one endpoint, and what its answer means.

package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
)

const (
	// sendTimeout is how long an endpoint has for its answer, in all.
	sendTimeout = 15 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes, so that its connection can be
	// used again.
	maxAnswer = 16 << 10
)

// A result is what became of a message.
type result int

const (
	delivered result = iota
	// refused: the endpoint works, and doesn't take this message.
	refused
	// failed: the endpoint takes no message now.
	failed
	// gone: it wants none any more (410).
	gone
)

// newClient is one that follows no redirect and uses no proxy: whatever a proxy connects
// to, nobody could look at.
func newClient(e *Endpoint) *http.Client {
	return &http.Client{
		Timeout:       sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer(e.AllowPrivate).DialContext, TLSHandshakeTimeout: sendTimeout, MaxResponseHeaderBytes: maxAnswer,
			ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		},
	}
}

// send sends a row. after is how long the endpoint wants to be left in peace; 0: unsaid.
func (w *worker) send(ctx context.Context, row *audit.Told) (r result, after time.Duration, err error) {
	body, err := bodyOf(w.Realm, row)
	if err != nil {
		return refused, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.endpoint.URL, bytes.NewReader(body))
	if err != nil {
		return failed, 0, errors.New("the URL can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "caddy-registration")
	sign(req.Header, idOf(w.Realm, &row.Audit), w.Now(), body, w.endpoint.Secrets)
	res, err := w.client.Do(req)
	if err != nil {
		if whole := (*url.Error)(nil); errors.As(err, &whole) { // it says the URL, which is not to be told
			err = whole.Err
		}
		return failed, 0, inWords(err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
	switch status := res.StatusCode; {
	case status >= 200 && status < 300:
		return delivered, 0, nil
	case status == http.StatusGone:
		return gone, 0, errors.New("it wants no more (410)")
	case status == http.StatusBadRequest, status == http.StatusConflict, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return refused, 0, fmt.Errorf("it answered %d", status)
	case status >= 300 && status < 400:
		return failed, 0, fmt.Errorf("it answered %d; redirects are not followed", status)
	default:
		return failed, retryAfter(res.Header.Get("Retry-After"), w.Now()), fmt.Errorf("it answered %d", status)
	}
}

// inWords says what an owner can do something about in words that are not Go's.
func inWords(err error) error {
	late := net.Error(nil)
	switch {
	case errors.As(err, &late) && late.Timeout():
		return fmt.Errorf("it did not answer within %v", sendTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return errors.New("it closed the connection without an answer")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("nothing listens at its address (connection refused)")
	}
	return err
}

// retryAfter reads the header, in seconds or as a date; 0: there is none.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return min(time.Duration(min(seconds, int(maxRetry/time.Second)))*time.Second, maxRetry)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetry)
	}
	return 0
}
