// invitations.go: who may sign up by an invitation: all of them, a new one, its end.

package adminapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

type inviteBody struct {
	Email   string   `json:"email,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	Uses    int      `json:"uses,omitempty"`
	Expires string   `json:"expires,omitempty"`
	Note    string   `json:"note,omitempty"`
	Mail    bool     `json:"mail,omitempty"`
}

var invitationOperations = []Operation{
	{Method: http.MethodGet, Path: "{realm}/invitations", Summary: "Invitations whose time is not over, a JSON object a line, the oldest first", Do: listInvitations},
	{
		Method: http.MethodPost, Path: "{realm}/invitations", Summary: "Makes an invitation; its link is told this once. One that names an address confirms it. mail sends it there, too. Without more it is for anybody, once, within 7 days",
		Body: inviteBody{Email: "ada@example.com", Groups: []string{"members"}, Uses: 1, Expires: "7d", Note: "the new one", Mail: true}, Do: invite,
	},
	{
		Method: http.MethodDelete, Path: "{realm}/invitations/{invitation}", Summary: "Ends an invitation",
		Do: func(c *Call) (any, error) {
			id, ok := store.ParseID(c.Parts["invitation"])
			if !ok {
				return nil, errorf(http.StatusNotFound, "there is no such invitation; name it by its id")
			}
			err := c.Accounts.RevokeInvitation(c.Context(), id)
			if refused := (*refusal.Error)(nil); errors.As(err, &refused) && refused.Code == refusal.CodeInvitationInvalid {
				return nil, errorf(http.StatusNotFound, "there is no such invitation")
			}
			return nil, err
		},
	},
}

// shownInvitation is an invitation as an owner sees it. Its link can't be told again.
func shownInvitation(i *store.Invitation) web.Object {
	groups := i.Groups
	if groups == nil {
		groups = []string{}
	}
	return web.NewObject("id", i.ID, "email", i.Email, "groups", groups, "uses", i.Uses, "used", i.Used, "created", i.Created, "expires", i.Expires, "note", i.Note)
}

func invite(c *Call) (any, error) {
	var body inviteBody
	if err := c.read(&body); err != nil {
		return nil, err
	}
	lifetime, err := lifetimeOf(body.Expires)
	if err != nil {
		return nil, err
	}
	i, link, err := c.Accounts.Invite(c.Context(), account.NewInvitation{Email: body.Email, Groups: body.Groups, Uses: body.Uses, Lifetime: lifetime, Note: body.Note, Mail: body.Mail})
	if errors.Is(err, account.ErrNoLink) || errors.Is(err, account.ErrUnconfirmable) || errors.Is(err, account.ErrNoMailer) {
		return nil, errorf(http.StatusConflict, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	return append(shownInvitation(i), web.NewObject("link", link, "mailed", body.Mail)...), nil
}

// parseDuration reads a duration; besides Go's units it knows days. More than a
// hundred years are a hundred years.
func parseDuration(text string) (time.Duration, error) {
	const longest = 36500
	days, ok := strings.CutSuffix(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.Atoi(days)
	return time.Duration(max(-longest, min(n, longest))) * 24 * time.Hour, err
}

// lifetimeOf reads for how long an invitation is to be good.
func lifetimeOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := parseDuration(text)
	if err != nil || d < time.Second || d > account.MaxInvitationLifetime {
		return 0, errorf(http.StatusBadRequest, "expires is %q; write how long the invitation is good, as 7d or 12h, at most 366d", text)
	}
	return d, nil
}

func listInvitations(c *Call) (any, error) {
	for after, begun := (uuid.UUID{}), false; ; begun = true {
		list, err := c.Accounts.Invitations(c.Context(), after, listBatch)
		switch {
		case err != nil && !begun:
			return nil, err
		case err != nil:
			panic(http.ErrAbortHandler) // a short list must not look like a whole one
		}
		if !begun {
			c.beginLines()
		}
		for _, i := range list {
			if after = i.ID; !c.Realm.Now().Before(i.Expires) {
				continue
			}
			line, err := json.Marshal(shownInvitation(i))
			if err != nil {
				return nil, err
			}
			if _, err := c.W.Write(append(line, '\n')); err != nil {
				return answered, nil //nolint:nilerr // the client has gone
			}
		}
		if len(list) < listBatch {
			return answered, nil
		}
	}
}
