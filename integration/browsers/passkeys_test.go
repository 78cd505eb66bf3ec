// passkeys_test.go: passkeys in Chromium, kept by its virtual authenticator.

package browsers_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// localhostSite is one at which browsers make passkeys without HTTPS.
var localhostSite = served.Head + served.At("http://localhost:[[port]], http://127.0.0.1:[[port]]", served.Accounts("http://localhost:[[port]]"), "respond hello")

// authenticator gives a browser one that asks who uses it, and says yes.
func authenticator(b *served.Browser, change ...func(*webauthn.VirtualAuthenticatorOptions)) webauthn.AuthenticatorID {
	b.T.Helper()
	_, err := chromedp.Call(b.Ctx, webauthn.Enable, webauthn.EnableParams{})
	require.NoError(b.T, err)
	options := &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}
	for _, c := range change {
		c(options)
	}
	made, err := chromedp.Call(b.Ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: options})
	require.NoError(b.T, err)
	return made.AuthenticatorID
}

// withoutAutofill takes the passkeys away that are offered among what is filled in: the
// virtual authenticator would take the offer at once.
func withoutAutofill(b *served.Browser) {
	b.T.Helper()
	_, err := chromedp.Call(b.Ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `if (window.PublicKeyCredential) PublicKeyCredential.isConditionalMediationAvailable = undefined`,
	})
	require.NoError(b.T, err)
}

func TestPasskeys(t *testing.T) {
	s := served.Run(t, localhostSite)
	s.Member("ada")
	b := served.NewBrowser(t, "http://localhost:"+strconv.Itoa(s.Port))
	keeper := authenticator(b)
	ends := func(path string) {
		t.Helper()
		require.True(t, served.Eventually(func() bool { return strings.HasPrefix(b.At(), path) }, 50*time.Millisecond), "still at %s", b.At())
	}
	leave := func() {
		t.Helper()
		_, err := chromedp.Call(b.Ctx, network.ClearBrowserCookies, cdp.Empty{})
		require.NoError(t, err)
	}
	press := func() { b.Do(chromedp.Click(chromedp.CSS("button[data-passkey]"), chromedp.NodeVisible)) }
	told := func(by string) {
		t.Helper()
		attribute := `document.querySelector('button[data-passkey]').dataset.` + by
		require.True(t, served.Eventually(func() bool {
			return served.Evaluate[bool](b, `(p => p && !p.hidden && p.textContent === `+attribute+`)(document.querySelector('p[role=alert]'))`)
		}, 50*time.Millisecond), "the page doesn't say: %s", by)
	}
	byPassword := func() {
		t.Helper()
		b.Fill("login", "ada")
		b.Fill("password", served.TestPassword)
		b.Press(`form:not(.passkey) button[type=submit]`)
	}

	// A passkey is made, and the browser that has it makes no second one.
	b.Open(b.Base + "/accounts/login/")
	byPassword()
	b.Open(b.Base + "/accounts/add-passkey/")
	assert.NotContains(t, b.Text("main"), "JavaScript", "it runs")
	b.Look("add-passkey")
	press()
	require.Contains(t, b.Text("ul.codes"), "-")
	b.Open(b.Base + "/accounts/add-passkey/")
	press()
	told("exists")

	// It is filled in: opening the page is enough, for the virtual authenticator agrees.
	leave()
	b.Open(b.Base + "/accounts/login/?next=/accounts/sessions/")
	ends("/accounts/sessions/")

	// By the button.
	withoutAutofill(b)
	leave()
	b.Open(b.Base + "/accounts/login/?next=/accounts/factors/")
	b.Look("login-passkey")
	press()
	ends("/accounts/factors/")

	// Its keeper begins to sync.
	kept, err := chromedp.Call(b.Ctx, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: keeper})
	require.NoError(t, err)
	require.Len(t, kept.Credentials, 1)
	yes := true
	_, err = chromedp.Call(b.Ctx, webauthn.SetCredentialProperties, webauthn.SetCredentialPropertiesParams{
		AuthenticatorID: keeper, CredentialID: kept.Credentials[0].CredentialID, BackupEligibility: &yes, BackupState: &yes,
	})
	require.NoError(t, err)
	leave()
	b.Open(b.Base + "/accounts/login/")
	press()
	ends("/accounts/profile/")

	// As the second step.
	leave()
	b.Open(b.Base + "/accounts/login/")
	byPassword()
	require.Contains(t, b.At(), "/accounts/login-factor/")
	b.Look("second-step-passkey")
	press()
	ends("/accounts/profile/")

	// Cancelled: the page says so, and the password is still good.
	leave()
	_, err = chromedp.Call(b.Ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: keeper})
	require.NoError(t, err)
	b.Open(b.Base + "/accounts/login/")
	press()
	told("cancelled")
	byPassword()
	require.Contains(t, b.At(), "/accounts/login-factor/")

	// A page of a host that is not of the domain: the browser refuses, and the page says so.
	b.Open("http://127.0.0.1:" + strconv.Itoa(s.Port) + "/accounts/login/")
	press()
	told("failed")

	// Another keeper, after the first is gone: two passkeys.
	_, err = chromedp.Call(b.Ctx, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: keeper})
	require.NoError(t, err)
	keeper = authenticator(b)
	b.Open(b.Base + "/accounts/login/")
	press()
	told("cancelled") // it has none
}
