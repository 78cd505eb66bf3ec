// oidc.go: POST P/oidc-login and GET P/oidc-callback/<name>: a sign-in by an account
// elsewhere: to the provider, and back from there.

package signin

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/oidc"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// providerInput names a provider.
var providerInput = web.NewInput(account.ParamProvider, true, web.NewObject("type", "string", "description", "Its name in the configuration.", "examples", []any{oidc.Google}))

// EndpointOIDCLogin sends a browser to a provider.
func EndpointOIDCLogin(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "oidc-login", Methods: web.Post, Off: len(r.Options.Login.Providers) == 0, Act: actOIDCLogin, GivesCookie: r.Options.Login.Session,
		Spends: web.Spends{Throttle: account.ThrottleLogin}, Page: "login",
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Sign in by an account elsewhere", Success: http.StatusOK, Answer: web.SchemaLocation,
			Description: "The answer says where the browser goes, and sets a cookie that it has to bring back; a form is sent there at once (303). From the provider it comes to `oidc-callback/<name>`. With `reauth`, the provider is told to ask anew who it is.",
			Inputs: []web.InputDoc{
				providerInput, web.NextInput, web.InvitationInput,
				web.NewInput(web.ParamReauth, false, web.NewObject("type", "boolean", "description", "Whether to show there again who one is, though one is signed in there.", "default", false)),
			},
			Codes: []refusal.Code{refusal.CodeOIDCUnavailable},
		},
	}
}

// providerNamed is the provider that an input names.
func providerNamed(c *web.Call) (*oidc.Provider, error) {
	var errs refusal.FieldErrors
	name := c.In.Required(account.ParamProvider, &errs)
	p := c.Policy.Provider(name)
	if p == nil && len(errs) == 0 {
		errs.Add(account.ParamProvider, refusal.CodeInvalidChoice)
	}
	return p, errs.Err()
}

func actOIDCLogin(c *web.Call) (*web.Reply, error) {
	p, err := providerNamed(c)
	if err != nil {
		return nil, err
	}
	var errs refusal.FieldErrors
	anew := c.In.Text(web.ParamReauth) == "1" || c.In.Switch(web.ParamReauth, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if err := c.Client.Spend(); err != nil {
		return nil, err
	}
	f := c.NewOIDCFlow(p)
	f.Anew = anew
	if invitation := c.In.Text(sign.ParamInvitation); len(invitation) <= maxInvitation {
		f.Invitation = invitation
	}
	return toProvider(c, p, f)
}

// maxInvitation bounds the token of an invitation that goes along, in bytes; ours have 43.
const maxInvitation = 64

// toProvider sends the browser on a flow.
func toProvider(c *web.Call, p *oidc.Provider, f *web.OIDCFlow) (*web.Reply, error) {
	location, err := p.Begin(c.Req.Context(), f.Protocol(c))
	if err != nil {
		return nil, refusedBy(c, p, err)
	}
	rep := &web.Reply{Status: http.StatusOK, Body: web.NewObject("location", location), SeeOther: location}
	c.KeepFlow(rep, f)
	return rep, nil
}

// maxCause is how much of what a provider says the log has, in bytes.
const maxCause = 500

// refusedBy makes a refusal of what has become of a provider's answer. The log says why.
func refusedBy(c *web.Call, p *oidc.Provider, err error) error {
	why := err.Error()
	c.Realm.Logger.Warn("a sign-in by an account elsewhere has failed", zap.String("realm", c.Realm.Name), zap.String("provider", p.Name), zap.String("error", why[:min(len(why), maxCause)]))
	refused := &refusal.Error{Code: refusal.CodeOIDCUnavailable, RetryAfter: retryProvider}
	switch {
	case errors.Is(err, oidc.ErrNotAnew):
		refused = refusal.New(refusal.CodeOIDCNotAnew)
	case errors.Is(err, oidc.ErrRefused):
		refused = refusal.New(refusal.CodeOIDCFailed)
	}
	c.Realm.SignInElsewhere(string(refused.Code))
	return refused
}

// retryProvider is when a provider may be there again that was not.
const retryProvider = 10 * time.Second

// OIDCCallbacks are the endpoints at which browsers come back, one for each provider: what
// one has sent no other can have.
func OIDCCallbacks(r *web.Realm) (list []func(*web.Realm) *web.Endpoint) {
	for _, p := range r.Options.Login.Providers {
		list = append(list, func(*web.Realm) *web.Endpoint { return oidcCallback(r, p) })
	}
	return list
}

func oidcCallback(r *web.Realm, p *oidc.Provider) *web.Endpoint {
	e := &web.Endpoint{
		Name: "oidc-callback/" + p.Name, After: afterSignUp, Act: func(c *web.Call) (*web.Reply, error) { return actOIDCCallback(c, p) },
		Doc: web.EndpointDoc{
			Operation: "oidcCallback" + p.Name,
			Tag:       web.TagSignIn, Summary: "Come back from " + p.Title, Success: http.StatusOK, Answer: web.SchemaSignIn, Or: web.SchemaChallenge, SetsCookie: r.Options.Login.Session,
			Description: "Where the provider sends the browser back to; a browser is led on from here (303): to where it wanted to go, to what is asked besides, or to the page on which a new account is made or the known one is linked. Each answer of a provider is good once, in the browser that was sent there.",
			Inputs: []web.InputDoc{
				web.NewInput("code", false, web.NewObject("type", "string")), web.NewInput("state", false, web.NewObject("type", "string")),
				web.NewInput("iss", false, web.NewObject("type", "string")), web.NewInput("error", false, web.NewObject("type", "string")),
			},
			Codes: []refusal.Code{
				refusal.CodeOIDCExpired, refusal.CodeOIDCDenied, refusal.CodeOIDCFailed, refusal.CodeOIDCNotAnew, refusal.CodeOIDCAnother, refusal.CodeOIDCUnavailable, refusal.CodeLinkedTaken, refusal.CodeLinkedLimit,
				refusal.CodeNotVerified, refusal.CodeApprovalPending, refusal.CodeDisabled, refusal.CodeNotAuthenticated,
			},
		},
	}
	return e.Returns(func(w http.ResponseWriter, c *web.Call, refused *refusal.Error) {
		page, back := "login", c.Realm.WithNext("/login/", c.Next)
		switch f := c.Flow(); {
		case f == nil || c.Who == nil:
		case f.Links != "":
			page, back = "factors", c.Realm.WithNext("/factors/", c.Next)
		case f.Anew:
			back = web.WithParam(back, web.ParamReauth, "1")
		}
		c.Realm.LeaveNote(w, c.Req, page, text.Say("error."+string(refused.Code)))
		web.SeeOther(w, http.StatusSeeOther, back)
	})
}

// once is what counts that each state is used once, for as long as it could be good.
var once = budget.Limit{Events: 1, Window: 2 * web.FlowLifetime}

// brings checks that a browser brings back what it was sent for. A flow without an error may
// go on.
func brings(c *web.Call, p *oidc.Provider) (*web.OIDCFlow, error) {
	expired := refusal.New(refusal.CodeOIDCExpired)
	f := c.Flow()
	if f == nil || f.Provider != p.Name || subtle.ConstantTimeCompare([]byte(f.State), []byte(c.In.Text("state"))) != 1 {
		return nil, expired
	}
	c.Next = c.Realm.Origins.SafeNext(f.Next) // the settings may have changed
	c.Client.Next = c.Next
	used := budget.Charge{Table: web.TableOIDCState, Key: account.BudgetKey(web.TableOIDCState, f.State), Limit: once}
	switch v, err := c.Throttles.Spend(c.Req.Context(), used); {
	case err != nil:
		return nil, account.StoreError(err)
	case v.Wait > 0:
		return nil, expired
	}
	if code := c.In.Text("error"); code != "" {
		if code == "access_denied" || code == "login_required" || code == "interaction_required" || code == "consent_required" {
			c.Realm.Logger.Info("a sign-in by an account elsewhere was not given", zap.String("realm", c.Realm.Name), zap.String("provider", p.Name), zap.String("error", code))
			c.Realm.SignInElsewhere(string(refusal.CodeOIDCDenied))
			return f, refusal.New(refusal.CodeOIDCDenied)
		}
		if code == "server_error" || code == "temporarily_unavailable" {
			return f, refusedBy(c, p, errors.Join(oidc.ErrUnavailable, errors.New("it says "+asciiOf(code))))
		}
		return f, refusedBy(c, p, errors.Join(oidc.ErrRefused, errors.New("it says "+asciiOf(code))))
	}
	return f, nil
}

// asciiOf is a code of a provider, fit for a log.
func asciiOf(code string) string {
	out := []byte(code[:min(len(code), 64)])
	for i, b := range out {
		if b < ' ' || b > '~' {
			out[i] = '?'
		}
	}
	return string(out)
}

func actOIDCCallback(c *web.Call, p *oidc.Provider) (*web.Reply, error) {
	if c.FromElsewhere() {
		return &web.Reply{Status: http.StatusOK, Reload: true, Body: web.Object{}}, nil
	}
	spent := &web.Reply{}
	f, err := brings(c, p)
	if err != nil {
		if f != nil {
			c.KeepFlow(spent, nil)
		}
		if f == nil && c.Who != nil && c.Flow() == nil { // the page was loaded anew, or gone back to
			return &web.Reply{Status: http.StatusOK, User: c.Who.User, SeeOther: c.Realm.AfterSignIn("")}, nil
		}
		return spent, err
	}
	c.KeepFlow(spent, nil)
	who, err := p.Finish(c.Req.Context(), f.Protocol(c), oidc.Answer{Code: c.In.Text("code"), Iss: c.In.Text("iss")})
	if err != nil {
		return spent, refusedBy(c, p, err)
	}
	rep, err := cameBack(c, p, f, who)
	if rep == nil {
		rep = spent
	} else {
		rep.Kept = append(rep.Kept, spent.Kept...)
	}
	return rep, err
}

// cameBack does what somebody has come back for.
func cameBack(c *web.Call, p *oidc.Provider, f *web.OIDCFlow, who *oidc.Identity) (*web.Reply, error) {
	if f.Links != "" {
		return linkBegun(c, f, who)
	}
	if f.Anew && c.Who != nil && !slices.ContainsFunc(c.Who.User.LinkedAccounts, func(l store.LinkedAccount) bool { return l.Issuer == who.Issuer && l.Subject == who.Subject }) {
		// He was to show once more who he is, and would go on to change another account.
		return nil, refusal.New(refusal.CodeOIDCAnother)
	}
	got, stranger, err := c.SignInFrom(c.Req.Context(), p, who, c.Client, web.OldSession(c))
	switch {
	case err != nil:
		return &web.Reply{User: got.User}, err
	case stranger == nil:
		return signedIn(c, got), nil
	}
	b := &web.Brought{Provider: p.Name, Who: *who, Next: c.Next, Invitation: f.Invitation, At: c.Realm.Now().Unix()}
	rep := &web.Reply{Status: http.StatusOK}
	if stranger.Known {
		rep.SeeOther, rep.Detail = c.Realm.WithNext("/login/", c.Realm.WithNext("/link-oidc/", c.Next)), text.Say("error."+string(refusal.CodeLinkedKnown))
		c.KeepBrought(rep, b)
		rep.Body = web.NewObject("location", rep.SeeOther)
		return rep, nil
	}
	// Where nothing is missing, nobody is asked anything.
	in := field.Input{}
	if f.Invitation != "" {
		in[sign.ParamInvitation] = field.Value{Kind: field.ValueText, Text: f.Invitation}
	}
	c.PaysSignUp()
	trial := c.Client
	trial.Trial = true
	if u, got, err := c.SignUpFrom(c.Req.Context(), p, who, in, trial, web.OldSession(c)); err == nil {
		return signedUp(c, u, got), nil
	} else if refused := web.AsRefusal(err); refused.Code == refusal.CodeUnavailable || refused.Code == refusal.CodeThrottled {
		return nil, err
	}
	rep.SeeOther = c.Realm.WithNext("/oidc-register/", c.Next)
	c.KeepBrought(rep, b)
	rep.Body = web.NewObject("location", rep.SeeOther)
	return rep, nil
}
