// store.go: stores as Caddy modules, and the embedded one: one open file a process,
// however many realms and configurations use it.

package registration

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/backup"
	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

func init() {
	caddy.RegisterModule(new(BoltModule))
	caddy.RegisterModule(new(PostgresModule))
}

// boltFiles holds the open files by absolute path, over reloads.
var boltFiles = caddy.NewUsagePool()

// BoltModule keeps accounts in one bbolt file (https://github.com/etcd-io/bbolt).
// Every acknowledged write is on disk. One process at a time has the file open.
type BoltModule struct {
	// The file; it and its folder are made where they are missing, readable by
	// Caddy's user alone. `{data_dir}` is Caddy's data folder; placeholders are
	// replaced when the configuration loads. Default:
	// `{data_dir}/registration.db`.
	Path string `json:"path,omitempty"`
	// Backups by themselves, while Caddy runs. Default: none.
	Backup *BackupSettings `json:"backup,omitempty"`

	path   string
	folder string // of the backups
	logger *zap.Logger
}

// BackupSettings say how a store is backed up by itself. Each backup is a file of its
// own, `<name of the store>-<time>.db`, as `caddy registration backup` writes it; the
// next one is due so long after the newest one in the folder.
type BackupSettings struct {
	// The folder; made, for Caddy's user alone, where it is missing. Placeholders
	// are replaced when the configuration loads. Give stores that have the same
	// file name a folder each.
	Folder string `json:"folder,omitempty"`
	// How long after a backup the next one is made, at least a minute.
	// Default: 24h.
	Every caddy.Duration `json:"every,omitempty"`
	// How many are kept. Older ones are removed once a new one is whole; other files
	// in the folder are left alone. Default: 7.
	Keep int `json:"keep,omitempty"`
}

// Defaults and bounds of the backups.
const (
	backupEvery    = 24 * time.Hour
	minBackupEvery = time.Minute
	maxBackupEvery = 366 * 24 * time.Hour
	backupKeep     = 7
	maxBackupKeep  = 10_000
)

// check says what is wrong, and of which setting.
func (s *BackupSettings) check() error {
	if s.Folder == "" {
		return setting.Errorf("store.backup.folder", "missing; write the folder behind backup, for example: backup /var/backups/registration")
	}
	if every := time.Duration(s.Every); every != 0 && (every < minBackupEvery || every > maxBackupEvery) {
		return setting.Errorf("store.backup.every", "is %v; write a time from a minute to a year, for example: every 24h", every)
	}
	if s.Keep < 0 || s.Keep > maxBackupKeep {
		return setting.Errorf("store.backup.keep", "is %d; write how many backups are kept, from 1 to %d, for example: keep 7", s.Keep, maxBackupKeep)
	}
	return nil
}

// CaddyModule returns the Caddy module information.
func (*BoltModule) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.stores.bbolt", New: func() caddy.Module { return new(BoltModule) }}
}

// Provision finds the file's absolute path.
func (m *BoltModule) Provision(ctx caddy.Context) error {
	m.logger = ctx.Logger(m)
	var err error
	if m.path, err = m.file(); err != nil || m.Backup == nil {
		return err
	}
	if err := m.Backup.check(); err != nil {
		return err
	}
	if m.folder, err = absolute("store.backup", m.Backup.Folder); err != nil {
		return err
	}
	if info, err := os.Stat(m.folder); err == nil && !info.IsDir() {
		return setting.Errorf("store.backup.folder", "%s is no folder; name another", m.folder)
	}
	return nil
}

// file is the absolute path of the file.
func (m *BoltModule) file() (string, error) {
	path := m.Path
	setDefault(&path, "{data_dir}/registration.db")
	return absolute("store", path)
}

// absolute is a path of a setting without its placeholders.
func absolute(name, path string) (string, error) {
	repl := caddy.NewReplacer()
	repl.Set("data_dir", caddy.AppDataDir())
	path, err := repl.ReplaceOrErr(path, true, true)
	if err != nil {
		return "", setting.Errorf(name, "%v; set it before Caddy starts, or write the path itself", err)
	}
	return filepath.Abs(path)
}

// UnmarshalCaddyfile sets up the store:
//
//	store bbolt [<path>] {
//		backup <folder> [every <duration>] [keep <number>]
//	}
func (m *BoltModule) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		m.Path = d.Val()
	}
	if d.NextArg() {
		return d.Errf("the store bbolt takes one path; write for example: store bbolt /var/lib/caddy/registration.db")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "backup" {
			return d.Errf("the store bbolt has no setting %q; its setting is: backup", d.Val())
		}
		if m.Backup != nil {
			return d.Errf("store: backup stands twice; keep one of them")
		}
		m.Backup = new(BackupSettings)
		if err := m.Backup.unmarshal(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *BackupSettings) unmarshal(d *caddyfile.Dispenser) error {
	const example = "write for example: backup /var/backups/registration every 24h keep 7"
	if d.NextArg() {
		s.Folder = d.Val()
	}
	seen := map[string]bool{}
	for d.NextArg() {
		name := d.Val()
		if seen[name] || !d.NextArg() {
			return d.Errf("store: backup: %s; %s", cmp.Or(map[bool]string{true: name + " stands twice"}[seen[name]], name+" has no value"), example)
		}
		seen[name] = true
		switch name {
		case "every":
			every, err := caddy.ParseDuration(d.Val())
			if err != nil || every == 0 {
				return d.Errf("store: backup: every: %q is no duration; %s", d.Val(), example)
			}
			s.Every = caddy.Duration(every)
		case "keep":
			keep, err := strconv.Atoi(d.Val())
			if err != nil || keep == 0 {
				return d.Errf("store: backup: keep: %q is no number from 1 on; %s", d.Val(), example)
			}
			s.Keep = keep
		default:
			return d.Errf("store: backup has no word %q; %s", name, example)
		}
	}
	if err := s.check(); err != nil {
		return d.Errf("%v", err)
	}
	return nil
}

// StoreKey implements StoreModule.
func (m *BoltModule) StoreKey() string { return "bbolt:" + m.path }

// LookAtStore implements StoreLooker.
func (m *BoltModule) LookAtStore() error {
	if n, open := boltFiles.References(m.path); open && n > 0 {
		return nil // by this very process
	}
	return bolt.Look(m.path)
}

// pooledBolt is an open file, and the schedules that back it up.
type pooledBolt struct {
	*bolt.File
	turn      *sync.Mutex
	schedules *sync.WaitGroup
}

// warnings are what opening the file had to say, if it is open.
func (m *BoltModule) warnings() (out []string) {
	boltFiles.Range(func(path, file any) bool {
		if open, ok := file.(pooledBolt); ok && path == m.path {
			out = open.Warnings()
		}
		return true
	})
	return out
}

func (p pooledBolt) Destruct() error {
	err := p.Close() // a backup that is being made gives up
	p.schedules.Wait()
	return err
}

func (m *BoltModule) open(wait time.Duration) (pooledBolt, error) {
	file, _, err := boltFiles.LoadOrNew(m.path, func() (caddy.Destructor, error) {
		f, err := bolt.Open(m.path, wait)
		if err != nil {
			return nil, err
		}
		for _, warning := range f.Warnings() {
			m.logger.Warn(warning)
		}
		return pooledBolt{f, new(sync.Mutex), new(sync.WaitGroup)}, nil
	})
	if err != nil {
		return pooledBolt{}, err
	}
	return file.(pooledBolt), nil
}

// OpenStore implements StoreModule.
func (m *BoltModule) OpenStore(realm string, wait time.Duration) (store.Store, func() error, error) {
	file, err := m.open(wait)
	if err != nil {
		return nil, nil, err
	}
	release := func() error {
		_, err := boltFiles.Delete(m.path)
		return err
	}
	store, err := file.Realm(realm)
	if err != nil {
		_ = release()
		return nil, nil, fmt.Errorf("%s: %w", m.path, err)
	}
	return store, release, nil
}

// WorkOnStore implements StoreWorker: it makes the backups.
func (m *BoltModule) WorkOnStore() (stop func(), err error) {
	if m.Backup == nil {
		return func() {}, nil
	}
	file, err := m.open(startWait)
	if err != nil {
		return nil, err
	}
	every, keep := time.Duration(m.Backup.Every), m.Backup.Keep
	setDefault(&every, backupEvery)
	setDefault(&keep, backupKeep)
	s := &backup.Schedule{
		Folder: backup.Folder{Path: m.folder, Name: m.backupName(), Keep: keep}, Every: every, Turn: file.turn, Now: time.Now, Log: m.logger,
		Copy: func(ctx context.Context, path string) (backup.Made, error) {
			contents, err := file.BackupTo(ctx, path)
			return backup.Made{Accounts: contents.Accounts, Size: contents.Size}, err
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	file.schedules.Go(func() { s.Run(ctx) })
	return func() {
		cancel()
		_, _ = boltFiles.Delete(m.path) // the realm has the file open still
	}, nil
}

// backupName is how the names of the backups begin.
func (m *BoltModule) backupName() string {
	return strings.TrimSuffix(filepath.Base(m.path), ".db")
}

// clashes says whether another store of a configuration would take our backups for
// its own.
func (m *BoltModule) clashes(with StoreModule) error {
	other, ok := with.(*BoltModule)
	if !ok || m.Backup == nil || other.Backup == nil || m.path == other.path || m.folder != other.folder || m.backupName() != other.backupName() {
		return nil
	}
	return setting.Errorf("store.backup.folder", "%s is the folder of the backups of %s too, and they would have the same names; name another", m.folder, other.path)
}

// Interface guards
var (
	_ StoreModule           = (*BoltModule)(nil)
	_ StoreWorker           = (*BoltModule)(nil)
	_ StoreLooker           = (*BoltModule)(nil)
	_ caddy.Provisioner     = (*BoltModule)(nil)
	_ caddyfile.Unmarshaler = (*BoltModule)(nil)

	_ StoreModule           = (*PostgresModule)(nil)
	_ StoreLooker           = (*PostgresModule)(nil)
	_ caddy.Provisioner     = (*PostgresModule)(nil)
	_ caddyfile.Unmarshaler = (*PostgresModule)(nil)
)

// postgresPools holds the open databases by their StoreKey, over reloads.
var postgresPools = caddy.NewUsagePool()

// PostgresModule keeps accounts in a PostgreSQL database (14 or newer), which several nodes
// with the same configuration use at once. Its tables are made at the first start.
type PostgresModule struct {
	// Where the database is: `postgres://user:password@host:5432/name?sslmode=verify-full`,
	// or what libpq takes. Placeholders are replaced when the configuration loads, so that a
	// password need not stand in it: `{env.DATABASE_URL}`. Behind PgBouncer in transaction
	// mode add `default_query_exec_mode=exec`. Required.
	URL string `json:"url,omitempty"`
	// The schema with the tables. Default: `registration`.
	Schema string `json:"schema,omitempty"`
	// How many connections this node has at most, 2 to 1000. Default: 16.
	Pool int `json:"pool,omitempty"`
	// Whether sessions are remembered, and forgotten within 100 ms of what another node
	// does. Off: each guarded request asks the database. Default: on.
	Cache *bool `json:"cache,omitempty"`
	// For how long known sessions are honoured while the database can't be reached, at most
	// 10m; 0: not at all. Default: 30s.
	Grace *caddy.Duration `json:"grace,omitempty"`

	options postgres.Options
}

const postgresGrace = 30 * time.Second

// CaddyModule returns the Caddy module information.
func (*PostgresModule) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.stores.postgres", New: func() caddy.Module { return new(PostgresModule) }}
}

// Provision replaces the placeholders and checks the settings.
func (m *PostgresModule) Provision(caddy.Context) error {
	url, err := caddy.NewReplacer().ReplaceOrErr(m.URL, true, true)
	if err != nil { // it names the placeholder, not the URL
		return setting.Errorf("store.url", "%v; set it before Caddy starts", err)
	}
	m.options = postgres.Options{URL: url, Schema: m.Schema, Pool: m.Pool, NoCache: m.Cache != nil && !*m.Cache, Grace: postgresGrace}
	setDefault(&m.options.Schema, postgres.DefaultSchema)
	setDefault(&m.options.Pool, postgres.DefaultPool)
	if m.Grace != nil {
		m.options.Grace = time.Duration(*m.Grace)
	}
	if err := m.options.Check(); err != nil {
		return setting.Errorf("store", "%v", err)
	}
	return nil
}

// literalPassword finds the password in a URL of a database, or in libpq's key=value form, that
// is no placeholder.
var literalPassword = pattern.Of(`^\w+://[^/?#@:]*:[^{@/?#][^@/?#]*@|(?:^|[\s?&])(?:ssl)?password\s*=\s*[^{\s]`)

// UnmarshalCaddyfile sets up the store:
//
//	store postgres <url> {
//		schema <name>
//		pool   <connections>
//		cache  on|off
//		grace  <duration>
//	}
func (m *PostgresModule) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		m.URL = d.Val()
	}
	if literalPassword().MatchString(m.URL) {
		return d.Errf("store postgres: the URL has a password, which caddy adapt would show to whoever it is shown; write {env.DATABASE_URL} and set that variable " +
			"({$DATABASE_URL} is put in too early), or keep the password in a passfile")
	}
	if d.NextArg() {
		return d.Errf("the store postgres takes one URL; write for example: store postgres {env.DATABASE_URL}")
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] {
			return d.Errf("store: %s stands twice; keep one of them", name)
		}
		if seen[name] = true; !d.NextArg() {
			return d.Errf("store: %s has no value; the settings of the store postgres are: schema, pool, cache, grace", name)
		}
		value := d.Val()
		switch name {
		case "schema":
			m.Schema = value
		case "pool":
			n, err := strconv.Atoi(value)
			if err != nil || n == 0 {
				return d.Errf("store: pool: %q is no number from 2 to 1000", value)
			}
			m.Pool = n
		case "cache":
			if value != "on" && value != "off" {
				return d.Errf("store: cache is on or off")
			}
			m.Cache = new(value == "on")
		case "grace":
			grace, err := caddy.ParseDuration(value)
			if err != nil || grace < 0 {
				return d.Errf("store: grace: %q is no duration; write for example: grace 30s", value)
			}
			m.Grace = new(caddy.Duration(grace))
		default:
			return d.Errf("the store postgres has no setting %q; its settings are: schema, pool, cache, grace", name)
		}
		if d.NextArg() {
			return d.Errf("store: %s takes one value", name)
		}
	}
	return nil
}

// StoreKey implements StoreModule. It is a hash: the URL has a password.
func (m *PostgresModule) StoreKey() string {
	o := m.options
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %v %v", o.URL, o.Schema, o.Pool, o.NoCache, o.Grace))
	return "postgres:" + hex.EncodeToString(sum[:16])
}

// LookAtStore implements StoreLooker.
func (m *PostgresModule) LookAtStore() error { return postgres.Look(context.Background(), m.options) }

type pooledPostgres struct{ *postgres.DB }

func (p pooledPostgres) Destruct() error {
	p.Close()
	return nil
}

// OpenStore implements StoreModule.
func (m *PostgresModule) OpenStore(realm string, wait time.Duration) (store.Store, func() error, error) {
	pooled, _, err := postgresPools.LoadOrNew(m.StoreKey(), func() (caddy.Destructor, error) {
		for begin := time.Now(); ; time.Sleep(time.Second / 4) {
			db, err := postgres.Open(context.Background(), m.options)
			if err == nil || !errors.Is(err, store.ErrUnreachable) || time.Since(begin) > wait {
				return pooledPostgres{db}, err
			}
		}
	})
	if err != nil {
		return nil, nil, err
	}
	release := func() error {
		_, err := postgresPools.Delete(m.StoreKey())
		return err
	}
	s, err := pooled.(pooledPostgres).Store(context.Background(), realm)
	if err != nil {
		_ = release()
		return nil, nil, err
	}
	return s, release, nil
}
