// unreachable_test.go: what a mail server says of an address stays with its account,
// until a mail arrives there.

package account_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestUnreachableAddressIsMarked(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	ask := func() {
		t.Helper()
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	}
	mark := func() store.Unreachable { return s.Stored(id).Unreachable }
	s.FailWith(func(*mail.Message) error {
		return &mail.Error{Permanent: true, Recipient: true, Err: errors.New("550 5.1.1 no such user here")}
	})
	ask()
	require.Eventually(t, func() bool { return mark() != store.Unreachable{} }, sitetest.Patience, sitetest.Patience/1000)
	require.Equal(t, "ada@example.org", mark().Email)
	require.Contains(t, mark().Words, "5.1.1")
	s.SignedIn("ada") // nothing is blocked
	s.FailWith(nil)
	ask()
	s.Mail()
	require.Eventually(t, func() bool { return mark() == store.Unreachable{} }, sitetest.Patience, sitetest.Patience/1000)
}
