// oidc.go: what cookies and pages have for accounts elsewhere: what a browser keeps while it
// signs in at a provider, and afterwards until a new account is made or the old one is
// linked; and the buttons.

package web

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/oidc"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// How long a browser may be at a provider, and how long what it has brought back waits for
// the person's last word.
const (
	FlowLifetime    = 10 * time.Minute
	BroughtLifetime = 15 * time.Minute
)

// The cookies of an account elsewhere. They are the host's alone, and Lax whatever the
// session's are: the browser comes back from another site.
const (
	flowSuffix    = "_oidc"
	broughtSuffix = "_linked"
	// maxSealed bounds one, in bytes: browsers keep 4096 with its name and attributes.
	maxSealed = 3800
)

// An OIDCFlow is what a browser keeps that signs in at a provider.
type OIDCFlow struct {
	// State is random; the nonce and the verifier follow from it and from our key.
	State    string `json:"s"`
	Provider string `json:"p"`
	Next     string `json:"n,omitempty"`
	// Links is the sign-in whose account is to be linked; "": somebody signs in.
	Links      string `json:"l,omitempty"`
	Invitation string `json:"i,omitempty"`
	// Anew: he is to show there again who he is.
	Anew  bool  `json:"a,omitempty"`
	Began int64 `json:"b"` // Unix seconds
}

// Brought is what a browser has brought back of who has no account here yet, or hasn't linked
// the one that he has.
type Brought struct {
	Provider   string        `json:"p"`
	Who        oidc.Identity `json:"w"`
	Next       string        `json:"n,omitempty"`
	Invitation string        `json:"i,omitempty"`
	At         int64         `json:"b"` // Unix seconds
}

// oidcSecret is what only we can make of the state of a flow.
func oidcSecret(s *sign.Signer, what, state string) string {
	return s.Sign(sign.Claim{Purpose: sign.PurposeOIDC, Email: what + "\x00" + state})
}

// Protocol is the flow as the provider sees it.
func (f *OIDCFlow) Protocol(c *Call) oidc.Flow {
	return oidc.Flow{
		Redirect: c.Realm.Options.BaseURL + c.Realm.Path + "/oidc-callback/" + f.Provider,
		State:    f.State, Nonce: oidcSecret(c.Signer, "nonce", f.State), Verifier: oidcSecret(c.Signer, "verifier", f.State),
		Anew: f.Anew, Began: time.Unix(f.Began, 0),
	}
}

// NewOIDCFlow begins a flow.
func (c *Call) NewOIDCFlow(p *oidc.Provider) *OIDCFlow {
	return &OIDCFlow{State: sign.NewBrowser(), Provider: p.Name, Next: c.Next, Began: c.Realm.Now().Unix()}
}

// hostCookie is a cookie of this host alone, which comes back from other sites too.
func (r *Realm) hostCookie(req *http.Request, suffix, value string, lifetime time.Duration) *http.Cookie {
	seconds := int(lifetime / time.Second)
	if value == "" {
		seconds = -1
	}
	return &http.Cookie{ //nolint:gosec // Secure wherever the browser speaks HTTPS
		Name: r.hostCookieName(req, suffix), Value: value, Path: "/", MaxAge: seconds, Secure: r.Secure(req), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

func (r *Realm) hostCookieName(req *http.Request, suffix string) string {
	name := r.cookieName(req)
	for _, prefix := range []string{"__Host-", "__Secure-"} {
		name = strings.TrimPrefix(name, prefix)
	}
	if r.Secure(req) {
		name = "__Host-" + name
	}
	return name + suffix
}

// seal is a value with its signature, for a cookie; "": it is too long for one.
func seal(s *sign.Signer, suffix string, at int64, value any) string {
	raw, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	says := base64.RawURLEncoding.EncodeToString(raw)
	sealed := says + "." + s.Sign(sign.Claim{Purpose: sign.PurposeOIDC, Email: suffix + "\x00" + says, Time: time.Unix(at, 0)})
	if len(sealed) > maxSealed {
		return ""
	}
	return sealed
}

// unseal reads what seal has written into a cookie of the request, and reports whether that
// is good still. at is in it when it was written.
func unseal[T any](c *Call, suffix string, lifetime time.Duration, at func(*T) int64) *T {
	value, _ := sentCookie(c.Req, c.Realm.hostCookieName(c.Req, suffix))
	says, signature, ok := strings.Cut(value, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(says)
	out := new(T)
	if !ok || len(value) > maxSealed || err != nil || json.Unmarshal(raw, out) != nil {
		return nil
	}
	claim := sign.Claim{Purpose: sign.PurposeOIDC, Email: suffix + "\x00" + says, Time: time.Unix(at(out), 0)}
	if c.Signer.Verify(claim, signature, c.Realm.Now(), lifetime) != nil {
		return nil
	}
	return out
}

// KeepFlow leaves a flow with the browser; nil takes it away.
func (c *Call) KeepFlow(rep *Reply, f *OIDCFlow) {
	value := ""
	if f != nil {
		if value = seal(c.Signer, flowSuffix, f.Began, f); value == "" {
			f.Next = "" // the only part that may be long
			value = seal(c.Signer, flowSuffix, f.Began, f)
		}
	}
	rep.Kept = append(rep.Kept, c.Realm.hostCookie(c.Req, flowSuffix, value, FlowLifetime))
}

// Flow is what KeepFlow has left; nil: nothing, or it is too old.
func (c *Call) Flow() *OIDCFlow {
	return unseal(c, flowSuffix, FlowLifetime, func(f *OIDCFlow) int64 { return f.Began })
}

// KeepBrought leaves with the browser what it has brought back; nil takes it away.
func (c *Call) KeepBrought(rep *Reply, b *Brought) {
	value := ""
	if b != nil {
		if value = seal(c.Signer, broughtSuffix, b.At, b); value == "" { // somebody's names are no poem
			b.Who.Name, b.Who.GivenName, b.Who.FamilyName, b.Who.Username, b.Next = "", "", "", "", ""
			value = seal(c.Signer, broughtSuffix, b.At, b)
		}
	}
	rep.Kept = append(rep.Kept, c.Realm.hostCookie(c.Req, broughtSuffix, value, BroughtLifetime))
}

// Brought is what KeepBrought has left, of a provider that there is; nil: nothing.
func (c *Call) Brought() (*Brought, *oidc.Provider) {
	b := unseal(c, broughtSuffix, BroughtLifetime, func(b *Brought) int64 { return b.At })
	if b == nil {
		return nil, nil
	}
	if p := c.Policy.Provider(b.Provider); p != nil {
		return b, p
	}
	return nil, nil
}

// Returns makes an endpoint the one at which a browser comes back from elsewhere: its GET
// acts, its answer leads the browser on, without pages too, and refused does where it has
// brought nothing good.
func (e *Endpoint) Returns(refused func(http.ResponseWriter, *Call, *refusal.Error)) *Endpoint {
	e.linkActs, e.Methods, e.returned = true, []string{http.MethodGet}, refused
	return e
}

// comesBack answers a browser that comes back from elsewhere, or returns false where the
// usual answer is due.
func (r *Realm) comesBack(w http.ResponseWriter, c *Call, e *Endpoint, rep *Reply, err error, html bool) bool {
	switch {
	case e.returned == nil || !Navigates(c.Req):
		return false
	case err == nil && rep.Reload:
		reload(w, c)
	case err == nil && rep.SeeOther != "":
		if page, _, _ := strings.Cut(strings.TrimPrefix(rep.SeeOther, r.Path+"/"), "/"); rep.Detail.Id != "" {
			r.LeaveNote(w, c.Req, page, rep.Detail)
		}
		SeeOther(w, http.StatusSeeOther, rep.SeeOther)
	case err != nil && html:
		e.returned(w, c, AsRefusal(err))
	default:
		return false
	}
	return true
}

// FromElsewhere reports whether the browser keeps its session's cookie to itself, because
// another site has sent it here.
func (c *Call) FromElsewhere() bool {
	return c.Realm.sameSite == http.SameSiteStrictMode && c.Req.Header.Get("Sec-Fetch-Site") == "cross-site"
}

// reload has the browser ask again, as one that is here already.
func reload(w http.ResponseWriter, c *Call) {
	h := w.Header()
	h.Set("Refresh", "0")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'")
	inLanguage(w, c.Loc)
	_, _ = w.Write([]byte("<!DOCTYPE html><title>…</title>"))
}

// A PageProvider is the button that leads to a provider.
type PageProvider struct {
	Action, Submit string
	Hidden         []PageHidden
}

// PageLinked is an account elsewhere as the template sees it. Created and LastUsed are as in
// RFC 3339.
type PageLinked struct{ ID, Provider, Name, Created, LastUsed string }

// OfferProviders gives a page the buttons that lead to the providers, each with this text,
// which mentions its {provider}.
func (c *Call) OfferProviders(d *PageData, submit string) {
	for _, p := range c.Policy.Login.Providers {
		b := PageProvider{Action: c.Realm.Address("/oidc-login/"), Submit: c.Loc.Text(text.Say(submit, text.Params{"provider": p.Title}))}
		b.Hidden = append(b.Hidden, PageHidden{account.ParamProvider, p.Name})
		for name, value := range map[string]string{sign.ParamNext: c.Next, ParamReauth: c.In.Text(ParamReauth), sign.ParamInvitation: c.In.Text(sign.ParamInvitation)} {
			if value != "" {
				b.Hidden = append(b.Hidden, PageHidden{name, value})
			}
		}
		d.Providers = append(d.Providers, b)
	}
	d.LeadsElsewhere()
}

// elsewhere is what a page has for accounts elsewhere.
type elsewhere struct {
	// Providers are the buttons that lead there, Linked the accounts of who is signed in.
	Providers []PageProvider
	Linked    []PageLinked
	// leads: a form of the page leads there.
	leads bool
	// anew leads to a new sign-in, in place of what the page asks for; nil: it asks.
	anew *PageLink
}

// settle gives a page that asks for a new sign-in first the way there, and nothing else.
func (d *PageData) settle() {
	if d.anew == nil {
		return
	}
	d.Form, d.Passkey, d.Action = nil, nil, d.anew
	d.Text = append(d.Text, d.loc.Text(text.Say("page.sudo.provider")))
}

// LeadsElsewhere says that a form of the page leads to a provider, and from there who knows
// where: browsers hold all of that against form-action.
func (d *PageData) LeadsElsewhere() { d.leads = true }

// formsLead lets the forms of a page lead elsewhere where they do.
func (d *PageData) formsLead(r *Realm, csp string) string {
	if !d.leads || len(r.Options.Login.Providers) == 0 {
		return csp
	}
	targets := "form-action https:"
	for _, p := range r.Options.Login.Providers {
		if strings.HasPrefix(p.Issuer, "http://") {
			targets = "form-action https: http:"
		}
	}
	return strings.Replace(csp, "form-action", targets, 1)
}

// providerSudo has a page that asks who changes an account to sign in anew lead there, where
// that is by an account elsewhere: it has nothing to fill in before.
func (c *Call) providerSudo(d *PageData, f *Form) {
	for _, ff := range f.Fields {
		if !ff.sudo || c.Who == nil || c.SudoAsks(c.Who.User, c.Who.Session, ff.enrols) != account.ParamProvider {
			continue
		}
		page := "/" + d.Page + "/"
		back := c.Realm.WithNext(page, c.Next)
		if id := c.In.Text(account.ParamFactor); id != "" && len(id) <= field36 {
			back = WithParam(back, account.ParamFactor, id)
		}
		if p := c.In.Text(account.ParamProvider); c.Policy.Provider(p) != nil {
			back = WithParam(back, account.ParamProvider, p)
		}
		anew := PageLink{WithParam(c.Realm.WithNext("/login/", back), ParamReauth, "1"), c.Loc.Text(text.Say("link.sign_in_anew"))}
		if d.anew = &anew; d.Page == "profile" { // most of which needs nothing of the kind
			d.anew, d.Links = nil, append(d.Links, anew)
		}
		return
	}
}

// field36 is how long the text of an id is, in bytes.
const field36 = 36

// PaysSignUp has the call pay for a sign-up, whatever else its endpoint is.
func (c *Call) PaysSignUp() {
	c.Client.Spend = func() error {
		if c.Realm.Options.Unlimited {
			return nil
		}
		_, err := c.Realm.charge(c, "oidc-register", Spends{Throttle: account.ThrottleRegister}, nil)
		return err
	}
}

// LinkedName is what an account elsewhere is called: after its provider, and as its owner
// knows it.
func LinkedName(p *account.Policy, l *store.LinkedAccount) string {
	if of := p.ProviderOf(l); of != nil {
		return of.Title
	}
	return strings.TrimPrefix(l.Issuer, "https://")
}

// LinkedShown are the accounts elsewhere of an account, for programs.
func LinkedShown(p *account.Policy, u *store.User) []Object {
	list := make([]Object, len(u.LinkedAccounts))
	for i := range u.LinkedAccounts {
		l := &u.LinkedAccounts[i]
		var provider any
		if of := p.ProviderOf(l); of != nil {
			provider = of.Name
		}
		list[i] = NewObject("id", l.ID.String(), "provider", provider, "issuer", l.Issuer, "name", l.Name, "created", field.TimeValue(l.Created), "last_used", field.TimeValue(l.LastUsed))
	}
	return list
}

// linkedMembers are those of an account elsewhere in the list.
func linkedMembers(txt func(description string, examples ...any) Object) Object {
	stamp := Object{{"type", "string"}, {"format", "date-time"}}
	return Object{
		{"id", txt("For `unlink-oidc`.", ExampleID)},
		{"provider", Object{{"type", []string{"string", "null"}}, {"description", "Its name in the configuration."}}},
		{"issuer", txt("The provider's own identifier.", "https://accounts.google.com")},
		{"name", txt("The address or the name there.", "ada@example.com")},
		{"created", stamp},
		{"last_used", stamp},
	}
}
