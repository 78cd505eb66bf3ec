// endpoint_jwks.go: GET P/.well-known/jwks.json: the keys of access tokens.

package registration

import (
	"net/http"
	"strconv"
	"time"
)

// jwksMaxAge is how long a backend may keep the keys without asking again. It is
// far less than a key is published before it signs.
const jwksMaxAge = 5 * time.Minute

func endpointJWKS(r *webRealm) *endpoint {
	return &endpoint{
		name: ".well-known/jwks.json", methods: []string{http.MethodGet, http.MethodHead}, off: !r.options.JWT, document: serveJWKS,
		doc: endpointDoc{
			operation: "getKeys", tag: tagDocuments, summary: "The public keys of the access tokens (RFC 7517)",
			success: http.StatusOK, answer: schemaJWKS, contentType: "application/jwk-set+json", codes: []Code{CodeUnavailable},
		},
	}
}

// serveJWKS publishes the keys that verify access tokens (RFC 7517).
func serveJWKS(w http.ResponseWriter, req *http.Request, r *webRealm) {
	a := r.accounts.Load()
	if a == nil || a.access == nil {
		r.refuse(w, req, unavailable(nil))
		return
	}
	set, err := a.access.published(req.Context(), r.now())
	if err != nil {
		r.refuse(w, req, unavailable(err))
		return
	}
	maxAge := min(jwksMaxAge, a.access.lead())
	w.Header().Set("Cache-Control", "public, max-age="+strconv.FormatInt(seconds(maxAge), 10))
	writeJSON(w, http.StatusOK, "application/jwk-set+json", set)
}
