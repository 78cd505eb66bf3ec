// settings_docs_test.go: every setting, found by reflection, has its place in the
// documentation and its form in the Caddyfile; every error code has its row.

package registration_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/jsonpaths"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// allSettings are those of the directive, the guard and the guest modules.
func allSettings() map[string][]string {
	return map[string][]string{
		"registration":  jsonpaths.Of(reflect.TypeFor[registration.Settings]()),
		"require_login": jsonpaths.Of(reflect.TypeFor[registration.Guard]()),
		"store bbolt":   jsonpaths.Of(reflect.TypeFor[registration.BoltModule]()),
		"mailer smtp":   jsonpaths.Of(reflect.TypeFor[registration.SMTPMailer]()),
		"mailer log":    jsonpaths.Of(reflect.TypeFor[registration.LogMailer]()),
		"mailer file":   jsonpaths.Of(reflect.TypeFor[registration.FileMailer]()),
	}
}

// spellings are the settings whose word in the Caddyfile is another than their
// name in JSON, and those that only JSON has.
var spellings = map[string]string{
	"secrets": "secret", "path": "<path>", "source": "", "pages.off": "off", "throttle.off": "throttle off", "audit.off": "audit off", "authz.on": "authz on", "delete_account.off": "delete_account off",
	"password.argon2id.memory": "memory", "password.argon2id.passes": "passes", "password.argon2id.lanes": "lanes",
	"password.breached.file": "breached", "password.breached.online": "breached online", "password.breached.url": "breached online", "password.validators": "validator",
	"throttle.login.events": "throttle login", "throttle.register.events": "throttle register", "throttle.reset.events": "throttle reset", "throttle.email.events": "throttle email",
	"throttle.profile.events": "throttle profile", "throttle.mail.events": "throttle mail", "throttle.all_mail.events": "throttle all_mail",
	"throttle.login.window": "throttle login", "throttle.register.window": "throttle register", "throttle.reset.window": "throttle reset", "throttle.email.window": "throttle email",
	"throttle.profile.window": "throttle profile", "throttle.mail.window": "throttle mail", "throttle.all_mail.window": "throttle all_mail",
	"pages.links.label": "link", "pages.links.url": "link",
	"webhooks.url": "webhook", "webhooks.secrets": "secret", "login.oidc.name": "<name>",
	"user.fields.name": "<name>", "user.fields.type": "<type>",
	"require_login groups": "group", "require_login source": "", "store bbolt path": "store bbolt", "store bbolt backup.folder": "folder", "mailer file directory": "mailer file", "mailer smtp address": "mailer smtp", "mailer smtp trusted_ca": "trusted_ca",
}

func TestEverySettingIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("docs/settings.md")
	require.NoError(t, err)
	tables := string(raw)
	raw, err = os.ReadFile("docs/guard.md")
	require.NoError(t, err)
	guard, _, _ := strings.Cut(string(raw), "\n## ")
	for _, row := range rowsWith(tables, "") { // the name there is in docs/from-django-rest-registration.md
		require.Equal(t, 4, strings.Count(strings.ReplaceAll(row, `\|`, ""), "|"), "a row has three cells: %s", row)
	}
	count := 0
	for module, paths := range allSettings() {
		for _, path := range paths {
			word, special := spellings[path]
			if !special || module != "registration" {
				word, special = spellings[module+" "+path]
			}
			if special && word == "" {
				continue
			}
			if !special {
				word = path[strings.LastIndexByte(path, '.')+1:]
			}
			count++
			var rows []string
			switch block, _, nested := strings.Cut(path, "."); {
			case module == "require_login":
				rows = strings.Split(guard, "\n")
			case module != "registration":
				rows = rowsWith(tables, "`"+module)
			case strings.Contains(path, ".mail.") && block != "throttle": // the same four in each block
				rows = rowsWith(tables, "`register { mail")
			case nested && block != "throttle":
				rows = rowsWith(tables, "`"+strings.TrimSuffix(block, "s")) // pages, and `pages {`
				if strings.HasPrefix(path, "login.token") {
					rows = rowsWith(tables, "`login { token")
				}
			default:
				rows = strings.Split(tables, "\n")
			}
			pattern := regexp.MustCompile(`(^|[^a-z_])` + regexp.QuoteMeta(word) + `([^a-z_]|$)`)
			require.True(t, pattern.MatchString(strings.Join(rows, "\n")), "%s: %s has no row in docs/settings.md or docs/guard.md", module, path)
		}
	}
	require.Greater(t, count, 70)
}

// rowsWith returns the rows of tables whose first cell begins so.
func rowsWith(text, prefix string) (rows []string) {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "| "+prefix) {
			rows = append(rows, line)
		}
	}
	return rows
}

// TestEverySettingHasACaddyfileForm: what is switched off stands in off.caddyfile.
func TestEverySettingHasACaddyfileForm(t *testing.T) {
	found := map[string]map[string]bool{}
	for module := range allSettings() {
		found[module] = map[string]bool{}
	}
	for _, file := range []string{"full.caddyfile", "off.caddyfile"} {
		out, err := adapt(t, file)
		require.NoError(t, err)
		var tree any
		require.NoError(t, json.Unmarshal([]byte(out), &tree))
		collectModules(tree, found)
	}
	for module, paths := range allSettings() {
		for _, path := range paths {
			set := found[module][path]
			if block, part, ok := strings.Cut(path, ".mail."); ok && block != "throttle" { // the same four in each block
				set = found[module][block+".mail"] && (found[module]["register.mail."+part] || found[module]["reset_password.mail."+part] || found[module]["register_email.mail."+part])
			}
			require.True(t, set, "%s: neither full.caddyfile nor off.caddyfile sets %s", module, path)
		}
	}
}

// collectModules notes which settings of our modules a configuration has.
func collectModules(tree any, found map[string]map[string]bool) {
	switch v := tree.(type) {
	case map[string]any:
		name := ""
		switch module, _ := v["module"].(string); {
		case v["handler"] == "registration", v["handler"] == "require_login":
			name = v["handler"].(string)
		case found["store "+module] != nil:
			name = "store " + module
		case found["mailer "+module] != nil:
			name = "mailer " + module
		}
		if name != "" {
			collectPaths(v, "", found[name])
		}
		for _, inner := range v {
			collectModules(inner, found)
		}
	case []any:
		for _, inner := range v {
			collectModules(inner, found)
		}
	}
}

func collectPaths(tree any, path string, found map[string]bool) {
	switch v := tree.(type) {
	case map[string]any:
		found[path] = true
		for name, inner := range v {
			collectPaths(inner, strings.TrimPrefix(path+"."+name, "."), found)
		}
	case []any:
		found[path] = true
		for _, inner := range v {
			if _, ok := inner.(map[string]any); ok {
				collectPaths(inner, path, found)
			}
		}
	default:
		found[path] = true
	}
}

// TestEveryCodeIsDocumented: each Code has its row in docs/errors.md, with the
// status that it is answered with.
func TestEveryCodeIsDocumented(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "internal/refusal/refusal.go", nil, 0)
	require.NoError(t, err)
	raw, err := os.ReadFile("docs/errors.md")
	require.NoError(t, err)
	codes := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		code, err := strconv.Unquote(lit.Value)
		require.NoError(t, err)
		codes++
		status := web.StatusOf(refusal.Code(code))
		row := regexp.MustCompile(`(?m)^\| ` + "`" + code + "`" + ` \| ` + strconv.Itoa(status) + ` \| .+ \|$`)
		require.True(t, row.Match(raw), "docs/errors.md has no row for %s with status %d", code, status)
		return true
	})
	require.Greater(t, codes, 35)
	require.Len(t, regexp.MustCompile("(?m)^\\| `[a-z_]+` \\| [0-9]+ \\|").FindAll(raw, -1), codes, "a row for a code that does not exist")
}

// referenceSettings are those of django-rest-registration, by their names.
const referenceSettings = `USER_LOGIN_FIELDS USER_LOGIN_FIELDS_UNIQUE_CHECK_ENABLED USER_HIDDEN_FIELDS USER_PUBLIC_FIELDS USER_EDITABLE_FIELDS
	USER_EMAIL_FIELD USER_VERIFICATION_ID_FIELD USER_VERIFICATION_FLAG_FIELD
	REGISTER_FLOW_ENABLED REGISTER_SERIALIZER_CLASS REGISTER_OUTPUT_SERIALIZER_CLASS PROFILE_SERIALIZER_CLASS REGISTER_SERIALIZER_PASSWORD_CONFIRM
	REGISTER_VERIFICATION_ENABLED REGISTER_VERIFICATION_PERIOD REGISTER_VERIFICATION_URL REGISTER_VERIFICATION_ONE_TIME_USE
	REGISTER_VERIFICATION_AUTO_LOGIN REGISTER_VERIFICATION_EMAIL_TEMPLATES REGISTER_VERIFICATION_EMAIL_SENDER
	LOGIN_SERIALIZER_CLASS LOGIN_AUTHENTICATOR LOGIN_DEFAULT_SESSION_AUTHENTICATION_BACKEND LOGIN_AUTHENTICATE_SESSION LOGIN_RETRIEVE_TOKEN AUTH_TOKEN_MANAGER_CLASS
	CHANGE_PASSWORD_SERIALIZER_CLASS CHANGE_PASSWORD_SERIALIZER_PASSWORD_CONFIRM
	SEND_RESET_PASSWORD_LINK_SERIALIZER_CLASS SEND_RESET_PASSWORD_LINK_USER_FINDER SEND_RESET_PASSWORD_LINK_SERIALIZER_USE_EMAIL
	RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND RESET_PASSWORD_SERIALIZER_CLASS RESET_PASSWORD_SERIALIZER_PASSWORD_CONFIRM
	RESET_PASSWORD_VERIFICATION_ENABLED RESET_PASSWORD_VERIFICATION_PERIOD RESET_PASSWORD_VERIFICATION_URL RESET_PASSWORD_VERIFICATION_ONE_TIME_USE
	RESET_PASSWORD_VERIFICATION_EMAIL_TEMPLATES RESET_PASSWORD_VERIFICATION_EMAIL_SENDER
	REGISTER_EMAIL_SERIALIZER_CLASS REGISTER_EMAIL_VERIFICATION_ENABLED REGISTER_EMAIL_VERIFICATION_PERIOD REGISTER_EMAIL_VERIFICATION_URL
	REGISTER_EMAIL_VERIFICATION_EMAIL_TEMPLATES REGISTER_EMAIL_VERIFICATION_EMAIL_SENDER
	VERIFICATION_FROM_EMAIL VERIFICATION_REPLY_TO_EMAIL VERIFICATION_EMAIL_HTML_TO_TEXT_CONVERTER VERIFICATION_URL_BUILDER
	VERIFICATION_TEMPLATE_CONTEXT_BUILDER VERIFICATION_TEMPLATE_RENDERER VERIFICATION_TEMPLATES_SELECTOR
	SUCCESS_RESPONSE_BUILDER USE_NON_FIELD_ERRORS_KEY_FROM_DRF_SETTINGS NOT_AUTHENTICATED_PERMISSION_CLASSES
	REST_REGISTRATION_VERIFICATION_REDIRECTS VERIFY_REGISTRATION_SUCCESS_URL VERIFY_REGISTRATION_FAILURE_URL
	VERIFY_EMAIL_SUCCESS_URL VERIFY_EMAIL_FAILURE_URL RESET_PASSWORD_SUCCESS_URL RESET_PASSWORD_FAILURE_URL`

// surroundingSettings are those of Django and its REST framework that such a site has.
const surroundingSettings = `SECRET_KEY SECRET_KEY_FALLBACKS EMAIL_HOST EMAIL_PORT EMAIL_HOST_USER EMAIL_HOST_PASSWORD EMAIL_USE_TLS EMAIL_USE_SSL
	EMAIL_TIMEOUT EMAIL_BACKEND DEFAULT_FROM_EMAIL LANGUAGE_CODE AUTH_USER_MODEL AUTH_PASSWORD_VALIDATORS PASSWORD_HASHERS PASSWORD_RESET_TIMEOUT
	SESSION_COOKIE_AGE SESSION_COOKIE_NAME SESSION_COOKIE_DOMAIN SESSION_COOKIE_SAMESITE SESSION_COOKIE_SECURE SESSION_COOKIE_HTTPONLY
	CSRF_TRUSTED_ORIGINS CORS_ALLOWED_ORIGINS LOGIN_URL DEFAULT_THROTTLE_RATES`

func TestEverySettingOfTheReferenceIsNamed(t *testing.T) {
	page, err := os.ReadFile("docs/from-django-rest-registration.md")
	require.NoError(t, err)
	named := map[string]int{}
	for _, name := range regexp.MustCompile("`([A-Z_]{5,})`").FindAllStringSubmatch(string(page), -1) {
		named[name[1]]++
	}
	delete(named, "REST_REGISTRATION")
	for name := range strings.FieldsSeq(referenceSettings + " " + surroundingSettings) {
		require.Equal(t, 1, named[name], name)
		delete(named, name)
	}
	require.Empty(t, named, "no setting of the reference")
}

// What is secret by its name is shown to nobody, also not in a list.
func TestSecretSettingsAreHidden(t *testing.T) {
	shown := []string{ // names of ways and of other things, and lengths of time
		"change_password.password_confirm", "factors.passkey", "login.jwt.key_lifetime", "login.mail_code", "login.password", "login.token", "non_field_errors_key",
		"register.password_confirm", "reset_password.password_confirm",
	}
	names := regexp.MustCompile(`secret|password|token|key|code`)
	hidden := 0
	for _, path := range allSettings()["registration"] {
		last := path[strings.LastIndex(path, ".")+1:]
		switch {
		case registration.IsSecretSetting(path):
			hidden++
		case names.MatchString(last):
			assert.Contains(t, shown, path, "is it a secret? Then it belongs into secretSettings")
		}
	}
	require.Equal(t, registration.SecretSettings(), hidden, "each is a setting")
}
