// faults_disk_linux_test.go: the disk under the account file is full, read-only
// or failing, and the file is damaged, locked, newer or in the wrong place.

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	accounts "github.com/seed-928992b0/caddy-registration/store"
	accountfile "github.com/seed-928992b0/caddy-registration/store/bolt"
)

// diskSite keeps its accounts in a folder of its own.
var diskSite = strings.Replace(plainSite, "registration {", "registration {\n\t\tstore bbolt [[disk]]/registration.db", 1)

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
func onDisk(t testing.TB, dir string) (*server, *client, string) {
	t.Helper()
	s := run(t, diskSite, "disk", dir)
	return s, s.member("ada"), filepath.Join(dir, "registration.db")
}

// requireRefuses starts Caddy and requires that it says these words and ends.
func (s *server) requireRefuses(says ...string) string {
	s.t.Helper()
	cmd := s.command("run", "--config", s.configFile(), "--adapter", "caddyfile")
	serves := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	out, err := cmd.CombinedOutput()
	require.True(s.t, serves.Stop(), "it serves: %s", out)
	var exit *exec.ExitError
	require.ErrorAs(s.t, err, &exit, string(out))
	for _, word := range says {
		require.Contains(s.t, string(out), word)
	}
	require.NotContains(s.t, string(out), "goroutine ", "it panicked")
	return string(out)
}

// requireReadsOnly requires that members are let in, and that whatever writes is
// told to come again.
func (s *server) requireReadsOnly(c *client) {
	s.t.Helper()
	c.requireMember()
	for endpoint, body := range map[string]data{"register": newcomer("too-late"), "login": {"login": "ada", "password": testPassword}} {
		res := s.client().post(http.StatusServiceUnavailable, endpoint, body)
		require.NotEmpty(s.t, res.Header.Get("Retry-After"))
		require.NotContains(s.t, res.body, "registration.db", "the cause is for the log alone")
	}
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
	mark := s.log.mark()
	var there []string
	for i := 0; ; i++ { // what is free inside of the file is used first
		require.Less(t, i, 2000, "the disk does not fill")
		name := fmt.Sprintf("full-%d", i)
		res := c.do(http.MethodPost, "/accounts/register", newcomer(name))
		if res.StatusCode == http.StatusServiceUnavailable {
			break
		}
		require.Equal(t, http.StatusCreated, res.StatusCode, res.body)
		there = append(there, name)
	}
	line := s.logged(mark, "the disk is full", "free some space")
	require.Contains(t, line, path)
	fresh := s.client()
	fresh.header.Set("Cookie", "registration="+c.cookie())
	fresh.requireMember()
	require.Equal(t, http.StatusOK, s.load(strings.Replace(diskSite, "for members:", "for members, still:", 1)).StatusCode, "a reload needs no space")
	c.requireMember()
	for _, name := range there {
		require.Equal(t, http.StatusBadRequest, c.do(http.MethodPost, "/accounts/register", newcomer(name)).StatusCode, "%s is lost", name)
	}
	require.NoError(t, os.Remove(ballast.Name()))
	begin := time.Now()
	require.True(t, eventually(func() bool {
		return s.client().do(http.MethodPost, "/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode == http.StatusOK
	}, 10*time.Millisecond), "it does not heal")
	healed := time.Since(begin)
	c.post(http.StatusCreated, "register", newcomer("afterwards"))
	sent := 0
	for _, name := range append(there, "afterwards") {
		require.True(t, eventually(func() bool { return len(s.mails(name+"@example.org")) > 0 }, 20*time.Millisecond), "no mail for %s", name)
		found := s.mails(name + "@example.org")
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
	if res := s.client().do(http.MethodPost, "/accounts/login", data{"login": "ada", "password": testPassword}); res.StatusCode == http.StatusOK {
		t.Skip("this file system lets an open file be written to although it is immutable")
	}
	mark := s.log.mark()
	s.requireReadsOnly(c)
	s.logged(mark, path, "write access")
	require.NoError(t, immutable(path, false))
	s.client().signIn("ada")
	c.post(http.StatusCreated, "register", newcomer("bob"))
	s.mail("bob@example.org", 1)
	s.stop()
	require.NoError(t, immutable(path, true))
	s.requireRefuses(path, "write access")
	require.NoError(t, immutable(path, false))
	s.start()
	c.requireMember()

	readOnly := mount(t, "size=1m", syscall.MS_RDONLY)
	other := newServer(t)
	other.values["disk"] = readOnly
	other.configure(diskSite)
	other.requireRefuses(filepath.Join(readOnly, "registration.db"), "write access")
	faultResult(t, "account file made read-only while it is open; a start on it, and on a read-only file system", "guarded pages go on, writes 503; heals without a restart; a start says what and where",
		"guarded pages 200, writes 503 and 200 again with the very next one; the start is refused with path and mend")
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
			s.stop()
			backup, err := os.ReadFile(path)
			require.NoError(t, err)
			s.start()
			c.requireMember()
			mark := s.log.mark()
			tt.damage(t, path)
			s.requireReadsOnly(c)
			s.requireReadsOnly(c)
			s.logged(mark, path, "damaged", "restore")
			stranger := s.client()
			stranger.requireStopped()
			stranger.header.Set("Cookie", "registration="+strings.Repeat("A", 43))
			require.Equal(t, http.StatusServiceUnavailable, stranger.get("/members/").StatusCode, "who can't be looked up is not let in")
			require.True(t, s.running())
			s.stop()
			start := "the start is refused with path and mend"
			if info, err := os.Stat(path); err == nil && info.Size() == 0 {
				mark, start = s.log.mark(), "the next start warns that the file was empty"
				s.start()
				s.logged(mark, "was empty", path)
				s.stop()
			} else {
				s.requireRefuses(path, "damaged, restore it from a backup")
			}
			require.NoError(t, os.WriteFile(path, backup, 0o600))
			s.start()
			c.requireMember()
			c.post(http.StatusCreated, "register", newcomer("bob"))
			faultResult(t, "account file damaged while it is open: "+tt.name, "the process lives; who is known stays in, all else 503 with the reason; a start says what and where",
				"guarded pages 200 for sessions in memory, 503 for others, writes 503; SIGTERM ends it in peace; "+start+"; a restored backup serves")
		})
	}
}

func TestFaultWrongFile(t *testing.T) {
	s, c, path := onDisk(t, t.TempDir())
	s.stop()
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
	s.requireRefuses(path, "schema 99", "run the newer plugin")
	schema(present[7])

	holder, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	begin := time.Now()
	s.requireRefuses(path, "is another Caddy running", "caddy reload")
	waited := time.Since(begin)
	// `caddy validate` beside whoever holds it says so and is content.
	out, err := s.command("validate", "--config", s.configFile(), "--adapter", "caddyfile").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "the store is in use by another process")
	require.NoError(t, holder.Close())

	s.start()
	c.requireMember()
	// A running Caddy takes no other place that can't be used, and goes on.
	for wrong, says := range map[string]string{
		"/proc/nowhere/registration.db": "/proc/nowhere",
		s.dir:                           "name a file",
		filepath.Join(s.configFile(), "registration.db"): "name a file",
		s.configFile(): "not an account file",
	} {
		res := s.load(strings.Replace(diskSite, "[[disk]]/registration.db", wrong, 1))
		require.Equal(t, http.StatusBadRequest, res.StatusCode, res.body)
		require.Contains(t, res.body, says)
		c.requireMember()
	}
	// A folder that is missing is made.
	missing := filepath.Join(t.TempDir(), "a", "b")
	res := s.load(strings.Replace(diskSite, "[[disk]]", missing, 1))
	require.Equal(t, http.StatusOK, res.StatusCode, res.body)
	c.post(http.StatusCreated, "register", newcomer("bob"))
	faultResult(t, "account file of a newer schema; locked by another process; in a place that can't be used", "what and where, at the start and at a reload; the running one goes on",
		"start refused with path and mend, after "+shortly(waited)+" where locked; reload refused, the old configuration serves; `caddy validate` beside the holder passes")
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
	mark := s.log.mark()
	mountPoint, err := os.Open(dir)
	require.NoError(t, err)
	const shutdown, noLogFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN
	flags := uint32(noLogFlush)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, mountPoint.Fd(), shutdown, uintptr(unsafe.Pointer(&flags)))
	require.NoError(t, mountPoint.Close())
	if errno != 0 {
		t.Skipf("this kernel can't take a file system down: %v", errno)
	}
	s.requireReadsOnly(c)
	line := s.logged(mark, path, "input/output error")
	require.NotContains(t, line, testPassword)
	require.True(t, s.running())
	s.stop()
	require.NoError(t, errors.Join(syscall.Unmount(dir, syscall.MNT_DETACH)))
	faultResult(t, "the disk under the account file fails (every write EIO)", "the process lives, guarded pages go on, writes 503 with the reason",
		"guarded pages 200, writes 503, SIGTERM ends it in peace")
}

// backupSite is a site whose store has weight: 20 000 accounts, some 60 MB.
func backupSite(t *testing.T) (s *server, store string) {
	t.Helper()
	s = newServer(t)
	s.configure(strings.NewReplacer("field plan choice", "field weight text {\n max_length 4000\n hidden\n }\n field plan choice").Replace(adminSite))
	store = filepath.Join(s.dataDir(), "registration.db")
	f, err := accountfile.Open(store, time.Second)
	require.NoError(t, err)
	realm, err := f.Realm("default")
	require.NoError(t, err)
	for range 20 {
		require.NoError(t, realm.Update(t.Context(), func(tx accounts.Tx) error {
			for range 1000 {
				id := uuid.Must(uuid.NewV7())
				u := &accounts.User{ID: id, Username: id.String(), Extra: map[string]any{"weight": strings.Repeat("w", 2500)}}
				if err := tx.PutUser(u, []accounts.Key{{Field: "username", Value: id.String()}}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, f.Close())
	s.start()
	return s, store
}

func (s *server) backup(file string) (string, error) {
	out, err := s.command("registration", "backup", file, "--address", fmt.Sprintf("127.0.0.1:%d", s.admin)).CombinedOutput()
	return string(out), err
}

// signUps signs people up, several at once, until stop is closed; how long each took
// and who had his answer is told.
func (s *server) signUps(prefix string, stop <-chan struct{}, acknowledged *sync.Map) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var workers sync.WaitGroup
	for w := range 3 {
		workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("%s-%d-%d", prefix, w, i)
				body, _ := json.Marshal(newcomer(name))
				began := time.Now()
				res, err := http.Post(s.base()+"/accounts/register", "application/json", bytes.NewReader(body))
				if err != nil {
					continue
				}
				_ = res.Body.Close()
				if res.StatusCode == http.StatusCreated {
					acknowledged.Store(name, true)
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.Sort(took)
	return took
}

// Sign-ups beside a backup are held against the same ones without it: the machine
// that runs the tests may be slow and busy.
func TestBackupBesideSignUpsAndRestore(t *testing.T) {
	s, store := backupSite(t)
	var acknowledged sync.Map
	alone := make(chan struct{})
	time.AfterFunc(4*time.Second, func() { close(alone) })
	before := s.signUps("alone", alone, &acknowledged)
	require.NotEmpty(t, before)

	beside := make(chan struct{})
	file := filepath.Join(s.dir, "backup.db")
	var names []string
	var failed error
	var said string
	go func() {
		defer close(beside)
		for range 2 {
			names = nil
			acknowledged.Range(func(name, _ any) bool { names = append(names, name.(string)); return true })
			if said, failed = s.backup(file); failed != nil {
				return
			}
		}
	}()
	during := s.signUps("beside", beside, &acknowledged)
	require.NoError(t, failed, said)
	require.Contains(t, said, "1 realm")
	require.NotEmpty(t, during)
	t.Logf("alone %d: median %v, most %v; beside backups %d: median %v, most %v", len(before), before[len(before)/2], before[len(before)-1], len(during), during[len(during)/2], during[len(during)-1])
	// The few slowest tell of the machine; who stood behind a copy would be all.
	require.Less(t, during[len(during)/2], 5*before[len(before)/2]+250*time.Millisecond)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	restore := func(args ...string) (string, error) {
		out, err := s.command(append([]string{"registration", "restore", file}, args...)...).CombinedOutput()
		return string(out), err
	}
	said, err = restore("--config", s.configFile())
	require.Error(t, err)
	require.Contains(t, said, "a server runs at")
	said, err = restore("--store", store)
	require.Error(t, err)
	require.Contains(t, said, "is locked")
	s.client().post(http.StatusCreated, "register", newcomer("later"))
	s.stop()
	said, err = restore("--config", s.configFile(), "--adapter", "caddyfile")
	require.NoError(t, err, said)
	require.Contains(t, said, store+".before-restore-")
	s.start()
	for _, name := range names {
		require.Equal(t, http.StatusOK, s.adminRequest(http.MethodGet, "/registration/default/users/"+name, "", "").StatusCode, name)
	}
	require.Equal(t, http.StatusNotFound, s.adminRequest(http.MethodGet, "/registration/default/users/later", "", "").StatusCode)
}

func TestBackupToAFullDiskAndASlowReader(t *testing.T) {
	s, store := backupSite(t)
	disk := mount(t, "size=4m", 0)
	file := filepath.Join(disk, "backup.db")
	require.NoError(t, os.WriteFile(file, []byte("the last one"), 0o600))
	said, err := s.backup(file)
	require.Error(t, err)
	require.Contains(t, said, "there is no room")
	require.Contains(t, said, "is still the one from before")
	require.Equal(t, "the last one", string(readFile(t, file)))
	entries, err := os.ReadDir(disk)
	require.NoError(t, err)
	require.Len(t, entries, 1)

	// Nobody reads this one.
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/registration/default/backup", s.admin))
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, http.StatusOK, res.StatusCode)
	s.client().post(http.StatusCreated, "register", newcomer("meanwhile"))
	said, err = s.backup(filepath.Join(s.dir, "other.db"))
	require.NoError(t, err, said)
	require.Equal(t, http.StatusBadRequest, s.adminRequest(http.MethodGet, "/registration/default/backup?path=/tmp/x", "", "").StatusCode)

	// Killed on the way, the last one is whole, and the next start tidies up.
	cmd := s.command("registration", "backup", filepath.Join(s.dir, "other.db"), "--address", fmt.Sprintf("127.0.0.1:%d", s.admin))
	require.NoError(t, cmd.Start())
	beside := func() (found []string) {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(store), ".registration.db.*"))
		require.NoError(t, err)
		return found
	}
	for deadline := time.Now().Add(patience); len(beside()) == 0 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	s.kill()
	_ = cmd.Wait()
	_, err = accountfile.Verify(filepath.Join(s.dir, "other.db"))
	require.NoError(t, err)
	s.start()
	require.Empty(t, beside())
}
