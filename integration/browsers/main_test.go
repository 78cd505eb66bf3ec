// main_test.go: pages and documents in browsers and by tools from npm, tested on the built Caddy.

package browsers_test

import (
	"os"
	"testing"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestMain(m *testing.M) { os.Exit(served.Main(m)) }

type data = served.Data
