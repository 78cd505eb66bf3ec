// operations.go: the table of operations, and the document that describes them.

package adminapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/web"
)

var operations []Operation

func init() {
	operations = slices.Concat(
		[]Operation{
			{Method: http.MethodGet, Path: "openapi.json", Summary: "This document", Do: func(*Call) (any, error) { return document(), nil }},
			{Method: http.MethodGet, Path: "realms", Summary: "The names of the realms", Answer: []string{"default"}, Do: func(c *Call) (any, error) { return c.Server.Names(), nil }},
		},
		userOperations, actOperations, backupOperations, invitationOperations, auditOperations, mailOperations, webhookOperations, doctorOperations, transferOperations,
	)
}

// document is the OpenAPI document of the table.
func document() web.Object {
	paths := map[string]map[string]any{}
	for _, op := range operations {
		path := Prefix + op.Path
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(op.Method)] = op.document()
	}
	return web.NewObject(
		"openapi", "3.1.1",
		"info", web.NewObject("title", "What the owner of a site does", "version", "1.0.0"),
		"paths", paths,
	)
}

func (op *Operation) document() web.Object {
	parameters := []any{}
	for part := range strings.SplitSeq(op.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			parameters = append(parameters, web.NewObject("name", strings.TrimSuffix(name, "}"), "in", "path", "required", true, "schema", web.NewObject("type", "string")))
		}
	}
	for _, p := range op.Query {
		parameters = append(parameters, web.NewObject("name", p.Name, "in", "query", "description", p.Description, "schema", web.NewObject("type", "string")))
	}
	out := web.NewObject("summary", op.Summary, "parameters", parameters)
	if op.Body != nil {
		out = append(out, web.NewObject("requestBody", web.NewObject("content", web.NewObject("application/json", web.NewObject("example", op.Body))))...)
	}
	ok := web.NewObject("description", "Done")
	if op.Answer != nil {
		ok = append(ok, web.NewObject("content", web.NewObject("application/json", web.NewObject("example", op.Answer)))...)
	}
	return append(out, web.NewObject("responses", web.NewObject("2XX", ok, "default", web.NewObject("description", `{"error": "what is wrong, and how to fix it"}`)))...)
}
