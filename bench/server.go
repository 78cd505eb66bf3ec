// server.go: a built Caddy on loopback: started, asked for its CPU time and
// memory, stopped.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A server is one running Caddy.
type server struct {
	cmd   *exec.Cmd
	log   *os.File
	done  chan error
	began time.Time
	// ready is how long it took from its start to its first answer.
	ready time.Duration
}

// start runs Caddy on a Caddyfile, on the given CPUs ("": all), and returns when
// it accepts connections on port.
func (b *bench) start(ctx context.Context, name, caddyfile string, port int, cpus string) (*server, error) {
	s, err := b.launch(ctx, b.caddy, name, caddyfile, cpus)
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			s.ready = time.Since(s.began)
			return s, conn.Close()
		}
		select {
		case err := <-s.done:
			return nil, fmt.Errorf("%s ended: %w: %s", name, err, tail(s.log.Name()))
		case <-time.After(time.Millisecond):
		}
		if time.Since(s.began) > patience {
			return nil, errors.Join(fmt.Errorf("%s does not serve: %s", name, tail(s.log.Name())), s.stop())
		}
	}
}

// launch runs a Caddy, and returns at once.
func (b *bench) launch(ctx context.Context, caddy, name, caddyfile, cpus string) (*server, error) {
	config, err := b.write(filepath.Join(name, "Caddyfile"), caddyfile)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(config)
	log, err := os.Create(filepath.Join(dir, "log")) //nolint:gosec // our own folder
	if err != nil {
		return nil, err
	}
	s := &server{log: log, done: make(chan error, 1)}
	words := append(b.pinned(cpus), caddy, "run", "--adapter", "caddyfile", "--config", config)
	s.cmd = exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // our own words
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, log, log
	s.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	s.began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.done <- s.cmd.Wait() }()
	return s, nil
}

// patience is for the start of a server.
const patience = 30 * time.Second

// pinned returns the words that run a command on some CPUs.
func (b *bench) pinned(cpus string) (words []string) {
	if cpus != "" {
		words = append(words, "taskset", "-c", cpus)
	}
	if b.priority {
		words = append(words, "chrt", "-f", "10")
	}
	return words
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.done: //nolint:errcheck // it was told to end
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done //nolint:errcheck // it was killed
	}
	return s.log.Close()
}

// cpu is the time that the threads of the server, and of the process in which it
// hashes, have had a CPU. Go keeps its threads, and a load comes to its end long
// before that process does, so none that has ended is missing.
func (s *server) cpu() (total time.Duration, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for _, path := range children {
		text, _ := os.ReadFile(path) //nolint:gosec // of /proc
		for pid := range strings.FieldsSeq(string(text)) {
			more, err := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
			if err != nil {
				return 0, err
			}
			threads = append(threads, more...)
		}
	}
	for _, path := range threads {
		text, err := os.ReadFile(path) //nolint:gosec // of /proc
		if err != nil {
			continue // a thread that has just ended
		}
		first, _, _ := bytes.Cut(text, []byte(" "))
		ns, err := strconv.ParseInt(string(first), 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(ns)
	}
	return total, nil
}

// anonymous is the server's resident memory that is no file's, in bytes.
func (s *server) anonymous() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kB, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kB << 10, err
		}
	}
	return 0, errors.New("no RssAnon in /proc")
}

func tail(path string) string {
	text, _ := os.ReadFile(path) //nolint:gosec // our own log
	return string(text[max(0, len(text)-2000):])
}

// freePorts returns ports that nobody listens on, below those that the kernel
// gives to clients.
func freePorts(n int) ([]int, error) {
	var ports []int
	for port := 21000 + os.Getpid()%900*10; len(ports) < n; port++ {
		if port > 32000 {
			return nil, errors.New("no ports are free")
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
