// moving.go: what an account is before it is one of ours: a record of a file that
// another system has written, or what is wrong with it.

// Package moving reads the files in which other systems keep or export their
// accounts. It knows their formats and nothing of what becomes of a record: whether
// a name is taken or a field exists here is for who imports it.
//
// What it reads comes from strangers. Memory stays bounded whatever the file: by
// MaxRecord for each account and, where a format is one document, by what its reader
// says. A hash is only looked at, never computed.
package moving

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

// A Record is one account as its file has it. A pointer that is nil, an empty string,
// a zero time and a nil slice or map say that the file tells nothing of it.
type Record struct {
	// Line is where the record begins in the file, from 1; in a file that is all on
	// one line, always 1.
	Line int
	// ID is what the other system calls the account: a number or a UUID.
	ID        string
	Username  string
	Email     string
	FirstName string
	LastName  string
	// EmailVerified says whether the other system has seen that the address is the
	// account's own.
	EmailVerified *bool
	IsActive      *bool
	IsStaff       *bool
	// Groups are names of groups; empty, but not nil: it is in none.
	Groups    []string
	Joined    time.Time
	LastLogin time.Time
	// Fields are all other fields by their names there: string, bool, int64, float64
	// or nil. Of formats that are text alone all are strings.
	Fields map[string]any
	// Password is a password in the clear, to be hashed now; of csv alone.
	Password string
	// PasswordHash is in a format that internal/password verifies, within its bounds,
	// and as it spells it. If password.Fast says so, it has to be wrapped before it is
	// kept. Empty: no password signs in.
	PasswordHash string
	// Own is the whole line of ndjson as it stands in the file, for who wrote it; nil for
	// all other formats. A line that is no account has nothing else.
	Own json.RawMessage
}

// A Problem is why one record could not be read. Those after it can.
type Problem struct { //nolint:errname // it is a part of a report before it is an error
	Line int
	// Who is the username or address of the record, as far as it was read.
	Who string
	// Field is the name of the field at fault, as the file calls it; empty: the record.
	Field string
	// Code is one of the codes below.
	Code    string
	Message string
}

// Codes of a Problem.
const (
	CodeSyntax    = "syntax"           // it is not what the format says
	CodeEncoding  = "encoding"         // it is not in UTF-8
	CodeTooLong   = "too_long"         // it is over MaxRecord
	CodeRequired  = "required"         // it has neither a username nor an address
	CodeHash      = "hash_unsupported" // nothing here verifies its hash
	CodeCost      = "hash_cost"        // its hash would cost too much, or has too short a salt or key
	CodeHashed    = "password_hashed"  // what it has for a password in the clear is a hash
	CodeGroup     = "group_unknown"    // it names a group that the file does not have
	CodeGroupName = "group_invalid"    // the name of a group there can't be one here
	CodeTwice     = "twice"            // it has the same thing twice
	CodeNobody    = "nobody"           // it is no account of a person: a service's, a guest's, a deleted one
)

func (p *Problem) Error() string {
	where := fmt.Sprintf("line %d", p.Line)
	if p.Field != "" {
		where += ", " + p.Field
	}
	return where + ": " + p.Message
}

// Options are what some formats need besides the file.
type Options struct {
	// MaxRecord is the longest record in bytes; 0: defaultMaxRecord.
	MaxRecord int
	// Firebase is how the project hashes its passwords, of firebase alone, where the file
	// doesn't say it itself.
	Firebase FirebaseHash
	// Now is when a ban counts, of supabase alone; zero: time.Now().
	Now time.Time
	// before is how many lines of the file were read already.
	before int
}

// defaultMaxRecord is far over what an account with long fields takes.
const defaultMaxRecord = 1 << 20

// A reader reads a file record by record. It returns what ends the reading; what is
// wrong with one record it yields as a *Problem. It stops where yield returns false.
type reader func(in io.Reader, o Options, yield func(Record, error) bool) error

// formats are the readers by the name of their format.
var formats = []struct {
	name string
	read reader
}{
	{"ndjson", readNDJSON},
	{"csv", readCSV},
	{"htpasswd", readHtpasswd},
	{"django", readDjango},
	{"authelia", readAuthelia},
	{"caddy-security", readCaddySecurity},
	{"wordpress", readWordPress},
	{"firebase", readFirebase},
	{"supabase", readSupabase},
	{"keycloak", readKeycloak},
}

// Formats are the names of the formats that Read knows.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// Read reads the accounts of a file, one after another. An error that is a *Problem
// is about one record, and the next follows. Any other is the last: the file can't be
// read any further, has nobody, or is of another format, by what its first account has.
// A byte order mark is skipped, and UTF-16 that has one is read.
//
// Where in is an io.Seeker, it may be read twice; that spares memory where a format
// names groups after their members.
func Read(format string, in io.Reader, o Options) iter.Seq2[Record, error] {
	if o.MaxRecord <= 0 {
		o.MaxRecord = defaultMaxRecord
	}
	return func(yield func(Record, error) bool) {
		i := slices.Index(Formats(), format)
		if i < 0 {
			yield(Record{}, fmt.Errorf("there is no format %q; the formats are %s", format, strings.Join(Formats(), ", ")))
			return
		}
		begin := int64(0)
		if again, ok := in.(io.Seeker); ok {
			begin, _ = again.Seek(0, io.SeekCurrent) // a pipe is at its beginning
		}
		more, some := true, false
		err := formats[i].read(in, o, func(r Record, err error) bool {
			some = true
			if err == nil {
				err = settle(&r)
			}
			if err != nil {
				r = Record{}
			}
			more = yield(r, err)
			return more
		})
		if err == nil && !some && format != "csv" { // a header alone is a table too
			err = errNobody
		}
		if err != nil && more {
			if !some || errors.Is(err, errForeign) {
				err = hinted(err, format, in, begin)
			}
			yield(Record{}, err)
		}
	}
}
