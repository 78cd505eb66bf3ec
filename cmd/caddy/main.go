// Command caddy is Caddy with its standard modules and this plugin, for running
// the example and the tests; a site of your own is better built with xcaddy.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/seed-928992b0/caddy-registration"
)

func main() { caddycmd.Main() }
