// settle.go: what is looked at in every record, whatever its format.

package moving

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/password"
)

// settle brings a record into the form that Record promises, or says why not.
func settle(r *Record) error {
	r.Username, r.Email = strings.TrimSpace(r.Username), strings.TrimSpace(r.Email)
	for _, f := range []struct{ name, value string }{
		{"username", r.Username}, {"email", r.Email}, {"first_name", r.FirstName}, {"last_name", r.LastName}, {"password", r.Password},
	} {
		if !utf8.ValidString(f.value) {
			return r.problem(f.name, CodeEncoding, "it is not in UTF-8; save the file in UTF-8")
		}
	}
	for name, value := range r.Fields {
		if s, ok := value.(string); !utf8.ValidString(name) || ok && !utf8.ValidString(s) {
			return r.problem(strings.ToValidUTF8(name, "?"), CodeEncoding, "it is not in UTF-8; save the file in UTF-8")
		}
	}
	for _, group := range r.Groups {
		if !utf8.ValidString(group) {
			return r.problem("groups", CodeEncoding, "it is not in UTF-8; save the file in UTF-8")
		}
		if r.Own == nil && !identity.IsGroup(group) {
			return r.problem("groups", CodeGroupName, fmt.Sprintf("%.70q can't be the name of a group here, which is %s; rename it there, or in the file", group, identity.GroupRule))
		}
	}
	if r.Username == "" && r.Email == "" && r.Own == nil {
		return r.problem("", CodeRequired, "it has neither a username nor an email address")
	}
	if looksHashed(r.Password) {
		return r.problem("password", CodeHashed, "it is a hash, not a password, and hashed again nobody could sign in with it; call it password_hash")
	}
	return r.settleHash()
}

// looksHashed reports whether what stands for a password is one that somebody has hashed
// already. Bare hexadecimal, as of MD5, may be a password that a program has made.
func looksHashed(text string) bool {
	text = strings.TrimSpace(text)
	if !strings.ContainsAny(text, "$}") {
		return false
	}
	err := password.Check(text)
	return err == nil || errors.Is(err, password.ErrCost)
}

// settleHash spells the hash as internal/password does, and looks whether it
// verifies it. What Django, Linux and WordPress write for "no password", an exclamation
// mark or an asterisk and whatever follows, leaves none.
func (r *Record) settleHash() error {
	r.PasswordHash = password.Respell(strings.TrimSpace(r.PasswordHash))
	if r.PasswordHash == "" || strings.Trim(r.PasswordHash[:1], "!*") == "" {
		r.PasswordHash = ""
		return nil
	}
	switch err := password.Check(r.PasswordHash); {
	case errors.Is(err, password.ErrCost):
		return r.problem("password_hash", CodeCost, "the hash is refused: "+err.Error())
	case err != nil:
		return r.problem("password_hash", CodeHash, "the hash can't be used: "+err.Error())
	}
	return nil
}

// problem is one of this record.
func (r *Record) problem(field, code, message string) *Problem {
	who := r.Username
	if who == "" {
		who = r.Email
	}
	if len(who) > 200 {
		who = who[:200]
	}
	return &Problem{Line: r.Line, Who: strings.ToValidUTF8(who, "?"), Field: field, Code: code, Message: message}
}

// set sets one field by the name that our own files give it; a name that isn't one of
// an account's own fields is kept among the others.
func (r *Record) set(name, value string) error {
	switch name {
	case "id":
		r.ID = value
	case "username":
		r.Username = value
	case "email":
		r.Email = value
	case "first_name":
		r.FirstName = value
	case "last_name":
		r.LastName = value
	case "password":
		r.Password = value
	case "password_hash":
		r.PasswordHash = value
	case "groups":
		r.Groups = splitGroups(value)
	case "email_verified", "is_active", "is_staff":
		return r.setBool(name, value)
	case "date_joined", "last_login":
		return r.setTime(name, value)
	default:
		if r.Fields == nil {
			r.Fields = map[string]any{}
		}
		r.Fields[name] = value
	}
	return nil
}

func (r *Record) setBool(name, value string) error {
	if value == "" {
		return nil
	}
	var b bool
	switch strings.ToLower(value) {
	case "true", "t", "1", "yes", "y", "on":
		b = true
	case "false", "f", "0", "no", "n", "off":
	default:
		return r.problem(name, CodeSyntax, "it is neither true nor false")
	}
	switch name {
	case "email_verified":
		r.EmailVerified = &b
	case "is_active":
		r.IsActive = &b
	default:
		r.IsStaff = &b
	}
	return nil
}

func (r *Record) setTime(name, value string) error {
	if value == "" {
		return nil
	}
	t, err := parseTime(value)
	if err != nil {
		return r.problem(name, CodeSyntax, err.Error())
	}
	if name == "date_joined" {
		r.Joined = t
	} else {
		r.LastLogin = t
	}
	return nil
}

// splitGroups splits names at commas; what is empty is no group.
func splitGroups(s string) []string {
	groups := []string{}
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name != "" {
			groups = append(groups, name)
		}
	}
	return groups
}

// timeLayouts are the spellings of a time that the formats have, besides a number.
var timeLayouts = []string{
	time.RFC3339Nano,
	"2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999Z07",
	"2006-01-02T15:04:05.999999999", // Django without USE_TZ
	"2006-01-02 15:04:05.999999999", // SQL without a zone
	time.DateOnly,
}

// parseTime reads a time; one without a zone is taken as UTC. A number is seconds
// since 1970 or, from 10^11 on, milliseconds.
func parseTime(s string) (time.Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) > 4 {
		return unixTime(n)
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1 && t.Year() < 10000 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("it is no time; write it as 2006-01-02T15:04:05Z")
}

func unixTime(n int64) (time.Time, error) {
	const latest = 253402300799 // the end of 9999
	seconds := n
	if n >= 1e11 {
		seconds = n / 1000
	}
	if seconds < 0 || seconds > latest {
		return time.Time{}, errors.New("it is no time between 1970 and 9999")
	}
	if n >= 1e11 {
		return time.UnixMilli(n).UTC(), nil
	}
	return time.Unix(n, 0).UTC(), nil
}
