package siting

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWarnings(t *testing.T) {
	site := Place{Source: "Caddyfile:3", Realm: "default", Path: "/accounts", BaseURL: "https://example.com", Hosts: []string{"example.com"}, Ports: []string{"443"}, TLS: true}
	with := func(change func(*Place)) Place {
		p := site
		change(&p)
		return p
	}
	other := with(func(p *Place) { p.Source, p.Realm = "Caddyfile:9", "other" })
	const wrongBase, hidden, taken = "base_url is", "is never reached", "is taken off the path"
	for name, c := range map[string]struct {
		places []Place
		warns  []string
	}{
		"all is well":            {[]Place{site}, nil},
		"any host":               {[]Place{with(func(p *Place) { p.Hosts = nil })}, nil},
		"a wildcard":             {[]Place{with(func(p *Place) { p.Hosts, p.BaseURL = []string{"*.example.com"}, "https://A.example.com" })}, nil},
		"a placeholder":          {[]Place{with(func(p *Place) { p.Hosts = []string{"{env.HOST}"} })}, nil},
		"no base_url":            {[]Place{with(func(p *Place) { p.BaseURL = "" })}, nil},
		"another host":           {[]Place{with(func(p *Place) { p.BaseURL = "https://www.example.com" })}, []string{wrongBase}},
		"another port":           {[]Place{with(func(p *Place) { p.BaseURL = "https://example.com:8443" })}, []string{wrongBase}},
		"another scheme":         {[]Place{with(func(p *Place) { p.BaseURL = "http://example.com" })}, []string{wrongBase}},
		"plain HTTP":             {[]Place{with(func(p *Place) { p.TLS, p.Ports = false, []string{"80"} })}, []string{wrongBase}},
		"an IPv6 address":        {[]Place{with(func(p *Place) { p.Hosts, p.BaseURL = []string{"::1"}, "https://[::1]" })}, nil},
		"a proxy is named":       {[]Place{with(func(p *Place) { p.BaseURL, p.Proxied = "https://www.example.com", true })}, nil},
		"one of two sites is it": {[]Place{with(func(p *Place) { p.Hosts, p.Server = []string{"www.example.com"}, "b" }), site}, nil},
		"told once a realm": {[]Place{
			with(func(p *Place) { p.Hosts = []string{"a.example"} }), with(func(p *Place) { p.Hosts = []string{"b.example"} }),
		}, []string{wrongBase}},

		"asked by a server that nobody knows": {[]Place{with(func(p *Place) { p.Asked = true })}, []string{"authz is on"}},
		"asked by one that is named":          {[]Place{with(func(p *Place) { p.Asked, p.Proxied = true, true })}, nil},

		"two at one path":              {[]Place{site, other}, []string{hidden}},
		"one below the other":          {[]Place{site, with(func(p *Place) { p.Realm, p.Path = "other", "/Accounts/staff" })}, []string{hidden}},
		"beside each other":            {[]Place{site, with(func(p *Place) { p.Realm, p.Path = "other", "/accounts-b" })}, nil},
		"other servers":                {[]Place{site, with(func(p *Place) { p.Server = "b" })}, nil},
		"other hosts":                  {[]Place{site, with(func(p *Place) { p.Hosts, p.BaseURL, p.Realm = []string{"b.example"}, "https://b.example", "b" })}, nil},
		"the first has a condition":    {[]Place{with(func(p *Place) { p.Within = []int{1} }), other}, nil},
		"the second has a condition":   {[]Place{site, with(func(p *Place) { p.Within = []int{1} })}, []string{hidden}},
		"two conditions":               {[]Place{with(func(p *Place) { p.Within = []int{1} }), with(func(p *Place) { p.Within = []int{2} })}, nil},
		"any host hides":               {[]Place{with(func(p *Place) { p.Hosts = nil }), other}, []string{hidden}},
		"the rest of any host is left": {[]Place{site, with(func(p *Place) { p.Hosts = nil })}, nil},

		"base_url has what is taken":    {[]Place{with(func(p *Place) { p.Taken, p.BaseURL = "/app", "https://example.com/app" })}, nil},
		"a proxy takes more":            {[]Place{with(func(p *Place) { p.Taken, p.BaseURL = "/app", "https://example.com/x/app/" })}, nil},
		"base_url hasn't what is taken": {[]Place{with(func(p *Place) { p.Taken = "/app" })}, []string{taken}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Warnings(c.places)
			require.Len(t, got, len(c.warns), got)
			for i, part := range c.warns {
				require.Contains(t, got[i].String(), part)
				require.Contains(t, got[i].Message, "Caddyfile:")
				require.NotEmpty(t, got[i].Mend)
			}
		})
	}
}

// The line to write names the host where one is known.
func TestTheLineOfBaseURL(t *testing.T) {
	for host, want := range map[string]string{"a.example": "base_url https://a.example:8443", "*.example": "base_url https://example.com", "{env.HOST}x": "base_url https://example.com", "::1": "base_url https://[::1]:8443", "": "base_url https://example.com"} {
		p := Place{Source: "Caddyfile:3", Path: "/accounts", BaseURL: "http://other.example", Ports: []string{"8443"}, TLS: true}
		if host != "" {
			p.Hosts = []string{host}
		}
		got := Warnings([]Place{p})
		require.Len(t, got, 1)
		require.Contains(t, got[0].Mend, want+". Ignore this if")
	}
	for _, w := range []Warning{ChosenAddress("default"), UnnamedProxy("default"), GuardedTerms("default", "Caddyfile:9", "/terms.html"), GuardedLabel("default", "Caddyfile:9", "/news.html", "news"), GuardedGoodbye("default", "Caddyfile:9", "/bye.html"), GuardedLink("default", "Caddyfile:9", "/help/"), Blind("default", "Caddyfile:9", "a.example", "https://example.com")} {
		require.Equal(t, "default", w.Realm)
		require.Equal(t, w.Message+". "+w.Mend, w.String())
	}
}
