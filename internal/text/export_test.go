// export_test.go: what tests of this package look at from outside.

package text

import "maps"

const LocalesFolder = localesFolder

var DirectionOf = directionOf

// ReadBy are the catalogues that f asks for.
func ReadBy(f func()) map[string]bool {
	were, asked := maps.Clone(shipped), map[string]bool{}
	for name, c := range were {
		shipped[name] = func() catalogue {
			asked[name] = true
			return c()
		}
	}
	f()
	maps.Copy(shipped, were)
	return asked
}
