// example_test.go: what plugins of others can build on this one.

package registration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	registration "github.com/seed-928992b0/caddy-registration"
)

// Notes is a handler module of another plugin. Its Caddyfile puts it behind a guard:
//
//	require_login /notes/*
//	notes /notes/*
type Notes struct {
	byOwner map[string][]string
}

// CaddyModule returns the Caddy module information.
func (*Notes) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.notes", New: func() caddy.Module { return new(Notes) }}
}

// ServeHTTP shows everybody his own notes.
func (n *Notes) ServeHTTP(w http.ResponseWriter, req *http.Request, _ caddyhttp.Handler) error {
	user, ok := registration.UserFrom(req)
	if !ok { // the guard was forgotten: better nobody's notes than everybody's
		return caddyhttp.Error(http.StatusForbidden, nil)
	}
	// The id, because a name can change and be another's later.
	notes := n.byOwner[user.ID.String()]
	_, err := fmt.Fprintf(w, "%s of %v has %d notes, and is called %s\n", user.Username, user.Groups, len(notes), user.Public["first_name"])
	return err
}

func ExampleUserFrom() {
	notes := &Notes{byOwner: map[string][]string{
		"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7": {"buy milk", "call Charles"},
	}}
	req, _ := http.NewRequest(http.MethodGet, "/notes/", nil)
	fmt.Println(notes.ServeHTTP(httptest.NewRecorder(), req, nil) != nil)

	// What a guard does once somebody has signed in, and the test of this package by hand.
	w := httptest.NewRecorder()
	_ = notes.ServeHTTP(w, registration.AsAda(req), nil)
	fmt.Print(w.Body)
	// Output:
	// true
	// ada of [staff] has 2 notes, and is called Ada
}
