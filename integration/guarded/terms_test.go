// terms_test.go: a guard in front of a page that has to be open, that of the terms or of goodbye
// or one that a label or a link at the foot leads to, is told when Caddy starts.

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

func TestOtherPagesBehindAGuard(t *testing.T) {
	site := func(guard string) string {
		return `
{
	admin 127.0.0.1:[[admin]]
}
http://127.0.0.1:[[port]] {
	registration {
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		user {
			field news boolean {
				label "I want [news](/news.html), as [elsewhere](https://example.com/news)"
			}
			field club text
		}
		pages {
			goodbye /bye.html
			link help /help.html
		}
	}
	` + guard + `
	respond "hello"
}
`
	}
	const label, goodbye = "guards /news.html, to which the label of the field news leads", "guards /bye.html, the page of goodbye"
	s := served.Run(t, site("require_login"))
	s.Logged(0, "Caddyfile:", label, "@members not path /news.html")
	s.Logged(0, "Caddyfile:", goodbye, "@members not path /bye.html")
	s.Logged(0, "Caddyfile:", "guards /help.html, to which a link at the foot of the pages leads", "@members not path /help.html")
	s = served.Run(t, site("@members not path /news.html /bye.html /help.html\n\trequire_login @members"))
	require.NotContains(t, s.Log.Since(0), label)
	require.NotContains(t, s.Log.Since(0), goodbye)
	require.NotContains(t, s.Log.Since(0), "at the foot")
}
