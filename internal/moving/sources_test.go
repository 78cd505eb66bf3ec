// sources_test.go: samples of our own making of the files that other systems write.

package moving

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNDJSON(t *testing.T) {
	full := `{"id":"0199","username":"ада","email":"a@example.com","email_verified":true,"first_name":"A","last_name":"L","is_active":false,"is_staff":true,` +
		`"groups":["x"],"date_joined":"2020-01-02T03:04:05.000000006Z","last_login":"2021-01-02T03:04:05Z","password_hash":"` + bcryptHash + `",` +
		`"fields":{"huge":1e999,"age":36,"score":1.5,"big":99999999999999999999,"ok":true,"note":"n","none":null,"list":["a",1]},"new":1}`
	runFileCases(t, "ndjson", []fileCase{
		{
			name: "an account", file: full + "\r\n\n" + `{"id":7,"email":"b@example.com","password":"clear","groups":[]}`,
			records: []Record{
				{
					Line: 1, ID: "0199", Username: "ада", Email: "a@example.com", EmailVerified: p(true), FirstName: "A", LastName: "L", IsActive: p(false), IsStaff: p(true),
					Groups: []string{"x"}, Joined: time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC), LastLogin: time.Date(2021, 1, 2, 3, 4, 5, 0, time.UTC), PasswordHash: bcryptHash,
					Fields: map[string]any{"age": int64(36), "score": 1.5, "huge": "1e999", "big": 1e20, "ok": true, "note": "n", "none": nil, "list": `["a",1]`}, Own: json.RawMessage(full),
				},
				{Line: 3, ID: "7", Email: "b@example.com", Password: "clear", Groups: []string{}, Own: json.RawMessage(`{"id":7,"email":"b@example.com","password":"clear","groups":[]}`)},
			},
		},
		{
			name: "what our export has besides accounts", file: `{"registration_export":1}` + "\n" + `{"left_name":{}}` + "\n" + `{"invitation":{"email":"x"}}`,
			records: []Record{
				{Line: 1, Own: json.RawMessage(`{"registration_export":1}`)}, {Line: 2, Own: json.RawMessage(`{"left_name":{}}`)},
				{Line: 3, Own: json.RawMessage(`{"invitation":{"email":"x"}}`)},
			},
		},
		{
			name: "problems", options: Options{MaxRecord: 200}, file: `{"username":"a"` + "\n" + `{"username":7}` + "\n" + `{"username":"c"} x` + "\n[]\n" + `{"username":"` + "\xff" + `"}` + "\n" +
				`{"username":"f","date_joined":"soon"}` + "\n" + `{"username":"g","last_login":"soon"}` + "\n" + `{"username":"h","password":"x","password_hash":"` + bcryptHash + `"}` + "\n" +
				`{"username":"` + strings.Repeat("i", 200) + `"}` + "\n" + `{"is_active":"yes"}` + "\n" + `{"groups":"x"}` + "\n" + `{"fields":1}` + "\n" + `{"username":"m","password_hash":"plain"}` + "\n{\"username\":\"n\"}",
			problems: []string{
				"|syntax|line 1: it is no JSON", "|syntax|line 2, username: it is a number, not a text", "|syntax|line 3: there is something behind", "|syntax|line 4: it is an array, not an object",
				"|encoding|line 5", "f|syntax|line 6, date_joined", "g|syntax|line 7, last_login", "h|twice|line 8, password", "|too_long|line 9", "|syntax|line 10, is_active: it is a string, not true or false",
				"|syntax|line 11, groups: it is a string, not an array", "|syntax|line 12, fields: it is a number, not an object", "m|hash_unsupported|line 13",
			},
			records: []Record{{Line: 14, Username: "n", Own: json.RawMessage(`{"username":"n"}`)}},
		},
	})
}

const djangoGroups = `{"model": "auth.group", "pk": 3, "fields": {"name": "редакторы", "permissions": [1, 2]}}`

// djangoUsers has a user of django.contrib.auth, and one of a model of its own.
const djangoUsers = `{
  "model": "auth.user",
  "pk": 1,
  "fields": {
    "password": "bcrypt$` + bcryptHash + `",
    "last_login": "2023-04-05T06:07:08.901Z",
    "is_superuser": true,
    "username": "ada",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "email": "ada@example.com",
    "is_staff": true,
    "is_active": true,
    "date_joined": "2019-01-02T03:04:05+02:00",
    "groups": [3],
    "user_permissions": [4]
  }
},
{"model": "people.person", "pk": "8f0e", "fields": {"password": "!unusable", "last_login": null, "email": "bea@example.com", "is_active": false, "is_superuser": false, "groups": [["читатели"]], "born": "1815-12-10", "height": 1.6, "team": null}}`

func djangoRecords(line int) []Record {
	return []Record{
		{
			Line: line, ID: "1", Username: "ada", Email: "ada@example.com", EmailVerified: p(true), FirstName: "Ada", LastName: "Lovelace", IsActive: p(true), IsStaff: p(true),
			Groups: []string{"редакторы"}, Joined: time.Date(2019, 1, 2, 1, 4, 5, 0, time.UTC), LastLogin: time.Date(2023, 4, 5, 6, 7, 8, 901e6, time.UTC),
			PasswordHash: bcryptHash, Fields: map[string]any{"is_superuser": true},
		},
		{
			Line: line + 18, ID: "8f0e", Email: "bea@example.com", EmailVerified: p(false), IsActive: p(false), Groups: []string{"читатели"},
			Fields: map[string]any{"born": "1815-12-10", "height": 1.6},
		},
	}
}

func TestDjango(t *testing.T) {
	runFileCases(t, "django", []fileCase{
		{name: "groups first", file: "\uFEFF[\n" + djangoGroups + ",\n{\"model\": \"sessions.session\", \"pk\": \"x\", \"fields\": {}},\n" + djangoUsers + "\n]\n", records: djangoRecords(4)},
		{name: "groups last", file: "[" + djangoUsers + ",\n" + djangoGroups + "]", records: djangoRecords(1)},
		{name: "jsonl", file: djangoGroups + "\n" + strings.Replace(djangoUsers, "},\n{", "}\n{", 1), records: djangoRecords(2)},
		{name: "nobody", file: "[]", end: "there is no account in the file"},
		{
			name: "problems", file: `[{"model": 1, "pk": 1, "fields": {}},` + "\n" + `{"model": "auth.user", "pk": 2, "fields": {"username": "b", "password": "x", "last_login": "never"}},` + "\n" +
				`{"model": "auth.user", "pk": 3, "fields": {"username": "c", "password": "pbkdf2_sha256$1000000000$salt$IRi+I1EhYrmq7+0Ct5Qi4pQNJXgwfAanEg1HpzlCfF8=", "last_login": null}},` + "\n" +
				`{"model": "auth.user", "pk": 4, "fields": {"username": "d", "password": "", "last_login": null, "groups": [9]}},` + "\n" +
				`{"model": "auth.user", "pk": 5, "fields": {"username": "e", "password": "", "last_login": null, "groups": 9}},` + "\n" +
				`{"model": "auth.user", "pk": 7, "fields": {"username": "g", "password": "", "last_login": null, "groups": [["Site editors"]]}},` + "\n" +
				`{"model": "auth.user", "pk": 6, "fields": {"username": "` + "\xff" + `", "password": "", "last_login": null}}]`,
			problems: []string{
				"|syntax|line 1, model: it is a number, not a text", "b|syntax|line 2, last_login", "c|hash_cost|line 3, password_hash", "d|group_unknown|line 4, groups: the group 9",
				"e|syntax|line 5, groups: it is no list",
				`g|group_invalid|line 6, groups: "Site editors" can't be the name of a group here, which is 1 to 64 letters, digits and - _ . : /; rename it there`, "|encoding|line 7",
			},
		},
		{name: "no JSON", file: "- model: auth.user", end: "the file is no JSON"},
		{name: "empty", file: " \n ", end: "the file is no JSON"},
		{name: "broken off", file: "[\n" + djangoGroups + ",\n{", end: "line 3: the file ends in the middle"},
		{name: "broken off behind a comma", file: "[\n" + djangoGroups + ",\n", end: "line 3: the file ends in the middle"},
		{name: "broken", file: "[\n" + djangoGroups + "\n}", end: "line 3: the file is no JSON from here on"},
		{name: "an endless object", file: "[\n{\"x\": \"" + strings.Repeat("x", 1<<20), options: Options{MaxRecord: 1000}, end: "is longer than 1000 bytes"},
	})
}

// In a pipe, a group has to come before its members.
func TestDjangoInAPipe(t *testing.T) {
	got := readFrom("django", onlyReader{strings.NewReader("[" + djangoUsers + ",\n" + djangoGroups + "]")}, Options{})
	require.NoError(t, got.end)
	require.Len(t, got.problems, 1)
	require.Contains(t, got.problems[0], "ada|group_unknown|line 1, groups: the group 3 is not in the file before its members; dump auth.group too, and first")
	got = readFrom("django", onlyReader{strings.NewReader("[" + djangoGroups + ",\n" + djangoUsers + "]")}, Options{})
	require.Equal(t, djangoRecords(2), got.records)
	require.ErrorIs(t, readFrom("django", seekFails{strings.NewReader("[]")}, Options{}).end, errFails)
}

type onlyReader struct{ in *strings.Reader }

func (o onlyReader) Read(p []byte) (int, error) { return o.in.Read(p) }

// seekFails finds its place and never comes back to it.
type seekFails struct{ *strings.Reader }

func (s seekFails) Seek(_ int64, whence int) (int64, error) {
	if whence == 1 {
		return 0, nil
	}
	return 0, errFails
}

func TestDjangoHasTooManyGroups(t *testing.T) {
	var file strings.Builder
	for i := range maxGroups + 1 {
		fmt.Fprintf(&file, `{"model": "auth.group", "pk": %d, "fields": {"name": "g", "permissions": []}}`+"\n", i)
	}
	require.ErrorContains(t, readAll("django", file.String(), Options{}).end, ": the file has more than 10000 groups")
}

const autheliaSample = `---
# from authelia.com
users:
  ada:
    disabled: false
    displayname: 'Ada Lovelace'
    password: '{CRYPT}$6$rounds=50000$BpLnfgDsc2WD8F2q$Zis.ixdg9s/UOJYrs56b5QEZFiZECu0qZVNsIYxBaNJ7ucIL.nlxVCT5tqh8KHG8X4tlwCFm5r6NTOZZ5qRFN/'
    email: 'ada@example.com'
    groups:
      - 'admins'
      - &staff 'staff'
  беа:
    disabled: true
    password: "` + argonHash + `"
    email: b@example.com
    given_name: Bea
    family_name: B
    groups: [*staff]
    phone_number: '+1'
    birthdate: 1815-12-10
    address: {locality: London, none: ~, deep: {x: 1}}
    extra:
      age: 36
      score: 1.5
      member: true
      odd: !!int x
`

func TestAuthelia(t *testing.T) {
	runFileCases(t, "authelia", []fileCase{
		{name: "users_database.yml", file: autheliaSample, records: []Record{
			{
				Line: 4, Username: "ada", Email: "ada@example.com", FirstName: "Ada Lovelace", IsActive: p(true), Groups: []string{"admins", "staff"},
				PasswordHash: "$6$rounds=50000$BpLnfgDsc2WD8F2q$Zis.ixdg9s/UOJYrs56b5QEZFiZECu0qZVNsIYxBaNJ7ucIL.nlxVCT5tqh8KHG8X4tlwCFm5r6NTOZZ5qRFN/",
			},
			{
				Line: 12, Username: "беа", Email: "b@example.com", FirstName: "Bea", LastName: "B", IsActive: p(false), Groups: []string{"staff"}, PasswordHash: argonHash,
				Fields: map[string]any{"phone_number": "+1", "birthdate": "1815-12-10", "locality": "London", "age": int64(36), "score": 1.5, "member": true, "odd": "x"},
			},
		}},
		{
			name: "problems", file: "users:\n  a: x\n  b: {disabled: maybe}\n  c: {groups: x}\n  d: {password: {x: y}}\n  e: {password: plain}\n  f: {email: [x], displayname: ~}\n",
			problems: []string{"a|syntax|line 2: it is no mapping", "b|syntax|line 3, disabled", "c|syntax|line 4, groups", "e|hash_unsupported|line 6"},
			records:  []Record{{Line: 5, Username: "d"}, {Line: 7, Username: "f"}},
		},
		{name: "no YAML", file: "users: [", end: "the file is no YAML"},
		{name: "empty", file: "", end: "the file is empty"},
		{name: "something else", file: "- x", end: `no mapping "users"`},
		{name: "another mapping", file: "x: y", end: `no mapping "users"`},
		{name: "a list", file: "users: []", end: `no mapping "users"`},
		{name: "too long", file: strings.Repeat("#", maxYAML+1), end: "longer than 8 MiB"},
		// A billion laughs stay one: aliases are not followed into what they stand for.
		{
			name: "aliases of aliases", file: "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nusers:\n  ada: {groups: *c, extra: *b}\n",
			problems: []string{`ada|group_invalid|line 5, groups: ""`},
		},
		{name: "itself", file: "users: &u\n  ada: *u\n", records: []Record{{Line: 2, Username: "ada"}}},
	})
}

const caddySecuritySample = `{
  "version": "1.1.12",
  "policy": {"password": {"keep_versions": 10}, "user": {"min_length": 3}},
  "revision": 2,
  "users": [
    {
      "id": "cd5f647a-cc04-4ae2-9d0a-2d5e9b95cf98",
      "username": "ada",
      "email_address": {"address": "ada@example.com", "domain": "example.com"},
      "email_addresses": [{"address": "ada@example.com", "domain": "example.com"}],
      "name": {"first": "Ada", "last": "Lovelace"},
      "passwords": [
        {"purpose": "generic", "algorithm": "bcrypt", "hash": "$1$never", "disabled": true, "expired": true},
        {"purpose": "generic", "algorithm": "bcrypt", "hash": "` + bcryptHash + `", "cost": 4, "expired_at": "0001-01-01T00:00:00Z"}
      ],
      "created": "2020-05-05T18:47:51.513552501Z",
      "roles": [{"name": "admin", "organization": "authp"}, {"name": "user"}]
    },
    {"username": "bea", "disabled": true, "email_addresses": [{"address": "b@example.com"}], "names": [{"first": "Bea"}], "passwords": [{"hash": "bcrypt:4:` + bcryptHash + `"}]}
  ]
}`

func TestCaddySecurity(t *testing.T) {
	runFileCases(t, "caddy-security", []fileCase{
		{name: "users.json", file: caddySecuritySample, records: []Record{
			{
				Line: 6, ID: "cd5f647a-cc04-4ae2-9d0a-2d5e9b95cf98", Username: "ada", Email: "ada@example.com", FirstName: "Ada", LastName: "Lovelace", IsActive: p(true),
				Groups: []string{"authp/admin", "user"}, Joined: time.Date(2020, 5, 5, 18, 47, 51, 513552501, time.UTC), PasswordHash: bcryptHash,
			},
			{Line: 19, Username: "bea", Email: "b@example.com", FirstName: "Bea", IsActive: p(false), Groups: []string{}, PasswordHash: bcryptHash},
		}},
		{name: "problems", file: `{"users": [{"username": "a", "created": "soon", "passwords": []}, {}]}`, problems: []string{"a|syntax|line 1, date_joined", "|required|line 1"}},
		{name: "something else", file: `{"x": [{"y": {"z": 1}}]}`, end: `the file has no "users"`},
		{name: "a list", file: `[]`, end: `something else where "{" was expected`},
		{name: "users is no list", file: `{"users": 1}`, end: `something else where "[" was expected`},
		{name: "deep", file: `{"x": ` + strings.Repeat("[", 200), end: "nested more than 100 deep"},
		{name: "no value", file: `{"x": `, end: "ends in the middle"},
		{name: "no name", file: `{"users": [], x`, end: "no JSON from here on"},
	})
}

func TestWordPress(t *testing.T) {
	const list = `[{"ID":1,"user_login":"ada","display_name":"ada","user_email":"ada@example.com","user_registered":"2023-04-05 06:07:08","roles":"administrator,editor",` +
		`"user_pass":"$wp$2y$05$6hQP59WxpxNRDJOSUvnzWOb8GeBN8nIj9o5CQZdv6AJGxjNAFq7KO","first_name":"Ada","last_name":"L"},
{"ID":2,"user_login":"bea","display_name":"Bea B.","user_email":"b@example.com","user_registered":"0000-00-00 00:00:00","roles":"","user_pass":"$P$BZK6TIR5gFtPev/sKnyk75Olz7soHe.","locale":"de_DE"}]`
	runFileCases(t, "wordpress", []fileCase{
		{name: "wp user list --format=json", file: list, records: []Record{
			{
				Line: 1, ID: "1", Username: "ada", Email: "ada@example.com", FirstName: "Ada", LastName: "L", Groups: []string{"administrator", "editor"},
				Joined: time.Date(2023, 4, 5, 6, 7, 8, 0, time.UTC), PasswordHash: "$wp$2y$05$6hQP59WxpxNRDJOSUvnzWOb8GeBN8nIj9o5CQZdv6AJGxjNAFq7KO",
			},
			{
				Line: 2, ID: "2", Username: "bea", Email: "b@example.com", FirstName: "Bea B.", Groups: []string{}, PasswordHash: "$P$BZK6TIR5gFtPev/sKnyk75Olz7soHe.",
				Fields: map[string]any{"locale": "de_DE"},
			},
		}},
		{
			name: "the table of a network", file: "ID,user_login,user_pass,user_nicename,user_email,user_url,user_registered,user_activation_key,user_status,display_name,spam,deleted\n" +
				"3,cat,89a382efe7ca0b83a4505028fee80536,cat,c@example.com,,2010-01-02 03:04:05,,0,Cat,1,0\n4,dan,*,dan,d@example.com,https://d.example,soon,,0,Dan,0,0\n",
			records: []Record{{
				Line: 2, ID: "3", Username: "cat", Email: "c@example.com", FirstName: "Cat", IsActive: p(false), Joined: time.Date(2010, 1, 2, 3, 4, 5, 0, time.UTC),
				PasswordHash: "md5$$89a382efe7ca0b83a4505028fee80536",
			}},
			problems: []string{"dan|syntax|line 3, user_registered"},
		},
		{name: "another table", file: "id,name\n", end: `neither a list of JSON nor a table with a column "user_login"`},
		{name: "nothing", file: "", end: "the file is empty"},
		{name: "a list of something", file: "[1]", problems: []string{"|syntax|line 1: it is a number, not an object"}},
	})
}

// firebaseKey is that of the README of github.com/firebase/scrypt.
var firebaseKey = FirebaseHash{SignerKey: "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==", SaltSeparator: "Bw=="}

const (
	firebaseSample = `{"users": [
{
  "localId": "zL3F",
  "email": "ada@example.com",
  "emailVerified": true,
  "passwordHash": "lSrfV15cpx95_sZS2W9c9Kp6i_LVgQNDNC_qzrCnh1SAyZvqmZqAjTdn3aoItz-VHjoZilo78198JAdRuid5lQ==",
  "salt": "42xEC-ixf3L2lw==",
  "displayName": "Ada Lovelace",
  "photoUrl": "https://example.com/ada.png",
  "lastSignedInAt": "1700000000123",
  "createdAt": "1600000000000",
  "phoneNumber": "+15555550100",
  "customAttributes": "{\"admin\":true,\"level\":3}",
  "providerUserInfo": []
},
{"localId": "g", "email": "google@example.com", "emailVerified": true, "disabled": true, "createdAt": "1600000000000", "providerUserInfo": [{"providerId": "google.com", "rawId": "1"}]}
]}`
	firebaseHashed = "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$" +
		"lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
)

// hashConfig is what the console shows.
const hashConfig = `hash_config {
  algorithm: SCRYPT,
  base64_signer_key: jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==,
  base64_salt_separator: Bw==,
  rounds: 8,
  mem_cost: 14,
}
`

func TestFirebase(t *testing.T) {
	withKey := Options{Firebase: firebaseKey}
	joined, last := time.UnixMilli(1600000000000).UTC(), time.UnixMilli(1700000000123).UTC()
	row := func(id, hash, salt, more string) string {
		return id + `,ada@example.com,true,"` + hash + `",` + salt + `,"Ada Lovelace",,` + strings.Repeat(",", 16) + "1600000000000,1700000000123,+1" + more
	}
	ada := Record{
		ID: "zL3F", Email: "ada@example.com", EmailVerified: p(true), FirstName: "Ada Lovelace", IsActive: p(true), Joined: joined, LastLogin: last, PasswordHash: firebaseHashed,
		Fields: map[string]any{"phoneNumber": "+1"},
	}
	at := func(line int, r Record) Record { r.Line = line; return r }
	full := ada
	full.Fields = map[string]any{"phoneNumber": "+15555550100", "photoUrl": "https://example.com/ada.png", "admin": true, "level": int64(3)}
	off := ada
	off.IsActive, off.Fields = p(false), map[string]any{"phoneNumber": "+1", "x": int64(1)}
	runFileCases(t, "firebase", []fileCase{
		{name: "JSON", file: firebaseSample, options: withKey, records: []Record{
			at(2, full), {Line: 16, ID: "g", Email: "google@example.com", EmailVerified: p(true), IsActive: p(false), Joined: joined},
		}},
		{
			name: "CSV of the tool's versions", options: withKey,
			file:    row("zL3F", "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==", "42xEC+ixf3L2lw==", `,true,"{""x"":1}"`) + "\n",
			records: []Record{at(1, off)},
		},
		{
			name: "older CSV", options: withKey, file: row("zL3F", "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==", "42xEC+ixf3L2lw==", "") + "\n",
			records: []Record{at(1, ada)},
		},
		{
			name: "problems", options: withKey, file: `{"users": [{"localId": "a", "email": "a@example.com", "createdAt": "soon"},` + "\n" + `{"localId": "b", "email": "b@example.com", "customAttributes": "{"},` + "\n" +
				`{"localId": "c", "email": "c@example.com", "passwordHash": "AAAA"},` + "\n" + `{"localId": "d", "phoneNumber": "+1"}]}`,
			problems: []string{"a@example.com|syntax|line 1, createdAt", "b@example.com|syntax|line 2, customAttributes", "c@example.com|hash_unsupported|line 3, salt", "|required|line 4"},
		},
		{name: "its key in front", file: hashConfig + firebaseSample, records: []Record{
			at(9, full), {Line: 23, ID: "g", Email: "google@example.com", EmailVerified: p(true), IsActive: p(false), Joined: joined},
		}},
		{
			name: "its key in front of CSV", file: "\uFEFF" + strings.ReplaceAll(hashConfig, "\n", "\r\n") + row("zL3F", "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==", "42xEC+ixf3L2lw==", "") + "\n\"",
			records: []Record{at(8, ada)}, problems: []string{"|syntax|line 9: a quote is not closed"},
		},
		{name: "its key alone", file: strings.TrimSuffix(hashConfig, "}\n"), end: "line 7: hash_config has no closing brace"},
		{name: "another algorithm", file: strings.Replace(hashConfig, "SCRYPT", "STANDARD_SCRYPT", 1), end: "line 2: the algorithm of the project is not SCRYPT"},
		{name: "no rounds", file: strings.Replace(hashConfig, ": 8", ": x", 1), end: "line 5: rounds is no number"},
		{name: "a cost of none", file: strings.Replace(hashConfig, ": 14", ": 0", 1), end: "line 6: mem_cost is no number"},
		{name: "no end", file: "hash_config {\n" + strings.Repeat("\n", 100), end: "line 50: hash_config doesn't end"},
		{name: "without the key", file: firebaseSample, end: "Password hash parameters"},
		{name: "another table", file: "a,b\n", end: "line 1: it has 2 columns; the file is neither JSON nor CSV of firebase auth:export"},
	})
	cheap := withKey
	cheap.Firebase.MemCost, cheap.Firebase.Rounds = 30, 8
	got := readAll("firebase", firebaseSample, cheap)
	require.Len(t, got.problems, 1)
	require.Contains(t, got.problems[0], "ada@example.com|hash_cost|line 2")
}

func TestSupabase(t *testing.T) {
	now := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	joined := time.Date(2023, 4, 5, 6, 7, 8, 901234000, time.UTC)
	ada := Record{
		ID: "8e3f", Email: "ada@example.com", EmailVerified: p(true), FirstName: "Ada Lovelace", IsActive: p(true), Joined: joined, LastLogin: joined.Add(time.Hour),
		PasswordHash: bcryptHash, Fields: map[string]any{"phone": "15555550100", "age": int64(36), "tags": `["x"]`},
	}
	at := func(line int, r Record) Record { r.Line = line; return r }
	runFileCases(t, "supabase", []fileCase{
		{
			name: "CSV", options: Options{Now: now}, file: "instance_id,id,aud,role,email,encrypted_password,email_confirmed_at,last_sign_in_at,raw_app_meta_data,raw_user_meta_data,created_at,phone,banned_until,deleted_at,is_anonymous\n" +
				`0,8e3f,authenticated,authenticated,ada@example.com,` + bcryptHash + `,2023-04-05 06:07:08.901234+00,2023-04-05 07:07:08.901234+00,"{""provider"": ""email""}","{""full_name"": ""Ada Lovelace"", ""age"": 36, ""tags"": [""x""], ""sub"": ""8e3f""}",2023-04-05 06:07:08.901234+00,15555550100,2026-11-26 00:00:00+00,,f` + "\n" +
				`0,1,a,a,,,,,,,,,,,true` + "\n" + `0,2,a,a,b@example.com,,,,,,,,,2023-04-05 06:07:08+00,false` + "\n" + `0,3,a,a,c@example.com,,,,,x,,,,,` + "\n" + `0,4,a,a,d@example.com,,,,,,soon,,,,` + "\n" + `0,5,a,a,e@example.com,,,,,,,,soon,,` + "\n",
			records:  []Record{at(2, ada)},
			problems: []string{"|nobody|line 3, is_anonymous", "b@example.com|nobody|line 4, deleted_at", "c@example.com|syntax|line 5, raw_user_meta_data", "d@example.com|syntax|line 6, created_at", "e@example.com|syntax|line 7, banned_until"},
		},
		{
			name: "JSON", file: `[{"id": "9", "email": "b@example.com", "encrypted_password": "", "email_confirmed_at": null, "created_at": "2023-04-05T06:07:08.901234+00:00", "banned_until": "9999-01-01T00:00:00Z", "is_anonymous": false,` +
				`"raw_user_meta_data": {"preferred_username": "bea", "given_name": "Bea", "family_name": "B", "name": "B B"}, "phone": null}]`,
			records: []Record{{Line: 1, ID: "9", Username: "bea", Email: "b@example.com", EmailVerified: p(false), FirstName: "Bea", LastName: "B", IsActive: p(false), Joined: joined}},
		},
		{name: "another table", file: "id,email\n", end: `a table with a column "encrypted_password"`},
	})
}

func keycloakPassword(secret, data string) string {
	quote := func(s string) string { raw, _ := json.Marshal(s); return string(raw) }
	return `{"id": "c", "type": "password", "userLabel": "My password", "secretData": ` + quote(secret) + `, "credentialData": ` + quote(data) + `}`
}

const keycloakSalt, keycloakKey = "c2FsdHNhbHRzYWx0+/==", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="

func TestKeycloak(t *testing.T) {
	pbkdf := func(algorithm string) string {
		return keycloakPassword(`{"value":"`+keycloakKey+`","salt":"`+keycloakSalt+`","additionalParameters":{}}`, `{"hashIterations":27500,"algorithm":"`+algorithm+`","additionalParameters":{}}`)
	}
	argon := func(version string) string {
		return keycloakPassword(`{"value":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","salt":"AAAAAAAAAAAAAAAAAAAAAA==","additionalParameters":{}}`,
			`{"hashIterations":5,"algorithm":"argon2","additionalParameters":{"hashLength":["32"],"memory":["7168"],"type":["id"],"version":["`+version+`"],"parallelism":["1"]}}`)
	}
	user := func(name, more string) string { return `{"username": "` + name + `", ` + more + `}` }
	runFileCases(t, "keycloak", []fileCase{
		{
			name: "a realm", file: keycloakSample, records: []Record{
				{
					Line: 6, ID: "6a1c", Username: "ada", Email: "ada@example.com", EmailVerified: p(true), FirstName: "Ada", LastName: "Lovelace", IsActive: p(true),
					Groups: []string{"admins", "staff/north"}, Joined: time.UnixMilli(1700000000123).UTC(), Fields: map[string]any{"phone": "+1", "langs": `["de","en"]`},
					PasswordHash: "$argon2id$v=19$m=7168,t=5,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
				},
				{Line: 20, Username: "bea"},
			},
			problems: []string{"service-account-web|nobody|line 19"},
		},
		{
			name: "several realms", file: `[{"realm": "a", "users": [` + user("a", `"credentials": [`+pbkdf("pbkdf2")+`]`) + `]}, {"users": [` + user("b", `"credentials": [`+pbkdf("pbkdf2-sha256")+`]`) + "," +
				user("c", `"credentials": [`+pbkdf("pbkdf2-sha512")+`]`) + `], "realm": "b"}]`,
			records: []Record{
				{Line: 1, Username: "a", PasswordHash: "$pbkdf2$27500$c2FsdHNhbHRzYWx0.w$" + strings.TrimRight(keycloakKey, "=")},
				{Line: 1, Username: "b", PasswordHash: "$pbkdf2-sha256$27500$c2FsdHNhbHRzYWx0.w$" + strings.TrimRight(keycloakKey, "=")},
				{Line: 1, Username: "c", PasswordHash: "$pbkdf2-sha512$27500$c2FsdHNhbHRzYWx0.w$" + strings.TrimRight(keycloakKey, "=")},
			},
		},
		{
			name: "Keycloak 7", file: `{"users": [` + user("a", `"credentials": [{"type": "password", "hashedSaltedValue": "`+keycloakKey+`", "salt": "AAAA", "hashIterations": 27500, "algorithm": "pbkdf2-sha256"}]`) + `]}`,
			records: []Record{{Line: 1, Username: "a", PasswordHash: "$pbkdf2-sha256$27500$AAAA$" + strings.TrimRight(keycloakKey, "=")}},
		},
		{
			name: "problems", file: `{"users": [` + user("a", `"credentials": [`+argon("1.0")+`]`) + ",\n" + user("b", `"credentials": [`+pbkdf("md5")+`]`) + ",\n" + user("c", `"credentials": [`+keycloakPassword("{", "{")+`]`) + ",\n" +
				user("d", `"credentials": [`+keycloakPassword(`{"value":"!"}`, "{}")+`]`) + ",\n" + user("e", `"credentials": [`+strings.Replace(argon("1.3"), "7168", "4194304", 1)+`]`) + ",\n" + user("f", `"enabled": "yes"`) + ",\n" + user("g", `"createdTimestamp": "x"`) + ",\n" + user("h", `"credentials": [`+strings.Replace(argon("1.3"), `[\"7168\"]`, `[]`, 1)+`]`) + `]}`,
			problems: []string{
				"a|hash_unsupported|line 1, credentials: its Argon2 is not of version 1.3", "b|hash_unsupported|line 2, credentials: nothing here verifies its algorithm \"md5\"",
				"c|hash_unsupported|line 3", "d|hash_unsupported|line 4", "e|hash_cost|line 5", "|syntax|line 6, enabled", "|syntax|line 7, createdTimestamp: it is a string, not a number", "h|hash_unsupported|line 8",
			},
		},
		{name: "nothing", file: "", end: "ends in the middle"},
		{name: "a realm without users", file: `{"realm": "x"}`, end: `no "users"`},
		{name: "a list broken off", file: `[{"users": []}`, end: "ends in the middle"},
		{name: "a list of something", file: `[1]`, end: `where "{" was expected`},
		{name: "no list of anything", file: `[`, end: "ends in the middle"},
	})
	got := readAll("keycloak", `{"users": [`+user("a", `"credentials": [`+argon("1.3")+`]`)+`]}`, Options{})
	require.Len(t, got.records, 1)
}

var keycloakSample = `{
  "realm": "shop",
  "groups": [{"id": "g", "name": "admins", "path": "/admins", "subGroups": []}],
  "roles": {"realm": [{"name": "user"}]},
  "users": [
    {
      "id": "6a1c",
      "createdTimestamp": 1700000000123,
      "username": "ada",
      "enabled": true,
      "emailVerified": true,
      "firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com",
      "attributes": {"phone": ["+1"], "langs": ["de", "en"]},
      "credentials": [{"type": "otp", "secretData": "{}", "credentialData": "{}"},
        ` + keycloakPassword(`{"value":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","salt":"AAAAAAAAAAAAAAAAAAAAAA==","additionalParameters":{}}`,
	`{"hashIterations":5,"algorithm":"argon2","additionalParameters":{"hashLength":["32"],"memory":["7168"],"type":["id"],"version":["1.3"],"parallelism":["1"]}}`) + `],
      "realmRoles": ["user"],
      "groups": ["/admins", "/staff/north"]
    },
    {"username": "service-account-web", "serviceAccountClientId": "web"},
    {"username": "bea"}
  ],
  "clients": []
}`

// A large file takes no more memory than a small one, of every format that allows it.
func TestConstantMemory(t *testing.T) {
	for format, parts := range map[string][3]string{
		"ndjson":         {"", `{"username":"%d","email":"a@example.com"}` + "\n", ""},
		"csv":            {"username,email\n", "%d,a@example.com\n", ""},
		"htpasswd":       {"", "%d:" + bcryptHash + "\n", ""},
		"django":         {"[", `{"model": "auth.user", "pk": 1, "fields": {"username": "%d", "password": "", "last_login": null}},` + "\n", djangoGroups + "]"},
		"caddy-security": {`{"users": [`, `{"username": "%d", "passwords": []},` + "\n", `{"username": "x"}]}`},
		"keycloak":       {`{"users": [`, `{"username": "%d", "enabled": true},` + "\n", `{"username": "x"}]}`},
		"wordpress":      {"[", `{"user_login": "%d"},` + "\n", `{"user_login": "x"}]`},
	} {
		t.Run(format, func(t *testing.T) {
			const many = 15_000
			in := &generated{parts: parts, many: many}
			n, most := 0, uint64(0)
			for _, err := range Read(format, in, Options{}) {
				require.NoError(t, err)
				if n++; n%5_000 == 0 {
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					if n == 5_000 {
						most = m.HeapAlloc
					}
					require.Less(t, m.HeapAlloc, most+1<<20, "%d records", n)
				}
			}
			require.GreaterOrEqual(t, n, many)
		})
	}
}

// generated is a file that nobody holds.
type generated struct {
	parts [3]string
	many  int
	next  int
	left  []byte
}

func (g *generated) Read(p []byte) (int, error) {
	if len(g.left) == 0 {
		switch {
		case g.next == 0:
			g.left = []byte(g.parts[0])
		case g.next <= g.many:
			g.left = fmt.Appendf(nil, g.parts[1], g.next)
		case g.next == g.many+1:
			g.left = []byte(g.parts[2])
		}
		g.next++
		if len(g.left) == 0 {
			if g.next > g.many+1 {
				return 0, io.EOF
			}
			return g.Read(p)
		}
	}
	n := copy(p, g.left)
	g.left = g.left[n:]
	return n, nil
}
