// endpoint_openapi.go: GET P/openapi.json: what this configuration serves.

package web

import (
	"bytes"
	"net/http"
	"time"
)

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
