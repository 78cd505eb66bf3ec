// view_test.go: what all pages have in common: they speak the language of who looks.

package owner_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/langtest"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// codes are what stands on pages in no language: details of events, by their names, and
// the table of settings.
var codes = regexp.MustCompile(`<span title="[a-z_]+">|<td data-label="[^"]*"><bdi>[a-z_]+=[^<]*</bdi></td>|(?s)<td data-label="[^"]*"><bdi>[a-z_]+(\.[a-z_0-9.]+)?</bdi></td>\s*<td.*?</td>|readonly>[^<]*<`)

// TestPagesHaveNoEnglish: each page in each other language, with all that can be on it: all
// events, all kinds of mail, each reason, each act and what it refuses.
func TestPagesHaveNoEnglish(t *testing.T) {
	s := approvingSite(t)
	_, _, err := s.Accounts.Approve(t.Context(), uuid.MustParse(waits(t, s, "bob", "qxz")))
	require.NoError(t, err)
	withTOTP(s, "bob")
	s.Set(sitetest.UUIDOf(t, s, "bob").String(), func(u *store.User) {
		u.Factors[0].Name, u.Unreachable = "", store.Unreachable{Email: u.Email, Words: "550", Since: s.Accounts.Now()}
	})
	waiting, bob := waits(t, s, "qxz", "qxz"), sitetest.UUIDOf(t, s, "bob").String()
	_, _, err = s.Accounts.Invite(t.Context(), account.NewInvitation{Groups: []string{"qxz"}})
	require.NoError(t, err)
	reasons := []string{outbox.NoRecipient, outbox.Unsendable, outbox.Delayed, outbox.NoServer}
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for _, e := range audit.Events {
			for _, actor := range []string{audit.ActorAdmin, audit.ActorSystem, "", bob} {
				if err := tx.AddAudit(&store.Audit{At: s.Accounts.Now(), Event: string(e.Event), Account: uuid.MustParse(bob), Actor: actor}); err != nil {
					return err
				}
			}
		}
		for _, reason := range reasons {
			if err := tx.AddAudit(&store.Audit{At: s.Accounts.Now(), Event: string(audit.MailFailed), Account: uuid.MustParse(bob), Details: map[string]string{"kind": "register", "reason": reason}}); err != nil {
				return err
			}
		}
		for _, kind := range []store.MailKind{store.MailResetPassword, store.MailSignUps, store.MailFactorAdded} {
			if err := tx.PutMail(&store.Mail{Kind: kind, To: "qxz@qxz.qxz", User: uuid.MustParse(bob), Queued: s.Accounts.Now(), Due: s.Accounts.Now().Add(20 * time.Minute), Failed: "451"}); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, language := range sitetest.OtherLanguages() {
		check, err := langtest.New(sitetest.Root()+"/templates/locales", language)
		require.NoError(t, err)
		h := s.SignedIn("ada").LikeBrowser().Set("Accept-Language", language)
		look := func(page *sitetest.Answer, about string) {
			t.Helper()
			require.Equal(t, language, page.Header.Get("Content-Language"), about)
			require.Empty(t, check.HTML(codes.ReplaceAllString(strings.ReplaceAll(page.Text, "<wbr>", ""), "")), "%s in %s", about, language)
		}
		for _, id := range []string{waiting, bob} {
			for path := range ownersPages(s, id) {
				if page := h.Get(path + "/"); page.StatusCode == http.StatusOK {
					look(page, path)
				}
			}
		}
		for _, path := range []string{"accounts", "waiting", "invitations", "accounts/new", "invitations/new", "accounts/" + bob + "/groups", "accounts/" + bob + "/set-username", "accounts/" + bob + "/sessions", "accounts/" + bob + "/approve"} {
			refused := h.Post(admin+path+"/", url.Values{"uses": {"x"}, "username": {"ada"}, "groups": {"a\x01"}})
			require.GreaterOrEqual(t, refused.StatusCode, http.StatusBadRequest, path)
			look(refused, path+" refused")
		}
		for _, do := range []string{"add-group", "delete"} {
			look(h.Post(admin+"accounts/", url.Values{"do": {do}, "accounts": {bob}}), do)
		}
		look(h.Post(admin+"accounts/", url.Values{"do": {"approve"}, "accounts": {bob}}), "not done")
		look(h.Post(admin+"accounts/"+bob+"/make-link/", nil), "a link")
		look(h.Get(admin+"accounts/?search=nobody"), "nobody")
		look(h.Get(admin+"accounts/?state=waiting"), "a state")
		s.Travel(16 * time.Minute)
		look(h.Post(pathOf(t, s, "bob", "groups")+"/", url.Values{"groups": {"qxz"}}), "an old sign-in")
		require.NotNil(t, accountOf(t, s, "bob"))
		require.NotNil(t, accountOf(t, s, "qxz"))
	}
}
