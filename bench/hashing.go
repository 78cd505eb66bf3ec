// hashing.go: sign-ins and registrations on all cores against nothing but the
// hash, computed on all cores by the library that the plugin uses.

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// bareHashes computes hashes on all cores and prints how many a second.
func bareHashes(d time.Duration) error {
	var done atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			salt := make([]byte, 16)
			for time.Since(began) < d {
				argon2.IDKey([]byte(userPass), salt, argonPasses, argonMemory, argonLanes, 32)
				done.Add(1)
			}
		})
	}
	all.Wait()
	_, err := fmt.Println(float64(done.Load()) / time.Since(began).Seconds())
	return err
}

// bareRate runs bareHashes in a process of its own, as the server has one.
func (b *bench) bareRate(ctx context.Context, d time.Duration) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	words := append(b.pinned(""), self, "-bare", d.String())
	out, err := exec.CommandContext(ctx, words[0], words[1:]...).Output() //nolint:gosec // ourselves
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(bytes.TrimSpace(out)), 64)
}

// accountsConfig is a site with accounts, a guarded file, and mail into a folder,
// which is in memory: the mail server is none of what is measured, and a new file
// takes some disks a millisecond of the CPU.
const accountsConfig = `{
	admin off
	auto_https off
	persist_config off
}
http://127.0.0.1:%[1]d {
	registration {
		store bbolt %[2]s
		base_url http://127.0.0.1:%[1]d
		from bench@example.com
		mailer file %[3]s
		throttle off
	}
	require_login
	root * %[4]s
	file_server
}
`

// startAccounts starts a server on a seeded store.
func (b *bench) startAccounts(ctx context.Context, name, store, cpus string) (*server, string, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, "", err
	}
	site, err := b.write("site/file.html", fileText)
	if err != nil {
		return nil, "", err
	}
	mail, err := inMemory(b.dir, "bench-mail-")
	if err != nil {
		return nil, "", err
	}
	b.mails = append(b.mails, mail)
	config := fmt.Sprintf(accountsConfig, ports[0], store, mail, filepath.Dir(site))
	s, err := b.start(ctx, name, config, ports[0], cpus)
	return s, fmt.Sprintf("http://127.0.0.1:%d", ports[0]), err
}

const postScript = `
local users, tag, n = 1, "", 0
local headers = {["Content-Type"] = "application/json"}
function init(args)
  users, tag = tonumber(args[1]), args[2]
  math.randomseed(os.time())
end
`

// signIns sends sign-ins of random users of a store.
func signIns(base string, users, connections int) load {
	return load{url: base + "/accounts/login", connections: connections, args: []string{strconv.Itoa(users), "-"}, script: postScript + `
function request()
  local name = string.format("user%07d", math.random(0, users - 1) * 4871233 % 10000000)
  return wrk.format("POST", nil, headers, '{"login":"' .. name .. '","password":"` + userPass + `"}')
end
`}
}

var tags atomic.Int64

// registrations sends sign-ups of new names.
func registrations(base string, connections int) load {
	tag := fmt.Sprintf("r%dx", tags.Add(1))
	return load{url: base + "/accounts/register", connections: connections, args: []string{"1", tag}, script: postScript + `
function request()
  n = n + 1
  local name = tag .. n
  return wrk.format("POST", nil, headers, '{"username":"' .. name .. '","email":"' .. name .. '@example.net",' ..
    '"first_name":"Grace","last_name":"Hopper","password":"` + userPass + `","password_confirm":"` + userPass + `"}')
end
`}
}

func hashing(ctx context.Context, b *bench) error {
	store, err := seed(ctx, filepath.Join(b.dir, "hashing.db"), small)
	if err != nil {
		return err
	}
	s, base, err := b.startAccounts(ctx, "hashing", store.path, "")
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	const slice, connections = 3 * time.Second, 16
	var bare, in, up []float64
	for round := -1; round < max(b.rounds/3, 4); round++ {
		rate, err := b.bareRate(ctx, slice)
		if err != nil {
			return err
		}
		if err := b.rest(ctx); err != nil {
			return err
		}
		signed, err := b.fire(ctx, s, signIns(base, small, connections), slice, "")
		if err != nil {
			return err
		}
		if err := b.rest(ctx); err != nil {
			return err
		}
		registered, err := b.fire(ctx, s, registrations(base, connections), slice, "")
		if err != nil {
			return err
		}
		if err := b.rest(ctx); err != nil {
			return err
		}
		if round >= 0 {
			bare, in, up = append(bare, rate), append(in, signed.rate()), append(up, registered.rate())
		}
	}
	b.inform("bare Argon2id (19 MiB, 2 passes) on all cores, hashes/s", "%.1f", median(bare), middle("%.1f", bare))
	signIn, signUp := ratios(in, bare), ratios(up, bare)
	b.judge("sign-ins/s against the bare rate", "≥ 0.95", "%.3f", median(signIn), middle("%.3f", signIn), median(signIn) >= 0.95)
	b.judge("registrations/s against the bare rate", "≥ 0.90", "%.3f", median(signUp), middle("%.3f", signUp), median(signUp) >= 0.90)
	return nil
}
