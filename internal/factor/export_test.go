// export_test.go: what tests of this package look at from outside.

package factor

const (
	MaxTaken  = maxTaken
	MaxParcel = maxParcel
)

var ErrTooMany = errTooMany
