// attacks_test.go: two providers that don't mix, answers that are sent again, and a provider
// that is down, slow, lies or has other keys.

package provider_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The same subject at another issuer is another person.
func TestOneSubjectAtTwoProviders(t *testing.T) {
	ours, theirs := startProvider(t), startProvider(t)
	ours.has("ada", ada)
	theirs.has("ada", person{ada.subject, "other@example.org", true, "", ""})
	s := knows(t, map[string]*provider{"ours": ours, "theirs": theirs}, "")
	require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, "for members: ada@example.org")
	require.Contains(t, newPerson(t, s).signsIn("theirs", "ada", "/members/").text, "for members: other@example.org")
}

// What came back once, or to another, or from another provider, signs nobody in.
func TestAnswersThatAreSentAgain(t *testing.T) {
	ours, theirs := startProvider(t), startProvider(t)
	ours.has("ada", ada)
	theirs.has("ada", person{ada.subject, "other@example.org", true, "", ""})
	s := knows(t, map[string]*provider{"ours": ours, "theirs": theirs}, "")
	const expired, failed = "It took too long, or began in another browser.", "answer couldn’t be accepted"
	refused := func(h *stranger, door *url.URL, says string) {
		t.Helper()
		require.Contains(t, h.get(door.String()).text, says)
		require.Contains(t, h.get(s.Base()+"/members/").text, "Sign in", "nobody is signed in")
	}
	with := func(door *url.URL, name, value string) *url.URL {
		changed := *door
		q := door.Query()
		q.Set(name, value)
		changed.RawQuery = q.Encode()
		return &changed
	}

	h := newPerson(t, s)
	door := h.atTheDoor("ours", "ada")
	refused(newPerson(t, s), door, expired)
	require.Contains(t, h.get(door.String()).text, "for members: ada@example.org")
	refused(newPerson(t, s), door, expired)

	// The code of one sign-in in another: the verifier is not its own.
	victim, thief := newPerson(t, s), newPerson(t, s)
	stolen := victim.atTheDoor("ours", "ada")
	door = thief.atTheDoor("ours", "ada")
	refused(thief, with(door, "code", stolen.Query().Get("code")), failed)
	refused(thief, door, expired)

	// Its state in another's browser (login CSRF), and that of an older sign-in.
	refused(victim, with(stolen, "state", door.Query().Get("state")), expired)
	h = newPerson(t, s)
	older := h.atTheDoor("ours", "ada")
	h.atTheDoor("ours", "ada")
	refused(h, older, expired)

	// What one provider sends is none of the other's, at its address or at the other's.
	h = newPerson(t, s)
	door = h.atTheDoor("theirs", "ada")
	moved := *door
	moved.Path = strings.Replace(door.Path, "/theirs", "/ours", 1)
	refused(h, &moved, expired)
	h = newPerson(t, s)
	code := newPerson(t, s).atTheDoor("theirs", "ada").Query().Get("code")
	door = h.atTheDoor("ours", "ada")
	asked := theirs.count("/oauth/token")
	refused(h, with(door, "code", code), failed)
	require.Equal(t, asked, theirs.count("/oauth/token"), "the code of one is shown to no other")
	h = newPerson(t, s)
	refused(h, with(h.atTheDoor("ours", "ada"), "iss", theirs.issuer), failed)
}

// New keys are found by themselves, by one request.
func TestAProviderWithOtherKeys(t *testing.T) {
	p := startProvider(t)
	p.has("ada", ada)
	s := knows(t, map[string]*provider{"ours": p}, "")
	for range 2 {
		require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, "for members")
	}
	require.Equal(t, 1, p.count("/keys"))
	p.rotate()
	for range 2 {
		require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, "for members")
	}
	require.Equal(t, 2, p.count("/keys"))
	require.Equal(t, 1, p.count("/.well-known/openid-configuration"))
}

// only has answers of one path made by something else.
func only(path string, by http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == path {
				by(w, req)
				return
			}
			next.ServeHTTP(w, req)
		})
	}
}

// A provider that is down or slow is a page that says so, in a short while, and keeps nothing
// else from working.
func TestAProviderThatDoesNotAnswer(t *testing.T) {
	p := startProvider(t)
	p.has("ada", ada)
	s := knows(t, map[string]*provider{"ours": p}, "")
	member(t, s, "bob@example.org")
	const document, unavailable = "/.well-known/openid-configuration", "The other site isn’t answering."
	press := func() *arrived {
		began := time.Now()
		at := newPerson(t, s).post(s.Base()+"/accounts/oidc-login/", url.Values{"provider": {"ours"}, "next": {"/members/"}})
		require.Less(t, time.Since(began), soon)
		return at
	}
	slow := func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // only then the server notices that the client has gone
		select {
		case <-req.Context().Done():
		case <-time.After(soon):
		}
	}
	p.answers(only(document, slow))
	at := press()
	require.Equal(t, http.StatusServiceUnavailable, at.status)
	require.Contains(t, at.text, unavailable)
	require.Contains(t, at.text, `href="/accounts/login/?next=%2Fmembers%2F"`, "there may be another way to sign in")
	h := newPerson(t, s)
	require.Contains(t, h.post(s.Base()+"/accounts/login/", url.Values{"login": {"bob@example.org"}, "password": {"a long enough passphrase"}, "next": {"/members/"}}).text, "for members: bob@example.org")

	p.answers(nil)
	var came *arrived
	require.Eventually(t, func() bool { // it is left alone for a moment
		came = newPerson(t, s).post(s.Base()+"/accounts/oidc-login/", url.Values{"provider": {"ours"}})
		return came.status == http.StatusOK
	}, soon, 500*time.Millisecond)
	for path, by := range map[string]http.HandlerFunc{
		"/oauth/token": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"/keys":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		p.answers(only(path, by))
		require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, unavailable, path)
	}
	p.answers(only("/oauth/token", slow))
	began := time.Now()
	require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, unavailable)
	require.Less(t, time.Since(began), soon)
	p.answers(only("/userinfo", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, "Complete your account", "nobody knows his address then")
	p.server.Close()
	require.Contains(t, newPerson(t, s).get(s.Base()+"/members/").text, "Sign in with The ours")
}

// What a provider says about itself that is not so, or leads into the network of the site.
func TestAProviderThatLiesAboutItself(t *testing.T) {
	var reached atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(inside.Close)
	const document = "/.well-known/openid-configuration"
	// says changes the document.
	says := func(change map[string]any) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return only(document, func(w http.ResponseWriter, req *http.Request) {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, req)
				said := map[string]any{}
				_ = json.Unmarshal(rec.Body.Bytes(), &said)
				for name, value := range change {
					said[name] = value
				}
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(said)
			})(next)
		}
	}
	away := func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, inside.URL, http.StatusTemporaryRedirect)
	}
	for name, c := range map[string]struct {
		lie  func(http.Handler) http.Handler
		says string
	}{
		"another issuer":         {says(map[string]any{"issuer": "https://accounts.google.com"}), "isn’t answering"},
		"a document without end": {says(map[string]any{"x": strings.Repeat("x", 2<<20)}), "isn’t answering"},
		"keys of a file":         {says(map[string]any{"jwks_uri": "file:///etc/passwd"}), "isn’t answering"},
		"a document elsewhere":   {only(document, away), "isn’t answering"},
		"tokens elsewhere":       {only("/oauth/token", away), "couldn’t be accepted"},
		"keys elsewhere":         {only("/keys", away), "isn’t answering"},
		"people elsewhere":       {only("/userinfo", away), "Complete your account"},
		"keys without end": {only("/keys", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat(" ", 2<<20) + `]}`))
		}), "isn’t answering"},
		"no keys":                      {only("/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) }), "couldn’t be accepted"},
		"a promise to say who answers": {says(map[string]any{"authorization_response_iss_parameter_supported": true}), "couldn’t be accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t)
			p.has("ada", ada)
			p.answers(c.lie)
			s := knows(t, map[string]*provider{"ours": p}, "")
			h := newPerson(t, s)
			at := h.post(s.Base()+"/accounts/oidc-login/", url.Values{"provider": {"ours"}, "next": {"/members/"}})
			if at.status == http.StatusOK {
				at = h.signsIn("ours", "ada", "/members/")
			}
			require.Contains(t, at.text, c.says)
			require.Contains(t, newPerson(t, s).get(s.Base()+"/members/").text, "Sign in")
			require.NotContains(t, s.Log.Since(0), secret)
		})
	}
	t.Cleanup(func() { require.Zero(t, reached.Load(), "an address of the network inside is asked for nothing") })
}
