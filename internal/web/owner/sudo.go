// sudo.go: what who may has to show: a second step where the site demands it of admins,
// and for an act, where he has signed in some time ago, his password or that step once
// more; then the act goes on with what was typed.

package owner

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// admitted reports whether who asks has the second step that the site demands of admins,
// and has shown it. If not, the answer is given: a browser is led to where that is done,
// and from there back. A form that is sent goes on, where proven asks for the step.
func (s *Server) admitted(c *Call, read bool) bool {
	code := c.AdminLacks(c.Who.User, c.Who.Session)
	switch {
	case code == "":
		return true
	case !read && code == refusal.CodeInsufficient && c.factorAsked():
		return true
	case !c.HTML && code == refusal.CodeInsufficient:
		s.refuse(c, &refusal.Error{Code: code, Challenge: `error="` + string(code) + `", acr_values="` + account.MethodMulti + `"`})
	case !c.HTML:
		s.refuse(c, refusal.New(code))
	case code == refusal.CodeFactorRequired:
		s.realm.LeaveNote(c.W, c.Req, strings.Trim(s.realm.EnrolmentPage(), "/"), text.Say("detail.admin_factor_needed"))
		web.SeeOther(c.W, seeOther(read), s.realm.WithNext(s.realm.EnrolmentPage(), c.comeBack(read)))
	default:
		web.SeeOther(c.W, seeOther(read), c.stepUp(c.comeBack(read)))
	}
	return false
}

// factorAsked reports whether an act waits for a factor that can be sent with it.
func (c *Call) factorAsked() bool {
	asked := c.AdminAsks(c.Who.User, c.Who.Session)
	return asked != "" && asked != account.ParamPassword && asked != account.ParamProvider
}

func seeOther(read bool) int {
	if read {
		return http.StatusFound
	}
	return http.StatusSeeOther
}

// comeBack is where a browser goes on that had to show something first: the page that it
// asked for or, where it has sent a form, that of the form.
func (c *Call) comeBack(read bool) string {
	path := strings.ReplaceAll(c.Page.Path, "{id}", c.ID)
	switch {
	case read:
		return withQuery(c.Address(path), c.Req.URL.RawQuery)
	case c.Page.Get == nil && c.aboutAccount():
		return c.Address("accounts/" + c.ID)
	case c.Page.Get == nil:
		return c.Address(c.Page.Tab)
	}
	return c.Address(path)
}

// aboutAccount reports whether the page is one of an account's.
func (c *Call) aboutAccount() bool { return strings.HasPrefix(c.Page.Path, "accounts/{id}") }

// stepUp is the page where a factor is shown, once more where that was some time ago.
func (c *Call) stepUp(next string) string {
	target := web.WithParam(c.Realm.WithNext("/step-up/", next), web.ParamFactors, "2")
	return web.WithParam(target, web.ParamMaxAge, strconv.Itoa(int(c.Policy.Admin.MaxAge/time.Second)))
}

// proven reports whether who asks may change something now. If not, the answer is given:
// the page that asks for the password, or for programs the refusal.
func (s *Server) proven(c *Call) bool {
	asked := c.AdminAsks(c.Who.User, c.Who.Session)
	if asked == "" {
		return true
	}
	ways := c.StepUpWays(c.Who.User)
	var err error
	if len(ways) == 0 { // there is nothing that he could type
		s.signInAgain(c)
		return false
	}
	if !slices.ContainsFunc(ways, func(way string) bool { return c.In[way].Kind != field.ValueAbsent }) {
		err = account.ReauthenticateBy(asked)
		if c.HTML && asked == account.ParamPasskey { // by a script of that page
			web.SeeOther(c.W, http.StatusSeeOther, c.stepUp(c.comeBack(false)))
			return false
		}
		if c.HTML {
			s.ask(c, asked, http.StatusOK)
			return false
		}
	} else if err = c.GuessOwn(); err == nil {
		err = c.proveAgain()
	}
	switch {
	case err == nil:
		for _, way := range ways {
			delete(c.In, way)
			delete(c.Lists, way)
		}
		return true
	case c.HTML && len(web.AsRefusal(err).Fields) > 0:
		s.realm.LogAct(c.Call, prefix+c.Page.Path, c.Who.User, err)
		c.Refused = web.AsRefusal(err)
		s.ask(c, asked, http.StatusBadRequest)
	default:
		s.refuse(c, err)
	}
	return false
}

// proveAgain takes what was sent to show once more who asks. From then on the sign-in is a
// fresh one, under a new token: who has a copy of the old one has shown nothing. The
// browser gets it whatever becomes of the act.
func (c *Call) proveAgain() error {
	u, grant, err := c.StepUp(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return err
	}
	for i, id := range c.Lists[paramSessions] { // an act on his own sign-in means it as it is now
		if id == c.Who.Session.Hash.PublicID() {
			c.Lists[paramSessions][i] = grant.Session.Hash.PublicID()
		}
	}
	c.Who = &session.Principal{User: u, Session: grant.Session}
	c.GoOnUnder(c.W, u, grant)
	return nil
}

// ask is the page that asks for the password, or for a factor. It keeps what the act was
// sent.
func (s *Server) ask(c *Call, asked string, status int) {
	form := Form{Action: c.Address(strings.ReplaceAll(c.Page.Path, "{id}", c.ID)), Submit: c.Say("page.admin.prove_submit"), Hidden: c.sent(asked)}
	shown, why := web.CurrentPassword(account.ParamPassword, text.Say("field.old_password")), "page.admin.prove_text"
	if asked == account.ParamTOTP {
		shown, why = web.TOTPField(asked), "reauthenticate.totp"
	}
	form.Fields = []web.PageField{c.Field(shown, "")}
	v := &View{Title: c.Say("page.admin.prove_title"), Text: []string{c.Say(why)}, Parts: []Part{{Facts: c.chosen(), Forms: []Form{form}}}}
	v.Links = []web.PageLink{{Href: c.Address(c.Page.Tab), Text: c.Say("link.admin_list")}}
	if c.aboutAccount() {
		v.Links = []web.PageLink{{Href: c.Address("accounts/" + c.ID), Text: c.Say("link.admin_account")}}
	}
	s.write(c, status, v)
}

// namesShown is how many accounts the page names that asks once more who one is.
const namesShown = 20

// chosen says which act waits, and for whom.
func (c *Call) chosen() []web.PageFact {
	what, ids := c.Page.Acts, c.Lists[paramAccounts]
	if c.ID != "" {
		ids = []string{c.ID}
	}
	if i := slices.IndexFunc(acts, func(a *Act) bool { return what.Id == "" && a.Name == c.In.Text(paramDo) }); i >= 0 {
		what = acts[i].heading()
	}
	var names []string
	for i, id := range ids {
		if i == namesShown {
			names = append(names, "…")
			break
		}
		if u, err := c.LookupID(c.Req.Context(), id); err == nil { // who is gone is told by the act
			names = append(names, nameOf(u))
		}
	}
	var facts []web.PageFact
	if what.Id != "" {
		facts = append(facts, web.PageFact{Label: c.Say("page.admin.chosen"), Value: c.Loc.Text(what)})
	}
	if len(names) > 0 {
		facts = append(facts, web.PageFact{Label: c.Say("page.admin.chosen_for"), Value: strings.Join(names, ", ")})
	}
	return facts
}

// signInAgain leads who has no password and no factor that can be asked for here to a new
// sign-in, and from there to where he was.
func (s *Server) signInAgain(c *Call) {
	if !c.HTML {
		s.refuse(c, refusal.New(refusal.CodeNotAuthenticated))
		return
	}
	web.SeeOther(c.W, http.StatusSeeOther, web.WithParam(c.Realm.WithNext("/login/", c.comeBack(false)), web.ParamReauth, "1"))
}

// sent is what a form sent, as hidden inputs of another, but for some.
func (c *Call) sent(but ...string) (hidden []web.PageHidden) {
	for _, name := range slices.Sorted(maps.Keys(c.In)) {
		if slices.Contains(but, name) || c.In[name].Kind != field.ValueText {
			continue
		}
		values := c.Lists[name]
		if len(values) == 0 {
			values = []string{c.In[name].Text}
		}
		for _, value := range values {
			hidden = append(hidden, web.PageHidden{Name: name, Value: value})
		}
	}
	return hidden
}
