// settings_policy.go: from settings to what the rules, the endpoints and the mails need,
// and to what the owner's pages show of them.

package registration

import (
	"context"
	"encoding/json"
	"fmt"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/internal/web/owner"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Policy is what the rules take of resolved settings.
func (s *Settings) policy() *account.Policy {
	p := &account.Policy{Fields: s.fields, LoginFields: s.User.LoginFields, MaxEmails: s.User.MaxEmails, SendsMail: s.sendsMail(), Unlimited: s.Throttle.Off, Limits: map[string]budget.Limit{}}
	for _, name := range throttleNames {
		p.Limits[name] = s.Throttle.limit(name).budget()
	}
	p.Register.AllowDomains, p.Register.DenyDomains = domains(s.Register.AllowDomains), domains(s.Register.DenyDomains)
	p.Register.Code, p.Register.Reason = strings.TrimSpace(s.Register.Code), s.Register.Reason
	p.Register.Terms = s.Register.Terms.Version
	p.Register.Notify = s.Register.Notify
	p.Register.Mode, p.Register.Enabled = s.Register.Mode, *s.Register.Enabled
	p.Register.Verification = *s.Register.Verification
	p.Register.PasswordConfirm = *s.Register.PasswordConfirm
	p.Register.OneTimeUse = *s.Register.OneTimeUse
	p.Register.AutoLogin = *s.Register.AutoLogin
	p.Register.VerificationPeriod = time.Duration(s.Register.VerificationPeriod)
	p.Register.UnconfirmedLifetime = time.Duration(s.Register.UnconfirmedLifetime)
	p.Login.Session = *s.Login.Session
	p.Login.Token = *s.Login.Token
	p.Login.MailCode = *s.Login.MailCode
	p.ResetPassword.Enabled = *s.ResetPassword.Enabled
	p.ResetPassword.OneTimeUse = *s.ResetPassword.OneTimeUse
	p.ResetPassword.PasswordConfirm = *s.ResetPassword.PasswordConfirm
	p.ResetPassword.UseEmail = *s.ResetPassword.UseEmail
	p.ResetPassword.FailWhenUserNotFound = *s.ResetPassword.FailWhenUserNotFound
	p.ResetPassword.VerificationPeriod = time.Duration(s.ResetPassword.VerificationPeriod)
	p.RegisterEmail.Verification = *s.RegisterEmail.Verification
	p.RegisterEmail.SignedIn = *s.RegisterEmail.SignedIn
	p.RegisterEmail.VerificationPeriod = time.Duration(s.RegisterEmail.VerificationPeriod)
	p.RegisterEmail.MaxAge = time.Duration(*s.RegisterEmail.MaxAge)
	p.ChangePassword.PasswordConfirm = *s.ChangePassword.PasswordConfirm
	s.factorPolicy(p)
	p.NewDevice = *s.Notices.NewDevice
	p.Leaving.On, p.Leaving.Grace = !s.DeleteAccount.Off, time.Duration(s.DeleteAccount.Grace)
	p.Session.Lifetime = time.Duration(s.Session.Lifetime)
	p.Session.Idle = time.Duration(s.Session.Idle)
	p.Session.Max = s.Session.Max
	if s.Admin != nil {
		p.Admin.Group, p.Admin.MaxAge = s.Admin.Group, time.Duration(s.Admin.MaxAge)
		p.Admin.SecondFactor = s.Admin.SecondFactor == secondFactorRequired
	}
	p.Hash, p.Reserved = s.hashParams(), s.reserved
	p.Validators = s.Password.validators()
	return p
}

// speak makes the languages of a realm those that its accounts can have.
func (s *Settings) speak(l *text.Languages) {
	var tags []string
	called := map[string]string{}
	for _, in := range l.Listed() {
		tags, called[in.Name] = append(tags, in.Name), in.Called
	}
	s.fields.Speaks(tags, called, func(tag string) string {
		if known := l.Spoken(tag); known != nil {
			return known.Name
		}
		return ""
	})
}

// mailDomain is the domain of the Message-IDs: the site's name, or the sender's
// domain where that is an address, in which mail servers see a forgery.
func (s *Settings) mailDomain() string {
	site := s.site()
	if _, err := netip.ParseAddr(site); err != nil {
		return site
	}
	if addr, err := netmail.ParseAddress(s.From); err == nil {
		return addr.Address[strings.LastIndexByte(addr.Address, '@')+1:]
	}
	return "localhost"
}

// site is the name of the site in mails and pages: the host of base_url, else
// the domain of the sender.
func (s *Settings) site() string {
	if u, err := url.Parse(s.BaseURL); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	if addr, err := netmail.ParseAddress(s.From); err == nil {
		return addr.Address[strings.LastIndexByte(addr.Address, '@')+1:]
	}
	return "localhost"
}

// pageFolder is where an owner's page templates are, "" if there is no folder.
func (s *Settings) pageFolder() string {
	switch {
	case s.Pages.Templates != "":
		return s.Pages.Templates
	case s.Templates != "":
		return filepath.Join(s.Templates, "pages")
	}
	return ""
}

func (l ThrottleLimit) budget() budget.Limit {
	return budget.Limit{Events: l.Events, Window: time.Duration(l.Window)}
}

// Options is what the endpoints and pages take of resolved settings.
func (s *Settings) webOptions() *web.Options {
	o := &web.Options{
		Policy: s.policy(), Name: s.Realm, Path: s.Path, BaseURL: s.BaseURL, Prefix: web.PrefixOf(s.BaseURL), TrustedOrigins: s.TrustedOrigins,
		NonFieldErrorsKey: *s.NonFieldErrorsKey, JWT: s.Login.JWT != nil, Contact: s.Register.contact(),
		Mailed: map[sign.Purpose]web.Mailed{
			sign.PurposeRegister:      {URL: s.mailed(s.Register.VerificationURL), Redirect: s.Register.web()},
			sign.PurposeResetPassword: {URL: s.mailed(s.ResetPassword.VerificationURL), Redirect: s.ResetPassword.web()},
			sign.PurposeRegisterEmail: {URL: s.mailed(s.RegisterEmail.VerificationURL), Redirect: s.RegisterEmail.web()},
			sign.PurposeUndoEmail:     {URL: s.mailed(s.RegisterEmail.UndoURL)},
			sign.PurposeUndoFactor:    {URL: s.mailed(s.Factors.UndoURL)},
			sign.PurposeEndSignIn:     {URL: s.mailed(s.Notices.EndSignInURL)},
		},
	}
	o.TermsPage = o.OnSite(s.Register.Terms.Page)
	o.Authz.On, o.Authz.Legacy = s.Authz.On, s.Authz.On && s.Authz.LegacyPaths
	o.Cookie.Name, o.Cookie.Domain, o.Cookie.SameSite = s.Session.CookieName, s.Session.CookieDomain, s.Session.SameSite
	o.Pages.Off, o.Pages.Title, o.Pages.Logo, o.Pages.Stylesheet = s.Pages.Off, s.Pages.Title, s.Pages.Logo, s.Pages.Stylesheet
	o.Pages.LogoDark, o.Pages.Favicon = s.Pages.LogoDark, s.Pages.Favicon
	o.Pages.Home, o.Pages.Goodbye = o.OnSite(s.Pages.Home), o.OnSite(s.Pages.Goodbye)
	o.Pages.Links = s.Pages.links(o)
	o.Pages.Accent, _ = s.Pages.accent() // was checked
	o.Pages.Folder, o.Pages.FolderNamed = s.pageFolder(), s.Pages.Templates != ""
	return o
}

// mailed is where a link leads whose setting may be a path below base_url.
func (s *Settings) mailed(link string) string {
	if strings.HasPrefix(link, "/") {
		return s.BaseURL + link
	}
	return link
}

func (s RedirectSettings) web() web.Redirect {
	return web.Redirect{Success: s.SuccessRedirect, Failure: s.FailureRedirect}
}

// domains are domains, or `*.` and one, as addresses have them.
func domains(list []string) (out []string) {
	for _, domain := range list {
		prefix := ""
		if rest, ok := strings.CutPrefix(domain, "*."); ok {
			prefix, domain = "*.", rest
		}
		if ascii, err := hostname.ToASCII(domain); err == nil {
			out = append(out, prefix+ascii)
		}
	}
	return out
}

// contact is where the link to whom people can ask leads.
func (s *RegisterSettings) contact() string { return mailtoOrURL(s.Contact) }

// mailtoOrURL is where a link leads that is an e-mail address or a URL.
func mailtoOrURL(to string) string {
	if to == "" || strings.Contains(to, "://") {
		return to
	}
	return "mailto:" + url.PathEscape(to)
}

func (s *JWTSettings) policy() session.TokenPolicy {
	return session.TokenPolicy{Issuer: s.Issuer, Audience: s.Audience, Lifetime: time.Duration(s.Lifetime), KeyLifetime: time.Duration(s.KeyLifetime)}
}

// letters is what the mails take of resolved settings.
func (s *Settings) letters() letter.Options {
	files := func(m MailSettings) letter.Files { return letter.Files(m) }
	accent, _ := s.Pages.accent() // was checked
	return letter.Options{
		From: s.From, ReplyTo: s.ReplyTo, Title: s.Pages.Title, Logo: s.Pages.Logo, Accent: accent, Templates: s.Templates, Fields: s.fields,
		Files: map[store.MailKind]letter.Files{
			store.MailVerifyRegistration: files(s.Register.Mail), store.MailResetPassword: files(s.ResetPassword.Mail), store.MailVerifyEmail: files(s.RegisterEmail.Mail),
		},
	}
}

// page is the address of a page of ours, "" where it is not known under which address
// people reach it, or there is none.
func (r *realm) page(name string) string {
	if r.Options.BaseURL == "" || r.Options.Pages.Off {
		return ""
	}
	return r.Options.BaseURL + r.Path + "/" + name + "/"
}

// linkPages are the pages that mailed links lead to; none where it is not known
// under which address people reach them.
func (r *realm) linkPages() map[sign.Purpose]string {
	pages := map[sign.Purpose]string{}
	if page := r.page("register"); page != "" {
		pages[sign.PurposeInvitation] = page
	}
	for purpose, l := range r.MailedLinks() {
		ours := r.Options.Mailed[purpose].URL == ""
		if u, err := url.Parse(l.URL); err == nil && u.Host != "" && (!ours || !r.Options.Pages.Off) {
			pages[purpose] = l.URL
		}
	}
	return pages
}

// signing is what the links of the mails are made with.
func (r *realm) signing(a *account.Accounts) letter.Signing {
	pages := map[store.MailKind]string{store.MailApproved: r.page("login"), store.MailAccountClosed: r.page("login"), store.MailInvitation: r.page("register"), store.MailLoginCode: r.page("login-code")}
	if r.Options.ResetPassword.Enabled { // where somebody goes whose password another may know
		for _, kind := range []store.MailKind{store.MailPasswordChanged, store.MailLoginChanged, store.MailFactorGuessed, store.MailRecoveryUsed, store.MailRecoveryFew, store.MailRecoveryMade, store.MailProgramToken, store.MailDataExported, store.MailEmailsRestored} {
			pages[kind] = r.page("send-reset-password-link")
		}
	}
	if r.settings.Admin != nil {
		pages[store.MailSignUps] = r.page("admin/waiting")
	}
	return letter.Signing{Signer: a.Signer, State: a.State, Links: r.letterLinks(), Pages: pages}
}

// letterLinks are the links in mails, each with where it leads.
func (r *realm) letterLinks() map[sign.Purpose]letter.Link {
	links := map[sign.Purpose]letter.Link{}
	for purpose, l := range r.MailedLinks() {
		links[purpose] = letter.Link{URL: l.URL, Period: l.Period}
	}
	return links
}

// ownersSite is what the owner's pages see of a realm besides its accounts.
func (r *realm) ownersSite() *owner.Site {
	return &owner.Site{
		Settings: r.settings.shown(),
		Retry: func(ctx context.Context) (int, error) {
			return r.post.Worker.Retry(ctx, r.Accounts.Load().Store, r.courier)
		},
		NextTry:  func() time.Time { return r.post.Worker.NextTry() },
		Webhooks: endpointsOf{r}, HasWebhooks: len(r.settings.Webhooks) > 0,
	}
}

// secretSettings are hidden by their paths, those of a list without its numbers. Of modules
// (store, mailer) only the name is shown: what one of somebody else's calls its password
// isn't known. The way to an endpoint or a service may be a secret, too: some are known by nothing else.
var secretSettings = map[string]bool{"secrets": true, "register.code": true, "webhooks.secrets": true, "webhooks.url": true, "password.breached.url": true, "login.oidc.client_secret": true}

// secret reports whether a setting is one of them.
func secret(path string) bool {
	parts := slices.DeleteFunc(strings.Split(path, "."), func(part string) bool { return strings.Trim(part, "0123456789") == "" })
	return secretSettings[strings.Join(parts, ".")]
}

// shown lists the settings that are set.
func (s *Settings) shown() (list []owner.Setting) {
	show("", reflect.ValueOf(*s), &list)
	return list
}

func moduleNames(raw []json.RawMessage) string {
	names := make([]string, len(raw))
	for i, one := range raw {
		names[i] = moduleName(one)
	}
	return strings.Join(names, " ")
}

func show(path string, v reflect.Value, list *[]owner.Setting) {
	add := func(value string) {
		if value != "" {
			*list = append(*list, owner.Setting{Path: path, Value: value})
		}
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if secret(path) {
		if !v.IsZero() {
			*list = append(*list, owner.Setting{Path: path, Hidden: true})
		}
		return
	}
	switch value := v.Interface().(type) {
	case caddy.Duration:
		if value != 0 {
			add(durationText(time.Duration(value)))
		}
	case json.RawMessage:
		add(moduleName(value))
	case []json.RawMessage:
		add(moduleNames(value))
	case []field.Spec:
		for _, f := range value {
			*list = append(*list, owner.Setting{Path: path + "." + f.Name, Value: string(f.Type)})
		}
	case []string:
		add(strings.Join(value, " "))
	default:
		switch {
		case v.Kind() == reflect.Struct:
			showStruct(path, v, list)
			return
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct: // which may have secrets
			for i := range v.Len() {
				show(path+"."+strconv.Itoa(i), v.Index(i), list)
			}
			return
		}
		if v.Kind() == reflect.Bool || !v.IsZero() {
			add(jsonText(value))
		}
	}
}

func showStruct(path string, v reflect.Value, list *[]owner.Setting) {
	for f, member := range v.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.IsExported():
			show(path, member, list)
		case !f.IsExported(), name == "", name == "-", path == "" && name == "source":
		default:
			show(strings.TrimPrefix(path+"."+name, "."), member, list)
		}
	}
}

// jsonText is a value as JSON has it, and a text as it is.
func jsonText(value any) string {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

// durationText is a duration as a Caddyfile has it, without units of nothing.
func durationText(d time.Duration) string {
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// moduleName is the name of a guest module.
func moduleName(raw json.RawMessage) string {
	var module struct {
		Module string `json:"module"`
	}
	_ = json.Unmarshal(raw, &module) // it has loaded, so it is an object
	return module.Module
}
