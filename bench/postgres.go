// postgres.go: accounts in PostgreSQL beside those in the file. The server is one that bench
// starts on this machine, and what it has of the CPU is counted apart.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A database is a running PostgreSQL.
type database struct {
	*server
	dir, bin string
	as       *syscall.Credential
}

func (d *database) url() string { return "postgres://bench@/postgres?host=" + d.dir }

// startPostgres starts one that waits for its disk, as one does that keeps accounts. Without
// one on this machine it returns nil.
func (b *bench) startPostgres(ctx context.Context) (d *database, err error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		return nil, nil
	}
	slices.Sort(found)
	d = &database{bin: found[len(found)-1]}
	if d.dir, err = os.MkdirTemp("/var/tmp", "bench-pg-"); err != nil { // on a disk, with a short name
		return nil, err
	}
	b.mails = append(b.mails, d.dir)
	if os.Getuid() == 0 { // it refuses root
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		d.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(d.dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	if out, err := d.command(ctx, "initdb", "-D", d.dir+"/data", "-A", "trust", "-U", "bench", "-E", "UTF8", "--no-locale").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	log, err := os.Create(filepath.Join(b.dir, "postgres.log"))
	if err != nil {
		return nil, err
	}
	cmd := d.command(ctx, "postgres", "-D", d.dir+"/data", "-k", d.dir, "-c", "listen_addresses=", "-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB")
	cmd.Stdout, cmd.Stderr = log, log
	d.server = &server{cmd: cmd, log: log, done: make(chan error, 1)}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.done <- cmd.Wait() }()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if d.command(ctx, "pg_isready", "-q", "-h", d.dir).Run() == nil {
			return d, nil
		}
		if time.Since(began) > 30*time.Second {
			return nil, errors.Join(fmt.Errorf("PostgreSQL does not start: %s", tail(log.Name())), d.end())
		}
	}
}

// end ends the connections that are there, too.
func (d *database) end() error {
	_ = d.cmd.Process.Signal(syscall.SIGINT)
	return d.stop()
}

func (d *database) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, name), args...) //nolint:gosec // a program of the system
	cmd.Dir, cmd.SysProcAttr = d.dir, &syscall.SysProcAttr{Credential: d.as}
	return cmd
}

// cpu is the time that all its processes have had a CPU, those that have ended too.
func (d *database) cpu() (time.Duration, error) {
	alive, err := d.server.cpu()
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	if len(fields) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", d.cmd.Process.Pid, len(fields))
	}
	const tick = 10 * time.Millisecond
	for _, field := range fields[13:15] { // cutime, cstime
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		alive += time.Duration(ticks) * tick
	}
	return alive, nil
}

// storeOf is the setting of a schema.
func (d *database) storeOf(schema, more string) string {
	return fmt.Sprintf("postgres %q {\n\t\t\tschema %s\n\t\t\t%s\n\t\t}", d.url(), schema, more)
}
