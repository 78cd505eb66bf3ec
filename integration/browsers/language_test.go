// language_test.go: everything that somebody who asks for German sees of a built
// Caddy: pages, answers, and the mails as they arrive at a real SMTP server.

package browsers_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/langtest"
)

// germanSpeaker is a browser and API client of one person, with his mailbox.
type germanSpeaker struct {
	*served.Client
	mails *served.MailServer
}

// Send implements langtest.Client.
func (g germanSpeaker) Send(method, path, accept, contentType, body string) (int, http.Header, string) {
	req, err := http.NewRequest(method, g.Base+path, strings.NewReader(body))
	require.NoError(g.T, err)
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Language", "de-DE,de;q=0.9,en;q=0.5")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := g.HTTP.Do(req)
	require.NoError(g.T, err)
	answer := served.ReadAnswer(g.T, res)
	return answer.StatusCode, answer.Header, answer.Text
}

// Mail implements langtest.Client.
func (g germanSpeaker) Mail() langtest.Mail {
	m := g.mails.Next()
	return langtest.Mail{Language: m.Header.Get("Content-Language"), Subject: m.Subject, Text: m.Text, HTML: m.Html}
}

func TestGermanHasNoEnglish(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t).Listen()
	_, c := served.MailedServer(t, m)
	check, err := langtest.New("../../templates/locales", "de")
	require.NoError(t, err)
	(&langtest.Walker{T: t, Client: germanSpeaker{c, m}, Check: check, Language: "de"}).Walk("qxz")
}

// TestLanguageByHand: without a script, somebody chooses another language than his browser
// asks for, signs up and is written to in that, though somebody else asks for a new password
// in a third one; signed in, he chooses again.
func TestLanguageByHand(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	b := served.NewBrowser(t, s.Base())
	_, err := chromedp.Call(b.Ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	require.NoError(t, err)
	speaks := func(tag string) {
		t.Helper()
		got, err := chromedp.Run(b.Ctx, chromedp.Evaluate[string](`document.documentElement.lang`))
		require.NoError(t, err)
		require.Equal(t, tag, got)
	}
	mails := 0
	written := func(tag string) *served.Message {
		t.Helper()
		mails++
		mail := s.Mail("ada@example.org", mails)
		require.Equal(t, tag, mail.Header.Get("Content-Language"), mail.Subject)
		return mail
	}
	stranger := s.Client()
	stranger.Header.Set("Accept-Language", "de")
	asks := func() {
		t.Helper()
		require.Equal(t, 200, stranger.Do(http.MethodPost, "/accounts/send-reset-password-link", map[string]any{"login": "ada"}).StatusCode)
	}
	require.Equal(t, 200, b.Open(s.Base()+"/accounts/login/?next=%2Fmembers%2Fa%3Fb%3Dc"))
	speaks("en")
	require.Equal(t, 200, b.Press(`footer a[hreflang="pl"]`))
	speaks("pl")
	require.Contains(t, b.At(), "next=%2Fmembers%2Fa%3Fb%3Dc")
	require.Equal(t, 200, b.Press(`main a[href^="/accounts/register/"]`))
	speaks("pl")
	require.Contains(t, b.At(), "next=%2Fmembers%2Fa%3Fb%3Dc")
	b.Fill("username", "ada")
	b.Fill("email", "ada@example.org")
	b.Fill("password", served.TestPassword)
	b.Fill("password_confirm", "another long passphrase")
	require.Equal(t, 400, b.Press(submit))
	speaks("pl")
	b.Fill("password", served.TestPassword)
	b.Fill("password_confirm", served.TestPassword)
	require.Equal(t, 200, b.Press(submit))
	speaks("pl")
	require.Equal(t, 200, b.Open(served.LinkInText.FindString(written("pl").Text)))
	require.Equal(t, 200, b.Press(submit))

	asks()
	written("pl")

	require.Equal(t, 200, b.Open(s.Base()+"/accounts/login/"))
	b.Fill("login", "ada")
	b.Fill("password", served.TestPassword)
	b.Press(submit)
	require.Equal(t, 200, b.Open(s.Base()+"/accounts/sessions/"))
	require.Equal(t, 200, b.Press(`footer button[value="fr"]`))
	speaks("fr")
	require.Equal(t, "/accounts/sessions/", b.At())
	require.Equal(t, 200, b.Open(s.Base()+"/accounts/profile/"))
	require.Equal(t, "Français", served.Evaluate[string](b, `document.querySelector("#language option[selected]").textContent`))
	asks()
	written("fr")
	b.RequireQuiet()
}
