// caddyfile.go: the grammar of both directives. It turns a Caddyfile into the
// JSON settings, and checks these at once, so that an error has file and line.

package registration

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-928992b0/caddy-registration/internal/setting"
)

func init() {
	httpcaddyfile.RegisterDirective("registration", parseRegistration)
	httpcaddyfile.RegisterHandlerDirective("require_login", parseRequireLogin)
	// registration answers before a guard over the whole site can see its paths.
	httpcaddyfile.RegisterDirectiveOrder("registration", httpcaddyfile.After, "forward_auth")
	httpcaddyfile.RegisterDirectiveOrder("require_login", httpcaddyfile.Before, "request_header")
}

// parseRegistration is the directive `registration [<path>] { … }`. The path is
// a mount point, not a matcher, so the handler sees every request of its site.
func parseRegistration(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return h.NewRoute(nil, handler), nil
}

// settingLines remembers where each setting stands, for the errors of the check.
type settingLines map[string]caddyfile.Token

// parser reads one registration directive.
type parser struct {
	*caddyfile.Dispenser
	directive string
	lines     settingLines
	seen      map[string]bool
}

// UnmarshalCaddyfile sets up the handler from a `registration` directive; see
// the README for its grammar.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	p := &parser{Dispenser: d, directive: "registration", lines: settingLines{}, seen: map[string]bool{}}
	d.Next() // the directive's name
	start := d.Token()
	h.Source = source(start)
	switch args := d.RemainingArgs(); len(args) {
	case 0:
	case 1:
		if args[0] == "" {
			return p.empty("path")
		}
		h.Path = args[0]
		p.lines["path"] = start
	default:
		return d.Errf("registration takes one path at most, such as %s; remove %q", defaultPath, args[1])
	}
	if err := p.block("", h.options()); err != nil {
		return err
	}
	checked := h.Settings
	checked.setDefaults()
	return p.located(checked.check(), start)
}

// located gives every Error the line of its setting.
func (p *parser) located(err error, start caddyfile.Token) error {
	if err == nil {
		return nil
	}
	var located []error
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		token := start
		if setting := (*setting.Error)(nil); errors.As(err, &setting) {
			token = p.line(setting.Setting, start)
		}
		located = append(located, fmt.Errorf("%w, at %s", err, source(token)))
	}
	return errors.Join(located...)
}

// line returns where a setting stands: itself, else the block that it belongs to.
func (p *parser) line(setting string, start caddyfile.Token) caddyfile.Token {
	for setting != "" {
		if token, ok := p.lines[setting]; ok {
			return token
		}
		setting = setting[:max(0, strings.LastIndexByte(setting, '.'))]
	}
	return start
}

func source(t caddyfile.Token) string { return t.File + ":" + strconv.Itoa(t.Line) }

// option is how one line of a block is read: its arguments, or a block of its own.
type option func(p *parser, name string) error

// block reads the lines of the block of a setting ("" for the directive).
func (p *parser) block(setting string, options map[string]option) error {
	for nesting := p.Nesting(); p.NextBlock(nesting); {
		name := p.Val()
		path := strings.TrimPrefix(setting+"."+name, ".")
		read, ok := options[name]
		if !ok {
			return p.Errf("%q is not a setting of %s; the settings are: %s", name, cmp.Or(setting, p.directive), strings.Join(sortedNames(options), ", "))
		}
		if p.seen[path] && path != "throttle" && path != "user.field" && path != "webhook" && path != "login.oidc" && path != "password.validator" && path != "pages.link" { // one line each
			return p.Errf("%s stands twice; keep one of them", path)
		}
		p.seen[path] = true
		p.lines[path] = p.Token()
		if p.hasEmpty() {
			return p.empty(path)
		}
		if err := read(p, path); err != nil {
			return err
		}
	}
	return nil
}

// hasEmpty reports whether a value on the line of a setting is empty. Most of them
// would turn the setting off, and where a variable isn't set, nobody means that: a
// sign-up that needs a word would be open.
func (p *parser) hasEmpty() bool {
	line := *p.Dispenser // a copy: the line is still to be read
	for line.NextArg() {
		if line.Val() == "" {
			return true
		}
	}
	return false
}

func (p *parser) empty(path string) error {
	return p.Errf("%s: a value is empty; write one, or remove the line (where a {$VARIABLE} gives it, set that before Caddy starts)", path)
}

func sortedNames(options map[string]option) []string {
	names := make([]string, 0, len(options))
	for name := range options {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// arg reads exactly one argument.
func (p *parser) arg(name, example string) (string, error) {
	args := p.RemainingArgs()
	if len(args) != 1 {
		return "", p.Errf("%s takes one value; write for example: %s %s", name, last(name), example)
	}
	return args[0], nil
}

func last(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

func textOption(to *string, example string) option {
	return func(p *parser, name string) (err error) {
		*to, err = p.arg(name, example)
		return err
	}
}

func listOption(to *[]string, example string) option {
	return func(p *parser, name string) error {
		if *to = p.RemainingArgs(); len(*to) == 0 {
			return p.Errf("%s takes at least one value; write for example: %s %s", name, last(name), example)
		}
		return nil
	}
}

func switchOption(to **bool) option {
	return func(p *parser, name string) error {
		text, err := p.arg(name, "on")
		if err != nil {
			return err
		}
		on := text == "on"
		if !on && text != "off" {
			return p.Errf("%s: %q is neither on nor off; write: %s on", name, text, last(name))
		}
		*to = &on
		return nil
	}
}

func durationOption(to *caddy.Duration) option {
	return func(p *parser, name string) error {
		text, err := p.arg(name, "7d")
		if err != nil {
			return err
		}
		d, err := caddy.ParseDuration(text)
		if err != nil || d <= 0 {
			return p.Errf("%s: %q is not a duration; write for example 7d, 12h or 90m", name, text)
		}
		*to = caddy.Duration(d)
		return nil
	}
}

// ageOption reads how old something may be: a duration, or off (0) for any age.
func ageOption(set func(caddy.Duration)) option {
	return func(p *parser, name string) error {
		text, err := p.arg(name, "10m")
		if err != nil {
			return err
		}
		d := time.Duration(0)
		if text != "off" {
			if d, err = caddy.ParseDuration(text); err != nil || d < 0 {
				return p.Errf("%s: %q is not a duration; write for example 10m, or off", name, text)
			}
		}
		set(caddy.Duration(d))
		return nil
	}
}

func blockOption(options map[string]option) option {
	return func(p *parser, name string) error {
		if args := p.RemainingArgs(); len(args) > 0 {
			return p.Errf("%s is a block and takes no value; write: %s { … }", name, last(name))
		}
		return p.block(name, options)
	}
}

// moduleOption reads a guest module: its name, and what the module makes of the rest.
func moduleOption(namespace string, to *json.RawMessage, example string) option {
	return func(p *parser, name string) error {
		if !p.NextArg() {
			return p.Errf("%s needs the name of a module; write for example: %s %s", name, name, example)
		}
		module := p.Val()
		mod, err := caddy.GetModule(namespace + "." + module)
		if err != nil {
			return p.Errf("there is no %s %q in this build; write for example: %s %s", name, module, name, example)
		}
		unmarshaler, ok := mod.New().(caddyfile.Unmarshaler)
		if !ok {
			return p.Errf("the %s %q can't be configured in a Caddyfile; use JSON", name, module)
		}
		if err := unmarshaler.UnmarshalCaddyfile(p.NewFromNextSegment()); err != nil {
			return err
		}
		*to = caddyconfig.JSONModuleObject(unmarshaler, "module", module, nil)
		return nil
	}
}

// mailOption is the block of one message's templates.
func mailOption(m *MailSettings) option {
	return blockOption(map[string]option{
		"subject":   textOption(&m.Subject, "register/subject.txt"),
		"body":      textOption(&m.Body, "register/body.txt"),
		"text_body": textOption(&m.TextBody, "register/body.txt"),
		"html_body": textOption(&m.HTMLBody, "register/body.html"),
	})
}

// redirectOptions adds the settings of redirect mode to a block.
func redirectOptions(options map[string]option, r *RedirectSettings) map[string]option {
	options["success_redirect"] = textOption(&r.SuccessRedirect, "https://app.example.com/welcome/")
	options["failure_redirect"] = textOption(&r.FailureRedirect, "https://app.example.com/link-failed/")
	return options
}

// option lists the settings of the directive.
func (h *Handler) options() map[string]option {
	return map[string]option{
		"realm":           textOption(&h.Realm, "default"),
		"base_url":        textOption(&h.BaseURL, "https://example.com"),
		"secret":          listOption(&h.Secrets, "{env.REGISTRATION_SECRET}"),
		"webhook":         webhookOption(&h.Webhooks),
		"store":           moduleOption("http.registration.stores", &h.StoreRaw, "bbolt {data_dir}/registration.db"),
		"mailer":          moduleOption("http.registration.mailers", &h.MailerRaw, "smtp mail.example.com:587"),
		"from":            textOption(&h.From, "no-reply@example.com"),
		"reply_to":        textOption(&h.ReplyTo, "help@example.com"),
		"templates":       textOption(&h.Templates, "/etc/caddy/registration"),
		"language":        textOption(&h.Language, "de"),
		"trusted_origins": listOption(&h.TrustedOrigins, "https://app.example.com"),
		"user": blockOption(map[string]option{
			"login_fields":    listOption(&h.User.LoginFields, "username"),
			"max_emails":      numberOption(&h.User.MaxEmails),
			"public_fields":   listOption(&h.User.PublicFields, "id username"),
			"hidden_fields":   listOption(&h.User.HiddenFields, "email"),
			"editable_fields": listOption(&h.User.EditableFields, "first_name last_name"),
			"field":           fieldOption(&h.User.Fields),
		}),
		"register": blockOption(h.registerOptions()),
		"login": blockOption(map[string]option{
			"session":   switchOption(&h.Login.Session),
			"token":     tokenOption(&h.Login),
			"mail_code": switchOption(&h.Login.MailCode),
			"oidc":      oidcOption(&h.Login.OIDC),
			"password":  switchOption(&h.Login.Password),
		}),
		"reset_password": blockOption(redirectOptions(map[string]option{
			"enabled":                  switchOption(&h.ResetPassword.Enabled),
			"verification_url":         textOption(&h.ResetPassword.VerificationURL, frontendPage),
			"verification_period":      durationOption(&h.ResetPassword.VerificationPeriod),
			"one_time_use":             switchOption(&h.ResetPassword.OneTimeUse),
			"password_confirm":         switchOption(&h.ResetPassword.PasswordConfirm),
			"use_email":                switchOption(&h.ResetPassword.UseEmail),
			"fail_when_user_not_found": switchOption(&h.ResetPassword.FailWhenUserNotFound),
			"mail":                     mailOption(&h.ResetPassword.Mail),
		}, &h.ResetPassword.RedirectSettings)),
		"register_email": blockOption(redirectOptions(map[string]option{
			"verification":        switchOption(&h.RegisterEmail.Verification),
			"verification_url":    textOption(&h.RegisterEmail.VerificationURL, frontendPage),
			"verification_period": durationOption(&h.RegisterEmail.VerificationPeriod),
			"max_age":             ageOption(func(d caddy.Duration) { h.RegisterEmail.MaxAge = &d }),
			"signed_in":           switchOption(&h.RegisterEmail.SignedIn),
			"undo_url":            textOption(&h.RegisterEmail.UndoURL, "https://app.example.com/undo/"),
			"mail":                mailOption(&h.RegisterEmail.Mail),
		}, &h.RegisterEmail.RedirectSettings)),
		"change_password": blockOption(map[string]option{
			"password_confirm": switchOption(&h.ChangePassword.PasswordConfirm),
		}),
		"factors":        factorsOption(&h.Factors),
		"notices":        noticesOption(&h.Notices),
		"delete_account": deleteAccountOption(&h.DeleteAccount),
		"session": blockOption(map[string]option{
			"lifetime":      durationOption(&h.Session.Lifetime),
			"idle":          durationOption(&h.Session.Idle),
			"max":           numberOption(&h.Session.Max),
			"cookie_name":   textOption(&h.Session.CookieName, "session"),
			"cookie_domain": textOption(&h.Session.CookieDomain, "example.com"),
			"same_site":     textOption(&h.Session.SameSite, "lax"),
		}),
		"password":             passwordOption(&h.Password),
		"non_field_errors_key": switchOption(&h.NonFieldErrorsKey),
		"throttle":             throttleOption(&h.Throttle),
		"audit":                auditOption(&h.Audit),
		"authz":                authzOption(&h.Authz),
		"admin":                adminOption(&h.Admin),
		"pages":                pagesOption(&h.Pages),
	}
}

func numberOption(to *int) option {
	return func(p *parser, name string) error {
		text, err := p.arg(name, "8")
		if err != nil {
			return err
		}
		if *to, err = strconv.Atoi(text); err != nil || *to < 1 {
			return p.Errf("%s: %q is not a positive number; write for example: %s 8", name, text, last(name))
		}
		return nil
	}
}

// tokenOption reads `token on`, `token off` or `token jwt { … }`.
func tokenOption(to *LoginSettings) option {
	return func(p *parser, name string) error {
		args := p.RemainingArgs()
		if len(args) == 1 && args[0] == "jwt" {
			on := true
			to.Token, to.JWT = &on, new(JWTSettings)
			return p.block("login.jwt", map[string]option{
				"lifetime":     durationOption(&to.JWT.Lifetime),
				"issuer":       textOption(&to.JWT.Issuer, "https://example.com/accounts"),
				"audience":     listOption(&to.JWT.Audience, "https://api.example.com"),
				"key_lifetime": durationOption(&to.JWT.KeyLifetime),
			})
		}
		if len(args) != 1 || args[0] != "on" && args[0] != "off" {
			return p.Errf("%s takes on (an opaque token), off or jwt; write for example: token on", name)
		}
		on := args[0] == "on"
		to.Token = &on
		return nil
	}
}

// parseRequireLogin is the directive `require_login [<matcher>] { … }`.
func parseRequireLogin(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g := new(Guard)
	if err := g.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return g, nil
}

// UnmarshalCaddyfile sets up the guard:
//
//	require_login [<matcher>] {
//		realm <name>
//		group <name> [<name> …]
//		copy_headers [percent]
//		keep_credentials
//		basic [on|off]
//		login_url <url>
//		factors 2
//		max_age <duration>|off
//	}
func (g *Guard) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	p := &parser{Dispenser: d, directive: "require_login", lines: settingLines{}, seen: map[string]bool{}}
	d.Next() // the directive's name
	g.Source = source(d.Token())
	if args := d.RemainingArgs(); len(args) > 0 {
		if args[0] == "" {
			return p.empty("the matcher")
		}
		err := d.Errf("require_login takes a matcher and a block; %q is neither", args[0])
		return fmt.Errorf("%w; for a group write in its place:\n{\n\tgroup %s\n}", err, strings.Join(args, " "))
	}
	return p.block("", map[string]option{
		"realm":            textOption(&g.Realm, "default"),
		"group":            listOption(&g.Groups, "staff"),
		"login_url":        textOption(&g.LoginURL, "https://app.example.com/login"),
		"factors":          factorsOfGuard(g),
		"max_age":          ageOption(func(d caddy.Duration) { g.MaxAge = d }),
		"copy_headers":     headersOption(g),
		"keep_credentials": flagOption(&g.KeepCredentials),
		"basic":            flagOption(&g.Basic),
	})
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*Guard)(nil)
)
