// table.go: how records are printed: as a table on a terminal, as plain lines in a
// pipe, as they came with --json.

package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/text/width"
)

// measured is how many rows the widths of a table's columns are taken from. What
// comes later and is wider pushes its own row aside: a million rows are not waited for.
const measured = 200

// A table prints rows: under titles and in columns on a terminal; in a pipe without
// titles, a tab between cells. What a terminal would obey is written out (`\x1b`).
type table struct {
	out     *bufio.Writer
	columns bool
	widths  []int
	waiting [][]string // rows whose widths are measured yet
}

func newTable(cmd *cobra.Command, titles ...string) *table {
	_, columns := terminal(cmd.OutOrStdout())
	return tableTo(cmd.OutOrStdout(), columns, titles...)
}

func tableTo(out io.Writer, columns bool, titles ...string) *table {
	t := &table{out: bufio.NewWriter(out), columns: columns}
	if columns && len(titles) > 0 {
		t.waiting = [][]string{titles}
	}
	return t
}

// row prints a row, or keeps it until the widths are known.
func (t *table) row(cells ...string) error {
	for i, cell := range cells {
		cells[i] = printable(cell)
	}
	if !t.columns {
		_, err := t.out.WriteString(strings.Join(cells, "\t") + "\n")
		return err
	}
	if t.widths != nil {
		return t.print(cells)
	}
	if t.waiting = append(t.waiting, cells); len(t.waiting) > measured {
		return t.flush()
	}
	return nil
}

// flush prints what has been held back. The widths stay as they are from now on.
func (t *table) flush() error {
	if t.widths == nil && t.columns {
		t.widths = []int{}
		for _, cells := range t.waiting {
			t.widths = slices.Grow(t.widths, len(cells))[:max(len(t.widths), len(cells))]
			for i, cell := range cells {
				t.widths[i] = max(t.widths[i], wide(cell))
			}
		}
		for _, cells := range t.waiting {
			if err := t.print(cells); err != nil {
				return err
			}
		}
		t.waiting = nil
	}
	return t.out.Flush()
}

func (t *table) print(cells []string) error {
	var line strings.Builder
	for i, cell := range cells {
		line.WriteString(cell)
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", max(t.widths[i]-wide(cell), 0)+2))
		}
	}
	_, err := t.out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	return err
}

// printable writes out what is no character to see: others chose these texts, and a
// terminal obeys some.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsGraphic(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// wide is how many columns of a terminal a text takes.
func wide(s string) (n int) {
	for _, r := range s {
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// maxRecord bounds a line that a server sends.
const maxRecord = 16 << 20

// eachLine gives each line of an answer of NDJSON to fn, and returns the header that
// says where the next page begins, empty after the last one.
func (c *common) eachLine(ctx context.Context, path string, fn func(line []byte) error) (next string, err error) {
	res, err := c.ask(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxRecord)
	for lines.Scan() {
		if err := fn(lines.Bytes()); err != nil {
			return "", err
		}
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return "", errInterrupted
	case err != nil:
		return "", fmt.Errorf("the list broke off: %w", err)
	}
	return res.Header.Get("Next-After"), nil
}

// record reads one line of an answer.
func record(line []byte, v any) error {
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("the answer can't be read: %w", err)
	}
	return nil
}

// printLines prints the records of an answer of NDJSON: as they are with --json, else
// as the rows that cells makes of them.
func printLines[T any](c *common, cmd *cobra.Command, path string, titles []string, cells func(*table, *T) []string) error {
	out := bufio.NewWriter(cmd.OutOrStdout())
	t := newTable(cmd, titles...)
	_, err := c.eachLine(cmd.Context(), path, func(line []byte) error {
		if c.flags.JSON {
			_, err := out.Write(line)
			return errors.Join(err, out.WriteByte('\n'))
		}
		r := new(T)
		if err := record(line, r); err != nil {
			return err
		}
		return t.row(cells(t, r)...)
	})
	if c.flags.JSON {
		return errors.Join(err, out.Flush())
	}
	return errors.Join(err, t.flush())
}
