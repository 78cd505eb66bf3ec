// format_test.go: what is no hash, or one too costly, is refused before work.

package password

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The parts of a sound hash, to be put together unsoundly.
const (
	soundSalt = "AAAAAAAAAAAAAAAAAAAAAA"                       // 16 bytes
	soundKey  = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"  // 32 bytes
	djangoKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" // 32 bytes
	bcrypt53  = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
)

func phc(params, salt, key string) string {
	return "$argon2id$v=19$" + params + "$" + salt + "$" + key
}

func zeroes(n int) string { return strings.Repeat("A", n) }

var refused = []struct {
	name, encoded string
	want          error
}{
	{"empty", "", ErrFormat},
	{"rubbish", "rubbish", ErrFormat},
	{"long rubbish", strings.Repeat("x", 1<<16), ErrFormat},
	{"django's unusable", "!abc", ErrFormat},
	{"argon2d", "$argon2d$v=19$m=64,t=1,p=1$" + soundSalt + "$" + soundKey, ErrFormat},
	{"upper case", "$ARGON2ID$v=19$m=64,t=1,p=1$" + soundSalt + "$" + soundKey, ErrFormat},
	{"space before", " " + phc("m=64,t=1,p=1", soundSalt, soundKey), ErrFormat},

	{"argon2id only", "$argon2id$", ErrFormat},
	{"argon2id no version", "$argon2id$m=64,t=1,p=1$" + soundSalt + "$" + soundKey, ErrFormat},
	{"argon2id old version", "$argon2id$v=16$m=64,t=1,p=1$" + soundSalt + "$" + soundKey, ErrFormat},
	{"argon2id no key", "$argon2id$v=19$m=64,t=1,p=1$" + soundSalt, ErrFormat},
	{"argon2id more parts", phc("m=64,t=1,p=1", soundSalt, soundKey) + "$", ErrFormat},
	{"argon2id no p", phc("m=64,t=1", soundSalt, soundKey), ErrFormat},
	{"argon2id order", phc("t=1,m=64,p=1", soundSalt, soundKey), ErrFormat},
	{"argon2id keyid", phc("m=64,t=1,p=1,keyid=AAAA", soundSalt, soundKey), ErrFormat},
	{"argon2id signed", phc("m=+64,t=1,p=1", soundSalt, soundKey), ErrFormat},
	{"argon2id negative", phc("m=64,t=-1,p=1", soundSalt, soundKey), ErrFormat},
	{"argon2id leading zero", phc("m=064,t=1,p=1", soundSalt, soundKey), ErrFormat},
	{"argon2id hex", phc("m=0x40,t=1,p=1", soundSalt, soundKey), ErrFormat},
	{"argon2id underscore", phc("m=6_4,t=1,p=1", soundSalt, soundKey), ErrFormat},
	{"argon2id empty number", phc("m=64,t=,p=1", soundSalt, soundKey), ErrFormat},
	{"argon2id no passes", phc("m=64,t=0,p=1", soundSalt, soundKey), ErrFormat},
	{"argon2id no lanes", phc("m=64,t=1,p=0", soundSalt, soundKey), ErrFormat},
	{"argon2id no memory", phc("m=0,t=1,p=1", soundSalt, soundKey), ErrFormat},
	{"argon2id little memory", phc("m=15,t=1,p=2", soundSalt, soundKey), ErrFormat},
	{"argon2id padded", phc("m=64,t=1,p=1", soundSalt+"==", soundKey), ErrFormat},
	{"argon2id bad salt", phc("m=64,t=1,p=1", "!"+soundSalt[1:], soundKey), ErrFormat},
	{"argon2id bad key", phc("m=64,t=1,p=1", soundSalt, "-"+soundKey[1:]), ErrFormat},
	{"argon2id stray bits", phc("m=64,t=1,p=1", soundSalt, soundKey[1:]+"B"), ErrFormat},
	{"argon2id line break", phc("m=64,t=1,p=1", soundSalt, soundKey+"\n"), ErrFormat},
	{"argon2id nul", phc("m=64,t=1,p=1", soundSalt, soundKey+"\x00"), ErrFormat},

	{"argon2id memory", phc("m=1048577,t=1,p=1", soundSalt, soundKey), ErrCost},
	{"argon2id memory overflow", phc("m=4294967296,t=1,p=1", soundSalt, soundKey), ErrCost},
	{"argon2id memory beyond 64 bits", phc("m=99999999999999999999999,t=1,p=1", soundSalt, soundKey), ErrCost},
	{"argon2id passes", phc("m=64,t=65,p=1", soundSalt, soundKey), ErrCost},
	{"argon2id lanes", phc("m=1024,t=1,p=65", soundSalt, soundKey), ErrCost},
	{"argon2id lanes overflow", phc("m=1024,t=1,p=257", soundSalt, soundKey), ErrCost},
	{"argon2id work", phc("m=1048576,t=5,p=1", soundSalt, soundKey), ErrCost},
	{"argon2id no salt", phc("m=64,t=1,p=1", "", soundKey), ErrCost},
	{"argon2id short salt", phc("m=64,t=1,p=1", zeroes(10), soundKey), ErrCost},
	{"argon2id long salt", phc("m=64,t=1,p=1", zeroes(88), soundKey), ErrCost},
	{"argon2id no hash", phc("m=64,t=1,p=1", soundSalt, ""), ErrCost},
	{"argon2id short key", phc("m=64,t=1,p=1", soundSalt, zeroes(20)), ErrCost},
	{"argon2id long key", phc("m=64,t=1,p=1", soundSalt, zeroes(88)), ErrCost},
	{"argon2id huge", phc("m=64,t=1,p=1", soundSalt, zeroes(1<<20)), ErrCost},

	{"bcrypt 2", "$2$05$" + bcrypt53, ErrFormat},
	{"bcrypt 2x", "$2x$05$" + bcrypt53, ErrFormat},
	{"bcrypt only", "$2a$", ErrFormat},
	{"bcrypt short", "$2a$05$" + bcrypt53[1:], ErrFormat},
	{"bcrypt long", "$2a$05$" + bcrypt53 + "C", ErrFormat},
	{"bcrypt no dollar", "$2a$05C" + bcrypt53, ErrFormat},
	{"bcrypt no number", "$2a$ab$" + bcrypt53, ErrFormat},
	{"bcrypt signed", "$2a$-5$" + bcrypt53, ErrFormat},
	{"bcrypt bad base64", "$2a$05$" + "+" + bcrypt53[1:], ErrFormat},
	{"bcrypt line break", "$2a$05$" + bcrypt53[:52] + "\n", ErrFormat},
	{"bcrypt no unicode", "$2a$05$" + bcrypt53[:51] + "é", ErrFormat},
	{"bcrypt cost 3", "$2a$03$" + bcrypt53, ErrFormat},
	{"bcrypt cost 17", "$2a$17$" + bcrypt53, ErrCost},
	{"bcrypt cost 99", "$2a$99$" + bcrypt53, ErrCost},

	{"django only", "pbkdf2_sha256$", ErrFormat},
	{"django sha1", "pbkdf2_sha1$1$salt$" + djangoKey, ErrFormat},
	{"django parts", "pbkdf2_sha256$1$sa$lt$" + djangoKey, ErrFormat},
	{"django no iterations", "pbkdf2_sha256$0$salt$" + djangoKey, ErrFormat},
	{"django no number", "pbkdf2_sha256$x$salt$" + djangoKey, ErrFormat},
	{"django unpadded", "pbkdf2_sha256$1$salt$" + soundKey, ErrFormat},
	{"django bad key", "pbkdf2_sha256$1$salt$_" + djangoKey[1:], ErrFormat},
	{"django short key", "pbkdf2_sha256$1$salt$AAAA", ErrFormat},
	{"django no key", "pbkdf2_sha256$1$salt$", ErrFormat},
	{"django iterations", "pbkdf2_sha256$10000001$salt$" + djangoKey, ErrCost},
	{"django overflow", "pbkdf2_sha256$18446744073709551616$salt$" + djangoKey, ErrCost},
	{"django no salt", "pbkdf2_sha256$1$$" + djangoKey, ErrCost},
	{"django long salt", "pbkdf2_sha256$1$" + zeroes(129) + "$" + djangoKey, ErrCost},
}

func TestRefused(t *testing.T) {
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(tt.encoded)
			require.ErrorIs(t, err, tt.want)

			ok, verifyErr := Verify(tt.encoded, "password")
			require.False(t, ok)
			require.Equal(t, err, verifyErr)
		})
	}
}

func TestErrorsDoNotQuoteTheHash(t *testing.T) {
	const secret = "c2VjcmV0"
	for _, encoded := range []string{
		phc("m=64,t=1,p=1", soundSalt, secret+"!"),
		phc("m=64,t=1,p=1", secret, soundKey),
		phc("m="+secret+",t=1,p=1", soundSalt, soundKey),
		"$2a$05$" + secret,
		"pbkdf2_sha256$1$salt$" + secret,
		secret,
	} {
		err := Check(encoded)
		require.Error(t, err)
		require.NotContains(t, err.Error(), secret)
	}
}

func TestAtTheCaps(t *testing.T) {
	for name, encoded := range map[string]string{
		"argon2id memory": phc("m=1048576,t=4,p=64", soundSalt, soundKey),
		"argon2id passes": phc("m=65536,t=64,p=1", soundSalt, soundKey),
		"argon2id short":  phc("m=8,t=1,p=1", zeroes(11), zeroes(22)),
		"argon2id long":   phc("m=8,t=1,p=1", zeroes(86), zeroes(86)),
		"bcrypt":          "$2a$16$" + bcrypt53,
		"bcrypt least":    "$2a$04$" + bcrypt53,
		"django":          "pbkdf2_sha256$10000000$" + zeroes(128) + "$" + djangoKey,
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, Check(encoded))
			require.LessOrEqual(t, len(encoded), maxEncoded)
		})
	}
}

// What no parsed hash can hold still ends in an error rather than a panic or,
// worse, a match.
func TestMatchesFailsClosed(t *testing.T) {
	for name, s := range map[string]stored{
		"bcrypt":  bcryptHash{encoded: "$2a$05$"},
		"django":  digested{digest: func(string) ([]byte, error) { return nil, ErrFormat }},
		"wrapped": wrapped{inner: digested{digest: func(string) ([]byte, error) { return nil, ErrFormat }}},
	} {
		t.Run(name, func(t *testing.T) {
			ok, err := s.matches("password")
			require.Error(t, err)
			require.False(t, ok)
		})
	}
}
