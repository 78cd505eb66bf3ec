// caddysecurity.go: the users.json of caddy-security's local identity store.

package moving

import "io"

// caddySecurityUser is one of "users".
type caddySecurityUser struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Disabled bool   `json:"disabled"`
	Email    struct {
		Address string `json:"address"`
	} `json:"email_address"`
	Emails []struct {
		Address string `json:"address"`
	} `json:"email_addresses"`
	Name  caddySecurityName   `json:"name"`
	Names []caddySecurityName `json:"names"`
	Roles []struct {
		Name         string `json:"name"`
		Organization string `json:"organization"`
	} `json:"roles"`
	Passwords []struct {
		Purpose  string `json:"purpose"`
		Hash     string `json:"hash"`
		Disabled bool   `json:"disabled"`
		Expired  bool   `json:"expired"`
	} `json:"passwords"`
	Created string `json:"created"`
}

type caddySecurityName struct {
	First string `json:"first"`
	Last  string `json:"last"`
}

// readCaddySecurity reads its file, of which the passwords follow one another, the one in
// use first; roles become groups, "organization/role" those of an organization.
func readCaddySecurity(in io.Reader, o Options, yield func(Record, error) bool) error {
	known := false
	return newDocument(in, o).arrayIn("users", recordsOf(yield, func(u *caddySecurityUser, r *Record) (bool, error) {
		if known = known || u.Email.Address != "" || u.Emails != nil || u.Passwords != nil; !known {
			return false, foreign("caddy-security", `"email_addresses" or "passwords"`)
		}
		return true, r.fromCaddySecurity(u)
	}))
}

func (r *Record) fromCaddySecurity(u *caddySecurityUser) error {
	r.ID, r.Username, r.Email = u.ID, u.Username, u.Email.Address
	active := !u.Disabled
	r.IsActive = &active
	if r.Email == "" && len(u.Emails) > 0 {
		r.Email = u.Emails[0].Address
	}
	name := u.Name
	if name == (caddySecurityName{}) && len(u.Names) > 0 {
		name = u.Names[0]
	}
	r.FirstName, r.LastName = name.First, name.Last
	r.Groups = []string{}
	for _, role := range u.Roles {
		group := role.Name
		if role.Organization != "" {
			group = role.Organization + "/" + group
		}
		r.Groups = append(r.Groups, group)
	}
	for _, p := range u.Passwords {
		if !p.Disabled && !p.Expired && p.Hash != "" {
			r.PasswordHash = p.Hash
			break
		}
	}
	return r.setTime("date_joined", u.Created)
}
