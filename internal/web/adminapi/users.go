// users.go: accounts: all of them, one, its change and its end.

package adminapi

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

var userOperations = []Operation{
	{Method: http.MethodGet, Path: "{realm}/users", Summary: "All accounts, a JSON object a line, in order of id", Do: listUsers},
	{Method: http.MethodGet, Path: "{realm}/users/{account}", Summary: "One account", Do: showUser},
	{Method: http.MethodPatch, Path: "{realm}/users/{account}", Summary: "Changes what only an owner may change", Do: changeUser},
	{Method: http.MethodDelete, Path: "{realm}/users/{account}", Summary: "Removes an account for good", Do: deleteUser},
}

// shown is an account as an owner sees it: every field, and what stands behind
// is_active. Its password's hash is not among it.
func shown(a *account.Accounts, u *store.User) web.Object {
	var all web.Object
	for _, f := range a.Policy.Fields.All {
		all = append(all, web.NewObject(f.Name, f.Get(u))...)
	}
	return append(all, web.NewObject("email_verified", u.EmailVerified, "awaits_verification", u.AwaitsVerification)...)
}

func showUser(c *Call) (any, error) { return shown(c.Accounts, c.User), nil }

func changeUser(c *Call) (any, error) {
	change, err := readChange(http.MaxBytesReader(c.W, c.Req.Body, web.MaxBody))
	if err != nil {
		return nil, errorf(http.StatusBadRequest, `the body is {"is_active": true, "is_staff": false, "groups": ["…"]} and added fields by name, each of them optional: %v`, err)
	}
	u, err := c.Accounts.Administer(c.Context(), c.User.ID, change)
	if err != nil {
		return nil, err
	}
	return shown(c.Accounts, u), nil
}

func deleteUser(c *Call) (any, error) { return nil, c.Accounts.Delete(c.Context(), c.User.ID) }

// readChange reads the body of a PATCH. That a field exists, and that its value is
// good, is for Administer to say.
func readChange(body io.Reader) (account.AdminChange, error) {
	var change account.AdminChange
	raw, err := io.ReadAll(body)
	if err != nil {
		return change, err
	}
	if err := json.Unmarshal(raw, &change); err != nil {
		return change, err
	}
	in, err := web.DecodeJSON(raw)
	for _, name := range []string{field.IsActive, field.IsStaff, field.Groups} {
		delete(in, name)
	}
	change.Fields = in
	return change, err
}

// listBatch is how many accounts are read in one transaction, so that a list of a
// million holds back no writer's pages.
const listBatch = 500

// listUsers writes all accounts, one JSON object a line (NDJSON), in order of id.
// Who signs up or changes meanwhile may be in it or not, each as a whole. If the
// store fails on the way, the connection is cut: a short list must not look like a
// whole one.
func listUsers(c *Call) (any, error) {
	var after uuid.UUID
	for begun := false; ; begun = true {
		var batch []*store.User
		err := c.Accounts.View(c.Context(), func(tx store.Tx) (err error) {
			batch, err = tx.Users(after, listBatch)
			return err
		})
		switch {
		case err != nil && !begun:
			return nil, err
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		if !begun {
			c.W.Header().Set("Content-Type", "application/x-ndjson")
			c.W.Header().Set("Cache-Control", "no-store")
		}
		for _, u := range batch {
			line, err := json.Marshal(shown(c.Accounts, u))
			if err != nil {
				return nil, err
			}
			if _, err := c.W.Write(append(line, '\n')); err != nil {
				return Answered, nil //nolint:nilerr // the client has gone
			}
		}
		if len(batch) < listBatch {
			return Answered, nil
		}
		after = batch[len(batch)-1].ID
	}
}
