package apicheck_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/apicheck"
)

func TestEachCodeIsInTheDocument(t *testing.T) {
	c, err := apicheck.New([]byte(`{"openapi": "3.1.1", "paths": {"/a": {"post": {"responses": {"400": {
		"description": "Bad Request: ` + "`login_invalid`, `terms_required`" + `, or by field", "content": {"application/problem+json": {"schema": {}}}}}}}}}`))
	require.NoError(t, err)
	for body, want := range map[string]string{
		`{"code": "login_invalid"}`: "",
		`{"code": "invalid", "errors": {"terms": [{"code": "terms_required"}], "login": [{"code": "blank"}]}}`: "",
		`{"code": "disabled"}`: "the document has no disabled among the answers with 400",
		`{"code": "login"}`:    "the document has no login among",
		`{"code": "invalid", "errors": {"email": [{"code": "blank"}, {"code": "domain_not_allowed"}]}}`: "the document has no domain_not_allowed among",
		`{"code": 1}`: "cannot unmarshal",
	} {
		err := c.Check(apicheck.Answer{
			Method: http.MethodPost, Path: "/a", Status: 400, Header: http.Header{"Content-Type": {"application/problem+json"}}, Body: []byte(body),
		})
		if want == "" {
			require.NoError(t, err, body)
		} else {
			require.ErrorContains(t, err, want, body)
		}
	}
}
