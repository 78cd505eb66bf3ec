// common.go: the list of common passwords, where it comes from, see COMMON.md.

package password

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

//go:embed common.txt.gz
var commonGzip []byte

// commonList is the list, sorted. It loads at first use in some 5 milliseconds
// and keeps half a megabyte.
var commonList = sync.OnceValue(func() []string { return must(loadCommon(commonGzip)) })

func loadCommon(gz []byte) ([]string, error) {
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		return nil, fmt.Errorf("list of common passwords: %w", err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("list of common passwords: %w", err)
	}
	list := strings.Split(strings.Trim(string(text), "\n"), "\n")
	slices.Sort(list)
	return list, nil
}

// must is for what the program carries in itself: an error there is a broken
// build, which the tests of this package would have found.
func must(list []string, err error) []string {
	if err != nil {
		panic(err)
	}
	return list
}

// isCommon reports whether password, lower-cased and trimmed as the list is, is
// on it.
func isCommon(password string) bool {
	_, found := slices.BinarySearch(commonList(), strings.TrimSpace(strings.ToLower(password)))
	return found
}
