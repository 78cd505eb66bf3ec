// command.go: what the program takes on its command line: `caddy registration …`,
// and how that reaches the accounts: over the admin endpoint of the server that runs,
// or, where none does, in the store itself.

package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/seed-928992b0/caddy-registration/internal/command"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/web/adminapi"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

const (
	commandName = "registration"
	// hashCommand is for the server alone, which starts it.
	hashCommand = "hash-passwords"
)

// hashingVariable is the environment variable that keeps hashes in the server.
const hashingVariable = "CADDY_REGISTRATION_HASHING"

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name: commandName, Short: command.Short,
		// Called where Caddy's own command line runs, and nowhere else: a program
		// that embeds Caddy, or a test, would not know what to make of our arguments.
		CobraFunc: func(cmd *cobra.Command) {
			command.AddTo(cmd, connect, storeFile, storePlace)
			giveExitCodes(cmd)
			cmd.AddCommand(&cobra.Command{
				Use: hashCommand, Short: "Hashes passwords for the server, which starts this by itself", Hidden: true, Args: cobra.NoArgs,
				RunE: func(cmd *cobra.Command, _ []string) error {
					cmd.SilenceUsage = true
					return password.RunSecondProcess()
				},
			})
			if os.Getenv(hashingVariable) != hashingOff {
				password.UseSecondProcess(commandName, hashCommand)
			}
		},
	})
}

// giveExitCodes makes Caddy's own exit codes of those that commands ask for.
func giveExitCodes(cmd *cobra.Command) {
	for _, below := range cmd.Commands() {
		giveExitCodes(below)
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			code := command.ExitError(0)
			if !errors.As(err, &code) {
				return err
			}
			cmd.SilenceErrors = true
			return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return int(code), nil })(cmd, args)
		}
	}
}

// hashingOff is the only value that the variable has.
const hashingOff = "off"

// checkHashing refuses a value that means nothing.
func checkHashing() error {
	if v := os.Getenv(hashingVariable); v != "" && v != hashingOff {
		return setting.Errorf(hashingVariable, "the environment has the value %q, which means nothing; write off, so that passwords are hashed in the server alone, or remove it", v)
	}
	return nil
}

// connect finds the accounts that a command is about: at the server that runs, else
// in the store itself. The configuration says where both are, as for `caddy reload`.
func connect(ctx context.Context, flags *command.Flags) (command.Connection, error) {
	quiet, err := quietly()
	if err != nil {
		return nil, err
	}
	if flags.Store != "" {
		return openFile(quiet, flags)
	}
	if flags.Address != "" {
		return dialAdmin(ctx, flags.Address)
	}
	at, err := locate(flags)
	if err != nil {
		return nil, err
	}
	running, err := dialAdmin(ctx, at.address)
	switch {
	case err == nil:
		return running, nil
	case at.file == "":
		return nil, fmt.Errorf("%w, and there is no configuration here: name the server by --address, the configuration by --config, or the store by --store", err)
	}
	offline, offErr := openOffline(quiet, flags, at.file, at.handlers)
	if errors.Is(offErr, store.ErrStoreLocked) {
		return nil, fmt.Errorf("%w, and another process has the store open: name the admin endpoint of the server that runs by --address, or stop the server", err)
	}
	return offline, offErr
}

// quietly makes the context in which a command loads modules. It comes before anything
// is loaded: what Caddy logs of that is no part of the answer.
func quietly() (caddy.Context, error) {
	return caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}, Logging: quietLogging()})
}

// openFile opens the file that --store names.
func openFile(ctx caddy.Context, flags *command.Flags) (command.Connection, error) {
	if err := flags.StoreAlone(); err != nil {
		return nil, err
	}
	handler, err := json.Marshal(map[string]any{
		"realm": flags.Realm, "base_url": "http://localhost", "from": "no-reply@localhost", "mailer": map[string]string{"module": "log"},
		"store": map[string]string{"module": "bbolt", "path": flags.Store},
	})
	if err != nil {
		return nil, err
	}
	opened, err := openOffline(ctx, flags, "", []json.RawMessage{handler})
	if errors.Is(err, store.ErrStoreLocked) {
		return nil, fmt.Errorf("another process has %s open: leave --store out, so that the server that runs is asked, or stop the server", flags.Store)
	}
	return opened, err
}

// A location is where the accounts are, by the configuration. file is the
// configuration's, empty where there is none; then address is Caddy's default.
type location struct {
	address, file string
	handlers      []json.RawMessage
}

// locate reads the configuration that flags name, or the one in this folder.
func locate(flags *command.Flags) (at location, err error) {
	config, file, _, err := caddycmd.LoadConfig(flags.Config, flags.Adapter)
	if err != nil {
		return at, err
	}
	at = location{address: caddy.DefaultAdminListen, file: file}
	if file == "" {
		return at, nil
	}
	if at.address, err = caddycmd.DetermineAdminAPIAddress("", config, file, flags.Adapter); err != nil {
		return at, err
	}
	var tree any
	if err := json.Unmarshal(config, &tree); err != nil {
		return at, err
	}
	at.handlers = registrationHandlers(tree, nil)
	return at, nil
}

// storeFile finds the file of a realm's store while no server runs. It opens nothing:
// the file may be damaged.
func storeFile(ctx context.Context, flags *command.Flags) (string, error) {
	at, err := storePlace(ctx, flags)
	if err == nil && at.Database != nil {
		err = fmt.Errorf("the store of the realm %s is postgres, not a file; use the tools of its own", flags.Realm)
	}
	return at.File, err
}

// storePlace finds where a realm's store is, or will be, while no server runs, and opens nothing.
func storePlace(ctx context.Context, flags *command.Flags) (place command.Place, err error) {
	quiet, err := quietly()
	if err != nil {
		return place, err
	}
	if flags.Store != "" {
		if err := flags.StoreAlone(); err != nil {
			return place, err
		}
		place.File, err = filepath.Abs(flags.Store)
		return place, err
	}
	at, err := locate(flags)
	if err != nil {
		return place, err
	}
	setDefault(&flags.Address, at.address)
	if running, err := dialAdmin(ctx, flags.Address); err == nil {
		stop := "caddy stop"
		if flags.Address != caddy.DefaultAdminListen {
			stop += " --address " + flags.Address
		}
		return place, errors.Join(fmt.Errorf("a server runs at %s, and the store of one that runs is not replaced; stop it first, for example by `%s`", flags.Address, stop), running.Close())
	}
	if at.file == "" {
		return place, errors.New("no server runs here, and there is no configuration: name it by --config, or the store by --store")
	}
	handler, err := handlerOf(flags.Realm, at.file, at.handlers)
	if err != nil {
		return place, err
	}
	configured := struct{ Store json.RawMessage }{json.RawMessage("{}")}
	if err := json.Unmarshal(handler, &configured); err != nil {
		return place, err
	}
	named := struct{ Module string }{"bbolt"}
	if err := json.Unmarshal(configured.Store, &named); err != nil {
		return place, err
	}
	switch named.Module {
	case "postgres":
		database := new(PostgresModule)
		if err := errors.Join(json.Unmarshal(configured.Store, database), database.Provision(quiet)); err != nil {
			return place, err
		}
		place.Database = &database.options
		return place, nil
	case "bbolt":
		file := new(BoltModule)
		if err := json.Unmarshal(configured.Store, file); err != nil {
			return place, err
		}
		if place.File, err = file.file(); err != nil {
			return place, err
		}
		file.path = place.File
		return place, file.checkCaller(at.file)
	}
	return place, fmt.Errorf("the store of the realm %s is %s, not a file; use the tools of its own", flags.Realm, named.Module)
}

// handlerOf is the registration of a realm among those of a configuration.
func handlerOf(realm, file string, handlers []json.RawMessage) (json.RawMessage, error) {
	var names []string
	for _, raw := range handlers {
		var named struct{ Realm string }
		if err := json.Unmarshal(raw, &named); err != nil {
			return nil, err
		}
		if setDefault(&named.Realm, defaultRealm); named.Realm == realm {
			return raw, nil
		}
		names = append(names, named.Realm)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no registration directive", file)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%s has no registration of the realm %s; name one by --realm: %s", file, realm, strings.Join(slices.Compact(names), ", "))
}

// adminClient speaks to Caddy's admin endpoint.
type adminClient struct {
	http.Client
	address caddy.NetworkAddress
}

// dialAdmin fails where nothing listens.
func dialAdmin(ctx context.Context, address string) (command.Connection, error) {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 || !parsed.IsUnixNetwork() && !parsed.IsFdNetwork() && !strings.HasPrefix(parsed.Network, "tcp") {
		return nil, fmt.Errorf("%q is no address of an admin endpoint; write it as localhost:2019 or unix//run/caddy/admin.sock", address)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, parsed.Network, parsed.JoinHostPort(0))
	}
	conn, err := dial(ctx, "", "")
	if err != nil {
		return nil, fmt.Errorf("no server answers at %s: %w", address, err)
	}
	_ = conn.Close()
	return &adminClient{http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, parsed}, nil
}

// Do implements command.Connection. The endpoint wants its own origin.
func (c *adminClient) Do(req *http.Request) (*http.Response, error) {
	host := "127.0.0.1"
	if !c.address.IsUnixNetwork() && !c.address.IsFdNetwork() {
		host = c.address.JoinHostPort(0)
		req.Header.Set("Origin", "http://"+host)
	}
	req.URL.Host, req.Host = host, host
	return c.Client.Do(req) //nolint:gosec // to the address of the admin endpoint that the caller has named
}

// File implements command.Connection: what is written, the server writes.
func (*adminClient) File() string { return "" }

// Close implements command.Connection.
func (c *adminClient) Close() error {
	c.CloseIdleConnections()
	return nil
}

// offline is the app of a configuration that no server runs.
type offline struct {
	app    *App
	file   string // of the store, or what else it is in; empty: not known
	cancel context.CancelFunc
	give   func() error
}

// openOffline makes the realm of a configuration and opens its store, as a server
// would at its start; nothing else of the configuration is touched. file is the
// configuration's, empty where the store was named.
func openOffline(ctx caddy.Context, flags *command.Flags, file string, handlers []json.RawMessage) (command.Connection, error) {
	ctx, cancel := caddy.NewContext(ctx)
	o := &offline{cancel: cancel, give: func() error { return nil }}
	if err := o.open(ctx, flags, file, handlers); err != nil {
		cancel()
		return nil, errors.Join(err, o.give())
	}
	return o, nil
}

// quietLogging keeps the log of the store's opening off the terminal, but for errors.
func quietLogging() *caddy.Logging {
	level := caddy.CustomLog{}
	level.Level = "ERROR"
	return &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": &level}}
}

func (o *offline) open(ctx caddy.Context, flags *command.Flags, file string, handlers []json.RawMessage) error {
	raw, err := handlerOf(flags.Realm, file, handlers)
	if err != nil {
		return err
	}
	loaded, err := ctx.LoadModuleByID("http.handlers.registration", raw)
	if err != nil {
		return err
	}
	h := loaded.(*Handler)
	o.app = h.app
	at, missing, err := whereStore(ctx, h.realm.storeModule, file)
	switch {
	case err != nil:
		return err
	case missing && flags.Tries:
		folder, err := os.MkdirTemp("", "registration-") // nobody else's
		if err != nil {
			return fmt.Errorf("there is no store %s, and none can be made to try it out: %w", at, err)
		}
		h.realm.storeModule = &BoltModule{path: filepath.Join(folder, "tried.db"), logger: ctx.Logger()}
		o.give = func() error { return os.RemoveAll(folder) }
		return h.realm.open(lockWait)
	case missing && !flags.MakesStore:
		return fmt.Errorf("there is no store %s; `caddy %s create` makes it, or the first start of the server", at, commandName)
	}
	_, o.file, _ = strings.Cut(at, " ")
	if bbolt, ok := h.realm.storeModule.(*BoltModule); ok {
		o.give = command.GiveToFolder(bbolt.path)
	}
	return h.realm.open(lockWait)
}

// whereStore says where a store is, "at" or "in" a place, and whether it has still to be made.
// file is the configuration's, as for checkCaller.
func whereStore(ctx context.Context, module StoreModule, file string) (at string, missing bool, err error) {
	switch module := module.(type) {
	case *BoltModule:
		if err := module.checkCaller(file); err != nil {
			return "", false, err
		}
		_, err := os.Stat(module.path)
		return "at " + module.path, errors.Is(err, fs.ErrNotExist), nil
	case *PostgresModule:
		there, err := postgres.IsThere(ctx, module.options)
		return "in the schema " + module.options.Schema + " of the database", err == nil && !there, nil // opening it tells of an error
	}
	return "", false, nil
}

// checkCaller refuses a data folder that was not named and isn't the one of who runs
// Caddy: the folder of the caller, or of a user whose files he must not make. file is
// the configuration's, empty where the caller named the store.
func (m *BoltModule) checkCaller(file string) error {
	if file == "" || m.Path != "" && !strings.Contains(m.Path, "{data_dir}") {
		return nil
	}
	me := os.Geteuid()
	who := ""
	owner, _, known := command.OwnerOf(command.Nearest(m.path))
	_, err := os.Stat(m.path)
	switch {
	case !known: // a system without such owners
	case owner != me:
		if u, err := user.LookupId(strconv.Itoa(owner)); err == nil && (me == 0 || owner != 0) {
			who = u.Username
		}
	case errors.Is(err, fs.ErrNotExist):
		// There is no store yet, and packages of Caddy run it as this user. Who wrote
		// the configuration himself may well run it too.
		wrote, _, _ := command.OwnerOf(file)
		if u, err := user.Lookup("caddy"); err == nil && u.Uid != strconv.Itoa(me) && (me == 0 || wrote != me) {
			who = u.Username
		}
	}
	if who == "" {
		return nil
	}
	return fmt.Errorf("the store would be %s, which isn't where the Caddy of the user %s has it: run `sudo -u %[2]s caddy %s …`, or name the store by --store", m.path, who, commandName)
}

// lockWait is how long a command waits for another process to let go of the store.
// Without one bbolt waits for ever.
const lockWait = time.Second

// registrationHandlers are those of a configuration, wherever they stand in it.
func registrationHandlers(node any, found []json.RawMessage) []json.RawMessage {
	switch node := node.(type) {
	case map[string]any:
		if node["handler"] == "registration" {
			settings := map[string]any{}
			for name, value := range node {
				if name != "handler" {
					settings[name] = value
				}
			}
			if raw, err := json.Marshal(settings); err == nil {
				found = append(found, raw)
			}
		}
		for _, child := range node {
			found = registrationHandlers(child, found)
		}
	case []any:
		for _, child := range node {
			found = registrationHandlers(child, found)
		}
	}
	return found
}

// Do implements command.Connection.
func (o *offline) Do(req *http.Request) (*http.Response, error) {
	server := o.app.administration()
	server.Offline = true
	return adminapi.Pipe(server.Serve, req)
}

// File implements command.Connection.
func (o *offline) File() string { return o.file }

// Close implements command.Connection.
func (o *offline) Close() error {
	o.cancel()
	return o.give()
}
