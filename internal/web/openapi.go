// openapi.go: P/openapi.json: the OpenAPI 3.1 document of exactly what this
// configuration serves, made of the route table and the settings.

package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"
)

// An openAPIDocument is the document as it is sent.
type openAPIDocument struct {
	Body []byte
	Etag string
}

// openAPI makes the documents when they are first asked for: one for plain HTTP
// and one for HTTPS, where the cookie has another name.
type openAPI [2]func() openAPIDocument

// NewOpenAPI makes nothing yet. The names of the realm's cookies have to be set.
func NewOpenAPI(r *Realm) *openAPI {
	var out openAPI
	for i, cookie := range []string{r.CookiePlain, r.CookieTLS} {
		out[i] = sync.OnceValue(func() openAPIDocument {
			body, err := r.openAPIBody(cookie)
			if err != nil { // nothing in it can't be encoded; a test makes it for every setting
				r.Logger.Error("the OpenAPI document could not be made: " + err.Error())
			}
			sum := sha256.Sum256(body)
			return openAPIDocument{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
		})
	}
	return &out
}

func (r *Realm) openAPIBody(cookie string) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(r.openAPIDocument(cookie))
	return out.Bytes(), err
}

func (r *Realm) openAPIDocument(cookie string) Object {
	names := make([]string, 0, len(r.Endpoints))
	for name, e := range r.Endpoints {
		if !e.Off || e.Invited {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var paths Object
	for _, name := range names {
		paths = append(paths, member{"/" + name, r.pathItem(r.Endpoints[name])})
	}
	tags := []Object{
		{{"name", TagAccount}, {"description", "Sign-up and the profile."}},
		{{"name", TagSignIn}, {"description", "Sessions and tokens."}},
		{{"name", TagPassword}, {"description", "Change and reset of the password."}},
		{{"name", TagEmail}, {"description", "Change of the e-mail address."}},
		{{"name", TagDocuments}, {"description", "Files that everybody may read."}},
	}
	schemas := r.schemas()
	if r.Owner != nil {
		paths, schemas = append(paths, r.ownerPaths()...), append(schemas, r.Owner.Schemas()...)
		tags = append(tags, Object{{"name", TagOwner}, {"description", "For who looks after the accounts, the members of one group; 404 to everybody else. API tokens and JWTs read only."}})
	}
	server := r.Options.BaseURL + r.Path
	description := "Bodies are JSON, forms or multipart forms, up to 64 KiB. Each path works with and without a trailing slash."
	if !r.Options.Pages.Off {
		description += " A client that prefers `text/html`, as browsers do, gets pages for people under the same paths; this document does not describe them."
	}
	return Object{
		{"openapi", "3.1.1"},
		{"info", Object{{"title", "Accounts of " + r.SiteName}, {"version", "1.0.0"}, {"description", description}}},
		{"servers", []Object{{{"url", server}}}},
		{"tags", tags},
		{"paths", paths},
		{"components", Object{{"securitySchemes", r.securitySchemes(cookie)}, {"schemas", schemas}}},
	}
}

// ownerPaths are the owner's pages, each with its methods.
func (r *Realm) ownerPaths() (paths Object) {
	for _, e := range r.Owner.Described() {
		path := "/" + e.Name
		item, _ := paths.at(path).(Object)
		paths = paths.with(path, append(item, r.pathItem(e)...))
	}
	return paths
}

// The names of the security schemes.
const (
	schemeCookie = "cookie"
	schemeBearer = "bearer"
	schemeToken  = "token"
)

func (r *Realm) securitySchemes(cookie string) Object {
	out := Object{}
	if r.Options.Login.Session {
		out = append(out, member{schemeCookie, Object{{"type", "apiKey"}, {"in", "cookie"}, {"name", cookie}, {"description", "The session cookie that a sign-in sets."}}})
	}
	if r.Options.Login.Token {
		bearer := Object{{"type", "http"}, {"scheme", "bearer"}, {"description", "The token that a sign-in answers."}}
		if r.Options.JWT {
			bearer = append(bearer, member{"bearerFormat", "JWT"})
		}
		out = append(out, member{schemeBearer, bearer}, member{schemeToken, Object{
			{"type", "apiKey"}, {"in", "header"}, {"name", "Authorization"}, {"description", "`Token`, a space, and the token that a sign-in answers."},
		}})
	}
	return out
}

// security says how a request to an endpoint may be signed in; each is enough.
func (r *Realm) security(e *Endpoint) []Object {
	out := []Object{}
	if !e.SignedIn {
		return out
	}
	for _, scheme := range r.securitySchemes("") {
		out = append(out, Object{{scheme.Name, []string{}}})
	}
	return out
}

// EndpointOpenAPI is the description of the others, as they are configured.
func EndpointOpenAPI(*Realm) *Endpoint {
	return &Endpoint{
		Name: "openapi.json", Methods: []string{http.MethodGet, http.MethodHead}, Document: serveOpenAPI,
		Doc: EndpointDoc{Operation: "getOpenAPI", Tag: TagDocuments, Summary: "This document", Success: http.StatusOK, Answer: schemaOpenAPI, versioned: true},
	}
}

// serveOpenAPI sends the document, or 304 to who has it already.
func serveOpenAPI(w http.ResponseWriter, req *http.Request, r *Realm) {
	i := 0
	if r.Secure(req) {
		i = 1
	}
	doc := r.Openapi[i]()
	h := w.Header()
	h.Set("Cache-Control", "public, no-cache") // keep it, and ask whether it is still so
	serveVersion(w, req, "application/json", doc.Etag, doc.Body)
}

// serveVersion sends a body of which clients keep a copy under its entity tag, as
// net/http sends a file: 304 to who has it, a part to who asks for one.
func serveVersion(w http.ResponseWriter, req *http.Request, contentType, etag string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", etag)
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(body))
}
