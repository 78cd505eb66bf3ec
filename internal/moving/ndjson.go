// ndjson.go: an object a line, with the names that our own export gives the fields.

package moving

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// ownRecord is what of a line of our export any program may write.
type ownRecord struct {
	ID            json.RawMessage `json:"id"`
	Username      string          `json:"username"`
	Email         string          `json:"email"`
	EmailVerified *bool           `json:"email_verified"`
	FirstName     string          `json:"first_name"`
	LastName      string          `json:"last_name"`
	IsActive      *bool           `json:"is_active"`
	IsStaff       *bool           `json:"is_staff"`
	Groups        []string        `json:"groups"`
	DateJoined    string          `json:"date_joined"`
	LastLogin     string          `json:"last_login"`
	Password      string          `json:"password"`
	PasswordHash  string          `json:"password_hash"`
	Fields        map[string]any  `json:"fields"`

	// What our export has besides accounts.
	Export     json.RawMessage `json:"registration_export"`
	Invitation json.RawMessage `json:"invitation"`
	LeftName   json.RawMessage `json:"left_name"`
	FactorKey  json.RawMessage `json:"factor_key"`
	Audit      json.RawMessage `json:"audit"`
	End        json.RawMessage `json:"registration_export_end"`
}

// readNDJSON reads lines of JSON. A line that is no account, as our own export has them
// too, has Own and nothing else.
func readNDJSON(in io.Reader, o Options, yield func(Record, error) bool) error {
	first := true
	for l := newLines(in, o.MaxRecord); ; {
		line, ok, err := l.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := Record{Line: l.line}
		if !ok {
			err = r.problem("", CodeTooLong, fmt.Sprintf("the line is longer than %d bytes", o.MaxRecord))
		} else if len(line) == 0 {
			continue
		} else {
			if first {
				if first, err = ownLine(line); err != nil {
					return err
				}
			}
			err = r.fromOwn(line)
		}
		if !yield(r, err) {
			return nil
		}
	}
}

// ownLine refuses a file whose first line says that it is one of another format; unclear:
// it says nothing.
func ownLine(line []byte) (unclear bool, err error) {
	if line[0] == '[' || strings.IndexByte("[{,", line[len(line)-1]) >= 0 {
		return false, foreign("ndjson", "whole object in its line")
	}
	var names map[string]json.RawMessage
	if json.Unmarshal(line, &names) != nil {
		return true, nil // it is told with the line
	}
	is := marked(slices.Collect(maps.Keys(names)))
	if names["users"] != nil {
		is = lookOfJSON(line)
	}
	if is != "" && is != "ndjson" {
		return false, foreign("ndjson", `names of it alone`)
	}
	return false, nil
}

func (r *Record) fromOwn(line []byte) error {
	var own ownRecord
	if err := decodeWhole(line, r.Line, &own); err != nil {
		return err
	}
	r.Own = line
	for _, beside := range []json.RawMessage{own.Export, own.Invitation, own.LeftName, own.FactorKey, own.Audit, own.End} {
		if beside != nil {
			return nil
		}
	}
	r.Username, r.Email, r.FirstName, r.LastName = own.Username, own.Email, own.FirstName, own.LastName
	r.EmailVerified, r.IsActive, r.IsStaff, r.Groups = own.EmailVerified, own.IsActive, own.IsStaff, own.Groups
	r.Password, r.PasswordHash = own.Password, own.PasswordHash
	var id any
	if own.ID != nil {
		_ = decodeRecord(own.ID, r.Line, &id) // it was read as JSON before
		r.ID = text(id)
	}
	for name, v := range own.Fields {
		r.add(name, v)
	}
	if err := r.setTime("date_joined", own.DateJoined); err != nil {
		return err
	}
	if err := r.setTime("last_login", own.LastLogin); err != nil {
		return err
	}
	if r.Password != "" && r.PasswordHash != "" {
		return r.problem("password", CodeTwice, "it has both a password and a password_hash; leave one out")
	}
	return nil
}

// decodeWhole is decodeRecord of all of a line.
func decodeWhole(line []byte, number int, v any) error {
	if err := decodeRecord(line, number, v); err != nil {
		return err
	}
	if !json.Valid(line) {
		return &Problem{Line: number, Code: CodeSyntax, Message: "there is something behind the object"}
	}
	return nil
}

// Ends are the first and the last line of a file of lines that have something in them, and
// how many have. It reads the file to its end; a line over defaultMaxRecord counts and is
// empty.
func Ends(in io.Reader) (first, last []byte, n int, err error) {
	for l := newLines(in, defaultMaxRecord); ; {
		line, ok, err := l.read()
		switch {
		case errors.Is(err, io.EOF):
			return first, last, n, nil
		case err != nil:
			return nil, nil, 0, err
		case ok && len(line) == 0:
			continue
		}
		if n++; n == 1 {
			first = line
		}
		last = line
	}
}
