// document.go: JSON that is one value as long as the file, read token by token.

package moving

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep what is passed over may be nested.
const maxDepth = 100

// A document reads JSON and knows the line that it is at. It holds one record at a time.
type document struct {
	in    *bufio.Reader
	bound *bounded
	count *lineCounter
	dec   *json.Decoder
	most  int
}

func newDocument(in io.Reader, o Options) *document {
	d := &document{in: bufio.NewReader(decoded(in)), most: o.MaxRecord}
	d.bound = newBounded(d.in, o.MaxRecord)
	d.count = &lineCounter{in: d.bound, line: 1 + o.before}
	d.dec = json.NewDecoder(d.count)
	d.dec.UseNumber()
	return d
}

// first is the first byte that is no space, or 0; it stays to be read.
func (d *document) first() byte {
	for n := 1; ; n++ {
		ahead, err := d.in.Peek(n)
		if err != nil {
			return 0
		}
		if c := ahead[n-1]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
}

// line is where what was read last ends.
func (d *document) line() int { return d.count.at(d.dec.InputOffset()) }

// fault says where the file is no JSON.
func (d *document) fault(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errTooLong):
		return tooLong(d.line(), d.most)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("line %d: the file ends in the middle", d.count.line+len(d.count.ends))
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: the file is no JSON from here on: %w", d.line(), err)
	}
	return err
}

func (d *document) token() (json.Token, error) {
	t, err := d.dec.Token()
	d.bound.next()
	if err != nil {
		return nil, d.fault(err)
	}
	return t, nil
}

// begins reads the beginning of an array or an object.
func (d *document) begins(delim json.Delim) error {
	t, err := d.token()
	if err == nil && t != delim {
		err = fmt.Errorf("line %d: there is something else where %q was expected", d.line(), delim.String())
	}
	return err
}

// array calls fn with each value of an array and the line where it begins.
func (d *document) array(fn func(raw []byte, line int) error) error {
	if err := d.begins('['); err != nil {
		return err
	}
	for d.dec.More() {
		if err := d.value(fn); errors.Is(err, io.EOF) {
			return d.fault(err)
		} else if err != nil {
			return err
		}
	}
	_, err := d.token()
	return err
}

// value calls fn with the next value.
func (d *document) value(fn func(raw []byte, line int) error) error {
	var raw json.RawMessage
	if err := d.dec.Decode(&raw); err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return d.fault(err)
	}
	line := d.count.at(d.dec.InputOffset() - int64(len(raw)))
	d.bound.next()
	return fn(raw, line)
}

// values calls fn with each of the values that follow one another, as in a file that has
// one a line.
func (d *document) values(fn func(raw []byte, line int) error) error {
	for {
		if err := d.value(fn); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// object calls fn with each name of an object; fn reads its value.
func (d *document) object(fn func(name string) error) error {
	if err := d.begins('{'); err != nil {
		return err
	}
	for d.dec.More() {
		t, err := d.token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if err := fn(name); err != nil {
			return err
		}
	}
	_, err := d.token()
	return err
}

// skip passes over the next value without keeping it.
func (d *document) skip() error {
	for depth := 0; ; {
		t, err := d.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('['), json.Delim('{'):
			if depth++; depth > maxDepth {
				return fmt.Errorf("line %d: the file is nested more than %d deep", d.line(), maxDepth)
			}
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// list calls fn with each value of an array, or of a file that has one a line.
func (d *document) list(fn func(raw []byte, line int) error) error {
	switch d.first() {
	case '[':
		return d.array(fn)
	case '{':
		return d.values(fn)
	}
	if _, err := d.in.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return errors.New("the file is no JSON: it begins neither with [ nor with {")
}

// arrayIn calls fn with each value of the array of that name in an object, which may have
// other things too. Without one, it says so.
func (d *document) arrayIn(name string, fn func(raw []byte, line int) error) error {
	found := false
	err := d.object(func(key string) error {
		if key != name {
			return d.skip()
		}
		found = true
		return d.array(fn)
	})
	if err == nil && !found {
		err = fmt.Errorf("the file has no %q", name)
	}
	return err
}

// errStop ends a document whose reader has seen enough.
var errStop = errors.New("stopped")

// recordsOf makes records of values and yields them. fill says false for a value that is
// no account.
func recordsOf[T any](yield func(Record, error) bool, fill func(v *T, r *Record) (bool, error)) func(raw []byte, line int) error {
	return func(raw []byte, line int) error {
		r := Record{Line: line}
		var v T
		ok, err := true, decodeRecord(raw, line, &v)
		if err == nil {
			ok, err = fill(&v, &r)
		}
		if _, problem := errors.AsType[*Problem](err); err != nil && !problem {
			return err
		}
		if (ok || err != nil) && !yield(r, err) {
			return errStop
		}
		return nil
	}
}

// A lineCounter knows in which line an offset is that was read not long ago.
type lineCounter struct {
	in     io.Reader
	offset int64
	line   int
	ends   []int64 // of lines, behind what was asked for last
}

func (c *lineCounter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	for i, b := range p[:n] {
		if b == '\n' {
			c.ends = append(c.ends, c.offset+int64(i))
		}
	}
	c.offset += int64(n)
	return n, err
}

// at is the line of an offset, which must not be before the one asked for last.
func (c *lineCounter) at(offset int64) int {
	passed := sort.Search(len(c.ends), func(i int) bool { return c.ends[i] >= offset })
	c.line += passed
	c.ends = append(c.ends[:0], c.ends[passed:]...)
	return c.line
}

// decodeRecord reads an object of a file into v. What is wrong is a problem of it alone.
func decodeRecord(raw []byte, line int, v any) error {
	if !utf8.Valid(raw) {
		return &Problem{Line: line, Code: CodeEncoding, Message: "it is not in UTF-8; save the file in UTF-8"}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err := dec.Decode(v)
	if err == nil {
		return nil
	}
	p := &Problem{Line: line, Code: CodeSyntax, Message: "it is no JSON: " + err.Error()}
	if other, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		p.Field, p.Message = other.Field, fmt.Sprintf("it is %s, not %s", article(other.Value), kindOf(other))
	}
	return p
}

func article(what string) string {
	if what == "array" || what == "object" {
		return "an " + what
	}
	return "a " + what
}

func kindOf(err *json.UnmarshalTypeError) string {
	switch kind := err.Type.Kind().String(); kind {
	case "struct", "map":
		return "an object"
	case "slice":
		return "an array"
	case "string":
		return "a text"
	case "bool":
		return "true or false"
	default:
		return "a number"
	}
}

// plain is a value of JSON or YAML as Record.Fields has it. A list or an object stays a text of
// JSON.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case nil, string, bool, int64, float64:
		return v
	}
	raw, _ := json.Marshal(v) // it comes from JSON
	return string(raw)
}

// text is a value as a text, which a number may be too; anything else is none.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// add keeps a value that is none of an account's own fields.
func (r *Record) add(name string, v any) {
	if r.Fields == nil {
		r.Fields = map[string]any{}
	}
	r.Fields[name] = plain(v)
}
