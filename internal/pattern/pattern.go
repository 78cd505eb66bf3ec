// Package pattern has regular expressions that are compiled when they are first used. As
// variables of packages they are compiled by each start of the program, for every command.
package pattern

import (
	"regexp"
	"sync"
)

// Of is a regular expression, from its first use on. A wrong one panics there.
func Of(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
