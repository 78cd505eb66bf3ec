// language_test.go: everything that somebody who asks for German sees of a built
// Caddy: pages, answers, and the mails as they arrive at a real SMTP server.

package browsers_test

import (
	"net/http"
	"strings"
	"testing"

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
