// firebase.go: what Firebase says of a project's password hashes.

package moving

// FirebaseHash is what a Firebase project's console shows under Authentication,
// Users, "Password hash parameters".
type FirebaseHash struct {
	// SignerKey and SaltSeparator are in base64, as they are shown.
	SignerKey, SaltSeparator string
	// Rounds and MemCost are 8 and 14 in every project so far; 0: those.
	Rounds, MemCost int
}
