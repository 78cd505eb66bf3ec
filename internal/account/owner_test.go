// owner_test.go: what the owner of a site does with accounts.

package account_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func refusedFields(t *testing.T, err error) map[string]refusal.Code {
	t.Helper()
	var refused *refusal.Error
	require.ErrorAs(t, err, &refused)
	codes := map[string]refusal.Code{}
	for _, e := range refused.Fields {
		codes[e.Field] = e.Code
	}
	return codes
}

func TestOwnerMakesAccounts(t *testing.T) {
	s := sitetest.New(t, sitetest.WithFields(field.Spec{Name: "plan", Type: "text", Required: true, MaxLength: 5}))
	ctx := t.Context()
	u, err := s.Accounts.Create(ctx, account.NewAccount{Username: "admin", Email: "ada@example.org", Groups: []string{"admins"}})
	require.NoError(t, err, "a reserved name, and no plan")
	require.True(t, u.IsActive && u.EmailVerified)
	require.Empty(t, u.PasswordHash)
	for name, test := range map[string]struct {
		wanted account.NewAccount
		codes  map[string]refusal.Code
	}{
		"taken":      {account.NewAccount{Username: "Admin", Email: "ADA@example.org"}, map[string]refusal.Code{"username": refusal.CodeUnique, "email": refusal.CodeUnique}},
		"nothing":    {account.NewAccount{}, map[string]refusal.Code{"username": refusal.CodeRequired}},
		"dots":       {account.NewAccount{Username: ".."}, map[string]refusal.Code{"username": refusal.CodeInvalid}},
		"no address": {account.NewAccount{Username: "bob", Email: "bob"}, map[string]refusal.Code{"email": refusal.CodeInvalid}},
		"a group":    {account.NewAccount{Username: "bob", Groups: []string{"a b"}}, map[string]refusal.Code{"groups": refusal.CodeInvalid}},
		"password":   {account.NewAccount{Username: "bob", Password: "short"}, map[string]refusal.Code{"password": refusal.CodePasswordTooShort}},
		"no field":   {account.NewAccount{Username: "bob", Fields: field.Input{"is_staff": {Kind: field.ValueText, Text: "true"}}}, map[string]refusal.Code{"is_staff": refusal.CodeInvalid}},
		"field":      {account.NewAccount{Username: "bob", Fields: field.Input{"plan": {Kind: field.ValueText, Text: "longer"}}}, map[string]refusal.Code{"plan": refusal.CodeMaxLength}},
		"other's":    {account.NewAccount{Username: "eve@example.org"}, map[string]refusal.Code{"username": refusal.CodeInvalid}},
		"all at once": {account.NewAccount{Username: "-", Email: "ADA@example.org", Groups: []string{""}, Password: "short"}, map[string]refusal.Code{
			"username": refusal.CodeInvalid, "email": refusal.CodeUnique, "groups": refusal.CodeInvalid, "password": refusal.CodePasswordTooShort,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Accounts.Create(ctx, test.wanted)
			require.Equal(t, test.codes, refusedFields(t, err))
		})
	}
}

// A link that an owner makes sets a password once, also where nobody can ask for one.
func TestOwnerMakesLinks(t *testing.T) {
	for name, test := range map[string]struct {
		configure func(*registration.Settings)
		endpoint  string
	}{
		"reset on":   {func(*registration.Settings) {}, "reset-password"},
		"used again": {func(s *registration.Settings) { s.ResetPassword.OneTimeUse = sitetest.Off() }, "reset-password"},
		"reset off":  {func(s *registration.Settings) { s.ResetPassword.Enabled = sitetest.Off() }, "set-password"},
		"no mailer": {func(s *registration.Settings) {
			s.ResetPassword.Enabled, s.MailerRaw, s.Register.Verification, s.RegisterEmail.Verification = sitetest.Off(), nil, sitetest.Off(), sitetest.Off()
		}, "set-password"},
		"a frontend": {func(s *registration.Settings) { s.ResetPassword.VerificationURL = "https://app.example/new-password" }, "reset-password"},
		"no page": {func(s *registration.Settings) {
			s.ResetPassword.Enabled, s.Pages.Off, s.Register.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = sitetest.Off(), true, "https://app.example/a", "https://app.example/b", "https://app.example/c"
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, test.configure)
			u, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada"})
			require.NoError(t, err)
			link, err := s.Accounts.ResetLink(t.Context(), u)
			if test.endpoint == "" {
				require.ErrorIs(t, err, account.ErrNoLink)
				return
			}
			require.NoError(t, err)
			at, err := url.Parse(link)
			require.NoError(t, err)
			body := sitetest.Data{"password": sitetest.Password}
			for name, values := range at.Query() {
				body[name] = values[0]
			}
			b := s.Browser()
			require.Equal(t, http.StatusOK, b.Post("/accounts/"+test.endpoint, body).StatusCode)
			require.Equal(t, "signature_invalid", problem(s, test.endpoint, body), "once")
			require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"username": "ada", "password": sitetest.Password}).StatusCode)
			_, err = s.Accounts.Administer(t.Context(), u.ID, account.AdminChange{IsActive: new(bool)})
			require.NoError(t, err)
			u, err = s.Accounts.LookupID(t.Context(), u.ID.String())
			require.NoError(t, err)
			_, err = s.Accounts.ResetLink(t.Context(), u)
			require.ErrorContains(t, err, "enable it first")
			u.AwaitsApproval = true
			_, err = s.Accounts.ResetLink(t.Context(), u)
			require.ErrorContains(t, err, "approve it first")
		})
	}
}

// The same link by mail: also where nobody can ask for one.
func TestOwnerMailsLinks(t *testing.T) {
	for name, test := range map[string]struct {
		configure func(*registration.Settings)
		endpoint  string
		refusal   string
	}{
		"reset on":  {func(*registration.Settings) {}, "reset-password", ""},
		"reset off": {func(s *registration.Settings) { s.ResetPassword.Enabled = sitetest.Off() }, "set-password", ""},
		"no mailer": {func(s *registration.Settings) {
			s.ResetPassword.Enabled, s.MailerRaw, s.Register.Verification, s.RegisterEmail.Verification = sitetest.Off(), nil, sitetest.Off(), sitetest.Off()
		}, "", "there is no mailer; hand out the link instead"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, test.configure)
			u, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Email: "ada@example.org"})
			require.NoError(t, err)
			bare, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "bare"})
			require.NoError(t, err)
			err = s.Accounts.MailResetLink(t.Context(), u)
			if test.refusal != "" {
				require.ErrorContains(t, err, test.refusal)
				return
			}
			require.NoError(t, err)
			m := s.Mail()
			require.Equal(t, "ada@example.org", m.To)
			require.Contains(t, m.Text, "/accounts/"+test.endpoint+"/?")
			require.Equal(t, "Your account at example.com has been created", m.Subject)
			require.Contains(t, m.Text, "Your username is ada.")
			require.NotRegexp(t, "asked for|somebody|new password|stays as it is", m.Text+m.HTML)
			body := sitetest.With(sitetest.LinkOf(m, t), sitetest.Data{"password": sitetest.Password})
			b := s.Browser()
			require.Equal(t, http.StatusOK, b.Post("/accounts/"+test.endpoint, body).StatusCode)
			require.Equal(t, "signature_invalid", problem(s, test.endpoint, body), "once")
			require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"username": "ada", "password": sitetest.Password}).StatusCode)
			require.NoError(t, s.Accounts.MailResetLink(t.Context(), u))
			for m = s.Mail(); m.Subject == "Your password at example.com has been changed"; {
				m = s.Mail()
			}
			require.Equal(t, "Set a new password at example.com", m.Subject, "it has a password by now")
			require.Contains(t, m.Text, "The owner of example.com sends you this link.")
			require.NotRegexp(t, "asked for|somebody", m.Text+m.HTML)
			require.ErrorContains(t, s.Accounts.MailResetLink(t.Context(), bare), "the account bare has no e-mail address")
			u.ID = uuid.New()
			require.ErrorContains(t, s.Accounts.MailResetLink(t.Context(), u), "user_not_found", "it has gone meanwhile")
			u.IsActive = false
			require.ErrorContains(t, s.Accounts.MailResetLink(t.Context(), u), "enable it first")
		})
	}
}

func TestOwnerChangesAccounts(t *testing.T) {
	s := sitetest.New(t)
	ctx := t.Context()
	u, err := s.Accounts.Create(ctx, account.NewAccount{Username: "ada", Email: "ada@example.org", Password: sitetest.Password})
	require.NoError(t, err)
	in := func(login, pass string) error {
		_, err := s.Accounts.SignIn(ctx, field.Input{"username": {Kind: field.ValueText, Text: login}, "password": {Kind: field.ValueText, Text: pass}}, account.Client{}, nil)
		return err
	}
	signIns := func() int {
		now, err := s.Accounts.LookupID(ctx, u.ID.String())
		require.NoError(t, err)
		list, err := s.Accounts.SignInsOf(ctx, now)
		require.NoError(t, err)
		return len(list)
	}
	require.NoError(t, in("ada", sitetest.Password))
	require.Equal(t, 1, signIns())
	_, err = s.Accounts.SetPassword(ctx, u.ID, "another of the 8", account.Client{})
	require.NoError(t, err)
	require.Zero(t, signIns())
	require.Error(t, in("ada", sitetest.Password))
	require.NoError(t, in("ada", "another of the 8"))
	_, err = s.Accounts.SetUsername(ctx, u.ID, "countess", account.Client{})
	require.NoError(t, err)
	require.Equal(t, 1, signIns())
	require.NoError(t, in("countess", "another of the 8"))
	_, err = s.Accounts.SetEmail(ctx, u.ID, "lady@example.org", account.Client{})
	require.NoError(t, err)
	require.Zero(t, signIns())
	got, err := s.Accounts.SetGroups(ctx, u.ID, []string{"a", "b"}, nil)
	require.NoError(t, err)
	got, err = s.Accounts.SetGroups(ctx, u.ID, []string{"c"}, []string{"a"})
	require.NoError(t, err)
	require.Equal(t, []string{"b", "c"}, got.Groups)
	require.Equal(t, "lady@example.org", got.Email)
	require.True(t, got.EmailVerified)
	require.NoError(t, in("countess", "another of the 8"))
	_, err = s.Accounts.EndSignIns(ctx, u.ID)
	require.NoError(t, err)
	require.Zero(t, signIns())
}
