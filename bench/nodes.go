// nodes.go: the rows of docs/nodes.md: what a request and an act cost with the accounts in
// PostgreSQL.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A home is where the accounts of one site are, and what else its directive says.
type home struct{ realm, store, more string }

// cheap is a hash that costs nothing, so that the store is what costs.
const cheap = "password {\n\t\t\targon2id 8KiB 1 1\n\t\t}"

const homeConfig = `http://127.0.0.1:%[1]d {
	registration {
		realm %[2]s
		store %[3]s
		base_url http://127.0.0.1:%[1]d
		from bench@example.com
		mailer file %[4]s
		throttle off
		%[5]s
	}
	require_login {
		realm %[2]s
	}
	root * %[6]s
	file_server
}
`

// startHomes starts one server with all of these, each on a port of its own.
func (b *bench) startHomes(ctx context.Context, name, cpus string, homes ...home) (s *server, ports []int, err error) {
	if ports, err = freePorts(len(homes)); err != nil {
		return nil, nil, err
	}
	site, err := b.write("site/file.html", fileText)
	if err != nil {
		return nil, nil, err
	}
	mail, err := inMemory(b.dir, "bench-mail-")
	if err != nil {
		return nil, nil, err
	}
	b.mails = append(b.mails, mail)
	var config strings.Builder
	config.WriteString("{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n")
	for i, at := range homes {
		fmt.Fprintf(&config, homeConfig, ports[i], at.realm, at.store, mail, at.more, filepath.Dir(site))
	}
	s, err = b.start(ctx, name, config.String(), ports[0], cpus)
	return s, ports, err
}

// seedDatabase has the plugin's own command move seeded accounts into a schema.
func (b *bench) seedDatabase(ctx context.Context, realm, store string, n int) (*seeded, error) {
	s, err := seedRealm(ctx, filepath.Join(b.dir, realm+"-seed.db"), realm, n)
	if err != nil {
		return nil, err
	}
	config, err := b.write("carry/Caddyfile", "{\n\tadmin 127.0.0.1:1\n}\n"+fmt.Sprintf(homeConfig, 1, realm, store, b.dir, "", b.dir))
	if err != nil {
		return nil, err
	}
	began := time.Now()
	out, err := exec.CommandContext(ctx, b.caddy, "registration", "move", "--from", s.path, "--realm", realm, "--config", config).CombinedOutput() //nolint:gosec // our own words
	if err != nil {
		return nil, fmt.Errorf("move: %w: %s", err, bytes.TrimSpace(out))
	}
	s.took = time.Since(began)
	return s, nil
}

func inPostgres(ctx context.Context, b *bench) (err error) {
	d, err := b.startPostgres(ctx)
	if err != nil {
		return err
	}
	if d == nil {
		b.notes = append(b.notes, "Not measured: accounts in PostgreSQL, since there is none on this machine (Debian: postgresql).")
		return nil
	}
	defer func() { err = errors.Join(err, d.end()) }()
	for _, step := range []func(context.Context, *database) error{b.guardedInPostgres, b.actsInPostgres, b.flatInPostgres, b.twoNodes} {
		if err := step(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// A beside is a shot and what the database had of the CPU meanwhile.
type beside struct {
	shot
	database time.Duration
}

func (s beside) databaseEach() float64 {
	return float64(s.database.Nanoseconds()) / 1e3 / float64(s.Requests) // microseconds
}

// share is what the database had of all cores.
func (s beside) share() float64 {
	return s.database.Seconds() / (s.Micros / 1e6) / float64(runtime.NumCPU())
}

func (b *bench) fireBeside(ctx context.Context, d *database, s *server, l load, slice time.Duration, cpus string) (beside, error) {
	before, err := d.cpu()
	if err != nil {
		return beside{}, err
	}
	shot, err := b.fire(ctx, s, l, slice, cpus)
	if err != nil {
		return beside{}, err
	}
	after, err := d.cpu()
	return beside{shot, after - before}, errors.Join(err, b.rest(ctx))
}

func figures(of []beside, figure func(beside) float64) (out []float64) {
	for _, s := range of {
		out = append(out, figure(s))
	}
	return out
}

func rateOf(s beside) float64 { return s.rate() }

// guardedInPostgres holds a guarded file with its session in memory, and one whose session is
// looked up for every request, against the file's.
func (b *bench) guardedInPostgres(ctx context.Context, d *database) error {
	inFile, err := seedRealm(ctx, filepath.Join(b.dir, "infile.db"), "file", small)
	if err != nil {
		return err
	}
	stores := map[string]string{"warm": d.storeOf("warm", ""), "strict": d.storeOf("strict", "cache off")}
	tokens := map[string]string{"file": inFile.token(0)}
	for realm, store := range stores {
		s, err := b.seedDatabase(ctx, realm, store, small)
		if err != nil {
			return err
		}
		tokens[realm] = s.token(0)
	}
	s, ports, err := b.startHomes(ctx, "guards", b.serverCPU, home{"file", "bbolt " + inFile.path, ""}, home{"warm", stores["warm"], ""}, home{"strict", stores["strict"], ""})
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	names := []string{"file", "warm", "control", "strict"}
	loads, shots := map[string]load{}, map[string][]beside{}
	for i, name := range []string{"file", "warm", "strict"} {
		l := fileOf(ports[i], "Cookie: registration="+tokens[name])
		if l.answer, _, _, err = check(ctx, l, http.StatusOK, func(body []byte) bool { return string(body) == fileText }); err != nil {
			return err
		}
		loads[name] = l
	}
	loads["control"] = loads["file"]
	for round := -1; round < b.rounds; round++ { // the first one warms up
		for i := range names {
			name := names[(i+max(round, 0))%len(names)]
			shot, err := b.fireBeside(ctx, d, s, loads[name], b.slice, b.clientCPU)
			if err != nil {
				return err
			}
			if round >= 0 {
				shots[name] = append(shots[name], shot)
			}
		}
	}
	file, warm, strict := figures(shots["file"], rateOf), figures(shots["warm"], rateOf), figures(shots["strict"], rateOf)
	same, ratio := ratios(figures(shots["control"], rateOf), file), ratios(warm, file)
	b.inform("control: guarded file, accounts in the file against the same, requests/s", "%.3f", median(same), middle("%.3f", same))
	b.judge("guarded file, accounts in PostgreSQL against the file, session in memory, requests/s", "≥ 0.99", "%.3f", median(ratio), middle("%.3f", ratio), median(ratio) >= 0.99)
	own := figures(shots["warm"], beside.databaseEach)
	b.inform("the same, CPU of PostgreSQL a request, µs", "%.2f", median(own), middle("%.2f", own))
	missed := ratios(strict, file)
	b.inform("the same with each session looked up (`cache off`: one round trip), requests/s", "%.3f", median(missed), middle("%.3f", missed))
	added := differences(figures(shots["strict"], func(s beside) float64 { return s.cpuEach() }), figures(shots["file"], func(s beside) float64 { return s.cpuEach() }))
	b.inform("a look-up, CPU of Caddy, µs", "%.0f", median(added), middle("%.0f", added))
	own = figures(shots["strict"], beside.databaseEach)
	b.inform("a look-up, CPU of PostgreSQL, µs", "%.0f", median(own), middle("%.0f", own))
	return nil
}

// actsInPostgres holds sign-ins and sign-ups against nothing but the hash. PostgreSQL works on
// the same cores: what it takes of them is no part of the ratio that is judged.
func (b *bench) actsInPostgres(ctx context.Context, d *database) error {
	store := d.storeOf("acts", "")
	if _, err := b.seedDatabase(ctx, "acts", store, small); err != nil {
		return err
	}
	s, ports, err := b.startHomes(ctx, "acts", "", home{"acts", store, ""})
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	const slice, connections = 3 * time.Second, 16
	url := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	var bare []float64
	var in, up []beside
	for round := -1; round < max(b.rounds/3, 4); round++ {
		rate, err := b.bareRate(ctx, slice)
		if err != nil {
			return err
		}
		signed, err := b.fireBeside(ctx, d, s, signIns(url, small, connections), slice, "")
		if err != nil {
			return err
		}
		registered, err := b.fireBeside(ctx, d, s, registrations(url, connections), slice, "")
		if err != nil {
			return err
		}
		if round >= 0 {
			bare, in, up = append(bare, rate), append(in, signed), append(up, registered)
		}
	}
	apart := func(s beside) float64 { return s.rate() / (1 - s.share()) }
	signIn, signUp := ratios(figures(in, apart), bare), ratios(figures(up, apart), bare)
	b.judge("sign-ins/s with PostgreSQL against the bare rate, its CPU apart", "≥ 0.95", "%.3f", median(signIn), middle("%.3f", signIn), median(signIn) >= 0.95)
	b.inform("sign-ups/s with PostgreSQL against the bare rate, its CPU apart", "%.3f", median(signUp), middle("%.3f", signUp))
	for _, act := range []struct {
		name string
		of   []beside
	}{{"sign-in", in}, {"sign-up", up}} {
		own := figures(act.of, func(s beside) float64 { return s.databaseEach() / 1e3 })
		b.inform("CPU of PostgreSQL a "+act.name+", ms", "%.2f", median(own), middle("%.2f", own))
	}
	return nil
}

// flatInPostgres holds sign-ups among many accounts against those among few, with a hash that
// costs nothing.
func (b *bench) flatInPostgres(ctx context.Context, d *database) error {
	n := b.users
	if b.short {
		n = min(n, 100_000)
	}
	few, many := d.storeOf("few", ""), d.storeOf("many", "")
	if _, err := b.seedDatabase(ctx, "few", few, small); err != nil {
		return err
	}
	moved, err := b.seedDatabase(ctx, "many", many, n)
	if err != nil {
		return err
	}
	b.inform(fmt.Sprintf("moving %d users with a session each from the file to PostgreSQL, s", n), "%.0f", moved.took.Seconds(), "")
	s, ports, err := b.startHomes(ctx, "flat", "", home{"few", few, cheap}, home{"many", many, cheap})
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	var rates [2][]float64
	for round := -1; round < max(b.rounds/3, 4); round++ {
		for i := range rates {
			i = (i + max(round, 0)) % 2
			shot, err := b.fireBeside(ctx, d, s, registrations(fmt.Sprintf("http://127.0.0.1:%d", ports[i]), 16), 2*time.Second, "")
			if err != nil {
				return err
			}
			if round >= 0 {
				rates[i] = append(rates[i], shot.rate())
			}
		}
	}
	b.inform(fmt.Sprintf("sign-ups/s with PostgreSQL among %d users, a hash that costs nothing", small), "%.0f", median(rates[0]), middle("%.0f", rates[0]))
	ratio := ratios(rates[1], rates[0])
	b.judge(fmt.Sprintf("the same among %d users against them", n), "≥ 0.90", "%.3f", median(ratio), middle("%.3f", ratio), median(ratio) >= 0.9)
	return nil
}

// twoNodes holds sign-ins on two nodes, each with a core of its own, against one of them. The
// database and the client need cores, too.
func (b *bench) twoNodes(ctx context.Context, d *database) error {
	if runtime.NumCPU() < 4 {
		b.notes = append(b.notes, fmt.Sprintf("Not measured: two nodes against one. It takes a core for each node and two for the database and the client; this machine has %d.", runtime.NumCPU()))
		return nil
	}
	store := d.storeOf("nodes", "")
	if _, err := b.seedDatabase(ctx, "nodes", store, small); err != nil {
		return err
	}
	rest := "2-" + strconv.Itoa(runtime.NumCPU()-1)
	var nodes []*server
	var urls []string
	for i := range 2 {
		s, ports, err := b.startHomes(ctx, fmt.Sprintf("node%d", i+1), strconv.Itoa(i), home{"nodes", store, ""})
		if err != nil {
			return err
		}
		defer func() { _ = s.stop() }()
		nodes, urls = append(nodes, s), append(urls, fmt.Sprintf("http://127.0.0.1:%d", ports[0]))
	}
	var one, two []float64
	for round := -1; round < max(b.rounds/3, 4); round++ {
		alone, err := b.fire(ctx, nodes[0], signIns(urls[0], small, 8), 3*time.Second, rest)
		if err != nil {
			return err
		}
		var shots [2]shot
		errs := make(chan error, len(shots))
		for i := range shots {
			go func() {
				var err error
				shots[i], err = b.fire(ctx, nodes[i], signIns(urls[i], small, 8), 3*time.Second, rest)
				errs <- err
			}()
		}
		if err := errors.Join(<-errs, <-errs, b.rest(ctx)); err != nil {
			return err
		}
		if round >= 0 {
			one, two = append(one, alone.rate()), append(two, shots[0].rate()+shots[1].rate())
		}
	}
	ratio := ratios(two, one)
	b.judge("sign-ins/s of two nodes against one, a core each", "≥ 1.9", "%.3f", median(ratio), middle("%.3f", ratio), median(ratio) >= 1.9)
	return nil
}
