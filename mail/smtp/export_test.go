// export_test.go: what tests of this package look at from outside.

package smtp

const (
	MaxReply = maxReply
	MaxTold  = maxTold
)
