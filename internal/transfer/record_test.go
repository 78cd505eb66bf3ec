// record_test.go: that nothing which the store keeps of an account is forgotten in an export.

package transfer

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// notExported are the fields of records that an export leaves out, each with the reason.
var notExported = map[string]string{
	"LeavesBy": "it is by the store's own steady clock; who is imported goes by LeavesAt",
}

// fill gives every field of a struct a value that is not its zero value.
func fill(t *testing.T, path string, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000+int64(*n), 0).UTC()))
		return
	case uuid.UUID:
		v.Set(reflect.ValueOf(uuid.Must(uuid.NewV7())))
		return
	case map[string]any:
		v.Set(reflect.ValueOf(map[string]any{"text": "Zoë <&>\u2028", "number": 3.0, "integer": int64(3), "large": 1e300, "flag": true, "emptied": nil}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("ä <" + path + "> \u2028 日本")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n%200) + 1)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n) + 1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, path, v.Index(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, path, v.Elem(), n)
	case reflect.Array:
		for i := range v.Len() {
			fill(t, path, v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() { // how it was read, nothing that is kept
				continue
			}
			fill(t, path+"."+v.Type().Field(i).Name, v.Field(i), n)
		}
	default:
		t.Fatalf("%s is a %s, which this test can't fill", path, v.Type())
	}
}

// A field that somebody adds to an account is lost by a move unless it is exported: this
// test says so.
func TestEveryFieldOfAnAccountIsExported(t *testing.T) {
	u := new(store.User)
	n := 0
	fill(t, "User", reflect.ValueOf(u).Elem(), &n)
	for name, why := range notExported {
		require.NotEmpty(t, why, name)
		f := reflect.ValueOf(u).Elem().FieldByName(name)
		require.True(t, f.IsValid(), "%s is no field any more", name)
		f.SetZero()
	}
	raw, err := plainJSON(lineOf(u, true))
	require.NoError(t, err)
	var read accountLine
	require.NoError(t, readLine(raw, &read), "%s", raw)
	back, err := read.user()
	require.NoError(t, err)
	require.Equal(t, u, back, "a field of store.User is not exported: add it to accountLine, or to notExported with the reason")
	again, err := plainJSON(lineOf(back, true))
	require.NoError(t, err)
	require.Equal(t, string(raw), string(again))

	raw, err = plainJSON(lineOf(u, false))
	require.NoError(t, err)
	require.NotContains(t, string(raw), "hash")
}

func TestEveryFieldOfAnInvitationIsExported(t *testing.T) {
	i := new(store.Invitation)
	n := 0
	fill(t, "Invitation", reflect.ValueOf(i).Elem(), &n)
	raw, err := plainJSON(line{Invitation: invitationLineOf(i)})
	require.NoError(t, err)
	var read readableLine
	require.NoError(t, readLine(raw, &read), "%s", raw)
	back, err := read.Invitation.invitation()
	require.NoError(t, err)
	require.Equal(t, i, back)
}

func TestEveryFieldOfARowIsExported(t *testing.T) {
	a := new(store.Audit)
	n := 0
	fill(t, "Audit", reflect.ValueOf(&a.At).Elem(), &n)
	a.Event, a.Account, a.Actor, a.Address, a.Agent, a.Details = "signed_in", uuid.Must(uuid.NewV7()), "admin", "::1", "Zoë <&>", map[string]string{"ä": "<&>"}
	raw, err := plainJSON(line{Audit: auditLineOf(a)})
	require.NoError(t, err)
	var read readableLine
	require.NoError(t, readLine(raw, &read), "%s", raw)
	back, ok := read.Audit.row()
	require.True(t, ok)
	require.Equal(t, a, back)
	require.Equal(t, 9, reflect.TypeFor[store.Audit]().NumField(), "a field that was added to a row goes into auditLine; Seq is the store's own, Imported says that it came from such a line")
}

// What is not UTF-8 in the store is so in the export that it reads the same the next time.
func TestBytesThatAreNoTextStayTheSame(t *testing.T) {
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "a\xff", Unreachable: store.Unreachable{Email: "a@example.org", Words: "\xfe no"}, Extra: map[string]any{"x": "\xff"}}
	first, err := plainJSON(lineOf(u, true))
	require.NoError(t, err)
	var read accountLine
	require.NoError(t, json.Unmarshal(first, &read))
	back, err := read.user()
	require.NoError(t, err)
	second, err := plainJSON(lineOf(back, true))
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
}

func TestLinesThatAreNone(t *testing.T) {
	for name, c := range map[string]struct{ line, says string }{
		"a member that nobody knows": {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","shoe":42}`, `unknown field "shoe"`},
		"two objects":                {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7"} {}`, "behind the object"},
		"no id":                      {`{"username":"ada"}`, "has no id"},
		"a time that is none":        {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","date_joined":"yesterday, when all my troubles seemed so far away, and it looks as though"}`, `is no time as`},
		"a list as a field":          {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","fields":{"x":[1]}}`, "a field is a list or an object"},
		"a number beyond":            {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","fields":{"x":1e999}}`, "is no number that is kept"},
		"an integer beyond":          {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","fields":{"x":99999999999999999999}}`, "is no number that is kept"},
		"a hash that is too short":   {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","used_links":["AAAA"]}`, "a hash has 3 bytes instead of 16"},
		"a session that is none":     {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","enrolment":{"secret":"AAAA","session":"AAAA","since":"2026-11-27T12:00:00Z"}}`, "a hash has 3 bytes instead of 32"},
		"a challenge that is none":   {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","factor_failures":[{"at":"2026-11-27T12:00:00Z","challenge":"AAAA"}]}`, "a hash has 3 bytes instead of 8"},
		"a hash that is none":        {`{"id":"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7","used_links":["A*"]}`, "no base64url"},
	} {
		t.Run(name, func(t *testing.T) {
			var read accountLine
			err := readLine([]byte(c.line), &read)
			if err == nil {
				_, err = read.user()
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}
