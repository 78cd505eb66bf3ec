// record_internal_test.go: the shorthand of password hashes and the keys in a record.

package record

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func TestShorthandIsReversible(t *testing.T) {
	require.Less(t, len(fragments), 32, "more would be printable bytes")
	for _, s := range []string{
		"", "curl/8.5", "\xff\xfe", "\x00", "\x01", "a\x1fb", "\x00Mozilla/5.0 (", "\t", "é\x7f",
		"Mozilla/5.0 (Mozilla/5.0 (", strings.Join(fragments, ""), "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
	} {
		require.Equal(t, s, FromShorthand(ToShorthand(s)), "%q", s)
	}
	for i, f := range fragments {
		require.Equal(t, []byte{byte(i + 1)}, []byte(ToShorthand(f)), f)
	}
	agent := "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	require.Less(t, len(ToShorthand(agent)), 20)
}

// The fragments are part of the format: entries may be added, never changed.
func TestShorthandIsStable(t *testing.T) {
	require.Equal(t, "\x01salt$hash", ToShorthand("$argon2id$v=19$m=19456,t=2,p=1$salt$hash"))
	require.Equal(t, "\x03\x04\x0a142\x0c", ToShorthand(
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"))
	require.Equal(t, "\x03\x06\x12140.0\x10140.0", ToShorthand(
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"))
}

func TestUserRecordsKnowTheirKeys(t *testing.T) {
	u := &store.User{Username: "AnnaÅ\xff", Email: "Anna@Example.org"}
	for _, keys := range [][]store.Key{
		{},
		{{Field: "username", Value: "annaÅ\xff"}, {Field: "email", Value: "anna@example.org"}},
		{{Field: "email", Value: "anna@example.org"}},
		{{Field: "username", Value: "annaå"}, {Field: "email", Value: "Anna@Example.org"}},
		{{Field: "email", Value: "annaÅ\xff"}, {Field: "username", Value: "anna@example.org"}, {Field: "username", Value: "second"}, {Field: "phone", Value: "1"}},
	} {
		data, err := EncodeUser(u, keys)
		require.NoError(t, err)
		got, gotKeys, err := DecodeUser(u.ID, data)
		require.NoError(t, err)
		require.Equal(t, u, got)
		require.ElementsMatch(t, keys, gotKeys)
	}
	data, err := EncodeUser(u, []store.Key{{Field: "email", Value: "anna@example.org"}})
	require.NoError(t, err)
	require.NotContains(t, string(data), "anna@", "a usual key takes a bit")
}

// What every sign-in by the password alone has is not written: whoever signs in reads the
// other sessions of the account. Records that have it, and those from before it was kept,
// read alike.
func TestSessionRecordsLeaveOutTheUsualSignIn(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	usual := &store.Session{User: uuid.Must(uuid.NewV7()), Created: at, AMR: []string{"pwd"}, AuthTime: at}
	written, err := EncodeSession(usual)
	require.NoError(t, err)
	before, err := encodeRecord(sessionFormat, &sessionRecord{User: usual.User, Created: UnixSeconds(at)})
	require.NoError(t, err)
	require.Equal(t, before, written)
	full, err := encodeRecord(sessionFormat, &sessionRecord{User: usual.User, Created: UnixSeconds(at), AMR: usual.AMR, AuthTime: UnixSeconds(at)})
	require.NoError(t, err)
	for _, record := range [][]byte{written, full} {
		got, err := DecodeSession(usual.Hash, record)
		require.NoError(t, err)
		require.Equal(t, usual, got)
	}
	raised := *usual
	raised.AMR, raised.AuthTime = []string{"pwd", "otp", "mfa"}, at.Add(time.Minute)
	record, err := EncodeSession(&raised)
	require.NoError(t, err)
	got, err := DecodeSession(usual.Hash, record)
	require.NoError(t, err)
	require.Equal(t, &raised, got)
}

// An older plugin would lose the further addresses of an account, and the keys by which they
// are its own, so it refuses the record; that of an account with one address stays as it was.
func TestUserRecordsOfSeveralAddresses(t *testing.T) {
	former := []store.FormerEmail{{Email: "old@example.org", Serial: 1, Until: time.Unix(1_790_000_000, 0).UTC()}}
	for name, c := range map[string]struct {
		user   store.User
		format byte
	}{
		"one":                 {store.User{Email: "ada@example.org", Former: former}, userFormat},
		"one that is awaited": {store.User{EmailsAsked: 1, AskedEmails: []store.AskedEmail{{Email: "new@example.org", Serial: 1, At: time.Unix(1_790_000_000, 0).UTC()}}}, userFormat},
		"several":             {store.User{Email: "ada@example.org", FurtherEmails: []string{"ada@work.example"}}, userSeveral},
		"several, once":       {store.User{Former: []store.FormerEmail{{Email: "old@example.org", Serial: 1, Until: former[0].Until, Left: store.StillThere, Main: "ada@example.org"}}}, userSeveral},
		"several and an app":  {store.User{FurtherEmails: []string{"ada@work.example"}, FactorFailuresInRow: 1}, userSeveral},
	} {
		c.user.ID = uuid.Must(uuid.NewV7())
		keys := []store.Key{{Field: "email", Value: "ada@work.example"}}
		data, err := EncodeUser(&c.user, keys)
		require.NoError(t, err, name)
		require.Equal(t, c.format, data[0], name)
		got, gotKeys, err := DecodeUser(c.user.ID, data)
		require.NoError(t, err, name)
		require.Equal(t, &c.user, got, name)
		require.Equal(t, keys, gotKeys, name)
		_, err = Body("user", userStep, data) // as the version before reads it
		require.Equal(t, c.format == userSeveral, errors.Is(err, store.ErrNewerSchema), name)
	}
}

// The second step is one string in the record, which an older plugin would not read, so it
// refuses the record; records that have it as fields of their own are read as before.
func TestUserRecordsHaveTheSecondStepApart(t *testing.T) {
	id := uuid.Must(uuid.NewV7())
	u := &store.User{ID: id, Username: "ada", Enrolment: &store.Enrolment{Secret: []byte{1}, Since: time.Unix(1_790_000_000, 0).UTC()}, FactorFailuresInRow: 2}
	u.Factors = []store.Factor{{ID: id, Type: store.FactorTOTP, Name: "phone", Created: time.Unix(1_790_000_000, 0).UTC(), Secret: []byte("sealed")}}
	data, err := EncodeUser(u, nil)
	require.NoError(t, err)
	require.EqualValues(t, userStep, data[0])
	got, _, err := DecodeUser(id, data)
	require.NoError(t, err)
	require.Equal(t, u, got)

	var r userRecord
	require.NoError(t, decodeRecord("user", userStep, data, &r))
	require.Empty(t, r.Factors)
	r.Step = nil
	r.addStep(u)
	before, err := encodeRecord(userFormat, &r)
	require.NoError(t, err)
	got, _, err = DecodeUser(id, before)
	require.NoError(t, err)
	require.Equal(t, u, got)
	brief, err := DecodeUserBriefly(id, before)
	require.NoError(t, err)
	require.Equal(t, store.Brief(u), brief)

	r.Step = []byte{0xff}
	damaged, err := encodeRecord(userStep, &r)
	require.NoError(t, err)
	_, _, err = DecodeUser(id, damaged)
	require.ErrorIs(t, err, ErrDamaged)

	plain, err := EncodeUser(&store.User{Username: "eve"}, nil)
	require.NoError(t, err)
	require.EqualValues(t, userFormat, plain[0])
	_, err = EncodeUser(brief, nil)
	require.ErrorIs(t, err, store.ErrBrief)
	_, err = DecodeUserBriefly(id, nil)
	require.ErrorIs(t, err, ErrDamaged)
	many := &store.User{RecoveryCodes: make([][]byte, 200_000)}
	_, err = EncodeUser(many, nil)
	require.ErrorIs(t, err, store.ErrTooLarge)
}
