// webhooks.go: `caddy registration webhooks`.

package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"
)

// anEndpoint is what is shown of the endpoint of a webhook.
type anEndpoint struct {
	ID, URL, State, Since string
	Waiting, Refused      int
	More                  bool
	Told, Missed, Error   string
}

// waits is how much it is still to be told.
func (e *anEndpoint) waits() string {
	if e.More {
		return strconv.Itoa(e.Waiting) + " or more"
	}
	return strconv.Itoa(e.Waiting)
}

// webhookActs are the flags that do something, each with what is said then.
var webhookActs = []struct{ name, usage, now, later string }{
	{"retry", "Have it tried at once", "%s is tried at once.", "%s is tried when the server starts."},
	{"enable", "Have it told again, after it has answered 410", "%s is told again what happens from now on.", "%s is told again what happens from now on."},
	{"skip", "Have it never told what waits for it now", "%s is not told what waited; what happens from now on, it is.", "%s is not told what waited; what happens from now on, it is."},
}

func (c *common) webhooks() *cobra.Command {
	cmd := &cobra.Command{
		Use: "webhooks [<id>]", Short: "Lists the endpoints of webhooks, or has one of them tried, told again or moved on", Args: cobra.MaximumNArgs(1),
		Long: `
Lists the endpoints that are told what happens: whether each works, is failing, or
off, because it has answered that it wants no more (410); how many messages wait
for it; when it has taken one last; when it has not, and why. Of an address only the
host is shown: the rest may be a secret.

One that fails is tried by itself, later and later, and what can't be told for three
days is given up. With --retry it is tried at once, for example after it was mended.
With --skip it is never told what waits for it. The id may be left out where there is
one endpoint.
`,
		Example: "  $ caddy registration webhooks\n  $ caddy registration webhooks --retry 3f2a9c01",
	}
	chosen := make([]bool, len(webhookActs))
	var names []string
	for i, act := range webhookActs {
		cmd.Flags().BoolVar(&chosen[i], act.name, false, act.usage)
		names = append(names, act.name)
	}
	asks(cmd)
	cmd.MarkFlagsMutuallyExclusive(names...)
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		for i, act := range webhookActs {
			if !chosen[i] {
				continue
			}
			id, err := c.endpoint(cmd, args)
			if err != nil {
				return err
			}
			if act.name == "skip" {
				if err := confirm(cmd, "What waits for "+id+" is never told to it then. Go on?"); err != nil {
					return err
				}
			}
			return c.onEndpoint(cmd, id, act.name, act.now, act.later)
		}
		if len(args) > 0 {
			return errors.New("say what to do with it: --retry, --enable or --skip; without an id all are listed")
		}
		return printLines(c, cmd, c.path("webhooks"), []string{"ID", "ENDPOINT", "STATE", "SINCE", "WAITING", "REFUSED", "LAST TOLD", "LAST FAILURE", "WHY"}, func(t *table, e *anEndpoint) []string {
			return []string{e.ID, e.URL, e.State, t.time(e.Since), e.waits(), strconv.Itoa(e.Refused), t.time(e.Told), t.time(e.Missed), e.Error}
		})
	})
	return cmd
}

// endpoint is the id that was named, or that of the only one.
func (c *common) endpoint(cmd *cobra.Command, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	var ids []string
	_, err := c.eachLine(cmd.Context(), c.path("webhooks"), func(line []byte) error {
		var e anEndpoint
		if err := record(line, &e); err != nil {
			return err
		}
		ids = append(ids, e.ID)
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", errors.New("no webhook is configured")
	case len(ids) > 1:
		return "", errors.New("there are several endpoints; name one by its id: 'caddy registration webhooks' lists them")
	}
	return ids[0], nil
}

func (c *common) onEndpoint(cmd *cobra.Command, id, act, now, later string) error {
	res, err := c.ask(cmd.Context(), http.MethodPost, c.path("webhooks", id, act), nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var answer json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("the answer can't be read: %w", err)
	}
	sentence := now
	if c.conn.File() != "" {
		sentence = later
	}
	var e anEndpoint
	if err := record(answer, &e); err != nil {
		return err
	}
	return c.done(cmd, answer, sentence, printable(e.URL))
}
