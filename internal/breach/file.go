// file.go: the file of breached passwords that an owner has downloaded, searched where it
// lies.

// Package breach knows which passwords are known from breaches of other sites: by a file
// of their SHA-1 hashes, or by asking a service for those that begin alike.
package breach

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // the lists have SHA-1; nothing here is secured by it
	"encoding/hex"
	"errors"
	"fmt"
	"os"
)

// A List says whether a password is known from a breach. An error: that is not known.
// Safe for concurrent use.
type List interface {
	Breached(ctx context.Context, password string) (bool, error)
}

type hash = [sha1.Size]byte

// Bounds of a file: a line is a hash, a colon, a count and its end. What a search has
// narrowed down to a page is read as a whole.
const (
	hashText = 2 * sha1.Size
	maxLine  = 128
	page     = 4096
	// samples of a file are looked at when it is opened.
	samples = 64
)

// A File is a file with one line a password, sorted: the SHA-1 in hexadecimal and, behind
// a colon, how often it was found, such as the one that Have I Been Pwned lets people
// download. Lines end in LF or CRLF. Nothing of it is held in memory: a search is a binary
// one, some 25 reads where it has 40 GB. A file that is replaced by another goes on to be
// the one that was opened.
type File struct{ file *os.File }

// OpenFile opens a file and looks at samples of it: that it is sorted, and by what. Its
// errors say what to do.
func OpenFile(path string) (*File, error) {
	info, err := os.Stat(path) // before it is opened: that of a pipe would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	opened, err := os.Open(path) //nolint:gosec // the owner's setting names it
	if err != nil {
		return nil, err
	}
	f := &File{opened}
	if err := f.check(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return f, nil
}

// Close closes the file; searches fail from then on.
func (f *File) Close() error { return f.file.Close() }

// What is wrong with a file.
var (
	errEmpty  = errors.New("the file is empty")
	errForm   = errors.New("a line is not HASH:COUNT with the SHA-1 of a password in hexadecimal; download the list of SHA-1 hashes as one text file, and unpack it where it is packed")
	errNTLM   = errors.New("the file has NTLM hashes; download the list of SHA-1 hashes")
	errSorted = errors.New("the file isn't sorted by hash; download the list that is, or sort it: LC_ALL=C sort")
)

// check looks at samples: the first lines of pages at equal distances, and the last line.
func (f *File) check() error {
	size, err := f.size()
	if err != nil {
		return err
	}
	if size == 0 {
		return errEmpty
	}
	var before hash
	for i := range int64(samples) {
		at := size / samples * i
		if at > 0 {
			if at, err = f.lineAfter(at, size); err != nil {
				return err
			}
		}
		if at == size {
			break
		}
		line, err := f.read(at, min(at+maxLine, size))
		if err != nil {
			return err
		}
		h, _, err := parse(firstLine(line))
		if err != nil {
			return err
		}
		if bytes.Compare(h[:], before[:]) < 0 {
			return errSorted
		}
		before = h
	}
	return f.checkEnd(size)
}

// checkEnd looks at the lines of the last page, each of them.
func (f *File) checkEnd(size int64) (err error) {
	at := int64(0)
	if size > page {
		if at, err = f.lineAfter(size-page, size); err != nil {
			return err
		}
	}
	text, err := f.read(at, size)
	if err != nil {
		return err
	}
	var before hash
	for line := range bytes.Lines(text) {
		h, _, err := parse(firstLine(line))
		if err != nil {
			return err
		}
		if bytes.Compare(h[:], before[:]) < 0 {
			return errSorted
		}
		before = h
	}
	return nil
}

// size is that of now: an owner may write into the file.
func (f *File) size() (int64, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// read returns the bytes from one offset to another.
func (f *File) read(from, to int64) ([]byte, error) {
	text := make([]byte, to-from)
	if n, err := f.file.ReadAt(text, from); n < len(text) { // else an error says that the file ends there
		return nil, err
	}
	return text, nil
}

// lineAfter is where the next line begins after an offset, or end where there is none.
func (f *File) lineAfter(at, end int64) (int64, error) {
	text, err := f.read(at, min(at+maxLine, end))
	if err != nil {
		return 0, err
	}
	switch i := bytes.IndexByte(text, '\n'); {
	case i >= 0:
		return at + int64(i) + 1, nil
	case len(text) == maxLine:
		return 0, errForm
	}
	return end, nil
}

// Breached implements List. A file that was changed into something else is an error.
func (f *File) Breached(_ context.Context, password string) (bool, error) {
	wanted := sha1.Sum([]byte(password)) //nolint:gosec // as the lists have it
	low := int64(0)                      // where a line begins that is not behind the wanted one
	high, err := f.size()                // where one begins that is
	if err != nil {
		return false, err
	}
	for high-low > page {
		at, err := f.lineAfter(low+(high-low)/2, high)
		if err != nil {
			return false, err
		}
		text, err := f.read(at, min(at+maxLine, high))
		if err != nil {
			return false, err
		}
		h, count, err := parse(firstLine(text))
		if err != nil {
			return false, err
		}
		switch bytes.Compare(h[:], wanted[:]) {
		case 0:
			return count, nil
		case 1:
			high = at
		default:
			low = at
		}
	}
	text, err := f.read(low, high)
	if err != nil {
		return false, err
	}
	for line := range bytes.Lines(text) {
		h, count, err := parse(firstLine(line))
		if err != nil {
			return false, err
		}
		if h == wanted {
			return count, nil
		}
	}
	return false, nil
}

// firstLine is a text up to the end of its first line.
func firstLine(text []byte) []byte {
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

// parse reads a line. counts is false where it says that nobody had the password: so the
// service pads what it answers.
func parse(line []byte) (h hash, counts bool, err error) {
	text, count, _ := bytes.Cut(line, []byte{':'})
	if len(text) == 32 && isHex(text) {
		return h, false, errNTLM
	}
	if len(text) != hashText {
		return h, false, errForm
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return h, false, errForm
	}
	for _, c := range count {
		if c < '0' || c > '9' {
			return h, false, errForm
		}
	}
	return h, len(count) == 0 || len(bytes.Trim(count, "0")) > 0, nil
}

func isHex(text []byte) bool {
	_, err := hex.DecodeString(string(text))
	return err == nil
}
