// django.go: what manage.py dumpdata writes of users and groups.

package moving

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// maxGroups bounds how many groups are held while their members are read.
const maxGroups = 10_000

// djangoObject is one object of a dump.
type djangoObject struct {
	Model  string         `json:"model"`
	PK     any            `json:"pk"`
	Fields map[string]any `json:"fields"`
}

// isGroup says whether it is one of django.contrib.auth, or of a model in its place.
func (d *djangoObject) isGroup() bool {
	_, name := d.Fields["name"].(string)
	_, permissions := d.Fields["permissions"]
	return strings.HasSuffix(d.Model, ".group") && name && permissions
}

// isUser says whether it is of a model that builds on AbstractBaseUser.
func (d *djangoObject) isUser() bool {
	_, password := d.Fields["password"]
	_, login := d.Fields["last_login"]
	return password && login
}

// readDjango reads the JSON of dumpdata, also with --format jsonl. Users name their
// groups by key or by name (--natural-foreign). Groups that come after their members are
// known only where the file can be read twice.
func readDjango(in io.Reader, o Options, yield func(Record, error) bool) error {
	groups := map[string]string{}
	read := func(yield func(Record, error) bool, users bool) error {
		return newDocument(in, o).list(recordsOf(yield, func(d *djangoObject, r *Record) (bool, error) {
			if d.isGroup() {
				if groups[text(d.PK)] = d.Fields["name"].(string); len(groups) > maxGroups {
					return false, fmt.Errorf("line %d: the file has more than %d groups", r.Line, maxGroups)
				}
			}
			if !users || !d.isUser() {
				return false, nil
			}
			return true, r.fromDjango(d, groups)
		}))
	}
	if again, ok := in.(io.Seeker); ok {
		begin, err := again.Seek(0, io.SeekCurrent)
		if err == nil { // it is no pipe
			// What is wrong with the file is told when it is read for its users.
			_ = read(func(Record, error) bool { return true }, false)
			if _, err = again.Seek(begin, io.SeekStart); err != nil {
				return err
			}
		}
	}
	return read(yield, true)
}

// fromDjango takes an object of a user model apart. That of django.contrib.auth says with
// is_active whether somebody may sign in, which he could not before he had opened a
// link in a mail: so who is active has shown that he reads his address.
func (r *Record) fromDjango(d *djangoObject, groups map[string]string) error {
	r.ID = text(d.PK)
	r.Username, r.Email = text(d.Fields["username"]), text(d.Fields["email"])
	for _, name := range slices.Sorted(maps.Keys(d.Fields)) {
		v := d.Fields[name]
		if v == nil {
			continue
		}
		switch name {
		case "user_permissions":
		case "is_superuser": // there is nothing like it here; of who isn't one nothing is lost
			if v != false {
				r.add(name, v)
			}
		case "groups":
			if err := r.groupsOfDjango(v, groups); err != nil {
				return err
			}
		case "password":
			r.PasswordHash = text(v)
		case "username", "email", "first_name", "last_name", "is_active", "is_staff", "date_joined", "last_login":
			if err := r.set(name, text(v)); err != nil {
				return err
			}
		default:
			r.add(name, v)
		}
	}
	if r.IsActive != nil {
		verified := *r.IsActive && r.Email != ""
		r.EmailVerified = &verified
	}
	return nil
}

func (r *Record) groupsOfDjango(v any, groups map[string]string) error {
	list, ok := v.([]any)
	if !ok {
		return r.problem("groups", CodeSyntax, "it is no list")
	}
	r.Groups = []string{}
	for _, key := range list {
		if natural, ok := key.([]any); ok && len(natural) == 1 {
			r.Groups = append(r.Groups, text(natural[0]))
			continue
		}
		name, ok := groups[text(key)]
		if !ok {
			return r.problem("groups", CodeGroup, "the group "+text(key)+" is not in the file before its members; dump auth.group too, and first")
		}
		r.Groups = append(r.Groups, name)
	}
	return nil
}
