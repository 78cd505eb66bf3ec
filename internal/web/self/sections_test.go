// sections_test.go: the parts of the profile's page, by what an account has.

package self_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// partOf is a section of the profile's page, "" where there is none.
func partOf(page, id string) string {
	return regexp.MustCompile(`(?s)<section class="part" aria-labelledby="part-` + id + `">.*?</section>`).FindString(page)
}

func TestProfileSections(t *testing.T) {
	for name, c := range map[string]struct {
		settings func(*registration.Settings)
		account  func(*store.User)
		has      map[string][]string // what stands in a section; nil: there is no such section
		lacks    map[string]string
	}{
		"as it comes": {
			has: map[string][]string{
				"email":    {"ada@example.org", `href="/accounts/register-email/"`},
				"password": {`href="/accounts/change-password/"`, "Change your password"},
				"factors":  {"any yet", `href="/accounts/factors/"`},
				"sessions": {`href="/accounts/sessions/"`, "See every device"},
				"tokens":   {"You have no tokens yet.", `href="/accounts/tokens/"`},
				"data":     {`href="/accounts/export/"`, `href="/accounts/delete-account/"`, "or leave"},
			},
			lacks: map[string]string{"email": "Last sign-in", "data": "/logout/"},
		},
		"with a past": {
			settings: func(s *registration.Settings) {
				s.User.PublicFields = []string{field.ID, field.Username, field.LastLogin}
			},
			account: func(u *store.User) {
				u.PasswordSince = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
				u.Factors = []store.Factor{{Type: store.FactorTOTP}}
				u.ProgramTokens = []store.ProgramToken{{Name: "calendar"}, {Name: "backup"}}
			},
			has: map[string][]string{
				"password": {"Last changed", `datetime="2026-03-01T12:00:00Z"`},
				"factors":  {"1 way to"},
				"sessions": {"Last sign-in"},
				"tokens":   {"You have 2 tokens."},
			},
		},
		"where nobody leaves": {
			settings: func(s *registration.Settings) { s.DeleteAccount.Off = true },
			has:      map[string][]string{"data": {`href="/accounts/export/"`}},
			lacks:    map[string]string{"data": "leave"},
		},
		"without a password": {
			account: func(u *store.User) { u.PasswordHash = "" },
			has:     map[string][]string{"password": {"no password", "Save password"}},
			lacks:   map[string]string{"password": "Change your password"},
		},
		"an address that is edited at once": {
			settings: func(s *registration.Settings) {
				off := false
				s.RegisterEmail.Verification = &off
				s.User.EditableFields = []string{field.Username, field.Email}
			},
			has: map[string][]string{"email": nil},
		},
		"an address that nobody sees": {
			settings: func(s *registration.Settings) { s.User.HiddenFields = []string{field.Email} },
			has:      map[string][]string{"email": {`href="/accounts/register-email/"`}},
			lacks:    map[string]string{"email": "ada@example.org"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, func(settings *registration.Settings) {
				if c.settings != nil {
					c.settings(settings)
				}
			})
			id := s.Member("ada")
			b := s.SignedIn("ada").LikeBrowser()
			if c.account != nil {
				s.Set(id, c.account)
			}
			page := b.Get("/accounts/profile/").Text
			for part, texts := range c.has {
				if texts == nil {
					require.Empty(t, partOf(page, part), part)
				}
				for _, text := range texts {
					require.Contains(t, partOf(page, part), text, part)
				}
			}
			for part, text := range c.lacks {
				require.NotContains(t, partOf(page, part), text, part)
			}
			require.LessOrEqual(t, strings.Count(page, "<dt>Email address"), 1)
		})
	}
}
