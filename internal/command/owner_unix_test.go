//go:build unix

package command

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGiveToFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs to be root, to give something away")
	}
	const nobody = 65534
	folder := t.TempDir()
	path := filepath.Join(folder, "new", "deep", "r.db")
	write := func(name string) {
		t.Helper()
		require.NoError(t, os.WriteFile(name, nil, 0o600))
	}
	owner := func(name string) int {
		t.Helper()
		uid, _, ok := OwnerOf(name)
		require.True(t, ok, name)
		return uid
	}
	give := GiveToFolder(path)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	write(path)
	require.NoError(t, give())
	require.Equal(t, 0, owner(path), "the folder is root's own")

	require.NoError(t, os.RemoveAll(filepath.Join(folder, "new")))
	require.NoError(t, os.Chown(folder, nobody, nobody))
	require.Equal(t, folder, Nearest(path))
	give = GiveToFolder(path)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	write(path)
	write(path + ".lock")
	write(filepath.Join(filepath.Dir(path), "other"))
	require.NoError(t, give())
	for _, name := range []string{path, path + ".lock", filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		require.Equal(t, nobody, owner(name), name)
	}
	require.Equal(t, 0, owner(filepath.Join(filepath.Dir(path), "other")), "that has come by somebody else")

	// A link, or another name of a file, could be anything: the folder's owner made it.
	secret := filepath.Join(t.TempDir(), "shadow")
	write(secret)
	path = filepath.Join(folder, "b.db")
	write(path)
	give = GiveToFolder(path)
	require.NoError(t, os.Symlink(secret, path+".link"))
	require.NoError(t, os.Link(secret, path+".name"))
	require.NoError(t, give())
	require.Equal(t, 0, owner(secret))
	require.Equal(t, 0, owner(path), "it was there before")
	_, _, ok := OwnerOf(filepath.Join(folder, "nothing"))
	require.False(t, ok)
}
