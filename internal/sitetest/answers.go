// answers.go:

package sitetest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/mail"
)

// RequireError checks status and codes of a refusal, through the problem shape.
func RequireError(t testing.TB, a *Answer, status int, want string) {
	t.Helper()
	require.Equal(t, status, a.StatusCode, a.Text)
	var got []string
	body := a.JSON(t)
	if fields, ok := body["errors"].(map[string]any); ok {
		for _, field := range []string{"username", "email", "first_name", "code", "reason", "terms", "challenge", "login", "old_password", "password", "password_confirm", "user_id", "timestamp", "signature", "totp", "keep_account", "recovery_code", "passkey", "trust_device", "id", "name", "path", "expires", "groups", "rules", "language", "non_field_errors"} {
			list, _ := fields[field].([]any)
			for _, e := range list {
				got = append(got, field+":"+e.(map[string]any)["code"].(string))
			}
		}
	} else {
		got = append(got, body["code"].(string))
	}
	require.Equal(t, want, strings.Join(got, " "), a.Text)
}

// Problems makes a browser ask for RFC 9457, so that tests see codes.
func (b *Browser) Problems() *Browser {
	b.Header.Set("Accept", "application/problem+json")
	return b
}

// NullJSON is a null that with does not take for "remove".
var NullJSON any = (*int)(nil)

func ReadFile(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}

// NullWriter is a response that nobody reads.
type NullWriter struct {
	H      http.Header
	Status int
}

func (w *NullWriter) Header() http.Header { return w.H }

func (w *NullWriter) Write(b []byte) (int, error) { return len(b), nil }

func (w *NullWriter) WriteHeader(status int) { w.Status = status }

func (b *Browser) Bearer(token string) *Browser {
	b.Header.Set("Authorization", "Bearer "+token)
	return b
}

// ClaimsOf reads a JWT without checking it.
func ClaimsOf(t testing.TB, token string) (header, claims Data) {
	t.Helper()
	for i, to := range []*Data{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, to))
	}
	return header, claims
}

func FormOf(body Data) url.Values {
	form := url.Values{}
	for k, v := range body {
		form.Set(k, v.(string))
	}
	return form
}

// Mailed is the path and query of the next mailed link, and its query alone.
func (s *Site) Mailed() (string, url.Values) {
	s.T.Helper()
	link, err := url.Parse(LinkInMail.FindString(s.Mail().Text))
	require.NoError(s.T, err)
	return link.RequestURI(), link.Query()
}

const (
	Racers = 100
	// Hashers race where each of them hashes a password: what is tried is the store,
	// which so many put to the test as well.
	Hashers = 20
)

// Race runs try for every racer at one start and counts what they return.
func Race(try func(i int) int) map[int]int { return RaceOf(Racers, try) }

// RaceOf is race with so many.
func RaceOf(n int, try func(i int) int) map[int]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	start, count := make(chan struct{}), map[int]int{}
	for i := range n {
		wg.Go(func() {
			<-start
			got := try(i)
			mu.Lock()
			defer mu.Unlock()
			count[got]++
		})
	}
	close(start)
	wg.Wait()
	return count
}

func (s *Site) MailedPath() string {
	s.T.Helper()
	return UrlOf(s.T, s.Mail()).RequestURI()
}

// UrlOf is the link in a mail.
func UrlOf(t testing.TB, m *mail.Message) *url.URL {
	t.Helper()
	link, err := url.Parse(LinkInMail.FindString(m.Text))
	require.NoError(t, err)
	return link
}

func (a *Answer) RequireRedirect(t *testing.T, to string) {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, a.StatusCode, a.Text)
	require.Equal(t, to, a.Header.Get("Location"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
}

// WantJSON checks the headers that every answer in JSON has.
func WantJSON(t testing.TB, res *Answer, status int) {
	t.Helper()
	require.Equal(t, status, res.StatusCode, res.Text)
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
}

// WantFields checks a refusal by field: these errors in this order, no others.
func WantFields(t testing.TB, res *Answer, errs ...refusal.FieldError) {
	t.Helper()
	WantJSON(t, res, http.StatusBadRequest)
	want := Data{}
	for _, e := range errs {
		text := Words(e.Phrase())
		require.NotContains(t, text, "{", "a parameter is missing")
		list, _ := want[e.Field].([]any)
		want[e.Field] = append(list, text)
	}
	require.Equal(t, want, res.JSON(t))
}

// NotA is the refusal of a value that is not what the field takes, which the
// message says: a username, an email.
func NotA(kind, field string) refusal.FieldError {
	return refusal.FieldError{Field: field, Code: refusal.CodeInvalid, Message: "invalid." + kind}
}

// InParallel starts n calls at one moment and counts their outcomes.
func InParallel(n int, call func(i int) string) map[string]int {
	var mu sync.Mutex
	var group sync.WaitGroup
	outcomes, begin := map[string]int{}, make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-begin
			got := call(i)
			mu.Lock()
			outcomes[got]++
			mu.Unlock()
		})
	}
	close(begin)
	group.Wait()
	return outcomes
}

func (s *Site) WithToken(token string) *Browser {
	b := s.Browser()
	b.Header.Set("Authorization", "Token "+token)
	return b
}

func (b *Browser) From(ip string) *Browser { b.IP = ip; return b }

// FieldCodes returns the codes of one field's refusals, through the problem shape.
func FieldCodes(t testing.TB, a *Answer, field string) string {
	t.Helper()
	require.Equal(t, http.StatusBadRequest, a.StatusCode, a.Text)
	fields, _ := a.JSON(t)["errors"].(map[string]any)
	list, _ := fields[field].([]any)
	var codes []string
	for _, e := range list {
		codes = append(codes, e.(map[string]any)["code"].(string))
	}
	return strings.Join(codes, " ")
}
