// openapi_test.go: what others make of the OpenAPI document: a validator, a
// generator of clients, Swagger UI.

package browsers_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// openSite has everything on: cookies, access tokens, all endpoints.
var openSite = served.Site(`trusted_origins http://127.0.0.1:[[frontend]]
		login {
			session on
			token jwt
		}
		[[more]]`, "require_login /members/*", served.Greeting)

// moreFields are fields of every type.
const moreFields = `user {
			login_fields username email
			field nickname text {
				min_length 2
				max_length 20
				pattern [a-z]+
				label "What friends say"
			}
			field homepage url
			field age integer {
				min 0
				max 150
			}
			field height number
			field newsletter boolean
			field born date {
				min 1900-01-01
			}
			field plan choice {
				choices free paid
				default free
			}
			field card text {
				required
				unique
			}
		}
		non_field_errors_key on`

func TestValidatorAcceptsOpenAPI(t *testing.T) {
	t.Parallel()
	web := served.WebDir(t, "@redocly/cli")
	for name, more := range map[string]string{
		"defaults": "", "fields": moreFields,
		"redirects": "register {\n auto_login on\n success_redirect /welcome\n failure_redirect /sorry\n }",
		"little":    "register {\n enabled off\n }\n reset_password {\n enabled off\n }\n register_email {\n verification off\n }\n pages off",
	} {
		t.Run(name, func(t *testing.T) {
			s := served.Run(t, openSite, "frontend", "1", "more", more)
			res := s.Client().Get("/accounts/openapi.json")
			require.Equal(t, http.StatusOK, res.StatusCode)
			file := filepath.Join(t.TempDir(), "openapi.json")
			require.NoError(t, os.WriteFile(file, []byte(res.Text), 0o600))
			cmd := exec.Command("node", filepath.Join(web, "node_modules", "@redocly", "cli", "bin", "cli.js"), "lint", "--extends=spec", "--format=stylish", file)
			cmd.Dir = filepath.Dir(file)
			cmd.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true", "CI=true")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), "valid")
		})
	}
}

// A client that was generated from the document walks every endpoint, and the
// compiler agrees with how it does.
func TestGeneratedClientWalksEverything(t *testing.T) {
	t.Parallel()
	web := served.WebDir(t, "openapi-typescript")
	s := served.Run(t, openSite, "frontend", "1", "more", "factors {\n trusted_device 30d\n }")
	dir := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(web, "node_modules"), filepath.Join(dir, "node_modules")))
	for name, text := range map[string]string{
		"openapi.json": s.Client().Get("/accounts/openapi.json").Text,
		"package.json": `{"type":"module"}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	walk, err := os.ReadFile(filepath.Join(web, "walk.ts"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "walk.ts"), walk, 0o600))
	served.Node(t, dir, "node_modules/openapi-typescript/bin/cli.js", "openapi.json", "-o", "api.d.ts")
	served.Node(t, dir, "node_modules/typescript/bin/tsc", "--strict", "--noUncheckedIndexedAccess", "--skipLibCheck", "--target", "es2022", "--lib", "es2022,dom,dom.iterable",
		"--module", "nodenext", "--types", "node", "--noEmitOnError", "false", "walk.ts")
	require.Contains(t, served.Node(t, dir, "walk.js", s.Base()+"/accounts", filepath.Join(s.Dir, "mail")), "walked")
}

// Swagger UI, on another origin, shows the document, and its "try it out"
// registers and signs in.
func TestSwaggerUI(t *testing.T) {
	web := served.WebDir(t, "swagger-ui-dist")
	files := http.FileServer(http.Dir(filepath.Join(web, "node_modules", "swagger-ui-dist")))
	var api string
	ui := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/" {
			files.ServeHTTP(w, req)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><html><head><title>API</title><link rel="stylesheet" href="swagger-ui.css"></head><body><div id="ui"></div>
<script src="swagger-ui-bundle.js"></script><script>
window.ui = SwaggerUIBundle({url: "` + api + `/openapi.json", dom_id: "#ui", deepLinking: true, withCredentials: true, validatorUrl: null, tryItOutEnabled: true});
</script></body></html>`))
	}))
	t.Cleanup(ui.Close)
	s := served.Run(t, openSite, "frontend", ui.URL[strings.LastIndexByte(ui.URL, ':')+1:], "more", "")
	api = s.Base() + "/accounts"
	b := served.NewBrowser(t, ui.URL)
	require.Equal(t, 200, b.Open(ui.URL+"/"))

	// execute opens an operation, types a body, and returns status and answer.
	execute := func(tag, operation string, body data) (string, string) {
		t.Helper()
		block := "#operations-" + tag + "-" + operation
		b.Do(chromedp.Click(chromedp.CSS(block+" .opblock-summary-control"), chromedp.NodeVisible))
		b.Do(chromedp.WaitVisible(chromedp.CSS(block + " button.execute")))
		if body != nil {
			raw, err := json.Marshal(body)
			require.NoError(t, err)
			text, err := json.Marshal(string(raw))
			require.NoError(t, err)
			served.Evaluate[bool](b, `(() => {
				const area = document.querySelector("`+block+` textarea.body-param__text");
				Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(area, `+string(text)+`);
				area.dispatchEvent(new Event("input", {bubbles: true}));
				area.dispatchEvent(new Event("change", {bubbles: true}));
				return true;
			})()`)
		}
		b.Do(chromedp.Click(chromedp.CSS(block+" button.execute"), chromedp.NodeVisible))
		row := block + " .live-responses-table .response"
		b.Do(chromedp.WaitVisible(chromedp.CSS(row + " .response-col_status")))
		return served.Evaluate[string](b, `document.querySelector("`+row+` .response-col_status").innerText.trim()`),
			served.Evaluate[string](b, `document.querySelector("`+row+` .response-col_description").innerText`)
	}
	status, text := execute("account", "register", served.Newcomer("ada"))
	require.Equal(t, "201", status, text)
	require.Contains(t, text, `"username": "ada"`)
	s.Client().Post(http.StatusOK, "verify-registration", s.Mail("ada@example.org", 1).Link(t))
	status, text = execute("sign-in", "login", data{"login": "ada", "password": served.TestPassword})
	require.Equal(t, "200", status, text)
	require.Contains(t, text, "refresh_token")
	status, text = execute("account", "getProfile", nil)
	require.Equal(t, "200", status, "the cookie of the sign-in comes along: %s", text)
	require.True(t, served.Eventually(func() bool {
		return served.Evaluate[int](b, `document.querySelectorAll(".opblock").length`) > 10
	}, 50*time.Millisecond))
	require.Empty(t, served.Evaluate[string](b, `[...document.querySelectorAll(".errors-wrapper")].map((e) => e.innerText).join()`), "Swagger UI finds errors in the document")
}
