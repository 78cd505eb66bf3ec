package field

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func TestLabel(t *testing.T) {
	for label, want := range map[string][]LabelPart{
		"Newsletter":                            {{"Newsletter", ""}},
		"I accept the [terms](/terms.html).":    {{"I accept the ", ""}, {"terms", "/terms.html"}, {".", ""}},
		"[A](https://a.example/b?c=d#e)[B](/b)": {{"A", "https://a.example/b?c=d#e"}, {"B", "/b"}},
		"[x](javascript:alert(1))":              {{"[x](javascript:alert(1))", ""}},
		"[x](javascript:alert)":                 {{"x", ""}},
		"[x](//evil.example/)":                  {{"x", ""}},
		`[x](/\\evil.example/)`:                 {{"x", ""}},
		"[x](https://ada@evil.example/)":        {{"x", ""}},
		"[x](relative)":                         {{"x", ""}},
		"[x] (/a)":                              {{"[x] (/a)", ""}},
		"<b>[<i>](/a)":                          {{"<b>", ""}, {"<i>", "/a"}},
	} {
		parts, plain := Label(label)
		require.Equal(t, want, parts, label)
		all := ""
		for _, p := range parts {
			all += p.Text
		}
		require.Equal(t, all, plain)
	}
}

func TestSettled(t *testing.T) {
	f := &Field{Name: "plan", Once: true}
	for _, unset := range []map[string]any{nil, {}, {"plan": nil}, {"plan": ""}, {"plan": false}, {"other": "x"}} {
		require.False(t, f.Settled(&store.User{Extra: unset}), unset)
	}
	for _, set := range []any{"x", true, int64(0), 1.5} {
		require.True(t, f.Settled(&store.User{Extra: map[string]any{"plan": set}}), set)
		require.False(t, (&Field{Name: "plan"}).Settled(&store.User{Extra: map[string]any{"plan": set}}), set)
	}
}
