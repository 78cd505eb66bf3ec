// common.go: the list of common passwords, where it comes from, see COMMON.md.

package password

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"
)

//go:embed common.txt.gz
var commonGzip []byte

// commonSize is room for the list (163 178 bytes) in one allocation.
const commonSize = 160 << 10

// commonList is the list as one string, each entry between line breaks. It
// loads at first use in a few milliseconds and keeps 160 KiB. Searching
// it from end to end takes a fifth of a millisecond, in front of a hash of some
// forty; a map would save that for several times the memory.
var commonList = sync.OnceValue(func() string { return must(loadCommon(commonGzip)) })

func loadCommon(gz []byte) (string, error) {
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		return "", fmt.Errorf("list of common passwords: %w", err)
	}
	var b strings.Builder
	b.Grow(commonSize)
	b.WriteByte('\n')
	if _, err := io.Copy(&b, r); err != nil { //nolint:gosec // our own embedded list
		return "", fmt.Errorf("list of common passwords: %w", err)
	}
	b.WriteByte('\n')
	return b.String(), nil
}

// must is for what the program carries in itself: an error there is a broken
// build, which the tests of this package would have found.
func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

// isCommon reports whether password, lower-cased and trimmed as the list is, is
// on it.
func isCommon(password string) bool {
	entry := strings.TrimSpace(strings.ToLower(password))
	// A line break within would make two neighbours on the list look like one.
	return !strings.Contains(entry, "\n") && strings.Contains(commonList(), "\n"+entry+"\n")
}
