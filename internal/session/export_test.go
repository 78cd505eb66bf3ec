// export_test.go: what tests of this package look at from outside.

package session

const (
	MaxAccessToken  = maxAccessToken
	WideAccessToken = wideAccessToken
)
