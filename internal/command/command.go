// command.go: what the subcommands share: how they reach the accounts, and how
// they say what went wrong.

// Package command has the subcommands of `caddy registration`. They speak HTTP to
// what package adminapi serves: to the server that runs, over Caddy's admin
// endpoint, or, where none runs, to the same operations in their own process.
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
	"strings"

	"github.com/spf13/cobra"
)

// A Connection is a way to the operations. Do is http.Client's; File is the file that
// this process itself writes, empty where a server does; Close releases what it holds.
type Connection interface {
	Do(*http.Request) (*http.Response, error)
	File() string
	Close() error
}

// Flags are those that each subcommand has, as they were given.
type Flags struct {
	Address, Config, Adapter, Store, Realm string
	JSON                                   bool
}

// Connect finds the way, once for a command.
type Connect func(ctx context.Context, flags *Flags) (Connection, error)

// AddTo gives a command its subcommands.
func AddTo(parent *cobra.Command, connect Connect, storeFile StoreFile) {
	c := &common{connect: connect, storeFile: storeFile}
	f := parent.PersistentFlags()
	f.StringVar(&c.flags.Address, "address", "", "The address of Caddy's admin endpoint, if not the configuration's")
	f.StringVarP(&c.flags.Config, "config", "c", "", "The configuration file, from which the address and the store are taken")
	f.StringVarP(&c.flags.Adapter, "adapter", "a", "", "The adapter of the configuration file, if it isn't a Caddyfile")
	f.StringVar(&c.flags.Store, "store", "", "A bbolt file to open, while no server has it open")
	f.StringVar(&c.flags.Realm, "realm", "default", "The realm")
	f.BoolVar(&c.flags.JSON, "json", false, "Print JSON, an object a line")
	parent.AddCommand(
		c.list(), c.show(), c.create(), c.setPassword(), c.resetLink(), c.group(), c.signIns(), c.backup(), c.restore(),
		c.setText("email", "address", "Sets the e-mail address, which counts as confirmed, and ends all sign-ins", "%[1]s has the address %[2]s, and is signed out everywhere."),
		c.setText("username", "name", "Renames an account", "The account is called %[1]s."),
		c.many("enable", "Lets accounts sign in", "", "%s can sign in."),
		c.many("disable", "Ends all sign-ins of accounts, and lets nobody sign in to them", "Disable %d accounts?", "%s can't sign in any more."),
		c.many("sign-out", "Ends all sign-ins of accounts, links and known devices too", "", "%s is signed out everywhere."),
		c.many("delete", "Removes accounts for good", "Remove %d accounts for good?", "%s has been removed."),
	)
}

// common is what a subcommand needs.
type common struct {
	connect   Connect
	storeFile StoreFile
	flags     Flags
	conn      Connection
	wrote     bool // an act has been done
}

// run makes of fn what cobra runs: connected, and without the usage under an error
// that isn't about it.
func (c *common) run(fn func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		cmd.SilenceUsage = true
		if c.conn, err = c.connect(cmd.Context(), &c.flags); err != nil {
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
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.conn.Do(req)
	if err != nil {
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
