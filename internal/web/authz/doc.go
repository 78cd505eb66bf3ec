// doc.go: the two endpoints in the OpenAPI document.

package authz

import (
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

func (s *server) doc(operation, summary string) web.EndpointDoc {
	told, sends := "`X-Forwarded-Method`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Uri`", ""
	if s.plain {
		told, sends = "`X-Original-URL` and `X-Original-Method`", " With 401 and 403 comes `Location`, where a browser is to go."
	}
	return web.EndpointDoc{
		Tag: web.TagSignIn, Operation: operation, Summary: summary,
		Description: "For a server, not for browsers: it sends the headers of its visitor's request, and what that is for in " + told +
			", which count only from trusted proxies. Any method will do, and is answered alike. The parameters are as at the guard." + sends,
		InQuery: true,
		Inputs: []web.InputDoc{
			web.NewInput(paramGroup, false, web.NewObject("type", "array", "items", web.NewObject("type", "string"), "description", "The account has to be in one of these.")),
			web.NewInput(web.ParamMaxAge, false, web.NewObject("type", "string", "description", "How long ago its owner may have shown last who he is: a number of seconds, or `15m`.", "examples", []any{"15m"})),
			web.NewInput(web.ParamFactors, false, web.NewObject("type", "integer", "minimum", 1, "maximum", 2, "description", "How many different things the sign-in must have shown.")),
		},
		Answers: s.answers,
		Codes:   []refusal.Code{refusal.CodeMalformed, refusal.CodeNotAuthenticated, refusal.CodeInsufficient, refusal.CodePermissionDenied, refusal.CodeUnavailable},
	}
}

func (s *server) answers() web.Object {
	header := func(description string) web.Object {
		return web.NewObject("description", description, "schema", web.NewObject("type", "string"))
	}
	answer := func(description string, headers web.Object) web.Object {
		return web.NewObject("description", description, "headers", headers)
	}
	out := web.NewObject("200", answer("It may be served. All five headers are there, empty where there is nothing.", web.NewObject(
		identity.User, header("The username, or the id where there is none."), identity.ID, header("The account's id."), identity.Email, header("The e-mail address."),
		identity.Name, header("First and last name."), identity.Groups, header("The groups, with commas."),
	)))
	if s.plain {
		return out
	}
	to := web.NewObject("Location", header("Where a browser is to go."))
	return append(out, web.NewObject("302", answer("A browser is sent to sign in, or to show more.", to), "303", answer("The same where it has sent a form.", to))...)
}
