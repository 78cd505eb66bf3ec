// supabase.go: the table auth.users of Supabase.

package moving

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// readSupabase reads `select * from auth.users` as JSON or as CSV with a header. What the
// user has said of himself (raw_user_meta_data) becomes fields.
func readSupabase(in io.Reader, o Options, yield func(Record, error) bool) error {
	return objectsOrRows(in, o, yield, "supabase", "encrypted_password", (*Record).fromSupabase)
}

func (r *Record) fromSupabase(v map[string]any, o Options) error {
	r.ID, r.Email, r.PasswordHash = text(v["id"]), text(v["email"]), text(v["encrypted_password"])
	for _, why := range []struct{ name, message string }{
		{"is_anonymous", "it is an anonymous user's"}, {"deleted_at", "it is a deleted account"},
	} {
		if s := text(v[why.name]); s != "" && s != "false" && s != "f" {
			return r.problem(why.name, CodeNobody, why.message)
		}
	}
	verified := text(v["email_confirmed_at"]) != "" || text(v["confirmed_at"]) != ""
	r.EmailVerified = &verified
	for name, own := range map[string]string{"created_at": "date_joined", "last_sign_in_at": "last_login"} {
		if r.setTime(own, text(v[name])) != nil {
			return r.problem(name, CodeSyntax, "it is no time")
		}
	}
	active := true
	if until := text(v["banned_until"]); until != "" {
		t, err := parseTime(until)
		if err != nil {
			return r.problem("banned_until", CodeSyntax, err.Error())
		}
		now := o.Now
		if now.IsZero() {
			now = time.Now()
		}
		active = t.Before(now)
	}
	r.IsActive = &active
	if phone := text(v["phone"]); phone != "" {
		r.add("phone", phone)
	}
	return r.metaOfSupabase(v["raw_user_meta_data"])
}

func (r *Record) metaOfSupabase(v any) error {
	meta, _ := v.(map[string]any)
	if s, ok := v.(string); ok && s != "" {
		dec := json.NewDecoder(strings.NewReader(s))
		dec.UseNumber()
		if err := dec.Decode(&meta); err != nil {
			return r.problem("raw_user_meta_data", CodeSyntax, "it is no object of JSON")
		}
	}
	full := ""
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		value := text(meta[name])
		switch name {
		case "sub", "email", "email_verified", "phone_verified", "iss", "provider_id":
			// What a provider of sign-ins has said of itself.
		case "username", "user_name", "preferred_username":
			r.Username = value
		case "first_name", "given_name":
			r.FirstName = value
		case "last_name", "family_name":
			r.LastName = value
		case "full_name", "name", "display_name":
			full = value
		default:
			r.add(name, meta[name])
		}
	}
	if r.FirstName == "" && r.LastName == "" {
		r.FirstName = full
	}
	return nil
}
