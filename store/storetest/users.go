// users.go: what a store promises about accounts and their unique keys.

package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func fullUser() *store.User {
	return &store.User{
		ID: uuid.Must(uuid.NewV7()), Username: "Åsa", Email: "asa@example.org",
		FirstName: "Åsa 🌱", LastName: "O'Neill", PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
		IsActive: true, AwaitsVerification: true, EmailVerified: true, IsStaff: true,
		Groups: []string{"editors", "søk"}, DateJoined: now, LastLogin: now.Add(time.Hour),
		Extra: map[string]any{
			"city": "Łódź", "age": int64(-44), "height": 1.0, "ratio": 0.1, "news": true, "spam": false,
			"large": int64(1) << 62, "empty": "",
		},
		Unreachable:  store.Unreachable{Email: "asa@example.org", Words: "550 5.1.1 no such user", Since: now},
		Invitation:   uuid.Must(uuid.NewV7()),
		EmailChanges: 3, Generation: 1 << 40, UsedLinks: []store.LinkHash{{1, 2, 15: 16}, {}},
		SessionEpoch: 4, TokenEpoch: 1<<32 - 1,
		AwaitsApproval: true, Reason: "Ich möchte mitmachen.\nDanke!", Terms: "2026-11-01", TermsAt: now.Add(2 * time.Hour),
		EmailPending: true, WaitingFrom: now.Add(-time.Hour), WaitingSince: now.Add(time.Minute),
		Former: []store.FormerEmail{
			{Email: "Old@example.org", Serial: 2, Until: now.Add(time.Hour)},
			{Email: "older@example.org", Until: now, Unproven: true},
			{Email: "work@example.org", Serial: 2, Until: now.Add(time.Hour), Left: store.StillThere, At: now},
		},
		FurtherEmails: []string{"Work@example.org", "third@example.org"},
		AskedEmails:   []store.AskedEmail{{Email: "asked@example.org", Serial: 7, At: now, Generation: 2}, {Email: "zwei@example.org"}},
		EmailsAsked:   9,
		Language:      "pt-BR", BrowserLanguage: "de",
		Factors: []store.Factor{
			{ID: uuid.Must(uuid.NewV7()), Type: store.FactorTOTP, Name: "Mein Telefon", Created: now, LastUsed: now.Add(time.Minute), Secret: []byte{0, 1, 2}, LastStep: 1 << 40, EmailChanges: 3},
			{
				ID: uuid.Must(uuid.NewV7()), Type: store.FactorPasskey, Created: now, Secret: []byte(`{"id":""}`),
				CredentialID: []byte{0, 255}, AAGUID: uuid.Must(uuid.NewV7()), Flags: 0xff, SignCount: 1<<32 - 1, Transports: []string{"internal", "hybrid"},
			},
		},
		FormerFactors: []store.FormerFactor{
			{Factor: store.Factor{ID: uuid.Must(uuid.NewV7()), Type: store.FactorTOTP, Name: "old", Secret: []byte{3}}, Until: now.Add(time.Hour), RemovedAt: 2},
		},
		RecoveryCodes: [][]byte{{1, 2, 3}, {4}}, RecoveryMade: now,
		Enrolment:      &store.Enrolment{Secret: []byte{9}, Session: store.TokenHash{1, 31: 2}, Since: now},
		FactorFailures: []store.FactorFailure{{At: now, Challenge: [8]byte{1, 7: 8}}, {At: now.Add(time.Second)}}, FactorFailuresInRow: 7,
		FormerPasswords: []store.FormerPassword{{Hash: "$argon2id$v=19$m=19456,t=2,p=1$AAAA$BBBB", Until: now}, {Since: now, Until: now.Add(time.Hour)}}, PasswordSince: now.Add(time.Hour),
		TrustedDevices: []store.TrustedDevice{
			{Hash: store.TokenHash{1, 31: 2}, Created: now, LastUsed: now.Add(time.Hour), UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", State: [16]byte{3, 15: 4}},
			{Created: now, LastUsed: now},
		},
		KnownDevices: []store.KnownDevice{
			{Name: [16]byte{1, 15: 2}, LastUsed: now.Add(time.Hour), Told: now, SignIn: uuid.Must(uuid.NewV7()), Trust: [16]byte{3, 15: 4}},
			{LastUsed: now},
		},
		LeavesAt: now.Add(7 * 24 * time.Hour), LeavesBy: now.Add(6 * 24 * time.Hour),
		ProgramTokens: []store.ProgramToken{
			{Hash: store.TokenHash{1, 31: 2}, Name: "Büro", Created: now, LastUsed: now.Add(time.Hour), Expires: now.Add(2 * time.Hour), Path: "/dav/ü", Groups: []string{"editors"}},
			{Hash: store.TokenHash{2}, Name: "backup", Created: now, Groups: []string{}},
			{Hash: store.TokenHash{3}},
		},
		LinkedAccounts: []store.LinkedAccount{
			{ID: uuid.Must(uuid.NewV7()), Issuer: "https://id.example.com", Subject: "ünter 1", Name: "ada@elsewhere.example", Created: now, LastUsed: now.Add(time.Hour), EmailChanges: 2},
			{ID: uuid.Must(uuid.NewV7()), Issuer: "https://github.com", Subject: "1"},
		},
		FormerLinked: []store.FormerLinked{{LinkedAccount: store.LinkedAccount{ID: uuid.Must(uuid.NewV7()), Issuer: "https://id.example.com", Subject: "2", Created: now}, Until: now.Add(time.Hour), RemovedAt: 1}},
	}
}

func manyValues(n int) map[string]any {
	values := make(map[string]any, n)
	for i := range n {
		values[fmt.Sprint("field_", i)] = "a value"
	}
	return values
}

var userPromises = []promise{
	{"every field is read back", func(t *testing.T, open opener) {
		s := open(t)
		full := fullUser()
		putUsers(t, s, full)
		for name, get := range map[string]func() (*store.User, error){
			"by id":       func() (*store.User, error) { return user(t, s, full.ID) },
			"by username": func() (*store.User, error) { return userByKey(t, s, "username", "Åsa") },
			"by email":    func() (*store.User, error) { return userByKey(t, s, "email", "asa@example.org") },
		} {
			got, err := get()
			require.NoError(t, err, name)
			require.Equal(t, full, got, name)
		}
	}},
	{"what can't be read again is refused, and all else is read again", func(t *testing.T, open opener) {
		s := open(t)
		kept := newUser("kept")
		putUsers(t, s, kept)
		nested := any("x")
		for range 100 {
			nested = map[string]any{"x": nested}
		}
		for name, change := range map[string]func(*store.User){
			"200 000 groups":  func(u *store.User) { u.Groups = make([]string, 200_000) },
			"10 MiB of text":  func(u *store.User) { u.FirstName = strings.Repeat("x", 10<<20) },
			"200 000 values":  func(u *store.User) { u.Extra = manyValues(200_000) },
			"a nested value":  func(u *store.User) { u.Extra = map[string]any{"x": nested} },
			"10 000 groups":   func(u *store.User) { u.Groups = make([]string, 10_000) },
			"a MiB of text":   func(u *store.User) { u.FirstName = strings.Repeat("x", 1<<20) },
			"a hundred texts": func(u *store.User) { u.Extra = manyValues(100) },
		} {
			u := *kept
			change(&u)
			var err error
			update(t, s, func(tx store.Tx) error { err = tx.PutUser(&u, keysOf(&u)); return nil })
			got, readErr := user(t, s, kept.ID)
			require.NoError(t, readErr, name)
			if err == nil {
				require.Equal(t, &u, got, name)
				putUsers(t, s, kept)
				continue
			}
			require.ErrorIs(t, err, store.ErrTooLarge, name)
			require.Equal(t, kept, got, name)
		}
		large := newSession("large", kept.ID)
		large.Address = strings.Repeat("x", 10<<20)
		m := newMail("a@example.org", now)
		m.State = make([]byte, 10<<20)
		update(t, s, func(tx store.Tx) error {
			for _, err := range []error{tx.PutSession(large), tx.PutMail(m)} {
				if !errors.Is(err, store.ErrTooLarge) {
					return fmt.Errorf("not refused: %w", err)
				}
			}
			return nil
		})
		require.Empty(t, sessionNames(t, s, kept.ID))
	}},
	{"each flag is its own", func(t *testing.T, open opener) {
		s := open(t)
		for i, set := range []func(*store.User){
			func(u *store.User) { u.IsActive = true },
			func(u *store.User) { u.AwaitsVerification = true },
			func(u *store.User) { u.EmailVerified = true },
			func(u *store.User) { u.IsStaff = true },
			func(u *store.User) { u.EmailPending = true },
			func(u *store.User) { u.AwaitsApproval = true },
		} {
			u := newUser(fmt.Sprint("user", i))
			u.IsActive = false
			set(u)
			putUsers(t, s, u)
			got, err := user(t, s, u.ID)
			require.NoError(t, err)
			require.Equal(t, u, got)
		}
	}},
	{"the parts of a second step are kept one by one", func(t *testing.T, open opener) {
		s := open(t)
		for i, set := range []func(u, full *store.User){
			func(u, full *store.User) { u.Factors = full.Factors },
			func(u, full *store.User) { u.FormerFactors = full.FormerFactors },
			func(u, full *store.User) { u.RecoveryCodes, u.RecoveryMade = full.RecoveryCodes, full.RecoveryMade },
			func(u, full *store.User) { u.RecoveryMade = full.RecoveryMade }, // all are used
			func(u, _ *store.User) { u.Enrolment = &store.Enrolment{Secret: []byte{1}, Since: now} },
			func(u, full *store.User) { u.FactorFailures = full.FactorFailures },
			func(u, _ *store.User) { u.FactorFailuresInRow = 1 },
			func(u, full *store.User) { u.TrustedDevices = full.TrustedDevices },
			func(u, full *store.User) { u.KnownDevices = full.KnownDevices },
		} {
			u := newUser(fmt.Sprint("user", i))
			set(u, fullUser())
			putUsers(t, s, u)
			got, err := user(t, s, u.ID)
			require.NoError(t, err)
			require.Equal(t, u, got)
			for _, f := range u.Factors {
				require.Equal(t, &f, got.Factor(f.ID))
				require.True(t, got.HasFactor(f.Type))
			}
			require.Equal(t, len(u.Factors) > 0, got.HasFactor())
			require.Nil(t, got.Factor(u.ID))
		}
	}},
	{"an account with nothing but an id stays so", func(t *testing.T, open opener) {
		s := open(t)
		u := &store.User{ID: uuid.Must(uuid.NewV7())}
		update(t, s, func(tx store.Tx) error { return tx.PutUser(u, nil) })
		got, err := user(t, s, u.ID)
		require.NoError(t, err)
		require.True(t, got.DateJoined.IsZero())
		require.True(t, got.LastLogin.IsZero())
		require.Empty(t, got.Groups)
		require.Empty(t, got.Extra)
	}},
	{"times are UTC with a resolution of a second", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		u.DateJoined = now.Add(123456789).In(time.FixedZone("east", 3600))
		u.LastLogin = time.Unix(0, 0)
		putUsers(t, s, u)
		got, err := user(t, s, u.ID)
		require.NoError(t, err)
		require.Equal(t, now, got.DateJoined)
		require.Equal(t, time.UTC, got.DateJoined.Location())
		require.Equal(t, time.Unix(0, 0).UTC(), got.LastLogin, "the epoch is not the zero time")
	}},
	{"unknown ids and keys are ErrNotFound", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		putUsers(t, s, u)
		_, err := user(t, s, uuid.Must(uuid.NewV7()))
		require.ErrorIs(t, err, store.ErrNotFound)
		for _, k := range []store.Key{
			{Field: "username", Value: "ann"},
			{Field: "username", Value: "annaa"},
			{Field: "username", Value: ""},
			{Field: "username", Value: u.Email},
			{Field: "user", Value: "nameanna"},
			{Field: "", Value: "anna"},
		} {
			_, err := userByKey(t, s, k.Field, k.Value)
			require.ErrorIs(t, err, store.ErrNotFound, k)
		}
		err = s.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteUser(uuid.Must(uuid.NewV7())) })
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"records are copies", func(t *testing.T, open opener) {
		s := open(t)
		given := fullUser()
		want := *given
		want.Groups, want.Extra = slices.Clone(given.Groups), map[string]any{}
		maps.Copy(want.Extra, given.Extra)
		keys := keysOf(given)
		update(t, s, func(tx store.Tx) error {
			if err := tx.PutUser(given, keys); err != nil {
				return err
			}
			given.Groups[0], given.Extra["city"], keys[0].Value = "changed", "changed", "changed"
			// The function may run again.
			defer func() {
				given.Groups[0], given.Extra["city"], keys[0].Value = want.Groups[0], want.Extra["city"], want.Username
			}()
			got, err := tx.User(given.ID)
			if err != nil {
				return err
			}
			got.Username, got.Groups[1], got.Extra["new"] = "changed", "changed", true
			return nil
		})
		got, err := userByKey(t, s, "username", want.Username)
		require.NoError(t, err)
		require.Equal(t, &want, got)
		got.Username, got.Groups[0], got.Extra["age"] = "changed", "changed", int64(0)
		got, err = user(t, s, want.ID)
		require.NoError(t, err)
		require.Equal(t, &want, got)
	}},
	{"PutUser replaces", func(t *testing.T, open opener) {
		s := open(t)
		u := fullUser()
		putUsers(t, s, u)
		u.Groups, u.Extra, u.IsStaff, u.LastLogin, u.FirstName = []string{"other"}, map[string]any{"x": "y"}, false, now, ""
		putUsers(t, s, u)
		got, err := user(t, s, u.ID)
		require.NoError(t, err)
		require.Equal(t, u, got)
	}},
	{"a key of another account gives a TakenError and nothing is written", func(t *testing.T, open opener) {
		s := open(t)
		anna, bert := newUser("anna"), newUser("bert")
		putUsers(t, s, anna)
		var put error
		update(t, s, func(tx store.Tx) error {
			// The first key is free, the second one is not.
			put = tx.PutUser(bert, []store.Key{{Field: "username", Value: "bert"}, {Field: "email", Value: anna.Email}})
			return nil // what the failed call would have written must not be committed
		})
		require.ErrorIs(t, put, store.ErrTaken)
		var taken *store.TakenError
		require.ErrorAs(t, put, &taken)
		require.Equal(t, "email", taken.Field)
		require.NotContains(t, put.Error(), anna.Email, "the value is personal data")
		_, err := user(t, s, bert.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = userByKey(t, s, "username", "bert")
		require.ErrorIs(t, err, store.ErrNotFound)
		got, err := userByKey(t, s, "email", anna.Email)
		require.NoError(t, err)
		require.Equal(t, anna.ID, got.ID)

		// The same of a replacement: bert keeps what he has.
		putUsers(t, s, bert)
		update(t, s, func(tx store.Tx) error {
			put = tx.PutUser(bert, []store.Key{{Field: "username", Value: "new"}, {Field: "email", Value: anna.Email}})
			return nil
		})
		require.ErrorIs(t, put, store.ErrTaken)
		got, err = userByKey(t, s, "username", "bert")
		require.NoError(t, err)
		require.Equal(t, bert, got)
		_, err = userByKey(t, s, "username", "new")
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"an account may keep its keys", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		putUsers(t, s, u)
		putUsers(t, s, u)
		got, err := userByKey(t, s, "email", u.Email)
		require.NoError(t, err)
		require.Equal(t, u, got)
	}},
	{"one value may be in two fields", func(t *testing.T, open opener) {
		s := open(t)
		anna, bert := newUser("anna"), newUser("bert")
		update(t, s, func(tx store.Tx) error {
			if err := tx.PutUser(anna, []store.Key{{Field: "username", Value: "same"}}); err != nil {
				return err
			}
			return tx.PutUser(bert, []store.Key{{Field: "email", Value: "same"}})
		})
		got, err := userByKey(t, s, "username", "same")
		require.NoError(t, err)
		require.Equal(t, anna.ID, got.ID)
		got, err = userByKey(t, s, "email", "same")
		require.NoError(t, err)
		require.Equal(t, bert.ID, got.ID)
	}},
	{"keys that are not in the list are freed", func(t *testing.T, open opener) {
		s := open(t)
		anna, bert := newUser("anna"), newUser("bert")
		putUsers(t, s, anna)
		update(t, s, func(tx store.Tx) error {
			return tx.PutUser(anna, []store.Key{{Field: "username", Value: "anna2"}})
		})
		for _, k := range keysOf(anna) {
			_, err := userByKey(t, s, k.Field, k.Value)
			require.ErrorIs(t, err, store.ErrNotFound, k)
		}
		got, err := userByKey(t, s, "username", "anna2")
		require.NoError(t, err)
		require.Equal(t, anna.ID, got.ID)
		update(t, s, func(tx store.Tx) error { return tx.PutUser(bert, keysOf(anna)) })
		got, err = userByKey(t, s, "username", "anna")
		require.NoError(t, err)
		require.Equal(t, bert.ID, got.ID)
	}},
	{"keys move from one account to another within one act", func(t *testing.T, open opener) {
		s := open(t)
		anna, bert := newUser("anna"), newUser("bert")
		putUsers(t, s, anna)
		update(t, s, func(tx store.Tx) error {
			if err := tx.PutUser(anna, nil); err != nil {
				return err
			}
			return tx.PutUser(bert, keysOf(anna))
		})
		got, err := userByKey(t, s, "username", "anna")
		require.NoError(t, err)
		require.Equal(t, bert.ID, got.ID)
	}},
	{"keys are any string", func(t *testing.T, open opener) {
		s := open(t)
		values := []string{
			"straße", "ст", "🦊", "a b", "%_'\"\\", strings.Repeat("x", 320),
			"a\u0301", "\u00e1", // the store does not normalise: two keys
			"A", "a", // nor does it fold case
		}
		ids := map[string]uuid.UUID{}
		for _, v := range values {
			u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: v}
			ids[v] = u.ID
			update(t, s, func(tx store.Tx) error {
				return tx.PutUser(u, []store.Key{{Field: "username", Value: v}})
			})
		}
		for _, v := range values {
			got, err := userByKey(t, s, "username", v)
			require.NoError(t, err, v)
			require.Equal(t, ids[v], got.ID, v)
			require.Equal(t, v, got.Username)
		}
	}},
	{"Users pages in the order of ids", func(t *testing.T, open opener) {
		s := open(t)
		var want []uuid.UUID
		for i := range 25 {
			u := newUser(fmt.Sprint("user", i))
			if i%2 == 0 {
				u.ID = uuid.New() // not in the order of insertion
			}
			putUsers(t, s, u)
			want = append(want, u.ID)
		}
		slices.SortFunc(want, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
		for _, limit := range []int{1, 7, 25, 100} {
			require.Equal(t, want, pages(t, s, limit), limit)
		}
		var none, past, between []*store.User
		view(t, s, func(tx store.Tx) (err error) {
			if none, err = tx.Users(uuid.Nil, 0); err != nil {
				return err
			}
			if past, err = tx.Users(uuid.Max, 5); err != nil {
				return err
			}
			absent := want[4]
			for i := len(absent) - 1; ; i-- { // an id that is not there: the next one follows all the same
				if absent[i]++; absent[i] != 0 {
					break
				}
			}
			between, err = tx.Users(absent, 1)
			return err
		})
		require.Empty(t, none)
		require.Empty(t, past)
		require.Len(t, between, 1)
		require.Equal(t, want[5], between[0].ID)
	}},
	{"DeleteUser removes the account, its keys and its sessions", func(t *testing.T, open opener) {
		s := open(t)
		anna, bert := newUser("anna"), newUser("bert")
		putUsers(t, s, anna, bert)
		putSession(t, s, newSession("a1", anna.ID))
		putSession(t, s, newSession("a2", anna.ID))
		putSession(t, s, newSession("b1", bert.ID))
		m := newMail(anna.Email, now)
		m.User = anna.ID
		putMail(t, s, m)
		update(t, s, func(tx store.Tx) error { return tx.DeleteUser(anna.ID) })

		_, err := user(t, s, anna.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		require.Empty(t, sessionNames(t, s, anna.ID))
		for _, name := range []string{"a1", "a2"} {
			_, err := session(t, s, name)
			require.ErrorIs(t, err, store.ErrNotFound)
		}
		require.Equal(t, []string{"b1"}, sessionNames(t, s, bert.ID))
		require.Equal(t, []uuid.UUID{bert.ID}, pages(t, s, 10))
		require.Equal(t, []uint64{m.Seq}, dueSeqs(t, s, now, 10), "queued mail stays")
		again := newUser("anna")
		putUsers(t, s, again)
		got, err := userByKey(t, s, "email", anna.Email)
		require.NoError(t, err)
		require.Equal(t, again.ID, got.ID)
		require.Equal(t, 1, deleteExpired(t, s, now.AddDate(9, 0, 0), 10), "only bert's session is left to expire")
	}},
}

// pages reads all ids with the given page size.
func pages(t *testing.T, s store.Store, limit int) (ids []uuid.UUID) {
	t.Helper()
	after := uuid.Nil
	for {
		var page []*store.User
		view(t, s, func(tx store.Tx) (err error) {
			page, err = tx.Users(after, limit)
			return err
		})
		require.LessOrEqual(t, len(page), limit)
		if len(page) == 0 {
			return ids
		}
		for _, u := range page {
			ids = append(ids, u.ID)
		}
		after = page[len(page)-1].ID
	}
}
