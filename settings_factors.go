// settings_factors.go: the second step: what people can add and who has to; and that a
// change of the settings ends nobody's passkeys by accident.

package registration

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/origin"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/store"
)

// FactorSettings is about the second step of a sign-in. A factor that an account has is
// asked for whatever is set here.
type FactorSettings struct {
	// Whether people can add the codes of an app (TOTP). Default: true.
	TOTP *bool `json:"totp,omitempty"`
	// Whether people can add passkeys. Default: true.
	Passkey *bool `json:"passkey,omitempty"`
	// The groups whose members have to have a factor: one without gets it at the next
	// sign-in, before anything else. Default: none.
	RequiredFor []string `json:"required_for,omitempty"`
	// How long people can have a browser of theirs not asked for the second step; the
	// password still is. Default: 0, it is asked for each time.
	TrustedDevice caddy.Duration `json:"trusted_device,omitempty"`
	// The name that passkeys are bound to: that of the site or of a domain above it. One
	// that changes ends all passkeys. Default: `session.cookie_domain`, else the host of
	// `base_url`.
	RPID string `json:"rp_id,omitempty"`
}

func (s *FactorSettings) setDefaults() {
	setSwitch(&s.TOTP, true)
	setSwitch(&s.Passkey, true)
}

const maxTrustedDevice = 365 * day

func (s *Settings) checkFactors(bad badFunc) {
	f := s.Factors
	if len(f.RequiredFor) > 0 && !*f.TOTP && !*f.Passkey {
		bad("factors.required_for", "nobody could add a factor, because totp and passkey are off; turn one of them on, or remove the line")
	}
	for _, group := range f.RequiredFor {
		if !identity.IsGroup(group) {
			bad("factors.required_for", "%q is no name of a group", group)
		}
	}
	if d := time.Duration(f.TrustedDevice); d != 0 && (d < time.Hour || d > maxTrustedDevice) {
		bad("factors.trusted_device", "%v is not between 1h and 365d; write for example 30d, or remove the line: then the second step is asked for each time", d)
	}
	if f.RPID != "" && !hasPlaceholder(f.RPID) && !isDomain(f.RPID) {
		bad("factors.rp_id", "%q is no domain; write for example example.com", f.RPID)
		return
	}
	if hasPlaceholder(f.RPID) || hasPlaceholder(s.BaseURL) || hasPlaceholder(s.Session.CookieDomain) {
		return
	}
	party, err := s.party()
	switch {
	case err != nil:
		bad("factors.rp_id", "%v", err)
	case len(f.RequiredFor) > 0 && !*f.TOTP && *f.Passkey && party.Off != "":
		bad("factors.required_for", "nobody could add a factor, because totp is off, and passkeys can't be used here: %s; turn totp on, or remove the line", party.Off)
	}
}

// isDomain reports whether passkeys can be bound to a name.
func isDomain(name string) bool {
	ascii, err := hostname.ToASCII(name)
	return err == nil && net.ParseIP(name) == nil && !strings.ContainsAny(name, ":/ ") && (ascii == "localhost" || field.MeansAddress("a@"+name))
}

// party is whose the passkeys of the site are.
func (s *Settings) party() (factor.Party, error) {
	id, _ := hostname.ToASCII(s.Factors.RPID)
	return factor.PartyOf(s.BaseURL, s.Session.CookieDomain, id)
}

// passkeysOff says why nobody can have a passkey on a site that would let them; "": they can.
func (s *Settings) passkeysOff() string {
	party, err := s.party()
	if err != nil || s.BaseURL == "" || party.Off == "" || !*s.Factors.Passkey {
		return ""
	}
	return "passkeys are off: " + party.Off + ". Give the site a name and HTTPS, or write passkey off in the block factors"
}

// factorsOption reads the block `factors`.
func factorsOption(to *FactorSettings) option {
	return blockOption(map[string]option{
		"totp":           switchOption(&to.TOTP),
		"passkey":        switchOption(&to.Passkey),
		"required_for":   listOption(&to.RequiredFor, "admins staff"),
		"rp_id":          textOption(&to.RPID, "example.com"),
		"trusted_device": durationOption(&to.TrustedDevice),
	})
}

// factorPolicy fills in what the rules take of it.
func (s *Settings) factorPolicy(p *account.Policy) {
	p.Factors.TOTP, p.Factors.Passkey = *s.Factors.TOTP, *s.Factors.Passkey
	p.Factors.RequiredFor, p.Factors.Trusted = s.Factors.RequiredFor, time.Duration(s.Factors.TrustedDevice)
	if p.Factors.Issuer = s.Pages.Title; p.Factors.Issuer == "" {
		p.Factors.Issuer = s.site()
	}
	party, err := s.party()
	trusted, wrong := origin.NewSet(s.TrustedOrigins)
	if err == nil && wrong == nil && party.Off == "" { // what is wrong, the checks have said
		p.Factors.Passkeys, _ = factor.NewPasskeys(party, p.Factors.Issuer, trusted)
	}
}

// passkeyDomain is the name of the store's value with the domain of the passkeys there.
const passkeyDomain = "passkey_domain"

// keepPasskeys refuses to serve accounts whose passkeys would work no more, because the
// site is of another domain than they are, unless rp_id or `passkey off` says that it is
// meant.
func (r *realm) keepPasskeys(ctx context.Context) error {
	var was, is string
	if p := r.Options.Factors.Passkeys; p != nil {
		is = p.ID()
	}
	err := r.resources.store.View(ctx, func(tx store.Tx) error {
		value, err := tx.Value(passkeyDomain)
		was = string(value)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil || was == is {
		return err
	}
	if was != "" { // else nobody has one
		kept, err := r.losePasskeys(ctx, was, is)
		if err != nil || kept {
			return err
		}
	}
	return r.resources.store.Update(ctx, func(tx store.Tx) error { return tx.PutValue(passkeyDomain, []byte(is)) })
}

// holders says how many accounts have passkeys.
func holders(n int) string {
	if n == 1 {
		return "an account has passkeys"
	}
	return strconv.Itoa(n) + " accounts have passkeys"
}

// losePasskeys is keepPasskeys where the domain is another one than it was. kept says that
// the former one stays noted: nobody has lost anything, and there is no other.
func (r *realm) losePasskeys(ctx context.Context, was, is string) (kept bool, err error) {
	lost, err := store.CountUsers(ctx, r.resources.store, func(u *store.User) bool { return u.HasFactor(store.FactorPasskey) })
	f := r.settings.Factors
	switch {
	case err != nil:
		return false, err
	case lost == 0:
		return is == "", nil
	case f.RPID == "" && *f.Passkey:
		return false, setting.Errorf("factors.rp_id", "%s of %s, which work no more at %s; put back base_url and cookie_domain, or write what is to count from now on: rp_id %s, or passkey off", holders(lost), was, r.settings.BaseURL, cmp.Or(is, was))
	}
	r.Logger.Warn("passkeys of another domain work no more", zap.String("realm", r.Name), zap.String("was", was), zap.String("is", is), zap.Int("accounts", lost))
	return false, nil
}
