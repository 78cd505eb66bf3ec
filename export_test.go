// export_test.go: what tests of the outside need of the inside.

package registration

import (
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// StatusOf is the HTTP status of a code.
func StatusOf(code refusal.Code) int { return web.StatusOf(code) }
