//go:build !unix

package served

// lock does nothing here: run the packages one after the other (go test -p 1).
func lock(string) (unlock func(), err error) { return func() {}, nil }
