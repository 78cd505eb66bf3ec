// csv.go: a table with a header that names the fields.

package moving

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxColumns bounds the header.
const maxColumns = 1000

// A table reads CSV (RFC 4180) row by row.
type table struct {
	in     *csv.Reader
	bound  *bounded
	most   int
	line   int // where the last row began
	before int // lines that were read before the table
	header []string
}

// newTable reads the separator off the first line: a comma, a semicolon or a tab,
// whichever it has most of, as spreadsheets write what their country has.
func newTable(in io.Reader, o Options) *table {
	bound := newBounded(decoded(in), o.MaxRecord)
	buffered := bufio.NewReaderSize(bound, 4096)
	t := &table{bound: bound, most: o.MaxRecord, line: o.before, before: o.before}
	first, _ := buffered.Peek(4096)
	if end := slices.Index(first, '\n'); end >= 0 {
		first = first[:end]
	}
	t.in = csv.NewReader(buffered)
	t.in.ReuseRecord = true
	t.in.Comma = ','
	for _, comma := range []rune{';', '\t'} {
		if strings.Count(string(first), string(comma)) > strings.Count(string(first), string(t.in.Comma)) {
			t.in.Comma = comma
		}
	}
	return t
}

// row returns the next row; it is valid until the one after it is read. An error that
// is a *Problem is of this row alone.
func (t *table) row() ([]string, error) {
	row, err := t.in.Read()
	t.bound.next()
	var syntax *csv.ParseError
	switch {
	case err == nil:
		line, _ := t.in.FieldPos(0)
		t.line = t.before + line
		return row, nil
	case errors.Is(err, errTooLong):
		return nil, tooLong(t.line+1, t.most)
	case errors.As(err, &syntax):
		t.line = t.before + syntax.StartLine
		return nil, &Problem{Line: t.line, Code: CodeSyntax, Message: csvFault(syntax, len(row), t.in.FieldsPerRecord)}
	}
	return nil, err
}

func csvFault(err *csv.ParseError, has, header int) string {
	switch {
	case errors.Is(err.Err, csv.ErrFieldCount):
		return fmt.Sprintf("it has %d columns, the header has %d", has, header)
	case errors.Is(err.Err, csv.ErrBareQuote):
		return "a quote stands in a field that is not in quotes; put the field in quotes and write the quote twice"
	}
	return "a quote is not closed, or stands alone in a field that is in quotes; write it twice"
}

// readHeader reads the names of the columns; a name of capitals is that of own which it
// is in small letters, if there is one.
func (t *table) readHeader(own ...string) error {
	row, err := t.row()
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty; its first line has to name the columns")
	}
	if err != nil {
		return fmt.Errorf("the header can't be read: %w", unproblem(err))
	}
	if len(row) > maxColumns {
		return fmt.Errorf("the header has %d columns; at most %d are read", len(row), maxColumns)
	}
	for _, name := range row {
		name = strings.TrimSpace(name)
		if lower := strings.ToLower(name); slices.Contains(own, lower) {
			name = lower
		}
		if name == "" {
			return errors.New("a column of the header has no name")
		}
		if slices.Contains(t.header, name) {
			return fmt.Errorf("the header has the column %q twice", name)
		}
		t.header = append(t.header, name)
	}
	return nil
}

// unproblem is an error that ends the reading although it tells of one line.
func unproblem(err error) error {
	if p, ok := errors.AsType[*Problem](err); ok {
		return errors.New(p.Error())
	}
	return err
}

// ownColumns are the fields that every account has, as our own files call them.
var ownColumns = []string{
	"id", "username", "email", "email_verified", "first_name", "last_name", "is_active", "is_staff", "groups",
	"date_joined", "last_login", "password", "password_hash",
}

// rows yields all rows as records. fill takes a row apart.
func (t *table) rows(yield func(Record, error) bool, fill func(row []string, r *Record) error) error {
	for {
		row, err := t.row()
		if errors.Is(err, io.EOF) {
			return nil
		}
		r := Record{Line: t.line}
		if err == nil {
			err = fill(row, &r)
		}
		if _, ok := errors.AsType[*Problem](err); err != nil && !ok {
			return err
		}
		if !yield(r, err) {
			return nil
		}
	}
}

// readCSV reads a table whose header has the names of fields: those of ownColumns, and
// of the site's own fields.
func readCSV(in io.Reader, o Options, yield func(Record, error) bool) error {
	t := newTable(in, o)
	if err := t.readHeader(ownColumns...); err != nil {
		return err
	}
	if is := marked(t.header); is == "wordpress" || is == "supabase" {
		return fmt.Errorf("%w csv: its header is that of another system", errForeign)
	}
	if !slices.Contains(t.header, "username") && !slices.Contains(t.header, "email") {
		return errors.New(`the header has neither a column "username" nor "email"; its first line has to name the columns`)
	}
	return t.rows(yield, func(row []string, r *Record) error {
		for i, name := range t.header {
			// Who has a problem is told with it: the names come first.
			if name == "username" || name == "email" {
				_ = r.set(name, row[i])
			}
		}
		for i, name := range t.header {
			if err := r.set(name, row[i]); err != nil {
				return err
			}
		}
		if r.Password != "" && r.PasswordHash != "" {
			return r.problem("password", CodeTwice, "it has both a password and a password_hash; leave one empty")
		}
		return nil
	})
}
