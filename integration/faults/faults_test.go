// faults_test.go: the fault harness. Each fault is a test that also leaves a row
// in a table; `make faults` runs them at full length and prints that table, the
// ordinary test run has their short form.

package faults_test

import (
	"os"
	"testing"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// long tells whether faults run at full length: 200 kills, a minute of reloads,
// half an hour of traffic.
var long = os.Getenv("REGISTRATION_FAULTS") == "long"

// lengths picks by the form that runs.
func lengths[T any](short, full T) T {
	if long {
		return full
	}
	return short
}

// faultResult leaves a row of the table.
func faultResult(t testing.TB, fault, goal, seen string) {
	t.Helper()
	served.FaultResult(t, fault, goal, seen)
}
