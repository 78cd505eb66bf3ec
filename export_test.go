// export_test.go: what tests of the outside need of the inside.

package registration

// StatusOf is the HTTP status of a code.
func StatusOf(code Code) int { return statusOf(code) }
