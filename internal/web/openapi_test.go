// openapi_test.go: the OpenAPI document is what the realm serves: every answer of
// every test in this package is held against it, and what it asks for is what
// is needed.

package web_test

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/apicheck"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

var update = flag.Bool("update", false, "write the goldens")

// documentOf fetches the document as a client does.
func documentOf(t testing.TB, s *sitetest.Site) (map[string]any, *sitetest.Answer) {
	t.Helper()
	res := s.Browser().Get("/accounts/openapi.json")
	require.Equal(t, 200, res.StatusCode)
	return res.JSON(t), res
}

func TestOpenAPIHasWhatIsServed(t *testing.T) {
	for name, configure := range map[string]func(*registration.Settings){
		"defaults": func(*registration.Settings) {},
		"tokens":   sitetest.WithJWT,
		"little": func(s *registration.Settings) {
			s.Register.Enabled, s.Register.Verification, s.ResetPassword.Enabled, s.RegisterEmail.Verification = sitetest.Off(), sitetest.Off(), sitetest.Off(), sitetest.Off()
		},
		"everything": func(s *registration.Settings) {
			sitetest.WithJWT(s)
			s.User.LoginFields = []string{field.Username, field.Email}
			s.Register.Terms = registration.TermsSettings{Page: "/terms.html", Version: "1"}
			s.NonFieldErrorsKey, s.Register.AutoLogin, s.ResetPassword.UseEmail, s.ResetPassword.PasswordConfirm, s.ResetPassword.FailWhenUserNotFound = sitetest.On(), sitetest.On(), sitetest.On(), sitetest.On(), sitetest.On()
		},
		"redirects": sitetest.Redirecting,
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, configure)
			documented := s.Checker().Paths()
			served := map[string][]string{}
			for name, e := range s.Realm.Endpoints {
				require.True(t, e.Doc.Success != 0 || e.Doc.Answers != nil, "%s has no description", name)
				if !e.Off || e.Invited {
					served["/"+name] = slices.DeleteFunc(slices.Clone(e.Methods), func(m string) bool { return m == http.MethodHead })
				}
			}
			require.Len(t, documented, len(served))
			for path, methods := range served {
				require.ElementsMatch(t, methods, documented[path], path)
				for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
					s.Browser().Do(method, "/accounts"+path, nil) // checked by the browser
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
	s := sitetest.New(t, sitetest.WithJWT)
	s.Member("ada")
	c := s.Checker()
	for path, methods := range c.Paths() {
		for _, method := range methods {
			required := c.Required(method, path)
			if len(required) == 0 {
				continue
			}
			b := s.SignedIn("ada").Problems()
			if path == "/correct-email" { // which is for a browser that has signed up
				b = s.Browser().LikeBrowser()
				require.Equal(t, 303, b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("eve"))).StatusCode)
				b = b.Problems()
			}
			res := b.Do(method, "/accounts"+path, sitetest.Data{})
			require.Equal(t, 400, res.StatusCode, path)
			refused, _ := res.JSON(t)["errors"].(map[string]any)
			for _, name := range required {
				if path == "/register" && name == field.Email { // told once the rest is right
					sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"email": nil})), 400, "email_required")
					continue
				}
				require.Contains(t, refused, name, "%s %s", method, path)
			}
			for name, list := range refused {
				code := list.([]any)[0].(map[string]any)["code"]
				require.Equal(t, "required", code)
				require.True(t, slices.Contains(required, name) || name == "login" || name == "id" || name == "old_password", // something else may stand for it
					"%s %s needs %s", method, path, name)
			}
		}
	}
}

// Bodies that the endpoints take are bodies that the document allows.
func TestOpenAPIAllowsWhatIsTaken(t *testing.T) {
	s := sitetest.New(t)
	c := s.Checker()
	require.NoError(t, c.ValidateInput("POST", "/register", sitetest.Newcomer("ada")))
	require.Error(t, c.ValidateInput("POST", "/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"username": nil})))
	require.NoError(t, c.ValidateInput("POST", "/login", sitetest.Data{"login": "ada", "password": "x"}))
	require.NoError(t, c.ValidateInput("POST", "/login", sitetest.Data{"username": "ada", "password": "x"}))
	require.Error(t, c.ValidateInput("POST", "/login", sitetest.Data{"password": "x"}))
	require.Error(t, c.ValidateInput("POST", "/login", sitetest.Data{"login": "ada"}))
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
	s := sitetest.New(t)
	_, res := documentOf(t, s)
	etag := res.Header.Get("ETag")
	require.Regexp(t, `^"[\w-]+"$`, etag)
	require.Contains(t, res.Header.Get("Content-Type"), "application/json")
	require.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
	for _, match := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
		b := s.Browser()
		b.Header.Set("If-None-Match", match)
		again := b.Get("/accounts/openapi.json")
		require.Equal(t, 304, again.StatusCode, match)
		require.Empty(t, again.Text)
		require.Equal(t, etag, again.Header.Get("ETag"))
	}
	b := s.Browser()
	b.Header.Set("If-None-Match", `"other"`)
	require.Equal(t, 200, b.Get("/accounts/openapi.json").StatusCode)
	require.Equal(t, etag, sitetest.New(t).Browser().Get("/accounts/openapi.json").Header.Get("ETag"), "the same settings, the same document")
	require.NotEqual(t, etag, sitetest.New(t, sitetest.WithJWT).Browser().Get("/accounts/openapi.json").Header.Get("ETag"))
	s.HTTPS = true
	_, secure := documentOf(t, s)
	require.Contains(t, secure.Text, `"__Host-registration"`)
	require.NotContains(t, res.Text, "__Host-")
	require.NotEqual(t, etag, secure.Header.Get("ETag"))
}

// A checker that lets everything through would prove nothing.
func TestTheCheckerNotices(t *testing.T) {
	s := sitetest.New(t)
	c := s.Checker()
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
	s := sitetest.New(t, sitetest.WithJWT)
	path := filepath.Join(sitetest.Root(), "testdata", "openapi", "jwt.json")
	got := s.Realm.Openapi[0]().Body
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	require.JSONEq(t, sitetest.ReadFile(t, path), string(got))
}
