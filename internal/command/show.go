// show.go: `caddy registration show`: all that is known of one account.

package command

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// shownActs is how many rows of the record show has.
const shownActs = 10

func (c *common) show() *cobra.Command {
	return &cobra.Command{
		Use: "show <account>", Short: "Shows one account, its sign-ins and what was done last", Args: cobra.ExactArgs(1),
		Long: `
Shows one account, by its username, its e-mail address or its id: its fields, the
accounts elsewhere that it is linked to, its sign-ins and the last rows of the record
of acts. In a pipe the linked accounts are lines that begin with "linked", the
sign-ins such with "session", the acts such with "act". With --json it prints the
account alone; 'sessions' and 'audit' have the rest.
`,
		Example: "  $ caddy registration show ada\n  $ caddy registration show ada@example.com --json",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			res, err := c.ask(cmd.Context(), http.MethodGet, c.account(args[0], ""), nil)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			raw, err := io.ReadAll(io.LimitReader(res.Body, maxRecord))
			if err != nil {
				return err
			}
			if c.flags.JSON {
				_, err = cmd.OutOrStdout().Write(append(bytes.TrimSpace(raw), '\n'))
				return err
			}
			var u accountRecord
			if err := record(raw, &u); err != nil {
				return err
			}
			return c.showAll(cmd, raw, &u)
		}),
	}
}

func (c *common) showAll(cmd *cobra.Command, raw []byte, u *accountRecord) error {
	fields := newTable(cmd)
	for _, row := range slices.Concat([][]string{{"state", u.state()}}, fields.members(raw)) {
		if err := fields.row(row...); err != nil {
			return err
		}
	}
	if err := fields.flush(); err != nil {
		return err
	}
	if err := showLinked(cmd, u.Linked); err != nil {
		return err
	}
	err := section(c, cmd, "session", "\nSign-ins:\n", c.account(u.ID, "sessions"), signInTitles, signInCells)
	if err != nil {
		return err
	}
	acts := c.path("audit") + "?" + url.Values{"account": {u.ID}, "limit": {fmt.Sprint(shownActs)}}.Encode()
	return section(c, cmd, "act", "\nLast acts:\n", acts, []string{"TIME", "EVENT", "BY", "ADDRESS", ""}, func(t *table, a *act) []string {
		by := a.Actor
		if by == u.ID {
			by = "" // the person himself
		}
		return []string{t.time(a.At), a.Event, by, a.Address, a.details()}
	})
}

// linked is an account elsewhere.
type linked struct {
	ID, Provider, Issuer, Name, Created string
	LastUsed                            string `json:"last_used"`
}

// showLinked prints the accounts elsewhere that an account is linked to, as section does.
func showLinked(cmd *cobra.Command, list []linked) error {
	if len(list) == 0 {
		return nil
	}
	t := newTable(cmd, "PROVIDER", "NAME", "LINKED", "LAST USED", "ID")
	if t.columns {
		_, _ = t.out.WriteString("\nLinked accounts:\n") // the error comes again at the next word
	}
	for _, l := range list {
		row := []string{cmp.Or(l.Provider, l.Issuer), l.Name, t.time(l.Created), t.time(l.LastUsed), l.ID}
		if !t.columns {
			row = slices.Insert(row, 0, "linked")
		}
		if err := t.row(row...); err != nil {
			return err
		}
	}
	return t.flush()
}

// section prints the records of another operation: below a title on a terminal, each
// behind a word in a pipe. Of nothing it prints nothing.
func section[T any](c *common, cmd *cobra.Command, word, title, path string, titles []string, cells func(*table, *T) []string) error {
	t, rows := newTable(cmd, titles...), 0
	_, err := c.eachLine(cmd.Context(), path, func(line []byte) error {
		r := new(T)
		if err := record(line, r); err != nil {
			return err
		}
		if rows++; rows == 1 && t.columns {
			_, _ = t.out.WriteString(title) // the error comes again at the next word
		}
		row := cells(t, r)
		if !t.columns {
			row = slices.Insert(row, 0, word)
		}
		return t.row(row...)
	})
	if err != nil || rows == 0 {
		return err
	}
	return t.flush()
}

// act is a row of the record of acts.
type act struct {
	At, Event, Actor, Address string
	Details                   map[string]string
}

func (a *act) details() string {
	var all []string
	for name, value := range a.Details {
		all = append(all, name+"="+value)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// members are those of an account, in their order, for people: without what the state
// says already, what has lines of its own and what is empty.
func (t *table) members(raw []byte) (rows [][]string) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	_, _ = dec.Token() // the brace; all of it has been read as an object before
	for dec.More() {
		name, _ := dec.Token()
		var value any
		if dec.Decode(&value) != nil {
			return rows
		}
		key := fmt.Sprint(name)
		if terms, ok := value.(map[string]any); ok && key == "terms" {
			value = fmt.Sprintf("%s, accepted %s", t.value(terms["version"]), t.value(terms["accepted"]))
		}
		if text := t.value(value); text != "" && !slices.Contains([]string{"is_active", "awaits_verification", "awaits_approval", "linked_accounts"}, key) {
			rows = append(rows, []string{key, text})
		}
	}
	return rows
}

// value is a member's value in words; empty where it says nothing.
func (t *table) value(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case string:
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return t.time(v)
		}
		return v
	case []any:
		var parts []string
		for _, one := range v {
			parts = append(parts, t.value(one))
		}
		return strings.Join(parts, " ")
	case map[string]any:
		var parts []string
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(v))) { // since when, then what the server says
			if text := t.value(v[name]); text != "" {
				parts = append(parts, name+" "+text)
			}
		}
		return strings.Join(parts, ", ")
	}
	raw, _ := json.Marshal(v) // came out of JSON
	return string(raw)
}
