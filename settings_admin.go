// settings_admin.go: the owner's pages: who may see them, and how fresh a sign-in has
// to be to change something on them.

package registration

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-928992b0/caddy-registration/internal/identity"
)

// AdminSettings turns on the owner's pages, below `admin/` of the path.
type AdminSettings struct {
	// The group whose members see the pages and act on them. To everybody else they
	// don't exist (404). Required.
	Group string `json:"group,omitempty"`
	// How long after the sign-in something can be changed without the password.
	// Default: 15 minutes.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
	// Whether who has no second factor may only look: `off` or `required`. It
	// asks for nothing where the realm has no second factors. Default: `required`.
	SecondFactor string `json:"second_factor,omitempty"`
}

// What admin.second_factor can be.
const (
	secondFactorOff      = "off"
	secondFactorRequired = "required"
)

// maxAdminAge bounds how old a sign-in may be that changes somebody else's account.
const maxAdminAge = day

func (s *Settings) setAdminDefaults() {
	if s.Admin == nil {
		return
	}
	a := *s.Admin // the settings as they were configured stay as they are
	setDefault(&a.MaxAge, caddy.Duration(15*time.Minute))
	setDefault(&a.SecondFactor, secondFactorRequired)
	s.Admin = &a
}

func (s *Settings) checkAdmin(bad badFunc) {
	a := s.Admin
	if a == nil {
		return
	}
	switch {
	case a.Group == "":
		bad("admin.group", "missing: who may see the owner's pages? Write for example: group admins")
	case !identity.IsGroup(a.Group):
		bad("admin.group", "%q can't be the name of a group, which is %s; write for example: group admins", a.Group, identity.GroupRule)
	}
	if d := time.Duration(a.MaxAge); d < time.Minute || d > maxAdminAge {
		bad("admin.max_age", "must be at least one minute and at most one day; write for example: max_age 15m")
	}
	if a.SecondFactor != secondFactorOff && a.SecondFactor != secondFactorRequired {
		bad("admin.second_factor", "%q is neither off nor required; write: second_factor required", a.SecondFactor)
	}
	if !*s.Login.Session {
		bad("admin", "the owner's pages need the session cookie; remove session off from login, or the block admin")
	}
}

// adminOption reads `admin { group admins … }`.
func adminOption(to **AdminSettings) option {
	return func(p *parser, name string) error {
		*to = new(AdminSettings)
		return blockOption(map[string]option{
			"group":         textOption(&(*to).Group, "admins"),
			"max_age":       durationOption(&(*to).MaxAge),
			"second_factor": textOption(&(*to).SecondFactor, secondFactorRequired),
		})(p, name)
	}
}
