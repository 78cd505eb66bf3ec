// create.go: P/admin/accounts/new: an owner makes an account. The person sets the
// password, by a link.

package owner

import (
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// paramMail asks for the link to be mailed, and not shown.
const paramMail = "mail"

var createPage = &Page{
	Path: "accounts/new", Tab: "accounts", ForPeople: true, Get: showCreate, Post: create, Acts: text.Say("page.admin.create"),
	Doc: Doc{
		Post: "Makes an account, active at once, and a link by which the person sets a password", Does: schemaCreated,
		Body: []web.InputDoc{
			web.NewInput(field.Username, false, web.NewObject("type", "string", "examples", []any{"ada"})),
			web.NewInput(field.Email, false, web.NewObject("type", "string", "description", "It counts as confirmed.", "examples", []any{"ada@example.com"})),
			web.NewInput(field.Groups, false, groupsSchema),
			web.NewInput(paramMail, false, web.NewObject("type", "boolean", "description", "The link is mailed and not told.")),
		},
		Codes: []refusal.Code{refusal.CodeEmailAlreadyRegistered},
	},
}

func showCreate(c *Call) (*Shown, error) {
	address := web.EmailField(text.Say("field.email"))
	address.Required = c.onlyLogin(field.Email)
	f := Form{Action: c.Address("accounts/new"), Submit: c.Say("page.admin.create_submit")}
	f.Fields = append(f.Fields, c.Field(web.ProfileField(c.Policy.Fields.ByName[field.Username], c.onlyLogin(field.Username)), ""), c.Field(address, ""), c.Field(c.groupsField(), ""))
	if c.Policy.SendsMail {
		f.Fields = append(f.Fields, c.Field(web.BoxField(paramMail, text.Say("field.mail_link")), "true"))
	}
	return &Shown{View: &View{
		Title: c.Say("page.admin.create"), Text: []string{c.Say("page.admin.create_text")}, Parts: []Part{{Forms: []Form{f}}},
		Links: []web.PageLink{{Href: c.Address("accounts"), Text: c.Say("link.admin_accounts")}},
	}}, nil
}

// onlyLogin reports whether one signs in by a field alone, so that each account needs it.
func (c *Call) onlyLogin(name string) bool {
	login := c.Policy.Fields.Login
	return len(login) == 1 && login[0].Name == name
}

func create(c *Call) (*Done, error) {
	var errs refusal.FieldErrors
	mail := c.In.Switch(paramMail, &errs)
	groups := c.words(field.Groups)
	if c.In[field.Groups].Kind != field.ValueAbsent && !c.In.IsForm() && c.Lists[field.Groups] == nil {
		errs.Add(field.Groups, refusal.CodeInvalid)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	u, err := c.Create(c.Req.Context(), account.NewAccount{Username: c.In.Text(field.Username), Email: c.In.Text(field.Email), Groups: groups})
	if err != nil {
		return nil, err
	}
	return c.linkOf(u, mail)
}

// linkOf hands out the link of a new account. That there is it, is true whatever comes of
// the link.
func (c *Call) linkOf(u *store.User, mail bool) (*Done, error) {
	made := &Done{Note: text.Say("detail.admin_created"), To: "accounts/" + u.ID.String()}
	shown := web.AccountShown(c.Accounts, u)
	if mail && u.Email != "" {
		if err := noLink(c.MailResetLink(c.Req.Context(), u)); err == nil {
			made.Note, made.JSON = text.Say("detail.admin_created_mailed"), append(shown, web.NewObject("mailed_to", u.Email)...)
			return made, nil
		}
	}
	link, err := c.ResetLink(c.Req.Context(), u)
	if err != nil {
		made.JSON = shown
		return made, nil //nolint:nilerr // there is no page that a link could lead to; the account's page offers another
	}
	made = c.linkMade(u, link, c.Say("detail.admin_created"))
	made.JSON = append(shown, web.NewObject("link", link)...)
	return made, nil
}
