// faults.go: the table of what faults did.

package served

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// FaultResult records what one fault did: what was tried, what had to hold and
// what was seen, all without a "|". The row goes at the end of the file that
// REGISTRATION_FAULTS_TABLE names.
func FaultResult(t testing.TB, fault, goal, seen string) {
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
