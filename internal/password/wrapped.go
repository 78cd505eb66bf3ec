// wrapped.go: hashes that are too fast to be kept as they are. An import wraps them:
// what is kept is Argon2id over the old digest, with all that it takes to compute that
// digest again but not the digest.

package password

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
)

// wrappedPrefix begins $wrapped$, what the old hash has before its digest, and the
// Argon2id of the digest as a PHC string.
const wrappedPrefix = "$wrapped$"

// digested is a stored hash that is a digest of the password, to be compared as it is.
type digested struct {
	// settings is the encoded hash up to its digest.
	settings string
	key      []byte
	// digest fails only as PBKDF2 can; nil is of no password.
	digest func(password string) ([]byte, error)
	// fast says that a guess costs next to nothing.
	fast bool
	// heavy says that the digest is costly (see heavy).
	heavy bool
}

// A digestReader reads a hash, or with bare one without its digest: the settings of a
// wrapped one.
type digestReader func(encoded string, bare bool) (digested, error)

// withKey adds what decode makes of the digest's text.
func (d digested) withKey(text string, bare bool, decode func(string) ([]byte, error)) (digested, error) {
	if bare {
		return d, nil
	}
	var err error
	d.key, err = decode(text)
	return d, err
}

func (d digested) matches(password string) (bool, error) {
	key, err := d.digest(password)
	return err == nil && len(key) > 0 && subtle.ConstantTimeCompare(key, d.key) == 1, err
}

func (digested) weakerThan(Params) bool { return true }

// Fast reports whether encoded is a hash that must not be kept as it is, because whoever
// has it guesses the password at little cost: MD5, SHA-1 and SHA-2, even where they are
// repeated some thousand times (apr1, PHPass), and PBKDF2 and sha-crypt of under 10 000
// rounds, which is what Linux makes by itself. Each takes a core here 2 µs to 3 ms and no
// memory, so that a guesser's graphics card tries millions a second. Wrap makes
// something of it that can be kept.
func Fast(encoded string) bool {
	s, err := parse(encoded)
	d, ok := s.(digested)
	return err == nil && ok && d.fast
}

// Wrap is a fast hash as Argon2id of its digest, which Verify reads and a good sign-in
// replaces. Any other hash is an error. It costs what Hash costs, in a slot of the pool;
// it also fails with ErrBusy.
func (p *Pool) Wrap(ctx context.Context, encoded string, params Params) (string, error) {
	if err := params.Validate(); err != nil {
		return "", err
	}
	s, err := parse(encoded)
	if err != nil {
		return "", err
	}
	d, ok := s.(digested)
	if !ok {
		return "", fmt.Errorf("%w: it is none that can be wrapped", ErrFormat)
	}
	outer := argon2id{params: params, salt: make([]byte, saltLength)}
	_, _ = rand.Read(outer.salt) // never fails: it ends the program instead
	err = p.do(ctx, func() error {
		outer.key = outer.derive(string(d.key), keyLength)
		return nil
	})
	if err != nil {
		return "", err
	}
	return wrappedPrefix + d.settings + outer.encode(), nil
}

// Differ reports whether two hashes are seen to be others without a guess at the password:
// false for a fast one and what may be that one wrapped. Others may be of one password, as
// after a sign-in that made the hash anew.
func Differ(kept, other string) bool {
	if kept == other {
		return false
	}
	one, err := parse(kept)
	if err != nil {
		return true
	}
	two, err := parse(other)
	w, isWrapped := one.(wrapped)
	d, isFast := two.(digested)
	return err != nil || !isWrapped || !isFast || w.inner.settings != d.settings
}

// wrapped is a stored wrapped hash.
type wrapped struct {
	inner digested
	outer argon2id
}

func parseWrapped(encoded string) (stored, error) {
	settings := strings.TrimPrefix(encoded, wrappedPrefix)
	at := strings.LastIndex(settings, argon2idPrefix)
	if at < 0 {
		return nil, fmt.Errorf("%w: a wrapped hash has no Argon2id", ErrFormat)
	}
	settings, outer := settings[:at], settings[at:]
	f := formatIn(digests, settings)
	if f == nil {
		return nil, fmt.Errorf("%w: what is wrapped is none of the formats that are", ErrFormat)
	}
	inner, err := f.read(settings, true)
	if err != nil {
		return nil, err
	}
	if inner.settings != settings {
		return nil, fmt.Errorf("%w: what is wrapped has its old digest", ErrFormat)
	}
	a, err := parseArgon2id(outer)
	if err != nil {
		return nil, err
	}
	return wrapped{inner: inner, outer: a.(argon2id)}, nil
}

func (w wrapped) matches(password string) (bool, error) {
	digest, err := w.inner.digest(password)
	if err != nil || digest == nil {
		return false, err
	}
	return w.outer.matches(string(digest))
}

func (wrapped) weakerThan(Params) bool { return true }

// salted are the hashes that are one digest of password and salt.
var salted = []struct {
	begins string
	django bool // hexadecimal, and the salt before the password
	salt   bool
	digest func() hash.Hash
}{
	{"md5$", true, true, newMD5},
	{"sha1$", true, true, newSHA1},
	{"{MD5}", false, false, newMD5},
	{"{SMD5}", false, true, newMD5},
	{"{SHA}", false, false, newSHA1},
	{"{SSHA}", false, true, newSHA1},
	{"{SHA256}", false, false, sha256.New},
	{"{SSHA256}", false, true, sha256.New},
	{"{SHA512}", false, false, sha512.New},
	{"{SSHA512}", false, true, sha512.New},
}

// readSalted reads Django's sha1$salt$hex and the schemes of LDAP: {SSHA} and base64 of
// digest and salt. Of a bare one of these the base64 is of the salt alone.
func readSalted(encoded string, bare bool) (digested, error) {
	for _, scheme := range salted {
		rest, ok := strings.CutPrefix(encoded, scheme.begins)
		if !ok {
			continue
		}
		d := digested{settings: scheme.begins, fast: true}
		var salt []byte
		if scheme.django {
			text, key, ok := strings.Cut(rest, "$")
			if !ok {
				return digested{}, fmt.Errorf("%w: it has not its parts: salt and key", ErrFormat)
			}
			if err := within("salt", len(text), 0, maxDjangoSalt); err != nil {
				return digested{}, err
			}
			d.settings += text + "$"
			d.digest = digestOf(scheme.digest, text, "")
			return d.withKey(key, bare, func(text string) ([]byte, error) {
				raw, err := hexadecimal(text)
				if size := scheme.digest().Size(); err == nil && len(raw) != size {
					err = fmt.Errorf("%w: its key has %d bytes, not %d", ErrFormat, len(raw), size)
				}
				return raw, err
			})
		}
		raw, err := unbase64(base64.StdEncoding, rest)
		if err != nil {
			return digested{}, err
		}
		size := scheme.digest().Size()
		if bare {
			size = 0
		}
		if len(raw) < size || !scheme.salt && len(raw) != size {
			return digested{}, fmt.Errorf("%w: its key has %d bytes, not %d", ErrFormat, len(raw), size)
		}
		d.key, salt = raw[:size:size], raw[size:]
		if err := within("salt", len(salt), 0, maxSalt); err != nil {
			return digested{}, err
		}
		d.settings += base64.StdEncoding.EncodeToString(salt)
		d.digest = digestOf(scheme.digest, "", string(salt))
		return d, nil
	}
	return digested{}, fmt.Errorf("%w: it is no digest that is known", ErrFormat)
}

func digestOf(digester func() hash.Hash, before, after string) func(string) ([]byte, error) {
	return func(password string) ([]byte, error) {
		h := digester()
		h.Write([]byte(before + password + after))
		return h.Sum(nil), nil
	}
}
