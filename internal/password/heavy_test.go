package password

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const heavyKey = "c2FsdHNhbHQ$MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA"

// pbkdf2Of is a hash as Django spells it.
func pbkdf2Of(t *testing.T, password string, rounds int) string {
	t.Helper()
	key, err := pbkdf2.Key(sha256.New, password, []byte("salt"), min(rounds, 3_000_001), sha256.Size)
	require.NoError(t, err)
	return fmt.Sprintf("pbkdf2_sha256$%d$salt$%s", rounds, base64.StdEncoding.EncodeToString(key))
}

func TestWhichHashesAreHeavy(t *testing.T) {
	bcryptOf := func(cost int) string {
		return fmt.Sprintf("$2b$%02d$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", cost)
	}
	scryptOf := func(n, r, p int) string {
		return fmt.Sprintf("scrypt$%d$salt$%d$%d$%s", n, r, p, base64.StdEncoding.EncodeToString(make([]byte, 64)))
	}
	rounds := func(n int) string { return fmt.Sprintf("$6$rounds=%d$%s", n, strings.SplitN(sha512Sample, "$", 4)[3]) }
	for encoded, want := range map[string]bool{
		"$argon2id$v=19$m=19456,t=2,p=1$" + heavyKey:       false,
		"$argon2id$v=19$m=65536,t=4,p=4$" + heavyKey:       false,
		"argon2$argon2i$v=19$m=102400,t=2,p=8$" + heavyKey: false,
		"$argon2id$v=19$m=262144,t=4,p=1$" + heavyKey:      false,
		"$argon2id$v=19$m=262144,t=5,p=1$" + heavyKey:      true,
		"$argon2id$v=19$m=1048576,t=1,p=1$" + heavyKey:     true,
		"$argon2id$v=19$m=65536,t=64,p=1$" + heavyKey:      true,
		bcryptOf(12): false, bcryptOf(13): false, bcryptOf(14): true, bcryptOf(16): true,
		"bcrypt_sha256$" + bcryptOf(12): false, "bcrypt_sha256$" + bcryptOf(15): true,
		scryptOf(1<<17, 8, 1): false, scryptOf(1<<18, 8, 1): false, scryptOf(1<<18, 8, 8): true,
		"pbkdf2_sha256$1200000$salt$" + base64.StdEncoding.EncodeToString(make([]byte, 32)):  false,
		"pbkdf2_sha256$10000000$salt$" + base64.StdEncoding.EncodeToString(make([]byte, 32)): true,
		rounds(656_000): false, rounds(1_000_000): true,
	} {
		s, err := parse(encoded)
		require.NoError(t, err, encoded)
		require.Equal(t, want, heavy(s), encoded)
	}
	wrappedHeavy := wrapped{outer: argon2id{params: Params{Memory: 1 << 20, Passes: 1, Lanes: 1}}}
	require.True(t, heavy(wrappedHeavy))
	require.False(t, heavy(nil))
}

const sha512Sample = "$6$rounds=5000$DUTgs86JdcieGfI4$ySES1vhbp2ra2XlkCt7bAkm4X3e0HkzbT/9hoYQY8WdW6VrrXEgGx0ayIf2uY7LB3I6CjoKtTblalkO6Aaqrf0"

// One heavy hash at a time is verified, and the others of its kind wait or are refused; who
// has a usual hash notices nothing of either.
func TestHeavyHashesHoldNoTurnOfTheOthers(t *testing.T) {
	easy := Params{Memory: 8, Passes: 1, Lanes: 1}
	pool := NewPool(Limits{Workers: 1}) // nobody waits
	usual, err := pool.Hash(t.Context(), "secret", easy)
	require.NoError(t, err)
	slow := pbkdf2Of(t, "secret", 10_000_000)

	require.NoError(t, pool.heavy.acquire(t.Context())) // somebody with such a hash signs in
	_, err = pool.Verify(t.Context(), slow, "wrong")
	require.ErrorIs(t, err, ErrBusy)
	ok, _, err := pool.VerifyAndRehash(t.Context(), usual, "secret", easy)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, pool.VerifyDummy(t.Context(), "secret", easy))
	before := pool.turns.average
	pool.heavy.release(time.Hour)
	require.Equal(t, before, pool.turns.average, "what they take says nothing of the usual ones")

	// The turn comes back, and such a hash is replaced as any other.
	ok, rehashed, err := pool.VerifyAndRehash(t.Context(), pbkdf2Of(t, "secret", 3_000_001), "secret", easy)
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, strings.HasPrefix(rehashed, argon2idPrefix))

	// Few wait.
	waiting := NewPool(Limits{Workers: 8, Queue: 10_000, Turn: time.Hour, Hold: time.Hour, Wait: time.Hour})
	require.Equal(t, Limits{Workers: 1, Queue: 64, Turn: time.Hour, Hold: time.Hour, Wait: time.Hour}, waiting.heavy.limits)
	require.NoError(t, waiting.heavy.acquire(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := waiting.Verify(ctx, slow, "wrong")
		done <- err
	}()
	require.Eventually(t, func() bool {
		waiting.heavy.mu.Lock()
		defer waiting.heavy.mu.Unlock()
		return waiting.heavy.others.waiting.Len() == 1
	}, time.Minute, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}
