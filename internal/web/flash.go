// flash.go: what one page tells the next one after a redirect: a short-lived
// cookie that says what has been done. It signs nobody in and grants nothing.

package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/text"
)

const (
	// flashSuffix is added to the name of the session cookie.
	flashSuffix   = "_flash"
	flashLifetime = 10 * time.Minute
	// maxFlash is in bytes; addresses have 254 at most.
	maxFlash = 2048
)

// flash is what has been done.
type flash struct {
	// detail is the id of the message; "": there is nothing to tell.
	detail string
	// email is the address that the message mentions.
	email string
	// name and value are the input that would ask for the mail again.
	name, value string
}

func (f flash) phrase() text.Phrase { return text.Say(f.detail, text.Params{"email": f.email}) }

// setFlash leaves the message for the next page.
func (r *Realm) setFlash(w http.ResponseWriter, req *http.Request, f flash) {
	if f.detail == "" {
		return
	}
	value := url.Values{"d": {f.detail}, "e": {f.email}, "n": {f.name}, "v": {f.value}}.Encode()
	if len(value) <= maxFlash {
		http.SetCookie(w, r.newCookie(req, flashSuffix, value, int(flashLifetime/time.Second)))
	}
}

// takeFlash returns the message, and with clear takes it away: it is told once.
func (r *Realm) takeFlash(w http.ResponseWriter, req *http.Request, clear bool) flash {
	value, sent := SentCookie(req, r.cookieName(req)+flashSuffix)
	if !sent || len(value) > maxFlash {
		return flash{}
	}
	values, err := url.ParseQuery(value)
	f := flash{detail: values.Get("d"), email: values.Get("e"), name: values.Get("n"), value: values.Get("v")}
	if clear && req.Method == http.MethodGet && !fetchesAhead(req.Header) {
		http.SetCookie(w, r.newCookie(req, flashSuffix, "", -1))
	}
	if err != nil || !strings.HasPrefix(f.detail, "detail.") {
		return flash{}
	}
	return f
}
