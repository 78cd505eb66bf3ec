// faults_test.go: the fault harness. Each fault is a test that also leaves a row
// in a table; `make faults` runs them at full length and prints that table, the
// ordinary test run has their short form.

package faults_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
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

// faultResult records what one fault did: what was tried, what had to hold and
// what was seen, all without a "|". The row goes at the end of the file that
// REGISTRATION_FAULTS_TABLE names.
func faultResult(t testing.TB, fault, goal, seen string) {
	t.Helper()
	verdict := "held"
	if t.Failed() {
		verdict = "BROKEN"
	}
	t.Logf("fault: %s: %s: %s: %s", fault, goal, seen, verdict)
	path := os.Getenv("REGISTRATION_FAULTS_TABLE")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	_, err = fmt.Fprintf(file, "| %s | %s | %s | %s |\n", fault, goal, seen, verdict)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}
