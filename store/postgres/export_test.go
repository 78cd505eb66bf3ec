//go:build !registration_nopostgres

package postgres

import "testing"

// Later has this package be of a later version until the test ends or the returned function is
// called: one whose tables are made by these statements, and serve plugins that know oldest.
func Later(t *testing.T, statements string, oldest int) (end func()) {
	before := migrations
	migrations = append(before[:len(before):len(before)], migration{statements, oldest})
	end = func() { migrations = before }
	t.Cleanup(end)
	return end
}
