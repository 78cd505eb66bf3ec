// online.go: asking a service, which learns the first five digits of a hash and nothing
// more.

package breach

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // the service has SHA-1; nothing here is secured by it
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// defaultURL is where Have I Been Pwned answers.
const defaultURL = "https://api.pwnedpasswords.com/range/"

// Bounds of a question.
const (
	// patience is how long an answer may take; nobody's sign-up hangs on a service.
	patience = time.Second
	// maxAnswer is how large one may be. Those of the service have some 40 KB.
	maxAnswer = 1 << 20

	prefixText = 5
)

// Online asks a service that speaks the range protocol of Pwned Passwords: it is told the
// first five digits of the password's SHA-1, which hundreds of passwords have, and answers
// with all hashes that begin so. Its answer is padded, so that its length tells nothing.
type Online struct {
	// Client asks. It should follow no redirect: see NewClient.
	Client *http.Client
	// URL is what the five digits follow; "": defaultURL.
	URL string
	// UserAgent names who asks, as the service wants it.
	UserAgent string
	// Timeout is how long an answer may take; 0: patience.
	Timeout time.Duration
}

// NewClient returns a client that asks one service, over few connections, and only where
// it was told to.
func NewClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxConnsPerHost = 8
	transport.MaxResponseHeaderBytes = 64 << 10
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Breached implements List.
func (o *Online) Breached(ctx context.Context, password string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(o.Timeout, patience))
	defer cancel()
	sum := sha1.Sum([]byte(password)) //nolint:gosec // as the service has it
	text := strings.ToUpper(hex.EncodeToString(sum[:]))
	answer, err := o.ask(ctx, strings.TrimSuffix(cmp.Or(o.URL, defaultURL), "/")+"/"+text[:prefixText])
	if err != nil {
		return false, err
	}
	for line := range bytes.Lines(answer) {
		line = firstLine(line)
		if len(line) == 0 {
			continue
		}
		h, counts, err := parse(append([]byte(text[:prefixText]), line...))
		if err != nil {
			return false, fmt.Errorf("the answer is none of the range protocol: %w", err)
		}
		if h == sum {
			return counts, nil
		}
	}
	return false, nil
}

func (o *Online) ask(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", o.UserAgent)
	req.Header.Set("Add-Padding", "true")
	res, err := o.Client.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) { // it names the digits
			err = u.Err
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the service answered %s", res.Status)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return answer, nil
}
