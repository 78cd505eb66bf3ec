// command.go: the frame that the subcommands hang in: their groups, the flags that
// all of them have, and how they reach the accounts.

// Package command has the subcommands of `caddy registration`. They speak HTTP to
// what package adminapi serves: to the server that runs, over Caddy's admin
// endpoint, or, where none runs, to the same operations in their own process.
//
// A subcommand is a method of common that makes a cobra.Command, and a word in
// AddTo. It asks by ask or do, prints by table and done, and asks whoever sits at
// the terminal by confirm. docs/command-line.md is made of what it says of itself:
// go test ./internal/command -run Reference -update
package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// A Connection is a way to the operations. Do is http.Client's; File is the file, or
// the schema, that this process itself writes, empty where a server does; Close releases what it holds.
type Connection interface {
	Do(*http.Request) (*http.Response, error)
	File() string
	Close() error
}

// Flags are those that each subcommand has, as they were given.
type Flags struct {
	Address, Config, Adapter, Store, Realm string
	JSON                                   bool
	// MakesStore is no flag: the command makes something, so a store too, where none is.
	MakesStore bool
	// Tries is no flag: the command finds out what another would do, and leaves nothing
	// behind. Where no store is, it has an empty one for as long as it takes.
	Tries bool
}

// StoreAlone refuses what says, beside --store, where the accounts are.
func (f *Flags) StoreAlone() error {
	for name, value := range map[string]string{"--address": f.Address, "--config": f.Config} {
		if value != "" {
			return fmt.Errorf("--store %s and %s %s are two places; leave one of them out", f.Store, name, value)
		}
	}
	return nil
}

// Connect finds the way, once for a command.
type Connect func(ctx context.Context, flags *Flags) (Connection, error)

// An ExitError ends a command that has said all there is to say, with a code of its own.
type ExitError int

// Error implements error.
func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Short says what `caddy registration` is, in a line.
const Short = "Works with the accounts of the registration plugin"

const (
	long = `
Makes, shows and changes the accounts of a site.

It speaks to the Caddy that runs, over its admin endpoint, which is found as
'caddy reload' finds it: by --address, else by what the configuration says, which
is --config or the Caddyfile in this folder, else at localhost:2019.

Where no Caddy runs, it opens the store itself, the one of the configuration or
the file that --store names. So the first account can be made before the first
start.

On a terminal it prints tables and sentences and asks before it removes
something. In a pipe it prints plain lines, with --json a JSON object a line, and
asks nothing: write -y where it would ask.
`
	examples = `  $ caddy registration create ada ada@example.com --group admins
  $ caddy registration list --state waiting
  $ caddy registration sign-out ada
  $ caddy registration backup /var/backups/registration.db`
)

// AddTo gives a command its subcommands.
func AddTo(parent *cobra.Command, connect Connect, storeFile StoreFile, storePlace StorePlace) {
	c := &common{connect: connect, storeFile: storeFile, storePlace: storePlace}
	parent.Use, parent.Long, parent.Example = strings.TrimSpace(parent.Use), long, examples
	f := parent.PersistentFlags()
	f.StringVar(&c.flags.Address, "address", "", "The `address` of Caddy's admin endpoint, if not the configuration's")
	f.StringVarP(&c.flags.Config, "config", "c", "", "The configuration `file`, which says where the admin endpoint and the store are")
	f.StringVarP(&c.flags.Adapter, "adapter", "a", "", "The `name` of the adapter of the configuration file, if it isn't a Caddyfile")
	f.StringVar(&c.flags.Store, "store", "", "A `file` of the store bbolt, to open while no server has it open")
	f.StringVar(&c.flags.Realm, "realm", "default", "The `name` of the realm")
	f.BoolVar(&c.flags.JSON, "json", false, "Print JSON, an object a line")
	for _, name := range []string{"address", "realm", "adapter"} {
		_ = parent.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // the flag is there
	}
	parent.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; '%s --help' lists the flags", err, cmd.CommandPath())
	})
	c.add(parent, "To look:", c.list(), c.show(), c.signIns(), c.audit())
	c.add(
		parent, "To make and change accounts:", c.create(), c.setPassword(), c.resetLink(), c.resetFactors(), c.unlink(), c.setEmail(), c.setUsername(),
		c.group(), c.enable(), c.disable(), c.signOut(), c.deleteAccounts(),
	)
	c.add(parent, "Who may sign up:", c.invite(), c.invitations(), c.revokeInvitation(), c.approve(), c.refuse())
	c.add(parent, "The server and its store:", c.doctor(), c.mail(), c.webhooks(), c.imports(), c.export(), c.backup(), c.restore(), c.move(), c.templates())
	c.add(parent, "", c.help(parent))
	refuseUnknown(parent)
}

// add hangs commands below parent, under a title in its help.
func (c *common) add(parent *cobra.Command, title string, cmds ...*cobra.Command) {
	if len(cmds) > 0 && title != "" {
		parent.AddGroup(&cobra.Group{ID: title, Title: title})
	}
	for _, cmd := range cmds {
		cmd.GroupID = title
		finish(cmd)
		parent.AddCommand(cmd)
	}
}

// finish gives a command, and those below it, what all of them have.
func finish(cmd *cobra.Command) {
	cmd.SilenceUsage = true
	if cmd.HasSubCommands() {
		refuseUnknown(cmd)
		for _, below := range cmd.Commands() {
			finish(below)
		}
		return
	}
	if cmd.ValidArgsFunction == nil && !strings.Contains(cmd.Use, "<file>") {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) == nil {
				return nil
			}
			needed, say := requiredArgs(cmd.Use), "doesn't take "+english(len(args), "argument")
			if len(args) < len(needed) {
				say = "needs " + strings.Join(needed[len(args):], " and ")
			}
			return fmt.Errorf("'%s' %s; write '%s %s', or '%[1]s --help' for more", cmd.CommandPath(), say, cmd.Parent().CommandPath(), cmd.Use)
		}
	}
}

// requiredArgs are those that a usage has, without the ones in brackets.
func requiredArgs(use string) (names []string) {
	for word := range strings.FieldsSeq(use) {
		if strings.HasPrefix(word, "<") {
			names = append(names, strings.TrimSuffix(word, "…"))
		}
	}
	return names
}

// refuseUnknown makes an error of a word that is no subcommand. By itself cobra shows
// the help, and a script goes on as if something had been done.
func refuseUnknown(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance, cmd.DisableFlagsInUseLine = 2, true
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		near := ""
		if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
			near = fmt.Sprintf(" Did you mean %s?", strings.Join(names, " or "))
		}
		return fmt.Errorf("%q is no command of '%s'.%s '%[2]s --help' lists them", args[0], cmd.CommandPath(), near)
	}
}

// help says what parent or a command below it does, as `caddy help` does.
func (c *common) help(parent *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [<command>]", Short: "Says what a command does", Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(_ *cobra.Command, _ []string, beginning string) (names []string, _ cobra.ShellCompDirective) {
			for _, cmd := range parent.Commands() {
				if cmd.IsAvailableCommand() && strings.HasPrefix(cmd.Name(), beginning) {
					names = append(names, cmd.Name()+"\t"+cmd.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := parent.Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("%q is no command; '%s --help' lists them", strings.Join(args, " "), parent.CommandPath())
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// common is what a subcommand needs.
type common struct {
	connect    Connect
	storeFile  StoreFile
	storePlace StorePlace
	flags      Flags
	conn       Connection
	wrote      bool // an act has been done
}

// run makes of fn what cobra runs: connected, and with a context that ends at the
// first Ctrl-C. A second one ends the process at once.
func (c *common) run(fn func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		before := cmd.Context()
		if before == nil {
			before = context.Background()
		}
		ctx, stop := signal.NotifyContext(before, os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop)
		cmd.SetContext(ctx)
		if c.conn, err = c.connect(ctx, &c.flags); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.conn.Close()) }()
		defer func() {
			if file := c.conn.File(); c.wrote && file != "" {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Written to %s\n", file)
			}
		}()
		return fn(cmd, args)
	}
}

// making is run, for a command that makes a store where there is none.
func (c *common) making(fn func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	run := c.run(fn)
	return func(cmd *cobra.Command, args []string) error {
		c.flags.Tries, _ = cmd.Flags().GetBool("dry-run") // false where it is none of the command's flags
		c.flags.MakesStore = !c.flags.Tries
		return run(cmd, args)
	}
}

// path is the path of an operation on the realm, its parts escaped.
func (c *common) path(parts ...string) string {
	escaped := []string{"/registration", url.PathEscape(c.flags.Realm)}
	for _, part := range parts {
		escaped = append(escaped, url.PathEscape(part))
	}
	return strings.Join(escaped, "/")
}

// account is the path of an operation on one account; below is empty for the
// account itself. A login that is no part of a path is named in the query.
func (c *common) account(login, below string) string {
	path := c.path("users")
	if strings.Contains(login, "/") || strings.Trim(login, ".") == "" {
		if below != "" {
			path += "/" + below
		}
		return path + "?name=" + url.QueryEscape(login)
	}
	path += "/" + url.PathEscape(login)
	if below != "" {
		path += "/" + below
	}
	return path
}

// errInterrupted is what a command returns after Ctrl-C.
var errInterrupted = errors.New("interrupted")

// ask asks for an operation; body is sent as JSON unless it is nil. The answer's
// body is the caller's to close. A refusal is an error that has its message alone.
func (c *common) ask(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(raw)
	}
	return c.send(ctx, method, path, content, "application/json")
}

// send is ask with a body that is of another kind than JSON.
func (c *common) send(ctx context.Context, method, path string, content io.Reader, kind string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, content)
	if err != nil {
		return nil, err
	}
	if content != nil {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.conn.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		return nil, err
	}
	if res.StatusCode < http.StatusBadRequest {
		c.wrote = c.wrote || method != http.MethodGet
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	var refused struct{ Error string }
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(raw, &refused) != nil || refused.Error == "" {
		if res.StatusCode == http.StatusNotFound {
			return nil, errors.New("the server that runs has no registration plugin, or an older one: it is not the Caddy of this command; start this one, or name another by --address")
		}
		return nil, fmt.Errorf("the server answered %s: %.200q", res.Status, raw)
	}
	return nil, errors.New(refused.Error)
}
