// passkey.go: POST P/passkey-options and P/add-passkey: a passkey is made by the browser
// and added to the account.

package factors

import (
	"errors"
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// noPasskeys reports whether nobody can add a passkey.
func noPasskeys(s *web.Options) bool { return !s.Factors.Passkey || s.Factors.Passkeys == nil }

// EndpointPasskeyOptions says what a browser is to make a passkey of.
func EndpointPasskeyOptions(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "passkey-options", Methods: web.Post, Off: noPasskeys(r.Options), Act: actPasskeyOptions, Page: "add-passkey",
		Spends: web.Spends{Throttle: account.ThrottleProfile},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "What to make a passkey of", Success: http.StatusOK, Answer: web.SchemaPasskeyCreation,
			Description: "Good for 5 minutes and for this sign-in; `add-passkey` takes the browser's answer to it.",
			Inputs:      append([]web.InputDoc{challengeInput}, web.SudoInputs()...),
			Codes:       []refusal.Code{refusal.CodeNotAuthenticated, refusal.CodeChallengeExpired, refusal.CodeFactorLimit},
		},
	}
}

func actPasskeyOptions(c *web.Call) (*web.Reply, error) {
	if c.Who != nil {
		if err := c.Guess(); err != nil {
			return nil, err
		}
	}
	u, options, err := c.PasskeyCreation(c.Req.Context(), enroller(c), c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, User: u, Body: options}, nil
}

// EndpointAddPasskey adds the passkey that a browser has made. A sign-in that waited for
// a factor ends with it.
func EndpointAddPasskey(r *web.Realm) *web.Endpoint {
	s := r.Options
	fields := append([]web.FormField{web.NameField(account.ParamName, text.Say("field.factor_name"))}, web.SudoFields(true)...)
	if s.Register.Terms != "" {
		fields = append(fields, web.TermsField(s))
	}
	form := enrolling(text.Say("page.add_passkey.title"), text.Say("page.add_passkey.intro"), text.Say("page.add_passkey.submit"), fields...)
	form.Links = []web.FormLink{web.LinkTo("/factors/", text.Say("link.factors"))}
	why := forcedToEnrol()
	if s.Factors.TOTP {
		why = forcedToEnrol(web.LinkTo("/enrol-totp/", text.Say("link.enrol_totp")))
	}
	form.Complete = func(c *web.Call, d *web.PageData, owner *store.User) error {
		return errors.Join(askToCreate(c, d, owner), why(c, d, owner))
	}
	form.After = func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "factors"} }
	e := &web.Endpoint{
		Name: "add-passkey", Methods: web.Post, Off: noPasskeys(s), Act: actAddPasskey, GivesCookie: s.Login.Session,
		Spends: web.Spends{Throttle: account.ThrottleLogin},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "Add a passkey", Success: http.StatusCreated, Answer: web.SchemaFactorAdded,
			Description: "Without a name it gets that of what keeps it, where that is known. With the first factor come the recovery codes, which are told this once; who had to enrol is signed in. A sign-in goes on under a new cookie or token; the old one is void.",
			Inputs:      []web.InputDoc{web.PasskeyInput(true), nameInput(false), challengeInput},
			Codes:       []refusal.Code{refusal.CodeNotAuthenticated, refusal.CodeChallengeExpired, refusal.CodeFactorInvalid, refusal.CodeFactorLimit},
		},
		Form: form,
	}
	if s.Register.Terms != "" {
		e.Doc.Inputs = append(e.Doc.Inputs, web.TermsInput(s, false))
	}
	return e
}

// askToCreate gives the form the button that makes a passkey.
func askToCreate(c *web.Call, d *web.PageData, _ *store.User) error {
	who := enroller(c)
	if who.Challenge == "" {
		web.WithoutField(d, account.ParamTerms)
	} else if u, _, err := c.Asked(c.Req.Context(), who.Challenge, who.Browser); err != nil {
		return err
	} else if u.Terms == c.Policy.Register.Terms {
		web.WithoutField(d, account.ParamTerms)
	}
	button := c.NewPagePasskey("page.add_passkey.submit")
	if sudo := d.Form.Passkey; sudo != nil && sudo.Alone {
		button.Sudo = sudo.Sudo
	}
	button.Creates, button.Alone, button.Options = true, true, c.Realm.Address("/passkey-options/")
	d.Form.Passkey = button
	return nil
}

func actAddPasskey(c *web.Call) (*web.Reply, error) {
	got, err := c.AddPasskey(c.Req.Context(), enroller(c), c.In, c.Client, web.OldSession(c))
	if err != nil {
		return &web.Reply{User: got.User}, err
	}
	return added(c, got), nil
}
