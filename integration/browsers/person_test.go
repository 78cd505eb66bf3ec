// person_test.go: the pages of somebody's own account: addresses, tokens, the copy of the
// data, leaving and staying, and what is told where nothing more can be done.

package browsers_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// personSite has accounts of several addresses, and at /club a realm whose passwords are set by
// a link alone.
var personSite = served.Site(`user {
			max_emails 3
		}
		login {
			mail_code on
		}
		register {
			contact help@example.com
		}
		admin {
			group admins
			second_factor off
		}`, `registration /club {
		realm club
		throttle off
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		reset_password {
			enabled off
		}
		session {
			cookie_name club
		}
		register {
			mode closed
			contact help@example.com
		}
		password {
			argon2id 8KiB 1 1
		}
	}
	require_login /members/*
	respond /members/* "for members: {http.request.uri}"
	respond 404`)

// TestPagesOfOnesOwnAccount walks through them, each state on a phone and a desktop.
func TestPagesOfOnesOwnAccount(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	s.Configure(personSite)
	s.Start()
	w := newWalker(t, s.Base())
	accountIn(s, "ada", "staff")
	p := personWalk{w, s}
	p.signsIn("ada")
	p.addresses()
	p.tokens()
	p.endsASignIn()
	p.leavesAndStays()
	p.disabled()
	p.club()
	w.RequireQuiet()
	w.validate()
}

type personWalk struct {
	*walker
	s *served.Server
}

// look checks the page in some of the ways: the style sheet is that of TestEveryPage.
func (w personWalk) look(name string) {
	w.T.Helper()
	if w.KeepsShots {
		w.checkIn(name, []view{{1280, "dark"}, {1280, "light"}})
		return
	}
	w.checkIn(name, views[:3])
}

// follows follows a link of the page's main part to a page of ours.
func (w personWalk) follows(page, name string) {
	w.T.Helper()
	require.Equal(w.T, 200, w.Press(`main a[href^="/accounts/`+page+`/"]`), page)
	w.look(name)
}

// sends presses the form's button, whatever the browser itself would say.
func (w personWalk) sends(status int, name string) {
	w.T.Helper()
	w.Do(chromedp.Evaluate[chromedp.Void](`document.querySelector("main form").noValidate = true; undefined`))
	require.Equal(w.T, status, w.Press(submit), name)
	w.look(name)
}

func (w personWalk) signsIn(name string) {
	w.T.Helper()
	w.forgetCookies()
	w.at200("/accounts/login/")
	w.Fill("login", name)
	w.Fill("password", served.TestPassword)
	require.Contains(w.T, []int{200, 404}, w.Press(submit)) // a site's own front page isn't there
}

func (w personWalk) addresses() {
	w.at200("/accounts/profile/")
	w.look("own-profile")
	w.follows("emails", "emails-one")
	w.follows("register-email", "emails-add")
	w.Fill("email", "ada@example")
	w.sends(400, "emails-add-refused")
	w.Fill("email", "ada@example.net")
	w.sends(200, "emails-added")
	w.at200("/accounts/emails/")
	w.look("emails-waits")
	w.Open(linkTo(w.s, "ada@example.net", "verify-email"))
	w.look("emails-verify")
	require.Equal(w.T, 200, w.Press(submit))
	w.look("emails-verified")
	w.at200("/accounts/register-email/")
	w.Fill("email", "ada@example.com")
	require.Equal(w.T, 200, w.Press(submit))
	w.at200("/accounts/emails/")
	w.look("emails-full")
	w.follows("primary-email", "emails-primary")
	w.sends(200, "emails-primary-done")
	w.follows("remove-email", "emails-remove")
	w.sends(200, "emails-removed")
	w.at200("/accounts/profile/")
	w.look("own-profile-addresses")
}

func (w personWalk) tokens() {
	w.at200("/accounts/tokens/")
	w.look("tokens-none")
	w.follows("create-token", "tokens-create")
	w.sends(400, "tokens-create-refused")
	w.Fill("name", "Calendar")
	w.Fill("path", "/members/dav")
	w.sends(200, "tokens-made")
	w.follows("tokens", "tokens-one")
	require.Equal(w.T, 200, w.Press(`main ul form button`))
	w.look("tokens-revoked")
}

// endsASignIn has somebody else sign in, and ends that by the link in the mail.
func (w personWalk) endsASignIn() {
	w.s.Client().SignIn("ada")
	link := linkTo(w.s, "ada@example.net", "end-sign-in")
	w.Open(link)
	w.look("end-sign-in")
	w.sends(200, "end-sign-in-done")
	w.Open(link)
	w.look("end-sign-in-used")
}

func (w personWalk) leavesAndStays() {
	w.signsIn("ada")
	w.at200("/accounts/export/")
	w.look("export")
	w.at200("/accounts/delete-account/")
	w.look("leave")
	w.sends(200, "leave-done")
	w.Fill("login", "ada")
	w.Fill("password", served.TestPassword)
	w.sends(200, "leave-back")
	require.Contains(w.T, []int{200, 404}, w.Press(submit))
	w.at200("/accounts/profile/")
	w.look("leave-kept")
}

// disabled is told at the sign-in and by a link; and the last administrator can't leave.
func (w personWalk) disabled() {
	accountIn(w.s, "bob")
	w.signsIn("bob")
	res := w.s.AdminRequest(http.MethodPost, "/registration/default/users/bob/disable", "application/json", "{}")
	require.Less(w.T, res.StatusCode, 300, res.Text)
	w.at200("/members/")
	w.look("disabled-guard")
	w.Fill("login", "bob")
	w.Fill("password", served.TestPassword)
	w.sends(400, "disabled-sign-in")
	accountIn(w.s, "root", "admins")
	w.signsIn("root")
	w.at200("/accounts/delete-account/")
	w.sends(409, "leave-last-admin")
	require.NotEmpty(w.T, w.Text(`main a[href="/accounts/admin/"]`), "where another is made")
	require.Equal(w.T, 403, w.Open(w.Base+"/accounts/register/?invitation=none"), "an invitation that is none")
	w.look("invitation-dead")
	require.NotEmpty(w.T, w.Text(`main .button[href="/accounts/register/"]`))
}

// club has what a person sees where the owner sets everything: a link to a first password,
// fresh and used, and a door that is closed.
func (w personWalk) club() {
	w.forgetCookies()
	require.Equal(w.T, 404, w.Open(w.Base+"/club/register/"))
	w.look("club-closed")
	require.Equal(w.T, 404, w.Open(w.Base+"/club/send-reset-password-link/"))
	w.look("club-nothing")
	for _, act := range [][2]string{{"users", `{"email":"eve@example.org","username":"eve"}`}, {"users/eve/reset-link", `{"mail":true}`}} {
		res := w.s.AdminRequest(http.MethodPost, "/registration/club/"+act[0], "application/json", act[1])
		require.Less(w.T, res.StatusCode, 300, res.Text)
	}
	link := linkTo(w.s, "eve@example.org", "set-password")
	require.True(w.T, strings.HasPrefix(link, w.Base), link)
	w.Open(link)
	w.look("set-password")
	w.Fill("password", served.TestPassword)
	w.sends(200, "set-password-done")
	w.Open(link)
	w.look("set-password-used")
}
