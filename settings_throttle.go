// settings_throttle.go: how often one client, account or recipient may ask.

package registration

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/seed-928992b0/caddy-registration/internal/account"
)

// ThrottleSettings bounds what can be guessed and what sends mail. Each limit
// holds for one client address (an IPv6 one with its /64), many times over for
// the networks around it (IPv4: 32 times for its /24, 256 for its /16; IPv6: 4
// for its /56, 16 for its /48, 256 for its /32), and again for one account or
// recipient; beyond it the answer is 429 with Retry-After. What fails on its own
// form counts against ten times the limit and nothing else. Nobody is locked out:
// the budget fills evenly, so a full one of 10 a minute gives one more try every
// 6 seconds.
type ThrottleSettings struct {
	// Turns every throttle off. Default: false.
	Off bool `json:"off,omitempty"`
	// Sign-in, and the old password at its change. Default: 10 in 1 minute.
	Login *ThrottleLimit `json:"login,omitempty"`
	// Sign-up. Default: 20 in 1 hour.
	Register *ThrottleLimit `json:"register,omitempty"`
	// The mail for a forgotten password. Default: 5 in 15 minutes.
	Reset *ThrottleLimit `json:"reset,omitempty"`
	// The mails that confirm an account again or a new address. Default: 5 in
	// 15 minutes.
	Email *ThrottleLimit `json:"email,omitempty"`
	// Changes of the profile, for an account alone. Default: 60 in 1 hour.
	Profile *ThrottleLimit `json:"profile,omitempty"`
	// Mails with a link to one address, all kinds together; those of one kind have
	// half of it. An address without a plus sign, and one that its account has
	// confirmed, has this by itself; all other variants of a mailbox
	// (a+1@example.com and a+2@example.com) have it once, together. Besides, resets
	// that were asked for on a known device have a sixth of it, and notices of a
	// changed password or sign-in name an eighth each. A mail beyond is left out. A
	// link that takes an account back goes half beyond; where even that is used up,
	// the act that makes it necessary is refused. Default: 30 in 1 hour.
	Mail *ThrottleLimit `json:"mail,omitempty"`
	// Mails of the realm, whoever they go to. Notices have half of it, but a
	// confirmed address is always told of a change of its account; the last tenth
	// is for people on devices that they signed in on before. Beyond it
	// acts that mail something are refused, and the log says so once. Default:
	// 10000 in 1 hour.
	AllMail *ThrottleLimit `json:"all_mail,omitempty"`
}

// A ThrottleLimit is a number of events in a window of time.
type ThrottleLimit struct {
	Events int            `json:"events"`
	Window caddy.Duration `json:"window"`
}

// throttleNames are the throttles, in the order of the documentation.
var throttleNames = []string{account.ThrottleLogin, account.ThrottleRegister, account.ThrottleReset, account.ThrottleEmail, account.ThrottleProfile, account.ThrottleMail, account.ThrottleAllMail}

// named returns where the limit of a throttle stands, nil for an unknown one.
func (s *ThrottleSettings) named(name string) **ThrottleLimit {
	switch name {
	case account.ThrottleLogin:
		return &s.Login
	case account.ThrottleRegister:
		return &s.Register
	case account.ThrottleReset:
		return &s.Reset
	case account.ThrottleEmail:
		return &s.Email
	case account.ThrottleProfile:
		return &s.Profile
	case account.ThrottleMail:
		return &s.Mail
	case account.ThrottleAllMail:
		return &s.AllMail
	}
	return nil
}

func (s ThrottleSettings) limit(name string) ThrottleLimit { return **s.named(name) }

func (s *ThrottleSettings) setDefaults() {
	defaults := map[string]ThrottleLimit{
		account.ThrottleLogin:    {Events: 10, Window: caddy.Duration(time.Minute)},
		account.ThrottleRegister: {Events: 20, Window: caddy.Duration(time.Hour)},
		account.ThrottleReset:    {Events: 5, Window: caddy.Duration(15 * time.Minute)},
		account.ThrottleEmail:    {Events: 5, Window: caddy.Duration(15 * time.Minute)},
		account.ThrottleProfile:  {Events: 60, Window: caddy.Duration(time.Hour)},
		account.ThrottleMail:     {Events: 30, Window: caddy.Duration(time.Hour)},
		account.ThrottleAllMail:  {Events: 10_000, Window: caddy.Duration(time.Hour)},
	}
	for name, limit := range defaults {
		if p := s.named(name); *p == nil {
			*p = &limit
		}
	}
}
