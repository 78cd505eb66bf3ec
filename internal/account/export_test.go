// export_test.go: what tests of this package look at from outside.

package account

const (
	MaxFormer    = maxFormer
	MaxLeftNames = maxLeftNames
	NameReserved = nameReserved
	NotifyEvery  = notifyEvery
	PurgeChunk   = purgeChunk
)

var ErrNoToken = errNoToken
