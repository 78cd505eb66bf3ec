// owner_acts_test.go: every act of the owner's pages, in Chromium without scripts and in
// w3m.

package browsers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// An ownersAct is one act as a person does it: on the page at path, where {name} stands for
// the id of that account, with the first row ticked or one input filled in, by a button.
type ownersAct struct {
	path string
	// before makes what the act needs.
	before func(*anOwner)
	tick   bool
	// input is the name of an input, label what stands before it; value is typed.
	input, label, value string
	// button is what it says, selector how a script finds it; mainSubmit where empty.
	button, selector string
	// again: the act asks before, by the same button.
	again bool
	want  string
}

func does(name string, more string) string { return accountsPage + "{" + name + "}/" + more }

var ownersActs = []ownersAct{
	{path: does("wanda", ""), before: func(o *anOwner) { o.waits("wanda", "x") }, button: "Approve", selector: `form[action$="/approve/"] button`, want: "The account has been approved."},
	{path: does("walt", "refuse/"), before: func(o *anOwner) { o.waits("walt", "x") }, button: "Refuse", want: "The account has been refused and removed."},
	{path: adminPath + "waiting/", before: func(o *anOwner) { o.waits("wim", "x") }, tick: true, button: "Approve", selector: `button[value="approve"]`, want: "The account has been approved."},
	{path: adminPath + "waiting/", before: func(o *anOwner) { o.waits("wes", "x") }, tick: true, button: "Refuse", selector: `button[value="refuse"]`, again: true, want: "The account has been refused and removed."},
	{path: does("bob", "edit/"), input: "first_name", label: "First name", value: "Robert", button: "Save changes", want: "The account has been changed."},
	{path: does("bob", "groups/"), input: "groups", label: "Separate groups", value: "choir", button: "Save changes", want: "The account has been changed."},
	{path: does("bob", "set-username/"), input: "username", label: "stays signed in", value: "bobby", button: "Change the username", want: "The account has been changed."},
	{path: does("bobby", "set-email/"), input: "email", label: "old address is told", value: "bobby@example.org", button: "Change the email address", want: "The account has been changed."},
	{path: does("bobby", ""), button: "Email a password link", selector: `form[action$="/mail-link/"] button`, want: "The link has been emailed."},
	{path: does("bobby", ""), button: "Make a password link", selector: `form[action$="/make-link/"] button`, want: "It’s shown only now"},
	{path: does("bobby", ""), before: func(o *anOwner) {
		o.s.Client().Post(200, "login", served.Data{"login": "bobby", "password": served.TestPassword})
	}, tick: true, button: "End sessions", selector: `button[value="end"]`, want: "The session has ended."},
	{path: does("bobby", ""), button: "Sign out everywhere", selector: `form[action$="/sign-out/"] button`, want: "The person has been signed out everywhere."},
	{path: does("bobby", ""), button: "Disable", selector: `form[action$="/disable/"] button`, want: "The account has been disabled."},
	{path: does("bobby", ""), button: "Enable", selector: `form[action$="/enable/"] button`, want: "The account has been enabled."},
	{path: does("fay", "reset-factors/"), before: func(o *anOwner) { o.member("fay"); o.addFactor("fay") }, button: "Reset the second step", want: "The second step has been reset."},
	{path: accountsPage + "?search=bobby", tick: true, button: "Disable", selector: `button[value="disable"]`, want: "The account has been disabled."},
	{path: accountsPage + "?search=bobby", tick: true, button: "Enable", selector: `button[value="enable"]`, want: "The account has been enabled."},
	{path: accountsPage + "?search=bobby", tick: true, button: "Delete", selector: `button[value="delete"]`, again: true, want: "The account has been deleted."},
	{path: does("fay", "delete/"), button: "Delete", want: "The account has been deleted."},
	{path: accountsPage + "new/", input: "username", label: "with a link.", value: "greta", button: "Create account", want: "The account has been created."},
	{path: adminPath + "invitations/new/", input: "note", label: "Note", value: "for the choir", button: "Create invitation", want: "It is shown only this once."},
	{path: adminPath + "invitations/", tick: true, button: "Revoke invitations", selector: `button[value="revoke"]`, want: "1 invitation has been revoked."},
}

// at puts the id of the account into an address.
func (a *ownersAct) at(o *anOwner) string {
	before, rest, found := strings.Cut(a.path, "{")
	if !found {
		return o.s.Base() + a.path
	}
	name, rest, _ := strings.Cut(rest, "}")
	id, _ := o.s.Administer("GET", name, "").JSON(o.t)["id"].(string)
	require.NotEmpty(o.t, id, name)
	return o.s.Base() + before + id + rest
}

func TestEveryActOfAnOwner(t *testing.T) {
	t.Parallel()
	t.Run("without scripts", func(t *testing.T) {
		t.Parallel()
		o := newOwner(t)
		o.member("bob")
		b := served.NewBrowser(t, o.s.Base())
		_, err := chromedp.Call(b.Ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		require.NoError(t, err)
		signIn(b, "ada")
		for _, a := range ownersActs {
			if a.before != nil {
				a.before(o)
			}
			b.Open(a.at(o))
			if a.tick {
				click(b, `tbody input[type="checkbox"]`)
			}
			if a.input != "" {
				b.Fill(a.input, a.value)
			}
			selector := a.selector
			if selector == "" {
				selector = mainSubmit
			}
			require.Equal(t, 200, b.Press(selector), a.path+" "+a.button)
			if a.again {
				require.Equal(t, 200, b.Press(mainSubmit), a.path+" "+a.button)
			}
			require.Contains(t, b.Text("main"), a.want, a.path+" "+a.button)
		}
		b.RequireQuiet()
	})
	t.Run("in w3m", func(t *testing.T) {
		t.Parallel()
		o := newOwner(t)
		o.member("bob")
		w := newW3M(t)
		w.browse(o.s.Base()+adminPath, tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter)
		find := func(text string) string { return "/" + text + enter }
		for _, a := range ownersActs {
			if a.before != nil {
				a.before(o)
			}
			var keys []string
			if a.tick {
				keys = append(keys, find("Selected"), tab(1), enter)
			}
			if a.input != "" { // ^A ^K clears the line
				keys = append(keys, find(a.label), tab(1), enter+"\x01\x0b"+a.value+enter)
			}
			below := find(a.button) + "n" + enter // the heading says the same
			if a.tick || a.input != "" || a.selector != "" {
				keys = append(keys, find(a.button)+enter)
			} else {
				keys = append(keys, below)
			}
			if a.again {
				keys = append(keys, below)
			}
			screen := w.browse(a.at(o), keys...)
			require.Contains(t, strings.Join(strings.Fields(screen), " "), a.want, a.path+" "+a.button+"\n"+screen)
		}
	})
}

// What waits can be tried again; there is no such button where nothing waits.
func TestOwnerTriesMailAgain(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t) // it doesn't listen yet
	o := newOwnerWithMail(t, m)
	b := served.NewBrowser(t, o.s.Base())
	_, err := chromedp.Call(b.Ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	require.NoError(t, err)
	signIn(b, "ada")
	require.Equal(t, 200, b.Open(b.Base+adminPath+"mail/"))
	require.NotContains(t, b.Text("main"), "Try all emails now")
	goTo(b, "ada")
	require.Equal(t, 200, b.Press(`form[action$="/mail-link/"] button`))
	require.True(t, served.Eventually(func() bool {
		require.Equal(t, 200, b.Open(b.Base+adminPath+"mail/"))
		return strings.Contains(b.Text("main"), "All emails wait until it can be used again.")
	}, 50*time.Millisecond))
	goTo(b, "ada")
	require.Contains(t, b.Text("main"), "The mail server can’t be used.")
	m.Listen()
	require.Equal(t, 200, b.Open(b.Base+adminPath+"mail/"))
	require.Equal(t, 200, b.Press(mainSubmit))
	require.Contains(t, b.Text(".note"), "1 email is being tried now.")
	await(m, "ada@example.org", "/accounts/reset-password/?")
}
