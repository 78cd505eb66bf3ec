// passkey.go: what pages and cookies have for passkeys: the button that the one script
// brings to life, and what binds a challenge to the browser that asked for it.

package web

import (
	"encoding/base64"
	"net/http"
	"slices"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/templates"
)

// The scripts of the pages: of those that ask for a password and of those that ask for a
// passkey, which has the first in it. Without them all works as before.
const (
	passwordScript = "password.js"
	passkeyScript  = "passkey.js"
)

// What is added to the policies of those pages, and of no others.
const (
	scriptCSP  = "; script-src 'self'"
	passkeyCSP = scriptCSP + "; connect-src 'self'"
)

// serveScripts reads the scripts that the pages of these options need.
func (p *pages) serveScripts(passkeys bool) error {
	show, err := readScript(passwordScript)
	if err != nil {
		return err
	}
	const contentType = "text/javascript; charset=utf-8"
	p.passwordScript = p.serveFile(passwordScript, contentType, show)
	if passkeys {
		ask, err := readScript(passkeyScript)
		if err != nil {
			return err
		}
		p.passkeyScript = p.serveFile(passkeyScript, contentType, append(ask, show...))
	}
	return nil
}

// readScript reads a script without its comments and indents, which nobody has to load.
func readScript(name string) ([]byte, error) {
	raw, err := templates.FS.ReadFile("pages/" + name)
	return scriptComment().ReplaceAll(raw, nil), err
}

var scriptComment = pattern.Of(`(?m)^\s*(?://.*\n)?\s*| // [^'"\n]*$`)

// A PagePasskey is the button that asks a browser for a passkey. It is hidden until the
// script has shown it.
type PagePasskey struct {
	// Creates: it makes one; else it uses one. Options is the address that says what to ask.
	Creates bool
	Options string
	Submit  string
	// Sudo is the address that says what to ask of who shows that the account is his: by
	// this passkey or, where one is made, by another one before; "": nobody has to.
	Sudo string
	// Autofill: the browser also offers passkeys among what it fills in.
	Autofill bool
	// Alone: the form is sent by it alone.
	Alone bool
	// Unknown is a passkey that somebody has just tried and that is no account's: its id,
	// for the browser to have its keeper forget it. Domain is whose it was.
	Unknown, Domain string
	// Cancelled, Failed and Exists are what the script can have to say; Needed, what
	// stands there without it.
	Cancelled, Failed, Exists, Needed string
}

// NewPagePasskey returns a button with this text and the words of the script.
func (c *Call) NewPagePasskey(submit string) *PagePasskey {
	say := func(id string) string { return c.Loc.Text(text.Say(id)) }
	return &PagePasskey{
		Options: c.Realm.Address("/passkey-login-options/"), Submit: say(submit),
		Cancelled: say("page.passkey.cancelled"), Failed: say("page.passkey.failed"), Exists: say("page.passkey.exists"), Needed: say("page.passkey.needed"),
	}
}

// passkeySudo gives a form with SudoFields the button for who can open it by a passkey.
func (c *Call) passkeySudo(d *PageData, f *Form) {
	c.providerSudo(d, f)
	i := slices.IndexFunc(f.Fields, func(ff FormField) bool { return ff.sudo })
	if i < 0 || c.Who == nil || d.Form.Passkey != nil {
		return
	}
	if first := c.SudoAsks(c.Who.User, c.Who.Session, f.Fields[i].enrols); first == "" || !c.SudoByPasskey(c.Who.User) {
		return
	} else if d.Form.Passkey = c.NewPagePasskey("page.passkey.sudo"); first == account.ParamPasskey {
		d.Form.Passkey.Alone = true
	}
	d.Form.Passkey.Sudo = d.Form.Passkey.Options
}

// SentPasskey is the id of the passkey whose answer a call brings; "": it can't be read.
func (c *Call) SentPasskey() string {
	a, err := factor.ReadAssertion([]byte(c.In.Nested(account.ParamPasskey)))
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(a.Credential)
}

// tellUnknown has the sign-in page tell the keeper of a passkey that no account has it.
func (c *Call) tellUnknown(d *PageData, f flash) {
	if d.Passkey != nil && f.name == account.ParamPasskey {
		d.Passkey.Passkey.Unknown, d.Passkey.Passkey.Domain = f.value, c.Realm.Options.Factors.Passkeys.ID()
	}
}

// script is the address of the script where a page needs it, else "".
func (d *PageData) script(p *pages) string {
	switch {
	case d.Passkey != nil || d.Form != nil && d.Form.Passkey != nil:
		return p.passkeyScript
	case d.Form != nil && slices.ContainsFunc(d.Form.Fields, func(f PageField) bool { return f.Reveal != nil }):
		return p.passwordScript
	}
	return ""
}

// passkeySuffix is of the cookie that binds the challenge of a passkey to the browser
// which asked for it to sign in.
const passkeySuffix = "_passkey"

// maxPasskeyCookie bounds its value, in bytes; ours have 22.
const maxPasskeyCookie = 64

// PasskeyDevice is what the browser keeps that was asked for a passkey; "": nothing.
func (c *Call) PasskeyDevice() string {
	value, _ := sentCookie(c.Req, c.Realm.cookieName(c.Req)+passkeySuffix)
	if len(value) > maxPasskeyCookie {
		return ""
	}
	return value
}

// NewPasskeyDevice is what a browser keeps that is asked: what it has already, so that
// each of its tabs can be answered, or a new one. Where no session will be made it is "".
func (c *Call) NewPasskeyDevice() string {
	if !c.Realm.Options.Login.Session {
		return ""
	}
	if kept := c.PasskeyDevice(); kept != "" {
		return kept
	}
	return sign.NewBrowser()
}

// keepPasskeyDevice leaves it with the browser. Once somebody is signed in, it goes.
func (r *Realm) keepPasskeyDevice(w http.ResponseWriter, c *Call, rep *Reply) {
	switch {
	case rep == nil:
	case rep.PasskeyDevice != "":
		http.SetCookie(w, r.newCookie(c.Req, passkeySuffix, rep.PasskeyDevice, int(factor.PasskeyLifetime/time.Second)))
	case rep.Cookie != "" && c.PasskeyDevice() != "":
		http.SetCookie(w, r.newCookie(c.Req, passkeySuffix, "", -1))
	}
}
