package storetest_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
	"github.com/seed-928992b0/caddy-registration/store/storetest"
)

// openMyStore stands for a store of yours: a new, empty one for each call, which the end
// of the test closes. A store on a server opens a schema or a database of its own here.
func openMyStore(t *testing.T) store.Store {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "accounts.db"), time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	s, err := file.Realm("default")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// The test of a store that somebody else writes is one line: a subtest for each promise
// of the contract, by name.
//
//	go test -run 'TestMyStore/session'
func ExampleRun() {
	TestMyStore := func(t *testing.T) { storetest.Run(t, openMyStore) }
	_ = TestMyStore // in a file of tests: func TestMyStore(t *testing.T) { … }

	// Output:
}

// TestExample keeps the example true: all promises hold for what it opens.
func TestExample(t *testing.T) { storetest.Run(t, openMyStore) }
