// doctor.go: what is wrong or unwise with the site.

package adminapi

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/doctor"
)

// findings is the doctor's answer.
type findings struct {
	Findings []doctor.Finding `json:"findings"`
}

var doctorOperations = []Operation{{
	Method: http.MethodGet, Path: "{realm}/doctor",
	Summary: "What is wrong or unwise, each with the line to write: a fault doesn't work or is open to others, an advice could be better, and what was looked at and is well is fine",
	Answer: findings{[]doctor.Finding{{
		Level: doctor.Advice, Code: "secret", Message: "the key that signs links is kept in the store", Mend: "secret {env.REGISTRATION_SECRET}",
	}}},
	Do: func(c *Call) (any, error) {
		if c.Realm.Facts == nil {
			return nil, errorf(http.StatusNotImplemented, "this realm tells nothing of itself")
		}
		facts, err := c.Realm.Facts(c.Context())
		if err != nil {
			return nil, errorf(http.StatusInternalServerError, "the store could not be read: %v", err)
		}
		return findings{doctor.Look(facts)}, nil
	},
}}
