// openapi.go:

package sitetest

import (
	"encoding/json"
	"html"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/apicheck"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// Operations are the endpoints of the OpenAPI document with the members of their
// bodies: whoever adds an endpoint has it tried here.
func (s *Site) Operations(t *testing.T) map[[2]string][]string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Properties map[string]any `json:"properties"`
					} `json:"schema"`
				} `json:"content"`
			} `json:"requestBody"`
			Parameters []struct{ Name, In string } `json:"parameters"`
		} `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(s.Realm.Openapi[0]().Body, &doc))
	out := map[[2]string][]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			members := []string{sign.ParamNext}
			for _, content := range op.RequestBody.Content {
				members = append(members, slices.Collect(maps.Keys(content.Schema.Properties))...)
			}
			for _, p := range op.Parameters {
				members = append(members, p.Name)
			}
			slices.Sort(members)
			out[[2]string{strings.ToUpper(method), path}] = slices.Compact(members)
		}
	}
	on := 0
	for _, e := range s.Realm.Endpoints {
		if !e.Off {
			on++
		}
	}
	require.GreaterOrEqual(t, len(out), on)
	return out
}

// Checker reads the document of the realm as it is now.
func (s *Site) Checker() *apicheck.Checker {
	s.T.Helper()
	i := 0
	if s.HTTPS {
		i = 1
	}
	doc := s.Realm.Openapi[i]()
	s.checkedMu.Lock()
	defer s.checkedMu.Unlock()
	if s.checked == nil || s.checkedTag != doc.Etag {
		c, err := apicheck.New(doc.Body)
		require.NoError(s.T, err)
		s.checked, s.checkedTag = c, doc.Etag
	}
	return s.checked
}

// checkAnswer holds an answer against the document, unless it is a page or a
// redirect for a browser.
func (s *Site) checkAnswer(req *http.Request, res *http.Response, body string) {
	s.T.Helper()
	if strings.Contains(html.UnescapeString(body), "<nil>") {
		s.T.Errorf("%s %s: a message lacks a value: %s", req.Method, req.URL, body)
	}
	path, ok := strings.CutPrefix(req.URL.Path, s.Realm.Path)
	if !ok || path != "" && path[0] != '/' || web.WantsPage(req.Header) || isPage(req, res) {
		return
	}
	if s.Realm.Pages.Files[strings.TrimPrefix(path, "/")] != nil { // the pages' style sheet, logo
		return
	}
	if path == "" || path == "/" {
		return
	}
	err := s.Checker().Check(apicheck.Answer{Method: req.Method, Path: strings.TrimSuffix(path, "/"), Status: res.StatusCode, Header: res.Header, Body: []byte(body)})
	if err != nil {
		s.T.Error(err)
	}
}

// isPage reports whether an answer is the page for who takes anything, which the
// document doesn't have.
func isPage(req *http.Request, res *http.Response) bool {
	return strings.Contains(req.Header.Get("Accept"), "*/*") && res.StatusCode == http.StatusOK && res.Header.Get("Content-Type") == "text/html; charset=utf-8"
}
