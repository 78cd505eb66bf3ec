// text.go: bytes of a stranger's file, counted and bounded before a parser has them.

package moving

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// decoded is a file without its byte order mark; UTF-16 that has one becomes UTF-8.
func decoded(in io.Reader) io.Reader {
	return transform.NewReader(in, unicode.BOMOverride(encoding.Nop.NewDecoder()))
}

// errTooLong ends a parser that would take in more than a record may have.
var errTooLong = errors.New("one record is too long")

// A bounded reader hands out no more than some bytes between two calls of next, so
// that a parser which collects a record can't collect without end.
type bounded struct {
	in   io.Reader
	most int
	left int
}

func newBounded(in io.Reader, most int) *bounded {
	// What a parser reads ahead counts too.
	most += 64 << 10
	return &bounded{in: in, most: most, left: most}
}

// next says that a record has been taken.
func (b *bounded) next() { b.left = b.most }

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.in.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// tooLong is the error for a record over the bound that can't be passed over.
func tooLong(line, most int) error {
	return fmt.Errorf("line %d: the record that begins here is longer than %d bytes; the rest of the file is not read", line, most)
}

// lines reads a file line by line, without their ends (LF or CRLF).
type lines struct {
	in   *bufio.Reader
	most int
	line int // the number of the last one
}

func newLines(in io.Reader, most int) *lines {
	return &lines{in: bufio.NewReaderSize(decoded(in), 64<<10), most: most}
}

// read returns the next line, or io.EOF. ok is false for one over the bound, which is
// passed over without being kept.
func (l *lines) read() (line []byte, ok bool, err error) {
	ok = true
	for begun := false; ; begun = true {
		part, err := l.in.ReadSlice('\n')
		if len(part) == 0 && err != nil && (!begun || !errors.Is(err, io.EOF)) {
			return nil, false, err
		}
		if ok = ok && len(line)+len(part) <= l.most; ok {
			line = append(line, part...)
		} else {
			line = nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, false, err
		}
		l.line++
		return chomp(line), ok, nil
	}
}

func chomp(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}
