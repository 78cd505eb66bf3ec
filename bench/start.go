// start.go: what the plugin costs before the first request: bytes of the program, memory of an idle
// server, the time from its start to the first answer, and that of a reload.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// plainMain is Caddy without the plugin.
const plainMain = `package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() { caddycmd.Main() }
`

// xcaddyTags are those with which xcaddy (0.4.5) builds. With them Caddy has no PostgreSQL that the plugin
// could share. It also says -trimpath, which changes some kilobytes of both and would have all compiled anew.
const xcaddyTags = "nobadger,nomysql,nopgx"

// plainConfig serves the file without the plugin, guardedConfig with it. Both have what
// a Caddy has by default: the admin API, and the configuration saved for --resume.
const plainConfig = `{
	admin 127.0.0.1:%[1]d
	auto_https off
}
http://127.0.0.1:%[2]d {
	root * %[3]s
	file_server
}
`

const guardedConfig = `{
	admin 127.0.0.1:%[1]d
	auto_https off
}
http://127.0.0.1:%[2]d {
	registration {
		store bbolt %[4]s
		base_url http://127.0.0.1:%[2]d
		from bench@example.com
		mailer file %[5]s
	}
	require_login
	root * %[3]s
	file_server
}
`

// A starter is one kind of server whose starts are compared.
type starter struct {
	name, caddy, config string
	admin, port         int
	cookie              string

	first, cpu []float64 // ms
	memory     []float64 // MiB
}

// A kind of server to compare: its name, its program, and the store that its file is guarded
// with; nil: it stands open.
type kind struct {
	name, caddy string
	store       *seeded
}

// starters gives each kind its ports and its configuration.
func (b *bench) starters(kinds ...kind) ([]*starter, error) {
	if _, err := b.write("site/file.html", fileText); err != nil {
		return nil, err
	}
	ports, err := freePorts(2 * len(kinds))
	if err != nil {
		return nil, err
	}
	var out []*starter
	for i, k := range kinds {
		s := &starter{name: "start-" + k.name, caddy: k.caddy, admin: ports[2*i], port: ports[2*i+1]}
		s.config = fmt.Sprintf(plainConfig, s.admin, s.port, filepath.Join(b.dir, "site"))
		if k.store != nil {
			s.cookie = "registration=" + k.store.token(0)
			s.config = fmt.Sprintf(guardedConfig, s.admin, s.port, filepath.Join(b.dir, "site"), k.store.path, filepath.Join(b.dir, k.name, "mail"))
		}
		out = append(out, s)
	}
	return out, nil
}

// startPlugin compares starts, memory and programs.
func startPlugin(ctx context.Context, b *bench) error {
	plain, full, lean := filepath.Join(b.dir, "caddy-plain"), filepath.Join(b.dir, "caddy-full"), filepath.Join(b.dir, "caddy-lean")
	source, err := b.write("_plain/main.go", plainMain) // a folder that is none of ./...
	if err != nil {
		return err
	}
	for _, program := range []struct{ path, source, tags string }{
		{plain, source, xcaddyTags}, {full, "./cmd/caddy", xcaddyTags}, {lean, "./cmd/caddy", xcaddyTags + ",registration_nopostgres"},
	} {
		build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-w -s", "-tags", program.tags, "-o", program.path, program.source) //nolint:gosec // our own words
		build.Dir, build.Stderr = b.root, os.Stderr
		if err := build.Run(); err != nil {
			return err
		}
	}
	if err := b.programSize(plain, full, lean); err != nil {
		return err
	}
	store, err := seed(ctx, filepath.Join(b.dir, "start.db"), small)
	if err != nil {
		return err
	}
	// Caddy without the plugin, twice: the second is the control.
	kinds, err := b.starters(kind{"plain", plain, nil}, kind{"control", plain, nil}, kind{"linked", full, nil}, kind{"guarded", full, store})
	if err != nil {
		return err
	}
	for round := -1; round < b.rounds; round++ { // the first one reads the programs into memory
		for i := range kinds {
			s := kinds[(i+max(round, 0))%len(kinds)]
			if err := b.startOnce(ctx, s, round >= 0, round >= 0 && round < b.rounds/4); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	b.startRows(kinds)
	return nil
}

func (b *bench) programSize(paths ...string) error {
	var size []float64
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		size = append(size, float64(info.Size())/1e6)
	}
	b.inform("Caddy with its standard modules, as xcaddy builds it, MB", "%.1f", size[0], "")
	added := size[1] - size[0]
	b.judge("what the plugin adds to the program, MB", "≤ 15", "%.1f", added, fmt.Sprintf("%.0f %% of that", added/size[0]*100), added <= 15)
	b.inform("the same without PostgreSQL (the tag registration_nopostgres), MB", "%.1f", size[2]-size[0], "")
	return nil
}

// startOnce starts a server and stops it; with counts, it notes what that took.
func (b *bench) startOnce(ctx context.Context, s *starter, counts, idle bool) error {
	run, err := b.launch(ctx, s.caddy, s.name, s.config, b.serverCPU)
	if err != nil {
		return err
	}
	first, cpu, err := b.firstAnswer(ctx, run, s)
	if err != nil {
		return errors.Join(err, run.stop())
	}
	if counts {
		s.first, s.cpu = append(s.first, millis(first)), append(s.cpu, millis(cpu))
	}
	if idle {
		time.Sleep(2 * time.Second) // what a start does beside has come to its end
		bytes, err := run.anonymous()
		if err != nil {
			return errors.Join(err, run.stop())
		}
		s.memory = append(s.memory, float64(bytes)/(1<<20))
	}
	return run.stop()
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// firstAnswer asks until the file comes, and returns how long that took, and the CPU time of the
// server until then.
func (b *bench) firstAnswer(ctx context.Context, run *server, s *starter) (took, cpu time.Duration, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, urlOf(s.port, "/file.html"), nil)
		if err != nil {
			return 0, 0, err
		}
		if s.cookie != "" {
			req.Header.Set("Cookie", s.cookie)
		}
		resp, err := client.Do(req)
		if err == nil {
			took = time.Since(run.began)
			cpu, err = run.cpu()
			text, readErr := io.ReadAll(resp.Body)
			err = errors.Join(err, readErr, resp.Body.Close())
			if err == nil && (resp.StatusCode != http.StatusOK || string(text) != fileText) {
				err = fmt.Errorf("%s with %d bytes", resp.Status, len(text))
			}
			return took, cpu, err
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return 0, 0, err
		}
		if time.Since(run.began) > patience {
			return 0, 0, errors.New("does not serve: " + tail(run.log.Name()))
		}
		time.Sleep(200 * time.Microsecond)
	}
}

func (b *bench) startRows(kinds []*starter) {
	plain, control, linked, guarded := kinds[0], kinds[1], kinds[2], kinds[3]
	b.inform("start to the first answer, Caddy without the plugin, ms (one core)", "%.0f", median(plain.first), middle("%.0f", plain.first))
	noise := differences(control.first, plain.first)
	b.inform("control: the same against itself, ms more", "%.1f", median(noise), middle("%.1f", noise))
	idle := differences(linked.first, plain.first)
	b.inform("with the plugin in the program and not configured, ms more", "%.1f", median(idle), middle("%.1f", idle))
	more := differences(guarded.first, plain.first)
	b.judge("start to the first guarded answer, ms more", "≤ 20", "%.1f", median(more), middle("%.1f", more), median(more) <= 20)
	cpu := differences(guarded.cpu, plain.cpu)
	b.inform("the same in the server's CPU time, ms more", "%.1f", median(cpu), middle("%.1f", cpu))
	b.inform("memory of an idle Caddy without the plugin, MiB", "%.1f", median(plain.memory), middle("%.1f", plain.memory))
	calm := differences(control.memory, plain.memory)
	b.inform("control: the same against itself, MiB more", "%.1f", median(calm), middle("%.1f", calm))
	asleep := differences(linked.memory, plain.memory)
	b.inform("with the plugin in the program and not configured, MiB more", "%.1f", median(asleep), middle("%.1f", asleep))
	held := differences(guarded.memory, plain.memory)
	b.judge("with a realm and a guarded file, MiB more", "≤ 16", "%.1f", median(held), middle("%.1f", held), median(held) <= 16)
}

// reloads compares a reload of the same configuration with many sessions in the store and with few.
func (b *bench) reloads(ctx context.Context, large, few *seeded) error {
	compared, err := b.starters(kind{"reload-plain", b.caddy, nil}, kind{"reload-few", b.caddy, few}, kind{"reload-large", b.caddy, large})
	if err != nil {
		return err
	}
	took := make([][]float64, len(compared))
	for _, s := range compared {
		run, err := b.launch(ctx, s.caddy, s.name, s.config, b.serverCPU)
		if err != nil {
			return err
		}
		defer func() { _ = run.stop() }()
		if _, _, err := b.firstAnswer(ctx, run, s); err != nil {
			return err
		}
	}
	for round := -1; round < b.rounds; round++ {
		for i := range compared {
			i = (i + max(round, 0)) % len(compared)
			d, err := reload(ctx, compared[i])
			if err != nil {
				return err
			}
			if round >= 0 {
				took[i] = append(took[i], millis(d))
			}
		}
	}
	b.inform("reload of the same configuration without the plugin, ms", "%.1f", median(took[0]), middle("%.1f", took[0]))
	guarded := differences(took[1], took[0])
	b.inform(fmt.Sprintf("with a realm of %d sessions, ms more", few.n), "%.1f", median(guarded), middle("%.1f", guarded))
	added := differences(took[2], took[1])
	b.judge(fmt.Sprintf("with a realm of %d sessions, ms more than that", large.n), "≤ 5", "%.1f", median(added), middle("%.1f", added), median(added) <= 5)
	return nil
}

// reload does what `caddy reload --force` asks of a server, and waits until the new configuration serves.
func reload(ctx context.Context, s *starter) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, urlOf(s.admin, "/load"), bytes.NewReader([]byte(s.config)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	began := time.Now()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: reload: %s: %s", s.name, resp.Status, strings.TrimSpace(string(text)))
	}
	l := load{url: urlOf(s.port, "/file.html")}
	if s.cookie != "" {
		l.headers = []string{"Cookie: " + s.cookie}
	}
	_, _, _, err = check(ctx, l, http.StatusOK, func(body []byte) bool { return string(body) == fileText })
	return took, err
}
