// emails.go: GET P/emails: the account's addresses, and those that wait for their
// confirmation.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointEmails lists the addresses of who asks.
func EndpointEmails(r *web.Realm) *web.Endpoint {
	form := &web.Form{
		Title: text.Say("page.emails.title"), Complete: showEmails,
		Links: []web.FormLink{web.LinkTo("/register-email/", changeEmail(r.Options.MaxEmails)), web.LinkToProfile},
	}
	if r.Options.MaxEmails > 1 {
		form.Intro = text.Say("page.emails.intro")
	}
	return &web.Endpoint{
		Name: "emails", Methods: []string{http.MethodGet, http.MethodHead}, SignedIn: true, Act: actEmails,
		Doc: web.EndpointDoc{
			Tag: web.TagEmail, Summary: "The account's e-mail addresses", Success: http.StatusOK, Answer: web.SchemaEmails,
			Description: "The primary one first, then the others, then those that wait for their confirmation.",
		},
		Form: form,
	}
}

// changeEmail is what one reads who can get another address.
func changeEmail(most int) text.Phrase {
	if most > 1 {
		return text.Say("link.add_email")
	}
	return text.Say("link.change_email")
}

// emailShown is an address in an answer.
type emailShown struct {
	Email     string `json:"email"`
	Primary   bool   `json:"primary"`
	Confirmed bool   `json:"confirmed"`
}

func actEmails(c *web.Call) (*web.Reply, error) {
	u, err := c.ListEmails(c.Req.Context(), *c.Who)
	if err != nil {
		return nil, err
	}
	list := []emailShown{}
	for _, a := range c.Addresses(u) {
		list = append(list, emailShown{a.Email, a.Primary, a.Confirmed})
	}
	return &web.Reply{Status: http.StatusOK, Body: list, User: u}, nil
}

func showEmails(c *web.Call, d *web.PageData, _ *store.User) error {
	u, err := c.ListEmails(c.Req.Context(), *c.Who)
	if err != nil {
		return err
	}
	d.Form = nil
	list := c.Addresses(u)
	for _, a := range list {
		says := "page.emails.confirmed"
		switch {
		case a.Primary && a.Confirmed:
			says = "page.emails.primary"
		case a.Primary:
			says = "page.emails.primary_unconfirmed"
		case a.Waits:
			says = "page.emails.waits"
		}
		d.Emails = append(d.Emails, web.PageEmail{
			Email: a.Email, Shown: hostname.DisplayAddress(a.Email), State: c.Loc.Text(text.Say(says)), Waits: a.Waits, Again: a.Waits && c.Policy.RegisterEmail.Verification,
			Further: !a.Primary && !a.Waits, CanLead: c.Policy.MaxEmails > 1,
		})
	}
	if len(list) == 0 {
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.emails.none")))
	}
	if most := c.Policy.MaxEmails; most > 1 && len(list) >= most {
		d.Links = d.Links[1:]
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.emails.full", text.Params{"max": most})))
	}
	return nil
}

// toEmails leads on to the list.
func toEmails(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "emails"} }

// ofEmail is the page of a form about one of the addresses.
func ofEmail(title, intro, submit text.Phrase) *web.Form {
	return &web.Form{
		Title: title, Intro: intro, Submit: submit, Fields: web.SudoFields(false), Hidden: []string{field.Email},
		Links: []web.FormLink{web.LinkTo("/emails/", text.Say("link.emails"))},
		Value: func(c *web.Call, name string) string {
			if name == field.Email {
				return c.In.Text(name)
			}
			return ""
		},
		Complete: func(c *web.Call, d *web.PageData, _ *store.User) error {
			email := c.In.Text(field.Email)
			if c.Who == nil || !account.IsFurther(c.Who.User, email) {
				return refusal.New(refusal.CodeEmailNotFound)
			}
			d.Facts = append(d.Facts, web.PageFact{Label: c.Loc.Text(text.Say("field.email")), Value: hostname.DisplayAddress(email)})
			return nil
		},
		After: toEmails,
	}
}
