// passkeys.go: passkeys of the people of a test, kept by devices in software.

package sitetest

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/softkey"
)

// Device is a new device with passkeys for the test's site.
func (s *Site) Device() *softkey.Device { return softkey.New(s.Realm.Options.BaseURL) }

// NewWithPasskeys runs a site at which people can have passkeys.
func NewWithPasskeys(t testing.TB, configure ...func(*registration.Settings)) *Site {
	return NewWithPasskeysAt(t, filepath.Join(t.TempDir(), "registration.db"), configure...)
}

// NewWithPasskeysAt does so on a given file.
func NewWithPasskeysAt(t testing.TB, path string, configure ...func(*registration.Settings)) *Site {
	t.Helper()
	https := func(s *registration.Settings) { s.BaseURL = "https://example.com" }
	s := NewAt(t, path, append([]func(*registration.Settings){https}, configure...)...)
	s.HTTPS = true
	return s
}

// Asked is what an endpoint of a passkey's options answers.
func (b *Browser) Asked(endpoint string, body Data) []byte {
	b.Site.T.Helper()
	b.Site.Travel(time.Second) // no two challenges are of one moment
	accept, had := b.Header["Accept"]
	b.Header.Set("Accept", "application/json") // as a script asks, also in a browser
	res := b.Post("/accounts/"+endpoint, body)
	if b.Header.Del("Accept"); had {
		b.Header["Accept"] = accept
	}
	require.Equal(b.Site.T, http.StatusOK, res.StatusCode, res.Text)
	return []byte(res.Text)
}

// Passkey is a device's answer as a body has it.
func Passkey(answer []byte) json.RawMessage { return json.RawMessage(answer) }

// AddPasskey makes a passkey and adds it to the account of who is signed in.
func (b *Browser) AddPasskey(d *softkey.Device, more ...Data) *Answer {
	b.Site.T.Helper()
	body := Data{"passkey": Passkey(d.Create(b.Asked("passkey-options", Data{})))}
	for _, m := range more {
		body = With(body, m)
	}
	return b.Post("/accounts/add-passkey", body)
}

// PasskeySignIn signs in by the newest passkey of a device.
func (b *Browser) PasskeySignIn(d *softkey.Device) *Answer {
	b.Site.T.Helper()
	return b.Post("/accounts/passkey-login", Data{"passkey": Passkey(d.Get(b.Asked("passkey-login-options", Data{})))})
}

// ShowPasskey is the answer of a device that opens a change of the account.
func (b *Browser) ShowPasskey(d *softkey.Device) json.RawMessage {
	b.Site.T.Helper()
	return Passkey(d.Get(b.Asked("passkey-login-options", Data{"sudo": true})))
}

// AMR are the methods of a browser's sign-in, as the list of sign-ins has them.
func (b *Browser) AMR() string {
	b.Site.T.Helper()
	var list []struct {
		AMR     []string `json:"amr"`
		Current bool     `json:"current"`
	}
	res := b.Get("/accounts/sessions")
	require.NoError(b.Site.T, json.Unmarshal([]byte(res.Text), &list), res.Text)
	for _, s := range list {
		if s.Current {
			return strings.Join(s.AMR, " ")
		}
	}
	return ""
}
