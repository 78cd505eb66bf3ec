//go:build unix && !registration_nopostgres

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

// five are the budgets that a sign-in spends: an address, two networks, two names.
func five(i int) (spends []store.BudgetSpend) {
	for j, key := range []int{i, i / 250, i / 60_000, i, i} {
		s := store.BudgetSpend{Table: fmt.Sprint("login/", j), Cost: 6 * time.Second, Room: time.Minute, Bound: time.Minute, Soft: true}
		copy(s.Key[:], fmt.Sprint(key))
		spends = append(spends, s)
	}
	return spends
}

// Spending is one round trip, allowed or refused.
func TestSpendingIsOneRoundTrip(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	s := openStore(t, openDB(t, server, ""), "default")
	ctx, trips := postgres.CountTrips(t.Context())
	one := store.BudgetSpend{Table: "t", Cost: time.Hour, Room: time.Hour, Bound: time.Hour}
	for i := range 3 {
		_, ok, err := s.SpendBudgets(ctx, time.Time{}, []store.BudgetSpend{one})
		require.NoError(t, err)
		require.Equal(t, i == 0, ok)
	}
	require.Equal(t, int64(3), trips.All.Load())
}

// An act that can't get at the realm holds up nobody's budgets.
func TestSpendingWaitsForNoAct(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	s := openStore(t, openDB(t, server, ""), "default")
	holds, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.Update(context.Background(), func(tx store.Tx) error {
			if _, err := tx.Value("v"); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			close(holds)
			<-goOn
			return tx.PutValue("v", nil)
		})
	}()
	<-holds
	_, ok, err := s.SpendBudgets(t.Context(), time.Time{}, five(1))
	require.NoError(t, err)
	require.True(t, ok)
	close(goOn)
	require.NoError(t, <-done)
}

// A flood of keys is swept in portions, and those that are spent most stay.
func TestSweepOfAFlood(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	s := openStore(t, openDB(t, server, ""), "default")
	for i := range 25 {
		var spends []store.BudgetSpend
		for j := range 1000 {
			s := store.BudgetSpend{Table: "t", Cost: time.Duration(i+1) * time.Hour, Room: 100 * time.Hour, Bound: 100 * time.Hour}
			copy(s.Key[:], fmt.Sprint(i*1000+j))
			spends = append(spends, s)
		}
		_, _, err := s.SpendBudgets(t.Context(), time.Time{}, spends)
		require.NoError(t, err)
	}
	n, err := s.SweepBudgets(t.Context(), time.Time{}, 1000)
	require.NoError(t, err)
	require.Equal(t, 24_000, n)
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		left, err := tx.Budgets(time.Now(), 9999)
		require.Len(t, left, 1000)
		for _, b := range left {
			require.Greater(t, time.Until(b.Whole), 24*time.Hour)
		}
		return err
	}))
}

// BenchmarkBudgets compares spending with what is least: a look for a value.
func BenchmarkBudgets(b *testing.B) {
	server := pgtest.Start(b)
	s := openStore(b, openDB(b, server, ""), "default")
	b.Run("look", func(b *testing.B) {
		for b.Loop() {
			err := s.View(b.Context(), func(tx store.Tx) error { _, err := tx.Value("v"); return err })
			if !errors.Is(err, store.ErrNotFound) {
				b.Fatal(err)
			}
		}
	})
	b.Run("spend", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, _, err := s.SpendBudgets(b.Context(), time.Time{}, five(i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("act", func(b *testing.B) {
		for b.Loop() {
			if err := s.Update(b.Context(), func(tx store.Tx) error { return tx.PutValue("v", []byte("x")) }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
