// main_test.go: signing in by an account elsewhere, at a provider that others have written
// (zitadel/oidc), tested on the built Caddy in Chromium. It is a module of its own, so that
// this provider is a dependency of nothing else: `make test` runs it.

package provider_test

import (
	"os"
	"testing"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestMain(m *testing.M) { os.Exit(served.Main(m)) }
