// guardcheck.go: a guard for a realm that nobody defines is found while the
// configuration is provisioned, so that `caddy validate`, which starts nothing,
// refuses it too.

package registration

import (
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func unknownRealm(g guardRef) error {
	return fmt.Errorf("%s: require_login guards with the realm %q, which no registration directive defines; add `registration` to a site, or name one that exists: require_login { realm <name> }", orUnknown(g.source), g.realm)
}

// check refuses a guard whose realm is neither defined nor going to be. Caddy
// provisions the routes of an HTTP app one by one; the handlers that are still
// to come stand in the app as raw JSON. Where the guard sits elsewhere, the app's
// Start has the last word.
func (a *App) check(ctx caddy.Context, g guardRef) error {
	if a.realm(g.realm) != nil {
		return nil
	}
	for _, module := range ctx.Modules() {
		httpApp, ok := module.(*caddyhttp.App)
		if !ok {
			continue
		}
		ahead, err := json.Marshal(httpApp)
		var tree any
		if err != nil || json.Unmarshal(ahead, &tree) != nil || definesRealm(tree, g.realm) {
			return nil
		}
		return unknownRealm(g)
	}
	return nil
}

// definesRealm reports whether a registration handler of the realm stands
// anywhere in a JSON tree.
func definesRealm(tree any, realm string) bool {
	switch v := tree.(type) {
	case map[string]any:
		if v["handler"] == "registration" {
			name, _ := v["realm"].(string)
			setDefault(&name, defaultRealm)
			if name == realm {
				return true
			}
		}
		for _, inner := range v {
			if definesRealm(inner, realm) {
				return true
			}
		}
	case []any:
		for _, inner := range v {
			if definesRealm(inner, realm) {
				return true
			}
		}
	}
	return false
}
