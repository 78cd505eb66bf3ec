// foreign_test.go: hashes of other systems: answers that their own programs gave, what
// of them is refused, and the wrapping of fast ones.

package password

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const foreignPassword = "correct horse, Ü"

// foreignAnswers are hashes of foreignPassword, or of another where one is named.
var foreignAnswers = []struct {
	name, format, encoded string
	password              string
	fast                  bool
}{
	// Debian's Django 3.2, make_password.
	{name: "django sha256", format: "pbkdf2_sha256", encoded: "pbkdf2_sha256$260000$sXGVnp5ZFA46XLUVP3S7a4$Em1XMTybKpJaqYFrQGaHLi2DbMtLVUwF0z6ULQUbJCY="},
	{name: "django sha1", format: "pbkdf2_sha1", encoded: "pbkdf2_sha1$260000$x9sK8v23WIh5AV8V2lNNK4$TGHwVijEobV3AuR2EDdJeELIBPk="},
	{name: "django bcrypt_sha256", format: "bcrypt_sha256", encoded: "bcrypt_sha256$$2b$12$Y6Tk/oArNfQwaye90PoSJ.AIyfOHMR9ueFH2RrpTrbh7VdoWabGFa"},
	{name: "django bcrypt", format: "bcrypt", encoded: "bcrypt$$2b$12$Jgz3KkEr3zY8t1CRMZH4julqp6iT/UaXENXTGmBiq51XUOhjyYmZa"},
	{name: "django argon2", format: "argon2id", encoded: "argon2$argon2id$v=19$m=102400,t=2,p=8$OWc2d05mVmd1YWxGNEZ2UzN6cWZjSw$MGIBxAQ+niM84vBTQ+S8LA"},
	{name: "django md5", format: "md5", fast: true, encoded: "md5$U0ppZpqxUEAEZijmnwAvWX$854a69cfb7ab314b3cf1969083d5231a"},
	{name: "django sha1 salted", format: "sha1", fast: true, encoded: "sha1$F0GFHyL5lNcWpBXjKdwbFl$88a28efc5612e32e68a2db7dab6e98de39f19bd4"},
	{name: "django sha1 unsalted", format: "sha1", fast: true, encoded: "sha1$$c9e34a71b5fcfcf5c40ff06a05a13492c0c67127"},
	{name: "bare md5", format: "md5", fast: true, encoded: "89a382efe7ca0b83a4505028fee80536"},
	// Python's hashlib, laid out as Django 4 does.
	{name: "django scrypt", format: "scrypt", encoded: "scrypt$16384$seasalt$8$5$PhFFYMYtgiP0UbW+IVF297GpCICJ4klHJyW+VOEM9wa5srlJstLnmBYz5hwGNfxtkVeWYjcdJvzZ5pf2gFoFDQ=="},
	// PHP's password_hash, and what WordPress 6.8 makes of it.
	{name: "php argon2i", format: "argon2i", encoded: "$argon2i$v=19$m=256,t=4,p=1$OU8yWTZCUzNSdFcxZEkwYg$rWB44o6n7qHgeAn8viK91gp7bwUC6UcazAIwFIZfR2c"},
	{name: "php bcrypt", format: "bcrypt", encoded: "$2y$05$CBAN3QRC6tRBtjBd6LUnYeduyEKeVFNEoYdI3WhFh70BhE1bnUdhq"},
	{name: "wordpress", format: "wp_bcrypt", encoded: "$wp$2y$05$6hQP59WxpxNRDJOSUvnzWOb8GeBN8nIj9o5CQZdv6AJGxjNAFq7KO"},
	{name: "caddy-security", format: "bcrypt", encoded: "bcrypt:5:$2y$05$CBAN3QRC6tRBtjBd6LUnYeduyEKeVFNEoYdI3WhFh70BhE1bnUdhq"},
	// Passlib 1.7, whose spellings Authelia has taken over.
	{name: "scrypt", format: "scrypt", encoded: "$scrypt$ln=10,r=8,p=1$GGOMUYrRunfunXOuVYoRwg$HchU20+KKSQh0AyFBD127jGiuVfuj0idZAtNtQDgjVA"},
	{name: "pbkdf2-sha512", format: "pbkdf2_sha512", encoded: "$pbkdf2-sha512$10000$iVHqnXOOcY6xtpayNqbU2g$mg973agsRRR.ybqP.zK8tZ21JvMu8zgi9He0wOptiE0QzG1Y/L6CCdKvIpQ/3clyK9Conwdv3ZE4OzAYMTMgxw"},
	{name: "pbkdf2-sha256", format: "pbkdf2_sha256", encoded: "$pbkdf2-sha256$12000$gnCuFUJIqRXCGOPc21srhQ$UaUcNKuy4kld9SvSz.Fd4uefMeUw9//qur287SiSDNg"},
	{name: "pbkdf2", format: "pbkdf2_sha1", encoded: "$pbkdf2$13000$JYRQ6l0LIcQYQ8h5b835nw$vN9p9w5OkzJCG1bIMHcYCI8Mz74"},
	{name: "bcrypt-sha256", format: "bcrypt_sha256", encoded: "$bcrypt-sha256$v=2,t=2b,r=5$BcwRQD..EtWk6R30InJRk.$3dO/Xo6xIxbKKe4vllyerMAcrL2gQPe"},
	{name: "phpass", format: "phpass", fast: true, encoded: "$P$BZK6TIR5gFtPev/sKnyk75Olz7soHe."},
	{name: "phpass of phpBB", format: "phpass", fast: true, encoded: "$H$5kmRPyxLGVjSHIKrv75wxIWQDAmwya/"},
	{name: "ldap md5", format: "md5", fast: true, encoded: "{MD5}iaOC7+fKC4OkUFAo/ugFNg=="},
	{name: "ldap smd5", format: "md5", fast: true, encoded: "{SMD5}CusNRW4pqGdlVW5y2VXfoGwNQeg="},
	{name: "ldap sha", format: "sha1", fast: true, encoded: "{SHA}yeNKcbX8/PXED/BqBaE0ksDGcSc="},
	{name: "ldap ssha", format: "sha1", fast: true, encoded: "{SSHA}0Y67PJ/9gWwdneavAtW9sB0vX5v4f09J"},
	{name: "ldap sha256", format: "sha256", fast: true, encoded: "{SHA256}ruQwCjtuxinq9dsvDlb5iA/LOxkk/o3nY97bmPMpQaQ="},
	{name: "ldap ssha256", format: "sha256", fast: true, encoded: "{SSHA256}jdoYHxwY+Pb4DfRRzyjn3NVgZl0Y1ol/ZUWeb4n57DI1BmBsLcWYkw=="},
	{name: "ldap sha512", format: "sha512", fast: true, encoded: "{SHA512}eln02F9mLWwRzBBl3lNsxAjTGBFPbydPIcfnvPy9/DqQsjEmO20P3a9Bi411RA3h4ek68bwm5rdaLhLn0wc4Uw=="},
	{name: "ldap ssha512", format: "sha512", fast: true, encoded: "{SSHA512}dB08tCT94EZrpJLonuPM/OcAT4IJuRbsjewA0zh2HCYweV8BHFF/6bdQiRwEFDQVOUZ6jC+Y7t9hoaBehmI1C3yP8X4v5Zyz"},
	{name: "ldap crypt", format: "sha512crypt", fast: true, encoded: "{CRYPT}$6$DUTgs86JdcieGfI4$ySES1vhbp2ra2XlkCt7bAkm4X3e0HkzbT/9hoYQY8WdW6VrrXEgGx0ayIf2uY7LB3I6CjoKtTblalkO6Aaqrf0"},
	{name: "md5crypt", format: "md5crypt", fast: true, password: strings.Repeat(foreignPassword, 5), encoded: "$1$4AKmQTCN$Jyse5CGActjSZY.18dm33."},
	{name: "apr1", format: "apr1", fast: true, encoded: "$apr1$DNlSVHCX$n6VsnNwzKZPGLeBa6dUWL."},
	{name: "sha256crypt of 1000 rounds", format: "sha256crypt", fast: true, password: strings.Repeat(foreignPassword, 20), encoded: "$5$rounds=1000$qWI99SiaHVNrClXq$QBZPMKYbi.HMtVfy3c/SQot.vgC87hKfsJlptbxr/SC"},
	{name: "sha512crypt long", format: "sha512crypt", fast: true, password: strings.Repeat(foreignPassword, 12), encoded: "$6$V2EJBXyYgBePtp5k$Vx8mk/FLrUHhGCqA8LWlIYb7z6tkU5ZVW5LaP2b4mWLELd0Dfbsc9G3HpmnI6Y2I3hi6Baqk2CTiWGq6elSqa."},
	// OpenSSL 3, and Apache's htpasswd.
	{name: "openssl md5crypt", format: "md5crypt", fast: true, password: "pässword", encoded: "$1$abcdefgh$6qENbeetgn0exf.OCTQaP0"},
	{name: "openssl apr1", format: "apr1", fast: true, password: "a much longer password than 16 bytes, really", encoded: "$apr1$xyz$6kWWnVIB1ZtJPybLPM1pK0"},
	{name: "openssl sha256crypt", format: "sha256crypt", fast: true, password: "pw", encoded: "$5$saltsalt$0rl.MZtoLLPP3X0Rdl8riRnphIcAXJY27/aOAyK2hB5"},
	{name: "htpasswd sha512crypt", format: "sha512crypt", fast: true, password: "password", encoded: "$6$2psnQuksKrZtFwmR$qFvwq3G7GowkbnEq2jes.WvQGuA4sM3kb7fChYFRX2JGvSBc32f3PG9.Kk4k/D0PEMWmONjHkXxseXSav3nV4."},
	{name: "htpasswd sha", format: "sha1", fast: true, password: "password", encoded: "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="},
	{name: "htpasswd apr1", format: "apr1", fast: true, password: "password", encoded: "$apr1$ugGigglo$c9ptjfK42mqZoIBHv89Sh1"},
	// Ulrich Drepper's specification.
	{name: "sha512crypt of 10000 rounds", format: "sha512crypt", password: "Hello world!", encoded: "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."},
	// The README of github.com/firebase/scrypt.
	{name: "firebase", format: "fbscrypt", password: "user1password", encoded: "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="},
}

func TestForeignHashes(t *testing.T) {
	pool := NewPool(Limits{Workers: 2, Queue: 100})
	for _, tt := range foreignAnswers {
		t.Run(tt.name, func(t *testing.T) {
			right := tt.password
			if right == "" {
				right = foreignPassword
			}
			verify := func(encoded, password string, want bool) {
				t.Helper()
				ok, err := Verify(encoded, password)
				require.NoError(t, err)
				require.Equal(t, want, ok)
			}
			require.NoError(t, Check(tt.encoded))
			require.Equal(t, tt.format, FormatOf(tt.encoded))
			require.Equal(t, tt.fast, Fast(tt.encoded))
			verify(tt.encoded, right, true)
			verify(tt.encoded, "-"+right, false)
			if tt.fast {
				kept, err := pool.Wrap(t.Context(), tt.encoded, cheap)
				require.NoError(t, err)
				require.NoError(t, Check(kept), kept)
				require.Equal(t, "wrapped", FormatOf(kept))
				require.False(t, Fast(kept))
				digest := tt.encoded[len(tt.encoded)-16:]
				require.NotContains(t, kept, digest)
				verify(kept, right, true)
				verify(kept, "-"+right, false)
				tt.encoded = kept
			}
			if tt.format == "argon2id" {
				return // theirs costs more than ours
			}
			ok, rehashed, err := pool.VerifyAndRehash(t.Context(), tt.encoded, right, cheap)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, "argon2id", FormatOf(rehashed))
			verify(rehashed, right, true)
		})
	}
}

func TestEveryFormatHasAnAnswer(t *testing.T) {
	for _, f := range known {
		tested := slices.ContainsFunc(foreignAnswers, func(a struct {
			name, format, encoded string
			password              string
			fast                  bool
		}) bool {
			return a.format == f.name
		})
		require.True(t, tested || f.name == "wrapped", f.name)
		require.Equal(t, !f.fast, slices.Contains(Formats(), f.name))
	}
}

// sound parts of hashes.
const (
	sound64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" // 64 bytes
	sha256c = "QBZPMKYbi.HMtVfy3c/SQot.vgC87hKfsJlptbxr/SC"
	md5c    = "c9ptjfK42mqZoIBHv89Sh1"
)

func fb(settings, salt, key string) string { return "$fbscrypt$" + settings + "$" + salt + "$" + key }

// foreignRefused is what of other systems is refused; the cost before anything is computed.
var foreignRefused = []struct {
	name, encoded string
	want          error
}{
	{"argon2i memory", "$argon2i$v=19$m=4194304,t=1,p=1$" + soundSalt + "$" + soundKey, ErrCost},
	{"django argon2 memory", "argon2$argon2id$v=19$m=4194304,t=2,p=8$" + soundSalt + "$" + soundKey, ErrCost},
	{"django argon2d", "argon2$argon2d$v=19$m=64,t=1,p=1$" + soundSalt + "$" + soundKey, ErrFormat},
	{"django bcrypt cost", "bcrypt$$2b$31$" + bcrypt53, ErrCost},
	{"django bcrypt without", "bcrypt$2b$05$" + bcrypt53[1:], ErrFormat},
	{"bcrypt_sha256 cost", "bcrypt_sha256$$2b$31$" + bcrypt53, ErrCost},
	{"bcrypt_sha256 other", "bcrypt_sha256$2b$05$" + bcrypt53, ErrFormat},
	{"bcrypt-sha256 cost", "$bcrypt-sha256$v=2,t=2b,r=31$" + bcrypt53[:22] + "$" + bcrypt53[22:], ErrCost},
	{"bcrypt-sha256 version 1", "$bcrypt-sha256$2b,5$" + bcrypt53[:22] + "$" + bcrypt53[22:], ErrFormat},
	{"bcrypt-sha256 parts", "$bcrypt-sha256$v=2,t=2b,r=5$" + bcrypt53, ErrFormat},
	{"wordpress cost", "$wp$2y$31$" + bcrypt53, ErrCost},
	{"wordpress other", "$wp$1$" + bcrypt53, ErrFormat},
	{"caddy-security cost", "bcrypt:31:$2a$31$" + bcrypt53, ErrCost},
	{"caddy-security other", "bcrypt:5:" + bcrypt53, ErrFormat},
	{"pbkdf2-sha512 iterations", "$pbkdf2-sha512$1000000000$" + soundSalt + "$" + sound64, ErrCost},
	{"pbkdf2_sha1 iterations", "pbkdf2_sha1$1000000000$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAA=", ErrCost},
	{"pbkdf2-sha512 short key", "$pbkdf2-sha512$1$" + soundSalt + "$" + soundKey, ErrFormat},
	{"pbkdf2-sha256 long key", "$pbkdf2-sha256$1$" + soundSalt + "$" + sound64 + "AAAA", ErrFormat},
	{"pbkdf2-sha256 no salt", "$pbkdf2-sha256$1$$" + soundKey, ErrCost},
	{"pbkdf2-sha256 bad salt", "$pbkdf2-sha256$1$++++$" + soundKey, ErrFormat},
	{"pbkdf2-sha256 bad key", "$pbkdf2-sha256$1$AAAA$+" + soundKey[1:], ErrFormat},
	{"scrypt N", "scrypt$1073741824$salt$8$1$" + djangoKey, ErrCost},
	{"scrypt N beyond 64 bits", "scrypt$99999999999999999999$salt$8$1$" + djangoKey, ErrCost},
	{"scrypt r", "scrypt$2$salt$65$1$" + djangoKey, ErrCost},
	{"scrypt p", "scrypt$2$salt$8$65$" + djangoKey, ErrCost},
	{"scrypt memory", "scrypt$1048576$salt$4$1$" + djangoKey, ErrCost},
	{"scrypt work", "scrypt$131072$salt$16$9$" + djangoKey, ErrCost},
	{"scrypt no power", "scrypt$16383$salt$8$1$" + djangoKey, ErrFormat},
	{"scrypt N of 1", "scrypt$1$salt$8$1$" + djangoKey, ErrFormat},
	{"scrypt r of 0", "scrypt$2$salt$0$1$" + djangoKey, ErrFormat},
	{"scrypt p of 0", "scrypt$2$salt$8$0$" + djangoKey, ErrFormat},
	{"scrypt no number", "scrypt$2$salt$8$x$" + djangoKey, ErrFormat},
	{"scrypt parts", "scrypt$2$salt$8$1", ErrFormat},
	{"scrypt no salt", "scrypt$2$$8$1$" + djangoKey, ErrCost},
	{"scrypt short key", "scrypt$2$salt$8$1$AAAA", ErrCost},
	{"scrypt bad key", "scrypt$2$salt$8$1$!", ErrFormat},
	{"phc scrypt N", "$scrypt$ln=30,r=8,p=1$" + soundSalt + "$" + soundKey, ErrCost},
	{"phc scrypt N beyond", "$scrypt$ln=64,r=8,p=1$" + soundSalt + "$" + soundKey, ErrCost},
	{"phc scrypt no number", "$scrypt$ln=x,r=8,p=1$" + soundSalt + "$" + soundKey, ErrFormat},
	{"phc scrypt order", "$scrypt$r=8,ln=3,p=1$" + soundSalt + "$" + soundKey, ErrFormat},
	{"phc scrypt less", "$scrypt$ln=3,r=8$" + soundSalt + "$" + soundKey, ErrFormat},
	{"phc scrypt parts", "$scrypt$ln=3,r=8,p=1$" + soundSalt, ErrFormat},
	{"phc scrypt bad salt", "$scrypt$ln=3,r=8,p=1$!$" + soundKey, ErrFormat},
	{"phc scrypt bad key", "$scrypt$ln=3,r=8,p=1$AAAA$!", ErrFormat},
	{"phc scrypt no salt", "$scrypt$ln=3,r=8,p=1$$" + soundKey, ErrCost},
	{"fbscrypt N", fb("v=1,n=30,r=8,p=1,ss=Bw==,sk="+djangoKey, "AAAA", djangoKey), ErrCost},
	{"fbscrypt version", fb("v=2,n=3,r=8,p=1,ss=Bw==,sk="+djangoKey, "AAAA", djangoKey), ErrFormat},
	{"fbscrypt no signer key", fb("v=1,n=3,r=8,p=1,ss=Bw==", "AAAA", djangoKey), ErrFormat},
	{"fbscrypt empty signer key", fb("v=1,n=3,r=8,p=1,ss=Bw==,sk=", "AAAA", djangoKey), ErrCost},
	{"fbscrypt bad key", fb("v=1,n=3,r=8,p=1,ss=Bw==,sk="+djangoKey, "AAAA", "!"), ErrFormat},
	{"fbscrypt other key", fb("v=1,n=3,r=8,p=1,ss=Bw==,sk="+djangoKey, "AAAA", "AAAA"), ErrFormat},
	{"fbscrypt no salt", fb("v=1,n=3,r=8,p=1,ss=Bw==,sk="+djangoKey, "", djangoKey), ErrCost},
	{"fbscrypt parts", "$fbscrypt$v=1$AAAA", ErrFormat},
	{"sha256crypt rounds", "$5$rounds=1000000000$salt$" + sha256c, ErrCost},
	{"sha512crypt rounds beyond", "$6$rounds=99999999999999999999$salt$" + sha256c, ErrCost},
	{"sha256crypt few rounds", "$5$rounds=999$salt$" + sha256c, ErrFormat},
	{"sha256crypt no number", "$5$rounds=x$salt$" + sha256c, ErrFormat},
	{"sha256crypt long salt", "$5$" + strings.Repeat("s", 17) + "$" + sha256c, ErrCost},
	{"sha256crypt odd salt", "$5$s\x01$" + sha256c, ErrFormat},
	{"sha256crypt parts", "$5$" + sha256c, ErrFormat},
	{"sha256crypt short key", "$5$salt$" + sha256c[1:], ErrFormat},
	{"sha256crypt long key", "$5$salt$" + sha256c + ".", ErrFormat},
	{"sha256crypt stray bits", "$5$salt$" + sha256c[:42] + "z", ErrFormat},
	{"sha256crypt odd key", "$5$salt$!" + sha256c[1:], ErrFormat},
	{"sha512crypt key of the other", "$6$salt$" + sha256c, ErrFormat},
	{"apr1 parts", "$apr1$salt", ErrFormat},
	{"apr1 long salt", "$apr1$saltsalts$" + md5c, ErrFormat},
	{"apr1 odd salt", "$apr1$sa lt$" + md5c, ErrFormat},
	{"apr1 short key", "$apr1$salt$" + md5c[1:], ErrFormat},
	{"phpass rounds", "$P$S" + "saltsalt" + md5c, ErrCost},
	{"phpass few rounds", "$P$4" + "saltsalt" + md5c, ErrFormat},
	{"phpass short", "$P$B", ErrFormat},
	{"phpass odd", "$P$B!altsalt" + md5c, ErrFormat},
	{"phpass no key", "$P$Bsaltsalt", ErrFormat},
	{"md5 short", "md5$salt$abcd", ErrFormat},
	{"md5 no hexadecimal", "md5$salt$89A382efe7ca0b83a4505028fee80536", ErrFormat},
	{"md5 parts", "md5$89a382efe7ca0b83a4505028fee80536", ErrFormat},
	{"md5 long salt", "md5$" + zeroes(129) + "$89a382efe7ca0b83a4505028fee80536", ErrCost},
	{"sha with salt", "{SHA}0Y67PJ/9gWwdneavAtW9sB0vX5v4f09J", ErrFormat},
	{"ssha short", "{SSHA}AAAA", ErrFormat},
	{"ssha bad", "{SSHA}!", ErrFormat},
	{"ssha long salt", "{SSHA}" + zeroes(120), ErrCost},
	{"des", "abJnggxhB/yWI", ErrFormat},
	{"crypt of des", "{CRYPT}abJnggxhB/yWI", ErrFormat},
	{"wrapped nothing", "$wrapped$", ErrFormat},
	{"wrapped without", "$wrapped$md5$salt$", ErrFormat},
	{"wrapped unknown", "$wrapped$x" + phc("m=64,t=1,p=1", soundSalt, soundKey), ErrFormat},
	{"wrapped bcrypt", "$wrapped$$2a$05$" + bcrypt53 + phc("m=64,t=1,p=1", soundSalt, soundKey), ErrFormat},
	{"wrapped with its digest", "$wrapped$md5$salt$89a382efe7ca0b83a4505028fee80536" + phc("m=64,t=1,p=1", soundSalt, soundKey), ErrFormat},
	{"wrapped outer cost", "$wrapped$md5$salt$" + phc("m=4194304,t=1,p=1", soundSalt, soundKey), ErrCost},
	{"wrapped inner cost", "$wrapped$pbkdf2_sha256$1000000000$salt$" + phc("m=64,t=1,p=1", soundSalt, soundKey), ErrCost},
	{"wrapped itself", "$wrapped$$wrapped$md5$salt$" + phc("m=64,t=1,p=1", soundSalt, soundKey), ErrFormat},
}

// A hostile file costs nothing: whatever it asks for is refused before it is computed.
func TestForeignRefused(t *testing.T) {
	begin := time.Now()
	for _, tt := range foreignRefused {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(tt.encoded)
			require.ErrorIs(t, err, tt.want)
			require.NotEqual(t, errors.Is(err, ErrFormat), errors.Is(err, ErrCost))
			ok, verifyErr := Verify(tt.encoded, "password")
			require.False(t, ok)
			require.Equal(t, err, verifyErr)
			require.False(t, Fast(tt.encoded))
		})
	}
	require.Less(t, time.Since(begin), time.Minute)
}

func TestForeignAtTheCaps(t *testing.T) {
	for name, encoded := range map[string]string{
		"scrypt":       "scrypt$262144$" + zeroes(128) + "$8$8$" + djangoKey,
		"fbscrypt":     fb("v=1,n=18,r=8,p=1,ss="+zeroes(64)+",sk="+zeroes(86)+"==", zeroes(64), zeroes(86)+"=="),
		"sha-crypt":    "$5$rounds=1000000$saltsaltsaltsalt$" + sha256c,
		"no salt":      "$6$$/chiBau24cE26QQVW3IfIe68Xu5.JQ4E8Ie7lcRLwqxO5cxGuBhqF2HmTL.zWJ9zjChg3yJYFXeGBQ2y3Ba1d1",
		"wrapped":      "$wrapped$md5$" + zeroes(128) + "$" + phc("m=1048576,t=4,p=64", zeroes(86), zeroes(86)),
		"wrapped ssha": "$wrapped${SSHA512}" + zeroes(85) + "=" + "=" + phc("m=64,t=1,p=1", soundSalt, soundKey),
		"phpass":       "$P$E" + "saltsalt" + "BJrPF8xH6x1vpuSjVc33p/",
	} {
		t.Run(name, func(t *testing.T) {
			if name == "wrapped ssha" {
				encoded = strings.Replace(encoded, zeroes(85)+"==", zeroes(82)+"==", 1)
			}
			require.NoError(t, Check(encoded))
			require.LessOrEqual(t, len(encoded), maxEncoded)
		})
	}
}

// PBKDF2 and sha-crypt of few rounds are fast; they are wrapped too.
func TestWrapFewRounds(t *testing.T) {
	pool := NewPool(Limits{Workers: 1, Queue: 8})
	for _, encoded := range []string{
		"pbkdf2_sha256$1000$seasalt$JgZryXe2Ga8ysg6XbzkLpTdyPQrHqsinbL9BnnhgX4A=",
	} {
		require.True(t, Fast(encoded))
		kept, err := pool.Wrap(t.Context(), encoded, cheap)
		require.NoError(t, err)
		ok, err := Verify(kept, "lètmein")
		require.NoError(t, err)
		require.True(t, ok)
	}
}

// Keycloak's keys are of 64 bytes whatever the digest: the first block counts.
func TestPBKDF2LongerThanItsDigest(t *testing.T) {
	const encoded = "$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$"
	for _, blocks := range []int{1, 2} {
		s, err := readPBKDF2(encoded, true)
		require.NoError(t, err)
		key, err := s.digest("password")
		require.NoError(t, err)
		text := passlib64.EncodeToString(append(key, make([]byte, 32*(blocks-1))...))
		ok, err := Verify(encoded+text, "password")
		require.NoError(t, err)
		require.True(t, ok)
	}
}

func TestWrapRefuses(t *testing.T) {
	pool := NewPool(Limits{Workers: 1, Queue: 8})
	const sha = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
	_, err := pool.Wrap(t.Context(), "rubbish", cheap)
	require.ErrorIs(t, err, ErrFormat)
	_, err = pool.Wrap(t.Context(), "$2a$05$"+bcrypt53, cheap)
	require.ErrorIs(t, err, ErrFormat)
	_, err = pool.Wrap(t.Context(), sha, Params{})
	require.Error(t, err)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = pool.Wrap(gone, sha, cheap)
	require.ErrorIs(t, err, ErrBusy)
}

// Nobody makes sha-crypt digest more than crypt(3) does: a longer password has no hash.
func TestSHACryptPasswordIsBounded(t *testing.T) {
	ok, err := Verify("$5$rounds=1000000$saltsaltsaltsalt$"+sha256c, strings.Repeat("x", maxCryptPassword+1))
	require.NoError(t, err)
	require.False(t, ok)
	kept, err := NewPool(Limits{Workers: 1, Queue: 8}).Wrap(t.Context(), "$5$rounds=1000$qWI99SiaHVNrClXq$"+sha256c, cheap)
	require.NoError(t, err)
	ok, err = Verify(kept, strings.Repeat("x", maxCryptPassword+1))
	require.NoError(t, err)
	require.False(t, ok)
}

func TestDiffer(t *testing.T) {
	const bcrypt, sha, other = "$2b$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
	wrapped, err := NewPool(Limits{Workers: 1, Queue: 8}).Wrap(t.Context(), sha, cheap)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		kept, other string
		differ      bool
	}{
		"the same":                  {bcrypt, bcrypt, false},
		"of another kind":           {bcrypt, sha, true},
		"that one wrapped":          {wrapped, sha, false},
		"another one, as it may be": {wrapped, other, false},
		"with another salt":         {wrapped, "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99", true},
		"wrapped, and a slow one":   {wrapped, bcrypt, true},
		"not to be read":            {"?", bcrypt, true},
		"neither the other one":     {bcrypt, "?", true},
	} {
		require.Equal(t, c.differ, Differ(c.kept, c.other), name)
	}
}
