// export_test.go: what tests of this package look at from outside.

package text

const LocalesFolder = localesFolder

var DirectionOf = directionOf
