// sudo.go: an act of who has signed in some time ago: he is asked for his password, and
// then the act goes on with what was typed.

package owner

import (
	"maps"
	"net/http"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// proven reports whether who asks may change something now. If not, the answer is given:
// the page that asks for the password, or for programs the refusal.
func (s *Server) proven(c *Call) bool {
	if !c.StaleForAdmin(c.Who.Session) {
		return true
	}
	var err error
	if c.In[account.ParamPassword].Kind == field.ValueAbsent {
		err = refusal.FieldErrors{{Field: account.ParamPassword, Code: refusal.CodeReauthenticate}}.Err()
		if c.HTML {
			s.ask(c, http.StatusOK)
			return false
		}
	} else if err = c.GuessOwn(); err == nil {
		err = c.ProveAgain(c.Req.Context(), *c.Who, c.In)
	}
	switch {
	case err == nil:
		delete(c.In, account.ParamPassword)
		delete(c.Lists, account.ParamPassword)
		return true
	case c.HTML && len(web.AsRefusal(err).Fields) > 0:
		s.realm.LogAct(c.Call, prefix+c.Page.Path, c.Who.User, err)
		c.Refused = web.AsRefusal(err)
		s.ask(c, http.StatusBadRequest)
	default:
		s.refuse(c, err)
	}
	return false
}

// ask is the page that asks for the password. It keeps what the act was sent.
func (s *Server) ask(c *Call, status int) {
	form := Form{Submit: c.Say("page.admin.prove_submit"), Hidden: c.sent(account.ParamPassword)}
	form.Fields = []web.PageField{c.Field(web.CurrentPassword(account.ParamPassword, text.Say("field.old_password")), "")}
	s.write(c, status, &View{Title: c.Say("page.admin.prove_title"), Text: []string{c.Say("page.admin.prove_text")}, Parts: []Part{{Forms: []Form{form}}}})
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
