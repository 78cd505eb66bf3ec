// export_test.go: what tests of this package look at from outside.

package account

const (
	LinkPart     = linkPart
	MaxFormer    = maxFormer
	MaxLeftNames = maxLeftNames
	NotifyEvery  = notifyEvery
	PurgeChunk   = purgeChunk
)

var ErrNoToken = errNoToken

var (
	KindTable = kindTable
	Mailbox   = mailbox
)
