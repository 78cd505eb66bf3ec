// report_test.go: the arithmetic of the table, and what a load is trusted for.

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMedianOfRatios(t *testing.T) {
	require.InDelta(t, 2.5, median([]float64{4, 1, 2, 3}), 1e-9)
	require.InDelta(t, 1.75, quantile([]float64{4, 1, 2, 3}, 0.25), 1e-9)
	// Round by round: a slow round slows both, and says nothing.
	require.InDelta(t, 0.5, median(ratios([]float64{10, 1, 5}, []float64{20, 2, 10})), 1e-9)
}

func TestAnswersOfAnotherSizeAreNotTrusted(t *testing.T) {
	l := load{connections: 2, answer: 100}
	require.False(t, unlike(shot{Requests: 10, Bytes: 1000}, l))
	require.False(t, unlike(shot{Requests: 10, Bytes: 1150}, l), "answers under way at the end")
	require.True(t, unlike(shot{Requests: 10, Bytes: 999}, l), "a shorter answer: a refusal")
	require.True(t, unlike(shot{Requests: 10, Bytes: 1201}, l))
}

func TestReplaceTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(path, []byte("a\n"+markBegin+"old\n"+markEnd+"b\n"), 0o600))
	require.NoError(t, replaceTable(path, "new\n"))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "a\n"+markBegin+"new\n"+markEnd+"b\n", string(text))
	require.NoError(t, os.WriteFile(path, []byte("no marks"), 0o600))
	require.ErrorContains(t, replaceTable(path, "new\n"), "no marks")
}

func TestSeededTokensDiffer(t *testing.T) {
	s := &seeded{n: 10, place: make([]int32, 10)} // all at the same time
	require.Len(t, s.token(3), 48)
	require.NotEqual(t, s.token(3), s.token(4))
	require.NotEqual(t, s.name(3), s.name(4))
}
