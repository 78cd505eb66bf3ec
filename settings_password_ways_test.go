// settings_password_ways_test.go: all ways by which somebody gets a new password, and that
// each asks what the site says of passwords.

package registration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
	"github.com/seed-928992b0/caddy-registration/store"
)

// taken is a password that nothing is against; leaked is refused.
const taken = "another one that nothing is against"

// A way sets a password on a site of its own: where it is sent, by whom and with what else.
type way struct {
	path    string // of the endpoint; the page is at the same one and a slash
	browser *sitetest.Browser
	with    sitetest.Data
	done    int // the status when it is taken
}

// byLink is a way by a link, with all that this carries.
func byLink(s *sitetest.Site, link *url.URL) way {
	with := sitetest.Data{}
	for name, values := range link.Query() {
		with[name] = values[0]
	}
	return way{strings.TrimSuffix(link.Path, "/"), s.Browser(), with, http.StatusOK}
}

// peoplesWays are those of people. The site lets in who has an invitation, too.
var peoplesWays = map[string]func(t *testing.T, s *sitetest.Site) way{
	"sign-up": func(_ *testing.T, s *sitetest.Site) way {
		return way{"/accounts/register", s.Browser(), sitetest.Newcomer("eve"), http.StatusCreated}
	},
	"sign-up by invitation": func(t *testing.T, s *sitetest.Site) way {
		s.Accounts.Policy.Register.Mode = account.ModeInvite
		_, link, err := s.Accounts.Invite(t.Context(), account.NewInvitation{})
		require.NoError(t, err)
		u, err := url.Parse(link)
		require.NoError(t, err)
		return way{"/accounts/register", s.Browser(), sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"invitation": u.Query().Get("invitation")}), http.StatusCreated}
	},
	"change": func(_ *testing.T, s *sitetest.Site) way {
		return way{"/accounts/change-password", s.SignedIn("ada"), sitetest.Data{"old_password": sitetest.Password, "password_confirm": ""}, http.StatusOK}
	},
	"the first one of who is signed in": func(t *testing.T, s *sitetest.Site) way {
		b := s.SignedIn("ada")
		s.Set(sitetest.UUIDOf(t, s, "ada").String(), func(u *store.User) { u.PasswordHash = "" })
		return way{"/accounts/change-password", b, sitetest.Data{"password_confirm": ""}, http.StatusOK}
	},
	"reset by mail": func(t *testing.T, s *sitetest.Site) way {
		require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
		return byLink(s, sitetest.UrlOf(t, s.Mail()))
	},
	"an administrator's link": func(t *testing.T, s *sitetest.Site) way {
		u, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "carl"})
		require.NoError(t, err)
		link, err := s.Accounts.ResetLink(t.Context(), u)
		require.NoError(t, err)
		at, err := url.Parse(link)
		require.NoError(t, err)
		return byLink(s, at)
	},
}

// withoutResets are the ways of a site without reset_password, which has another endpoint.
var withoutResets = map[string]func(t *testing.T, s *sitetest.Site) way{"an administrator's link alone": peoplesWays["an administrator's link"]}

// ownersWays are operations of the admin API, which the commands call: `create` and `set-password`.
var ownersWays = map[string]string{"default/users": `{"username": "carl", "password": %q}`, "default/users/ada/set-password": `{"password": %q}`}

// A refuser says no to leaked; without a code it can't be asked.
type refuser struct {
	configure  func(*registration.Settings)
	then       func(*sitetest.Site)
	code, says string
}

func refusers(t *testing.T) map[string]refuser {
	none, nothing := func(*registration.Settings) {}, func(*sitetest.Site) {}
	return map[string]refuser{
		"a list": {breached(registration.BreachedSettings{File: leakedFile(t, leaked)}), nothing, "password_breached", "This one is known from a data breach."},
		"a rule": {none, ruled(func() error {
			return fmt.Errorf("it: %w", &registration.PasswordRefusedError{Message: "Not under\nthe stairs."})
		}), "password_refused", "Not under the stairs."},
		"a rule that breaks": {none, ruled(func() error { panic("it breaks") }), "", ""},
	}
}

// ruled has a guest module judge what has the word stairs in it.
func ruled(judge func() error) func(*sitetest.Site) {
	return func(s *sitetest.Site) {
		s.Accounts.Policy.PasswordRules = registration.NewPasswordRules(time.Hour, zap.NewNop(), rule(func(_ context.Context, p *registration.NewPassword) error {
			if strings.Contains(p.Password, "stairs") {
				return judge()
			}
			return nil
		}))
	}
}

func TestNewPasswordsAreJudgedWhereverOneIsSet(t *testing.T) {
	for by, r := range refusers(t) {
		for name, open := range peoplesWays {
			t.Run(by+", "+name, func(t *testing.T) { r.tryWay(t, sitetest.New(t, r.configure), open) })
		}
		for name, open := range withoutResets {
			t.Run(by+", "+name, func(t *testing.T) {
				r.tryWay(t, sitetest.New(t, r.configure, func(s *registration.Settings) { s.ResetPassword.Enabled = sitetest.Off() }), open)
			})
		}
		for path, body := range ownersWays {
			t.Run(by+", "+path, func(t *testing.T) {
				s := sitetest.New(t, r.configure)
				s.Member("ada")
				r.then(s)
				server := &adminapi.Server{Names: func() []string { return []string{"default"} }, Realm: func(string) *adminapi.Realm { return &adminapi.Realm{Realm: s.Realm.Realm.Realm} }}
				ask := func(password string) error {
					return server.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/registration/"+path, strings.NewReader(fmt.Sprintf(body, password))))
				}
				refused := (*adminapi.Error)(nil)
				require.ErrorAs(t, ask(leaked), &refused)
				require.Equal(t, map[bool]int{true: 503, false: 400}[r.code == ""], refused.Status)
				require.Contains(t, refused.Error(), r.says)
				require.Contains(t, refused.Error(), r.code)
				require.NoError(t, ask(taken))
			})
		}
	}
}

// tryWay sends what is refused and what is not, to the API and to the page.
func (r refuser) tryWay(t *testing.T, s *sitetest.Site, open func(*testing.T, *sitetest.Site) way) {
	s.Member("ada")
	r.then(s)
	w := open(t, s)
	sent := func(password string) sitetest.Data {
		body := sitetest.With(w.with, sitetest.Data{"password": password})
		if _, twice := body["password_confirm"]; twice {
			body["password_confirm"] = password
		}
		return body
	}
	page := *w.browser
	page.Header = http.Header{}
	res := w.browser.Problems().Post(w.path, sent(leaked))
	shown := page.LikeBrowser().Post(w.path+"/", sitetest.FormOf(sent(leaked)))
	if r.code == "" { // what can't be asked lets nothing through
		require.Equal(t, http.StatusServiceUnavailable, res.StatusCode, res.Text)
		require.Equal(t, http.StatusServiceUnavailable, shown.StatusCode, shown.Text)
	} else {
		sitetest.RequireError(t, res, http.StatusBadRequest, "password:"+r.code)
		require.Equal(t, http.StatusBadRequest, shown.StatusCode)
		require.Contains(t, shown.Text, r.says)
		require.NotContains(t, shown.Text, leaked, "no page repeats a password")
	}
	res = w.browser.Post(w.path, sent(taken))
	require.Equal(t, w.done, res.StatusCode, res.Text)
	require.True(t, json.Valid([]byte(res.Text)))
}
