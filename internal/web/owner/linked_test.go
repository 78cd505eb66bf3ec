// linked_test.go: accounts elsewhere on the page of an account, and their end there.

package owner_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// withOurs knows a provider that nobody asks here.
func withOurs(s *registration.Settings) {
	s.Login.OIDC = []registration.OIDCSettings{{Name: "ours", Title: "Our <sign-in>", Issuer: "https://id.example.org", ClientID: "site", ClientSecret: "its secret"}}
}

// linkedTo links an account of a site to two elsewhere: one of a provider that there is, and
// one of a provider that is gone.
func linkedTo(t *testing.T, s *sitetest.Site, name string) (ids []string) {
	t.Helper()
	s.Set(sitetest.UUIDOf(t, s, name).String(), func(u *store.User) {
		for _, issuer := range []string{"https://id.example.org", "https://gone.example"} {
			id := uuid.Must(uuid.NewV7())
			u.LinkedAccounts = append(u.LinkedAccounts, store.LinkedAccount{ID: id, Issuer: issuer, Subject: name, Name: "<" + name + ">", Created: s.Realm.Now().Add(-time.Hour), LastUsed: s.Realm.Now()})
			ids = append(ids, id.String())
		}
	})
	return ids
}

// An account's page has the accounts elsewhere by which one signs in to it, and unlinks one
// that its owner has lost. Who is signed in by it is signed out, the record says who did
// that, and its owner is told, with a way back.
func TestUnlink(t *testing.T) {
	for name, unlink := range map[string]func(t *testing.T, s *sitetest.Site, path, id string){
		"a form": func(t *testing.T, s *sitetest.Site, path, id string) {
			p := s.SignedIn("ada").LikeBrowser()
			page := p.Follow(p.Post(path+"/", url.Values{"linked": {id}, "do": {"unlink"}})).Text
			require.Contains(t, page, "The account has been unlinked.")
			require.NotContains(t, page, id)
		},
		"JSON": func(t *testing.T, s *sitetest.Site, path, id string) {
			b := s.SignedIn("ada")
			require.Equal(t, http.StatusOK, b.Post(path, sitetest.Data{"linked": []string{id, "x"}}).StatusCode)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, []string{"bob"}, withOurs)
			bob, ids := s.SignedIn("bob"), linkedTo(t, s, "bob")
			account, path := pathOf(t, s, "bob", ""), pathOf(t, s, "bob", "unlink")
			page := s.SignedIn("ada").LikeBrowser().Get(account + "/").Text
			for _, want := range []string{"<h2>Linked accounts</h2>", "Our &lt;sign-in&gt;", "&lt;bob&gt;", "gone.example", `name="linked" value="` + ids[0] + `"`, "The person is signed out everywhere"} {
				require.Contains(t, page, want)
			}
			b := s.SignedIn("ada")
			list := b.Get(account).JSON(t)["linked_accounts"].([]any)
			require.Len(t, list, 2)
			one := list[0].(map[string]any)
			require.Equal(t, []any{ids[0], "ours", "https://id.example.org", "<bob>"}, []any{one["id"], one["provider"], one["issuer"], one["name"]})
			require.Nil(t, list[1].(map[string]any)["provider"])
			require.NotContains(t, one, "subject")

			unlink(t, s, path, ids[0])
			u := accountOf(t, s, "bob")
			require.Len(t, u.LinkedAccounts, 1)
			require.Equal(t, http.StatusUnauthorized, bob.Get("/accounts/profile").StatusCode)
			row := lastRow(t, s, u.ID.String())
			require.Equal(t, string(audit.AccountUnlinked), row.Event)
			require.Equal(t, sitetest.UUIDOf(t, s, "ada").String(), row.Actor)
			require.Equal(t, map[string]string{"issuer": "https://id.example.org", "linked": ids[0]}, row.Details)
			m := s.Mail()
			require.Equal(t, []string{"bob@example.org", "A linked account has been removed at example.com"}, []string{m.To, m.Subject})

			// The person brings it back.
			res := s.Browser().Post("/accounts/undo-factor", sitetest.With(sitetest.LinkOf(m, t), sitetest.Data{"password": sitetest.Password}))
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			require.Len(t, accountOf(t, s, "bob").LinkedAccounts, 2)

			sitetest.RequireError(t, b.Problems().Post(path, sitetest.Data{"linked": []string{uuid.NewString()}}), http.StatusNotFound, "linked_not_found")
			require.Equal(t, http.StatusBadRequest, b.Post(path, nil).StatusCode)
		})
	}
}

// The last way in may go: an owner can give another. Who is no admin unlinks nobody's.
func TestUnlinkTheLastWayIn(t *testing.T) {
	s := newSite(t, []string{"bob"}, withOurs)
	ids := linkedTo(t, s, "bob")
	s.Set(sitetest.UUIDOf(t, s, "bob").String(), func(u *store.User) { u.PasswordHash = "" })
	_, err := s.Accounts.UnlinkFor(s.Acting(t.Context(), "bob"), sitetest.UUIDOf(t, s, "bob"), uuid.MustParse(ids[0]), account.Client{})
	require.Error(t, err)
	b := s.SignedIn("ada")
	require.Equal(t, http.StatusOK, b.Post(pathOf(t, s, "bob", "unlink"), sitetest.Data{"linked": ids}).StatusCode)
	require.Empty(t, accountOf(t, s, "bob").LinkedAccounts)
	require.NotContains(t, b.Get(pathOf(t, s, "bob", "")).JSON(t), "linked_accounts")
	require.Contains(t, s.SignedIn("ada").LikeBrowser().Get(pathOf(t, s, "bob", "")+"/").Text, "This account isn’t linked to another.")
	without := newSite(t, []string{"bob"})
	require.NotContains(t, without.SignedIn("ada").LikeBrowser().Get(pathOf(t, without, "bob", "")+"/").Text, "Linked accounts")
}

// An account's page has its tokens for programs, without what opens anything by them; signing
// out everywhere ends them.
func TestOwnersSeeTokensForPrograms(t *testing.T) {
	s := newSite(t, []string{"bob"})
	owner, path := s.SignedIn("ada").LikeBrowser(), pathOf(t, s, "bob", "")
	require.NotContains(t, owner.Get(path+"/").Text, "Access tokens for programs")
	made := s.SignedIn("bob").Post("/accounts/create-token", sitetest.Data{"name": "<Calendar>", "path": "/dav", "expires": "2999-12-31"}).JSON(t)["token"].(string)
	page := owner.Get(path + "/").Text
	for _, want := range []string{"<h2>Access tokens for programs</h2>", "&lt;Calendar&gt;", "/dav", "1 January 3000"} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, made)
	owner.Follow(owner.Post(pathOf(t, s, "bob", "sign-out")+"/", url.Values{}))
	require.Empty(t, accountOf(t, s, "bob").ProgramTokens)
	require.NotContains(t, owner.Get(path+"/").Text, "Access tokens for programs")
}
