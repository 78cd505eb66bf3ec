// openapi.go: P/openapi.json: the OpenAPI 3.1 document of exactly what this
// configuration serves, made of the route table and the settings.

package registration

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"
)

// An openAPIDocument is the document as it is sent.
type openAPIDocument struct {
	body []byte
	etag string
}

// openAPI makes the documents when they are first asked for: one for plain HTTP
// and one for HTTPS, where the cookie has another name.
type openAPI [2]func() openAPIDocument

func newOpenAPI(r *webRealm) *openAPI {
	var out openAPI
	for i, cookie := range []string{r.cookiePlain, r.cookieTLS} {
		out[i] = sync.OnceValue(func() openAPIDocument {
			body, err := r.openAPIBody(cookie)
			if err != nil { // nothing in it can't be encoded; a test makes it for every setting
				r.logger.Error("the OpenAPI document could not be made: " + err.Error())
			}
			sum := sha256.Sum256(body)
			return openAPIDocument{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
		})
	}
	return &out
}

func (r *webRealm) openAPIBody(cookie string) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(r.openAPIDocument(cookie))
	return out.Bytes(), err
}

func (r *webRealm) openAPIDocument(cookie string) object {
	names := make([]string, 0, len(r.endpoints))
	for name, e := range r.endpoints {
		if !e.off {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var paths object
	for _, name := range names {
		paths = append(paths, member{"/" + name, r.pathItem(r.endpoints[name])})
	}
	server := r.options.BaseURL + r.path
	description := "Bodies are JSON, forms or multipart forms, up to 64 KiB. Each path works with and without a trailing slash."
	if !r.options.Pages.Off {
		description += " A client that prefers `text/html`, as browsers do, gets pages for people under the same paths; this document does not describe them."
	}
	return object{
		{"openapi", "3.1.1"},
		{"info", object{{"title", "Accounts of " + r.siteName}, {"version", "1.0.0"}, {"description", description}}},
		{"servers", []object{{{"url", server}}}},
		{"tags", []object{
			{{"name", tagAccount}, {"description", "Sign-up and the profile."}},
			{{"name", tagSignIn}, {"description", "Sessions and tokens."}},
			{{"name", tagPassword}, {"description", "Change and reset of the password."}},
			{{"name", tagEmail}, {"description", "Change of the e-mail address."}},
			{{"name", tagDocuments}, {"description", "Files that are anybody's."}},
		}},
		{"paths", paths},
		{"components", object{{"securitySchemes", r.securitySchemes(cookie)}, {"schemas", r.schemas()}}},
	}
}

// The names of the security schemes.
const (
	schemeCookie = "cookie"
	schemeBearer = "bearer"
	schemeToken  = "token"
)

func (r *webRealm) securitySchemes(cookie string) object {
	out := object{}
	if r.options.Login.Session {
		out = append(out, member{schemeCookie, object{{"type", "apiKey"}, {"in", "cookie"}, {"name", cookie}, {"description", "The session cookie that a sign-in sets."}}})
	}
	if r.options.Login.Token {
		bearer := object{{"type", "http"}, {"scheme", "bearer"}, {"description", "The token that a sign-in answers."}}
		if r.options.JWT {
			bearer = append(bearer, member{"bearerFormat", "JWT"})
		}
		out = append(out, member{schemeBearer, bearer}, member{schemeToken, object{
			{"type", "apiKey"}, {"in", "header"}, {"name", "Authorization"}, {"description", "`Token`, a space, and the token that a sign-in answers."},
		}})
	}
	return out
}

// security says how a request to an endpoint may be signed in; each is enough.
func (r *webRealm) security(e *endpoint) []object {
	out := []object{}
	if !e.signedIn {
		return out
	}
	for _, scheme := range r.securitySchemes("") {
		out = append(out, object{{scheme.Name, []string{}}})
	}
	return out
}
