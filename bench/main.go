// Command bench measures what the plugin costs, row by row of its budgets, and
// writes the table into docs/performance.md. `make bench` runs it; wrk makes the load.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// A bench is one run: its places, its scale, its results.
type bench struct {
	root  string   // of the repository
	dir   string   // for this run's files, removed at the end
	mails []string // folders in memory, removed as well
	caddy string   // the built server

	short  bool
	users  int           // of the large store
	rounds int           // of a comparison between servers
	slice  time.Duration // one measurement of a round
	pause  time.Duration // after a measurement, for the neighbours

	clientCPU, serverCPU string
	priority             bool
	started              time.Time
	rows                 []row
	notes                []string
}

// small is the number of users of the store that the large one is compared with.
const small = 1000

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := &bench{started: time.Now(), clientCPU: "0", serverCPU: "1"}
	only := flag.String("run", "", "only the groups that match this expression: "+groupNames())
	flag.BoolVar(&b.short, "short", os.Getenv("BENCH") == "short", "fewer rounds: some 3 minutes (BENCH=short)")
	flag.BoolVar(&b.priority, "priority", os.Getenv("BENCH_PRIORITY") != "", "real-time priority for server and client, for a machine with neighbours; needs root (BENCH_PRIORITY=1)")
	flag.IntVar(&b.users, "users", 1_000_000, "users of the large store")
	write := flag.String("write", "", "file whose table between the marks of bench is replaced")
	bare := flag.Duration("bare", 0, "do nothing but compute Argon2id hashes for so long, and print how many (used by bench itself)")
	asVisitors := flag.Bool("pages", false, "load pages over TLS as the first line of standard input says (used by bench itself)")
	open := flag.String("open", "", "open this account file, look up -name, and print the microseconds (used by bench itself)")
	name := flag.String("name", "", "see -open")
	flag.Parse()
	if *open != "" {
		return openOnce(ctx, *open, *name)
	}
	if *asVisitors {
		return pages(ctx)
	}
	if *bare > 0 {
		return bareHashes(*bare)
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	b.rounds, b.slice = 24, time.Second
	if b.short {
		b.rounds = 8
	}
	if b.priority {
		b.pause = 400 * time.Millisecond
		// Seeding and the acts in this process: a larger share, not the whole CPU.
		// Linux shares by session first (sched(7), autogroup).
		if err := os.WriteFile("/proc/self/autogroup", []byte("-10"), 0o600); err != nil {
			b.notes = append(b.notes, "No larger share of the CPU: "+err.Error())
		}
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer func() {
		for _, dir := range append(b.mails, b.dir) {
			_ = os.RemoveAll(dir)
		}
	}()
	for _, g := range groups {
		if !match.MatchString(g.name) {
			continue
		}
		began := time.Now()
		fmt.Printf("# %s\n", g.name)
		if err := g.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		fmt.Printf("  (%.0f s)\n", time.Since(began).Seconds())
	}
	fmt.Println()
	report := b.report(ctx)
	fmt.Print(report)
	if *write != "" {
		if err := replaceTable(*write, report); err != nil {
			return err
		}
	}
	return nil
}

// rest lets the neighbours work, where the load runs before them.
func (b *bench) rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return errors.New("interrupted")
	case <-time.After(b.pause):
		return nil
	}
}

// groups of rows, in the order in which they run. What changes the machine's
// state (a large file in the page cache) comes last.
var groups = []struct {
	name string
	run  func(context.Context, *bench) error
}{
	{"start", startPlugin},
	{"serving", serving},
	{"protocols", protocols},
	{"inprocess", inProcess},
	{"hashing", hashing},
	{"postgres", inPostgres},
	{"mail", mailing},
	{"million", million},
}

func groupNames() (names string) {
	for _, g := range groups {
		names += " " + g.name
	}
	return names
}

// prepare builds the server and finds the tools.
func (b *bench) prepare(ctx context.Context) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is missing: apt-get install wrk")
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("the repository: %w", err)
	}
	b.root = string(out[:max(len(out)-1, 0)])
	if err := os.MkdirAll(filepath.Join(b.root, "dist"), 0o755); err != nil { //nolint:gosec // a build folder
		return err
	}
	// On the disk that the project is on: /tmp may be memory, where an fsync costs nothing.
	if b.dir, err = os.MkdirTemp(filepath.Join(b.root, "dist"), "bench-"); err != nil {
		return err
	}
	b.caddy = filepath.Join(b.dir, "caddy")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.caddy, "./cmd/caddy") //nolint:gosec // fixed words
	build.Dir, build.Stderr = b.root, os.Stderr
	if err := build.Run(); err != nil {
		return errors.Join(err, os.RemoveAll(b.dir))
	}
	return nil
}
