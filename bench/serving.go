// serving.go: what the guard costs a served file, beside the same file without
// it, behind basic_auth, and behind a guard that only returns; and the profile.

package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// siteConfig has the same file on seven ports, and the profile's bytes on an
// eighth, where `/authz` has those of an answer to a server that asks. One process serves them all, so that no two differ in where their
// memory lies. `vars` stands for the cheapest handler that there can be,
// `header` for one that says of an answer no more than that it is private, as the guard does.
const siteConfig = `{
	admin off
	auto_https off
	persist_config off
}
(site) {
	root * %[1]s
	file_server
}
http://127.0.0.1:%[2]d {
	import site
}
http://127.0.0.1:%[3]d {
	import site
}
http://127.0.0.1:%[4]d {
	registration {
		store bbolt %[8]s
		base_url http://127.0.0.1:%[4]d
		from bench@example.com
		mailer file %[9]s
		throttle off
		authz on
	}
	require_login
	import site
}
http://127.0.0.1:%[5]d {
	basic_auth {
		bench %[10]s
	}
	import site
}
http://127.0.0.1:%[6]d {
	handle /authz {
		header {
			Cache-Control no-store
			%[12]s
		}
		respond 200
	}
	handle {
		respond %[11]s 200
		header Content-Type application/json
		header Cache-Control no-store
		header Vary Accept
		header X-Content-Type-Options nosniff
	}
}
http://127.0.0.1:%[7]d {
	vars bench 1
	import site
}
http://127.0.0.1:%[13]d {
	header Cache-Control "private, no-cache"
	import site
}
`

// fileText is the file, 1 KiB.
var fileText = strings.Repeat("0123456789abcde\n", 64)

func serving(ctx context.Context, b *bench) error {
	const password = "correct horse battery"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	if _, err := b.write("site/file.html", fileText); err != nil {
		return err
	}
	store := filepath.Join(b.dir, "serving.db")
	seeded, err := seed(ctx, store, small)
	if err != nil {
		return err
	}
	ports, err := freePorts(7)
	if err != nil {
		return err
	}
	at := sitePorts{plain: ports[0], control: ports[1], guarded: ports[2], basic: ports[3], profile: ports[4], floor: ports[5], header: ports[6]}
	config := fmt.Sprintf(siteConfig, filepath.Join(b.dir, "site"), at.plain, at.control, at.guarded, at.basic, at.profile, at.floor, store,
		filepath.Join(b.dir, "mail"), hash, "`"+seeded.profile(0)+"`", seeded.identity(0), at.header)
	s, err := b.start(ctx, "serving", config, at.plain, b.serverCPU)
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()

	loads, err := servingLoads(ctx, seeded, at, basicHeader("bench", password))
	if err != nil {
		return err
	}
	// The guard guards: without the cookie, nobody gets the file.
	if _, _, _, err := check(ctx, fileOf(at.guarded), http.StatusUnauthorized, func([]byte) bool { return true }); err != nil {
		return err
	}

	names := []string{"plain", "guarded", "control", "basic", "floor", "header", "profile", "respond", "authz", "headers"}
	shots := map[string][]shot{}
	for round := -1; round < b.rounds; round++ { // the first one warms up
		for i := range names {
			// Every load comes after every other one as often.
			name := names[(i+max(round, 0))%len(names)]
			if round%2 == 1 {
				name = names[(len(names)-1-i+round)%len(names)]
			}
			shot, err := b.fire(ctx, s, *loads[name], b.slice, b.clientCPU)
			if err != nil {
				return err
			}
			if round >= 0 {
				shots[name] = append(shots[name], shot)
			}
			if err := b.rest(ctx); err != nil {
				return err
			}
		}
	}
	b.servingRows(shots)
	return nil
}

// sitePorts are those of the sites that are compared.
type sitePorts struct{ plain, control, guarded, basic, profile, floor, header int }

// fileOf asks a port for the file.
func fileOf(port int, headers ...string) load {
	return load{url: urlOf(port, "/file.html"), headers: headers, connections: 64}
}

func urlOf(port int, path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", port, path) }

// servingLoads are the requests that are compared, each with the answer that it got.
func servingLoads(ctx context.Context, seeded *seeded, at sitePorts, basicAuth string) (map[string]*load, error) {
	cookie := "Cookie: registration=" + seeded.token(0)
	loads := map[string]*load{}
	for name, l := range map[string]load{
		"plain": fileOf(at.plain, cookie), "control": fileOf(at.control, cookie), "guarded": fileOf(at.guarded, cookie),
		"basic": fileOf(at.basic, basicAuth), "floor": fileOf(at.floor, cookie), "header": fileOf(at.header, cookie),
		"profile": {url: urlOf(at.guarded, "/accounts/profile"), headers: []string{cookie}, connections: 64},
		"respond": {url: urlOf(at.profile, "/"), headers: []string{cookie}, connections: 64},
		"authz":   {url: urlOf(at.guarded, "/accounts/authz/forward-auth"), headers: []string{cookie}, connections: 64},
		"headers": {url: urlOf(at.profile, "/authz"), headers: []string{cookie}, connections: 64},
	} {
		want := func(body []byte) bool { return string(body) == fileText }
		if name == "profile" || name == "respond" {
			want = func(body []byte) bool { return strings.TrimSpace(string(body)) == seeded.profile(0) }
		}
		if name == "authz" || name == "headers" {
			want = func(body []byte) bool { return len(body) == 0 }
		}
		var err error
		if l.answer, _, _, err = check(ctx, l, http.StatusOK, want); err != nil {
			return nil, err
		}
		loads[name] = &l
	}
	if asked, same := loads["authz"].answer, loads["headers"].answer; asked != same {
		return nil, fmt.Errorf("the answer to a server that asks has %d bytes, and what it is compared with %d", asked, same)
	}
	return loads, nil
}

func (b *bench) servingRows(shots map[string][]shot) {
	of := func(name string, figure func(shot) float64) (out []float64) {
		for _, s := range shots[name] {
			out = append(out, figure(s))
		}
		return out
	}
	p99 := func(s shot) float64 { return s.P99 }
	plain := of("plain", shot.rate)
	b.inform("bare Caddy, a file of 1 KiB, requests/s (one core)", "%.0f", median(plain), middle("%.0f", plain))

	same := ratios(of("control", shot.rate), plain)
	b.inform("control: unguarded against unguarded, requests/s", "%.3f", median(same), middle("%.3f", same))
	with := ratios(of("guarded", shot.rate), plain)
	b.judge("guarded file against unguarded, requests/s", fmt.Sprintf("≥ control − 0.02 = %.3f", median(same)-0.02), "%.3f",
		median(with), middle("%.3f", with), median(with) >= median(same)-0.02)

	cpu := of("plain", shot.cpuEach)
	b.inform("CPU of a request, bare Caddy, µs", "%.1f", median(cpu), middle("%.1f", cpu))
	noise := differences(of("control", shot.cpuEach), cpu)
	b.inform("control: CPU added by nothing, µs", "%.2f", median(noise), middle("%.2f", noise))
	least := differences(of("floor", shot.cpuEach), cpu)
	b.inform("floor: CPU added by a handler (`vars`) that only sets one variable, µs", "%.2f", median(least), middle("%.2f", least))
	private := differences(of("header", shot.cpuEach), cpu)
	b.inform("CPU added by `header` that only sets the guard's Cache-Control, µs", "%.2f", median(private), middle("%.2f", private))
	added := differences(of("guarded", shot.cpuEach), cpu)
	b.judge("CPU added by the guard, µs a request", "≤ 3", "%.2f", median(added), middle("%.2f", added), median(added) <= 3)

	auth := ratios(of("guarded", shot.rate), of("basic", shot.rate))
	b.judge("guarded against `basic_auth` with its hash cache, requests/s", "≥ 1.0", "%.3f", median(auth), middle("%.3f", auth), median(auth) >= 1)
	authCPU := differences(of("basic", shot.cpuEach), cpu)
	b.inform("CPU added by `basic_auth`, µs a request", "%.2f", median(authCPU), middle("%.2f", authCPU))

	calm := ratios(of("control", p99), of("plain", p99))
	b.inform("control: p99 latency, unguarded against unguarded", "%.3f", median(calm), middle("%.3f", calm))
	late := ratios(of("guarded", p99), of("plain", p99))
	b.judge("p99 latency, guarded against unguarded, 64 connections", "≤ 1.05", "%.3f", median(late), middle("%.3f", late), median(late) <= 1.05)

	asked := ratios(of("authz", shot.cpuEach), of("headers", shot.cpuEach))
	b.judge("answer to a server that asks (forward authentication) against `respond` of the same bytes, CPU", "≤ 1.3", "%.3f", median(asked), middle("%.3f", asked), median(asked) <= 1.3)

	profile := ratios(of("profile", shot.rate), of("respond", shot.rate))
	b.judge("profile GET against `respond` of the same bytes, requests/s", "≥ 0.7", "%.3f", median(profile), middle("%.3f", profile), median(profile) >= 0.7)
}
