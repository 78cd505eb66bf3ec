// sudo.go: an act of who has signed in some time ago: he is asked for his password, and
// then the act goes on with what was typed.

package owner

import (
	"maps"
	"net/http"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// proven reports whether who asks may change something now. If not, the answer is given:
// the page that asks for the password, or for programs the refusal.
func (s *Server) proven(c *Call) bool {
	asked := c.AdminAsks(c.Who.User, c.Who.Session)
	if asked == "" {
		return true
	}
	var err error
	if c.In[asked].Kind == field.ValueAbsent {
		err = account.ReauthenticateBy(asked)
		if c.HTML {
			s.ask(c, asked, http.StatusOK)
			return false
		}
	} else if err = c.GuessOwn(); err == nil {
		err = c.ProveAgain(c.Req.Context(), *c.Who, c.In)
	}
	switch {
	case err == nil:
		delete(c.In, asked)
		delete(c.Lists, asked)
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

// ask is the page that asks for the password, or for a factor. It keeps what the act was
// sent.
func (s *Server) ask(c *Call, asked string, status int) {
	form := Form{Submit: c.Say("page.admin.prove_submit"), Hidden: c.sent(asked)}
	shown, why := web.CurrentPassword(account.ParamPassword, text.Say("field.old_password")), "page.admin.prove_text"
	if asked == account.ParamTOTP {
		shown, why = web.TOTPField(asked), "reauthenticate.totp"
	}
	form.Fields = []web.PageField{c.Field(shown, "")}
	s.write(c, status, &View{Title: c.Say("page.admin.prove_title"), Text: []string{c.Say(why)}, Parts: []Part{{Forms: []Form{form}}}})
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
