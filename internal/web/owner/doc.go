// doc.go: the owner's pages in the OpenAPI document.

package owner

import (
	"net/http"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// Doc describes a page to programs. What has no summary is for people alone.
type Doc struct {
	// Get and Post are the summaries of what a page shows and does.
	Get, Post string
	// Query are parameters of GET, Body members of what is posted.
	Query, Body []web.InputDoc
	// Shows and Does name the schemas of the answers; Does may be "": the detail.
	Shows, Does string
	// Codes are refusals of the act that no input implies.
	Codes []refusal.Code
}

// Schemas of the answers, besides those of the endpoints.
const (
	schemaAccounts    = "OwnerAccounts"
	schemaAccount     = "OwnerAccount"
	schemaInvitations = "OwnerInvitations"
	schemaInvitation  = "OwnerInvitation"
	schemaAudit       = "OwnerAudit"
	schemaMail        = "OwnerMail"
	schemaWebhooks    = "OwnerWebhooks"
	schemaObject      = "OwnerObject"
	schemaCreated     = "OwnerAccountCreated"
	schemaLink        = "OwnerLink"
	schemaSeveral     = "OwnerSeveral"
)

// Described implements web.OwnerPages.
func (s *Server) Described() (list []*web.Endpoint) {
	var demanded []refusal.Code
	if s.realm.Options.Admin.SecondFactor {
		demanded = []refusal.Code{refusal.CodeInsufficient, refusal.CodeFactorRequired}
	}
	for _, p := range s.pages {
		var name strings.Builder
		for part := range strings.FieldsFuncSeq(p.Path, func(r rune) bool { return strings.ContainsRune("/-{}", r) }) {
			name.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
		id := name.String()
		e := web.Endpoint{Name: prefix + p.Path, SignedIn: true, Doc: web.EndpointDoc{Tag: web.TagOwner, Success: http.StatusOK, Hidden: true}}
		if p.Get != nil && !p.ForPeople {
			get := e
			get.Methods, get.Doc.Operation, get.Doc.Summary, get.Doc.Answer = []string{http.MethodGet}, "getOwner"+id, p.Doc.Get, p.Doc.Shows
			get.Doc.Codes = demanded
			if get.Doc.Inputs = p.Doc.Query; len(get.Doc.Inputs) > 0 {
				get.Doc.InQuery, get.Doc.Codes = true, append([]refusal.Code{refusal.CodeInvalid}, demanded...)
			}
			list = append(list, &get)
		}
		if p.Post != nil {
			post := e
			post.Methods, post.Doc.Operation, post.Doc.Summary, post.Doc.Answer = web.Post, "postOwner"+id, p.Doc.Post, p.Doc.Does
			if post.Doc.Answer == "" {
				post.Doc.Answer = web.SchemaDetail
			}
			post.Doc.Inputs = append(append(post.Doc.Inputs, p.Doc.Body...), provenInput)
			post.Doc.Codes = slices.Concat([]refusal.Code{refusal.CodePermissionDenied}, p.Doc.Codes, demanded)
			list = append(list, &post)
		}
	}
	return list
}

// provenInput is what a sign-in of some time ago brings besides.
var provenInput = web.NewInput(account.ParamPassword, false, web.NewObject("type", "string", "format", "password", "minLength", 1, "description", "The own password; needed where the sign-in is older than `admin.max_age`."))

// Schemas implements web.OwnerPages.
func (s *Server) Schemas() web.Object {
	object := web.NewObject("type", "object")
	described := func(description string, required ...string) web.Object {
		return append(object, web.NewObject("description", description, "required", required)...)
	}
	// page is that of a list, with what the list is called and what else there is.
	page := func(name string, items web.Object, more ...any) web.Object {
		properties := append(web.NewObject(
			name, web.NewObject("type", "array", "items", items),
			"next", web.NewObject("type", []string{"string", "null"}, "description", "For `after`, where there are more."),
		), web.NewObject(more...)...)
		return append(object, web.NewObject("properties", properties, "required", []string{name, "next"}, "additionalProperties", false)...)
	}
	ref := func(name string) web.Object { return web.NewObject("$ref", "#/components/schemas/"+name) }
	txt := web.NewObject("type", "string")
	return web.NewObject(
		schemaLink, append(object, web.NewObject("properties", web.NewObject("link", txt), "required", []string{"link"}, "additionalProperties", false)...),
		schemaCreated, append(object, web.NewObject("description", "The account, with the `link`, or where that was mailed `mailed_to`.", "required", []string{"id", "username"})...),
		schemaSeveral, append(object, web.NewObject(
			"properties", web.NewObject(
				"done", web.NewObject("type", "array", "items", txt),
				"refused", web.NewObject("type", "array", "items", append(object, web.NewObject("properties", web.NewObject("id", txt, "code", txt, "detail", txt), "required", []string{"id", "code", "detail"}, "additionalProperties", false)...)),
			), "required", []string{"done", "refused"}, "additionalProperties", false,
		)...),
		schemaAccount, described("Every field, and what stands behind `is_active`.", "id", "username", "email", "is_active"),
		schemaAccounts, page("accounts", ref(schemaAccount),
			"count", web.NewObject("type", []string{"integer", "null"}, "description", "How many accounts there are in all, or in the state that was asked for; null where that is not known without going through them.")),
		schemaInvitation, described("An invitation. Its `link` is there where it was made just now, and never again; `mailed` says whether it is sent to `email`.", "id", "email", "groups", "uses", "used", "created", "expires", "note"),
		schemaInvitations, page("invitations", ref(schemaInvitation)),
		schemaAudit, page("events", described("A row of the record, as docs/audit.md has it.", "seq", "at", "event", "actor", "address", "agent", "details")),
		schemaMail, page("mails", described("A mail that waits, and why (`error`).", "seq", "kind", "to", "queued", "next_try", "attempts", "error"),
			"server_fails", web.NewObject("type", "boolean", "description", "Whether the mail server can't be used at all, which is why all wait.")),
		schemaWebhooks, append(object, web.NewObject("properties", web.NewObject("webhooks", web.NewObject("type", "array", "items",
			described("An endpoint. `state` is `works`, `failing` or `off` (it answered 410), `since` when; `waiting` is what it is still to be told (`more`: there may be more of it), `told` when it has taken something last, `missed` when not, and `error` why.",
				"id", "url", "state", "since", "waiting", "more", "refused", "oldest", "next_try", "told", "missed", "error"))), "required", []string{"webhooks"}, "additionalProperties", false)...),
		schemaObject, object,
	)
}
