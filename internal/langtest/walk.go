// walk.go: the way through a site that shows everything once: every page, every
// endpoint with right and wrong input, every mail.

package langtest

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// A Client is one person's browser and API client, with one cookie jar, that
// asks for one language. It follows no redirect.
type Client interface {
	Send(method, path, accept, contentType, body string) (status int, header http.Header, answer string)
	// Mail waits for the next one.
	Mail() Mail
}

// Mail is what somebody reads.
type Mail struct{ Language, Subject, Text, HTML string }

// Walker walks with a client and fails the test at every English word.
type Walker struct {
	T      testing.TB
	Client Client
	Check  *Checker
	// Language is the tag that all has to be in.
	Language string
	seen     int
}

const (
	likeBrowser = "text/html,application/xhtml+xml,*/*;q=0.8"
	likeProblem = "application/problem+json"
	likeAPI     = "application/json"
	form        = "application/x-www-form-urlencoded"
	password    = "xkqz wvrt pfgh 42" //nolint:gosec // of accounts that a test makes
)

var linkIn = regexp.MustCompile(`https?://\S+`)

func (w *Walker) complain(where string, found []string) {
	w.T.Helper()
	for _, f := range found {
		w.T.Errorf("%s, %s: English: %s", w.Language, where, f)
	}
}

// send checks one answer and returns its status and, for a redirect, the target.
func (w *Walker) send(method, path, accept, contentType, body string) (int, string) {
	w.T.Helper()
	status, header, answer := w.Client.Send(method, path, accept, contentType, body)
	where := fmt.Sprintf("%s %s for %s: %d", method, path, accept, status)
	if answer == "" || path == "/" { // the front page is the site's own
		return status, header.Get("Location")
	}
	w.seen++
	if language := header.Get("Content-Language"); language != "" || status >= 400 {
		if language != w.Language {
			w.T.Errorf("%s: Content-Language %q, want %q: %s", where, language, w.Language, answer)
		}
		if vary := strings.Join(header.Values("Vary"), ", "); !strings.Contains(vary, "Accept-Language") {
			w.T.Errorf("%s: Vary %q", where, vary)
		}
	}
	if strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		if !strings.Contains(answer, `<html lang="`+w.Language+`"`) {
			w.T.Errorf("%s: not in %s", where, w.Language)
		}
		w.complain(where, w.Check.HTML(answer))
	} else {
		w.complain(where, w.Check.JSON(answer))
	}
	return status, header.Get("Location")
}

// page opens a page as a browser does, redirects followed.
func (w *Walker) page(want int, path string) {
	w.T.Helper()
	w.follow(want, http.MethodGet, path, "")
}

func (w *Walker) follow(want int, method, path, body string) {
	w.T.Helper()
	start := path
	for range 5 {
		contentType := ""
		if method == http.MethodPost {
			contentType = form
		}
		status, to := w.send(method, path, likeBrowser, contentType, body)
		if to == "" {
			if status != want {
				w.T.Errorf("%s, %s: status %d, want %d", w.Language, start, status, want)
			}
			return
		}
		if u, err := url.Parse(to); err == nil {
			path = u.RequestURI()
		}
		method, body = http.MethodGet, ""
	}
	w.T.Errorf("%s: redirected in a circle", start)
}

// submit sends a form as a browser does.
func (w *Walker) submit(want int, endpoint string, values ...string) {
	w.T.Helper()
	w.follow(want, http.MethodPost, "/accounts/"+endpoint+"/", encode(values))
}

// refused sends the same three ways: from a page, and to the API in both shapes.
func (w *Walker) refused(status int, endpoint string, values ...string) {
	w.T.Helper()
	w.submit(status, endpoint, values...)
	for _, accept := range []string{likeAPI, likeProblem} {
		if got, _ := w.send(http.MethodPost, "/accounts/"+endpoint, accept, form, encode(values)); got != status {
			w.T.Errorf("%s: status %d, want %d", endpoint, got, status)
		}
	}
}

func encode(values []string) string {
	q := url.Values{}
	for i := 0; i+1 < len(values); i += 2 {
		q.Set(values[i], values[i+1])
	}
	return q.Encode()
}

// mail checks the next mail and returns what its link carries, as form values.
func (w *Walker) mail() (path string, values []string) {
	w.T.Helper()
	m := w.Client.Mail()
	w.seen++
	if m.Language != w.Language {
		w.T.Errorf("mail in %q, want %q: %s", m.Language, w.Language, m.Subject)
	}
	w.complain("subject", w.Check.Text(m.Subject))
	w.complain("mail", w.Check.Text(linkIn.ReplaceAllString(m.Text, "")))
	w.complain("HTML of a mail", w.Check.HTML(linkIn.ReplaceAllString(m.HTML, `"`)))
	u, err := url.Parse(linkIn.FindString(m.Text))
	if err != nil || u.Path == "" {
		return "", nil
	}
	for name, v := range u.Query() {
		values = append(values, name, v[0])
	}
	return u.RequestURI(), values
}

// Walk goes through everything as the stranger who becomes the member name.
func (w *Walker) Walk(name string) {
	t := w.T
	t.Helper()
	mailbox := func(i int) string { return fmt.Sprintf("%s%d@example.org", name, i) }

	for _, page := range []string{"login", "register", "resend-verification", "send-reset-password-link"} {
		w.page(http.StatusOK, "/accounts/"+page+"/")
		w.page(http.StatusOK, "/accounts/"+page+"/?next=%2Fmembers%2F")
	}
	for _, page := range []string{"profile", "change-password", "register-email", "sessions"} {
		w.page(http.StatusOK, "/accounts/"+page+"/")
	}
	w.page(http.StatusOK, "/members/")
	w.page(http.StatusNotFound, "/accounts/xyz/")
	for _, page := range []string{"verify-registration", "reset-password", "verify-email", "undo-email"} {
		w.page(http.StatusBadRequest, "/accounts/"+page+"/?user_id=x&timestamp=1&signature=x&email=a%40example.org")
		w.refused(http.StatusBadRequest, page, "user_id", "x", "timestamp", "1", "signature", "x", "email", "a@example.org", "password", password)
		w.refused(http.StatusBadRequest, page)
	}
	for _, accept := range []string{likeAPI, likeProblem} {
		for _, c := range []struct {
			method, path, contentType, body string
			want                            int
		}{
			{"GET", "/members/", "", "", 401},
			{"GET", "/accounts/profile", "", "", 401},
			{"POST", "/accounts/logout", likeAPI, "{}", 401},
			{"GET", "/accounts/xyz", "", "", 404},
			{"DELETE", "/accounts/login", "", "", 405},
			{"POST", "/accounts/login", "text/plain", "x", 415},
			{"POST", "/accounts/login", likeAPI, `{"login": "` + strings.Repeat("x", 65<<10) + `"}`, 413},
			{"POST", "/accounts/login", likeAPI, `{`, 400},
			{"POST", "/accounts/login", likeAPI, `{} {}`, 400},
			{"POST", "/accounts/login", likeAPI, `[]`, 400},
			{"POST", "/accounts/login", likeAPI, "{\"login\": \"\xff\"}", 400},
			{"POST", "/accounts/login", form, "%zz", 400},
			{"POST", "/accounts/login", "multipart/form-data", "x", 400},
			{"POST", "/accounts/login", "multipart/form-data; boundary=x", "x", 400},
			{"POST", "/accounts/register", likeAPI, `{"username": null, "email": 3, "password": [], "password_confirm": {}}`, 400},
		} {
			if got, _ := w.send(c.method, c.path, accept, c.contentType, c.body); got != c.want {
				t.Errorf("%s %s %.40s: status %d, want %d", c.method, c.path, c.body, got, c.want)
			}
		}
	}

	w.refused(http.StatusBadRequest, "register")
	w.refused(http.StatusBadRequest, "register", "username", strings.Repeat("x", 151), "email", "x", "password", "1", "password_confirm", "2")
	w.refused(http.StatusBadRequest, "register", "username", name, "email", mailbox(1), "password", "12345678", "password_confirm", "x")
	w.refused(http.StatusBadRequest, "register", "username", "abcdefghi", "email", mailbox(1), "password", "abcdefghi1", "password_confirm", "abcdefghi1")
	w.submit(http.StatusOK, "register", "username", name, "email", mailbox(1), "password", password, "password_confirm", password)
	w.mail()
	w.refused(http.StatusBadRequest, "register", "username", name, "email", mailbox(2), "password", password, "password_confirm", password)
	w.submit(http.StatusOK, "resend-verification", "login", name)
	link, values := w.mail()
	w.send(http.MethodPost, "/accounts/resend-verification", likeAPI, form, encode([]string{"login", "nemo"}))
	w.page(http.StatusOK, link)
	// The browser signs up once more, and is no longer known for the first account.
	w.submit(http.StatusOK, "register", "username", name+"4", "email", mailbox(4), "password", password, "password_confirm", password)
	w.mail()
	w.page(http.StatusOK, link)
	w.send(http.MethodPost, "/accounts/verify-registration/", likeBrowser, form, encode(append(values, "password", "x")))
	w.submit(http.StatusOK, "verify-registration", append(values, "password", password)...)
	w.submit(http.StatusOK, "verify-registration", values...) // pressed twice
	w.follow(http.StatusOK, http.MethodGet, "/accounts/verify-registration/?"+encode(values), "")
	if got, _ := w.send(http.MethodPost, "/accounts/verify-registration", likeAPI, form, encode(values)); got != http.StatusBadRequest {
		w.T.Errorf("a used link: status %d, want 400", got)
	}
	w.submit(http.StatusOK, "register", "username", name+"2", "email", mailbox(1), "password", password, "password_confirm", password)
	w.mail() // the owner of the address is told

	w.refused(http.StatusBadRequest, "login")
	w.refused(http.StatusBadRequest, "login", "login", name, "password", "x")
	w.send(http.MethodPost, "/accounts/login", likeAPI, form, encode([]string{"login", name, "password", password}))
	w.submit(http.StatusOK, "login", "login", name, "password", password)
	for _, page := range []string{"profile", "change-password", "register-email", "sessions", "logout"} {
		w.page(http.StatusOK, "/accounts/"+page+"/")
	}
	name += "n"
	w.submit(http.StatusOK, "profile", "username", name, "first_name", "Zyx", "last_name", "Xyz")
	w.mail() // the owner is told
	w.refused(http.StatusBadRequest, "profile", "username", "!", "first_name", strings.Repeat("x", 151), "last_name", "")
	w.refused(http.StatusBadRequest, "change-password")
	w.refused(http.StatusBadRequest, "change-password", "old_password", "x", "password", password, "password_confirm", "y")
	w.submit(http.StatusOK, "change-password", "old_password", password, "password", password+" 2", "password_confirm", password+" 2")
	w.mail() // the owner is told
	w.send(http.MethodPost, "/accounts/revoke-session", likeAPI, form, "others=on")
	w.refused(http.StatusBadRequest, "register-email", "email", "x")
	w.submit(http.StatusOK, "register-email", "email", mailbox(3))
	link, values = w.mail()
	w.submit(http.StatusOK, "logout")
	w.page(http.StatusOK, link) // leads to the sign-in
	w.submit(http.StatusOK, "login", "login", name, "password", password+" 2")
	w.page(http.StatusOK, link)
	w.submit(http.StatusOK, "verify-email", values...)
	link, _ = w.mail() // to the old address
	w.page(http.StatusOK, link)
	w.submit(http.StatusOK, "logout")
	w.page(http.StatusOK, "/accounts/logout/")

	w.refused(http.StatusBadRequest, "send-reset-password-link")
	w.submit(http.StatusOK, "send-reset-password-link", "login", name)
	link, values = w.mail()
	w.page(http.StatusOK, link)
	w.refused(http.StatusBadRequest, "reset-password", append(values, "password", "x")...)
	w.submit(http.StatusOK, "reset-password", append(values, "password", password+" 3")...)
	w.mail() // the owner is told
	if w.seen < 100 {
		t.Errorf("only %d pages, answers and mails were seen", w.seen)
	}
}
