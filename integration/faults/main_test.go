// main_test.go: what fails and what is too much, tested on the built Caddy.

package faults_test

import (
	"os"
	"testing"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestMain(m *testing.M) {
	if code, is := beProbe(); is {
		os.Exit(code)
	}
	beCaddyThatHears()
	os.Exit(served.Main(m))
}

type data = served.Data
