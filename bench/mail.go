// mail.go: a queue of mail that is drained, beside smtp-source, which sends as often one
// message that it has in memory: to a server that keeps nothing and answers at once, and to
// one whose answers take 20 ms to come.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

const mailConfig = `{
	admin off
	auto_https off
	persist_config off
}
http://127.0.0.1:%[1]d {
	registration {
		store bbolt %[2]s
		base_url http://127.0.0.1:%[1]d
		from bench@example.com
		mailer smtp %[3]s {
			tls none
		}
	}
}
`

// farAway is how long an answer takes to come from the server that is not at hand.
const farAway = 20 * time.Millisecond

// postfixTool finds a program of Debian's postfix, which nobody has to start for it.
func postfixTool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if path := "/usr/sbin/" + name; fileExists(path) {
		return path
	}
	return ""
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func mailing(ctx context.Context, b *bench) error {
	sinkTool, sourceTool := postfixTool("smtp-sink"), postfixTool("smtp-source")
	if sinkTool == "" || sourceTool == "" {
		b.notes = append(b.notes, "No rows of mail: smtp-sink and smtp-source are missing (Debian: postfix, which need not run).")
		return nil
	}
	queued, rounds := 10_000, max(b.rounds/8, 3)
	if b.short {
		queued, rounds = 3000, 3
	}
	for _, c := range []struct {
		where string
		delay time.Duration
		n     int
	}{{"a server that answers at once", 0, queued}, {"a server whose answers take 20 ms", farAway, queued / 10}} {
		var source, ours, each []float64
		for range rounds {
			control, err := drainRate(ctx, sinkTool, c.delay, c.n, func(address string) (func() error, error) {
				cmd := exec.CommandContext(ctx, sourceTool, "-d", "-m", strconv.Itoa(c.n), "-s", "1", "-l", "4096", "-t", "ada@example.org", address) //nolint:gosec // our own words
				if out, err := cmd.CombinedOutput(); err != nil {
					return nil, fmt.Errorf("smtp-source: %w: %s", err, out)
				}
				return func() error { return nil }, nil
			})
			if err != nil {
				return err
			}
			rate, err := b.drainQueue(ctx, sinkTool, c.delay, c.n)
			if err != nil {
				return err
			}
			source, ours, each = append(source, control), append(ours, rate), append(each, rate/control)
			if err := b.rest(ctx); err != nil {
				return err
			}
		}
		b.inform("`smtp-source`, one session, to "+c.where+", messages/s", "%.0f", median(source), middle("%.0f", source))
		b.inform(fmt.Sprintf("%d queued mails to %s, messages/s", c.n, c.where), "%.0f", median(ours), middle("%.0f", ours))
		b.judge("queued mail against `smtp-source`, "+c.where, "≥ 1", "%.2f", median(each), middle("%.2f", each), median(each) >= 1)
	}
	return nil
}

// drainQueue has a server drain a queue of n mails, one an account.
func (b *bench) drainQueue(ctx context.Context, tool string, delay time.Duration, n int) (rate float64, err error) {
	path := filepath.Join(b.dir, "mailing.db")
	if err := queueMail(ctx, path, n); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	return drainRate(ctx, tool, delay, n, func(address string) (func() error, error) {
		ports, err := freePorts(1)
		if err != nil {
			return nil, err
		}
		s, err := b.start(ctx, "mailing", fmt.Sprintf(mailConfig, ports[0], path, address), ports[0], "")
		if err != nil {
			return nil, err
		}
		return s.stop, nil
	})
}

// queueMail makes a store with n accounts and a mail to each.
func queueMail(ctx context.Context, path string, n int) error {
	made, err := seed(ctx, path, n)
	if err != nil {
		return err
	}
	file, err := bolt.Open(path, time.Second)
	if err != nil {
		return err
	}
	db, err := file.Realm("default")
	if err != nil {
		return errors.Join(err, file.Close())
	}
	now := time.Now()
	err = db.Update(ctx, func(tx store.Tx) error {
		for i := range n {
			m := &store.Mail{MessageID: uuid.NewString() + "@example.com", Kind: store.MailPasswordChanged, To: made.name(i) + "@example.org", User: made.ids[i], Language: "en", Queued: now, Due: now}
			if err := tx.PutMail(m); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, file.Close())
}

// drainRate starts a mail server, has something send n messages to it, and returns how
// many a second it took from the first of them to the last.
func drainRate(ctx context.Context, tool string, delay time.Duration, n int, send func(address string) (stop func() error, err error)) (rate float64, err error) {
	ports, err := freePorts(1)
	if err != nil {
		return 0, err
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	words := []string{tool, "-c", address, "512"}
	if os.Getuid() == 0 { // it refuses root
		words = append([]string{tool, "-u", "nobody"}, words[1:]...)
	}
	sink := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // our own words
	counts, err := sink.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := sink.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = sink.Process.Kill(); _ = sink.Wait() }()
	took := make(chan time.Duration, 1)
	go func() { took <- countMail(counts, n) }()
	if err := reachable(address); err != nil {
		return 0, err
	}
	if delay > 0 {
		far, err := relay(ctx, address, delay)
		if err != nil {
			return 0, err
		}
		defer func() { _ = far.Close() }()
		address = far.Addr().String()
	}
	stop, err := send(address)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	select {
	case d := <-took:
		if d == 0 {
			return 0, errors.New("the mail server ended")
		}
		return float64(n-1) / d.Seconds(), nil
	case <-time.After(10 * time.Minute):
		return 0, errors.New("the queue is not drained after ten minutes")
	}
}

// countMail reads what smtp-sink counts, until it has n messages, and returns how long
// that took from the first of them on.
func countMail(counts io.Reader, n int) time.Duration {
	var began time.Time
	lines := bufio.NewScanner(counts)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := strings.IndexByte(string(data), '\r'); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	for lines.Scan() {
		_, rest, ok := strings.Cut(lines.Text(), "mesg=")
		count, _ := strconv.Atoi(strings.TrimSpace(rest))
		if !ok || count == 0 {
			continue
		}
		if began.IsZero() {
			began = time.Now()
		}
		if count >= n {
			return time.Since(began)
		}
	}
	return 0
}

func reachable(address string) error {
	for range 1000 {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("nothing answers at %s", address)
}

// relay passes connections on, and holds back what comes from the server for so long.
func relay(ctx context.Context, to string, delay time.Duration) (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go holdBack(client, server, delay)
		}
	}()
	return listener, nil
}

func holdBack(client, server net.Conn, delay time.Duration) {
	type part struct {
		at    time.Time
		bytes []byte
	}
	parts := make(chan part, 1024)
	var ended atomic.Bool
	go func() {
		defer func() { _ = client.Close() }()
		for p := range parts {
			time.Sleep(time.Until(p.at))
			if _, err := client.Write(p.bytes); err != nil {
				ended.Store(true)
			}
		}
	}()
	defer close(parts)
	for buf := make([]byte, 4096); !ended.Load(); {
		n, err := server.Read(buf)
		if n > 0 {
			parts <- part{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}
		}
		if err != nil {
			return
		}
	}
}
