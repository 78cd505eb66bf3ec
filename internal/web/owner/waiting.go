// waiting.go: P/admin/waiting: who waits for approval, and why he wants in.

package owner

import (
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

const pathWaiting = "waiting"

var waitingActs = actsFor("approve", "refuse")

var waitingPages = []*Page{{
	Path: pathWaiting, Tab: pathWaiting, Get: showWaiting, Post: severally(pathWaiting, waitingActs),
	Doc: Doc{
		Get: "Accounts that wait for approval", Shows: schemaAccounts, Query: []web.InputDoc{limitInput, afterInput},
		Post: "Approves or refuses several accounts", Body: severalInputs(waitingActs), Does: schemaSeveral,
	},
}}

func showWaiting(c *Call) (*Shown, error) {
	l, err := c.readListing()
	if err != nil {
		return nil, err
	}
	l.filter = account.Filter{State: account.StateWaiting}
	page, err := c.list(l)
	if err != nil {
		return nil, err
	}
	if !c.HTML {
		return &Shown{JSON: c.accountsJSON(l, page)}, nil
	}
	t := &Table{
		Label: c.Say("page.admin.waiting"), Empty: c.Say("page.admin.nobody_waits"), Action: c.Address(pathWaiting), Input: paramAccounts,
		Legend: c.Say("page.admin.with_selected"), Acts: c.buttons(waitingActs),
		Columns: []string{c.Say("field.username"), c.Say("page.admin.name"), c.Say("field.email"), c.Say("page.admin.reason"), c.Say("page.admin.signed_up")},
	}
	for _, u := range page.Users {
		t.Rows = append(t.Rows, Row{ID: u.ID.String(), Select: c.Say("page.admin.select", text.Params{"name": nameOf(u)}), Cells: []Cell{
			{Text: nameOf(u), Href: c.Address("accounts/" + u.ID.String())}, {Text: orDash(fullName(u))}, {Text: emailOf(u)}, {Text: orDash(u.Reason)}, {Time: moment(u.DateJoined)},
		}})
	}
	v := &View{Title: c.Say("page.admin.waiting"), Parts: []Part{{Table: t, Pager: c.pager(pathWaiting, page.Next)}}}
	if _, ok := c.Waiting(); ok {
		v.Text = c.counted(l.filter, "page.admin.count_waiting")
	}
	return &Shown{View: v}, nil
}
