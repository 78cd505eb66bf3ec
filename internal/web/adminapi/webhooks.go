// webhooks.go: how the endpoints of webhooks do, and what an owner does about one that fails.

package adminapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/webhook"
)

// exampleWebhook is an endpoint that fails.
var exampleWebhook = webhook.Status{
	ID: "3f2a9c01", URL: "https://app.example.com/…", State: webhook.StateFailing, Since: time.Date(2026, 11, 26, 20, 0, 0, 0, time.UTC), Waiting: 3,
	Oldest: time.Date(2026, 11, 26, 19, 59, 0, 0, time.UTC), NextTry: time.Date(2026, 11, 26, 20, 10, 0, 0, time.UTC), Told: time.Date(2026, 11, 26, 19, 0, 0, 0, time.UTC),
	Missed: time.Date(2026, 11, 26, 20, 2, 0, 0, time.UTC), Words: "it answered 500",
}

var webhookOperations = []Operation{
	{
		Method: http.MethodGet, Path: "{realm}/webhooks", Summary: "The endpoints of webhooks, a JSON object a line, as they are configured: whether each works, is failing or off (it answered 410) and since when, what it is still to be told, when it has taken something last, and when and why not",
		Answer: exampleWebhook, Do: listWebhooks,
	},
	{Method: http.MethodPost, Path: "{realm}/webhooks/{webhook}/retry", Summary: "Has an endpoint tried at once, whatever it waits for; where no server runs, it is tried when one starts", Answer: exampleWebhook, Do: onWebhook(webhook.Retry)},
	{Method: http.MethodPost, Path: "{realm}/webhooks/{webhook}/enable", Summary: "Has an endpoint told again that has said it wants no more (410), from now on", Answer: exampleWebhook, Do: onWebhook(webhook.Enable)},
	{Method: http.MethodPost, Path: "{realm}/webhooks/{webhook}/skip", Summary: "Has an endpoint never told what waits for it now; what happens from now on, it is told", Answer: exampleWebhook, Do: onWebhook(webhook.Skip)},
}

func listWebhooks(c *Call) (any, error) {
	var all []webhook.Status
	if c.Realm.Webhooks != nil {
		var err error
		if all, err = c.Realm.Webhooks.Statuses(c.Context()); err != nil {
			return nil, err
		}
	}
	c.beginLines()
	lines := json.NewEncoder(c.W)
	for _, s := range all {
		if err := lines.Encode(s); err != nil {
			return answered, nil //nolint:nilerr // the client has gone
		}
	}
	return answered, nil
}

func onWebhook(act webhook.Act) func(*Call) (any, error) {
	return func(c *Call) (any, error) {
		if c.Realm.Webhooks == nil {
			return nil, errorf(http.StatusNotFound, "%v", webhook.ErrUnknown)
		}
		s, err := c.Realm.Webhooks.Do(c.Context(), act, c.Parts["webhook"])
		switch {
		case errors.Is(err, webhook.ErrUnknown):
			return nil, errorf(http.StatusNotFound, "there is no endpoint %.100q; name it by its id", c.Parts["webhook"])
		case errors.Is(err, webhook.ErrOff):
			return nil, errorf(http.StatusConflict, "the endpoint has said that it wants no more (410), so nothing waits for it; enable it")
		case errors.Is(err, webhook.ErrWorks):
			return nil, errorf(http.StatusConflict, "the endpoint is not off; retry has it tried at once")
		case err != nil:
			return nil, err
		}
		return s, nil
	}
}
