// asking.go: what is asked before an act of a browser: what takes these pages from who
// does it, and what skips a step that others have to take.

package owner

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// own says what an act comes to that an admin does to his own account, nothing where it
// leaves him one. leaves is asked for his own account alone.
func own(what string, leaves func(*Call) bool) func(*Call, []*store.User) ([]text.Phrase, error) {
	return func(c *Call, users []*store.User) ([]text.Phrase, error) {
		i := slices.IndexFunc(users, c.isOwn)
		if i < 0 || !c.Policy.IsAdmin(users[i]) || leaves != nil && !leaves(c) {
			return nil, nil
		}
		group := c.Policy.Admin.Group
		warns := []text.Phrase{text.Say(what, text.Params{"group": group})}
		others, err := c.OtherAdmins(c.Req.Context(), users[i].ID)
		switch {
		case err != nil:
			return nil, err
		case len(others) == 0: // it will be refused
			return nil, nil
		case !slices.ContainsFunc(others, func(u *store.User) bool { return !u.LastLogin.IsZero() }):
			warns = append(warns, text.Say("page.admin.self_none_in"))
		case c.Policy.Admin.SecondFactor && !slices.ContainsFunc(others, func(u *store.User) bool { return u.HasFactor() }):
			warns = append(warns, text.Say("page.admin.self_no_factor"))
		}
		return warns, nil
	}
}

// enabling says what accounts that are enabled are spared.
func enabling(c *Call, users []*store.User) (warns []text.Phrase, err error) {
	skipped, unapproved := map[string][]string{}, false
	for _, u := range users {
		state := account.StateOf(u)
		skipped[state] = append(skipped[state], nameOf(u))
		unapproved = unapproved || state == account.StateUnconfirmed && (u.AwaitsApproval || c.Policy.Register.Mode == account.ModeApprove && u.Invitation == uuid.Nil)
	}
	say := func(id string, names []string) {
		if len(names) > 0 {
			warns = append(warns, text.Say(id, text.Params{"names": strings.Join(names, ", ")}))
		}
	}
	say("page.admin.enable_unconfirmed", skipped[account.StateUnconfirmed])
	if unapproved {
		warns = append(warns, text.Say("page.admin.enable_unapproved"))
	}
	say("page.admin.enable_waiting", skipped[account.StateWaiting])
	return warns, nil
}

func (c *Call) isOwn(u *store.User) bool { return u.ID == c.Who.User.ID }

// leavesAdmins reports whether the groups that were sent are without that of the admins.
func leavesAdmins(c *Call) bool {
	return c.In[field.Groups].Kind != field.ValueAbsent && !slices.Contains(c.words(field.Groups), c.Policy.Admin.Group)
}

// asks is what has to be said before an act is done to some accounts, nothing where that
// was said already or a program does it.
func (a *Act) asks(c *Call, users ...*store.User) ([]string, error) {
	if a.Asks == nil || !c.HTML || c.In.Text(paramConfirmed) != "" {
		return nil, nil
	}
	phrases, err := a.Asks(c, users)
	warns := make([]string, len(phrases))
	for i, p := range phrases {
		warns[i] = c.Loc.Text(p)
	}
	return warns, err
}

// confirmed is what says that it was asked.
var confirmed = web.PageHidden{Name: paramConfirmed, Value: "yes"}

// viewAsks asks before an act, with what was sent for it.
func (a *Act) viewAsks(c *Call, u *store.User, warns []string) *View {
	v := a.frame(c, u)
	v.Text = append(v.Text, warns...)
	form := Form{Action: a.address(c, u), Submit: c.Loc.Text(a.heading()), Grave: true, Hidden: append(c.sent(paramConfirmed), confirmed)}
	v.Parts = []Part{{Forms: []Form{form}}}
	for _, b := range acts {
		if b.Name == a.Beside && b.Fits(c, u) {
			beside := b.form(c, u, b.address(c, u))
			beside.Inline = true
			v.Parts[0].Forms = []Form{beside, form}
		}
	}
	return v
}

// next is where a browser goes on after an act: to where, or if who asks has made
// himself somebody who can't see that, to his profile or the page where one signs in.
func (c *Call) next(done *Done) *Done {
	if !c.HTML || done.View != nil {
		return done
	}
	switch u, err := c.LookupID(c.Req.Context(), c.Who.User.ID.String()); {
	case err != nil || !u.IsActive:
		done.Away = "/login/"
	case !c.Policy.IsAdmin(u):
		done.Away = "/profile/"
	}
	return done
}
