// main_test.go: what stands behind the guard, tested on the built Caddy.

package guarded_test

import (
	"os"
	"testing"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestMain(m *testing.M) { os.Exit(served.Main(m)) }

type data = served.Data
