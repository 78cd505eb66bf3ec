// audit_test.go: the record of acts goes along where it is asked for, and comes in once.

package transfer_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/arrival"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
	"github.com/seed-928992b0/caddy-registration/store"
)

// recorded is an export with the record of acts.
func recorded(s *sitetest.Site) string {
	s.T.Helper()
	spool, err := transfer.NewSpool(s.T.TempDir())
	require.NoError(s.T, err)
	defer func() { require.NoError(s.T, spool.Close()) }()
	_, err = transfer.Export(s.T.Context(), s.Accounts, spool, transfer.ExportOptions{Format: "ndjson", WithHashes: true, WithAudit: true})
	require.NoError(s.T, err)
	_, err = spool.Rewind()
	require.NoError(s.T, err)
	text, err := io.ReadAll(spool)
	require.NoError(s.T, err)
	return string(text)
}

// rowsOf are the lines of an export that are of the record, without those that moves leave.
func rowsOf(file string) (rows []string) {
	for line := range strings.Lines(file) {
		if strings.HasPrefix(line, `{"audit":`) && !strings.Contains(line, `"accounts_imported"`) && !strings.Contains(line, `"accounts_exported"`) {
			rows = append(rows, line)
		}
	}
	return rows
}

func TestRecordMoves(t *testing.T) {
	from := sitetest.New(t)
	from.Member("ada")
	from.SignedIn("ada")
	odd := store.Audit{
		At: from.Realm.Now().UTC().Truncate(time.Second), Event: "something_new", Actor: "admin", Address: "2001:db8::1", Agent: "Zoë <&> \u2028", Details: map[string]string{"käse": "<&>"},
	}
	require.NoError(t, from.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for range 3 { // the very same, three times
			if err := tx.AddAudit(&odd); err != nil {
				return err
			}
		}
		for i := range 1200 {
			row := store.Audit{At: odd.At, Event: "signed_in", Account: uuid.Must(uuid.NewV7()), Details: map[string]string{"n": strings.Repeat("x", i%7)}}
			if row.Actor = row.Account.String(); i%2 == 0 {
				row.Actor = ""
			}
			if err := tx.AddAudit(&row); err != nil {
				return err
			}
		}
		return tx.AddAudit(&odd) // once more, in another part of the file
	}))
	require.NotContains(t, exported(from, "ndjson", true), `{"audit":`, "only where it is asked for")
	file := recorded(from)
	rows := rowsOf(file)
	require.Greater(t, len(rows), 1203)

	to := sitetest.New(t)
	to.Travel(-time.Hour)
	to.Member("bob") // who has rows, too
	bob := auditsOf(to)
	to.Travel(from.Realm.Now().Sub(to.Realm.Now()))
	report, remarks := imported(to, "ndjson", file)
	require.Empty(t, remarks)
	all := strings.Count(file, "\n{\"audit\":")
	require.Equal(t, all, report.Audits)
	require.Equal(t, 1, report.Added)
	again := recorded(to)
	require.Equal(t, len(rows)+len(bob), len(rowsOf(again)))
	require.Equal(t, strings.Join(rows, ""), strings.Join(rowsOf(again)[len(bob):], ""), "as they were, behind those that are there")

	// A second run adds none, also where others have come since; the n-th of several that
	// are the same is the n-th.
	to.SignedIn("bob")
	report, remarks = imported(to, "ndjson", file)
	require.Empty(t, remarks)
	require.Equal(t, &transfer.Report{Unchanged: 1, Reasons: []*transfer.Reason{}}, report)

	// One that was broken off goes on: of the three that are the same, two are there.
	half := sitetest.New(t)
	half.Travel(from.Realm.Now().Sub(half.Realm.Now()))
	require.NoError(t, half.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for range 2 {
			row := odd
			if err := tx.AddAudit(&row); err != nil {
				return err
			}
		}
		return nil
	}))
	report, _ = imported(half, "ndjson", file)
	require.Equal(t, all-2, report.Audits)
	require.Len(t, rowsOf(recorded(half)), len(rows))
}

func TestRowsThatAreNotTaken(t *testing.T) {
	line := func(s *sitetest.Site, member string) string {
		return `{"audit":{"at":"` + s.Realm.Now().UTC().Format(time.RFC3339) + `",` + member + `}}` + "\n"
	}
	s := sitetest.New(t)
	file := ourHeader + line(s, `"event":"signed_in"`) +
		line(s, `"event":""`) + line(s, `"event":"Signed in"`) + line(s, `"event":"`+strings.Repeat("x", 65)+`"`) +
		line(s, `"event":"signed_in","agent":"`+strings.Repeat("x", 161)+`"`) +
		line(s, `"event":"signed_in","actor":"`+strings.Repeat("x", 65)+`"`) + line(s, `"event":"signed_in","address":"`+strings.Repeat("x", 65)+`"`) +
		line(s, `"event":"signed_in","details":{"x":"`+strings.Repeat("x", 1024)+`"}`) +
		`{"audit":{"at":"2001-01-01T00:00:00Z","event":"signed_in"}}` + "\n" + `{"audit":{"at":"now"}}` + "\n" +
		`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b8","username":"eve","email_verified":false,"is_active":true,"is_staff":false}` + "\n"
	report, remarks := imported(s, "ndjson", file)
	require.Equal(t, 1, report.Audits, "and none that is older than they are kept")
	require.Equal(t, 1, report.Added)
	require.Len(t, remarks, 8)
	for i, r := range remarks {
		require.Equal(t, "syntax", r.Code)
		if i < 7 {
			require.Equal(t, i+3, r.Line)
			require.Equal(t, "it is no row of the record of acts", r.Message)
		}
	}

	off := sitetest.New(t, func(s *registration.Settings) { s.Audit.Off = true })
	report, remarks = imported(off, "ndjson", ourHeader+line(s, `"event":"signed_in"`)+line(s, `"event":"signed_out"`))
	require.Empty(t, remarks)
	require.Zero(t, report.Audits)
	require.Equal(t, []string{"the record of acts in the file is left out: this realm keeps none"}, report.Notes[1:])
	require.Empty(t, auditsOf(off))
}

// importPastFaults is pastFaults of the import of a file.
func importPastFaults(t *testing.T, to *sitetest.Site, file string) {
	t.Helper()
	pastFaults(t, to, func() error {
		_, err := transfer.Import(t.Context(), to.Accounts, strings.NewReader(file), transfer.Options{Options: arrival.Options{Format: "ndjson"}})
		return err
	})
}

// pastFaults acts again and again, each time on a store of which one call more succeeds,
// until all do.
func pastFaults(t *testing.T, s *sitetest.Site, act func() error) {
	t.Helper()
	whole := s.Accounts.Store
	for call := 1; ; call++ {
		faulty := &sitetest.FaultyStore{Store: whole, FailAt: call}
		s.Accounts.Store = faulty
		err := act()
		s.Accounts.Store = whole
		if !faulty.Met {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, sitetest.ErrFault, call)
	}
}

func TestRecordIntoAFailingStore(t *testing.T) {
	from := sitetest.New(t)
	from.Member("ada")
	file := recorded(from)
	to := sitetest.New(t)
	to.Travel(from.Realm.Now().Sub(to.Realm.Now()))
	importPastFaults(t, to, file)
	require.Equal(t, rowsOf(file), rowsOf(recorded(to)), "each once")
	spool, err := transfer.NewSpool(t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, spool.Close()) }()
	pastFaults(t, to, func() error {
		_, err := transfer.Export(t.Context(), to.Accounts, spool, transfer.ExportOptions{Format: "ndjson", WithAudit: true})
		return err
	})
}
