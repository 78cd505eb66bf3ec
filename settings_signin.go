// settings_signin.go: how people show who they are besides a password. The second step: what
// they can add and who has to, and that a change of the settings ends nobody's passkeys by
// accident. Accounts elsewhere: which providers there are, and whether the password is another way.

package registration

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/oidc"
	"github.com/seed-928992b0/caddy-registration/internal/origin"
	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/store"
	"go.uber.org/zap"
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
	// The page of a frontend of yours that the link in the mail about a new, removed or
	// linked way to sign in opens, as `register_email.verification_url`: it takes that back,
	// for 7 days. Default: the built-in page; with `pages.off` and without this the mail has
	// no link.
	UndoURL string `json:"undo_url,omitempty"`
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
		"undo_url":       textOption(&to.UndoURL, "https://app.example.com/undo-factor/"),
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

// OIDCSettings name a provider (OpenID Connect) at which people have accounts by which they
// sign in here. What it says about itself is asked for when somebody first wants to.
type OIDCSettings struct {
	// The name stands in the address to which the provider sends people back,
	// `<base_url><path>/oidc-callback/<name>`: small letters, digits and `-`. `google`,
	// `microsoft`, `github` and `gitlab` need no `issuer`.
	Name string `json:"name"`
	// The provider's identifier: an https URL below which its discovery document stands.
	// For `microsoft` that of one organisation, for `github` and `gitlab` a server of one's
	// own. Placeholders are replaced when the configuration loads. Default: by the name.
	Issuer string `json:"issuer,omitempty"`
	// What the provider calls this site. Placeholders are replaced when the configuration
	// loads.
	ClientID string `json:"client_id,omitempty"`
	// The secret that the provider has given out for it; a public client has none.
	// Placeholders are replaced when the configuration loads. Default: none.
	ClientSecret string `json:"client_secret,omitempty"`
	// What the button calls it. Default: by the name.
	Title string `json:"title,omitempty"`
	// Whether who has shown two factors there (`mfa` in the ID token's `amr`) is not asked
	// for a second step here. Default: false.
	TrustAMR bool `json:"trust_amr,omitempty"`
}

var oidcNames = pattern.Of(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

func (s *Settings) checkOIDC(bad badFunc) {
	names := map[string]bool{}
	for i := range s.Login.OIDC {
		p := &s.Login.OIDC[i]
		setting := "login.oidc." + p.Name
		switch {
		case !oidcNames().MatchString(p.Name):
			bad("login.oidc", "%q is no name of a provider; write small letters, digits and hyphens, for example: oidc google { … }", p.Name)
			continue
		case names[p.Name]:
			bad("login.oidc", "the provider %s stands twice; keep one of them, or give the other another name", p.Name)
		}
		names[p.Name] = true
		if p.ClientID == "" {
			bad(setting+".client_id", "it is missing; write what the provider calls this site, for example: client_id {env.%s_ID}", strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")))
		}
		switch {
		case p.Issuer == "" && oidc.IssuerOf(p.Name) == "":
			bad(setting+".issuer", "it is missing, and %q is none of the names that need none (%s); write for example: issuer https://id.example.com", p.Name, strings.Join(oidc.Kinds, ", "))
		case p.Issuer != "" && !hasPlaceholder(p.Issuer) && !isIssuer(p.Issuer):
			bad(setting+".issuer", "%q is no https URL without a query; write for example: issuer https://id.example.com", p.Issuer)
		}
	}
	if len(s.Login.OIDC) > 0 && s.BaseURL == "" {
		bad("login.oidc", "the providers send people back to the site, whose address is unknown; write for example: base_url https://example.com")
	}
	if s.Login.Password != nil && !*s.Login.Password && len(s.Login.OIDC) == 0 {
		bad("login.password", "nobody could sign in: it is off, and there is no provider; write a block oidc, or password on")
	}
}

// isIssuer reports whether a URL can be that of a provider: by https, or by http on this
// machine.
func isIssuer(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(text, "#") || strings.HasSuffix(text, "?") {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// oidcOption reads `oidc <name> { … }`.
func oidcOption(to *[]OIDCSettings) option {
	return func(p *parser, _ string) error {
		token := p.Token()
		args := p.RemainingArgs()
		if len(args) != 1 {
			return p.Errf("oidc takes a name; write for example: oidc google { … } (%s need no issuer)", strings.Join(oidc.Kinds, ", "))
		}
		s := OIDCSettings{Name: args[0]}
		path := "login.oidc." + s.Name
		if _, again := p.lines[path]; again {
			return p.Errf("the provider %s stands twice; keep one of them", s.Name)
		}
		p.lines[path] = token
		err := p.block(path, map[string]option{
			"issuer":        textOption(&s.Issuer, "https://id.example.com"),
			"client_id":     textOption(&s.ClientID, "{env.GOOGLE_ID}"),
			"client_secret": textOption(&s.ClientSecret, "{env.GOOGLE_SECRET}"),
			"title":         textOption(&s.Title, `"Our sign-in"`),
			"trust_amr":     flagOption(&s.TrustAMR),
		})
		*to = append(*to, s)
		return err
	}
}

// resolvedOIDC are the providers with their placeholders replaced.
func resolvedOIDC(list []OIDCSettings, replace func(setting, value string) string) []OIDCSettings {
	out := slices.Clone(list)
	for i := range out {
		p := &out[i]
		setting := "login.oidc." + p.Name
		p.Issuer, p.ClientID, p.ClientSecret = replace(setting+".issuer", p.Issuer), replace(setting+".client_id", p.ClientID), replace(setting+".client_secret", p.ClientSecret)
	}
	return out
}

// providerClient asks the providers of all realms.
var providerClient = oidc.NewClient()

// oidcPolicy fills in what the rules take of it. now is the clock.
func (s *Settings) oidcPolicy(p *account.Policy, now func() time.Time) {
	p.Login.Password = *s.Login.Password
	for _, o := range s.Login.OIDC {
		p.Login.Providers = append(p.Login.Providers, oidc.New(oidc.Config{Name: o.Name, Title: o.Title, Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: o.ClientSecret, TrustAMR: o.TrustAMR}, providerClient, now))
	}
	if !p.Login.Password { // there is none to forget
		p.ResetPassword.Enabled = false
	}
}
