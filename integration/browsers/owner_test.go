// owner_test.go: the owner's pages in Chromium and w3m: what a new owner has to do,
// without scripts; and each state of each page, on a phone and a desktop, in light and
// dark, in all languages.

package browsers_test

import (
	"encoding/base32"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
)

// ownerSite lets nobody in whom no admin has approved.
const ownerSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://127.0.0.1:[[port]] {
	registration {
		throttle off
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		[[mailer]]
		admin {
			group admins
			second_factor off
		}
		register {
			mode approve
			verification off
			reason required
		}
		password {
			argon2id 8KiB 1 1
		}
	}
	respond 404
}
`

const (
	adminPath    = "/accounts/admin/"
	accountsPage = adminPath + "accounts/"
	// mainSubmit is the button of the one form that a page is about.
	mainSubmit = `main form:not(.filter) button[type="submit"]`
)

// anOwner is a site with somebody who looks after it, and the command line beside it.
type anOwner struct {
	t testing.TB
	s *served.Server
}

func newOwner(t testing.TB) *anOwner {
	t.Helper()
	return startOwner(served.NewServer(t), "mailer file [[dir]]/mail")
}

// newOwnerWithMail is newOwner with a real mail server.
func newOwnerWithMail(t testing.TB, m *served.MailServer) *anOwner {
	t.Helper()
	s := served.NewServer(t)
	s.Env = []string{"SMTP_TEST_PASSWORD=" + served.SmtpPassword}
	s.Values["smtp"], s.Values["ca"] = m.Address, m.CaFile
	return startOwner(s, "mailer smtp [[smtp]] {\n\t\t\tusername caddy\n\t\t\tpassword {env.SMTP_TEST_PASSWORD}\n\t\t\ttrusted_ca [[ca]]\n\t\t}")
}

func startOwner(s *served.Server, mailer string) *anOwner {
	t := s.T
	t.Helper()
	s.Configure(strings.Replace(ownerSite, "[[mailer]]", mailer, 1))
	s.Start()
	o := &anOwner{t, s}
	o.member("ada", "admins")
	return o
}

// member makes an account that may sign in.
func (o *anOwner) member(name string, groups ...string) {
	o.t.Helper()
	o.ask("users", served.Data{"username": name, "email": name + "@example.org", "password": served.TestPassword, "groups": groups})
}

func (o *anOwner) ask(path string, body served.Data) {
	o.t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(o.t, err)
	res := o.s.AdminRequest(http.MethodPost, "/registration/default/"+path, "application/json", string(raw))
	require.Less(o.t, res.StatusCode, 300, res.Text)
}

// waits has somebody sign up who waits then.
func (o *anOwner) waits(name, reason string) {
	o.t.Helper()
	newcomer := served.Newcomer(name)
	newcomer["reason"] = reason
	o.s.Client().Post(201, "register", newcomer)
}

// signIn signs somebody in who has asked for the owner's pages.
func signIn(b *served.Browser, name string) {
	b.T.Helper()
	require.Equal(b.T, 200, b.Open(b.Base+adminPath))
	b.Fill("login", name)
	b.Fill("password", served.TestPassword)
	require.Equal(b.T, 200, b.Press(submit))
	require.Equal(b.T, accountsPage, b.At())
}

func click(b *served.Browser, selector string) {
	b.T.Helper()
	b.Do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// tick chooses rows of a list, by what their boxes are called.
func tick(b *served.Browser, names ...string) {
	b.T.Helper()
	for _, name := range names {
		click(b, `input[aria-label="Select `+name+`"]`)
	}
}

// goTo opens an account's page by the link in the list.
func goTo(b *served.Browser, name string) {
	b.T.Helper()
	require.Equal(b.T, 200, b.Open(b.Base+accountsPage+"?search="+name))
	require.Equal(b.T, 200, b.Press(`td a`))
	require.Equal(b.T, name, b.Text("h1"))
}

// await waits for the mail to an address that says something; others come between.
func await(m *served.MailServer, to, part string) {
	for {
		if got := m.Next(); got.To == to && strings.Contains(got.Text, part) {
			return
		}
	}
}

// TestTasksOfAnOwner: what a new owner does, one after the other, with JavaScript off.
func TestTasksOfAnOwner(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t).Listen()
	o := newOwnerWithMail(t, m)
	for _, name := range []string{"bob", "carol", "dan", "eve", "fay"} {
		o.waits(name, "I am "+name+".")
	}
	o.member("mallory")
	o.s.Client().SignIn("mallory")
	b := served.NewBrowser(t, o.s.Base())
	_, err := chromedp.Call(b.Ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	require.NoError(t, err)

	// He finds the pages from his profile.
	signIn(b, "ada")
	require.Equal(t, 200, b.Open(b.Base+"/accounts/profile/"))
	require.Equal(t, 200, b.Press(`main a[href="`+adminPath+`"]`))
	require.Equal(t, "Accounts", b.Text("h1"))

	// Approve three of five.
	require.Equal(t, 200, b.Press(`.tabs a[href$="/waiting/"]`))
	tick(b, "bob", "carol", "dan")
	require.Equal(t, 200, b.Press(`button[value="approve"]`))
	require.Contains(t, b.Text(".note"), "3 accounts have been approved. Accounts: ")
	// Refuse one, with a text.
	tick(b, "eve")
	require.Equal(t, 200, b.Press(`button[value="refuse"]`))
	b.Do(chromedp.SendKeys(chromedp.CSS("#message"), "Not this year."))
	require.Equal(t, 200, b.Press(mainSubmit))
	require.Contains(t, b.Text(".note"), "refused and removed")
	await(m, "eve@example.org", "Not this year.")
	// Invite by mail.
	require.Equal(t, 200, b.Press(`.tabs a[href$="/invitations/"]`))
	require.Equal(t, 200, b.Press(`.buttons a`))
	b.Fill("email", "ivy@example.org")
	click(b, "#mail")
	require.Equal(t, 200, b.Press(mainSubmit))
	await(m, "ivy@example.org", "/accounts/register/?")
	// Make a link for ten.
	require.Equal(t, 200, b.Press(`main nav:not(.tabs) a`))
	b.Fill("uses", "10")
	require.Equal(t, 200, b.Press(mainSubmit))
	require.Contains(t, served.Evaluate[string](b, `document.querySelector("#copy").value`), `/accounts/register/?`)
	require.Equal(t, 200, b.Press(`.tabs a[href$="/invitations/"]`))
	require.Contains(t, b.Text("tbody"), "10")
	// Find who signed in from where.
	goTo(b, "mallory")
	require.Contains(t, b.Text("main"), "127.0.0.1")
	// Sign somebody out everywhere.
	require.Equal(t, 200, b.Press(`form[action$="/sign-out/"] button`))
	require.Contains(t, b.Text("main"), "No one is signed in to this account.")
	// Disable.
	require.Equal(t, 200, b.Press(`form[action$="/disable/"] button`))
	require.Equal(t, "The account has been disabled.", b.Text(".note"))
	// Send a reset link.
	goTo(b, "bob")
	require.Equal(t, 200, b.Press(`form[action$="/mail-link/"] button`))
	await(m, "bob@example.org", "/accounts/reset-password/?")
	// Make a second admin.
	require.Equal(t, 200, b.Press(`a[href$="/groups/"]`))
	b.Fill("groups", "admins")
	require.Equal(t, 200, b.Press(mainSubmit))
	require.Contains(t, b.Text("dl"), "admins")
	// See why a mail did not arrive: the page of who misses it says so, and that of all mail.
	require.Equal(t, 200, b.Press(`.tabs a[href$="/mail/"]`))
	require.NotEmpty(t, b.Text(".empty"))
	o.member("nobody-here")
	goTo(b, "nobody-here")
	require.Equal(t, 200, b.Press(`form[action$="/mail-link/"] button`))
	require.True(t, served.Eventually(func() bool {
		goTo(b, "nobody-here")
		return strings.Contains(b.Text("main"), "No one reads email at nobody-here@example.org, its server says. Ask for another address, and change it here.")
	}, 50*time.Millisecond))
	require.Contains(t, b.Text("main"), "no such person")
	require.Equal(t, 200, b.Press(`.tabs a[href$="/mail/"]`))
	require.Contains(t, b.Text("main"), "Emails given up")
	require.Equal(t, 200, b.Press(`td a`))
	require.Equal(t, "nobody-here", b.Text("h1"))
	b.RequireQuiet()
}

// An ownerWalk looks at each state of the pages in one language.
type ownerWalk struct {
	*modeWalk
	o *anOwner
}

// at opens a page and looks at it.
func (w *ownerWalk) at(status int, path, name string) {
	w.T.Helper()
	require.Equal(w.T, status, w.Open(w.Base+path), name)
	w.look("owner-" + name)
}

// press presses a button and looks at what comes.
func (w *ownerWalk) press(status int, selector, name string) {
	w.T.Helper()
	w.Do(chromedp.Evaluate[chromedp.Void](`for (const f of document.forms) f.noValidate = true; undefined`))
	require.Equal(w.T, status, w.Press(selector), name)
	w.look("owner-" + name)
}

// idOf is the id of an account.
func (w *ownerWalk) idOf(name string) string {
	return fmt.Sprint(w.o.s.Administer(http.MethodGet, name, "").JSON(w.T)["id"])
}

// states are all pages, one by one. The person is one of the language.
func (w *ownerWalk) states() {
	name, _ := w.person("bob")
	w.o.waits(name, "Because <b>I</b> like it, and have a lot to say about "+strings.Repeat("everything ", 20))
	w.at(200, adminPath+"waiting/", "waiting")
	w.press(400, `button[value="approve"]`, "waiting-nothing-selected")
	click(w.Browser, `td input`)
	w.press(200, `button[value="refuse"]`, "waiting-refuse")
	id := w.idOf(name)
	w.at(200, accountsPage+id+"/", "account-waiting")
	w.press(200, `form[action$="/approve/"] button`, "account-approved")
	require.NotEmpty(w.T, w.texts(".note"))
	w.at(200, adminPath+"waiting/", "waiting-nobody")
	w.at(200, accountsPage, "accounts")
	w.at(200, accountsPage+"?search=not-there", "accounts-none")
	w.at(200, accountsPage+"?state=disabled&group=x", "accounts-filtered")
	w.at(200, accountsPage, "accounts-again")
	w.press(400, `button[value="disable"]`, "accounts-nothing-selected")
	for _, act := range []string{"edit", "groups", "set-username", "set-email", "reset-factors", "refuse", "delete"} {
		w.at(200, accountsPage+id+"/"+act+"/", act)
	}
	w.at(200, accountsPage+id+"/set-username/", "set-username-again")
	w.Fill("username", "ada")
	w.press(400, mainSubmit, "set-username-refused")
	w.at(200, accountsPage+id+"/", "account")
	w.press(200, `form[action$="/make-link/"] button`, "link")
	w.at(200, accountsPage+w.idOf("ada")+"/", "account-signed-in")
	w.at(200, accountsPage+w.idOf("nobody-here")+"/", "account-without-mail")
	for _, act := range []string{"add-group", "delete", "approve"} { // the last one is refused
		require.Equal(w.T, 200, w.Open(w.Base+accountsPage+"?search="+name))
		click(w.Browser, `td input`)
		w.press(200, `button[value="`+act+`"]`, "several-"+act)
	}
	w.at(200, accountsPage+"new/", "create")
	w.press(400, mainSubmit, "create-refused")
	w.at(200, accountsPage+w.idOf("ada")+"/delete/", "last-admin")
	w.press(409, mainSubmit, "last-admin-refused")
	w.at(200, adminPath+"invitations/", "invitations-none")
	w.at(200, adminPath+"invitations/new/", "invite")
	w.press(200, mainSubmit, "invitation-made")
	w.at(200, adminPath+"invitations/", "invitations")
	for _, page := range []string{"audit", "mail", "settings"} {
		w.at(200, adminPath+page+"/", page)
	}
	w.at(404, accountsPage+"nobody/", "account-none")
}

// ownersLanguages are all. In two axe-core looks at each page in all four ways, in the
// others, where it is the texts that differ, in one of them each.
var ownersLanguages = []string{"en", "de", "es", "fr", "id", "pl", "pt-BR"}

func viewsOf(lang string) []view {
	if lang == "en" || lang == "de" {
		return views
	}
	n := slices.Index(ownersLanguages, lang) % len(views)
	return views[n : n+1]
}

// speaks has the browser ask for a language.
func (w *walker) speaks(lang string) {
	w.T.Helper()
	_, err := chromedp.Call(w.Ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": lang}})
	require.NoError(w.T, err)
}

// addFactor has somebody set up an app, in another browser.
func (o *anOwner) addFactor(name string) {
	o.t.Helper()
	c := o.s.Client()
	c.SignIn(name)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(c.Post(200, "enrol-totp", nil).JSON(o.t)["secret"].(string))
	require.NoError(o.t, err)
	code, err := factor.Code(secret, factor.Step(time.Now()))
	require.NoError(o.t, err)
	c.Post(201, "confirm-totp", served.Data{"code": code})
}

// TestOwnersPages looks at all of them, with one member and with many.
func TestOwnersPages(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t)
	m.Refuse = func(to string, _ int) *smtp.SMTPError {
		if to == "later@example.org" {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted, sent again"}
		}
		return nil
	}
	o := newOwnerWithMail(t, m.Listen())
	w := newWalker(t, o.s.Base())
	signIn(w.Browser, "ada")
	alone := &ownerWalk{&modeWalk{walker: w, s: o.s, lang: "en", views: views}, o}
	w.speaks("en")
	for _, page := range []string{"accounts", "waiting", "invitations", "audit", "mail"} {
		alone.at(200, adminPath+page+"/", page+"-of-an-empty-realm")
	}
	for _, name := range []string{"nobody-here", "later"} {
		o.member(name)
		goTo(w.Browser, name)
		require.Equal(t, 200, w.Press(`form[action$="/mail-link/"] button`))
	}
	require.True(t, served.Eventually(func() bool {
		require.Equal(t, 200, w.Open(w.Base+adminPath+"mail/"))
		text := w.Text("main")
		return strings.Contains(text, "sent again") && strings.Contains(text, "given up")
	}, 50*time.Millisecond))
	for _, lang := range ownersLanguages {
		w.speaks(lang)
		walk := &ownerWalk{&modeWalk{walker: w, s: o.s, lang: lang, views: viewsOf(lang)}, o}
		walk.states()
		// No invitation is left for the next.
		walk.Open(walk.Base + adminPath + "invitations/")
		click(w.Browser, `td input`)
		require.Equal(t, 200, walk.Press(`button[value="revoke"]`))
	}
	// Who set up a second step elsewhere is asked for it before an act.
	o.addFactor("ada")
	for _, lang := range ownersLanguages {
		w.speaks(lang)
		walk := &ownerWalk{&modeWalk{walker: w, s: o.s, lang: lang, views: viewsOf(lang)}, o}
		walk.at(200, accountsPage+walk.idOf("ada")+"/", "account-with-a-second-step")
		require.Equal(t, 200, walk.Open(walk.Base+accountsPage+walk.idOf("later")+"/groups/"))
		walk.press(200, mainSubmit, "prove")
		walk.Fill("totp", "000000")
		walk.press(400, mainSubmit, "prove-refused")
	}
	// A page that is full, and the one behind it.
	for i := range 60 {
		o.member(fmt.Sprintf("member-with-a-rather-long-name-%02d", i), "members", "friends-of-the-garden")
	}
	w.speaks("en")
	many := &ownerWalk{&modeWalk{walker: w, s: o.s, lang: "en", views: views}, o}
	many.at(200, accountsPage+"?group=members", "accounts-many")
	many.press(200, `.pager a:last-child`, "accounts-next-page")
	require.Equal(t, 10, served.Evaluate[int](w.Browser, `document.querySelectorAll("tbody tr").length`))
	w.RequireQuiet()
	w.validate()
}

// TestOwnersPagesInATextBrowser: the pages can be read and their forms be used in w3m.
func TestOwnersPagesInATextBrowser(t *testing.T) {
	t.Parallel()
	o := newOwner(t)
	o.waits("bob", "I grow roses.")
	w := newW3M(t)
	at := func(path string) string { return o.s.Base() + adminPath + path }
	screen := w.browse(at(""), tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "Accounts")
	require.Contains(t, screen, "ada@example.org")
	screen = w.browse(at("waiting/"))
	require.Contains(t, screen, "I grow roses.")
	screen = w.browse(at("accounts/?search=bob"))
	require.Contains(t, screen, "Waiting for approval")
	// After the name of the site: the person, a button, six tabs, the box; then the link, the button.
	screen = w.browse(at("waiting/"), tab(9), enter, tab(2), enter)
	require.Contains(t, screen, "The account has been approved.")
	require.Contains(t, screen, "No one is waiting for approval.")
}
