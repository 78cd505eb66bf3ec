// endpoint_openapi.go: GET P/openapi.json: what this configuration serves.

package web

import (
	"net/http"
	"strconv"
	"strings"
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
	h.Set("ETag", doc.Etag)
	h.Set("Cache-Control", "public, no-cache") // keep it, and ask whether it is still so
	h.Set("X-Content-Type-Options", "nosniff")
	if matchesETag(req.Header.Get("If-None-Match"), doc.Etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(doc.Body)))
	w.WriteHeader(http.StatusOK)
	if req.Method != http.MethodHead {
		_, _ = w.Write(doc.Body)
	}
}

// matchesETag reads an If-None-Match (RFC 9110, 13.1.2), whose comparison is weak.
func matchesETag(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		if part = strings.TrimSpace(part); part == "*" || strings.TrimPrefix(part, "W/") == etag {
			return true
		}
	}
	return false
}
