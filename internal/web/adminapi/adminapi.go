// adminapi.go: the HTTP interface of an owner: the table of its operations, how a
// request finds one, and how a refusal is said.

// Package adminapi is what Caddy's admin endpoint answers below /registration/: the
// acts of the owner of a site, as JSON. The command line speaks to it too, over
// that endpoint, or in its own process where no server runs.
//
// An operation is one value of the table that Operations returns: its method and
// path, what it takes and what it does. /registration/openapi.json is made of them.
package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/doctor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Prefix is what the paths of all operations begin with.
const Prefix = "/registration/"

// A Realm is what the operations on one realm rest on.
type Realm struct {
	*web.Realm
	// Ended is closed when the realm's configuration stops: what would go on for ever
	// ends with it. Nil: never.
	Ended <-chan struct{}
	// Post is what mail goes out by.
	Post *Post
	// Webhooks are the endpoints that are told what happens.
	Webhooks *webhook.Sender
	// Folder is where temporary files stand; empty: where the system has them.
	Folder string
	// Facts are what the doctor judges.
	Facts func(context.Context) (*doctor.Facts, error)
}

// A Server answers requests. Its fields are set before it serves; it is safe for
// concurrent use.
type Server struct {
	// Realm returns the realm of a name, nil if there is none.
	Realm func(name string) *Realm
	// Names returns the names of all realms, sorted.
	Names func() []string
	// Offline says that no server runs: the store is open in a command's own process.
	Offline bool
}

// An Error is an answer that isn't the act's success. Message is for who asked.
type Error struct {
	Status  int
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

func errorf(status int, format string, args ...any) error {
	return &Error{status, fmt.Sprintf(format, args...)}
}

// An Operation is one thing that an owner can ask for.
type Operation struct {
	Method string
	// Path is below Prefix; {realm} and {account} stand for one part each.
	Path    string
	Summary string
	// Query are the parameters that it knows; another one is refused.
	Query []Parameter
	// Body and Answer are examples of what goes in and comes out; nil: nothing.
	Body, Answer any
	// Do answers: with what it returns as JSON, with 204 where that is nil, or by
	// itself, and then it returns answered.
	Do func(*Call) (any, error)
}

// A Parameter is one of the query.
type Parameter struct{ Name, Description string }

// answered says that an operation has written its answer.
var answered any = new(int)

// A Call is one request for an operation.
type Call struct {
	Operation *Operation
	W         http.ResponseWriter
	Req       *http.Request
	Query     url.Values
	// Parts are those of the path, by their names.
	Parts map[string]string
	// Realm and Accounts are nil where the path names no realm, User where it names
	// no account.
	Server   *Server
	Realm    *Realm
	Accounts *account.Accounts
	User     *store.User
}

// Context is the request's.
func (c *Call) Context() context.Context { return c.Req.Context() }

// Serve answers one request. What it returns is the answer that it hasn't written:
// an *Error.
func (s *Server) Serve(w http.ResponseWriter, req *http.Request) error {
	op, parts, err := find(req)
	if err != nil {
		allowed := (*notAllowedError)(nil)
		if errors.As(err, &allowed) {
			w.Header().Set("Allow", strings.Join(allowed.methods, ", "))
			return errorf(http.StatusMethodNotAllowed, "%s", allowed.Error())
		}
		return err
	}
	req = req.WithContext(audit.WithCaller(req.Context(), audit.Caller{Actor: audit.ActorAdmin}))
	c := &Call{Operation: op, Server: s, W: w, Req: req, Parts: parts}
	who, err := c.readQuery(op, parts)
	if err != nil {
		return err
	}
	if name, ok := parts["realm"]; ok {
		c.Realm = s.Realm(name)
		if c.Realm == nil || c.Realm.Accounts.Load() == nil {
			return errorf(http.StatusNotFound, "there is no realm %s; there is: %s", name, strings.Join(s.Names(), ", "))
		}
		c.Accounts = c.Realm.Accounts.Load()
	}
	var answer any
	if strings.Contains(op.Path, "{account}") {
		if c.User, err = who.find(req.Context(), c.Accounts); err != nil && web.AsRefusal(err).Code == refusal.CodeUserNotFound {
			err = noAccount(who.String())
		}
	}
	if err == nil {
		answer, err = op.Do(c)
	}
	switch {
	case err != nil:
		return asError(err)
	case answer == answered:
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		web.WriteJSON(w, http.StatusOK, "application/json", answer)
	}
	return nil
}

// noAccount refuses a login or an id that nobody has.
func noAccount(named string) error {
	return errorf(http.StatusNotFound, "there is no account %s (%s)", named, refusal.CodeUserNotFound)
}

// asError says a refusal to the owner: with codes, and with rules that he may not know.
func asError(err error) error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return known
	}
	if ambiguous := (*account.AmbiguousError)(nil); errors.As(err, &ambiguous) {
		return errorf(http.StatusConflict, "%s", ambiguous.Error())
	}
	refused := web.AsRefusal(err)
	message := inEnglish(refused)
	if slices.ContainsFunc(refused.Fields, func(e refusal.FieldError) bool { return e.Field == field.Groups }) {
		message += fmt.Sprintf("; the name of a group is %s, and an account has at most %d", identity.GroupRule, account.MaxGroups)
	}
	status := web.StatusOf(refused.Code)
	if refused.Code == refusal.CodeUserNotFound { // the path names it
		status = http.StatusNotFound
	}
	return errorf(status, "%s", message)
}

// english are the shipped messages, as sites have them that have none of their own.
var english = sync.OnceValue(func() *text.Locale {
	l, err := text.NewLanguages("", text.DefaultLanguage)
	if err != nil {
		panic(err) // it is shipped
	}
	return l.Named(text.DefaultLanguage)
})

// inEnglish says a refusal in words, each with its code, by which a program knows it.
// What an owner alone may know, the cause, stands in the place of the words.
func inEnglish(refused *refusal.Error) string {
	if len(refused.Fields) > 0 {
		parts := make([]string, len(refused.Fields))
		for i, f := range refused.Fields {
			parts[i] = fmt.Sprintf("%s: %s (%s)", f.Field, english().Text(f.Phrase()), f.Code)
		}
		return strings.Join(parts, "; ")
	}
	if refused.Cause != nil {
		return refused.Error()
	}
	return fmt.Sprintf("%s (%s)", refusal.Text(english(), refused.Code, refused.Params), refused.Code)
}

// inQuery stands in a path for an account that the query names. It is no account's
// id or login: a path never has a NUL.
const inQuery = "\x00"

type notAllowedError struct{ methods []string }

func (e *notAllowedError) Error() string {
	if len(e.methods) == 1 {
		return "the method is " + e.methods[0]
	}
	last := len(e.methods) - 1
	return "the methods are " + strings.Join(e.methods[:last], ", ") + " and " + e.methods[last]
}

// find returns the operation that a request is for and the parts of its path by
// their names. The path is split before it is unescaped, so that a name may have a
// slash (%2F).
func find(req *http.Request) (op *Operation, parts map[string]string, err error) {
	given := strings.Split(strings.TrimPrefix(req.URL.EscapedPath(), Prefix), "/")
	notAllowed := &notAllowedError{}
	for i, part := range given {
		if given[i], err = url.PathUnescape(part); err != nil {
			return nil, nil, errorf(http.StatusNotFound, "the path can't be read; escape the name in it")
		}
	}
	q, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		return nil, nil, errorf(http.StatusBadRequest, "the query can't be read; escape the name in it")
	}
	// An account is named in the path or in the query.
	var byQuery []string
	if q.Has("id") || q.Has("name") {
		if i := slices.Index(given, "users"); i == 1 {
			byQuery = slices.Insert(slices.Clone(given), 2, inQuery)
		}
	}
	for _, path := range [][]string{byQuery, given} {
		for i := range operations {
			got, ok := match(operations[i].Path, path)
			switch {
			case !ok:
			case operations[i].Method == req.Method:
				return &operations[i], got, nil
			case !slices.Contains(notAllowed.methods, operations[i].Method):
				notAllowed.methods = append(notAllowed.methods, operations[i].Method)
			}
		}
		if len(notAllowed.methods) > 0 {
			return nil, nil, notAllowed
		}
	}
	return nil, nil, errorf(http.StatusNotFound, "there is nothing at this address; %sopenapi.json lists what there is, for example %s<realm>/users and %[1]s<realm>/users/<id or login>", Prefix, Prefix)
}

// match holds the parts of a path against a pattern; none of them may be empty.
func match(pattern string, path []string) (map[string]string, bool) {
	wanted := strings.Split(pattern, "/")
	if len(wanted) != len(path) {
		return nil, false
	}
	parts := map[string]string{}
	for i, w := range wanted {
		name, isPart := strings.CutPrefix(w, "{")
		switch {
		case isPart && path[i] != "":
			parts[strings.TrimSuffix(name, "}")] = path[i]
		case w != path[i]:
			return nil, false
		}
	}
	return parts, true
}

// readQuery reads the query of a call. What the operation doesn't know is refused:
// a mistyped parameter must not make one account of all.
func (c *Call) readQuery(op *Operation, parts map[string]string) (who named, err error) {
	c.Query = c.Req.URL.Query()
	if who.either = parts["account"]; who.either == inQuery {
		who.either = ""
	}
	_, aboutOne := parts["account"]
	for param, values := range c.Query {
		switch {
		case aboutOne && (param == "id" || param == "name"):
			if len(values) != 1 || values[0] == "" || who != (named{}) {
				return who, errorf(http.StatusBadRequest, "name one account, once: in the path, by ?id= or by ?name=")
			}
			if param == "id" {
				who.id = values[0]
			} else {
				who.name = values[0]
			}
		case !slices.ContainsFunc(op.Query, func(p Parameter) bool { return p.Name == param }):
			return who, errorf(http.StatusBadRequest, "the query has %s; %s", param, knownParameters(op, aboutOne))
		case len(values) != 1:
			return who, errorf(http.StatusBadRequest, "the query has %s twice; write it once", param)
		}
	}
	return who, nil
}

func knownParameters(op *Operation, aboutOne bool) string {
	var known []string
	if aboutOne {
		known = append(known, "?id=<id>", "?name=<login>")
	}
	for _, p := range op.Query {
		known = append(known, "?"+p.Name+"=")
	}
	if len(known) == 0 {
		return "it takes none"
	}
	return "what it can say is " + strings.Join(known, " or ")
}

// named is which account a request is about: a part of the path, an id or a name.
type named struct{ either, id, name string }

// String is what was said, whichever way.
func (n named) String() string { return n.either + n.id + n.name }

func (n named) find(ctx context.Context, accounts *account.Accounts) (*store.User, error) {
	switch {
	case n.id != "":
		return accounts.LookupID(ctx, n.id)
	case n.name != "":
		return accounts.LookupName(ctx, n.name)
	}
	return accounts.Lookup(ctx, n.either)
}
