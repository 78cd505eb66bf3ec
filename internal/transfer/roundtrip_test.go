// roundtrip_test.go: export, import, export is identical: whatever the store keeps of
// accounts in whatever state, and with whatever names.

package transfer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
	"github.com/seed-928992b0/caddy-registration/store"
)

// names are such as people have, in many languages, and such as nobody should.
var oddNames = []string{
	"ada", "Ærøskøbing", "Ελένη", "Аня", "علي", "שרה", "देवी", "ไทย", "明日香", "김철수", "ᏣᎳᎩ", "İstanbul", "straße", "x.y+z_-@w", "0", "ǅabc",
	"someone@example.net", strings.Repeat("長", 150), "01890a5d-ac96-774b-bcce-b302099a8057x",
}

// crowd fills a realm with accounts in all states.
func crowd(s *sitetest.Site) {
	s.T.Helper()
	now := s.Accounts.Time()
	at := func(days int) time.Time { return now.Add(time.Duration(days) * sitetest.Day) }
	var users []*store.User
	for i, name := range oddNames {
		users = append(users, &store.User{
			ID: uuid.Must(uuid.NewV7()), Username: name, Email: fmt.Sprintf("Person.%d@Example.org", i), EmailVerified: i%2 == 0, IsActive: i%3 != 0, IsStaff: i%5 == 0,
			FirstName: name, LastName: "O'Brien \\ \"<&>", DateJoined: at(-i), PasswordHash: "$2b$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
			Extra:  map[string]any{"city": name, "age": int64(-i), "height": float64(i), "news": i%2 == 0, "born": "0001-01-01", "size": "s", "badge": fmt.Sprint("B", i), "gone": "of a field that was", "emptied": nil},
			Groups: []string{"数学", "admins"}[:i%3%2+1],
		})
	}
	users[1].AwaitsVerification, users[1].IsActive, users[1].EmailPending = true, false, true
	users[1].WaitingFrom, users[1].WaitingSince = at(-2), at(-1)
	users[2].AwaitsApproval, users[2].IsActive, users[2].Reason = true, false, "I sing.\nAnd dance."
	users[3].Former = []store.FormerEmail{{Email: "old@example.org", Serial: 4, Until: at(3), Unproven: true, Main: "first@example.org"}}
	users[3].EmailChanges, users[3].Generation, users[3].SessionEpoch, users[3].TokenEpoch = 4, 1<<40, 7, 8
	users[4].Terms, users[4].TermsAt, users[4].LastLogin = "2026-11-01", at(-1), at(0)
	users[5].Unreachable = store.Unreachable{Email: "x@example.org", Words: "550 no such user\n<here>", Since: at(-1)}
	users[6].UsedLinks, users[6].NamesLeft = []store.LinkHash{{1, 2}, {3}}, []time.Time{at(-3)}
	users[7].Factors = []store.Factor{
		{ID: uuid.Must(uuid.NewV7()), Type: store.FactorTOTP, Name: "phone 📱", Created: at(-1), Secret: []byte{0, 255, 1}, LastStep: 58_000_000},
		{ID: uuid.Must(uuid.NewV7()), Type: store.FactorPasskey, Name: "key", Created: at(-1), LastUsed: at(0), Secret: []byte(`{"a":1}`), CredentialID: []byte{9}, AAGUID: uuid.New(), Flags: 5, SignCount: 3, Transports: []string{"usb", "nfc"}},
	}
	users[7].FormerFactors = []store.FormerFactor{{Factor: store.Factor{ID: uuid.Must(uuid.NewV7()), Type: store.FactorTOTP}, Until: at(2), RemovedAt: 4}}
	users[7].RecoveryCodes, users[7].RecoveryMade = [][]byte{{1}, {2, 3}}, at(-1)
	users[7].Enrolment = &store.Enrolment{Secret: []byte{7}, Session: store.TokenHash{1}, Since: at(0)}
	users[7].FactorFailures, users[7].FactorFailuresInRow = []store.FactorFailure{{At: at(0), Challenge: [8]byte{1}}, {At: at(0)}}, 2
	users[7].FormerPasswords, users[7].PasswordSince = []store.FormerPassword{{Hash: users[0].PasswordHash, Until: at(-1)}}, at(-1)
	users[7].TrustedDevices = []store.TrustedDevice{{Hash: store.TokenHash{7}, Created: at(-1), LastUsed: at(0), UserAgent: "Firefox", State: [16]byte{5}}}
	users[7].KnownDevices = []store.KnownDevice{{Name: [16]byte{1}, LastUsed: at(0), Told: at(-1), SignIn: uuid.New(), Trust: [16]byte{2}}, {LastUsed: at(-1)}}
	users[8].Email, users[9].Username, users[10].PasswordHash = "", "", ""
	require.NoError(s.T, s.Accounts.Update(s.T.Context(), func(t *account.Txn) error {
		for _, u := range users {
			if err := s.Accounts.PutUser(t, u); err != nil {
				return fmt.Errorf("%s: %w", u.Username, err)
			}
		}
		return nil
	}))
	_, _, err := s.Accounts.Invite(s.T.Context(), account.NewInvitation{Groups: []string{"choir"}, Uses: 3, Note: "nach dem Konzert"})
	require.NoError(s.T, err)
	_, err = s.Accounts.SetUsername(s.T.Context(), users[0].ID, "lovelace", account.Client{})
	require.NoError(s.T, err)
}

func TestRoundTrip(t *testing.T) {
	from := sitetest.New(t, withFields)
	crowd(from)
	first := exported(from, "ndjson", true)
	to := sitetest.New(t, withFields)
	to.Travel(from.Realm.Now().Sub(to.Realm.Now()))
	report, remarks := imported(to, "ndjson", first)
	require.Equal(t, []string{"9 " + oddNames[7] + " added factors sealed"}, says(remarks), "whoever has an app for codes")
	require.Equal(t, []int{len(oddNames), 1, 1, 0}, []int{report.Added, report.Invitations, report.LeftNames, report.Refused})
	require.Equal(t, first, exported(to, "ndjson", true))

	report, remarks = imported(to, "ndjson", first)
	require.Empty(t, remarks)
	require.Equal(t, &transfer.Report{Unchanged: len(oddNames), Reasons: []*transfer.Reason{}}, report, "a second run changes nothing")
	report, _ = imported(to, "ndjson", first, func(o *transfer.Options) { o.Update = true })
	require.Equal(t, len(oddNames), report.Unchanged)
	require.Equal(t, first, exported(to, "ndjson", true))

	// Of one without hashes the accounts come, and nobody can sign in with a password.
	bare := sitetest.New(t, withFields)
	report, _ = imported(bare, "ndjson", exported(from, "ndjson", false))
	require.Equal(t, len(oddNames), report.Added)
	require.NotContains(t, exported(bare, "ndjson", true), "password_hash")
}

// A table of ours keeps what its columns say, the ids too.
func TestRoundTripOfATable(t *testing.T) {
	from := sitetest.New(t, withFields)
	from.Set(from.Member("ada"), func(u *store.User) {
		u.FirstName, u.Groups, u.Extra = `A "d", a`, []string{"a", "b"}, map[string]any{"city": "Zürich", "age": int64(3), "height": 2.5, "news": true}
	})
	from.Member("bob")
	first := exported(from, "csv", true)
	to := sitetest.New(t, withFields)
	report, remarks := imported(to, "csv", first)
	require.Empty(t, remarks)
	require.Equal(t, 2, report.Added)
	require.Equal(t, first, exported(to, "csv", true))
	to.SignedIn("ada")
}

// Who exports one realm into another that has some of its people: by their ids, else by
// their names.
func TestWholeAccountsMeetOthers(t *testing.T) {
	from := sitetest.New(t)
	for _, name := range []string{"ada", "bob", "eve"} {
		from.Member(name)
	}
	to := sitetest.New(t)
	to.Member("ada") // by another id
	to.Set(to.Member("other"), func(u *store.User) { u.Email = "bob@example.org" })
	report, remarks := imported(to, "ndjson", exported(from, "ndjson", true), func(o *transfer.Options) { o.Group = "moved" })
	require.Equal(t, []int{1, 1, 1}, []int{report.Added, report.Different, report.Refused})
	require.Equal(t, []string{"2 ada different groups different", "2 ada different password different", "3 bob refused email other_account"}, says(remarks))
	eve, err := to.Accounts.Lookup(t.Context(), "eve")
	require.NoError(t, err)
	require.Equal(t, []string{"moved"}, eve.Groups)
}

// Further addresses go along in our own export, each one account's alone; a table has the
// first one.
func TestSeveralAddressesOfWholeAccounts(t *testing.T) {
	from := sitetest.New(t)
	from.Set(from.Member("ada"), func(u *store.User) { u.FurtherEmails = []string{"ada@work.example", "ada@home.example"} })
	require.NotContains(t, exported(from, "csv", true), "work.example")
	first := exported(from, "ndjson", true)
	to := sitetest.New(t)
	report, remarks := imported(to, "ndjson", first)
	require.Empty(t, remarks)
	require.Equal(t, 1, report.Added)
	u, err := to.Accounts.Lookup(t.Context(), "ADA@home.example")
	require.NoError(t, err)
	require.Equal(t, "ada", u.Username)
	require.Equal(t, first, exported(to, "ndjson", true))
	report, _ = imported(to, "ndjson", first)
	require.Equal(t, 1, report.Unchanged)
	to.Set(u.ID.String(), func(u *store.User) { u.FurtherEmails = u.FurtherEmails[1:] })
	_, remarks = imported(to, "ndjson", first)
	require.Equal(t, []string{"2 ada different further_emails different"}, says(remarks))

	others := sitetest.New(t)
	others.Set(others.Member("bob"), func(u *store.User) { u.Email = "ada@work.example" })
	report, _ = imported(others, "ndjson", first)
	require.Equal(t, 1, report.Refused)
	_, err = others.Accounts.Lookup(t.Context(), "ada")
	require.Error(t, err)
	_, remarks = imported(others, "ndjson", strings.Replace(first, `"ada@home.example"`, `""`, 1))
	require.Equal(t, []string{"2 ada refused further_emails syntax"}, says(remarks))
}
