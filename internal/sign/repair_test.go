package sign_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
)

const (
	linkID        = "019ac000-1111-7222-8333-444455556666"
	linkSignature = "3DD2-7wOJ8sQ4m9yXcJt0p1bHk5uVnZaRfLgTeWi_oY"
	goodQuery     = "email=ada%2Bb%40example.org&next=%2Fa%3Fsignature%3D1%26amp%3B&signature=" + linkSignature + "&timestamp=1764072000&user_id=" + linkID
)

func TestRepairQuery(t *testing.T) {
	want, err := url.ParseQuery(goodQuery)
	require.NoError(t, err)
	replace := func(old, by string) string { return strings.ReplaceAll(goodQuery, old, by) }
	for name, query := range map[string]string{
		"as it was sent":                  goodQuery,
		"entities":                        replace("&", "&amp;"),
		"entities by number":              replace("&", "&#38;"),
		"entities of entities":            replace("&", "&amp;amp;"),
		"a full stop":                     goodQuery + ".",
		"a bracket":                       goodQuery + ">",
		"brackets and a full stop":        goodQuery + ">).",
		"an escaped bracket":              goodQuery + "%3E",
		"a quotation mark":                goodQuery + "%22",
		"a bracket behind the signature":  replace(linkSignature, linkSignature+"%3E"),
		"an underscore behind it":         replace(linkSignature, linkSignature+"_"),
		"a line break":                    replace("44455556666", "444%0D%0A55556666"),
		"a soft line break":               replace("7wOJ8sQ4", "7wO=%0D%0AJ8sQ4"),
		"a soft line break without break": replace("7wOJ8sQ4", "7wO=J8sQ4"),
		"quoted-printable":                replace("=", "=3D"),
		"escaped once more":               url.QueryEscape(goodQuery),
		"escaped twice more":              url.QueryEscape(url.QueryEscape(goodQuery)),
		"ampersands escaped":              strings.ReplaceAll(replace("&", "%26"), "signature=", "signature%3D"),
		"a plus that is none":             replace("%2B", "+"),
		"an address escaped twice":        replace("%40", "%2540"),
		"upper case in the id":            replace(linkID, strings.ToUpper(linkID)),
	} {
		t.Run(name, func(t *testing.T) {
			got := sign.RepairQuery(query)
			for _, param := range []string{sign.ParamUserID, sign.ParamTimestamp, sign.ParamSignature, sign.ParamEmail} {
				require.Equal(t, strings.ToLower(want.Get(param)), strings.ToLower(got.Get(param)), param)
			}
			require.Equal(t, want.Get(sign.ParamSignature), got.Get(sign.ParamSignature))
		})
	}
}

func TestRepairQueryLeavesOthers(t *testing.T) {
	for _, query := range []string{
		"", "next=%2Faccounts%2Fverify-email%2F%3Fsignature%3Dx%26user_id%3Dy", "next=/a%26signature=b.&sent=1", "a=%zz&b=1", "reauth=1&next=%2F%C3%A9.",
	} {
		want, _ := url.ParseQuery(query)
		require.Equal(t, want, sign.RepairQuery(query), query)
	}
}

func FuzzRepairQuery(f *testing.F) {
	f.Add(goodQuery)
	f.Add("user_id%3D&signature=3D")
	f.Fuzz(func(t *testing.T, query string) {
		for name, all := range sign.RepairQuery(query) {
			for _, value := range all {
				if name != sign.ParamEmail {
					require.Equal(t, value, sign.RepairParam(name, value), "fixed once is fixed")
				}
			}
		}
	})
}
