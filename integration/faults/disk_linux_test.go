// disk_linux_test.go: the disk under the account file is full, read-only
// or failing, and the file is damaged, locked, newer or in the wrong place.

package faults_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// diskSite keeps its accounts in a folder of its own.
var diskSite = strings.Replace(served.PlainSite, "registration {", "registration {\n\t\tstore bbolt [[disk]]/registration.db", 1)

// mount mounts a tmpfs, or skips with the reason.
func mount(t testing.TB, options string, flags uintptr) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("can't mount a small file system here (needs root and CAP_SYS_ADMIN): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// onDisk runs diskSite on a folder, with a member.
func onDisk(t testing.TB, dir string) (*served.Server, *served.Client, string) {
	t.Helper()
	s := served.Run(t, diskSite, "disk", dir)
	return s, s.Member("ada"), filepath.Join(dir, "registration.db")
}

// requireRefuses starts Caddy and requires that it says these words and ends.
func requireRefuses(s *served.Server, says ...string) string {
	s.T.Helper()
	cmd := s.Command("run", "--config", s.ConfigFile(), "--adapter", "caddyfile")
	serves := time.AfterFunc(served.Patience, func() { _ = cmd.Process.Kill() })
	out, err := cmd.CombinedOutput()
	require.True(s.T, serves.Stop(), "it serves: %s", out)
	var exit *exec.ExitError
	require.ErrorAs(s.T, err, &exit, string(out))
	for _, word := range says {
		require.Contains(s.T, string(out), word)
	}
	require.NotContains(s.T, string(out), "goroutine ", "it panicked")
	return string(out)
}

// requireReadsOnly requires that members are let in, and that whatever writes is
// told to come again.
func requireReadsOnly(s *served.Server, c *served.Client) {
	s.T.Helper()
	c.RequireMember()
	for endpoint, body := range map[string]data{"register": served.Newcomer("too-late"), "login": {"login": "ada", "password": served.TestPassword}} {
		res := s.Client().Post(http.StatusServiceUnavailable, endpoint, body)
		require.NotEmpty(s.T, res.Header.Get("Retry-After"))
		require.NotContains(s.T, res.Text, "registration.db", "the cause is for the log alone")
	}
}

// A file that finds no room to wait in is refused as a whole, 507, and so is an export: the
// server goes on, nobody was taken, and nothing of it stays on the disk.
func TestFaultDiskFullForATransfer(t *testing.T) {
	dir := mount(t, "size=3m", 0)
	s, c, path := onDisk(t, dir)
	used := func() uint64 {
		t.Helper()
		var at syscall.Statfs_t
		require.NoError(t, syscall.Statfs(dir, &at))
		return at.Blocks - at.Bfree
	}
	before := used()
	large := "username,first_name\n" + strings.Repeat("bob,"+strings.Repeat("x", 1000)+"\n", 4000)
	for _, query := range []string{"format=csv", "format=csv&dry_run=1"} {
		res := s.AdminRequest(http.MethodPost, "/registration/default/import?"+query, "application/octet-stream", large)
		require.Equal(t, http.StatusInsufficientStorage, res.StatusCode, res.Text)
		require.Contains(t, res.Text, "there is no room on the disk for the temporary file")
		require.InDelta(t, before, used(), 300, "it is gone")
	}
	file := filepath.Join(t.TempDir(), "users.csv")
	require.NoError(t, os.WriteFile(file, []byte(large), 0o600))
	out, err := s.Command("registration", "import", file).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "there is no room on the disk for the temporary file")
	c.RequireMember()

	// Accounts whose export is larger than what is left.
	var users strings.Builder
	users.WriteString("username,first_name\n")
	for i := range 400 {
		fmt.Fprintf(&users, "user%d,%s\n", i, strings.Repeat("x", 140))
	}
	res := s.AdminRequest(http.MethodPost, "/registration/default/import?format=csv", "application/octet-stream", users.String())
	require.Contains(t, res.Text, `"added":400`)
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	require.NoError(t, err)
	for chunk := make([]byte, 4096); err == nil; {
		_, err = ballast.Write(chunk)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	size, err := ballast.Seek(0, 2)
	require.NoError(t, err)
	require.NoError(t, ballast.Truncate(size-64<<10)) // enough for the row of the record
	exported := filepath.Join(t.TempDir(), "accounts.ndjson")
	out, err = s.Command("registration", "export", "--with-hashes", exported).CombinedOutput()
	require.Error(t, err, "%s", out)
	require.Contains(t, string(out), "there is no room on the disk for the temporary file")
	require.Contains(t, string(out), "nothing was written")
	require.NoFileExists(t, exported)
	require.NoError(t, errors.Join(ballast.Close(), os.Remove(ballast.Name())))
	out, err = s.Command("registration", "export", "--with-hashes", exported).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "has 401 accounts")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "only %s", path)
}

func TestFaultDiskFull(t *testing.T) {
	dir := mount(t, "size=2m", 0)
	s, c, path := onDisk(t, dir)
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	require.NoError(t, err)
	for chunk := make([]byte, 4096); err == nil; {
		_, err = ballast.Write(chunk)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, ballast.Close())
	mark := s.Log.Mark()
	var there []string
	for i := 0; ; i++ { // what is free inside of the file is used first
		require.Less(t, i, 2000, "the disk does not fill")
		name := fmt.Sprintf("full-%d", i)
		res := c.Do(http.MethodPost, "/accounts/register", served.Newcomer(name))
		if res.StatusCode == http.StatusServiceUnavailable {
			break
		}
		require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
		there = append(there, name)
	}
	line := s.Logged(mark, "the disk is full", "free some space")
	require.Contains(t, line, path)
	fresh := s.Client()
	fresh.Header.Set("Cookie", "registration="+c.Cookie())
	fresh.RequireMember()
	require.Equal(t, http.StatusOK, s.Load(strings.Replace(diskSite, "for members:", "for members, still:", 1)).StatusCode, "a reload needs no space")
	c.RequireMember()
	for _, name := range there {
		require.Equal(t, http.StatusBadRequest, c.Do(http.MethodPost, "/accounts/register", served.Newcomer(name)).StatusCode, "%s is lost", name)
	}
	require.NoError(t, os.Remove(ballast.Name()))
	begin := time.Now()
	require.True(t, served.Eventually(func() bool {
		return s.Client().Do(http.MethodPost, "/accounts/login", data{"login": "ada", "password": served.TestPassword}).StatusCode == http.StatusOK
	}, 10*time.Millisecond), "it does not heal")
	healed := time.Since(begin)
	c.Post(http.StatusCreated, "register", served.Newcomer("afterwards"))
	sent := 0
	for _, name := range append(there, "afterwards") {
		require.True(t, served.Eventually(func() bool { return len(s.Mails(name+"@example.org")) > 0 }, 20*time.Millisecond), "no mail for %s", name)
		found := s.Mails(name + "@example.org")
		require.Len(t, found, 1, "mails to %s", name)
		sent += len(found)
	}
	faultResult(t, "disk full under the account file", "guarded pages and reads go on, writes 503 with the reason and the path in the log; heals without a restart",
		fmt.Sprintf("guarded pages 200, reload taken, %d acknowledged acts all there; writes again %s after space came back; %d mails, none twice", len(there), shortly(healed), sent))
}

// immutable sets or takes away the flag that makes ext4 and others refuse every
// write, also to those who have the file open (chattr +i).
func immutable(path string, on bool) error {
	const getFlags, setFlags, flag = 0x80086601, 0x40086602, 0x10 // FS_IOC_*FLAGS, FS_IMMUTABLE_FL
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var flags uintptr
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), getFlags, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return errno
	}
	if flags &^= flag; on {
		flags |= flag
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), setFlags, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return errno
	}
	return nil
}

func TestFaultReadOnlyFile(t *testing.T) {
	dir := t.TempDir()
	s, c, path := onDisk(t, dir)
	if err := immutable(path, true); err != nil {
		t.Skipf("the file system of %s can't make a file immutable (needs root, and ext4 or alike): %v", dir, err)
	}
	t.Cleanup(func() { _ = immutable(path, false) })
	if res := s.Client().Do(http.MethodPost, "/accounts/login", data{"login": "ada", "password": served.TestPassword}); res.StatusCode == http.StatusOK {
		t.Skip("this file system lets an open file be written to although it is immutable")
	}
	mark := s.Log.Mark()
	requireReadsOnly(s, c)
	s.Logged(mark, path, "write access")
	require.NoError(t, immutable(path, false))
	s.Client().SignIn("ada")
	c.Post(http.StatusCreated, "register", served.Newcomer("bob"))
	s.Mail("bob@example.org", 1)
	s.Stop()
	require.NoError(t, immutable(path, true))
	requireRefuses(s, path, "write access")
	require.NoError(t, immutable(path, false))
	s.Start()
	c.RequireMember()

	readOnly := mount(t, "size=1m", syscall.MS_RDONLY)
	other := served.NewServer(t)
	other.Values["disk"] = readOnly
	other.Configure(diskSite)
	requireRefuses(other, filepath.Join(readOnly, "registration.db"), "write access")
	faultResult(t, "account file made read-only while it is open; a start on it, and on a read-only file system", "guarded pages go on, writes 503; heals without a restart; a start says what and where",
		"guarded pages 200, writes 503 and 200 again with the very next one; the start is refused with path and remedy")
}

func TestFaultDamagedFile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"cut short to four pages", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 4*4096)) }},
		{"cut short to nothing", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }},
		{"every page but the headers overwritten", func(t *testing.T, path string) {
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			defer func() { _ = file.Close() }()
			info, err := file.Stat()
			require.NoError(t, err)
			_, err = file.WriteAt([]byte(strings.Repeat("rubbish!", int(info.Size()-2*4096)/8)), 2*4096)
			require.NoError(t, err)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c, path := onDisk(t, t.TempDir())
			// A backup is a copy while nobody writes.
			s.Stop()
			backup, err := os.ReadFile(path)
			require.NoError(t, err)
			s.Start()
			c.RequireMember()
			mark := s.Log.Mark()
			tt.damage(t, path)
			requireReadsOnly(s, c)
			requireReadsOnly(s, c)
			s.Logged(mark, path, "damaged", "restore")
			stranger := s.Client()
			stranger.RequireStopped()
			stranger.Header.Set("Cookie", "registration="+strings.Repeat("A", 43))
			require.Equal(t, http.StatusServiceUnavailable, stranger.Get("/members/").StatusCode, "who can't be looked up is not let in")
			require.True(t, s.Running())
			s.Stop()
			start := "the start is refused with path and remedy"
			if info, err := os.Stat(path); err == nil && info.Size() == 0 {
				mark, start = s.Log.Mark(), "the next start warns that the file was empty"
				s.Start()
				s.Logged(mark, "was empty", path)
				s.Stop()
			} else {
				requireRefuses(s, path, "damaged, restore it from a backup")
			}
			require.NoError(t, os.WriteFile(path, backup, 0o600))
			s.Start()
			c.RequireMember()
			c.Post(http.StatusCreated, "register", served.Newcomer("bob"))
			faultResult(t, "account file damaged while it is open: "+tt.name, "the process lives; who is known stays in, all else 503 with the reason; a start says what and where",
				"guarded pages 200 for sessions in memory, 503 for others, writes 503; SIGTERM ends it in peace; "+start+"; a restored backup serves")
		})
	}
}

func TestFaultWrongFile(t *testing.T) {
	s, c, path := onDisk(t, t.TempDir())
	s.Stop()
	schema := func(version byte) {
		db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{0, 0, 0, 0, 0, 0, 0, version})
		}))
		require.NoError(t, db.Close())
	}
	raw := func(key string) (out []byte) {
		db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, ReadOnly: true})
		require.NoError(t, err)
		require.NoError(t, db.View(func(tx *bolt.Tx) error { out = append(out, tx.Bucket([]byte("meta")).Get([]byte(key))...); return nil }))
		require.NoError(t, db.Close())
		return out
	}
	present := raw("schema")
	require.Len(t, present, 8)
	schema(99)
	requireRefuses(s, path, "schema 99", "run the newer plugin")
	schema(present[7])

	holder, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	begin := time.Now()
	requireRefuses(s, path, "is another Caddy running", "caddy reload")
	waited := time.Since(begin)
	// `caddy validate` beside whoever holds it says so and is content.
	out, err := s.Command("validate", "--config", s.ConfigFile(), "--adapter", "caddyfile").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "the store is in use by another process")
	require.NoError(t, holder.Close())

	s.Start()
	c.RequireMember()
	// A running Caddy takes no other place that can't be used, and goes on.
	for wrong, says := range map[string]string{
		"/proc/nowhere/registration.db": "/proc/nowhere",
		s.Dir:                           "name a file",
		filepath.Join(s.ConfigFile(), "registration.db"): "name a file",
		s.ConfigFile(): "not an account file",
	} {
		res := s.Load(strings.Replace(diskSite, "[[disk]]/registration.db", wrong, 1))
		require.Equal(t, http.StatusBadRequest, res.StatusCode, res.Text)
		require.Contains(t, res.Text, says)
		c.RequireMember()
	}
	// A folder that is missing is made.
	missing := filepath.Join(t.TempDir(), "a", "b")
	res := s.Load(strings.Replace(diskSite, "[[disk]]", missing, 1))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	c.HTTP.CloseIdleConnections() // a reload ends them
	c.Post(http.StatusCreated, "register", served.Newcomer("bob"))
	faultResult(t, "account file of a newer schema; locked by another process; in a place that can't be used", "what and where, at the start and at a reload; the running one goes on",
		"start refused with path and remedy, after "+shortly(waited)+" where locked; reload refused, the old configuration serves; `caddy validate` beside the holder passes")
}

// TestFaultDiskFails: the file system is gone under the open file (EIO), as a
// failing disk or a lost network volume is.
func TestFaultDiskFails(t *testing.T) {
	for _, tool := range []string{"mkfs.ext4", "losetup"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 32<<20))
	out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput()
	require.NoError(t, err, string(out))
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("can't mount a file here: %v %s", err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s, c, path := onDisk(t, dir)
	mark := s.Log.Mark()
	mountPoint, err := os.Open(dir)
	require.NoError(t, err)
	const shutdown, noLogFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN
	flags := uint32(noLogFlush)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, mountPoint.Fd(), shutdown, uintptr(unsafe.Pointer(&flags)))
	require.NoError(t, mountPoint.Close())
	if errno != 0 {
		t.Skipf("this kernel can't take a file system down: %v", errno)
	}
	requireReadsOnly(s, c)
	line := s.Logged(mark, path, "input/output error")
	require.NotContains(t, line, served.TestPassword)
	require.True(t, s.Running())
	s.Stop()
	require.NoError(t, errors.Join(syscall.Unmount(dir, syscall.MNT_DETACH)))
	faultResult(t, "the disk under the account file fails (every write EIO)", "the process lives, guarded pages go on, writes 503 with the reason",
		"guarded pages 200, writes 503, SIGTERM ends it in peace")
}
