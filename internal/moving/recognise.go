// recognise.go: whether a file is of the format that it is read in. Formats have names in
// common, and a file that is read in another's would come in without its passwords.

package moving

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// foreign ends the reading of a file whose first account has not what every one of its
// format has.
func foreign(format, mark string) error {
	return fmt.Errorf("%w %s: its first account has no %s", errForeign, format, mark)
}

var errForeign = errors.New("the file is none of")

// errNobody ends the reading of a file without an account.
var errNobody = errors.New("there is no account in the file")

// marks are the names by which an object of JSON, or the header of a table, is of a
// format: all of one line.
var marks = []struct {
	format string
	names  []string
}{
	{"ndjson", []string{"registration_export"}},
	{"ndjson", []string{"password_hash"}},
	{"django", []string{"model", "fields"}},
	{"firebase", []string{"localId"}},
	{"supabase", []string{"encrypted_password"}},
	{"wordpress", []string{"user_login"}},
	{"caddy-security", []string{"email_addresses"}},
	{"caddy-security", []string{"email_address"}},
	{"caddy-security", []string{"username", "passwords"}},
	{"keycloak", []string{"username", "credentials"}},
	{"keycloak", []string{"username", "enabled"}},
	{"keycloak", []string{"username", "createdTimestamp"}},
	{"keycloak", []string{"realm", "users"}},
	{"keycloak", []string{"realm", "enabled"}},
}

// marked is the format that names are of, or empty.
func marked(names []string) string {
	for _, m := range marks {
		if !slices.ContainsFunc(m.names, func(name string) bool { return !slices.Contains(names, name) }) {
			return m.format
		}
	}
	return ""
}

// headLength is how much of a file is looked at to say what it is.
const headLength = 64 << 10

// hinted adds to an error what the file, which begins at an offset, looks like instead.
func hinted(err error, format string, in io.Reader, begin int64) error {
	again, ok := in.(io.Seeker)
	if !ok {
		return err
	}
	if _, failed := again.Seek(begin, io.SeekStart); failed != nil {
		return err
	}
	head, _ := io.ReadAll(io.LimitReader(decoded(in), headLength)) // what can't be read looks like nothing
	if is := lookOf(head); is != "" && is != format {
		return fmt.Errorf("%w; it looks like one of %s, which is read with --format %s", err, is, is)
	}
	return err
}

// lookOf is the format that a file seems to be of; empty: none.
func lookOf(head []byte) string {
	head = bytes.TrimSpace(head)
	if len(head) == 0 {
		return ""
	}
	if head[0] == '{' || head[0] == '[' {
		return lookOfJSON(head)
	}
	line, _, _ := strings.Cut(string(head), "\n")
	columns := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(",;\t\r\"", r) })
	name, hash, _ := strings.Cut(line, ":")
	is := marked(columns)
	switch {
	case strings.HasPrefix(line, "hash_config"):
		return "firebase"
	case is == "wordpress" || is == "supabase":
		return is
	case slices.Contains(columns, "username") || slices.Contains(columns, "email"):
		return "csv"
	case bytes.HasPrefix(head, []byte("users:")) || bytes.Contains(head, []byte("\nusers:")):
		return "authelia"
	case len(columns) < 3 && !strings.ContainsAny(name, " \t") && (strings.HasPrefix(hash, "$") || strings.HasPrefix(hash, "{SHA}")):
		return "htpasswd"
	}
	return ""
}

// lookOfJSON goes by the first object that has the marks of a format.
func lookOfJSON(head []byte) string {
	type level struct {
		object, value bool // value: a name was read
		names         []string
	}
	levels := []level{{}}
	dec := json.NewDecoder(bytes.NewReader(head))
	for {
		t, err := dec.Token()
		if err != nil {
			return ""
		}
		in := &levels[len(levels)-1]
		if name, ok := t.(string); ok && in.object && !in.value {
			in.value, in.names = true, append(in.names, name)
			if is := marked(in.names); is != "" {
				return is
			}
			continue
		}
		in.value = false
		switch t {
		case json.Delim('{'), json.Delim('['):
			if len(levels) > maxDepth {
				return ""
			}
			levels = append(levels, level{object: t == json.Delim('{')})
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
	}
}
