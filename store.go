// store.go: stores as Caddy modules, and the embedded one: one open file a process,
// however many realms and configurations use it.

package registration

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

func init() {
	caddy.RegisterModule(new(BoltModule))
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

	path   string
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*BoltModule) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.stores.bbolt", New: func() caddy.Module { return new(BoltModule) }}
}

// Provision finds the file's absolute path.
func (m *BoltModule) Provision(ctx caddy.Context) error {
	m.logger = ctx.Logger(m)
	var err error
	m.path, err = m.file()
	return err
}

// file is the absolute path of the file.
func (m *BoltModule) file() (string, error) {
	path := m.Path
	setDefault(&path, "{data_dir}/registration.db")
	repl := caddy.NewReplacer()
	repl.Set("data_dir", caddy.AppDataDir())
	path, err := repl.ReplaceOrErr(path, true, true)
	if err != nil {
		return "", setting.Errorf("store", "%v; set it before Caddy starts, or write the path itself", err)
	}
	return filepath.Abs(path)
}

// UnmarshalCaddyfile sets up the store:
//
//	store bbolt [<path>]
func (m *BoltModule) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		m.Path = d.Val()
	}
	if d.NextArg() || d.NextBlock(d.Nesting()) {
		return d.Errf("the store bbolt takes one path and no block; write for example: store bbolt /var/lib/caddy/registration.db")
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

type pooledBolt struct{ *bolt.File }

func (p pooledBolt) Destruct() error { return p.Close() }

// OpenStore implements StoreModule.
func (m *BoltModule) OpenStore(realm string, wait time.Duration) (store.Store, func() error, error) {
	file, _, err := boltFiles.LoadOrNew(m.path, func() (caddy.Destructor, error) {
		f, err := bolt.Open(m.path, wait)
		if err != nil {
			return nil, err
		}
		for _, warning := range f.Warnings() {
			m.logger.Warn(warning)
		}
		return pooledBolt{f}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	release := func() error {
		_, err := boltFiles.Delete(m.path)
		return err
	}
	store, err := file.(pooledBolt).Realm(realm)
	if err != nil {
		_ = release()
		return nil, nil, fmt.Errorf("%s: %w", m.path, err)
	}
	return store, release, nil
}

// Interface guards
var (
	_ StoreModule           = (*BoltModule)(nil)
	_ StoreLooker           = (*BoltModule)(nil)
	_ caddy.Provisioner     = (*BoltModule)(nil)
	_ caddyfile.Unmarshaler = (*BoltModule)(nil)
)

// A StoreModule is a guest module in http.registration.stores: it opens the
// stores of realms.
type StoreModule interface {
	// StoreKey identifies what is opened, so that it is opened once a process:
	// an absolute path, a database address. It is called after Provision.
	StoreKey() string
	// OpenStore opens the store of a realm. It waits at most wait for another
	// process to let go of it, and then returns an error that matches
	// ErrStoreLocked. release gives back what the store rests on; it is called
	// once, after the store's Close, and may be nil.
	OpenStore(realm string, wait time.Duration) (store store.Store, release func() error, err error)
}

// A StoreLooker is a StoreModule that can tell, without writing anything, why a
// store can't be opened. It is asked when a configuration is loaded, also by
// `caddy validate`. A store that isn't there yet is no reason; one that another
// process has open may be met with ErrStoreLocked, which is only told.
type StoreLooker interface {
	LookAtStore() error
}
