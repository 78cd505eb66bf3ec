// export_test.go: what is in an export, in each format.

package transfer_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
	"github.com/seed-928992b0/caddy-registration/store"
)

// exported is an export of a site.
func exported(s *sitetest.Site, format string, withHashes bool) string {
	s.T.Helper()
	spool, err := transfer.NewSpool(s.T.TempDir())
	require.NoError(s.T, err)
	defer func() { require.NoError(s.T, spool.Close()) }()
	_, err = transfer.Export(s.T.Context(), s.Accounts, spool, transfer.ExportOptions{Format: format, WithHashes: withHashes})
	require.NoError(s.T, err)
	size, err := spool.Rewind()
	require.NoError(s.T, err)
	text, err := io.ReadAll(spool)
	require.NoError(s.T, err)
	require.Len(s.T, text, int(size))
	return string(text)
}

func withFields(s *registration.Settings) {
	s.User.Fields = []field.Spec{
		{Name: "city", Type: "text"},
		{Name: "age", Type: "integer"},
		{Name: "height", Type: "number"},
		{Name: "news", Type: "boolean"},
		{Name: "born", Type: "date"},
		{Name: "size", Type: "choice", Choices: []string{"s", "m"}},
		{Name: "badge", Type: "text", Unique: true},
		{Name: "site", Type: "url"},
	}
}

func TestExportsOfEachFormat(t *testing.T) {
	s := sitetest.New(t, withFields)
	ada := s.Member("ada")
	s.Set(ada, func(u *store.User) {
		u.FirstName, u.LastName, u.Groups, u.IsStaff = `Ada "A"`, "Lovelace, née Byron", []string{"admins", "数学"}, true
		u.Extra = map[string]any{"city": "Zürich", "age": int64(36), "height": 1.0, "news": true, "born": "1815-12-10", "size": "s", "badge": "A-1"}
	})
	s.Set(s.Member("bob"), func(u *store.User) { u.IsActive, u.Groups = false, []string{"admins"} })
	_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "eve@example.org"})
	require.NoError(t, err)
	_, err = s.Accounts.SetUsername(t.Context(), uuid.MustParse(ada), "lovelace", account.Client{})
	require.NoError(t, err)

	own := strings.Split(exported(s, "ndjson", true), "\n")
	require.Len(t, own, 7, "a header, two accounts, an invitation, a name, and the end")
	require.Equal(t, `{"registration_export":2,"with_hashes":true}`, own[0])
	require.Equal(t, `{"registration_export_end":{"accounts":2,"lines":5}}`, own[5])
	require.Contains(t, own[1], `"fields":{"age":36,"badge":"A-1","born":"1815-12-10","city":"Zürich","height":1.0,"news":true,"size":"s"}`)
	require.Contains(t, own[1], `"password_hash":"$argon2id$`)
	require.Contains(t, own[3], `{"invitation":{`)
	require.Contains(t, own[4], `{"left_name":{"hash":`)
	bare := exported(s, "ndjson", false)
	require.Equal(t, 4, strings.Count(bare, "\n"))
	require.NotContains(t, bare, "argon2id")
	require.NotContains(t, bare, `"hash"`)

	table := strings.Split(exported(s, "csv", false), "\n")
	require.Equal(t, "id,username,email,email_verified,first_name,last_name,is_active,is_staff,groups,date_joined,last_login,language,city,age,height,news,born,size,badge,site", table[0])
	require.Contains(t, table[1], `,lovelace,ada@example.org,true,"Ada ""A""","Lovelace, née Byron",true,true,"admins,数学",`)
	require.True(t, strings.HasSuffix(table[1], ",Zürich,36,1,true,1815-12-10,s,A-1,"), table[1])
	require.NotContains(t, strings.Join(table, ""), "argon2id")
	require.Contains(t, exported(s, "csv", true), `,"$argon2id$v=19$`)

	var fixture []struct {
		Model  string
		PK     int
		Fields map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(exported(s, "django", true)), &fixture))
	require.Len(t, fixture, 4)
	require.Equal(t, "auth.group", fixture[1].Model)
	require.Equal(t, "数学", fixture[1].Fields["name"])
	require.Equal(t, []any{1.0, 2.0}, fixture[2].Fields["groups"])
	require.Equal(t, "lovelace", fixture[2].Fields["username"])
	require.Contains(t, fixture[2].Fields["password"], "argon2$argon2id$v=19$")
	require.Equal(t, false, fixture[3].Fields["is_active"])
	require.NoError(t, json.Unmarshal([]byte(exported(s, "django", false)), &fixture))
	require.Equal(t, "!", fixture[2].Fields["password"])
}

func TestHashesAsDjangoSpellsThem(t *testing.T) {
	s := sitetest.New(t)
	require.JSONEq(t, "[]", exported(s, "django", true))
	id := s.Member("ada")
	for hash, want := range map[string]string{
		"$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW": "bcrypt$$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
		"pbkdf2_sha256$260000$salt$aGFzaA==":                           "pbkdf2_sha256$260000$salt$aGFzaA==",
		"$unheard$of":                                                  "!",
		"":                                                             "!",
	} {
		s.Set(id, func(u *store.User) { u.PasswordHash, u.Username = hash, "" })
		var fixture []struct{ Fields map[string]any }
		require.NoError(t, json.Unmarshal([]byte(exported(s, "django", true)), &fixture))
		require.Equal(t, want, fixture[0].Fields["password"])
		require.Equal(t, id, fixture[0].Fields["username"], "Django has no user without a name")
	}
}

func TestExportIsRecorded(t *testing.T) {
	s := sitetest.New(t)
	exported(s, "csv", true)
	page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Limit: 10})
	require.NoError(t, err)
	require.Len(t, page.Rows, 1)
	require.Equal(t, "accounts_exported", page.Rows[0].Event)
	require.Equal(t, map[string]string{"format": "csv", "hashes": "yes"}, page.Rows[0].Details)
}

func TestExportsThatFail(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	spool, err := transfer.NewSpool(t.TempDir())
	require.NoError(t, err)
	export := func(ctx context.Context, format string) error {
		_, err := transfer.Export(ctx, s.Accounts, spool, transfer.ExportOptions{Format: format, WithHashes: true})
		return err
	}
	require.ErrorContains(t, export(t.Context(), "xml"), "the formats are ndjson, csv, django")
	_, _, err = s.Accounts.Invite(t.Context(), account.NewInvitation{})
	require.NoError(t, err)
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutLeftName(store.NameHash{1}, store.LeftName{Until: time.Unix(4e9, 0)})
	}))
	real := s.Accounts.Store
	for _, format := range transfer.ExportFormats {
		for call := 1; ; call++ {
			faulty := &sitetest.FaultyStore{Store: real, FailAt: call}
			s.Accounts.Store = faulty
			err := export(t.Context(), format)
			if !faulty.Met {
				require.NoError(t, err)
				break
			}
			require.ErrorIs(t, err, sitetest.ErrFault, "%s, call %d", format, call)
		}
	}
	s.Accounts.Store = real
	require.NoError(t, spool.Close())
	for _, format := range transfer.ExportFormats {
		require.ErrorIs(t, export(t.Context(), format), os.ErrClosed)
	}
	_, err = spool.Rewind()
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = transfer.NewSpool("/nowhere/at/all")
	require.ErrorIs(t, err, os.ErrNotExist)
	over, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	require.ErrorIs(t, export(over, "csv"), context.Canceled)
}

// A spool has no name that another process could open, or its own rights.
func TestSpoolIsNobodysElse(t *testing.T) {
	dir := t.TempDir()
	spool, err := transfer.NewSpool(dir)
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	info, err := spool.Stat()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	for _, e := range entries {
		t.Logf("%s is there while it is open", e.Name())
	}
	require.NoError(t, spool.Close())
	entries, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

type storeUser = store.User

func auditsOf(s *sitetest.Site) []*store.Audit {
	s.T.Helper()
	page, err := s.Accounts.Audits(s.T.Context(), store.AuditQuery{Limit: 1000})
	require.NoError(s.T, err)
	return page.Rows
}

// sortedByLine brings remarks into the order of the file: what the reader finds is told
// before the batch is taken.
func sortedByLine(said []string) []string {
	slices.SortStableFunc(said, func(a, b string) int {
		number := func(s string) (n int) { n, _ = strconv.Atoi(s[:strings.IndexByte(s, ' ')]); return n }
		return number(a) - number(b)
	})
	return said
}
