// contract.go: every answer that a client of these tests gets from an
// endpoint is held against the server's own OpenAPI document.

package served

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/apicheck"
)

// contract is the document of a server, as a client has last read it.
type contract struct {
	mu      sync.Mutex
	checker *apicheck.Checker
}

// mountPath is where the endpoints of all these tests are.
const mountPath = "/accounts/"

// checkAnswer fails the test where an answer is not in the document. Pages and
// redirects for browsers are not in it.
func (c *Client) checkAnswer(a *Answer) {
	c.T.Helper()
	path, ok := strings.CutPrefix(a.Request.URL.Path, mountPath)
	if !ok || path == "" || strings.Contains(a.Request.Header.Get("Accept"), "text/html") || path == "style.css" {
		return
	}
	held := apicheck.Answer{
		Method: a.Request.Method, Path: "/" + strings.TrimSuffix(path, "/"), Status: a.StatusCode, Header: a.Header, Body: []byte(a.Text),
	}
	c.contract.mu.Lock()
	defer c.contract.mu.Unlock()
	fresh := false
	if c.contract.checker == nil {
		if fresh = c.readContract(); !fresh {
			return // the server is down, or has no such realm any more
		}
	}
	err := c.contract.checker.Check(held)
	if err != nil && !fresh && c.readContract() { // the configuration may have changed since
		err = c.contract.checker.Check(held)
	}
	require.NoError(c.T, err)
}

// readContract fetches the document.
func (c *Client) readContract() bool {
	req, err := http.NewRequest(http.MethodGet, c.Base+mountPath+"openapi.json", nil)
	require.NoError(c.T, err)
	if host := c.Header.Get("Host"); host != "" {
		req.Host = host
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return false
	}
	c.contract.checker, err = apicheck.New(raw)
	require.NoError(c.T, err)
	return true
}
