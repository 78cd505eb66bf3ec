// htpasswd.go: the password files of Apache and nginx, and the lines of Caddy's basic_auth.

package moving

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readHtpasswd reads lines of name:hash. What follows a second colon is left out, as
// nginx does. A line of Caddy's basic_auth has a space in place of the colon, and its
// hash may be in base64, as older versions of Caddy wrote it.
func readHtpasswd(in io.Reader, o Options, yield func(Record, error) bool) error {
	for l := newLines(in, o.MaxRecord); ; {
		line, ok, err := l.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := Record{Line: l.line}
		switch text := strings.TrimSpace(string(line)); {
		case !ok:
			err = r.problem("", CodeTooLong, fmt.Sprintf("the line is longer than %d bytes", o.MaxRecord))
		case text == "" || text[0] == '#':
			continue
		default:
			err = r.fromHtpasswd(text)
		}
		if !yield(r, err) {
			return nil
		}
	}
}

func (r *Record) fromHtpasswd(line string) error {
	name, hash, ok := strings.Cut(line, ":")
	if fields := strings.Fields(line); !ok && len(fields) == 2 {
		name, hash, ok = fields[0], fields[1], true
	}
	if !ok || strings.HasPrefix(hash, " ") {
		return r.problem("", CodeSyntax, "it is not of the form name:hash")
	}
	r.Username = name
	r.PasswordHash, _, _ = strings.Cut(hash, ":")
	if strings.HasPrefix(r.PasswordHash, "JDJ") { // "$2" in base64
		if plain, err := base64.StdEncoding.DecodeString(r.PasswordHash); err == nil {
			r.PasswordHash = string(plain)
		}
	}
	if r.PasswordHash == "" {
		return r.problem("password_hash", CodeRequired, "it has no hash")
	}
	return nil
}
