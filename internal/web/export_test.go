// export_test.go: what tests of this package look at from outside.

package web

const StyleName = styleName

var (
	ReadBody       = readBody
	DecodeBody     = decodeBody
	SentCookie     = sentCookie
	AcceptsHTML    = acceptsHTML
	AcceptsProblem = acceptsProblem
	FirstSentence  = firstSentence
)

const MaxMembers = maxMembers

var (
	LastingTables  = lastingTables
	ThrottleTables = throttleTables
)
