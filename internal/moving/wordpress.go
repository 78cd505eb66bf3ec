// wordpress.go: users of WordPress, as `wp user list` of its command line or a database's
// own tool writes them.

package moving

import (
	"io"
	"maps"
	"slices"
)

// readWordPress reads JSON, a list of objects, or CSV with a header, of either
//
//	wp user list --format=json --fields=ID,user_login,user_email,user_pass,user_registered,first_name,last_name,display_name,roles
//
// or the table wp_users. Roles become groups.
func readWordPress(in io.Reader, o Options, yield func(Record, error) bool) error {
	return objectsOrRows(in, o, yield, "wordpress", "user_login", (*Record).fromWordPress)
}

func (r *Record) fromWordPress(v map[string]any, _ Options) error {
	r.Username, r.Email = text(v["user_login"]), text(v["user_email"])
	display := ""
	for _, name := range slices.Sorted(maps.Keys(v)) {
		value := text(v[name])
		switch name {
		case "ID":
			r.ID = value
		case "user_login", "user_email", "user_nicename", "user_activation_key", "user_status":
		case "user_pass":
			r.PasswordHash = value
		case "first_name":
			r.FirstName = value
		case "last_name":
			r.LastName = value
		case "display_name":
			display = value
		case "roles":
			r.Groups = splitGroups(value)
		case "spam", "deleted": // of a network of sites
			if value == "1" || value == "true" {
				active := false
				r.IsActive = &active
			}
		case "user_registered":
			if value != "0000-00-00 00:00:00" && r.setTime("date_joined", value) != nil {
				return r.problem(name, CodeSyntax, "it is no time")
			}
		default:
			if value != "" {
				r.add(name, v[name])
			}
		}
	}
	// What a site shows is often the username.
	if r.FirstName == "" && r.LastName == "" && display != r.Username {
		r.FirstName = display
	}
	return nil
}
