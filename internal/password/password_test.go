// password_test.go: the front door: known answers of every format, round trips
// and the ageing of hashes.

package password

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// cheap is the least a test may spend.
var cheap = Params{Memory: 64, Passes: 1, Lanes: 1}

// long is the 72 characters that bcrypt reads.
const long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// knownAnswers are hashes that other programs made.
var knownAnswers = []struct{ name, password, encoded string }{
	// The Argon2 reference implementation, src/test.c.
	{"argon2id", "password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
	{"argon2id two lanes", "password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
	{"argon2id 64 MiB", "password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
	// Openwall's crypt_blowfish, wrapper.c.
	{"bcrypt 2a", "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
	{"bcrypt empty", "", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"},
	{"bcrypt 72 bytes", long, "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"},
	{"bcrypt over 72 bytes", long + "chars after 72 are ignored", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"},
	// libxcrypt, by Python's crypt module.
	{"bcrypt 2b", "pässword", "$2b$05$abcdefghijklmnopqrstuucZGbUxuMlEqps0qcu2pjhO7vaatQZIC"},
	{"bcrypt 2b 100 bytes", strings.Repeat("x", 100), "$2b$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q"},
	// Apache's htpasswd -B.
	{"bcrypt 2y", "correct horse", "$2y$05$6GGpcA8g8a3Dul6M5rG.XegpHbY0e/L9mH7XlWWc3X2FCBwLrcx8y"},
	// Python's hashlib, laid out as Django does.
	{"django", "password", "pbkdf2_sha256$260000$PQGPMhoOqe3sxIcLqULdtr$mOkHfHbLK21gS/ba2BJzsMf2SMi/6oQGf7iDC9nWdMM="},
	{"django short salt", "lètmein", "pbkdf2_sha256$1000$seasalt$JgZryXe2Ga8ysg6XbzkLpTdyPQrHqsinbL9BnnhgX4A="},
	{"django empty", "", "pbkdf2_sha256$1$salt$8TXCeZO6+Ydzxc20ClcGzmo0XN5hsACmeFhlDNajJNc="},
	{"django 200 bytes", strings.Repeat("x", 200), "pbkdf2_sha256$2$abcdefghijkl$6lKof4aFhzd6nj3wWxFjVuGwH+0FsLQvDmdb7EiVrio="},
}

func TestVerifyKnownAnswers(t *testing.T) {
	for _, tt := range knownAnswers {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, Check(tt.encoded))

			ok, err := Verify(tt.encoded, tt.password)
			require.NoError(t, err)
			require.True(t, ok)

			// In front, where bcrypt reads it whatever the length.
			ok, err = Verify(tt.encoded, "-"+tt.password)
			require.NoError(t, err)
			require.False(t, ok)
		})
	}
}

func TestBcryptReadsAll72Bytes(t *testing.T) {
	ok, err := Verify("$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", long[:71])
	require.NoError(t, err)
	require.False(t, ok)
}

func TestHashRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name, password string
		params         Params
	}{
		{"ascii", "correct horse", cheap},
		{"empty", "", cheap},
		{"unicode", "Straße 日本 🐎", cheap},
		{"not utf-8", "\xff\x00\xfe", cheap},
		{"longest", strings.Repeat("x", MaxLength), cheap},
		{"lanes", "correct horse", Params{Memory: 65, Passes: 3, Lanes: 4}},
		{"least", "correct horse", Params{Memory: 8, Passes: 1, Lanes: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			encoded, err := Hash(tt.password, tt.params)
			require.NoError(t, err)
			require.NoError(t, Check(encoded))
			require.False(t, NeedsRehash(encoded, tt.params))

			ok, err := Verify(encoded, tt.password)
			require.NoError(t, err)
			require.True(t, ok)

			ok, err = Verify(encoded, tt.password+"x")
			require.NoError(t, err)
			require.False(t, ok)
		})
	}
}

func TestHashFormat(t *testing.T) {
	first, err := Hash("correct horse", cheap)
	require.NoError(t, err)
	require.Regexp(t, `^\$argon2id\$v=19\$m=64,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, first)

	second, err := Hash("correct horse", cheap)
	require.NoError(t, err)
	require.NotEqual(t, first, second, "every hash has a salt of its own")
}

func TestHashRefuses(t *testing.T) {
	_, err := Hash(strings.Repeat("x", MaxLength+1), cheap)
	require.ErrorIs(t, err, ErrTooLong)

	_, err = Hash("correct horse", Params{})
	require.ErrorContains(t, err, "use at least")
}

func TestVerifyTooLongNeverMatches(t *testing.T) {
	// bcrypt itself would not see the difference.
	ok, err := Verify("$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", long+strings.Repeat("x", MaxLength))
	require.NoError(t, err)
	require.False(t, ok)

	_, err = Verify("rubbish", strings.Repeat("x", MaxLength+1))
	require.ErrorIs(t, err, ErrFormat)
}

func TestVerifyRejectsAnyChangedByte(t *testing.T) {
	encoded, err := Hash("correct horse", cheap)
	require.NoError(t, err)
	for i := range encoded {
		changed := []byte(encoded)
		changed[i] ^= 1
		ok, err := Verify(string(changed), "correct horse")
		require.False(t, ok, "byte %d, error %v", i, err)
	}
}

func TestNeedsRehash(t *testing.T) {
	stored := func(p Params, salt, key int) string {
		return argon2id{params: p, salt: make([]byte, salt), key: make([]byte, key)}.encode()
	}
	want := Params{Memory: 128, Passes: 2, Lanes: 2}
	for _, tt := range []struct {
		name    string
		encoded string
		need    bool
	}{
		{"same", stored(want, 16, 32), false},
		{"stronger", stored(Params{256, 3, 2}, 32, 64), false},
		{"fewer lanes", stored(Params{128, 2, 1}, 16, 32), false},
		{"more lanes", stored(Params{128, 2, 4}, 16, 32), false},
		{"less memory", stored(Params{127, 9, 2}, 16, 32), true},
		{"fewer passes", stored(Params{256, 1, 2}, 16, 32), true},
		{"shorter salt", stored(want, 15, 32), true},
		{"shorter key", stored(want, 16, 31), true},
		{"bcrypt", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", true},
		{"django", "pbkdf2_sha256$1$salt$8TXCeZO6+Ydzxc20ClcGzmo0XN5hsACmeFhlDNajJNc=", true},
		{"unreadable", "rubbish", true},
		{"too costly", stored(Params{1 << 21, 1, 1}, 16, 32), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.need, NeedsRehash(tt.encoded, want))
		})
	}
}

func TestParamsValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		params Params
		err    string
	}{
		{"default", DefaultParams, ""},
		{"cheap", cheap, ""},
		{"RFC 9106 second choice", Params{64 * 1024, 3, 4}, ""},
		{"most memory", Params{1 << 20, 4, 64}, ""},
		{"most passes", Params{64 * 1024, 64, 1}, ""},
		{"zero", Params{}, "argon2id passes are 0; use at least 1 (default: 2)"},
		{"no lanes", Params{64, 1, 0}, "argon2id lanes are 0; use at least 1 (default: 1)"},
		{"little memory", Params{31, 1, 4}, "argon2id memory of 31 KiB is too little for the lanes (4); use at least 32 KiB (default: 19456 KiB)"},
		{"much memory", Params{1<<20 + 1, 1, 1}, "argon2id memory of 1048577 KiB is over the limit; use at most 1048576 KiB (1 GiB)"},
		{"many passes", Params{64, 65, 1}, "65 argon2id passes are over the limit; use at most 64"},
		{"many lanes", Params{1024, 1, 65}, "65 argon2id lanes are over the limit; use at most 64"},
		{"much work", Params{1 << 20, 5, 1}, "5 argon2id passes over 1048576 KiB are too much work; use at most 4 passes, or less memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.params.Validate()
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.err)
		})
	}
}

func TestDummy(t *testing.T) {
	encoded := dummy(cheap)
	require.NoError(t, Check(encoded))
	require.False(t, NeedsRehash(encoded, cheap), "it costs what a fresh hash costs")
	require.Contains(t, encoded, base64.RawStdEncoding.EncodeToString(make([]byte, keyLength)))
}
