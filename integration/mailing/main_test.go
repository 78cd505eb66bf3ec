// main_test.go: mail over SMTP and the site over HTTPS, tested on the built Caddy.

package mailing_test

import (
	"os"
	"testing"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestMain(m *testing.M) { os.Exit(served.Main(m)) }

type data = served.Data
