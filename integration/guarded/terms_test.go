// terms_test.go: a guard in front of the page of the terms is told when Caddy starts.

package guarded_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestTermsBehindAGuard(t *testing.T) {
	site := func(guard, page string) string {
		return `
{
	admin 127.0.0.1:[[admin]]
}
http://127.0.0.1:[[port]] {
	registration {
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		register {
			terms ` + page + ` 1
		}
	}
	` + guard + `
	respond "terms"
}
`
	}
	const warning = "the page of the terms"
	for name, c := range map[string]struct {
		conf  string
		warns bool
	}{
		"the whole site":         {site("require_login", "/terms.html"), true},
		"its folder":             {site("header X-Y z\n\thandle /legal/* {\n\t\trequire_login\n\t}", "/legal/terms.html?v=1"), true},
		"left out":               {site("@members not path /terms.html\n\trequire_login @members", "/terms.html"), false},
		"another folder":         {site("require_login /members/*", "/terms.html"), false},
		"answered before":        {site("route {\n\t\trespond /terms.html terms\n\t\trequire_login\n\t}", "/terms.html"), false},
		"in a handle of its own": {site("handle /terms.html {\n\t\trespond terms\n\t}\n\thandle {\n\t\trequire_login\n\t}", "/terms.html"), false},
		"elsewhere":              {site("require_login", "https://example.com/terms.html"), false},
		"all but the house":      {site("@out not client_ip 127.0.0.1\n\trequire_login @out", "/terms.html"), true},
		"the house":              {site("@in remote_ip 127.0.0.1\n\trequire_login @in", "/terms.html"), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := served.Run(t, c.conf)
			if c.warns {
				s.Logged(0, "Caddyfile:", warning, "@members not path /")
				return
			}
			require.NotContains(t, s.Log.Since(0), warning)
		})
	}
}
