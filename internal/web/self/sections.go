// sections.go: the parts of the profile's page below the details: what an account has of
// each thing, and the page on which it changes.

package self

import (
	"slices"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// sections divides the profile's page. The links stay among those of the page too, for
// a template of the owner's that knows no sections.
func sections(c *web.Call, d *web.PageData) {
	d.Sections = slices.DeleteFunc([]web.PageSection{
		addressSection(c, d), passwordSection(c), factorSection(c), sessionSection(c, d), tokenSection(c), dataSection(c),
	}, func(s web.PageSection) bool { return len(s.Links) == 0 && len(s.Facts) == 0 })
	for _, section := range d.Sections {
		d.Links = append(d.Links, section.Links...)
	}
	if d.Form != nil || len(d.Facts) > 0 {
		d.Heading = c.Loc.Text(text.Say("page.profile.details"))
	}
}

// section is a part with this heading and these links; those that lead nowhere are left out.
func section(c *web.Call, id, heading string, links ...web.FormLink) web.PageSection {
	return web.PageSection{ID: id, Heading: c.Loc.Text(text.Say(heading)), Links: c.LinksTo(links)}
}

// moved takes the fact of a field off the page's head, where a section has it.
func moved(c *web.Call, d *web.PageData, name string) []web.PageFact {
	label := c.Loc.Text(text.Say("field." + name))
	i := slices.IndexFunc(d.Facts, func(f web.PageFact) bool { return f.Label == label })
	if i < 0 {
		return nil
	}
	fact := d.Facts[i]
	d.Facts = slices.Delete(d.Facts, i, i+1)
	return []web.PageFact{fact}
}

// addressSection has the address, where it isn't one of the details that are edited.
func addressSection(c *web.Call, d *web.PageData) web.PageSection {
	if slices.ContainsFunc(c.Policy.Fields.Profile, func(f *field.Field) bool { return f.Name == field.Email }) {
		return web.PageSection{}
	}
	links := []web.FormLink{web.LinkTo("/register-email/", changeEmail(c.Policy.MaxEmails))}
	waits := slices.DeleteFunc(c.Addresses(c.Who.User), func(a account.Address) bool { return !a.Waits })
	if c.Policy.MaxEmails > 1 || len(waits) > 0 || len(c.Who.User.FurtherEmails) > 0 {
		links = append(links, web.LinkTo("/emails/", text.Say("link.emails")))
	}
	s := section(c, "email", "field.email", links...)
	for _, fact := range moved(c, d, field.Email) {
		s.Text = append(s.Text, fact.Value)
	}
	for _, email := range c.Who.User.FurtherEmails {
		s.Facts = append(s.Facts, web.PageFact{Label: c.Loc.Text(text.Say("page.emails.confirmed")), Value: hostname.DisplayAddress(email)})
	}
	for _, a := range waits {
		s.Facts = append(s.Facts, web.PageFact{Label: c.Loc.Text(text.Say("page.emails.waits")), Value: hostname.DisplayAddress(a.Email)})
	}
	return s
}

func passwordSection(c *web.Call) web.PageSection {
	u := c.Who.User
	if !c.Policy.Login.Password {
		return web.PageSection{}
	}
	if u.PasswordHash == "" {
		s := section(c, "password", "field.password", web.LinkTo("/change-password/", text.Say("page.reset_password.submit")))
		s.Text = []string{c.Loc.Text(text.Say("page.profile.password_none"))}
		return s
	}
	s := section(c, "password", "field.password", web.LinkTo("/change-password/", text.Say("link.change_password")))
	if !u.PasswordSince.IsZero() {
		s.Facts = []web.PageFact{{Label: c.Loc.Text(text.Say("page.profile.password_since")), Time: u.PasswordSince.UTC().Format(time.RFC3339)}}
	}
	return s
}

func factorSection(c *web.Call) web.PageSection {
	s := section(c, "factors", "page.factors.title", web.LinkTo("/factors/", text.Say("link.manage_factors")))
	u := c.Who.User
	if n := len(u.Factors); n > 0 {
		s.Text = []string{c.Loc.Text(text.Say("page.profile.factors_some", text.Params{"count": n}))}
	} else if u.PasswordHash != "" || len(u.LinkedAccounts) == 0 {
		s.Text = []string{c.Loc.Text(text.Say("page.factors.none"))}
	}
	for i := range u.LinkedAccounts {
		l := &u.LinkedAccounts[i]
		s.Facts = append(s.Facts, web.PageFact{Label: web.LinkedName(c.Policy, l), Value: l.Name})
	}
	return s
}

func sessionSection(c *web.Call, d *web.PageData) web.PageSection {
	s := section(c, "sessions", "page.sessions.title", web.LinkTo("/sessions/", text.Say("link.manage_sessions")))
	if s.Facts = moved(c, d, field.LastLogin); s.Facts == nil {
		s.Text = []string{c.Loc.Text(text.Say("page.profile.sessions_text"))}
	}
	return s
}

func tokenSection(c *web.Call) web.PageSection {
	s := section(c, "tokens", "page.tokens.title", web.LinkTo("/tokens/", text.Say("link.manage_tokens")))
	says := text.Say("page.tokens.none")
	if n := len(c.Who.User.ProgramTokens); n > 0 {
		says = text.Say("page.profile.tokens_some", text.Params{"count": n})
	}
	s.Text = []string{c.Loc.Text(says)}
	return s
}

func dataSection(c *web.Call) web.PageSection {
	says, links := "page.profile.data_copy", []web.FormLink{web.LinkTo("/export/", text.Say("link.export"))}
	if c.Policy.Leaving.On {
		says, links = "page.profile.data_text", append(links, web.LinkTo("/delete-account/", text.Say("link.delete_account")))
	}
	s := section(c, "data", "page.profile.data", links...)
	if page := c.Realm.Options.TermsPage; page != "" {
		s.Links = append(s.Links, web.PageLink{Href: page, Text: c.Loc.Text(text.Say("page.profile.terms"))})
	}
	s.Text = []string{c.Loc.Text(text.Say(says))}
	return s
}
