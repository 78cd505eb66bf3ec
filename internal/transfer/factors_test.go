// factors_test.go: second steps that move with their accounts, and what is said of those
// that can't; the end of a file.

package transfer_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
	"github.com/seed-928992b0/caddy-registration/store"
)

// withSecrets are secrets of a configuration, by their names.
func withSecrets(names ...string) func(*registration.Settings) {
	return func(s *registration.Settings) {
		for _, name := range names {
			s.Secrets = append(s.Secrets, strings.Repeat(name+" ", 12))
		}
	}
}

// A holder is somebody with an app for codes and a list of recovery codes.
type holder struct {
	name, secret string
	recovery     []string
}

// newHolder signs up at a site.
func newHolder(s *sitetest.Site, name string) *holder {
	s.T.Helper()
	s.Member(name)
	b, h := s.SignedIn(name), &holder{name: name}
	h.secret = b.Post("/accounts/enrol-totp", sitetest.Data{}).JSON(s.T)["secret"].(string)
	res := b.Post("/accounts/confirm-totp", sitetest.Data{"code": h.code(s)})
	require.Equal(s.T, http.StatusCreated, res.StatusCode, res.Text)
	for _, code := range res.JSON(s.T)["recovery_codes"].([]any) {
		h.recovery = append(h.recovery, code.(string))
	}
	s.Travel(time.Minute)
	unread(s)
	return h
}

// unread waits for the mail of a site and throws it away.
func unread(s *sitetest.Site) {
	s.T.Helper()
	require.Eventually(s.T, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
	for len(s.Mailer.Sent) > 0 {
		<-s.Mailer.Sent
	}
}

// code is what the app shows now.
func (h *holder) code(s *sitetest.Site) string {
	code, err := hotp.GenerateCode(h.secret, uint64(s.Now.Load()/int64(30*time.Second)))
	require.NoError(s.T, err)
	return code
}

// signsIn tries a code of the app and then the next recovery code.
func (h *holder) signsIn(s *sitetest.Site) (byApp, byRecovery int) {
	s.T.Helper()
	try := func(param, value string) int {
		b := s.Browser()
		res := b.Post("/accounts/login", sitetest.Data{"login": h.name, "password": sitetest.Password})
		require.Equal(s.T, http.StatusOK, res.StatusCode, res.Text)
		return b.Post("/accounts/login-factor", sitetest.Data{"challenge": res.JSON(s.T)["challenge"], param: value}).StatusCode
	}
	s.Travel(time.Minute)
	byApp = try("totp", h.code(s))
	byRecovery = try("recovery_code", h.recovery[0])
	if byRecovery == http.StatusOK {
		h.recovery = h.recovery[1:]
	}
	return byApp, byRecovery
}

func (h *holder) requireSignsIn(s *sitetest.Site) {
	s.T.Helper()
	byApp, byRecovery := h.signsIn(s)
	require.Equal(s.T, []int{http.StatusOK, http.StatusOK}, []int{byApp, byRecovery})
	unread(s)
}

// restarted is the site of a store after a restart with other settings.
func restarted(s *sitetest.Site, configure ...func(*registration.Settings)) *sitetest.Site {
	s.T.Helper()
	now := s.Realm.Now()
	s.Close()
	after := sitetest.NewAt(s.T, s.Path, configure...)
	after.Travel(now.Sub(after.Realm.Now()))
	return after
}

// A code of the app and a recovery code sign in where the accounts have gone, if both
// realms have the secret: in a fresh one, in one with second steps of its own, under a new
// secret, and from there in the next.
func TestSecondStepsMove(t *testing.T) {
	secret := withSecrets("first")
	from := sitetest.New(t, secret)
	ada := newHolder(from, "ada")
	file := exported(from, "ndjson", true)
	require.Contains(t, file, `{"factor_key":{"realm":"default","own":"`)
	require.NotContains(t, exported(from, "ndjson", false), "factor_key")
	require.NotContains(t, exported(from, "csv", true), "factor_key")

	fresh := sitetest.New(t, secret)
	fresh.Travel(from.Realm.Now().Sub(fresh.Realm.Now()))
	report, remarks := imported(fresh, "ndjson", file)
	require.Empty(t, remarks)
	require.Equal(t, &transfer.Report{Added: 1, Reasons: []*transfer.Reason{}}, report)
	require.Equal(t, file, exported(fresh, "ndjson", true), "the key too")
	taken := 0
	for _, row := range auditsOf(fresh) {
		if row.Details["factor_key"] == "taken" {
			taken++
		}
	}
	require.Equal(t, 1, taken, "the record has it")
	report, remarks = imported(fresh, "ndjson", file)
	require.Empty(t, remarks)
	require.Equal(t, &transfer.Report{Unchanged: 1, Reasons: []*transfer.Reason{}}, report)
	ada.requireSignsIn(fresh)
	fresh = restarted(fresh, secret)
	ada.requireSignsIn(fresh)

	// Beside somebody who is sealed under another key.
	to := sitetest.New(t, withSecrets("second", "first"))
	to.Travel(fresh.Realm.Now().Sub(to.Realm.Now()))
	eve := newHolder(to, "eve")
	_, remarks = imported(to, "ndjson", exported(fresh, "ndjson", true))
	require.Empty(t, remarks)
	ada.requireSignsIn(to)
	eve.requireSignsIn(to)
	to = restarted(to, withSecrets("third", "second"))
	ada.requireSignsIn(to)
	to = restarted(to, withSecrets("third"))
	ada.requireSignsIn(to)
	eve.requireSignsIn(to)

	// Both go on from there.
	last := sitetest.New(t, withSecrets("third"))
	last.Travel(to.Realm.Now().Sub(last.Realm.Now()))
	file = exported(to, "ndjson", true)
	require.Contains(t, file, `"taken":"`)
	_, remarks = imported(last, "ndjson", file)
	require.Empty(t, remarks)
	require.Equal(t, file, exported(last, "ndjson", true))
	ada.requireSignsIn(last)
	eve.requireSignsIn(last)
}

// A key that no secret here opens is left out, keeps nobody from starting, and the report
// says whose second step is lost and how to have it back: then the same file again mends it.
func TestSecondStepsUnderAnotherSecret(t *testing.T) {
	from := sitetest.New(t, withSecrets("theirs"))
	ada := newHolder(from, "ada")
	from.Member("bob")
	newHolder(from, "codes")
	from.Set(sitetest.UUIDOf(t, from, "codes").String(), func(u *store.User) {
		u.Factors[0].Type, u.Factors[0].CredentialID = store.FactorPasskey, []byte{1}
	})
	file := exported(from, "ndjson", true)

	for name, has := range map[string]bool{"with second steps": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			to := sitetest.New(t, withSecrets("ours"))
			var eve *holder
			if has {
				eve = newHolder(to, "eve")
			}
			ada := &holder{ada.name, ada.secret, ada.recovery}
			report, remarks := imported(to, "ndjson", file)
			require.Equal(t, []string{"3 ada added factors sealed", "5 codes added factors sealed"}, says(remarks))
			require.Contains(t, remarks[0].Message, "secret <this> <that>, and import the file again")
			require.Len(t, report.Notes, 1)
			require.Contains(t, report.Notes[0], "a secret that this realm doesn't have")
			byApp, byRecovery := ada.signsIn(to)
			require.Equal(t, []int{http.StatusBadRequest, http.StatusBadRequest}, []int{byApp, byRecovery}, "nobody is let in without")
			to = restarted(to, withSecrets("ours"))
			report, _ = imported(to, "ndjson", file)
			require.Len(t, report.Notes, 1, "each time")

			to = restarted(to, withSecrets("ours", "theirs"))
			report, remarks = imported(to, "ndjson", file)
			require.Empty(t, remarks)
			require.Equal(t, &transfer.Report{Unchanged: 3, Mended: 2, Reasons: []*transfer.Reason{}}, report, "it says that codes work now")
			report, _ = imported(to, "ndjson", file)
			require.Zero(t, report.Mended, "once")
			ada.requireSignsIn(to)
			to = restarted(to, withSecrets("ours"))
			ada.requireSignsIn(to)
			if has {
				eve.requireSignsIn(to)
			}
		})
	}
}

// Without a secret outside of the store the key stays in it, and export and import say so:
// only taken back into that store the codes work.
func TestSecondStepsWithoutASecret(t *testing.T) {
	from := sitetest.New(t)
	ada := newHolder(from, "ada")
	from.Member("bob")
	spool, err := transfer.NewSpool(t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, spool.Close()) }()
	got, err := transfer.Export(t.Context(), from.Accounts, spool, transfer.ExportOptions{Format: "ndjson", WithHashes: true})
	require.NoError(t, err)
	require.Equal(t, transfer.Exported{Accounts: 2, Sealed: 1}, got)
	file := exported(from, "ndjson", true)
	require.NotContains(t, file, "factor_key")

	to := sitetest.New(t)
	_, remarks := imported(to, "ndjson", file)
	require.Equal(t, []string{"2 ada added factors sealed"}, says(remarks))
	require.Contains(t, remarks[0].Message, "Give the realm that it comes from a secret and export it again")
	err = from.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, from, "ada"))
	require.NoError(t, err)
	_, remarks = imported(from, "ndjson", file)
	require.Empty(t, remarks)
	ada.requireSignsIn(from)

	// With a secret they go.
	from = restarted(from, withSecrets("new"))
	to = restarted(to, withSecrets("new"))
	_, remarks = imported(to, "ndjson", exported(from, "ndjson", true))
	require.Empty(t, remarks)
	ada.requireSignsIn(to)
}

// Recovery codes alone, of a file that has no key for them.
func TestRecoveryCodesOfAnOlderExport(t *testing.T) {
	s := sitetest.New(t)
	file := `{"registration_export":1,"with_hashes":true}` + "\n" +
		`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","username":"ada","is_active":true,"recovery_codes":["AAAA"]}` + "\n"
	report, remarks := imported(s, "ndjson", file)
	require.Equal(t, []string{"2 ada added factors sealed"}, says(remarks))
	require.Contains(t, remarks[0].Message, "its recovery codes are good in the store that they come from alone")
	require.Equal(t, []string{"the file is of an older version and has no last line by which one could see that it is whole"}, report.Notes[:1])
}

// Keys in a file that somebody has written, or a store that fails, change nothing.
func TestKeysThatAreNotTaken(t *testing.T) {
	from := sitetest.New(t, withSecrets("first"))
	ada := newHolder(from, "ada")
	file := exported(from, "ndjson", true)
	real := strings.Split(strings.Split(file, `"own":"`)[1], `"`)[0]
	for name, key := range map[string]string{
		"none": "", "short": real[:40], "long": strings.Repeat("A", 64<<10), "of another realm": "x",
	} {
		t.Run(name, func(t *testing.T) {
			to := sitetest.New(t, withSecrets("first"))
			other := strings.Replace(file, real, key, 1)
			if key == "x" {
				other = strings.Replace(file, `"realm":"default"`, `"realm":"other"`, 1)
			}
			_, remarks := imported(to, "ndjson", other)
			require.Equal(t, []string{"3 ada added factors sealed"}, says(remarks))
			eve := newHolder(restarted(to, withSecrets("first")), "eve")
			require.NotEmpty(t, eve.secret, "it starts, and seals")
		})
	}
	to := sitetest.New(t, withSecrets("first"))
	importPastFaults(t, to, file)
	to.Travel(from.Realm.Now().Sub(to.Realm.Now()))
	ada.requireSignsIn(to)
}

// A file that was cut off at the end of a line is refused before anybody is taken; one that
// was changed by hand is taken, and told of.
func TestEndOfAnExport(t *testing.T) {
	from := sitetest.New(t)
	for _, name := range []string{"ada", "bob", "eve"} {
		from.Member(name)
	}
	file := exported(from, "ndjson", true)
	lines := strings.SplitAfter(file, "\n")
	require.Equal(t, `{"registration_export_end":{"accounts":3,"lines":4}}`+"\n", lines[4])
	for name, c := range map[string]struct {
		file  string
		added int
		says  string
	}{
		"whole":                       {file, 3, ""},
		"empty lines at its end":      {file + "\n\r\n", 3, ""},
		"with a byte order mark":      {"\ufeff" + file, 3, ""},
		"without its last line's end": {strings.TrimSuffix(file, "\n"), 3, ""},
		"cut":                         {strings.Join(lines[:4], ""), 0, "it is not whole: its last line is missing"},
		"cut in a line":               {file[:len(file)-4], 0, "it is not whole: its last line is missing"},
		"the header alone":            {lines[0], 0, "it is not whole: its last line is missing"},
		"without an account":          {lines[0] + lines[1] + lines[3] + lines[4], 2, "the file has 3 lines before its last one, which says that there are 4"},
		"an end by hand":              {lines[0] + lines[1] + `{"registration_export_end":{}}`, 1, ""},
		"two of them":                 {file + file, 3, "the file has 9 lines before its last one, which says that there are 4"},
	} {
		t.Run(name, func(t *testing.T) {
			to := sitetest.New(t)
			report, remarks := imported(to, "ndjson", c.file)
			require.Equal(t, c.added, report.Added)
			said := strings.Join(append(report.Notes, report.Error), "")
			if c.says == "" {
				require.Empty(t, said)
			} else {
				require.Contains(t, said, c.says)
			}
			if name == "two of them" {
				require.Contains(t, remarks[0].Message, "another export begins here")
				require.Equal(t, 4, report.Refused, "the header, and three who are there twice")
			}
		})
	}
}
