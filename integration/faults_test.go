// faults_test.go: the fault harness. Each fault is a test that also leaves a row
// in a table; `make faults` runs them at full length and prints that table, the
// ordinary test run has their short form.

package integration

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
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

var faultRows struct {
	mu   sync.Mutex
	rows []string
}

// faultResult records what one fault did: what was tried, what had to hold and
// what was seen, all without a "|".
func faultResult(t testing.TB, fault, goal, seen string) {
	t.Helper()
	verdict := "held"
	if t.Failed() {
		verdict = "BROKEN"
	}
	t.Logf("fault: %s: %s: %s: %s", fault, goal, seen, verdict)
	faultRows.mu.Lock()
	defer faultRows.mu.Unlock()
	faultRows.rows = append(faultRows.rows, fmt.Sprintf("| %s | %s | %s | %s |", fault, goal, seen, verdict))
}

// printFaults writes the table to the file that REGISTRATION_FAULTS_TABLE names.
func printFaults() error {
	path := os.Getenv("REGISTRATION_FAULTS_TABLE")
	if path == "" || len(faultRows.rows) == 0 {
		return nil
	}
	table := "| fault | must hold | seen | verdict |\n|---|---|---|---|\n" + strings.Join(faultRows.rows, "\n") + "\n"
	return os.WriteFile(path, []byte(table), 0o644)
}
