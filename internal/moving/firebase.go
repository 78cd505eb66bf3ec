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

func readFirebase(in io.Reader, o Options, yield func(Record, error) bool) error {
	begin := bufio.NewReader(decoded(in))
	if (&document{in: begin}).first() == '{' {
		return newDocument(begin, o).arrayIn("users", recordsOf(yield, func(u *firebaseUser, r *Record) (bool, error) {
			return true, r.fromFirebase(u, o.Firebase)
		}))
	}
	return newTable(begin, o).rows(yield, func(row []string, r *Record) error {
		if len(row) <= firebasePhone {
			return fmt.Errorf("line %d: it has %d columns; the file is neither JSON nor CSV of firebase auth:export", r.Line, len(row))
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
			"Firebase under Authentication, Users, Password hash parameters; give them too")
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
