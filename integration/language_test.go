// language_test.go: everything that somebody who asks for German sees of a built
// Caddy: pages, answers, and the mails as they arrive at a real SMTP server.

package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/langtest"
)

// germanSpeaker is a browser and API client of one person, with his mailbox.
type germanSpeaker struct {
	*client
	mails *mailServer
}

// Send implements langtest.Client.
func (g germanSpeaker) Send(method, path, accept, contentType, body string) (int, http.Header, string) {
	req, err := http.NewRequest(method, g.base+path, strings.NewReader(body))
	require.NoError(g.t, err)
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Language", "de-DE,de;q=0.9,en;q=0.5")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := g.http.Do(req)
	require.NoError(g.t, err)
	answer := readAnswer(g.t, res)
	return answer.StatusCode, answer.Header, answer.body
}

// Mail implements langtest.Client.
func (g germanSpeaker) Mail() langtest.Mail {
	m := g.mails.next()
	return langtest.Mail{Language: m.header.Get("Content-Language"), Subject: m.subject, Text: m.text, HTML: m.html}
}

func TestGermanHasNoEnglish(t *testing.T) {
	t.Parallel()
	m := newMailServer(t).listen()
	_, c := mailedServer(t, m)
	check, err := langtest.New("../templates/locales", "de")
	require.NoError(t, err)
	(&langtest.Walker{T: t, Client: germanSpeaker{c, m}, Check: check, Language: "de"}).Walk("qxz")
}
