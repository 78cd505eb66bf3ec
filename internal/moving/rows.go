// rows.go: accounts that are either a list of JSON or a table of CSV with the same names.

package moving

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// objectsOrRows yields records of JSON objects, of which the first has the name needed, or
// of rows whose header has it as a column.
func objectsOrRows(in io.Reader, o Options, yield func(Record, error) bool, format, needed string,
	fill func(*Record, map[string]any, Options) error,
) error {
	begin := bufio.NewReader(decoded(in))
	if c := (&document{in: begin}).first(); c == '[' || c == '{' {
		known := false
		return newDocument(begin, o).list(recordsOf(yield, func(v *map[string]any, r *Record) (bool, error) {
			if _, has := (*v)[needed]; !has && !known {
				return false, foreign(format, strconv.Quote(needed))
			}
			known = true
			return true, fill(r, *v, o)
		}))
	}
	t := newTable(begin, o)
	if err := t.readHeader(); err != nil {
		return err
	}
	if !slices.Contains(t.header, needed) {
		return fmt.Errorf("the file is neither a list of JSON nor a table with a column %q", needed)
	}
	return t.rows(yield, func(row []string, r *Record) error {
		v := make(map[string]any, len(row))
		for i, name := range t.header {
			v[name] = row[i]
		}
		return fill(r, v, o)
	})
}
