// acts.go: what an owner does with one account beside its fields, and how he makes one.

package adminapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

type (
	createBody struct {
		Username string         `json:"username"`
		Email    string         `json:"email,omitempty"`
		Groups   []string       `json:"groups,omitempty"`
		Password string         `json:"password,omitempty"`
		Fields   map[string]any `json:"fields,omitempty"`
	}
	passwordBody struct {
		Password string `json:"password"`
	}
	unlinkBody struct {
		ID string `json:"id"`
	}
	linkBody struct {
		Mail bool `json:"mail,omitempty"`
	}
	linkAnswer struct {
		Link   string `json:"link,omitempty"`
		Mailed string `json:"mailed_to,omitempty"`
	}
	emailBody struct {
		Email string `json:"email"`
	}
	usernameBody struct {
		Username string `json:"username"`
	}
	refuseBody struct {
		Message string `json:"message,omitempty"`
	}
	groupsBody struct {
		Add    []string `json:"add,omitempty"`
		Remove []string `json:"remove,omitempty"`
	}
)

var actOperations = []Operation{
	{
		Method: http.MethodPost, Path: "{realm}/users", Summary: "Makes an account, active at once; without a password nobody signs in until one is set",
		Body: createBody{Username: "ada", Email: "ada@example.com", Groups: []string{"members"}}, Do: createUser,
	},
	{Method: http.MethodGet, Path: "{realm}/users/{account}/sessions", Summary: "The sign-ins of an account, a JSON object a line", Do: listSignIns},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/set-password", Summary: "Sets a password and ends all sign-ins",
		Body: passwordBody{"…"}, Do: act(func(c *Call, body passwordBody) (*store.User, error) {
			return c.Accounts.SetPassword(c.Context(), c.User.ID, body.Password, c.client())
		}),
	},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/set-email", Summary: "Sets the e-mail address, which counts as confirmed, and ends all sign-ins",
		Body: emailBody{"ada@example.com"}, Do: act(func(c *Call, body emailBody) (*store.User, error) {
			return c.Accounts.SetEmail(c.Context(), c.User.ID, body.Email, c.client())
		}),
	},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/set-username", Summary: "Renames an account",
		Body: usernameBody{"ada"}, Do: act(func(c *Call, body usernameBody) (*store.User, error) {
			return c.Accounts.SetUsername(c.Context(), c.User.ID, body.Username, c.client())
		}),
	},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/groups", Summary: "Adds to groups and takes out of groups",
		Body: groupsBody{Add: []string{"members"}}, Do: act(func(c *Call, body groupsBody) (*store.User, error) {
			return c.Accounts.SetGroups(c.Context(), c.User.ID, body.Add, body.Remove)
		}),
	},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/reset-link", Summary: "Makes a link by which the person sets a new password, once; with mail it is mailed and not told",
		Body: linkBody{Mail: true}, Answer: linkAnswer{Link: "https://example.com/accounts/reset-password/?…"}, Do: resetLink,
	},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/approve", Summary: "Lets an account in that waits for that, and mails it where to sign in (mailed: whether somebody delivers that mail); 409 if it doesn't wait", Do: approve,
	},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/refuse", Summary: "Removes an account that waits to be approved, and mails that, with a message if there is one (mailed: whether somebody delivers that mail); 409 if it doesn't wait",
		Body: refuseBody{"…"}, Answer: web.NewObject("username", "ada", "mailed", true), Do: refuse,
	},
	{Method: http.MethodPost, Path: "{realm}/users/{account}/enable", Summary: "Lets an account sign in", Do: setActive(true)},
	{Method: http.MethodPost, Path: "{realm}/users/{account}/disable", Summary: "Ends all sign-ins and lets nobody sign in", Do: setActive(false)},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/reset-factors", Summary: "Removes all factors and recovery codes of an account, ends all its sign-ins, and mails its owner (mailed: whether somebody delivers that mail)",
		Answer: web.NewObject("username", "ada", "mailed", true), Do: resetFactors,
	},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/unlink", Summary: "Unlinks one of its linked_accounts, ends all its sign-ins, and mails its owner a link that brings it back (mailed: whether somebody delivers that mail)",
		Body: unlinkBody{web.ExampleID}, Answer: web.NewObject("username", "ada", "mailed", true), Do: unlink,
	},
	{
		Method: http.MethodPost, Path: "{realm}/users/{account}/sign-out", Summary: "Ends all sign-ins, links and known devices",
		Do: func(c *Call) (any, error) {
			u, err := c.Accounts.EndSignIns(c.Context(), c.User.ID)
			return c.shown(u, err)
		},
	},
}

// act makes an operation of what is done with its body.
func act[B any](do func(*Call, B) (*store.User, error)) func(*Call) (any, error) {
	return func(c *Call) (any, error) {
		var body B
		if err := c.read(&body); err != nil {
			return nil, err
		}
		u, err := do(c, body)
		return c.shown(u, err)
	}
}

func setActive(active bool) func(*Call) (any, error) {
	return func(c *Call) (any, error) {
		u, err := c.Accounts.Administer(c.Context(), c.User.ID, account.AdminChange{IsActive: &active})
		return c.shown(u, err)
	}
}

func approve(c *Call) (any, error) {
	u, mailed, err := c.Accounts.Approve(c.Context(), c.User.ID)
	if err != nil {
		return nil, c.notWaiting(err)
	}
	return append(shown(c.Accounts, u), web.NewObject("mailed", mailed)...), nil
}

func refuse(c *Call) (any, error) {
	var body refuseBody
	if c.Req.ContentLength != 0 {
		if err := c.read(&body); err != nil {
			return nil, err
		}
	}
	mailed, err := c.Accounts.Refuse(c.Context(), c.User.ID, body.Message)
	if err != nil {
		return nil, c.notWaiting(err)
	}
	return web.NewObject("id", c.User.ID, "username", c.User.Username, "email", c.User.Email, "mailed", mailed), nil
}

// notWaiting says more of a refusal of an account that doesn't wait for approval.
func (c *Call) notWaiting(err error) error {
	refused := web.AsRefusal(err)
	if refused.Code != refusal.CodeNotWaiting {
		return err
	}
	why := map[string]string{
		account.StateActive: "it is active already", account.StateDisabled: "it is disabled; enable lets it in",
		account.StateClosing:     "its owner has closed it; enable keeps it",
		account.StateUnconfirmed: "nobody has confirmed its e-mail address yet; enable lets it in as it is, delete removes it",
	}[account.StateOf(c.User)]
	return errorf(web.StatusOf(refused.Code), "%s: the account doesn't wait for approval: %s", refused.Code, cmp.Or(why, "somebody else was faster"))
}

func createUser(c *Call) (any, error) {
	var body createBody
	if err := c.read(&body); err != nil {
		return nil, err
	}
	wanted := account.NewAccount{Username: body.Username, Email: body.Email, Groups: body.Groups, Password: body.Password, Fields: field.Input{}}
	for name, v := range body.Fields {
		wanted.Fields[name] = field.JSONValue(v)
	}
	u, err := c.Accounts.Create(c.Context(), wanted)
	return c.shown(u, err)
}

func resetLink(c *Call) (any, error) {
	var body linkBody
	if c.Req.ContentLength != 0 {
		if err := c.read(&body); err != nil {
			return nil, err
		}
	}
	var answer linkAnswer
	var err error
	if body.Mail {
		answer.Mailed, err = c.User.Email, c.Accounts.MailResetLink(c.Context(), c.User)
	} else {
		answer.Link, err = c.Accounts.ResetLink(c.Context(), c.User)
	}
	if refused := (*refusal.Error)(nil); err != nil && !errors.As(err, &refused) {
		return nil, errorf(http.StatusConflict, "%v", err)
	}
	return answer, err
}

// client is where an owner's act comes from, as far as the mails that it causes need
// it: they are in the realm's first language.
func (c *Call) client() account.Client { return account.Client{} }

func (c *Call) shown(u *store.User, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return shown(c.Accounts, u), nil
}

// read decodes the body of an operation. A member that it doesn't know is refused.
func (c *Call) read(body any) error {
	raw, err := io.ReadAll(http.MaxBytesReader(c.W, c.Req.Body, web.MaxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return errorf(http.StatusRequestEntityTooLarge, "the body is longer than %d bytes", tooLarge.Limit)
	}
	if err == nil && !web.WholeCharacters(raw) {
		err = errors.New("it is not UTF-8, or has half a character") // of which many passwords would be one
	}
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		dec.UseNumber()
		if err = dec.Decode(body); err == nil && dec.More() {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		example, _ := json.Marshal(c.Operation.Body) // never what was sent: it may have a password
		return errorf(http.StatusBadRequest, "the body can't be read, it is an object like %s: %v", example, err)
	}
	return nil
}

func listSignIns(c *Call) (any, error) {
	list, err := c.Accounts.SignInsOf(c.Context(), c.User)
	if err != nil {
		return nil, err
	}
	c.beginLines()
	enc := json.NewEncoder(c.W)
	for _, s := range list {
		kind := map[store.SessionKind]string{store.KindSession: "session", store.KindToken: "token", store.KindRefresh: "refresh"}[s.Kind]
		if err := enc.Encode(web.NewObject("id", s.Hash.PublicID(), "kind", kind, "created", s.Created, "last_used", s.LastUsed, "expires", s.Expires, "address", s.Address, "user_agent", s.UserAgent)); err != nil {
			return answered, nil //nolint:nilerr // the client has gone
		}
	}
	return answered, nil
}

func resetFactors(c *Call) (any, error) {
	u, err := c.Accounts.ResetFactors(c.Context(), c.User.ID, c.client())
	if err != nil {
		return nil, err
	}
	return append(shown(c.Accounts, u), web.NewObject("mailed", c.Accounts.TellsOfFactors(u))...), nil
}

func unlink(c *Call) (any, error) {
	var body unlinkBody
	if err := c.read(&body); err != nil {
		return nil, err
	}
	id, ok := store.ParseID(body.ID)
	if !ok {
		return nil, errorf(http.StatusBadRequest, "id is %q; write that of one of the account's linked_accounts", body.ID)
	}
	u, err := c.Accounts.UnlinkFor(c.Context(), c.User.ID, id, c.client())
	if err != nil {
		return nil, err
	}
	return append(shown(c.Accounts, u), web.NewObject("mailed", c.Accounts.TellsOfFactors(u))...), nil
}
