// endpoint_openapi.go: GET P/openapi.json: what this configuration serves.

package registration

import (
	"net/http"
	"strconv"
	"strings"
)

func endpointOpenAPI(*webRealm) *endpoint {
	return &endpoint{
		name: "openapi.json", methods: []string{http.MethodGet, http.MethodHead}, document: serveOpenAPI,
		doc: endpointDoc{operation: "getOpenAPI", tag: tagDocuments, summary: "This document", success: http.StatusOK, answer: schemaOpenAPI, versioned: true},
	}
}

// serveOpenAPI sends the document, or 304 to who has it already.
func serveOpenAPI(w http.ResponseWriter, req *http.Request, r *webRealm) {
	i := 0
	if r.secure(req) {
		i = 1
	}
	doc := r.openapi[i]()
	h := w.Header()
	h.Set("ETag", doc.etag)
	h.Set("Cache-Control", "public, no-cache") // keep it, and ask whether it is still so
	h.Set("X-Content-Type-Options", "nosniff")
	if matchesETag(req.Header.Get("If-None-Match"), doc.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(doc.body)))
	w.WriteHeader(http.StatusOK)
	if req.Method != http.MethodHead {
		_, _ = w.Write(doc.body)
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
