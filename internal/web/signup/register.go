// register.go: POST P/register: an account comes to be.

package signup

import (
	"net/http"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointRegister creates an account. With verification it is inactive until its
// mailed link was followed.
func EndpointRegister(r *web.Realm) *web.Endpoint {
	s := r.Options
	verify := s.Register.Verification
	e := &web.Endpoint{
		Name: "register", Methods: web.Post, Off: !s.Register.Enabled, Act: actRegister,
		GivesCookie: s.Register.AutoLogin && s.Login.Session && !verify,
		Spends:      web.Spends{Throttle: account.ThrottleRegister, Mails: verify, Crowds: true, TurnedAway: (*web.Call).SignUpOver},
	}
	if verify { // else nobody is written to
		e.Target = web.ThrottleTarget(field.Email)
	}
	list, required := s.Fields.Register, s.Fields.RegisterRequired
	e.Doc = web.EndpointDoc{
		Tag: web.TagAccount, Summary: "Create an account", Success: http.StatusCreated, Answer: web.SchemaProfile,
		Inputs: append(append(web.FieldInputs(list, required), web.NewPasswordInputs(s, s.Register.PasswordConfirm)...), web.NextInput, web.InvitationInput),
		Codes:  []refusal.Code{refusal.CodeInvitationInvalid, refusal.CodeSignUpRefused},
	}
	if verify {
		e.Doc.Description = "The account is inactive until the link in the mail to its address was followed."
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeEmailRequired)
		for i := range e.Doc.Inputs {
			e.Doc.Inputs[i].Required = e.Doc.Inputs[i].Required || e.Doc.Inputs[i].Name == field.Email
		}
	}
	e.Form = &web.Form{
		Title: text.Say("page.register.title"), Submit: text.Say("page.register.submit"), Links: []web.FormLink{web.LinkTo("/login/", text.Say("link.have_account"))},
		Hidden: []string{sign.ParamInvitation}, Value: valueOf,
		Complete: func(c *web.Call, d *web.PageData, _ *store.User) error {
			c.OfferProviders(d, "page.register.provider")
			if c.Policy.Register.Mode == account.ModeApprove && c.In.Text(sign.ParamInvitation) == "" { // who is invited is approved
				d.Text = append(d.Text, c.Loc.Text(text.Say("page.oidc_register.approve")))
			}
			return nil
		},
		Instead: func(w http.ResponseWriter, c *web.Call) bool {
			if _, err := c.InvitationOf(c.Req.Context(), c.In); err != nil {
				return uninvited(w, c, web.AsRefusal(err))
			}
			return false
		},
		Refused: uninvited,
		After:   afterRegister,
	}
	defer sendOnFirst(e)
	if !s.Login.Password {
		byProviderAlone(e)
		return e
	}
	switch s.Register.Mode {
	case account.ModeClosed:
		closeToUninvited(e)
	case account.ModeInvite:
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeInvitationRequired)
		e.Form.Instead = func(w http.ResponseWriter, c *web.Call) bool {
			switch i, err := c.InvitationOf(c.Req.Context(), c.In); {
			case err != nil:
				return uninvited(w, c, web.AsRefusal(err))
			case i == nil:
				return askForInvitation(w, c, e, refusal.New(refusal.CodeInvitationRequired))
			}
			return false
		}
		e.Form.Refused = func(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
			return refused.Code == refusal.CodeInvitationRequired && askForInvitation(w, c, e, refused) || uninvited(w, c, refused)
		}
	case account.ModeApprove:
		e.Doc.Description = strings.TrimSpace(e.Doc.Description + " Then it waits until an administrator has approved it.")
	case account.ModeOpen:
	}
	e.Form.Fields = registerFields(s)
	web.AskForMore(s, e)
	e.Form.Fields = append(e.Form.Fields, web.NewPasswordFields(s, s.Register.PasswordConfirm, text.Say("field.password"), text.Say("field.password_confirm"))...)
	web.AskForTerms(s, e, true)
	return e
}

// afterRegister is where a browser goes that has signed up.
func afterRegister(_ *web.Call, rep *web.Reply) web.AfterAct {
	email, _ := rep.Detail.Params["email"].(string)
	switch {
	case rep.Cookie != "":
		return web.AfterAct{Page: "profile"}
	case !rep.User.AwaitsVerification:
		return web.AfterAct{Page: "login"}
	}
	return web.AfterAct{Page: "resend-verification", Asked: true, Input: field.Email, Value: email}
}

// sendOnFirst has the page send on who is signed in. An invitation is for whom he who
// opens it gives it to: it stays.
func sendOnFirst(e *web.Endpoint) {
	page := e.Form.Instead
	e.Form.Instead = func(w http.ResponseWriter, c *web.Call) bool {
		return c.In.Text(sign.ParamInvitation) == "" && c.Realm.SendOn(w, c) || page(w, c)
	}
}

// byProviderAlone makes the endpoint one that has no act, where people have no password: who
// comes to its page, by an invitation too, goes on to the providers.
func byProviderAlone(e *web.Endpoint) {
	e.Act = func(*web.Call) (*web.Reply, error) { return nil, refusal.New(refusal.CodeNotFound) }
	e.Doc.Codes = append(e.Doc.Codes, refusal.CodeNotFound)
	e.Form.Instead = func(w http.ResponseWriter, c *web.Call) bool {
		if _, err := c.InvitationOf(c.Req.Context(), c.In); err != nil {
			return uninvited(w, c, web.AsRefusal(err))
		}
		target := c.Realm.WithNext("/login/", c.Next)
		if invitation := c.In.Text(sign.ParamInvitation); invitation != "" {
			target = web.WithParam(target, sign.ParamInvitation, invitation)
		}
		web.SeeOther(w, http.StatusFound, target)
		return true
	}
}

// closeToUninvited makes the endpoint one that is only there for who has a good invitation.
func closeToUninvited(e *web.Endpoint) {
	e.Invited, e.Form.Closed = true, text.Say("page.register.closed")
	e.Doc.Description = strings.TrimSpace(e.Doc.Description + " Sign-up is closed: without a good invitation the answer is 404, as if there were no such path.")
	e.Doc.Codes[0] = refusal.CodeNotFound // in place of what tells of an invitation
	e.Form.Refused = func(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
		if refused.Code != refusal.CodeNotFound {
			return false
		}
		why := []text.Phrase{e.Form.Closed}
		if c.In.Text(sign.ParamInvitation) != "" { // whichever it is: nothing tells a used one from none
			why = append(why, text.Say("page.register.closed_invitation"))
		}
		c.Realm.Pages.Blocked(w, c, e, refused, why...)
		return true
	}
	e.Form.Instead = func(w http.ResponseWriter, c *web.Call) bool {
		i, err := c.InvitationOf(c.Req.Context(), c.In)
		return (err != nil || i == nil) && e.Form.Refused(w, c, refusal.New(refusal.CodeNotFound))
	}
}

// registerFields are the inputs of the page for the fields of an account.
func registerFields(s *web.Options) (inputs []web.FormField) {
	for _, fld := range s.Fields.Asked {
		inputs = append(inputs, web.ProfileField(fld, s.Fields.RegisterRequired[fld.Name] || fld.Name == field.Email && s.Register.Verification))
	}
	if !slices.ContainsFunc(inputs, func(f web.FormField) bool { return f.Autocomplete == web.AutocompleteUsername }) {
		for i := range inputs { // the address is what the password is kept under
			if inputs[i].Name == field.Email {
				inputs[i].Autocomplete = web.AutocompleteUsername
			}
		}
	}
	return inputs
}

// askForInvitation says that nobody gets on without one.
func askForInvitation(w http.ResponseWriter, c *web.Call, e *web.Endpoint, refused *refusal.Error) bool {
	c.Realm.Pages.Blocked(w, c, e, refused, text.Say("page.register.invitation_required"))
	return true
}

// valueOf is what an input begins with: the token of the invitation and the address
// that it is for, the defaults of added fields.
func valueOf(c *web.Call, name string) string {
	switch name {
	case sign.ParamInvitation:
		return c.In.Text(name)
	case field.Email:
		if i, err := c.InvitationOf(c.Req.Context(), c.In); err == nil && i != nil && i.Email != "" {
			return i.Email
		}
	}
	return web.ProfileValue(c, &store.User{}, name)
}

// uninvited says that an invitation is no longer good, and whom to ask.
func uninvited(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
	if refused.Code != refusal.CodeInvitationInvalid || len(refused.Fields) > 0 {
		return false
	}
	c.Realm.Pages.Uninvited(w, c, refused)
	return true
}

func actRegister(c *web.Call) (*web.Reply, error) {
	u, err := c.Register(c.Req.Context(), c.In, c.Client)
	if err != nil {
		return nil, err
	}
	rep := &web.Reply{Status: http.StatusCreated, Profile: c.Profile(u), User: u}
	switch {
	case u.AwaitsVerification:
		rep.SignedUp = true
		rep.Detail = text.Say("detail.confirm_account", text.Params{"email": u.Email})
	case u.AwaitsApproval:
		rep.Detail = text.Say("detail.account_awaits_approval")
	default:
		rep.Detail = text.Say("detail.account_ready")
		signInNew(c, rep)
	}
	return rep, nil
}

// signInNew signs in who has signed up and has nothing to confirm. If that fails he has his
// account all the same, and signs in to it.
func signInNew(c *web.Call, rep *web.Reply) {
	if !c.Policy.Register.AutoLogin || !c.Policy.Login.Session {
		return
	}
	grant, err := c.SignInNew(c.Req.Context(), rep.User, c.Client, web.OldSession(c))
	if err != nil {
		c.Realm.LogAct(c, "login", rep.User, err)
	}
	if grant == nil {
		return
	}
	rep.Cookie = grant.Cookie
	if target := c.Realm.AfterSignIn(c.Next); target != c.Realm.Address("/profile/") { // which says that the account is ready
		rep.SeeOther = target
	}
}
