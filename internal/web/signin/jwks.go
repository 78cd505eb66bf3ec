// jwks.go: GET P/.well-known/jwks.json: the keys of access tokens.

package signin

import (
	"net/http"
	"strconv"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// jwksMaxAge is how long a backend may keep the keys without asking again. It is
// far less than a key is published before it signs.
const jwksMaxAge = 5 * time.Minute

// EndpointJWKS publishes the keys of the access tokens. It is off without JWT.
func EndpointJWKS(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: ".well-known/jwks.json", Methods: []string{http.MethodGet, http.MethodHead}, Off: !r.Options.JWT, Document: serveJWKS,
		Doc: web.EndpointDoc{
			Operation: "getKeys", Tag: web.TagDocuments, Summary: "The public keys of the access tokens (RFC 7517)",
			Success: http.StatusOK, Answer: web.SchemaJWKS, ContentType: "application/jwk-set+json", Codes: []refusal.Code{refusal.CodeUnavailable},
		},
	}
}

// serveJWKS publishes the keys that verify access tokens (RFC 7517).
func serveJWKS(w http.ResponseWriter, req *http.Request, r *web.Realm) {
	a := r.Ready(req.Context())
	if a == nil || a.Access == nil {
		r.Refuse(w, req, refusal.Unavailable(nil))
		return
	}
	set, err := a.Access.Published(req.Context(), r.Now())
	if err != nil {
		r.Refuse(w, req, refusal.Unavailable(err))
		return
	}
	maxAge := min(jwksMaxAge, a.Access.Lead())
	w.Header().Set("Cache-Control", "public, max-age="+strconv.FormatInt(refusal.Seconds(maxAge), 10))
	web.WriteJSON(w, http.StatusOK, "application/jwk-set+json", set)
}
