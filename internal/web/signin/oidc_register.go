// oidc_register.go: POST P/oidc-register: an account is made for who has one elsewhere.

package signin

import (
	"maps"
	"net/http"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointOIDCRegister makes an account, in the browser that has come back from a provider,
// with what a sign-up asks for besides.
func EndpointOIDCRegister(r *web.Realm) *web.Endpoint {
	s := r.Options
	list, required := s.Fields.Register, s.Fields.RegisterRequired
	e := &web.Endpoint{
		Name: "oidc-register", Methods: web.Post, Off: len(s.Login.Providers) == 0, Act: actOIDCRegister, GivesCookie: s.Login.Session,
		Spends: web.Spends{Throttle: account.ThrottleRegister, Mails: s.Register.Verification},
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "Create an account for who has one elsewhere", Success: http.StatusOK, Answer: web.SchemaSignIn, Or: web.SchemaDetail,
			Description: "In the browser that has come back from a provider and was led here: the cookie that it has got says who it is. It has no password. The address is the provider's where that has verified it, and confirmed with that; another is confirmed as that of any new account.",
			Inputs:      append(web.FieldInputs(list, nil), web.NextInput, web.InvitationInput),
			Codes:       []refusal.Code{refusal.CodeOIDCExpired, refusal.CodeLinkedKnown, refusal.CodeNotFound, refusal.CodeInvitationRequired, refusal.CodeInvitationInvalid},
		},
		Form: &web.Form{
			Title: text.Say("page.oidc_register.title"), Submit: text.Say("page.register.submit"), Hidden: []string{sign.ParamInvitation}, Links: []web.FormLink{web.LinkToLogin},
			Instead: func(w http.ResponseWriter, c *web.Call) bool {
				if b, _ := c.Brought(); b != nil {
					return false
				}
				c.Realm.LeaveNote(w, c.Req, "login", text.Say("error."+string(refusal.CodeOIDCExpired)))
				web.SeeOther(w, http.StatusFound, c.Realm.WithNext("/login/", c.Next))
				return true
			},
			Refused: strangerRefused, Value: broughtValue, Complete: tellBrought,
			After: afterSignUp,
		},
	}
	for _, fld := range list {
		e.Form.Fields = append(e.Form.Fields, web.ProfileField(fld, required[fld.Name] || fld.Name == field.Email && s.Register.Verification))
	}
	web.AskForMore(s, e)
	web.AskForTerms(s, e, true)
	return e
}

// afterSignUp is where a browser goes whose owner has to wait.
func afterSignUp(_ *web.Call, rep *web.Reply) web.AfterAct {
	if email, _ := rep.Detail.Params["email"].(string); rep.User.AwaitsVerification {
		return web.AfterAct{Page: "resend-verification", Asked: true, Input: field.Email, Value: email}
	}
	return web.AfterAct{Page: "login"}
}

// strangerRefused tells who can't have an account why, and what he can do.
func strangerRefused(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
	switch refused.Code {
	case refusal.CodeOIDCExpired, refusal.CodeLinkedKnown:
		c.Realm.LeaveNote(w, c.Req, "login", text.Say("error."+string(refused.Code)))
		web.SeeOther(w, http.StatusSeeOther, c.Realm.WithNext("/login/", c.Realm.WithNext("/link-oidc/", c.Next)))
	case refusal.CodeNotFound, refusal.CodeInvitationRequired:
		c.Realm.Pages.Blocked(w, c, c.Realm.Endpoints["oidc-register"], refused, map[refusal.Code]text.Phrase{refusal.CodeNotFound: text.Say("page.oidc_register.closed"), refusal.CodeInvitationRequired: text.Say("page.oidc_register.invited")}[refused.Code])
	default:
		return false
	}
	return true
}

// broughtValue is what an input begins with: what the provider says.
func broughtValue(c *web.Call, name string) string {
	b, _ := c.Brought()
	if b == nil {
		return ""
	}
	switch name {
	case field.Email:
		return b.Who.Email
	case field.FirstName:
		return b.Who.GivenName
	case field.LastName:
		return b.Who.FamilyName
	case field.Username:
		user, _, _ := strings.Cut(b.Who.Username, "@")
		return user
	case sign.ParamInvitation:
		return b.Invitation
	}
	return web.ProfileValue(c, &store.User{}, name)
}

// tellBrought says with which account somebody has come; its address he can't change.
func tellBrought(c *web.Call, d *web.PageData, _ *store.User) error {
	b, p := c.Brought()
	if b == nil {
		return refusal.New(refusal.CodeOIDCExpired)
	}
	d.Text = append(d.Text, c.Loc.Text(text.Say("page.oidc_register.intro", text.Params{"provider": p.Title})))
	if b.Who.EmailVerified {
		web.WithoutField(d, field.Email)
		d.Facts = append(d.Facts, web.FactOf(c.Loc, c.Policy.Fields.ByName[field.Email], b.Who.Email))
	}
	if c.Policy.Register.Mode == account.ModeApprove {
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.oidc_register.approve")))
	}
	return nil
}

func actOIDCRegister(c *web.Call) (*web.Reply, error) {
	b, p := c.Brought()
	if b == nil {
		return nil, refusal.New(refusal.CodeOIDCExpired)
	}
	if c.Next == "" {
		c.Next = c.Realm.Origins.SafeNext(b.Next)
		c.Client.Next = c.Next
	}
	if b.Invitation != "" && c.In[sign.ParamInvitation].Kind == field.ValueAbsent {
		c.In = maps.Clone(c.In)
		c.In[sign.ParamInvitation] = field.Value{Kind: field.ValueText, Text: b.Invitation}
	}
	u, got, err := c.SignUpFrom(c.Req.Context(), p, &b.Who, c.In, c.Client, web.OldSession(c))
	if err != nil {
		return nil, err
	}
	rep := signedUp(c, u, got)
	c.KeepBrought(rep, nil)
	return rep, nil
}

// signedUp answers a sign-up by an account elsewhere: who can is signed in.
func signedUp(c *web.Call, u *store.User, got account.SignedIn) *web.Reply {
	if got.Grant != nil || got.Challenge != nil {
		return signedIn(c, got)
	}
	rep := &web.Reply{Status: http.StatusOK, User: u}
	switch {
	case u.AwaitsVerification:
		rep.SignedUp = true
		rep.Detail = text.Say("detail.confirm_account", text.Params{"email": u.Email})
	default:
		rep.Detail = text.Say("detail.account_awaits_approval")
	}
	return rep
}
