// one_email_golden_test.go: with one address an account (max_emails 1, which is the default)
// all that several addresses touched answers as it did before there could be several: the
// golden was written by the version before.

package self_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
)

var update = flag.Bool("update", false, "write the goldens")

// drawn is what differs from run to run.
var drawn = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<id>"},
	{regexp.MustCompile(`signature=[^&\s]+`), "signature=<signature>"},
	{regexp.MustCompile(`(registration[a-z_]*)=[^;]+`), "$1=<secret>"},
	// What later versions added on purpose: notices say when and where from.
	{regexp.MustCompile(`\nTime: .*\nDevice: .*\nIP address: .*\n`), ""},
}

// later is the cookie by which later versions know a device, for the mail about a new one.
const later = "registration_known="

func masked(text string) string {
	for _, d := range drawn {
		text = d.re.ReplaceAllString(text, d.by)
	}
	return text
}

// story writes down what is asked and what comes back.
type story struct {
	*strings.Builder
	s *sitetest.Site
}

func (st story) say(format string, args ...any) {
	_, _ = fmt.Fprintf(st, format+"\n", args...)
}

// ask sends a request and returns its answer.
func (st story) ask(b *sitetest.Browser, method, path string, body sitetest.Data) {
	st.s.T.Helper()
	var sent any
	asked := ""
	if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(st.s.T, err)
		asked, sent = " "+regexp.MustCompile(`"signature":"[^"]+"`).ReplaceAllString(string(raw), `"signature":"<signature>"`), body
	}
	res := b.Do(method, "/accounts"+path, sent)
	st.say("> %s %s%s", method, path, masked(asked))
	st.say("< %d", res.StatusCode)
	for _, name := range []string{"Allow", "Cache-Control", "Content-Language", "Content-Type", "Location", "Referrer-Policy", "Retry-After", "Set-Cookie", "Vary", "Www-Authenticate", "X-Content-Type-Options"} {
		for _, v := range res.Header.Values(name) {
			if !strings.HasPrefix(v, later) {
				st.say("< %s: %s", name, masked(v))
			}
		}
	}
	st.say("%s\n", masked(strings.TrimSuffix(res.Text, "\n")))
}

// mails writes down what was mailed, by whom it goes to, and returns what each link carries.
func (st story) mails() map[string]sitetest.Data {
	st.s.T.Helper()
	require.Eventually(st.s.T, func() bool { return sitetest.QueueEmpty(st.s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
	links := map[string]sitetest.Data{}
	var got []*mail.Message
	for _, from := range []chan *mail.Message{st.s.Mailer.Sent, st.s.Mailer.Told} {
		for range len(from) {
			got = append(got, <-from)
		}
	}
	slices.SortStableFunc(got, func(a, b *mail.Message) int { return strings.Compare(a.To, b.To) })
	for _, m := range got {
		st.say("mail to %s: %s\n%s", m.To, m.Subject, masked(m.Text))
		if strings.Contains(m.Text, "signature=") {
			links[m.To] = sitetest.LinkOf(m, st.s.T)
		}
	}
	return links
}

const post, get = http.MethodPost, http.MethodGet

// changeAndUndo is a change of address from beginning to end, with all that is refused.
func (st story) changeAndUndo() {
	s := st.s
	b := s.SignedIn("ada").Problems()
	st.ask(b, get, "/profile", nil)
	for _, body := range []sitetest.Data{{}, {"email": ""}, {"email": "no address"}, {"email": 1}, {"email": "ada@example.org"}, {"email": "ADA@example.org"}, {"email": "bob@example.org"}} {
		st.ask(b, post, "/register-email", body)
		st.mails()
	}
	st.ask(b, get, "/register-email", nil)
	st.ask(s.Browser().Problems(), post, "/register-email", sitetest.Data{"email": "ada@new.example"})
	st.ask(b, post, "/register-email", sitetest.Data{"email": "ada@New.example"})
	link := st.mails()["ada@new.example"]
	st.ask(b, get, "/profile", nil)
	for _, login := range []string{"ada", "ada@example.org", "ADA@Example.org", "ada@new.example", "bob@example.org"} {
		st.ask(s.Browser().Problems(), post, "/login", sitetest.Data{"login": login, "password": sitetest.Password})
	}
	st.ask(s.Browser().Problems(), post, "/verify-email", sitetest.With(link, sitetest.Data{"signature": "no"}))
	st.ask(s.Browser().Problems(), post, "/verify-email", sitetest.With(link, sitetest.Data{"email": "eve@example.net"}))
	st.ask(s.Browser().Problems(), post, "/verify-email", sitetest.Data{})
	st.ask(s.Browser().Problems(), post, "/verify-email", link)
	undo := st.mails()["ada@example.org"]
	st.ask(s.Browser().Problems(), post, "/verify-email", link)
	st.ask(b, get, "/profile", nil)
	for _, login := range []string{"ada", "ada@example.org", "ada@new.example"} {
		st.ask(s.Browser().Problems(), post, "/login", sitetest.Data{"login": login, "password": sitetest.Password})
	}
	st.ask(s.Browser().Problems(), post, "/undo-email", sitetest.With(undo, sitetest.Data{"signature": "no"}))
	st.ask(s.Browser().Problems(), post, "/undo-email", undo)
	st.mails()
	st.ask(s.Browser().Problems(), post, "/undo-email", undo)
	st.ask(b, get, "/profile", nil)
}

// reset is a password that was forgotten, asked for by name and by address.
func (st story) reset() {
	s := st.s
	for _, login := range []string{"", "ada", "ada@example.org", "ADA@example.ORG", "nobody@example.org"} {
		st.ask(s.Browser().Problems(), post, "/send-reset-password-link", sitetest.Data{"login": login})
		if login == "" || strings.HasPrefix(login, "nobody") {
			continue
		}
		link := st.mails()["ada@example.org"]
		st.ask(s.Browser().Problems(), post, "/reset-password", sitetest.With(link, sitetest.Data{"password": "1"}))
		st.ask(s.Browser().Problems(), post, "/reset-password", sitetest.With(link, sitetest.Data{"password": sitetest.NewPassword}))
		st.ask(s.Browser().Problems(), post, "/reset-password", sitetest.With(link, sitetest.Data{"password": sitetest.NewPassword}))
		st.mails()
	}
}

// overtaken are the address that somebody else gets first, and the link that is too old.
func (st story) overtaken() {
	s := st.s
	b := s.SignedIn("bob").Problems()
	st.ask(b, post, "/register-email", sitetest.Data{"email": "eve@example.org"})
	link := st.mails()["eve@example.org"]
	require.Equal(s.T, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("eve")).StatusCode)
	require.Equal(s.T, http.StatusOK, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), s.T)).StatusCode)
	st.ask(s.Browser().Problems(), post, "/verify-email", link)
	st.ask(b, post, "/register-email", sitetest.Data{"email": "bob@late.example"})
	link = st.mails()["bob@late.example"]
	s.Travel(8 * 24 * time.Hour)
	st.ask(s.Browser().Problems(), post, "/verify-email", link)
	b = s.SignedIn("bob").Problems()
	s.Travel(time.Hour) // the password is asked for again
	st.ask(b, post, "/register-email", sitetest.Data{"email": "bob@new.example"})
	st.ask(b, post, "/register-email", sitetest.Data{"email": "bob@new.example", "password": "wrong"})
	st.ask(b, post, "/register-email", sitetest.Data{"email": "bob@new.example", "password": sitetest.Password})
	st.mails()
}

// document writes down what the API's document says of these endpoints.
func (st story) document() {
	var doc struct {
		Paths map[string]json.RawMessage `json:"paths"`
	}
	require.NoError(st.s.T, json.Unmarshal([]byte(st.s.Browser().Get("/accounts/openapi.json").Text), &doc))
	for _, path := range []string{"/register-email", "/verify-email", "/undo-email", "/profile", "/login", "/send-reset-password-link", "/reset-password"} {
		var line bytes.Buffer
		if len(doc.Paths[path]) > 0 { // it may be off
			require.NoError(st.s.T, json.Compact(&line, doc.Paths[path]))
		}
		st.say("%s\n%s\n", path, line.String())
	}
	_, leads := doc.Paths["/primary-email"]
	require.False(st.s.T, leads, "there is one address")
}

func TestOneEmailAnswersAsBefore(t *testing.T) {
	golden := "testdata/one_email.txt"
	byNameAndAddress := sitetest.LoginBy("username", "email")
	for name, one := range map[string]func(*registration.Settings){
		"by default": func(*registration.Settings) {}, "one": func(s *registration.Settings) { s.User.MaxEmails = 1 },
	} {
		st := story{new(strings.Builder), sitetest.New(t, byNameAndAddress, one)}
		for _, who := range []string{"ada", "bob"} {
			st.s.Member(who)
		}
		st.ask(st.s.SignedIn("ada"), post, "/primary-email", sitetest.Data{"email": "ada@example.org"})
		st.changeAndUndo()
		st.reset()
		st.overtaken()
		st.document()
		direct := story{st.Builder, sitetest.New(t, byNameAndAddress, one, func(s *registration.Settings) { s.RegisterEmail.Verification = sitetest.Off() })}
		direct.s.Member("ada")
		direct.s.Member("bob")
		b := direct.s.SignedIn("ada").Problems()
		for _, email := range []string{"ada@new.example", "ada@new.example", "bob@example.org", "no"} {
			direct.ask(b, post, "/register-email", sitetest.Data{"email": email})
		}
		direct.mails()
		direct.ask(b, get, "/profile", nil)
		direct.document()
		if *update { // only for what a later version changes on purpose: to say it by hand is better
			require.NoError(t, os.WriteFile(golden, []byte(st.String()), 0o600))
		}
		want := strings.Split(sitetest.ReadFile(t, golden), "\n")
		require.Equal(t, want, strings.Split(st.String(), "\n"), name)
	}
}
