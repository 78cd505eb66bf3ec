// caddyfile_options.go: the grammar of single settings: sign-up, `field` in the block
// `user`, throttles, terms, the audit, `copy_headers`.

package registration

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-928992b0/caddy-registration/internal/field"
)

// fieldOption reads `field <name> <type> { … }`.
func fieldOption(to *[]field.Spec) option {
	return func(p *parser, _ string) error {
		token := p.Token()
		args := p.RemainingArgs()
		if len(args) != 2 {
			return p.Errf("field takes a name and a type; write for example: field nickname text (the types are: %s)", field.KindNames())
		}
		f := field.Spec{Name: args[0], Type: args[1]}
		path := "user.field." + f.Name
		if _, again := p.lines[path]; again {
			return p.Errf("the field %s stands twice; keep one of them", f.Name)
		}
		p.lines[path] = token
		kind := field.Kind(f.Type)
		err := p.block(path, map[string]option{
			"label":      textOption(&f.Label, `"Nick name"`),
			"required":   flagOption(&f.Required),
			"unique":     flagOption(&f.Unique),
			"hidden":     flagOption(&f.Hidden),
			"read_only":  flagOption(&f.ReadOnly),
			"once":       flagOption(&f.Once),
			"default":    scalarOption(&f.Default, kind, "blue"),
			"min_length": numberOption(&f.MinLength),
			"max_length": numberOption(&f.MaxLength),
			"min":        scalarOption(&f.Min, kind, "18"),
			"max":        scalarOption(&f.Max, kind, "99"),
			"pattern":    textOption(&f.Pattern, `"[A-Z]{2}[0-9]+"`),
			"choices":    listOption(&f.Choices, "small medium large"),
		})
		*to = append(*to, f)
		return err
	}
}

// flagOption reads `<name>`, `<name> on` or `<name> off`.
func flagOption(to *bool) option {
	return func(p *parser, name string) error {
		args := p.RemainingArgs()
		if len(args) > 1 || len(args) == 1 && args[0] != "on" && args[0] != "off" {
			return p.Errf("%s: %q is neither on nor off; write: %s", name, strings.Join(args, " "), last(name))
		}
		*to = len(args) == 0 || args[0] == "on"
		return nil
	}
}

// scalarOption reads a value of the field's type. In JSON it is a number or a
// boolean where the type is one and the text can be one, else a string.
func scalarOption(to *json.RawMessage, kind field.Kind, example string) option {
	return func(p *parser, name string) error {
		text, err := p.arg(name, example)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(text)
		if err != nil {
			return err
		}
		switch kind {
		case field.KindInteger, field.KindNumber:
			if json.Valid([]byte(text)) && field.ScalarText(json.RawMessage(text)) != "" {
				raw = []byte(text)
			}
		case field.KindBoolean:
			if v, ok := field.ParseBoolean(text); ok {
				raw = strconv.AppendBool(nil, v)
			}
		default: // a text
		}
		*to = raw
		return nil
	}
}

// auditOption reads `audit on`, `audit off` or `audit { keep 90d }`.
func auditOption(to *AuditSettings) option {
	lines := blockOption(map[string]option{"keep": durationOption(&to.Keep)})
	return func(p *parser, name string) error {
		const usage = "audit takes on, off or a block; write for example: audit off, or a line such as keep 90d in its block"
		switch args := p.RemainingArgs(); {
		case len(args) > 1 || len(args) == 1 && args[0] != "on" && args[0] != "off":
			return p.Err(usage)
		case len(args) == 1:
			to.Off = args[0] == "off"
			return nil
		}
		if err := lines(p, name); err != nil {
			return err
		}
		if *to == (AuditSettings{}) {
			return p.Err(usage)
		}
		return nil
	}
}

// authzOption reads `authz on`, `authz off` or `authz { legacy_paths on }`, which turns it on.
func authzOption(to *AuthzSettings) option {
	var legacy *bool
	lines := blockOption(map[string]option{"legacy_paths": switchOption(&legacy)})
	return func(p *parser, name string) error {
		args := p.RemainingArgs()
		if len(args) == 0 {
			if err := lines(p, name); err != nil {
				return err
			}
			if legacy == nil {
				return p.Err("authz takes on, off or a block; write for example: authz on")
			}
			to.On, to.LegacyPaths = true, *legacy
			return nil
		}
		if len(args) > 1 || args[0] != "on" && args[0] != "off" {
			return p.Err("authz takes on, off or a block; write for example: authz on")
		}
		to.On = args[0] == "on"
		return nil
	}
}

// frontendPage is an example of a page that a mailed link opens.
const frontendPage = "https://app.example.com/verify/"

// termsOption reads `terms <page> <version>`.
func termsOption(to *TermsSettings) option {
	return func(p *parser, name string) error {
		args := p.RemainingArgs()
		if len(args) != 2 {
			return p.Errf("%s takes the page of the terms and their version; write for example: terms /terms.html 2026-11-01", name)
		}
		to.Page, to.Version = args[0], args[1]
		return nil
	}
}

// registerOptions are the settings of the block register.
func (h *Handler) registerOptions() map[string]option {
	return redirectOptions(map[string]option{
		"enabled":              switchOption(&h.Register.Enabled),
		"mode":                 textOption((*string)(&h.Register.Mode), "invite"),
		"notify":               textOption(&h.Register.Notify, "owner@example.com"),
		"contact":              textOption(&h.Register.Contact, "help@example.com"),
		"allow_domains":        listOption(&h.Register.AllowDomains, "example.com *.example.org"),
		"deny_domains":         listOption(&h.Register.DenyDomains, "mailinator.com"),
		"code":                 textOption(&h.Register.Code, "{env.SIGNUP_CODE}"),
		"reason":               textOption(&h.Register.Reason, "required"),
		"terms":                termsOption(&h.Register.Terms),
		"password_confirm":     switchOption(&h.Register.PasswordConfirm),
		"verification":         switchOption(&h.Register.Verification),
		"verification_url":     textOption(&h.Register.VerificationURL, frontendPage),
		"verification_period":  durationOption(&h.Register.VerificationPeriod),
		"unconfirmed_lifetime": durationOption(&h.Register.UnconfirmedLifetime),
		"one_time_use":         switchOption(&h.Register.OneTimeUse),
		"auto_login":           switchOption(&h.Register.AutoLogin),
		"fields":               listOption(&h.Register.Fields, "username email"),
		"reserved_names":       listOption(&h.Register.ReservedNames, "support billing"),
		"mail":                 mailOption(&h.Register.Mail),
	}, &h.Register.RedirectSettings)
}

// throttleOption reads `throttle <name> <events> <window>` or `throttle off`.
func throttleOption(to *ThrottleSettings) option {
	return func(p *parser, _ string) error {
		const usage = "throttle takes a name, a number of events and a window, or off; write for example: throttle login 10 1m"
		args := p.RemainingArgs()
		if len(args) == 1 && args[0] == "off" {
			to.Off = true
			return nil
		}
		if len(args) != 3 {
			return p.Err(usage)
		}
		limit := to.named(args[0])
		if limit == nil {
			return p.Errf("there is no throttle %q; the throttles are: %s", args[0], strings.Join(throttleNames, ", "))
		}
		if *limit != nil {
			return p.Errf("throttle %s stands twice; keep one of them", args[0])
		}
		events, err := strconv.Atoi(args[1])
		if err != nil {
			return p.Errf("throttle %s: %q is not a number of events; write for example: throttle %s 10 1m", args[0], args[1], args[0])
		}
		window, err := caddy.ParseDuration(args[2])
		if err != nil {
			return p.Errf("throttle %s: %q is not a duration; write for example: throttle %s 10 1m", args[0], args[2], args[0])
		}
		*limit = &ThrottleLimit{Events: events, Window: caddy.Duration(window)}
		return nil
	}
}

// deleteAccountOption reads `delete_account on`, `delete_account off` or
// `delete_account { grace 7d }`.
func deleteAccountOption(to *DeleteAccountSettings) option {
	lines := blockOption(map[string]option{"grace": durationOption(&to.Grace)})
	return func(p *parser, name string) error {
		switch args := p.RemainingArgs(); {
		case len(args) > 1 || len(args) == 1 && args[0] != "on" && args[0] != "off":
			return p.Err("delete_account takes on, off or a block; write for example: delete_account off, or a line such as grace 7d in its block")
		case len(args) == 1:
			to.Off = args[0] == "off"
			return nil
		}
		return lines(p, name)
	}
}

// headersOption reads `copy_headers` or `copy_headers percent`.
func headersOption(g *Guard) option {
	return func(p *parser, _ string) error {
		args := p.RemainingArgs()
		if len(args) > 1 || len(args) == 1 && args[0] != "on" && args[0] != percentEncoding {
			return p.Errf("copy_headers takes no value but %s, which makes ASCII of the headers; write: copy_headers", percentEncoding)
		}
		g.CopyHeaders = true
		if len(args) == 1 && args[0] == percentEncoding {
			g.HeaderEncoding = percentEncoding
		}
		return nil
	}
}
