// recognise_test.go: files in another format than somebody says.

package moving

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Read in any other format, a file brings nobody in: at most each line is refused. Where
// its reader ends at once, it says what the file is.
func TestEveryFileIsReadInItsOwnFormatAlone(t *testing.T) {
	files := map[string]string{
		"django":         "[" + djangoGroups + "," + djangoUsers + "]",
		"authelia":       autheliaSample,
		"caddy-security": caddySecuritySample,
		"wordpress":      `[{"ID":1,"user_login":"ada","user_email":"ada@example.com","user_pass":"` + bcryptHash + `"}]`,
		"firebase":       firebaseSample,
		"supabase":       `[{"id": "9", "email": "b@example.com", "encrypted_password": "` + bcryptHash + `"}]`,
		"keycloak":       keycloakSample,
		"htpasswd":       "ada:" + bcryptHash + "\n",
		"csv":            "username,email,first_name,last_name,groups,is_active,city,password_hash\nada,a@example.com,A,B,x,true,c," + bcryptHash + "\n",
	}
	for is, file := range files {
		require.NotEmpty(t, readAll(is, file, sampleOptions).records, is)
		oneLine := strings.ReplaceAll(file, "\n", " ")
		for _, format := range Formats() {
			if format == is {
				continue
			}
			t.Run(is+" as "+format, func(t *testing.T) {
				got := readAll(format, file, sampleOptions)
				assert.Empty(t, got.records)
				if is == "authelia" || format == "htpasswd" {
					return
				}
				if len(got.problems) == 0 {
					require.ErrorContains(t, got.end, "it looks like one of "+is+", which is read with --format "+is)
				}
				if file[0] == '{' || file[0] == '[' {
					assert.Empty(t, readAll(format, oneLine, sampleOptions).records)
				}
			})
		}
	}
	for name, tt := range map[string]struct{ format, file, is string }{
		"rows of supabase":       {"csv", "id,email,encrypted_password\n1,a@example.com,x\n", "supabase"},
		"rows of wordpress":      {"csv", "ID,user_login,email\n1,ada,a@example.com\n", "wordpress"},
		"rows for firebase":      {"firebase", "id,email,encrypted_password,a,b,c,d,e\n1,a@example.com,x,a,b,c,d,e\n", "supabase"},
		"lines of keycloak":      {"ndjson", `{"username":"ada","enabled":false,"credentials":[]}`, "keycloak"},
		"lines of supabase":      {"ndjson", `{"id":"1","email":"a@example.com","encrypted_password":"x"}`, "supabase"},
		"our own export":         {"wordpress", `{"registration_export":1,"with_hashes":true}`, "ndjson"},
		"a realm, several":       {"ndjson", `[{"realm":"a","users":[]}]`, "keycloak"},
		"firebase with its key":  {"wordpress", hashConfig + firebaseSample, "firebase"},
		"a realm that is pretty": {"ndjson", "{\n\"realm\": \"a\", \"users\": []}", "keycloak"},
	} {
		t.Run(name, func(t *testing.T) {
			got := readAll(tt.format, tt.file, Options{})
			require.Empty(t, got.records)
			require.ErrorContains(t, got.end, "--format "+tt.is)
		})
	}
}

// What looks like nothing that is known gets no advice, and a line of ours may have any
// field.
func TestNoAdvice(t *testing.T) {
	for _, file := range []string{`{"x": 1}`, "[" + strings.Repeat("[", 200), "x", `[1]`} {
		got := readAll("wordpress", file, Options{})
		require.Empty(t, got.records)
		if got.end != nil {
			require.NotContains(t, got.end.Error(), "looks like", file)
		}
	}
	require.Len(t, readAll("ndjson", `{"username":"ada","fields":{"localId":"x","user_login":"y"}}`, Options{}).records, 1)
	require.ErrorContains(t, readFrom("keycloak", onlyReader{strings.NewReader(firebaseSample)}, Options{}).end, `no "username" with`)
}

func TestFilesWithoutAnybody(t *testing.T) {
	for _, format := range Formats() {
		got := readAll(format, "", Options{})
		require.Error(t, got.end, format)
		require.Empty(t, got.problems, format)
	}
	for format, file := range map[string]string{
		"django": djangoGroups, "firebase": `{"users": []}`, "keycloak": `{"realm": "a", "users": []}`, "htpasswd": "# nobody\n", "ndjson": "\n\n", "wordpress": "[]",
	} {
		require.ErrorIs(t, readAll(format, file, Options{}).end, errNobody, format)
	}
	require.NoError(t, readAll("csv", "username,email\n", Options{}).end)
}
