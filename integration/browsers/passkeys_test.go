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

// A keyedBrowser is one that has an authenticator, at a site where passkeys can be made.
type keyedBrowser struct {
	*served.Browser
	keeper webauthn.AuthenticatorID
}

func newKeyedBrowser(s *served.Server) *keyedBrowser {
	b := &keyedBrowser{Browser: served.NewBrowser(s.T, "http://localhost:"+strconv.Itoa(s.Port))}
	b.keeper = authenticator(b.Browser)
	return b
}

// ends waits until the browser is at a page.
func (b *keyedBrowser) ends(path string) {
	b.T.Helper()
	require.True(b.T, served.Eventually(func() bool { return b.At() == path || path != "/" && strings.HasPrefix(b.At(), path) }, 50*time.Millisecond), "still at %s", b.At())
}

// leave takes all cookies away.
func (b *keyedBrowser) leave() {
	b.T.Helper()
	_, err := chromedp.Call(b.Ctx, network.ClearBrowserCookies, cdp.Empty{})
	require.NoError(b.T, err)
}

// press presses the button of the script.
func (b *keyedBrowser) press() {
	b.Do(chromedp.Click(chromedp.CSS("button[data-passkey]"), chromedp.NodeVisible))
}

// told waits until the script says one of its words.
func (b *keyedBrowser) told(by string) {
	b.T.Helper()
	attribute := `document.querySelector('button[data-passkey]').dataset.` + by
	require.True(b.T, served.Eventually(func() bool {
		return served.Evaluate[bool](b.Browser, `(p => p && !p.hidden && p.textContent === `+attribute+`)(document.querySelector('p[role=alert]'))`)
	}, 50*time.Millisecond), "the page doesn't say: %s", by)
}

// byPassword fills the sign-in page in, and sends it.
func (b *keyedBrowser) byPassword() {
	b.T.Helper()
	b.Fill("login", "ada")
	b.Fill("password", served.TestPassword)
	b.Press(`form:not(.passkey) button[type=submit]`)
}

// kept are the passkeys that the authenticator has, with their private keys.
func (b *keyedBrowser) kept() []*webauthn.Credential {
	b.T.Helper()
	kept, err := chromedp.Call(b.Ctx, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: b.keeper})
	require.NoError(b.T, err)
	return kept.Credentials
}

// another puts another authenticator in the place of the one there is, with these passkeys.
func (b *keyedBrowser) another(passkeys ...*webauthn.Credential) {
	b.T.Helper()
	_, err := chromedp.Call(b.Ctx, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: b.keeper})
	require.NoError(b.T, err)
	b.keeper = authenticator(b.Browser, func(o *webauthn.VirtualAuthenticatorOptions) { o.HasCmtgKey = true }) // AddCredential always names it
	for _, had := range passkeys {
		one := &webauthn.Credential{
			CredentialID: had.CredentialID, IsResidentCredential: true, RpID: had.RpID, PrivateKey: had.PrivateKey, UserHandle: had.UserHandle, SignCount: had.SignCount,
		}
		_, err := chromedp.Call(b.Ctx, webauthn.AddCredential, webauthn.AddCredentialParams{AuthenticatorID: b.keeper, Credential: one})
		require.NoError(b.T, err)
	}
}

func TestPasskeys(t *testing.T) {
	s := served.Run(t, localhostSite)
	s.Member("ada")
	b := newKeyedBrowser(s)

	// A passkey is made, and the browser that has it makes no second one.
	b.Open(b.Base + "/accounts/login/")
	b.byPassword()
	b.Open(b.Base + "/accounts/add-passkey/")
	assert.NotContains(t, b.Text("main"), "JavaScript", "it runs")
	b.Look("add-passkey")
	b.press()
	require.Contains(t, b.Text("ul.codes"), "-")
	b.Open(b.Base + "/accounts/add-passkey/")
	b.press()
	b.told("exists")

	// It is filled in: opening the page is enough, for the virtual authenticator agrees.
	b.leave()
	b.Open(b.Base + "/accounts/login/?next=/accounts/sessions/")
	b.ends("/accounts/sessions/")

	// By the button.
	withoutAutofill(b.Browser)
	b.leave()
	b.Open(b.Base + "/accounts/login/?next=/accounts/factors/")
	b.Look("login-passkey")
	b.press()
	b.ends("/accounts/factors/")

	// Its keeper begins to sync.
	kept := b.kept()
	require.Len(t, kept, 1)
	yes := true
	_, err := chromedp.Call(b.Ctx, webauthn.SetCredentialProperties, webauthn.SetCredentialPropertiesParams{
		AuthenticatorID: b.keeper, CredentialID: kept[0].CredentialID, BackupEligibility: &yes, BackupState: &yes,
	})
	require.NoError(t, err)
	b.leave()
	b.Open(b.Base + "/accounts/login/")
	b.press()
	b.ends("/")

	// As the second step.
	b.leave()
	b.Open(b.Base + "/accounts/login/")
	b.byPassword()
	require.Contains(t, b.At(), "/accounts/login-factor/")
	b.Look("second-step-passkey")
	b.press()
	b.ends("/")

	// Cancelled: the page says so, and the password is still good.
	b.leave()
	_, err = chromedp.Call(b.Ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: b.keeper})
	require.NoError(t, err)
	b.Open(b.Base + "/accounts/login/")
	b.press()
	b.told("cancelled")
	b.byPassword()
	require.Contains(t, b.At(), "/accounts/login-factor/")

	// A page of a host that is not of the domain: the browser refuses, and the page says so.
	b.Open("http://127.0.0.1:" + strconv.Itoa(s.Port) + "/accounts/login/")
	b.press()
	b.told("failed")
}

// TestTwoPasskeys: a second device has one of its own, each signs in by itself, and neither
// makes a second one.
func TestTwoPasskeys(t *testing.T) {
	t.Parallel()
	s := served.Run(t, localhostSite)
	s.Member("ada")
	b := newKeyedBrowser(s)
	withoutAutofill(b.Browser)
	adds := func() {
		t.Helper()
		b.Open(b.Base + "/accounts/add-passkey/")
		b.press()
	}
	signsIn := func() {
		t.Helper()
		b.leave()
		b.Open(b.Base + "/accounts/login/?next=/accounts/factors/")
		b.press()
		b.ends("/accounts/factors/")
	}
	b.Open(b.Base + "/accounts/login/")
	b.byPassword()
	adds()
	require.Contains(t, b.Text("ul.codes"), "-")
	first := b.kept()
	require.Len(t, first, 1)
	b.another()
	adds()
	b.ends("/accounts/factors/")
	second := b.kept()
	require.Len(t, second, 1)
	require.NotEqual(t, first[0].CredentialID, second[0].CredentialID)
	require.Equal(t, first[0].UserHandle, second[0].UserHandle, "both are of one account")
	for _, one := range [][]*webauthn.Credential{first, second} {
		b.another(one...)
		signsIn()
		require.Equal(t, 2, served.Evaluate[int](b.Browser, `document.querySelectorAll("ul.sessions li").length`))
		adds()
		b.told("exists")
		require.Len(t, b.kept(), 1)
	}
}

// TestPasskeyThatIsGone: one that its keeper has lost, and one that its owner has removed
// here: the page says so, there is another way, and what is no account's is forgotten.
func TestPasskeyThatIsGone(t *testing.T) {
	t.Parallel()
	s := served.Run(t, localhostSite)
	s.Member("ada")
	b := newKeyedBrowser(s)
	b.Open(b.Base + "/accounts/login/")
	b.byPassword()
	b.Open(b.Base + "/accounts/add-passkey/")
	b.press()
	code := strings.Fields(b.Text("ul.codes"))[0]
	had := b.kept()
	require.Len(t, had, 1)

	// At its keeper: the password, and a recovery code.
	b.another()
	b.leave()
	b.Open(b.Base + "/accounts/login/")
	b.press()
	b.told("cancelled")
	b.byPassword()
	require.Contains(t, b.At(), "/accounts/login-factor/")
	b.press()
	b.told("cancelled")
	require.Equal(t, 200, b.Press(`a[href*="with=recovery_code"]`))
	b.Fill("recovery_code", code)
	require.Equal(t, 200, b.Press(`main form:not(.passkey) button[type=submit]`))
	require.Equal(t, "/accounts/factors/", b.At())
	require.Contains(t, b.Text(".note"), "set up a new one here")

	// Here: the keeper has it still. It is filled in, refused, and forgotten.
	b.another(had...)
	b.leave()
	b.Open(b.Base + "/accounts/login/?next=/accounts/factors/")
	b.ends("/accounts/factors/")
	require.Equal(t, 200, b.Press(`a[href*="remove-factor"]`))
	require.Equal(t, 200, b.Press(`main form:not(.passkey) button[type=submit]`))
	require.Contains(t, b.Text("main"), "You haven’t set up any yet")
	b.leave()
	b.Open(b.Base + "/accounts/login/")
	require.True(t, served.Eventually(func() bool {
		return served.Evaluate[bool](b.Browser, `!!document.querySelector(".note")`) && len(b.kept()) == 0
	}, 50*time.Millisecond), "its keeper has it still")
	require.Contains(t, b.Text(".note"), "This passkey no longer belongs to an account here")
	b.Look("login-passkey-unknown")
	b.byPassword()
	require.Equal(t, "/", b.At(), "the password alone")
}
