// move.go: `caddy registration move`.

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

// A Place is where a realm's store is: a file of bbolt, or a database.
type Place struct {
	File     string
	Database *postgres.Options
}

// StorePlace finds the place of a realm that no server runs. Where one does, it returns an error.
type StorePlace func(ctx context.Context, flags *Flags) (Place, error)

// moved is what the command says.
type moved struct {
	Realm string         `json:"realm"`
	Rows  map[string]int `json:"rows"`
}

func (c *common) move() *cobra.Command {
	var from, schema string
	cmd := &cobra.Command{
		Use: "move --from <place>", Short: "Carries a realm from the store bbolt to PostgreSQL, or back, sign-ins and queued mail too", Args: cobra.NoArgs,
		Long: `
Carries all that a realm has, accounts, sign-ins, tokens, factors, queued mail, keys
and the record of acts, from where it was to where the configuration says that it is:
so nobody has to sign in again. Stop all servers first, write the new store into the
configuration, and name the former one: a file, or the environment variable that has
the URL of the database, so that its password stands on no command line.

The former store stays as it is. A realm that has something in it already is not
filled. If anything fails, nothing is in the new place, and the former one counts.
`,
		Example: "  $ caddy registration move --from /var/lib/caddy/registration.db --config /etc/caddy/Caddyfile\n" +
			"  $ caddy registration move --from env:DATABASE_URL --config /etc/caddy/Caddyfile",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return errors.New("--from is missing: the file of the former store, or env:NAME with the variable that has the URL of its database")
			}
			source, err := placeOf(from, schema)
			if err != nil {
				return err
			}
			target, err := c.storePlace(cmd.Context(), &c.flags)
			if err != nil {
				return err
			}
			rows, err := carry(cmd.Context(), source, target, c.flags.Realm)
			if err != nil {
				return fmt.Errorf("nothing has been moved: %w", explained(err, source, c.flags.Realm))
			}
			return c.sayMoved(cmd, moved{c.flags.Realm, rows})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "The `place` of the former store: a file, or env:NAME for the URL of a database")
	cmd.Flags().StringVar(&schema, "from-schema", postgres.DefaultSchema, "The `name` of the schema, where the former store is a database")
	return cmd
}

// placeOf reads --from.
func placeOf(from, schema string) (Place, error) {
	name, isVariable := strings.CutPrefix(from, "env:")
	if !isVariable {
		if strings.Contains(from, "://") || strings.Contains(from, "password=") { // not repeated: it may have one
			return Place{}, errors.New("--from has the URL of a database, and others see a command line; put it into an environment variable and write --from env:NAME")
		}
		return Place{File: from}, nil
	}
	o := &postgres.Options{URL: os.Getenv(name), Schema: schema, Pool: 2}
	if o.URL == "" {
		return Place{}, fmt.Errorf("the environment variable %s is empty; set it to the URL of the former database", name)
	}
	return Place{Database: o}, o.Check()
}

// explained says what to do about an error.
func explained(err error, source Place, realm string) error {
	switch {
	case errors.Is(err, store.ErrNotEmpty):
		return fmt.Errorf("the realm %s has something in it where the configuration says: %w; name another file, database or schema there (a server's first start is enough to put something in it)", realm, err)
	case errors.Is(err, store.ErrStoreLocked) && source.File != "":
		return fmt.Errorf("%w; stop the server that has it open, and run this again", err)
	case errors.Is(err, store.ErrStoreLocked):
		return fmt.Errorf("%w; stop all of them, and run this again: what they did meanwhile would be lost", err)
	}
	return err
}

// carry moves a realm and counts the rows.
func carry(ctx context.Context, source, target Place, realm string) (rows map[string]int, err error) {
	rows = map[string]int{}
	fill := func(put func(store.Row) error) error {
		count := func(row store.Row) error {
			if row.Kind != store.RowNumber {
				rows[string(row.Kind)]++
			}
			return put(row)
		}
		if source.Database == nil {
			return bolt.DumpFile(ctx, source.File, realm, count)
		}
		s, release, err := postgres.OpenToDump(ctx, *source.Database, realm)
		if err != nil {
			return err
		}
		defer release()
		return s.Dump(ctx, count)
	}
	if target.Database == nil {
		give := GiveToFolder(target.File)
		return rows, errors.Join(bolt.LoadFile(ctx, target.File, realm, fill), give())
	}
	db, err := postgres.Open(ctx, *target.Database)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	s, err := db.Store(ctx, realm)
	if err != nil {
		return nil, err
	}
	return rows, errors.Join(s.Load(ctx, fill), s.Close())
}

func (c *common) sayMoved(cmd *cobra.Command, m moved) error {
	out := cmd.OutOrStdout()
	if c.flags.JSON {
		return json.NewEncoder(out).Encode(m)
	}
	t := newTable(cmd, "WHAT", "MOVED")
	for _, kind := range store.Records {
		if err := t.row(string(kind), fmt.Sprint(m.Rows[string(kind)])); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), "The realm %s is where the configuration says now. Start the servers, and none on the former store again: it has\nthe same queued mail and sign-ins, and is as it was. Remove it when all is well.\n", m.Realm)
	return err
}
