// person_test.go: that nothing which is kept about a person is left out of what he is given,
// and nothing in it proves who somebody is.

package transfer

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// recordTypes are the records that a store has, each with where a person finds what is
// about him, or why nothing of it is given to him.
var recordTypes = map[string]string{
	"User": "account, second_step, former_passwords", "MemberPage": "account: it is a page of User", "MemberCount": "a number of all",
	"Session": "sessions", "Mail": "mail", "AuditPage": "record: it is a page of Audit", "Invitation": "invitations",
	"Budget":   "its key is a hash, under a key of the realm, of an address or an account, for minutes",
	"LeftName": "a hash of a name that he left; account.names_left has when",
}

func TestEveryRecordHasItsPlaceInWhatAPersonIsGiven(t *testing.T) {
	tx := reflect.TypeFor[store.Tx]()
	seen := map[string]bool{}
	for i := range tx.NumMethod() {
		for j := range tx.Method(i).Type.NumOut() {
			out := tx.Method(i).Type.Out(j)
			for out.Kind() == reflect.Pointer || out.Kind() == reflect.Slice {
				out = out.Elem()
			}
			if out.Kind() == reflect.Struct {
				seen[out.Name()] = true
				require.NotEmpty(t, recordTypes[out.Name()], "%s returns a record that Person knows nothing of: add it there, or here with the reason", tx.Method(i).Name)
			}
		}
	}
	for name := range recordTypes {
		require.True(t, seen[name], "%s is no record any more", name)
	}
}

// notGiven are the fields of records that a person is not given, each with the reason.
var notGiven = map[string]string{
	"User.PasswordHash": secret, "User.FormerPasswords.Hash": secret,
	"User.LeavesBy":                 "LeavesAt by another clock",
	"User.Factors.Secret":           secret,
	"User.Factors.LastStep":         inner,
	"User.Factors.EmailChanges":     inner,
	"User.Factors.CredentialID":     secret + " to some: it names a key",
	"User.Factors.Flags":            inner,
	"User.FormerFactors.RemovedAt":  inner,
	"User.Enrolment.Secret":         secret,
	"User.Enrolment.Session":        secret,
	"User.FactorFailures.Challenge": inner,
	"User.TrustedDevices.Hash":      secret,
	"User.TrustedDevices.State":     inner,
	"User.KnownDevices.Name":        secret,
	"User.KnownDevices.SignIn":      inner,
	"User.KnownDevices.Trust":       inner,
	"Session.User":                  "the account",
	"Session.SignIn":                inner,
	"Session.Refresh":               secret,
	"Session.Previous":              secret,
	"Session.Epoch":                 inner,
	"Mail.Seq":                      inner,
	"Mail.User":                     "the account",
	"Mail.State":                    inner,
	"Mail.Tried":                    "Attempts says it",
	"Mail.Waiting":                  "the account",
	"Mail.Invitation":               "the invitation has the id",
	"Mail.Factor":                   "the factor has the id",
	"Mail.Browser":                  secret,
}

const (
	secret = "it helps to prove who somebody is"
	inner  = "a number or a fingerprint of the program's own"
)

// TestEveryFieldIsGivenToThePerson sets one field after the other: the document has to
// change, unless notGiven says why it doesn't.
func TestEveryFieldIsGivenToThePerson(t *testing.T) {
	given := map[string]bool{}
	check := func(path string, changes bool) {
		given[path] = true
		if notGiven[path] != "" {
			require.False(t, changes, "%s is given: remove it from notGiven", path)
			return
		}
		require.True(t, changes, "%s is not given to the person: add it to Person, or to notGiven with the reason", path)
	}
	each := func(name string, record reflect.Value, document func() any) {
		var walk func(path string, v reflect.Value)
		walk = func(path string, v reflect.Value) {
			for i := range v.NumField() {
				if !v.Type().Field(i).IsExported() { // how it was read, nothing that is kept
					continue
				}
				f, at := v.Field(i), path+"."+v.Type().Field(i).Name
				elem := f.Type()
				for elem.Kind() == reflect.Pointer || elem.Kind() == reflect.Slice {
					elem = elem.Elem()
				}
				if ours := elem.Kind() == reflect.Struct && elem.PkgPath() == record.Type().PkgPath(); ours && f.Kind() != reflect.Struct {
					if f.Kind() == reflect.Pointer {
						f.Set(reflect.New(elem))
						walk(at, f.Elem())
					} else {
						f.Set(reflect.MakeSlice(f.Type(), 1, 1))
						walk(at, f.Index(0))
					}
					f.SetZero()
					continue
				}
				before, err := plainJSON(document())
				require.NoError(t, err)
				n := 6
				fill(t, at, f, &n)
				after, err := plainJSON(document())
				require.NoError(t, err)
				check(at, string(before) != string(after))
				f.SetZero()
			}
		}
		walk(name, record)
	}
	u, s, m := new(store.User), new(store.Session), new(store.Mail)
	each("User", reflect.ValueOf(u).Elem(), func() any { var p person; p.account(u); return p })
	each("Session", reflect.ValueOf(s).Elem(), func() any { s.Kind %= 3; return ownSessionOf(s) })
	each("Mail", reflect.ValueOf(m).Elem(), func() any { return ownMailOf(m) })
	for path, why := range notGiven {
		require.NotEmpty(t, why)
		require.True(t, given[path], "%s is no field any more", path)
	}
}

// What is in the document proves nothing: none of the fields that do is found in it.
func TestNoSecretIsGivenToThePerson(t *testing.T) {
	u := new(store.User)
	n := 0
	fill(t, "User", reflect.ValueOf(u).Elem(), &n)
	u.PasswordHash, u.FormerPasswords[0].Hash = "$argon2id$one", "$argon2id$two"
	u.Factors[0].Secret, u.Enrolment.Secret, u.RecoveryCodes = []byte("sealed-a"), []byte("sealed-b"), [][]byte{[]byte("sealed-c")}
	var p person
	p.account(u)
	raw, err := plainJSON(p)
	require.NoError(t, err)
	for _, part := range slices.Concat([]string{"argon2id", "sealed"}, []string{
		base64Text(u.Factors[0].Secret).text(t), base64Text(u.Enrolment.Secret).text(t), base64Text(u.RecoveryCodes[0]).text(t), base64Text(u.TrustedDevices[0].Hash[:]).text(t), base64Text(u.ProgramTokens[0].Hash[:]).text(t), u.ProgramTokens[0].Hash.Text(),
	}) {
		require.NotContains(t, string(raw), part)
	}
}

func (b base64Text) text(t *testing.T) string {
	raw, err := json.Marshal(b)
	require.NoError(t, err)
	return strings.Trim(string(raw), `"`)
}
