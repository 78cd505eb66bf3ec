// openapi_test.go: the OpenAPI document is what the realm serves: every answer of
// every test in this package is held against it, and what it asks for is what
// is needed.

package registration

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/apicheck"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// checker reads the document of the realm as it is now.
func (s *site) checker() *apicheck.Checker {
	s.t.Helper()
	i := 0
	if s.https {
		i = 1
	}
	doc := s.realm.Openapi[i]()
	s.checkedMu.Lock()
	defer s.checkedMu.Unlock()
	if s.checked == nil || s.checkedTag != doc.Etag {
		c, err := apicheck.New(doc.Body)
		require.NoError(s.t, err)
		s.checked, s.checkedTag = c, doc.Etag
	}
	return s.checked
}

// isPage reports whether an answer is the page for who takes anything, which the
// document doesn't have.
func isPage(req *http.Request, res *http.Response) bool {
	return strings.Contains(req.Header.Get("Accept"), "*/*") && res.StatusCode == http.StatusOK && res.Header.Get("Content-Type") == "text/html; charset=utf-8"
}

// checkAnswer holds an answer against the document, unless it is a page or a
// redirect for a browser.
func (s *site) checkAnswer(req *http.Request, res *http.Response, body string) {
	s.t.Helper()
	path, ok := strings.CutPrefix(req.URL.Path, s.realm.Path)
	if !ok || path != "" && path[0] != '/' || web.WantsPage(req.Header) || isPage(req, res) {
		return
	}
	if s.realm.Pages.Files[strings.TrimPrefix(path, "/")] != nil { // the pages' style sheet, logo
		return
	}
	if path == "" || path == "/" {
		return
	}
	err := s.checker().Check(apicheck.Answer{Method: req.Method, Path: strings.TrimSuffix(path, "/"), Status: res.StatusCode, Header: res.Header, Body: []byte(body)})
	if err != nil {
		s.t.Error(err)
	}
}

// documentOf fetches the document as a client does.
func documentOf(t testing.TB, s *site) (map[string]any, *answer) {
	t.Helper()
	res := s.browser().get("/accounts/openapi.json")
	require.Equal(t, 200, res.StatusCode)
	return res.json(t), res
}

func TestOpenAPIHasWhatIsServed(t *testing.T) {
	for name, configure := range map[string]func(*Settings){
		"defaults": func(*Settings) {},
		"tokens":   withJWT,
		"little": func(s *Settings) {
			s.Register.Enabled, s.Register.Verification, s.ResetPassword.Enabled, s.RegisterEmail.Verification = off(), off(), off(), off()
		},
		"everything": func(s *Settings) {
			withJWT(s)
			s.User.LoginFields = []string{field.Username, field.Email}
			s.NonFieldErrorsKey, s.Register.AutoLogin, s.ResetPassword.UseEmail, s.ResetPassword.PasswordConfirm, s.ResetPassword.FailWhenUserNotFound = on(), on(), on(), on(), on()
		},
		"redirects": redirecting,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, configure)
			documented := s.checker().Paths()
			served := map[string][]string{}
			for name, e := range s.realm.Endpoints {
				require.NotZero(t, e.Doc.Success, "%s has no description", name)
				if !e.Off {
					served["/"+name] = slices.DeleteFunc(slices.Clone(e.Methods), func(m string) bool { return m == http.MethodHead })
				}
			}
			require.Len(t, documented, len(served))
			for path, methods := range served {
				require.ElementsMatch(t, methods, documented[path], path)
				for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
					s.browser().do(method, "/accounts"+path, nil) // checked by the browser
				}
			}
			doc, _ := documentOf(t, s)
			ids := map[string]bool{}
			for _, item := range doc["paths"].(map[string]any) {
				for _, operation := range item.(map[string]any) {
					id := operation.(map[string]any)["operationId"].(string)
					require.False(t, ids[id], id)
					ids[id] = true
				}
			}
		})
	}
}

// What the document requires of a body is what the endpoint requires.
func TestOpenAPIRequiresWhatIsNeeded(t *testing.T) {
	s := newSite(t, withJWT)
	s.member("ada")
	c := s.checker()
	for path, methods := range c.Paths() {
		for _, method := range methods {
			required := c.Required(method, path)
			if len(required) == 0 {
				continue
			}
			b := s.signedIn("ada").problems()
			res := b.do(method, "/accounts"+path, data{})
			require.Equal(t, 400, res.StatusCode, path)
			refused, _ := res.json(t)["errors"].(map[string]any)
			for _, name := range required {
				if path == "/register" && name == field.Email { // told once the rest is right
					requireError(t, s.browser().problems().post("/accounts/register", with(newcomer("bob"), data{"email": nil})), 400, "email_required")
					continue
				}
				require.Contains(t, refused, name, "%s %s", method, path)
			}
			for name, list := range refused {
				code := list.([]any)[0].(map[string]any)["code"]
				require.Equal(t, "required", code)
				require.True(t, slices.Contains(required, name) || name == "login" || name == "id", "%s %s needs %s", method, path, name)
			}
		}
	}
}

// Bodies that the endpoints take are bodies that the document allows.
func TestOpenAPIAllowsWhatIsTaken(t *testing.T) {
	s := newSite(t)
	c := s.checker()
	require.NoError(t, c.ValidateInput("POST", "/register", newcomer("ada")))
	require.Error(t, c.ValidateInput("POST", "/register", with(newcomer("ada"), data{"username": nil})))
	require.NoError(t, c.ValidateInput("POST", "/login", data{"login": "ada", "password": "x"}))
	require.NoError(t, c.ValidateInput("POST", "/login", data{"username": "ada", "password": "x"}))
	require.Error(t, c.ValidateInput("POST", "/login", data{"password": "x"}))
	require.Error(t, c.ValidateInput("POST", "/login", data{"login": "ada"}))
	doc, _ := documentOf(t, s)
	for path, item := range doc["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			body, ok := operation.(map[string]any)["requestBody"].(map[string]any)
			if !ok {
				continue
			}
			media := body["content"].(map[string]any)["application/json"].(map[string]any)
			if example, ok := media["example"]; ok {
				require.NoError(t, c.ValidateInput(method, path, example), "the example of %s %s", method, path)
			}
		}
	}
}

func TestOpenAPIIsCached(t *testing.T) {
	s := newSite(t)
	_, res := documentOf(t, s)
	etag := res.Header.Get("ETag")
	require.Regexp(t, `^"[\w-]+"$`, etag)
	require.Contains(t, res.Header.Get("Content-Type"), "application/json")
	require.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
	for _, match := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
		b := s.browser()
		b.header.Set("If-None-Match", match)
		again := b.get("/accounts/openapi.json")
		require.Equal(t, 304, again.StatusCode, match)
		require.Empty(t, again.body)
		require.Equal(t, etag, again.Header.Get("ETag"))
	}
	b := s.browser()
	b.header.Set("If-None-Match", `"other"`)
	require.Equal(t, 200, b.get("/accounts/openapi.json").StatusCode)
	require.Equal(t, etag, newSite(t).browser().get("/accounts/openapi.json").Header.Get("ETag"), "the same settings, the same document")
	require.NotEqual(t, etag, newSite(t, withJWT).browser().get("/accounts/openapi.json").Header.Get("ETag"))
	s.https = true
	_, secure := documentOf(t, s)
	require.Contains(t, secure.body, `"__Host-registration"`)
	require.NotContains(t, res.body, "__Host-")
	require.NotEqual(t, etag, secure.Header.Get("ETag"))
}

// A checker that lets everything through would prove nothing.
func TestTheCheckerNotices(t *testing.T) {
	s := newSite(t)
	c := s.checker()
	jsonHeader := http.Header{"Content-Type": {"application/json"}}
	for name, a := range map[string]apicheck.Answer{
		"unknown status":     {Method: "POST", Path: "/login", Status: 418, Header: jsonHeader, Body: []byte(`{"detail":"x"}`)},
		"unknown member":     {Method: "POST", Path: "/login", Status: 200, Header: jsonHeader, Body: []byte(`{"detail":"x","more":1}`)},
		"missing member":     {Method: "POST", Path: "/login", Status: 200, Header: jsonHeader, Body: []byte(`{}`)},
		"another media type": {Method: "POST", Path: "/login", Status: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte(`{"detail":"x"}`)},
		"no JSON":            {Method: "POST", Path: "/login", Status: 200, Header: jsonHeader, Body: []byte(`x`)},
		"unknown field":      {Method: "POST", Path: "/login", Status: 400, Header: jsonHeader, Body: []byte(`{"nickname":["x"]}`)},
		"unknown path":       {Method: "POST", Path: "/other", Status: 200, Header: jsonHeader, Body: []byte(`{}`)},
		"unknown method":     {Method: "DELETE", Path: "/login", Status: 200, Header: jsonHeader, Body: []byte(`{}`)},
		"no challenge":       {Method: "GET", Path: "/profile", Status: 401, Header: jsonHeader, Body: []byte(`{"detail":"x"}`)},
	} {
		require.Error(t, c.Check(a), name)
	}
	require.NoError(t, c.Check(apicheck.Answer{Method: "POST", Path: "/login", Status: 200, Header: jsonHeader, Body: []byte(`{"detail":"x"}`)}))
}

// TestOpenAPIGolden keeps a whole document to look at: -update writes it.
func TestOpenAPIGolden(t *testing.T) {
	s := newSite(t, withJWT)
	path := filepath.Join("testdata", "openapi", "jwt.json")
	got := s.realm.Openapi[0]().Body
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	require.JSONEq(t, readFile(t, path), string(got))
}
