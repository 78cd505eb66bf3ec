// settings_check.go: what makes a configuration wrong, and the remedy for each.
// The same checks run when a Caddyfile is adapted and when JSON is loaded.

package registration

import (
	"encoding/json"
	"errors"
	"fmt"
	netmail "net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/publicsuffix"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/origin"
	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/mail"
)

var realmName = pattern.Of(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// check returns every wrong setting as a *Error, joined, or nil.
// Values with placeholders are looked at again once these are replaced.
func (s *Settings) check() error {
	var errs []error
	bad := func(option, format string, args ...any) {
		errs = append(errs, setting.Errorf(option, format, args...))
	}
	switch {
	case !strings.HasPrefix(s.Path, "/"):
		bad("path", "%q does not begin with a slash; write /%s", s.Path, s.Path)
	case s.Path == "/":
		bad("path", "the accounts need a path of their own, because everything below it is theirs; write for example %s", defaultPath)
	case strings.HasSuffix(s.Path, "/"), strings.ContainsAny(s.Path, "*?#%{} \\"), strings.Contains(s.Path, "//"), strings.Contains(s.Path, ".."):
		bad("path", "%q is a mount point, not a matcher: write it without a trailing slash, wildcard or escape, for example %s", s.Path, defaultPath)
	}
	if !realmName().MatchString(s.Realm) {
		bad("realm", "%q is not a realm name; use up to 64 of a-z, 0-9, - and _, beginning with a letter or digit", s.Realm)
	}
	// A language of the owner's own is looked for when the files are read.
	if known := text.ShippedLanguages(); s.Templates == "" && !slices.Contains(known, s.Language) {
		bad("language", "%q is not a language that we know; write one of %s, or add a catalogue of your own to the templates folder", s.Language, strings.Join(known, ", "))
	}
	s.checkRegister(bad)
	s.checkMail(bad)
	s.checkFields(bad)
	s.checkSessions(bad)
	s.checkFactors(bad)
	s.checkOIDC(bad)
	s.Password.Breached.check(bad)
	if len(s.Password.ValidatorsRaw) > maxPasswordValidators {
		bad("password.validators", "there are more than %d; let one of them ask the others", maxPasswordValidators)
	}
	s.DeleteAccount.check(bad)
	s.checkPages(bad)
	s.checkAdmin(bad)
	s.checkWebhooks(bad)
	for _, name := range throttleNames {
		if l := s.Throttle.limit(name); l.Events < 1 || l.Events > 1_000_000 || time.Duration(l.Window) < time.Second || time.Duration(l.Window) > 7*day {
			bad("throttle", "%s: needs 1 to 1000000 events in a window of 1s to 7d; write for example: throttle %s 10 1m", name, name)
		}
	}
	for _, secret := range s.Secrets {
		if !hasPlaceholder(secret) && len(secret) < sign.MinSecret {
			bad("secret", "a key has fewer than %d bytes; make one with: openssl rand -base64 32", sign.MinSecret)
		}
	}
	for _, trusted := range s.TrustedOrigins {
		if err := origin.Check(trusted); err != nil && !hasPlaceholder(trusted) {
			bad("trusted_origins", "%v", err)
		}
	}
	return errors.Join(errs...)
}

// checkRegister finds what is wrong with who can sign up.
func (s *Settings) checkRegister(bad badFunc) {
	r := s.Register
	if !slices.Contains(account.Modes, r.Mode) {
		bad("register.mode", "%q is not one of open, invite, approve, closed", r.Mode)
	} else if *r.Enabled != (r.Mode != account.ModeClosed) {
		bad("register.mode", "%s contradicts enabled; keep mode alone, because mode closed is what enabled off means", r.Mode)
	}
	for _, list := range []named[[]string]{{"register.allow_domains", r.AllowDomains}, {"register.deny_domains", r.DenyDomains}} {
		for _, domain := range list.value {
			if !field.MeansAddress("a@" + strings.TrimPrefix(domain, "*.")) {
				bad(list.setting, "%q is no domain; write for example example.com, or *.example.com for all below it", domain)
			}
		}
	}
	if code := strings.TrimSpace(r.Code); len(code) > 200 || code == "" && r.Code != "" {
		bad("register.code", "is blank or has more than 200 bytes; write one word that people can type")
	}
	if !slices.Contains(account.Reasons, r.Reason) {
		bad("register.reason", "%q is not one of %s", r.Reason, strings.Join(account.Reasons, ", "))
	}
	r.checkTerms(bad)
	if r.Notify != "" && !hasPlaceholder(r.Notify) {
		if addr, err := netmail.ParseAddress(r.Notify); err != nil || addr.Address != r.Notify {
			bad("register.notify", "%q is no e-mail address; write one, without a name, for example owner@example.com", r.Notify)
		}
	}
	if hasPlaceholder(r.Contact) || r.Contact == "" {
		return
	}
	if strings.Contains(r.Contact, "://") {
		if err := checkHTTPURL(r.Contact, true); err != nil {
			bad("register.contact", "%v, or an e-mail address", err)
		}
	} else if !field.MeansAddress(r.Contact) {
		bad("register.contact", "%q is neither an e-mail address nor a URL; write for example help@example.com", r.Contact)
	}
}

// termsVersion is what a version can be called: one word that stays as it is on its way
// through forms and programs.
var termsVersion = pattern.Of(`^[0-9A-Za-z][0-9A-Za-z._/-]*$`)

// checkTerms finds what is wrong with the terms to which people agree.
func (r RegisterSettings) checkTerms(bad badFunc) {
	page, version := r.Terms.Page, r.Terms.Version
	if page == "" && version == "" {
		return
	}
	const example = "write for example: terms /terms.html 2026-11-01"
	if !hasPlaceholder(page) && !web.IsSitePath(page) && checkHTTPURL(page, true) != nil {
		bad("register.terms", "%q is neither a path of this site nor a URL; %s", page, example)
	}
	if !hasPlaceholder(version) && (len(version) > account.MaxTermsVersion || !termsVersion().MatchString(version)) {
		bad("register.terms", "%q is no version: up to %d letters, digits, '.', '-', '_' and '/'; %s", version, account.MaxTermsVersion, example)
	}
}

type badFunc func(setting, format string, args ...any)

// named is a value with the setting that it comes from.
type named[T any] struct {
	setting string
	value   T
}

// sendsMail reports whether this configuration ever mails anybody.
func (s *Settings) sendsMail() bool {
	return s.Register.Notify != "" || *s.Register.Enabled && *s.Register.Verification || *s.Login.MailCode || *s.ResetPassword.Enabled || *s.RegisterEmail.Verification
}

// checkMail finds what is wrong with the settings of the mails, and of where their
// links lead.
func (s *Settings) checkMail(bad badFunc) {
	s.checkBaseURL(s.checkLinks(bad), bad)
	s.checkSender(bad)
	s.checkMailTemplates(bad)
}

// checkLinks finds what is wrong with where the mailed links lead. It returns the
// last block of settings with a link to a page of ours, "" if there is none.
func (s *Settings) checkLinks(bad badFunc) (builtIn string) {
	links := []struct {
		setting, url string
		on           bool
		acts         bool // in redirect mode the link needs no page
	}{
		{"register.verification_url", s.Register.VerificationURL, *s.Register.Enabled && *s.Register.Verification, s.Register.on()},
		{"reset_password.verification_url", s.ResetPassword.VerificationURL, *s.ResetPassword.Enabled, false},
		{"register_email.verification_url", s.RegisterEmail.VerificationURL, *s.RegisterEmail.Verification, s.RegisterEmail.on()},
		{"register_email.undo_url", s.RegisterEmail.UndoURL, s.sendsMail(), false},
		{"factors.undo_url", s.Factors.UndoURL, false, false}, // without a page these have no link
		{"notices.end_sign_in_url", s.Notices.EndSignInURL, false, false},
	}
	for _, link := range links {
		switch {
		case link.url != "" && !hasPlaceholder(link.url):
			s.checkLink(link.setting, link.url, bad)
		case link.url == "" && link.on && s.Pages.Off && !link.acts:
			bad(link.setting, "with pages off the mailed link needs a page of your frontend; set it, or turn pages on")
		case link.url == "" && link.on:
			builtIn, _, _ = strings.Cut(link.setting, ".")
		}
	}
	return builtIn
}

// checkLink accepts an absolute URL, or a path below base_url.
func (s *Settings) checkLink(setting, link string, bad badFunc) {
	switch err := checkHTTPURL(link, true); {
	case err == nil:
	case !strings.HasPrefix(link, "/"):
		bad(setting, "%v, or a path below base_url, such as /verify/", err)
	case !web.IsSitePath(link):
		bad(setting, "%q is no path below base_url; write for example /verify/", link)
	case s.BaseURL == "":
		bad("base_url", "missing, but %s is a path below it; add: base_url https://example.com", setting)
	}
}

// checkBaseURL finds what is wrong with base_url; builtIn is the block of settings
// with a link that needs it.
func (s *Settings) checkBaseURL(builtIn string, bad badFunc) {
	switch {
	case s.BaseURL == "" && builtIn != "":
		bad("base_url", "missing, but %s mails a link to a built-in page, and its host is never taken from a request; add: base_url https://example.com", builtIn)
	case s.BaseURL != "" && !hasPlaceholder(s.BaseURL):
		if err := checkHTTPURL(s.BaseURL, false); err != nil {
			bad("base_url", "%v", err)
		}
	}
}

// checkSender finds what is wrong with who sends the mails, and by what.
func (s *Settings) checkSender(bad badFunc) {
	if s.sendsMail() {
		if s.From == "" {
			bad("from", "missing, but this configuration sends mail; add: from no-reply@example.com")
		}
		if s.MailerRaw == nil {
			bad("mailer", "missing, but this configuration sends mail; add: mailer smtp mail.example.com:587 (or, to see the mail in the log: mailer log)")
		}
	}
	for _, a := range []named[string]{{"from", s.From}, {"reply_to", s.ReplyTo}} {
		if a.value == "" || hasPlaceholder(a.value) || a.setting == "reply_to" && a.value == s.From {
			continue
		}
		if _, err := netmail.ParseAddress(a.value); err != nil {
			bad(a.setting, "%q is not a mail address; write a@example.com or \"Name <a@example.com>\"", a.value)
		} else if _, err := mail.ParseMailbox(hostname.Mailbox(a.value)); err != nil { // no mail would ever leave
			bad(a.setting, "%v", err)
		}
	}
}

func (s *Settings) checkMailTemplates(bad badFunc) {
	for _, n := range []named[MailSettings]{{"register.mail", s.Register.Mail}, {"reset_password.mail", s.ResetPassword.Mail}, {"register_email.mail", s.RegisterEmail.Mail}} {
		setting, m := n.setting, n.value
		for _, name := range []string{m.Subject, m.Body, m.TextBody, m.HTMLBody} {
			if name != "" && s.Templates == "" && !letter.IsBuiltIn(name) {
				bad(setting, "%q is no built-in template, such as register/body.txt, and there is no folder to find it in; add: templates <folder>", name)
			}
		}
		if m.Body != "" && (m.TextBody != "" || m.HTMLBody != "") {
			bad(setting, "has both body and text_body or html_body; keep body, or the other two")
		}
	}
}

// maxAuditKeep bounds how long the audit is kept.
const maxAuditKeep = 100 * 365 * day

func (s *Settings) checkSessions(bad badFunc) {
	if !*s.Login.Session && !*s.Login.Token {
		bad("login", "with session and token both off nobody could sign in; turn one of them on")
	}
	s.checkJWT(bad)
	for _, d := range []named[caddy.Duration]{
		{"session.lifetime", s.Session.Lifetime},
		{"session.idle", s.Session.Idle},
		{"register.verification_period", s.Register.VerificationPeriod},
		{"register.unconfirmed_lifetime", s.Register.UnconfirmedLifetime},
		{"reset_password.verification_period", s.ResetPassword.VerificationPeriod},
		{"register_email.verification_period", s.RegisterEmail.VerificationPeriod},
	} {
		if time.Duration(d.value) < time.Second {
			bad(d.setting, "must be at least one second; write for example 14d or 90m")
		}
	}
	if time.Duration(s.Audit.Keep) < time.Hour || time.Duration(s.Audit.Keep) > maxAuditKeep {
		bad("audit.keep", "must be at least one hour and at most 100 years; write for example: keep 90d")
	}
	s.checkAuthz(bad)
	if d := time.Duration(*s.RegisterEmail.MaxAge); d != 0 && d < time.Second {
		bad("register_email.max_age", "must be at least one second, or 0 (off); write for example 10m")
	}
	if s.Session.Max < 1 || s.Session.Max > maxSessions {
		bad("session.max", "%d is not between 1 and %d; write for example: max 50", s.Session.Max, maxSessions)
	}
	switch s.Session.SameSite {
	case "lax", "strict":
	case "none":
		if strings.HasPrefix(s.BaseURL, "http://") {
			bad("session.same_site", "none needs HTTPS, because browsers drop such a cookie otherwise; use lax, or an https base_url")
		}
	default:
		bad("session.same_site", "%q is not one of lax, strict, none", s.Session.SameSite)
	}
	s.checkCookieName(bad)
	if strings.ContainsAny(s.Session.CookieDomain, " \t\r\n;,=/:") {
		bad("session.cookie_domain", "%q is not a domain; write for example example.com", s.Session.CookieDomain)
	} else {
		s.checkCookieDomain(bad)
	}
	if err := s.hashParams().Validate(); err != nil {
		bad("password.argon2id", "%v", err)
	}
	if s.Password.MinLength < 1 || s.Password.MinLength > 1024 {
		bad("password.min_length", "%d is not between 1 and 1024", s.Password.MinLength)
	}
}

func (s *Settings) checkAuthz(bad badFunc) {
	if s.Authz.LegacyPaths && !s.Authz.On {
		bad("authz.legacy_paths", "nothing is served there, because authz is off; set authz.on too, or leave it out")
	}
	if s.Authz.On && s.BaseURL == "" {
		bad("authz", "other servers send their visitors to the sign-in page, and nobody knows where that is; set base_url")
	}
}

// cookieName is a token of RFC 9110 (5.6.2), as RFC 6265 wants the name of a cookie.
// net/http sets no cookie with another, and says nothing.
var cookieName = pattern.Of("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$")

// checkCookieName refuses a name under which no browser would take or send the
// cookie. Browsers read the prefixes in any case (RFC 6265bis, 5.4).
func (s *Settings) checkCookieName(bad badFunc) {
	name, plain := s.Session.CookieName, strings.HasPrefix(s.BaseURL, "http://")
	if name != "" && !cookieName().MatchString(name) {
		bad("session.cookie_name", "%q is no name for a cookie; use up to 100 letters, digits, - and _", name)
	}
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "__host-") && s.Session.CookieDomain != "" {
		bad("session.cookie_name", "a __Host- cookie can't have a domain; rename it, or remove cookie_domain")
	}
	for _, prefix := range []string{"__Host-", "__Secure-", "__Http-"} {
		if strings.HasPrefix(lower, strings.ToLower(prefix)) && plain {
			bad("session.cookie_name", "browsers take a %s cookie over HTTPS alone, and base_url is %s; rename it, or write an https base_url", prefix, s.BaseURL)
		}
	}
}

// checkCookieDomain refuses a domain for which no browser would take the cookie
// from base_url (RFC 6265bis, 5.7): nobody could sign in, and nothing would say why.
func (s *Settings) checkCookieDomain(bad badFunc) {
	domain := strings.ToLower(strings.TrimPrefix(s.Session.CookieDomain, "."))
	u, err := url.Parse(s.BaseURL)
	if domain == "" || err != nil || u.Host == "" || hasPlaceholder(domain) || hasPlaceholder(s.BaseURL) {
		return
	}
	host := strings.ToLower(u.Hostname())
	if host != domain && !strings.HasSuffix(host, "."+domain) {
		bad("session.cookie_domain", "%q is no domain of %q, the host of base_url, so browsers would drop the cookie; write that host or a domain above it, or remove cookie_domain", s.Session.CookieDomain, host)
	} else if suffix, icann := publicsuffix.PublicSuffix(domain); icann && suffix == domain && host != domain {
		bad("session.cookie_domain", "%q is a public suffix, under which sites are strangers to each other, so browsers would drop the cookie; write your own domain, or remove cookie_domain", s.Session.CookieDomain)
	}
}

// maxAccessLifetime bounds an access token: it can't be called back from a
// backend that verifies by itself.
const maxAccessLifetime = day

func (s *Settings) checkJWT(bad badFunc) {
	j := s.Login.JWT
	if j == nil {
		return
	}
	if !*s.Login.Token {
		bad("login.jwt", "is set, but tokens are off; turn token on, or remove jwt")
	}
	if j.Issuer == "" {
		bad("login.jwt.issuer", "missing, and there is no base_url to take it from; add: base_url https://example.com")
	}
	if slices.Contains(j.Audience, "") {
		bad("login.jwt.audience", "must not be empty; write for example https://api.example.com")
	}
	if raw, err := json.Marshal(append([]string{j.Issuer}, j.Audience...)); err != nil || len(raw) > session.MaxTokenAddress {
		bad("login.jwt.audience", "issuer and audience have more than %d bytes together, and every access token carries them; write fewer or shorter ones", session.MaxTokenAddress)
	}
	if l := time.Duration(j.Lifetime); l < time.Second || l > maxAccessLifetime {
		bad("login.jwt.lifetime", "%v is not between 1s and 24h; an access token is to be short-lived, so write for example 5m", l)
	}
	if l := time.Duration(j.KeyLifetime); l < time.Duration(j.Lifetime) || l > 3650*day {
		bad("login.jwt.key_lifetime", "%v is not between lifetime (%v) and 3650d; write for example 30d", l, time.Duration(j.Lifetime))
	}
}

// warnings returns what is allowed but unwise, one sentence each.
func (s *Settings) warnings() []string {
	var out []string
	if *s.Register.AutoLogin && !*s.Register.OneTimeUse {
		out = append(out, "register: auto_login without one_time_use lets anybody who finds the mailed link sign in until it expires; turn one_time_use on")
	}
	for _, block := range []named[*bool]{{"register", s.Register.OneTimeUse}, {"reset_password", s.ResetPassword.OneTimeUse}} {
		if !*block.value {
			out = append(out, block.setting+": without one_time_use a mailed link is good until it expires, even after a new password, the end of all sign-ins or disabling; turn one_time_use on")
		}
	}
	if *s.ResetPassword.FailWhenUserNotFound {
		out = append(out, "reset_password: fail_when_user_not_found lets anybody probe which accounts exist")
	}
	if *s.RegisterEmail.MaxAge == 0 {
		out = append(out, "register_email: without max_age whoever finds a browser signed in can take the account by another address; set one")
	}
	if *s.Register.AutoLogin && s.Register.on() {
		out = append(out, "register: auto_login with success_redirect signs in whoever opens a mailed link, so a foreign page can sign a visitor in to an account of its own; turn one of them off")
	}
	if s.Authz.On && s.Session.CookieDomain == "" {
		out = append(out, "authz: servers on other hosts than that of "+s.BaseURL+" never see a sign-in, because browsers send the session cookie to that host alone; if there are any, write cookie_domain <the domain of all>, in the block session")
	}
	if off := s.passkeysOff(); off != "" {
		out = append(out, off)
	}
	return out
}

// hasPlaceholder reports whether the value is only known once loaded.
func hasPlaceholder(value string) bool { return strings.Contains(value, "{") }

// checkHTTPURL accepts an absolute http or https URL. A page of a frontend may
// carry a query and a fragment; the site's own address may not.
func checkHTTPURL(raw string, page bool) error {
	u, err := url.Parse(raw)
	if err == nil && u.User != nil { // not shown: it may be a password
		return fmt.Errorf("a name or password stands before the host %q of the URL; leave it out", u.Host)
	}
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" ||
		!page && (u.Fragment != "" || u.RawQuery != "") {
		return fmt.Errorf("%q is not an absolute http or https URL; write for example https://example.com", raw)
	}
	return nil
}

func (s *DeleteAccountSettings) check(bad badFunc) {
	if g := time.Duration(s.Grace); g < 0 || g > 366*day {
		bad("delete_account.grace", "is %v; write a time of at most a year, for example: grace 7d", g)
	}
}
