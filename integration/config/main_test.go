// main_test.go: settings, reloads and builds, tested on the built Caddy.

package config_test

import (
	"os"
	"testing"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestMain(m *testing.M) { os.Exit(served.Main(m)) }

type data = served.Data
