// totp_qr.go: GET P/totp-qr: what an app reads with the camera.

package factors

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointTOTPPicture is the QR code of the app that is being set up, for who does.
func EndpointTOTPPicture(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "totp-qr", Methods: []string{http.MethodGet, http.MethodHead}, Off: !r.Options.Factors.TOTP, Act: actTOTPPicture,
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "The QR code of the app that is being set up", Success: http.StatusOK, Answer: web.SchemaPicture, ContentType: "image/svg+xml",
			Description: "For the sign-in that has begun it. What the picture says stands in `uri`, too.",
			ReadCodes:   []refusal.Code{refusal.CodeNotAuthenticated, refusal.CodeEnrolmentExpired},
		},
	}
}

func actTOTPPicture(c *web.Call) (*web.Reply, error) {
	u, totp, err := c.Enrolment(c.Req.Context(), enroller(c))
	if err != nil {
		return nil, err
	}
	picture, err := factor.SVG(totp.URI)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, User: u, Picture: picture}, nil
}
