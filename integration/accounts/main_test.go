// main_test.go: what people and the owner do with accounts, tested on the built Caddy.

package accounts_test

import (
	"os"
	"testing"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestMain(m *testing.M) { os.Exit(served.Main(m)) }

type data = served.Data
