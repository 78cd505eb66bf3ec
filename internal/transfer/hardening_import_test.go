// hardening_import_test.go: files that somebody has written to do harm, and imports
// beside whatever else goes on.

package transfer_test

import (
	"context"
	"crypto/sha1" //nolint:gosec // what somebody else has made
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/arrival"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
	"github.com/seed-928992b0/caddy-registration/store"
)

const ourHeader = `{"registration_export":1,"with_hashes":true}` + "\n"

func TestHostileLinesOfAnExport(t *testing.T) {
	id := `"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7"`
	many := func(entry string, n int) string { return strings.TrimSuffix(strings.Repeat(entry+",", n), ",") }
	for name, c := range map[string]struct{ line, says string }{
		"a control character":     {`{` + id + `,"username":"a\u001b[2Jb"}`, "username syntax"},
		"a direction override":    {`{` + id + `,"username":"ada","first_name":"\u202eevil"}`, "first_name syntax"},
		"a slash":                 {`{` + id + `,"username":"a/../b"}`, "username syntax"},
		"a field with a bell":     {`{` + id + `,"username":"ada","fields":{"x":"\u0007"}}`, "x syntax"},
		"a name without an end":   {`{` + id + `,"username":"` + strings.Repeat("a", 2000) + `"}`, "username syntax"},
		"groups without end":      {`{` + id + `,"username":"ada","groups":[` + many(`"a"`, 1001) + `]}`, "groups syntax"},
		"more groups than are":    {`{` + id + `,"username":"ada","groups":[` + many(`"a"`, 501) + `]}`, "groups invalid"},
		"transports without end":  {`{` + id + `,"username":"ada","factors":[{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","type":"passkey","transports":[` + many(`""`, 150_000) + `]}]}`, "factors syntax"},
		"a reason without an end": {`{` + id + `,"username":"ada","reason":"` + strings.Repeat("a", 70_000) + `"}`, " syntax"},
		"a hash of 4 GiB":         {`{` + id + `,"username":"ada","password_hash":"$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHQ$MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA"}`, "password_hash hash_cost"},
		"a hash that is none":     {`{` + id + `,"username":"ada","password_hash":"hunter2"}`, "password_hash hash_unsupported"},
		"deep JSON":               {`{` + id + `,"username":"ada","fields":{"x":` + strings.Repeat("[", 100_000) + `}}`, " syntax"},
		"a member from nowhere":   {`{` + id + `,"username":"ada","is_admin":true}`, " syntax"},
		"no id":                   {`{"username":"ada"}`, " syntax"},
		"an invitation, broken":   {`{"invitation":{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","hash":"AA","created":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:00:00Z","uses":1}}`, " syntax"},
		"a left name, broken":     {`{"left_name":{"hash":"AA","user":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","until":"2026-01-01T00:00:00Z"}}`, " syntax"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			report, remarks := imported(s, "ndjson", ourHeader+c.line+"\n"+`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b8","username":"eve","email_verified":false,"is_active":true,"is_staff":false}`+"\n")
			require.Equal(t, 1, report.Added, "those after it are taken: %v", says(remarks))
			require.Len(t, remarks, 1)
			require.Equal(t, c.says, remarks[0].Field+" "+remarks[0].Code, remarks[0].Message)
			require.Equal(t, 2, remarks[0].Line)
			require.LessOrEqual(t, len(remarks[0].Message), 520)
			require.NotContains(t, remarks[0].Message, "\x1b")
		})
	}
}

func TestExportOfANewerVersionIsRefused(t *testing.T) {
	s := sitetest.New(t)
	for _, line := range []string{`{"registration_export":3,"with_hashes":true}`, `{"registration_export":0}`, `{"registration_export":1,"with_hashes":true,"sealed":true}`} {
		_, err := transfer.Import(t.Context(), s.Accounts, strings.NewReader(line+"\n{}\n"), transfer.Options{Options: arrival.Options{Format: "ndjson"}})
		require.ErrorContains(t, err, "line 1: the export is of a newer version")
	}
	_, remarks := imported(s, "ndjson", `{"invitation":{}}`+"\n")
	require.Equal(t, []string{"1  refused  syntax"}, says(remarks), "without a header nothing is our own")
}

// However much is wrong with a file, what is told of it is bounded.
func TestProblemsWithoutEnd(t *testing.T) {
	s := sitetest.New(t)
	var file strings.Builder
	file.WriteString("username,email\n")
	for i := range 30_000 {
		fmt.Fprintf(&file, "a b %d,not an address\n", i)
	}
	told := 0
	report, err := transfer.Import(t.Context(), s.Accounts, strings.NewReader(file.String()), transfer.Options{
		Options: arrival.Options{Format: "csv"}, Tell: func(e transfer.Event) error {
			if e.Remark != nil {
				told++
			}
			return nil
		},
	})
	require.NoError(t, err)
	require.Equal(t, 30_000, report.Refused)
	require.Equal(t, 2000, told)
	require.Len(t, report.Reasons, 2)
	require.Equal(t, 30_000, report.Reasons[0].Count)
	require.Len(t, report.Reasons[0].Lines, 10)

	// As many different ones, each about a column of its own.
	file.Reset()
	file.WriteString("username")
	for i := range 900 {
		fmt.Fprintf(&file, ",column%d", i)
	}
	file.WriteString("\nada" + strings.Repeat(",x", 900) + "\n")
	report, remarks := imported(s, "csv", file.String())
	require.Len(t, remarks, 900)
	require.Len(t, report.Reasons, 200)
	require.Equal(t, "more", report.Reasons[199].Code)
	require.Equal(t, 701, report.Reasons[199].Count)
}

// Two imports of one file at once and sign-ups for the same names: each name is one
// account's, and nothing is half there.
func TestImportsBesideEachOther(t *testing.T) {
	s := sitetest.New(t)
	var file strings.Builder
	file.WriteString("username,email\n")
	const people = 1200
	for i := range people {
		fmt.Fprintf(&file, "user%d,user%d@example.org\n", i, i)
	}
	var all sync.WaitGroup
	reports := make([]*transfer.Report, 2)
	errs := make([]error, 2)
	for k := range 2 {
		all.Go(func() {
			reports[k], errs[k] = transfer.Import(t.Context(), s.Accounts, strings.NewReader(file.String()), transfer.Options{Options: arrival.Options{Format: "csv"}})
		})
	}
	for i := range 20 {
		_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: fmt.Sprintf("user%d", i*50)})
		_ = err // taken, or the import comes later
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	for _, r := range reports {
		require.Equal(t, people, r.Added+r.Unchanged+r.Refused+r.Different, "%+v", r)
	}
	all.Wait()
	for i := range people {
		_, err := s.Accounts.LookupName(t.Context(), fmt.Sprintf("user%d", i))
		require.NoError(t, err)
	}
	require.LessOrEqual(t, reports[0].Added+reports[1].Added, people)
}

// A store that fails at any call leaves whole batches, and the import goes on later.
func TestImportIntoAFailingStore(t *testing.T) {
	s := sitetest.New(t)
	real := s.Accounts.Store
	file := "username,email,password\nada,ada@example.org,a long passphrase\nbob,bob@example.org,\n"
	for call := 1; ; call++ {
		faulty := &sitetest.FaultyStore{Store: real, FailAt: call}
		s.Accounts.Store = faulty
		_, err := transfer.Import(t.Context(), s.Accounts, strings.NewReader(file), transfer.Options{Options: arrival.Options{Format: "csv"}})
		s.Accounts.Store = real
		users, _ := s.Census()
		if !faulty.Met {
			require.NoError(t, err)
			require.Equal(t, 2, users)
			break
		}
		require.Error(t, err, call)
		require.Zero(t, users, "call %d", call)
	}
}

// The same of a file that has all that an export can have.
func TestExportIntoAFailingStore(t *testing.T) {
	from := sitetest.New(t, withFields)
	crowd(from)
	file := exported(from, "ndjson", true)
	for _, dry := range []bool{true, false} {
		to := sitetest.New(t, withFields)
		real := to.Accounts.Store
		for call := 1; ; call += 3 {
			faulty := &sitetest.FaultyStore{Store: real, FailAt: call}
			to.Accounts.Store = faulty
			_, err := transfer.Import(t.Context(), to.Accounts, strings.NewReader(file), transfer.Options{Options: arrival.Options{Format: "ndjson", DryRun: dry}})
			to.Accounts.Store = real
			if !faulty.Met {
				require.NoError(t, err)
				break
			}
			require.ErrorIs(t, err, sitetest.ErrFault, call)
		}
	}
}

func TestImportsThatEndEarly(t *testing.T) {
	s := sitetest.New(t)
	run := func(file io.ReadSeeker, options ...func(*transfer.Options)) (*transfer.Report, error) {
		o := transfer.Options{Options: arrival.Options{Format: "csv"}}
		for _, option := range options {
			option(&o)
		}
		return transfer.Import(t.Context(), s.Accounts, file, o)
	}
	_, err := run(strings.NewReader("username\nada\n"), func(o *transfer.Options) { o.Group = "a,b" })
	require.ErrorContains(t, err, "groups invalid")
	spool, err := transfer.NewSpool(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, spool.Close())
	_, err = run(spool)
	require.ErrorIs(t, err, os.ErrClosed)
	gone := errors.New("the client has gone")
	for _, file := range []string{"username\na b\n", "username\nada\n", "username,x\nada\n", "username,email\nada,x\n"} {
		_, err = run(strings.NewReader(file), func(o *transfer.Options) {
			o.DryRun, o.Tell = true, func(transfer.Event) error { return gone }
		})
		require.ErrorIs(t, err, gone)
	}
	// What was read before a file can't be read any further is taken.
	report, err := run(strings.NewReader("username\nada\n\"" + strings.Repeat("x", 2<<20)))
	require.NoError(t, err)
	require.Equal(t, 1, report.Added)
	require.NotEmpty(t, report.Error)
}

// A busy machine doesn't end an import; its end does.
func TestHashingWaitsForItsTurn(t *testing.T) {
	s := sitetest.New(t)
	real := s.Accounts.Hasher
	s.Accounts.Hasher = password.NewPool(password.Limits{Workers: 1}) // nobody waits
	_, remarks := imported(s, "csv", "username,password\nada,"+sitetest.Password+"\nbob,"+sitetest.Password+"\neve,"+sitetest.Password+"\n")
	require.Empty(t, remarks)
	s.Accounts.Hasher = real
	s.SignedIn("eve")
	ctx, cancel := context.WithCancel(t.Context())
	run, err := arrival.New(s.Accounts, arrival.Options{})
	require.NoError(t, err)
	cancel()
	require.Error(t, run.Hash(ctx, &arrival.Arrival{Password: "x"}))
}

// A hash that is too fast to be kept is wrapped, and signs in.
func TestFastHashesAreWrapped(t *testing.T) {
	s := sitetest.New(t)
	sum := sha1.Sum([]byte(sitetest.Password)) //nolint:gosec // what somebody else has made
	_, remarks := imported(s, "htpasswd", "ada:{SHA}"+base64.StdEncoding.EncodeToString(sum[:])+"\n")
	require.Empty(t, remarks)
	u, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, "wrapped", password.FormatOf(u.PasswordHash))
	s.SignedIn("ada")
	u, err = s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, "argon2id", password.FormatOf(u.PasswordHash))
}

// Lines that somebody has written by hand: numbers and flags are those of the fields.
func TestLinesWrittenByHand(t *testing.T) {
	s := sitetest.New(t, withFields)
	report, remarks := imported(s, "ndjson", `{"username":"ada","email":"ada@example.org","fields":{"age":36,"height":1.75,"news":true,"city":null}}
{"username":"bob","password":"`+strings.Repeat("x", 5000)+`","fields":{"age":1.5}}
`)
	require.Equal(t, []string{"2 bob refused age invalid", "2 bob refused password max_length"}, says(remarks))
	require.Equal(t, 1, report.Added)
	u, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"age": int64(36), "height": 1.75, "news": true}, u.Extra)
}

// Whole accounts can't take what is another's: an address that he can go back to, a name
// that is somebody's address.
func TestWholeAccountsThatClash(t *testing.T) {
	s := sitetest.New(t)
	s.Set(s.Member("ada"), func(u *storeUser) {
		u.Former = []store.FormerEmail{{Email: "old@example.org", Serial: 1, Until: s.Accounts.Time().Add(sitetest.Day)}}
	})
	id := func(n int) string { return fmt.Sprintf(`"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4%02d"`, n) }
	_, remarks := imported(s, "ndjson", ourHeader+
		`{`+id(1)+`,"username":"bob","is_active":true,"former_emails":[{"email":"old@example.org","serial":1,"until":"2099-01-01T00:00:00Z"}]}`+"\n"+
		`{`+id(2)+`,"username":"ada@example.org","is_active":true}`+"\n"+
		`{`+id(3)+`,"username":"eve","email":"old@example.org","is_active":true}`+"\n"+
		`{`+id(4)+`,"username":"new","email":"new@example.org","awaits_verification":true,"email_pending":true}`+"\n"+
		`{`+id(4)+`,"username":"again"}`+"\n"+
		`{`+id(6)+`,"first_name":"Nobody"}`+"\n")
	require.Equal(t, []string{
		"2 bob refused former_emails unique", "3 ada@example.org refused username unique", "4 eve refused email unique", "6 again refused id twice", "7  refused username required",
	}, says(remarks))
	u, err := s.Accounts.Lookup(t.Context(), "new")
	require.NoError(t, err)
	require.False(t, u.WaitingSince.IsZero(), "it waits from now on")
}

func TestExportOfManyPages(t *testing.T) {
	s := sitetest.New(t)
	var file strings.Builder
	file.WriteString("username\n")
	for i := range 1000 {
		fmt.Fprintf(&file, "user%d\n", i)
	}
	imported(s, "csv", file.String())
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for i := range 501 {
			var hash store.NameHash
			hash[0], hash[1] = byte(i), byte(1+i>>8)
			invitation := &store.Invitation{ID: uuid.Must(uuid.NewV7()), Hash: store.TokenHash(hash), Uses: 1, Created: s.Realm.Now(), Expires: s.Realm.Now().Add(sitetest.Day)}
			if err := errors.Join(tx.PutLeftName(hash, store.LeftName{Until: s.Realm.Now().Add(sitetest.Day)}), tx.PutInvitation(invitation)); err != nil {
				return err
			}
		}
		return nil
	}))
	first := exported(s, "ndjson", true)
	require.Equal(t, 1+1000+2*501+1, strings.Count(first, "\n"))
	to := sitetest.New(t)
	report, _ := imported(to, "ndjson", first)
	require.Equal(t, []int{1000, 501, 501}, []int{report.Added, report.Invitations, report.LeftNames})
	require.Equal(t, first, exported(to, "ndjson", true))
}
