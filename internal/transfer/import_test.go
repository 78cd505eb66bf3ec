// import_test.go: what becomes of the accounts of a file, and what is said of them.

package transfer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/arrival"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
	"github.com/seed-928992b0/caddy-registration/store"
)

// imported imports a file, and before it says that a dry run says the same.
func imported(s *sitetest.Site, format, file string, options ...func(*transfer.Options)) (*transfer.Report, []transfer.Remark) {
	s.T.Helper()
	run := func(dry bool) (*transfer.Report, []transfer.Remark, error) {
		var remarks []transfer.Remark
		o := transfer.Options{Options: arrival.Options{Format: format, DryRun: dry}}
		o.Tell = func(e transfer.Event) error {
			if e.Remark != nil {
				remarks = append(remarks, *e.Remark)
			}
			return nil
		}
		for _, option := range options {
			option(&o)
		}
		report, err := transfer.Import(s.T.Context(), s.Accounts, strings.NewReader(file), o)
		return report, remarks, err
	}
	users, _ := s.Census()
	dry, dryRemarks, err := run(true)
	require.NoError(s.T, err)
	still, _ := s.Census()
	require.Equal(s.T, users, still, "a dry run changes nothing")
	report, remarks, err := run(false)
	require.NoError(s.T, err)
	dry.DryRun = false
	require.Equal(s.T, dry, report, "a dry run says what the run does")
	require.Equal(s.T, dryRemarks, remarks)
	require.Empty(s.T, s.Queued(), "nobody is mailed")
	return report, remarks
}

func says(remarks []transfer.Remark) (lines []string) {
	for _, r := range remarks {
		lines = append(lines, fmt.Sprintf("%d %s %s %s %s", r.Line, r.Account, r.Fate, r.Field, r.Code))
	}
	return lines
}

func TestImportOfATable(t *testing.T) {
	s := sitetest.New(t, withFields)
	file := "username,email,first_name,groups,is_staff,is_active,date_joined,city,age,password,password_hash\n" +
		"ada,ada@example.org,Ada,\"admins,数学\",true,,2020-02-29T12:00:00Z,Zürich,36," + sitetest.Password + ",\n" +
		"bob,bob@example.org,,,,false,,,,,$2b$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW\n"
	report, remarks := imported(s, "csv", file, func(o *transfer.Options) { o.Group = "moved" })
	require.Empty(t, remarks)
	require.Equal(t, &transfer.Report{Added: 2, Reasons: []*transfer.Reason{}}, report)
	ada := s.SignedIn("ada").Get("/accounts/profile").JSON(t)
	require.Equal(t, "Zürich", ada["city"])
	require.EqualValues(t, 36, ada["age"])
	bob, err := s.Accounts.Lookup(t.Context(), "bob@example.org")
	require.NoError(t, err)
	require.False(t, bob.IsActive)
	require.Equal(t, []string{"moved"}, bob.Groups)
	owner, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, []string{"admins", "数学", "moved"}, owner.Groups)
	require.Equal(t, "2020-02-29T12:00:00Z", owner.DateJoined.Format(time.RFC3339))
	require.True(t, bob.EmailVerified)

	report, remarks = imported(s, "csv", file, func(o *transfer.Options) { o.Group = "moved" })
	require.Equal(t, &transfer.Report{Unchanged: 2, Reasons: []*transfer.Reason{}}, report, "a second run changes nothing")
	require.Empty(t, remarks)
}

// Every collision is told by line, and by what to change.
func TestCollisions(t *testing.T) {
	s := sitetest.New(t, withFields)
	s.Member("ada")
	s.Set(s.Member("eve"), func(u *storeUser) { u.Extra = map[string]any{"badge": "A-1"} })
	report, remarks := imported(s, "csv", strings.Join([]string{
		"username,email,badge,size,shoe",
		"ada,other@example.org,,,",              // 2: the name is another's
		"lovelace,ada@example.org,,,",           // 3: the address is another's
		"ADA,Ada@EXAMPLE.org,,,",                // 4: the same account
		"bob,bob@example.org,,,",                // 5
		"Bob,bob2@example.org,,,",               // 6: twice
		"bob3,bob@example.org,,,",               // 7: twice
		"carl,carl@example.org,a-1,,",           // 8: a badge that is another's
		"dora,dora@example.org,D-1,,",           // 9
		"emil,emil@example.org,d-1,,",           // 10: a badge twice
		"admin,admin@example.org,,,",            // 11: reserved
		"a b,space@example.org,,,",              // 12: invalid here
		"fritz,not an address,,xl,",             // 13: two things
		"gerd,gerd@example.org,,s,42",           // 14: a field that is not there
		"dora@example.org,dora2@example.org",    // 15: too few columns
		"dora@example.org,dora3@example.org,,,", // 16: somebody's address as a name
		"-rf,rf@example.org,,,",                 // 17
	}, "\n"))
	require.Equal(t, []string{
		"2 ada refused username other_account", "3 lovelace refused email other_account", "6 Bob refused username twice", "7 bob3 refused email twice",
		"8 carl refused badge unique", "10 emil refused badge unique", "11 admin added username reserved", "12 a b refused username invalid",
		"13 fritz refused email invalid", "13 fritz refused size invalid_choice", "14 gerd added shoe unknown_field",
		"15  refused  syntax", "16 dora@example.org refused username invalid", "17 -rf refused username invalid",
	}, sortedByLine(says(remarks)))
	require.Equal(t, []int{4, 1, 11}, []int{report.Added, report.Unchanged, report.Refused})
	for _, r := range remarks {
		require.NotEmpty(t, r.Message, "%+v", r)
	}
}

func TestUpdate(t *testing.T) {
	s := sitetest.New(t, withFields)
	b := func() *sitetest.Browser { s.Member("ada"); return s.SignedIn("ada") }()
	before, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	file := "username,email,first_name,groups,is_staff,city,password\nada,ada@example.org,Ada,new,true,Bern,another passphrase\n"
	report, remarks := imported(s, "csv", file)
	require.Equal(t, 1, report.Different)
	require.Equal(t, []string{"2 ada different first_name different", "2 ada different is_staff different", "2 ada different groups different", "2 ada different city different"}, says(remarks))
	update := func(o *transfer.Options) { o.Update = true }
	report, remarks = imported(s, "csv", file, update)
	require.Equal(t, 1, report.Updated)
	require.Empty(t, remarks)
	after, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, before.PasswordHash, after.PasswordHash, "a password that somebody has here stays")
	require.Equal(t, []any{"Ada", true, []string{"new"}, "Bern"}, []any{after.FirstName, after.IsStaff, after.Groups, after.Extra["city"]})
	report, _ = imported(s, "csv", file, update)
	require.Equal(t, 1, report.Unchanged)
	require.Equal(t, 200, b.Get("/accounts/profile").StatusCode)
	report, _ = imported(s, "csv", "username,is_active\nada,false\n", update)
	require.Equal(t, 1, report.Updated)
	require.Equal(t, 401, b.Get("/accounts/profile").StatusCode, "its sessions have ended")
	report, _ = imported(s, "csv", "username,is_active\nada,true\n", update)
	require.Equal(t, 1, report.Unchanged, "what was disabled here stays so")
}

func TestImportIsRecorded(t *testing.T) {
	s := sitetest.New(t)
	imported(s, "csv", "username\nada\nbob\n")
	imported(s, "csv", "username,first_name\nada,Ada\n", func(o *transfer.Options) { o.Update = true })
	var got []string
	for _, row := range auditsOf(s) {
		delete(row.Details, "import")
		got = append(got, fmt.Sprint(row.Event, " ", row.Details))
	}
	require.Equal(t, []string{"accounts_imported map[added:2 format:csv]", "profile_changed map[fields:first_name]", "accounts_imported map[format:csv updated:1]"}, got)
}

// A run that was broken off goes on where it is run again.
func TestBrokenOffAndContinued(t *testing.T) {
	s := sitetest.New(t)
	var file strings.Builder
	file.WriteString("username,email\n")
	for i := range 1200 {
		fmt.Fprintf(&file, "user%d,user%d@example.org\n", i, i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := transfer.Options{Options: arrival.Options{Format: "csv"}, Tell: func(transfer.Event) error { cancel(); return nil }}
	report, err := transfer.Import(ctx, s.Accounts, strings.NewReader(file.String()), o)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 500, report.Added)
	report, remarks := imported(s, "csv", file.String())
	require.Equal(t, []int{700, 500}, []int{report.Added, report.Unchanged})
	require.Empty(t, remarks)
	report, _ = imported(s, "csv", file.String())
	require.Equal(t, 1200, report.Unchanged)
}

// Reasons stand together only where they say the same, and are a few whatever the file.
func TestReasonsByTheirText(t *testing.T) {
	s := sitetest.New(t, withFields)
	var file strings.Builder
	file.WriteString("username,email,shoe\n")
	for i := range 15 {
		fmt.Fprintf(&file, "user%d,user%d@example.org,\n", i, i)
	}
	for i := range 15 {
		fmt.Fprintf(&file, "user%d,user%d@example.org,\n", i, i)
	}
	file.WriteString("a b,x@example.org,42\n")
	report, remarks := imported(s, "csv", file.String())
	require.Len(t, remarks, 16)
	require.Len(t, report.Reasons, 12, "10 messages, the rest of their kind, and another")
	require.Equal(t, "line 2 has the same; remove one of the two", report.Reasons[0].Message)
	require.Equal(t, []int{17}, report.Reasons[0].Lines)
	require.Equal(t, 5, report.Reasons[10].Count)
	require.Contains(t, report.Reasons[10].Message, "a message of its own")
	require.Equal(t, "username", report.Reasons[11].Field, "a field that is not there is no reason to refuse")
	require.Empty(t, report.Reasons[0].Accounts)

	report, _ = imported(s, "keycloak", `{"realm": "x", "users": [{"username": "a b", "enabled": true}, {"username": "c d", "enabled": true}]}`)
	require.Equal(t, []int{1, 1}, report.Reasons[0].Lines)
	require.Equal(t, []string{"a b", "c d"}, report.Reasons[0].Accounts)
}

// Nobody comes in by the name of a wrong format, and an empty file is no success.
func TestFileOfAnotherFormat(t *testing.T) {
	s := sitetest.New(t)
	const realm = `{"realm": "x", "users": [{"username": "ada", "enabled": false}]}`
	for format, says := range map[string]string{"caddy-security": "--format keycloak", "firebase": "--format keycloak", "ndjson": "--format keycloak", "csv": "--format keycloak"} {
		report, _ := imported(s, format, realm)
		require.Zero(t, report.Added)
		require.Contains(t, report.Error, says)
	}
	report, _ := imported(s, "ndjson", "")
	require.Equal(t, "there is no account in the file", report.Error)
}

// An export without hashes says so, and the same with them gives what is missing to whoever
// has not been here since.
func TestPasswordsThatCameLater(t *testing.T) {
	from := sitetest.New(t)
	ids := map[string]string{}
	for _, name := range []string{"ada", "bob", "eve", "fay"} {
		ids[name] = from.Member(name)
	}
	totp := store.Factor{ID: uuid.Must(uuid.NewV7()), Type: store.FactorTOTP, Secret: []byte("sealed")}
	from.Set(ids["eve"], func(u *store.User) { u.Factors = []store.Factor{totp} })
	to := sitetest.New(t)
	report, _ := imported(to, "ndjson", exported(from, "ndjson", false))
	require.Equal(t, 4, report.Added)
	require.Len(t, report.Notes, 1)
	require.Contains(t, report.Notes[0], "--with-hashes")
	// Bob has signed in by a link, and Fay's password was voided.
	to.Set(ids["bob"], func(u *store.User) { u.LastLogin = to.Accounts.Time().Add(time.Hour) })
	to.Set(ids["fay"], func(u *store.User) { u.Generation++ })

	whole := exported(from, "ndjson", true)
	report, remarks := imported(to, "ndjson", whole)
	require.Empty(t, report.Notes)
	require.Equal(t, []int{2, 2}, []int{report.Different, report.Unchanged})
	require.ElementsMatch(t, []string{"ada password", "eve password"}, []string{remarks[0].Account + " " + remarks[0].Field, remarks[1].Account + " " + remarks[1].Field})
	update := func(o *transfer.Options) { o.Update = true }
	report, remarks = imported(to, "ndjson", whole, update)
	require.Equal(t, []int{2, 2}, []int{report.Updated, report.Unchanged})
	require.Len(t, remarks, 1)
	require.Equal(t, []string{"eve", "sealed"}, []string{remarks[0].Account, remarks[0].Code})
	to.SignedIn("ada")
	look := func(name string) *store.User {
		u, err := to.Accounts.Lookup(t.Context(), name)
		require.NoError(t, err)
		return u
	}
	require.Equal(t, []store.Factor{totp}, look("eve").Factors, "nobody is let in without his second step")
	require.Empty(t, look("bob").PasswordHash)
	require.Empty(t, look("fay").PasswordHash)
	events := 0
	for _, row := range auditsOf(to) {
		if row.Event == "password_changed" {
			events++
		}
	}
	require.Equal(t, 2, events)
	report, _ = imported(to, "ndjson", whole, update)
	require.Equal(t, 4, report.Unchanged)
}

// Of other files, too, passwords in the clear and hashes to be wrapped.
func TestPasswordsOfOtherFilesThatCameLater(t *testing.T) {
	s := sitetest.New(t)
	report, _ := imported(s, "csv", "username,email\nada,ada@example.org\nbob,bob@example.org\n")
	require.Equal(t, []string{"none of these accounts has a password in the file; people set one by a link: caddy registration reset-link"}, report.Notes)
	file := "username,password,password_hash\nada," + sitetest.Password + ",\nbob,,$apr1$TqI9WECO$LHZB2DqRlk9nObiB6vJG9.\n"
	report, _ = imported(s, "csv", file, func(o *transfer.Options) { o.Update = true })
	require.Equal(t, 2, report.Updated)
	s.SignedIn("ada")
	bob, err := s.Accounts.Lookup(t.Context(), "bob")
	require.NoError(t, err)
	require.Contains(t, bob.PasswordHash, "argon2id")
}

// What a file has otherwise is told, whether an import would change it or not.
func TestWhatSomebodySignsInWithIsTold(t *testing.T) {
	s := sitetest.New(t)
	imported(s, "csv", "username,email\nada,\nbob,\n,eve@example.org\nfay,fay@example.org\n")
	bob, err := s.Accounts.Lookup(t.Context(), "bob")
	require.NoError(t, err)
	s.Set(bob.ID.String(), func(u *store.User) { u.EmailChanges = 1 }) // has had one
	file := "username,email,email_verified\nada,ada@example.org,false\nbob,bob@example.org,\neve,eve@example.org,\nfay,fay@example.org,false\n"
	kept := []string{"3 bob different email different", "4 eve different username different", "5 fay different email_verified different"}
	report, remarks := imported(s, "csv", file)
	require.Equal(t, 4, report.Different)
	require.Equal(t, append([]string{"2 ada different email different"}, kept...), says(remarks))
	report, remarks = imported(s, "csv", file, func(o *transfer.Options) { o.Update = true })
	require.Equal(t, []int{1, 3}, []int{report.Updated, report.Different})
	require.Equal(t, kept, says(remarks))
	require.Contains(t, remarks[0].Message, "no import changes")
	ada, err := s.Accounts.Lookup(t.Context(), "ada@example.org")
	require.NoError(t, err)
	require.Equal(t, []any{"ada", false}, []any{ada.Username, ada.EmailVerified})
}

// Other systems spell the names of fields in ways that no field here has: they go to the
// field of that meaning if there is one. Else the name is told, with the one to add.
func TestFieldsSpelledAsElsewhere(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		for _, name := range []string{"phone_number", "photo_url", "city2", "nick_name"} {
			s.User.Fields = append(s.User.Fields, field.Spec{Name: name, Type: "text"})
		}
	})
	report, remarks := imported(s, "csv", "username,phoneNumber,photoURL,City 2,nick_name,nickName,shoeSize,Email-Address,firstName,!\nada,1,2,3,4,5,6,7,8,9\nbob,1,2,3,4,5,6,7,8,9\n")
	require.Equal(t, 2, report.Added)
	require.Equal(t, []string{
		"2 ada added ! unknown_field", "2 ada added City 2 unknown_field", "2 ada added Email-Address unknown_field",
		"2 ada added firstName unknown_field", "2 ada added nickName unknown_field", "2 ada added shoeSize unknown_field",
	}, says(remarks)[:6])
	require.Len(t, report.Reasons, 6, "once by name")
	for _, r := range report.Reasons {
		require.Equal(t, 2, r.Count)
		if r.Field == "shoeSize" {
			require.Contains(t, r.Message, "add shoe_size to the fields of the user first")
		}
	}
	u, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"phone_number": "1", "photo_url": "2", "nick_name": "4"}, u.Extra)
	require.Empty(t, u.Email)
	require.Empty(t, u.FirstName)
	report, remarks = imported(s, "csv", "username,phoneNumber\nada,0\n", func(o *transfer.Options) { o.Update = true })
	require.Empty(t, remarks)
	require.Equal(t, 1, report.Updated)

	keycloak := `{"users":[{"username":"eve","enabled":true,"attributes":{"phoneNumber":["+1"],"locale":["de"]}}]}`
	_, remarks = imported(s, "keycloak", keycloak)
	require.Equal(t, []string{"1 eve added locale unknown_field"}, says(remarks))
	u, err = s.Accounts.Lookup(t.Context(), "eve")
	require.NoError(t, err)
	require.Equal(t, "+1", u.Extra["phone_number"])
	_, remarks = imported(s, "firebase", `{"users":[{"localId":"x","email":"fay@example.org","phoneNumber":"+2","customAttributes":"{\"photoUrl\":\"p\"}"}]}`)
	require.Empty(t, remarks)
	u, err = s.Accounts.Lookup(t.Context(), "fay@example.org")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"phone_number": "+2", "photo_url": "p"}, u.Extra)
}

// A namesake with another password doesn't pass unnoticed, neither in a dry run nor with
// --update; a hash that may be the same one is not told of.
func TestAnotherPasswordIsTold(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Member("bob")
	const wrapped = "carl:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
	_, _ = imported(s, "htpasswd", wrapped)
	kept, err := s.Accounts.Lookup(t.Context(), "bob")
	require.NoError(t, err)
	file := "ada:$2b$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW\nbob:" + kept.PasswordHash + "\n" + wrapped
	for name, update := range map[string]bool{"without update": false, "with it": true} {
		t.Run(name, func(t *testing.T) {
			report, remarks := imported(s, "htpasswd", file, func(o *transfer.Options) { o.Update = update })
			require.Equal(t, []string{"1 ada different password different"}, says(remarks))
			require.Equal(t, "the account is there with another password, or with a hash that a sign-in made anew; it is kept", remarks[0].Message)
			require.Equal(t, []int{1, 2}, []int{report.Different, report.Unchanged})
			require.Equal(t, []string{"2 accounts of the file have no address there and were taken for those here by their names alone: see whether they are the same people's"}, report.Notes,
				"of bob the hash says that he is the same")
		})
	}
	report, _ := imported(s, "htpasswd", wrapped)
	require.Equal(t, []string{"1 account of the file has no address there and was taken for the one here by its name alone: see whether it is the same person's"}, report.Notes)
	report, _ = imported(s, "csv", "username,email,password\nada,ada@example.org,another passphrase\n")
	require.Empty(t, report.Notes, "an address says more; and a password in the clear is not hashed for this")
}
