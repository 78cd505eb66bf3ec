// settings.go: every setting of one realm, its default, its meaning and its
// check. The Caddyfile (caddyfile.go) and JSON both end here.

package registration

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// Settings is the configuration of one realm as it stands in JSON. Switches are
// pointers so that "not set" differs from "off"; setDefaults fills them all.
type Settings struct {
	// The path under which the endpoints and pages live, without a trailing
	// slash. Default: `/accounts`.
	Path string `json:"path,omitempty"`

	// The name by which `require_login` refers to these accounts. Accounts of
	// different realms are separate, in one store too. Default: `default`.
	Realm string `json:"realm,omitempty"`

	// The address at which people reach this site, such as
	// `https://example.com`. It is the only source of the host in a mailed
	// link. Required wherever a link to the built-in pages is mailed.
	// Placeholders are replaced when the configuration loads.
	BaseURL string `json:"base_url,omitempty"`

	// The keys that sign mailed links, newest first: the first signs, all
	// verify. Each is at least 16 bytes. Default: one random key, kept in the
	// store. Placeholders are replaced when the configuration loads.
	Secrets []string `json:"secrets,omitempty"`

	// Where the accounts are kept. Default: `bbolt` in Caddy's data folder.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=http.registration.stores inline_key=module"`

	// What sends the mail. Required wherever mail is sent.
	MailerRaw json.RawMessage `json:"mailer,omitempty" caddy:"namespace=http.registration.mailers inline_key=module"`

	// The sender of all mail, `a@example.com` or `Name <a@example.com>`.
	// Required wherever mail is sent. Placeholders are replaced when the
	// configuration loads.
	From string `json:"from,omitempty"`

	// Where answers to the mail go. Default: the value of `from`.
	ReplyTo string `json:"reply_to,omitempty"`

	// A folder whose files replace the built-in mail and page templates of the
	// same name. Default: none.
	Templates string `json:"templates,omitempty"`

	// The language for those who ask for none that there is, and for what a
	// catalogue of the owner leaves out: one of `de`, `en`, `es`, `fr`, `id`,
	// `pl`, `pt-BR`, `pt-PT`, `es-419`, or one with a file in `locales` of the templates folder.
	// Default: `en`.
	Language string `json:"language,omitempty"`

	// Origins besides the site's own (`https://app.example.com`) that may send
	// requests with the session cookie, read the answers (CORS), and be the
	// target of `next`. `https://*.example.com` is every name with one label before
	// `example.com`. Default: none.
	TrustedOrigins []string `json:"trusted_origins,omitempty"`

	// The fields of an account.
	User UserSettings `json:"user,omitzero"`
	// Sign-up.
	Register RegisterSettings `json:"register,omitzero"`
	// Sign-in.
	Login LoginSettings `json:"login,omitzero"`
	// The forgotten password.
	ResetPassword ResetPasswordSettings `json:"reset_password,omitzero"`
	// The change of the e-mail address.
	RegisterEmail RegisterEmailSettings `json:"register_email,omitzero"`
	// The change of the password.
	ChangePassword ChangePasswordSettings `json:"change_password,omitzero"`
	// The second step of a sign-in.
	Factors FactorSettings `json:"factors,omitzero"`
	// Of what people are told by mail.
	Notices NoticeSettings `json:"notices,omitzero"`
	// Whether people can delete their accounts. Default: they can.
	DeleteAccount DeleteAccountSettings `json:"delete_account,omitzero"`
	// Sessions and their cookie.
	Session SessionSettings `json:"session,omitzero"`
	// How passwords are hashed and which are refused.
	Password PasswordSettings `json:"password,omitzero"`

	// How often one client, account or recipient may ask. Default: on.
	Throttle ThrottleSettings `json:"throttle,omitzero"`

	// The record of what is done to accounts. Default: on, for 90 days.
	Audit AuditSettings `json:"audit,omitzero"`

	// Endpoints of other programs that are told what happens. Default: none.
	Webhooks []WebhookSettings `json:"webhooks,omitempty"`

	// What other servers can ask about their visitors. Default: nothing.
	Authz AuthzSettings `json:"authz,omitzero"`

	// The owner's pages. Default: none.
	Admin *AdminSettings `json:"admin,omitempty"`

	// Whether a single refusal is sent as `{"non_field_errors": ["…"]}` instead
	// of `{"detail": "…"}`. Default: false.
	NonFieldErrorsKey *bool `json:"non_field_errors_key,omitempty"`

	// The built-in HTML pages. Default: on, and plain.
	Pages PagesSettings `json:"pages,omitzero"`

	// Where this was configured (`Caddyfile:3`). It only makes errors clearer;
	// the Caddyfile adapter fills it in.
	Source string `json:"source,omitempty"`

	// fields and reserved, the keys of ReservedNames, are those of resolved settings.
	fields   *field.Set
	reserved map[string]bool
}

// AuditSettings is about the record of acts: who did what to which account, when and
// from where. The log has the same as lines of `http.handlers.registration.audit`.
type AuditSettings struct {
	// Nothing more is recorded; the lines in the log go on. Default: false.
	Off bool `json:"off,omitempty"`
	// How long a row is kept. Default: 90 days.
	Keep caddy.Duration `json:"keep,omitempty"`
}

// UserSettings says which fields identify an account and who sees and edits them.
type UserSettings struct {
	// The unique fields that `login` may name, tried together. Possible:
	// `username`, `email`, and added fields that are unique. Default: `username`
	// and `email`.
	LoginFields []string `json:"login_fields,omitempty"`
	// How many addresses an account can have, 1 to 20. Each is confirmed by a mailed link,
	// signs in and can be where a new password is set; with 1, another address takes the
	// place of the first. Default: 1.
	MaxEmails int `json:"max_emails,omitempty"`
	// Fields that accounts have besides the built-in ones. Default: none.
	Fields []field.Spec `json:"fields,omitempty"`
	// The fields that the profile shows, besides `email`, which it always does unless
	// that is hidden. Default: `id`, `username`, `email`,
	// `first_name`, `last_name` and the added fields that are not hidden;
	// without `username` where nobody signs in by it.
	PublicFields []string `json:"public_fields,omitempty"`
	// Fields that are never shown, even where public. Default: none.
	HiddenFields []string `json:"hidden_fields,omitempty"`
	// The fields that the profile endpoint changes. Default: the public fields
	// without `id`, `email` and what is read-only.
	EditableFields []string `json:"editable_fields,omitempty"`
}

// RegisterSettings configures sign-up.
type RegisterSettings struct {
	// Whether people can sign up by themselves; false is `mode` `closed`. Default: true.
	Enabled *bool `json:"enabled,omitempty"`
	// Who can sign up: `open`, whoever likes; `invite`, who has an invitation;
	// `approve`, whoever likes, and then the account waits until an administrator has
	// approved it; `closed`, nobody. Default: `open`.
	Mode account.Mode `json:"mode,omitempty"`
	// The domains of the e-mail addresses with which people can sign up, and to which they
	// can change theirs: `example.com`, or `*.example.com` for all below it. Default: all.
	AllowDomains []string `json:"allow_domains,omitempty"`
	// The domains with which they can't, in the same form. Default: none.
	DenyDomains []string `json:"deny_domains,omitempty"`
	// A word that a sign-up has to bring, at most 200 bytes: the owner tells it to his
	// people. Placeholders are replaced when the configuration loads. Default: none.
	Code string `json:"code,omitempty"`
	// Whether people say at the sign-up why they want in, for who approves them: `off`,
	// `optional` or `required`. Default: `off`.
	Reason string `json:"reason,omitempty"`
	// The terms to which people have to agree when they sign up. Default: none.
	Terms TermsSettings `json:"terms,omitzero"`
	// An address that gets a mail when somebody waits for approval or has signed up: at
	// most one in 10 minutes, about all of them together. Placeholders are replaced when
	// the configuration loads. Default: none.
	Notify string `json:"notify,omitempty"`
	// Whom people can ask who can't get on by themselves: an e-mail address or a URL,
	// shown wherever a page has no other way on. Placeholders are replaced when the
	// configuration loads. Default: none.
	Contact string `json:"contact,omitempty"`
	// What the page of the sign-up asks for, in this order; the API takes the others
	// too. What a sign-up needs has to be among them. Default: all that a sign-up takes
	// but `first_name` and `last_name`.
	Fields []string `json:"fields,omitempty"`
	// Whether `password_confirm` must repeat the password. Default: true.
	PasswordConfirm *bool `json:"password_confirm,omitempty"`
	// Whether a new account is inactive until its e-mail address is confirmed.
	// Default: true.
	Verification *bool `json:"verification,omitempty"`
	// The page that the mailed link opens, on a frontend of yours: a URL, or a path
	// below `base_url`. Where it has a fragment (`https://app.example.com/#/verify/`),
	// that gets the parameters. Default: the built-in page.
	VerificationURL string `json:"verification_url,omitempty"`
	// How long the link is good. Default: 7 days.
	VerificationPeriod caddy.Duration `json:"verification_period,omitempty"`
	// How long an account that is not confirmed waits since its last mail, three
	// times as long at most in all; then it is removed, and its username is free.
	// Default: the verification period.
	UnconfirmedLifetime caddy.Duration `json:"unconfirmed_lifetime,omitempty"`
	// Whether the link works only once. Links that are mailed when this is turned
	// off stay good, once; when it is turned on, those mailed before are void.
	// Default: true.
	OneTimeUse *bool `json:"one_time_use,omitempty"`
	// Whether confirming also signs in, and so does a sign-up where nothing has to be
	// confirmed: then its answer sets the session cookie. Default: false.
	AutoLogin *bool `json:"auto_login,omitempty"`
	// Usernames that nobody can choose, besides the built-in list (`admin`, `root`,
	// `postmaster`, `null` …). Case and look-alikes of one normal form make no
	// difference. Accounts that have one keep it. Default: none.
	ReservedNames []string `json:"reserved_names,omitempty"`
	// Where the browser goes once the link has confirmed the account at once.
	RedirectSettings
	// The templates of the mail.
	Mail MailSettings `json:"mail,omitzero"`
}

// TermsSettings are the terms of the site. The account keeps to which version its owner
// has agreed, and when; who has agreed to another, or to none, is asked at the next
// sign-in.
type TermsSettings struct {
	// Where people read them: a URL, or a path of this site. Placeholders are replaced
	// when the configuration loads.
	Page string `json:"page,omitempty"`
	// The name of their version, such as its date: up to 64 letters, digits, `.`, `-`, `_` and `/`.
	// Placeholders are replaced when the configuration loads.
	Version string `json:"version,omitempty"`
}

// MailSettings names the template files of one message, relative to
// `templates`. What is not set keeps its built-in template.
type MailSettings struct {
	// The subject line. Default: the built-in one.
	Subject string `json:"subject,omitempty"`
	// The only body; HTML if the name ends in `.html`, else plain text.
	Body string `json:"body,omitempty"`
	// The plain-text part. Where only the HTML part is set, it is derived from that.
	TextBody string `json:"text_body,omitempty"`
	// The HTML part.
	HTMLBody string `json:"html_body,omitempty"`
}

// LoginSettings says what a sign-in hands out.
type LoginSettings struct {
	// A session cookie. Default: true.
	Session *bool `json:"session,omitempty"`
	// A token in the answer, for `Authorization: Token …` or `Bearer …`. It is
	// opaque unless `jwt` is set. Default: false.
	Token *bool `json:"token,omitempty"`
	// Makes the token a short-lived JWT that backends verify by themselves, and
	// adds a refresh token. Needs `token`. Default: none.
	JWT *JWTSettings `json:"jwt,omitempty"`
	// Whether people can have a code mailed, to a confirmed address, and sign in by that
	// in place of the password. A second step is still asked for. Default: false.
	MailCode *bool `json:"mail_code,omitempty"`
	// Providers at which people have accounts by which they sign in. Default: none.
	OIDC []OIDCSettings `json:"oidc,omitempty"`
	// Whether people sign in by a password. Without, they do by the providers, a passkey and
	// whatever else is on; the passwords that accounts have are kept. Default: true.
	Password *bool `json:"password,omitempty"`
}

// JWTSettings configures access tokens: signed JWTs (RFC 7519, EdDSA with
// Ed25519) whose public keys stand in `.well-known/jwks.json` below the path.
// Refresh tokens last as sessions do.
type JWTSettings struct {
	// How long an access token is good. Backends that verify by themselves
	// learn of a revocation only then. Default: 5 minutes; at most 24 hours.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
	// The `iss` claim. Placeholders are replaced when the configuration loads.
	// Default: `base_url` with the path.
	Issuer string `json:"issuer,omitempty"`
	// The `aud` claim. Placeholders are replaced when the configuration loads.
	// Default: the issuer.
	Audience []string `json:"audience,omitempty"`
	// How long a key signs before the next one does. The next is in the JWKS a
	// quarter of this time before, one day at most; the old one stays until
	// all that it signed has expired. Default: 30 days.
	KeyLifetime caddy.Duration `json:"key_lifetime,omitempty"`
}

// ResetPasswordSettings configures the way back in without a password.
type ResetPasswordSettings struct {
	// Whether it is offered. Default: true.
	Enabled *bool `json:"enabled,omitempty"`
	// The page that the mailed link opens, on a frontend of yours: a URL, or a path
	// below `base_url`. Where it has a fragment (`https://app.example.com/#/verify/`),
	// that gets the parameters. Default: the built-in page.
	VerificationURL string `json:"verification_url,omitempty"`
	// How long the link is good. Default: 1 day.
	VerificationPeriod caddy.Duration `json:"verification_period,omitempty"`
	// Whether the link works only once. Links that are mailed when this is turned
	// off stay good, once; when it is turned on, those mailed before are void.
	// Default: true.
	OneTimeUse *bool `json:"one_time_use,omitempty"`
	// Whether `password_confirm` must repeat the password. Default: false.
	PasswordConfirm *bool `json:"password_confirm,omitempty"`
	// Whether the account is named by `email` instead of `login`. Default: false.
	UseEmail *bool `json:"use_email,omitempty"`
	// Whether an unknown account is told (400). It lets anybody probe who has
	// an account. Default: false.
	FailWhenUserNotFound *bool `json:"fail_when_user_not_found,omitempty"`
	// Where the browser goes once the new password is set.
	RedirectSettings
	// The templates of the mail.
	Mail MailSettings `json:"mail,omitzero"`
}

// RegisterEmailSettings configures the change of the e-mail address.
type RegisterEmailSettings struct {
	// Whether the new address counts only once it is confirmed. Default: true.
	Verification *bool `json:"verification,omitempty"`
	// The page that the mailed link opens, on a frontend of yours: a URL, or a path
	// below `base_url`. Where it has a fragment (`https://app.example.com/#/verify/`),
	// that gets the parameters. Default: the built-in page.
	VerificationURL string `json:"verification_url,omitempty"`
	// How long the link is good. Default: 7 days.
	VerificationPeriod caddy.Duration `json:"verification_period,omitempty"`
	// The page of a frontend of yours that the link in the mail to the old
	// address opens, as `verification_url`: it brings that address back, for 7 days.
	// Default: the built-in page.
	UndoURL string `json:"undo_url,omitempty"`
	// How long after the sign-in the address, or a login field on the profile,
	// can be changed without the password; 0: as long as the sign-in lasts.
	// Default: 10 minutes.
	MaxAge *caddy.Duration `json:"max_age,omitempty"`
	// Whether the API takes the mailed link only from who is signed in to the
	// account, as the built-in page does. Default: false.
	SignedIn *bool `json:"signed_in,omitempty"`
	// Where the browser goes once the link has changed the address at once.
	RedirectSettings
	// The templates of the mail.
	Mail MailSettings `json:"mail,omitzero"`
}

// ChangePasswordSettings configures the change of the password.
type ChangePasswordSettings struct {
	// Whether `password_confirm` must repeat the password. Default: true.
	PasswordConfirm *bool `json:"password_confirm,omitempty"`
}

// DeleteAccountSettings are about people who delete their accounts.
type DeleteAccountSettings struct {
	// People can't. What they have closed before goes when its time is over. Default: false.
	Off bool `json:"off,omitempty"`
	// How long the account is closed before it is gone with all that is kept about its
	// owner: so long he can sign in and keep it. At most a year. Default: 7 days.
	Grace caddy.Duration `json:"grace,omitempty"`
}

// SessionSettings configures sessions, tokens and the cookie.
type SessionSettings struct {
	// The absolute end of a sign-in, whatever its use. Default: 14 days.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
	// A sign-in unused for this long ends. Default: 14 days.
	Idle caddy.Duration `json:"idle,omitempty"`
	// How many sessions an account may have, and how many API and refresh tokens
	// besides. With one more, the least recently used ends. Default: 50; at most
	// 1000.
	Max int `json:"max,omitempty"`
	// Default: `__Host-registration` over HTTPS, `registration` over plain HTTP
	// or with a cookie domain.
	CookieName string `json:"cookie_name,omitempty"`
	// Makes the cookie good for a domain and all its subdomains. Default: this
	// host only.
	CookieDomain string `json:"cookie_domain,omitempty"`
	// `lax`, `strict` or `none`. Default: `lax`.
	SameSite string `json:"same_site,omitempty"`
}

const day = 24 * time.Hour // as settings are written

// Names and limits that are not configurable.
const (
	defaultPath  = "/accounts"
	defaultRealm = "default"
	maxSessions  = 1000
)

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func setSwitch(p **bool, value bool) {
	if *p == nil {
		*p = &value
	}
}

// setDefaults fills in what is not set. It is idempotent.
func (s *Settings) setDefaults() {
	setDefault(&s.Path, defaultPath)
	setDefault(&s.Realm, defaultRealm)
	setDefault(&s.ReplyTo, s.From)
	setDefault(&s.Language, text.DefaultLanguage)
	setDefault(&s.User.MaxEmails, 1)
	if len(s.User.LoginFields) == 0 {
		s.User.LoginFields = []string{field.Username, field.Email}
	}
	if s.User.PublicFields == nil {
		s.User.PublicFields = []string{field.ID, field.Username, field.Email, field.FirstName, field.LastName}
		if !slices.Contains(s.User.LoginFields, field.Username) {
			s.User.PublicFields = slices.Delete(s.User.PublicFields, 1, 2)
		}
		for _, f := range s.User.Fields {
			if !f.Hidden {
				s.User.PublicFields = append(s.User.PublicFields, f.Name)
			}
		}
	}
	if s.User.EditableFields == nil {
		s.User.EditableFields = s.defaultEditableFields()
	}
	if s.Register.Enabled != nil && !*s.Register.Enabled {
		setDefault(&s.Register.Mode, account.ModeClosed)
	}
	setDefault(&s.Register.Mode, account.ModeOpen)
	setDefault(&s.Register.Reason, account.ReasonOff)
	setSwitch(&s.Register.Enabled, s.Register.Mode != account.ModeClosed)
	setSwitch(&s.Register.PasswordConfirm, true)
	setSwitch(&s.Register.Verification, true)
	setDefault(&s.Register.VerificationPeriod, caddy.Duration(7*day))
	setDefault(&s.Register.UnconfirmedLifetime, s.Register.VerificationPeriod)
	setSwitch(&s.Register.OneTimeUse, true)
	setSwitch(&s.Register.AutoLogin, false)
	setSwitch(&s.Login.Session, true)
	setSwitch(&s.Login.Token, false)
	setSwitch(&s.Login.MailCode, false)
	setSwitch(&s.Login.Password, true)
	s.setJWTDefaults()
	s.setAdminDefaults()
	setSwitch(&s.ResetPassword.Enabled, true)
	setDefault(&s.ResetPassword.VerificationPeriod, caddy.Duration(day))
	setSwitch(&s.ResetPassword.OneTimeUse, true)
	setSwitch(&s.ResetPassword.PasswordConfirm, false)
	setSwitch(&s.ResetPassword.UseEmail, false)
	setSwitch(&s.ResetPassword.FailWhenUserNotFound, false)
	setSwitch(&s.RegisterEmail.Verification, true)
	setDefault(&s.RegisterEmail.VerificationPeriod, caddy.Duration(7*day))
	if s.RegisterEmail.MaxAge == nil {
		maxAge := caddy.Duration(10 * time.Minute)
		s.RegisterEmail.MaxAge = &maxAge
	}
	setSwitch(&s.RegisterEmail.SignedIn, false)
	setSwitch(&s.ChangePassword.PasswordConfirm, true)
	setDefault(&s.Session.Lifetime, caddy.Duration(14*day))
	setDefault(&s.Session.Idle, caddy.Duration(14*day))
	setDefault(&s.Session.Max, 50)
	setDefault(&s.Session.SameSite, "lax")
	s.Password.setDefaults()
	s.Throttle.setDefaults()
	s.Factors.setDefaults()
	setSwitch(&s.Notices.NewDevice, true)
	setDefault(&s.DeleteAccount.Grace, caddy.Duration(7*day))
	setDefault(&s.Audit.Keep, caddy.Duration(90*day))
	setSwitch(&s.NonFieldErrorsKey, false)
}

func (s *Settings) setJWTDefaults() {
	if s.Login.JWT == nil {
		return
	}
	j := *s.Login.JWT // the settings as they were configured stay as they are
	setDefault(&j.Lifetime, caddy.Duration(5*time.Minute))
	setDefault(&j.KeyLifetime, caddy.Duration(30*day))
	if s.BaseURL != "" {
		setDefault(&j.Issuer, strings.TrimSuffix(s.BaseURL, "/")+s.Path)
	}
	if len(j.Audience) == 0 && j.Issuer != "" {
		j.Audience = []string{j.Issuer}
	}
	s.Login.JWT = &j
}

// defaultEditableFields is what the profile endpoint may change unless the
// configuration says otherwise: what is public, less what identifies the
// account or has an endpoint of its own.
func (s *Settings) defaultEditableFields() []string {
	var names []string
	for _, name := range s.User.PublicFields {
		f, ok := field.Builtin(name)
		writable := ok && !f.ReadOnly && name != field.Email
		for _, added := range s.User.Fields {
			writable = writable || !ok && added.Name == name && !added.ReadOnly
		}
		if writable {
			names = append(names, name)
		}
	}
	return names
}
