// keycloak.go: the JSON of a Keycloak realm (kc.sh export), or of its users alone.

package moving

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// keycloakUser is one of "users".
type keycloakUser struct {
	ID            string               `json:"id"`
	Username      string               `json:"username"`
	Email         string               `json:"email"`
	EmailVerified *bool                `json:"emailVerified"`
	FirstName     string               `json:"firstName"`
	LastName      string               `json:"lastName"`
	Enabled       *bool                `json:"enabled"`
	Created       int64                `json:"createdTimestamp"`
	Groups        []string             `json:"groups"`
	Attributes    map[string]any       `json:"attributes"`
	Credentials   []keycloakCredential `json:"credentials"`
	ServiceOf     string               `json:"serviceAccountClientId"`
}

type keycloakCredential struct {
	Type string `json:"type"`
	// Both are JSON in a text.
	Secret string `json:"secretData"`
	Data   string `json:"credentialData"`
	// Before Keycloak 8, they stood here.
	keycloakSecret
	keycloakData
	OldValue string `json:"hashedSaltedValue"`
}

type keycloakSecret struct {
	Value string `json:"value"`
	Salt  string `json:"salt"`
}

type keycloakData struct {
	Iterations int64               `json:"hashIterations"`
	Algorithm  string              `json:"algorithm"`
	Additional map[string][]string `json:"additionalParameters"`
}

// readKeycloak reads an export of one realm, or several in a list, in files as large as
// they are: of all but one user nothing is held.
func readKeycloak(in io.Reader, o Options, yield func(Record, error) bool) error {
	d := newDocument(in, o)
	known := false
	each := recordsOf(yield, func(u *keycloakUser, r *Record) (bool, error) {
		if known = known || u.Username != "" && (u.Enabled != nil || u.Credentials != nil || u.Created != 0); !known {
			return false, foreign("keycloak", `"username" with "enabled" or "credentials"`)
		}
		return true, r.fromKeycloak(u)
	})
	if d.first() != '[' {
		return d.arrayIn("users", each)
	}
	_, err := d.token()
	for err == nil && d.dec.More() {
		err = d.arrayIn("users", each)
	}
	if err == nil {
		_, err = d.token()
	}
	return err
}

func (r *Record) fromKeycloak(u *keycloakUser) error {
	r.ID, r.Username, r.Email, r.FirstName, r.LastName = u.ID, u.Username, u.Email, u.FirstName, u.LastName
	r.EmailVerified, r.IsActive = u.EmailVerified, u.Enabled
	if u.ServiceOf != "" {
		return r.problem("", CodeNobody, "it is the service account of a client, not a person's")
	}
	if u.Created > 0 {
		r.Joined = time.UnixMilli(u.Created).UTC()
	}
	if u.Groups != nil {
		r.Groups = []string{}
	}
	for _, path := range u.Groups {
		r.Groups = append(r.Groups, strings.TrimPrefix(path, "/"))
	}
	for _, name := range slices.Sorted(maps.Keys(u.Attributes)) {
		v := u.Attributes[name]
		if list, ok := v.([]any); ok && len(list) == 1 {
			v = list[0]
		}
		r.add(name, v)
	}
	for _, c := range u.Credentials {
		if c.Type != "password" {
			continue
		}
		hash, err := c.hash()
		if err != nil {
			return r.problem("credentials", CodeHash, err.Error())
		}
		r.PasswordHash = hash
		break
	}
	return nil
}

// hash spells a password as internal/password reads it.
func (c *keycloakCredential) hash() (string, error) {
	secret, data := c.keycloakSecret, c.keycloakData
	if c.Secret != "" {
		if json.Unmarshal([]byte(c.Secret), &secret) != nil || json.Unmarshal([]byte(c.Data), &data) != nil {
			return "", fmt.Errorf("its secretData or credentialData is no JSON")
		}
	} else if secret.Value == "" {
		secret.Value = c.OldValue
	}
	salt, saltErr := base64.StdEncoding.DecodeString(secret.Salt)
	key, keyErr := base64.StdEncoding.DecodeString(secret.Value)
	if saltErr != nil || keyErr != nil {
		return "", fmt.Errorf("the salt or the value of its password is no base64")
	}
	b64 := base64.RawStdEncoding.EncodeToString
	switch data.Algorithm {
	case "pbkdf2", "pbkdf2-sha256", "pbkdf2-sha512":
		// Passlib's spelling has a dot for the plus.
		dots := strings.NewReplacer("+", ".")
		return fmt.Sprintf("$%s$%d$%s$%s", data.Algorithm, data.Iterations, dots.Replace(b64(salt)), dots.Replace(b64(key))), nil
	case "argon2":
		of := func(name string) string {
			if v := data.Additional[name]; len(v) == 1 {
				return v[0]
			}
			return ""
		}
		if of("version") != "1.3" {
			return "", fmt.Errorf("its Argon2 is not of version 1.3")
		}
		return fmt.Sprintf("$argon2%s$v=19$m=%s,t=%d,p=%s$%s$%s", of("type"), of("memory"), data.Iterations, of("parallelism"), b64(salt), b64(key)), nil
	}
	return "", fmt.Errorf("nothing here verifies its algorithm %.40q", data.Algorithm)
}
