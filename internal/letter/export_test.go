// export_test.go: what tests of this package look at from outside.

package letter

var NotLinkLike = notLinkLike

var (
	Wrap    = wrap
	OneLine = oneLine
)
