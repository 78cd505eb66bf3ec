// firebase.go: what `firebase auth:export` writes, as JSON or as CSV.

package moving

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// FirebaseHash is what a Firebase project's console shows under Authentication,
// Users, "Password hash parameters".
type FirebaseHash struct {
	// SignerKey and SaltSeparator are in base64, as they are shown.
	SignerKey, SaltSeparator string
	// Rounds and MemCost are 8 and 14 in every project so far; 0: those.
	Rounds, MemCost int
}

// firebaseUser is one of "users".
type firebaseUser struct {
	ID           string `json:"localId"`
	Email        string `json:"email"`
	Verified     bool   `json:"emailVerified"`
	Hash         string `json:"passwordHash"`
	Salt         string `json:"salt"`
	Name         string `json:"displayName"`
	Photo        string `json:"photoUrl"`
	Phone        string `json:"phoneNumber"`
	Created      string `json:"createdAt"`
	LastSignedIn string `json:"lastSignedInAt"`
	Disabled     bool   `json:"disabled"`
	// Attributes are JSON in a text.
	Attributes string `json:"customAttributes"`
}

// The columns of its CSV, which has no header; those of Google, Facebook, Twitter and
// GitHub stand between.
const (
	firebaseID, firebaseEmail, firebaseVerified, firebaseHash, firebaseSalt = 0, 1, 2, 3, 4
	firebaseName, firebasePhoto                                             = 5, 6
	firebaseCreated, firebaseLastSignedIn, firebasePhone                    = 23, 24, 25
	// Of newer versions of the tool.
	firebaseDisabled, firebaseAttributes = 26, 27
)

// readFirebase reads the export. In front of it the file may have "hash_config { … }", as
// the console shows it.
func readFirebase(in io.Reader, o Options, yield func(Record, error) bool) error {
	begin := bufio.NewReader(decoded(in))
	if err := o.readHashConfig(begin); err != nil {
		return err
	}
	known := false
	if (&document{in: begin}).first() == '{' {
		return newDocument(begin, o).arrayIn("users", recordsOf(yield, func(u *firebaseUser, r *Record) (bool, error) {
			if known = known || u.ID != ""; !known {
				return false, foreign("firebase", `"localId"`)
			}
			return true, r.fromFirebase(u, o.Firebase)
		}))
	}
	return newTable(begin, o).rows(yield, func(row []string, r *Record) error {
		if len(row) <= firebasePhone {
			return fmt.Errorf("line %d: it has %d columns; the file is neither JSON nor CSV of firebase auth:export", r.Line, len(row))
		}
		if known = known || row[firebaseID] != "" && (row[firebaseVerified] == "true" || row[firebaseVerified] == "false"); !known {
			return foreign("firebase", "true or false in its third column; the export has no header")
		}
		u := &firebaseUser{
			ID: row[firebaseID], Email: row[firebaseEmail], Verified: row[firebaseVerified] == "true", Hash: row[firebaseHash], Salt: row[firebaseSalt],
			Name: row[firebaseName], Photo: row[firebasePhoto], Created: row[firebaseCreated], LastSignedIn: row[firebaseLastSignedIn], Phone: row[firebasePhone],
		}
		u.Disabled = len(row) > firebaseDisabled && row[firebaseDisabled] == "true"
		if len(row) > firebaseAttributes {
			u.Attributes = row[firebaseAttributes]
		}
		return r.fromFirebase(u, o.Firebase)
	})
}

// readHashConfig reads what the console shows, if the file begins with it.
func (o *Options) readHashConfig(in *bufio.Reader) error {
	const begins, most = "hash_config", 50
	if ahead, _ := in.Peek(len(begins)); string(ahead) != begins {
		return nil
	}
	for o.before < most {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("line %d: hash_config has no closing brace in a line of its own, or no export behind it: %w", o.before+1, err)
		}
		o.before++
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		value = strings.TrimSuffix(strings.TrimSpace(value), ",")
		number := func(to *int) error {
			if *to, err = strconv.Atoi(value); err != nil || *to < 1 {
				return fmt.Errorf("line %d: %s is no number", o.before, name)
			}
			return nil
		}
		err = nil
		switch name {
		case "}":
			return nil
		case "base64_signer_key":
			o.Firebase.SignerKey = value
		case "base64_salt_separator":
			o.Firebase.SaltSeparator = value
		case "rounds":
			err = number(&o.Firebase.Rounds)
		case "mem_cost":
			err = number(&o.Firebase.MemCost)
		case "algorithm":
			if value != "SCRYPT" {
				err = fmt.Errorf("line %d: the algorithm of the project is not SCRYPT", o.before)
			}
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("line %d: hash_config doesn't end", o.before)
}

func (r *Record) fromFirebase(u *firebaseUser, hash FirebaseHash) error {
	r.ID, r.Email, r.FirstName = u.ID, u.Email, u.Name
	active := !u.Disabled
	r.EmailVerified, r.IsActive = &u.Verified, &active
	for name, value := range map[string]string{"phoneNumber": u.Phone, "photoUrl": u.Photo} {
		if value != "" {
			r.add(name, value)
		}
	}
	if r.setTime("date_joined", u.Created) != nil || r.setTime("last_login", u.LastSignedIn) != nil {
		return r.problem("createdAt", CodeSyntax, "it or lastSignedInAt is no time in milliseconds")
	}
	if u.Attributes != "" {
		var attributes map[string]any
		dec := json.NewDecoder(strings.NewReader(u.Attributes))
		dec.UseNumber()
		if err := dec.Decode(&attributes); err != nil {
			return r.problem("customAttributes", CodeSyntax, "it is no object of JSON")
		}
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			r.add(name, attributes[name])
		}
	}
	if u.Hash == "" {
		return nil
	}
	if hash.SignerKey == "" {
		return errors.New("the passwords of this file are hashed with a key of the project: it and its salt separator are in the console of " +
			"Firebase under Authentication, Users, Password hash parameters; put that text in front of the export in the same file")
	}
	if u.Salt == "" {
		return r.problem("salt", CodeHash, "its password was imported into Firebase and never used there; it has another hash, without a salt")
	}
	rounds, cost := hash.Rounds, hash.MemCost
	if rounds == 0 {
		rounds = 8
	}
	if cost == 0 {
		cost = 14
	}
	standard := strings.NewReplacer("-", "+", "_", "/")
	r.PasswordHash = fmt.Sprintf("$fbscrypt$v=1,n=%d,r=%d,p=1,ss=%s,sk=%s$%s$%s", cost, rounds,
		standard.Replace(hash.SaltSeparator), standard.Replace(hash.SignerKey), standard.Replace(u.Salt), standard.Replace(u.Hash))
	return nil
}
