// Package transfer moves accounts out of a realm and into one: whole files, in constant
// memory, while the server goes on. What one account is in a file, and what becomes of
// it, is said here and in package moving; whether a realm takes it, in package account.
package transfer

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// The formats that accounts are exported in.
const (
	// FormatNDJSON is our own, which keeps everything: a JSON object a line.
	FormatNDJSON = "ndjson"
	// FormatCSV is a table, for people and other programs.
	FormatCSV = "csv"
	// FormatDjango is a fixture for Django's loaddata.
	FormatDjango = "django"
)

// ExportFormats are all of them.
var ExportFormats = []string{FormatNDJSON, FormatCSV, FormatDjango}

// A Spool is a file that nobody else can read and that is gone with its Close; where the
// system can do that, it has no name from the beginning, so that nothing is left of one
// whose process was killed. What is moved waits in it: a transaction must not wait for
// a client, nor an import.
type Spool struct{ *os.File }

// NewSpool makes one in a folder; empty: the system's for temporary files.
func NewSpool(dir string) (*Spool, error) {
	f, err := os.CreateTemp(dir, ".transfer-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("no temporary file can be made: %w", err)
	}
	_ = os.Remove(f.Name()) // what is open stays, but for Windows
	return &Spool{f}, nil
}

// Restart empties the spool.
func (s *Spool) Restart() error {
	if _, err := s.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return s.Truncate(0)
}

// Rewind makes the spool ready to be read, and says how long it is.
func (s *Spool) Rewind() (size int64, err error) {
	if size, err = s.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	_, err = s.Seek(0, io.SeekStart)
	return size, err
}

// Close removes the spool. It may be called twice.
func (s *Spool) Close() error {
	err := s.File.Close()
	_ = os.Remove(s.Name())
	return err
}

// clean is a text as JSON has it and gives it back.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
