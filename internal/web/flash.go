// flash.go: what one page tells the next one after a redirect: a short-lived
// cookie that says what has been done. It signs nobody in and grants nothing.

package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

const (
	// flashSuffix is added to the name of the session cookie.
	flashSuffix   = "_flash"
	flashLifetime = 10 * time.Minute
	// maxFlash is in bytes; addresses have 254 at most.
	maxFlash = 2048
	// flashWord is before the name of a word of the message.
	flashWord = "_"
)

// flash is what has been done.
type flash struct {
	// page names the page that tells it: on any other it would be about something
	// else than what is seen there.
	page string
	// detail is the id of the message; "": there is nothing to tell.
	detail string
	// words are what else the message mentions, by its placeholders: an address, a date.
	words map[string]string
	// name and value are the input that would ask for the mail again, or the passkey that
	// is unknown.
	name, value string
	// count is a number that the message mentions.
	count int
	// names are those of whom it is about, told behind it.
	names string
}

func (f flash) phrase() text.Phrase {
	params := text.Params{"count": f.count, sign.ParamEmail: ""}
	for name, word := range f.words {
		if name == sign.ParamEmail {
			word = hostname.DisplayAddress(word)
		}
		params[name] = word
	}
	p := text.Say(f.detail, params)
	if f.names != "" {
		p = text.Say("detail.admin_named", text.Params{"done": p, "names": f.names})
	}
	return p
}

// tell gives a page its note, and who is refused for good somebody to ask. The note of a
// page that says when a mail is on its way is of that one.
func (c *Call) tell(d *PageData, e *Endpoint, f flash) {
	if e.Form.Sent != "" {
		return
	}
	d.Note = c.Loc.Text(f.phrase())
	c.tellUnknown(d, f)
	if code, refused := strings.CutPrefix(f.detail, "error."); refused && slices.Contains(noWayOn, refusal.Code(code)) {
		d.Links = append(d.Links, c.Realm.LinkToContact(c.Loc)...)
	}
}

// LeaveNote tells the next page of this name what has been done. The message may mention
// words and a number (count); names are told behind it.
func (r *Realm) LeaveNote(w http.ResponseWriter, req *http.Request, page string, done text.Phrase) {
	r.setFlash(w, req, newFlash(page, done))
}

func newFlash(page string, done text.Phrase) flash {
	f := flash{page: page, detail: done.Id, words: map[string]string{}}
	f.count, _ = done.Params["count"].(int)
	for name, param := range done.Params {
		if word, ok := param.(string); ok {
			f.words[name] = word
		}
	}
	f.names = f.words["names"]
	delete(f.words, "names")
	return f
}

// sendWithNote sends a browser where a reply has it go, with a note for the page there.
func (r *Realm) sendWithNote(w http.ResponseWriter, c *Call, rep *Reply) {
	if rep.Note != "" {
		r.LeaveNote(w, c.Req, rep.Note, rep.Detail)
	}
	SeeOther(w, http.StatusSeeOther, rep.SeeOther)
}

// TakeNote is what LeaveNote has left for a page, in words, "" where there is nothing.
func (r *Realm) TakeNote(w http.ResponseWriter, c *Call, page string) string {
	f := r.takeFlash(w, c.Req, page, false)
	if f.detail == "" {
		return ""
	}
	return c.Loc.Text(f.phrase())
}

// setFlash leaves the message for the page that it names.
func (r *Realm) setFlash(w http.ResponseWriter, req *http.Request, f flash) {
	if f.detail == "" {
		return
	}
	values := url.Values{"p": {f.page}, "d": {f.detail}, "n": {f.name}, "v": {f.value}, "c": {strconv.Itoa(f.count)}, "w": {f.names}}
	for name, word := range f.words {
		values.Set(flashWord+name, word)
	}
	value := values.Encode()
	if len(value) <= maxFlash {
		http.SetCookie(w, r.newCookie(req, flashSuffix, value, int(flashLifetime/time.Second)))
	}
}

// SignInAgain leads a browser to the sign-in whose challenge is no good any more, and
// says so; told is false where it brings none, and there is nothing to say.
func (c *Call) SignInAgain(w http.ResponseWriter, status int, told bool) {
	target := c.Realm.WithNext("/login/", c.Next)
	switch {
	case told:
		c.Realm.setFlash(w, c.Req, flash{page: "login", detail: "detail.sign_in_again"})
	case c.In.Text(ParamKept) == "1": // it has been left with a browser that keeps no cookie
		target = WithParam(target, ParamKept, "1")
	}
	SeeOther(w, status, target)
}

// BackToSignIn leads a browser back to the sign-in page, which says what went wrong. unknown
// is the id of a passkey that no account has; "": that is not what went wrong.
func (c *Call) BackToSignIn(w http.ResponseWriter, detail, unknown string) {
	f := flash{page: "login", detail: detail}
	if unknown != "" {
		f.name, f.value = account.ParamPasskey, unknown
	}
	c.Realm.setFlash(w, c.Req, f)
	SeeOther(w, http.StatusSeeOther, c.Realm.WithNext("/login/", c.Next))
}

// takeFlash returns the message for a page, and takes it away unless the page keeps
// it for when it is loaded anew: it is told once, and never on a later page.
func (r *Realm) takeFlash(w http.ResponseWriter, req *http.Request, page string, keep bool) flash {
	value, sent := sentCookie(req, r.cookieName(req)+flashSuffix)
	if !sent || len(value) > maxFlash {
		return flash{}
	}
	values, err := url.ParseQuery(value)
	f := flash{page: values.Get("p"), detail: values.Get("d"), name: values.Get("n"), value: values.Get("v"), names: values.Get("w"), words: map[string]string{}}
	for key := range values {
		if name, isWord := strings.CutPrefix(key, flashWord); isWord {
			f.words[name] = values.Get(key)
		}
	}
	f.count, _ = strconv.Atoi(values.Get("c"))
	f.count = max(0, f.count)
	mine := err == nil && f.page == page
	if (!keep || !mine) && req.Method == http.MethodGet && !fetchesAhead(req.Header) {
		http.SetCookie(w, r.newCookie(req, flashSuffix, "", -1))
	}
	// Who comes back from a provider may be told of a refusal.
	refusals := len(r.Options.Login.Providers) > 0 && strings.HasPrefix(f.detail, "error.")
	if !mine || !strings.HasPrefix(f.detail, "detail.") && !refusals {
		return flash{}
	}
	return f
}
