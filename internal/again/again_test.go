package again_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/again"
)

func begin(t *testing.T, r *again.Requests, key again.Key, now time.Time) (uuid.UUID, bool, func(bool)) {
	t.Helper()
	id, before, end, err := r.Begin(t.Context(), key, now)
	require.NoError(t, err)
	return id, before, end
}

func TestTheSecondWaitsAndHasTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := again.New(time.Minute, 10)
		first, before, end := begin(t, r, r.KeyOf("a", "b"), time.Now())
		require.False(t, before)
		var second uuid.UUID
		came := false
		go func() {
			id, before, end, err := r.Begin(context.Background(), r.KeyOf("a", "b"), time.Now())
			second, came = id, err == nil && before
			end(true)
		}()
		synctest.Wait()
		require.False(t, came, "it waits")
		end(true)
		synctest.Wait()
		require.True(t, came)
		require.Equal(t, first, second)
		other, _, end := begin(t, r, r.KeyOf("ab", ""), time.Now())
		require.NotEqual(t, first, other, "parts don't run together")
		end(false)
		time.Sleep(time.Minute)
		late, before, end := begin(t, r, r.KeyOf("a", "b"), time.Now())
		require.False(t, before)
		require.NotEqual(t, first, late, "it is forgotten")
		end(true)
	})
}

func TestWhatMadeNothingIsForgotten(t *testing.T) {
	r := again.New(time.Minute, 10)
	now := time.Now()
	first, _, end := begin(t, r, r.KeyOf("a"), now)
	end(false)
	second, before, end := begin(t, r, r.KeyOf("a"), now)
	require.False(t, before)
	require.NotEqual(t, first, second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, _, err := r.Begin(ctx, r.KeyOf("a"), now)
	require.ErrorIs(t, err, context.Canceled, "who waits may go")
	end(true)
	_, before, _ = begin(t, r, r.KeyOf("a"), now)
	require.True(t, before)
}

func TestItsSizeIsBounded(t *testing.T) {
	r := again.New(time.Minute, 3)
	now := time.Now()
	for i := range 10 {
		_, _, end := begin(t, r, r.KeyOf(strconv.Itoa(i)), now)
		end(true)
	}
	_, before, end := begin(t, r, r.KeyOf("9"), now)
	require.True(t, before)
	end(true)
	_, before, _ = begin(t, r, r.KeyOf("0"), now)
	require.False(t, before)
	require.NotEqual(t, again.New(time.Minute, 1).KeyOf("a"), r.KeyOf("a"), "each has its secret")
}
