// field_test.go: the normalisers of usernames and e-mail addresses, by table and
// by fuzzing, and the keys by which values are compared.

package field

import (
	netmail "net/mail"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/seed-928992b0/caddy-registration/store"
)

func TestParseUsername(t *testing.T) {
	for in, want := range map[string]string{ // "" means refused
		"ada":             "ada",
		"Ada":             "Ada",
		"a":               "a",
		"@.+-_":           "@.+-_",
		"ada@example.org": "ada@example.org",
		"007":             "007",
		"Jürgen":          "Jürgen",
		"Ju\u0308rgen":    "Jürgen", // composed
		"ａｄａ１":            "ada1",   // full-width
		"ﬁn":              "fin",    // ligature
		"x²":              "x2",     // superscript
		"Ⅸ":               "IX",     // Roman numeral, a letter by compatibility
		"Łukasz":          "Łukasz",
		"Ἀθηνᾶ":           "Ἀθηνᾶ",
		"жанна":           "жанна",
		"משה":             "משה",
		"محمد":            "محمد",
		"हिन्दी":          "हिन्दी", // vowel signs and virama are marks
		"สมชาย":           "สมชาย",
		"小明":              "小明",
		"٣٤":              "٣٤", // digits of another script
		"a b":             "",
		"a\tb":            "",
		"a\u00a0b":        "", // no-break space: a space under NFKC
		"a/b":             "",
		"a:b":             "",
		"a,b":             "",
		"a'b":             "",
		`a"b`:             "",
		"<a>":             "",
		"a%b":             "",
		"a\x00b":          "",
		"a\x7fb":          "",
		"a\r\nb":          "",
		"a\u200bb":        "", // zero-width space
		"a\u200db":        "", // zero-width joiner
		"a\u202eb":        "", // right-to-left override
		"a\ufeffb":        "", // byte order mark
		"a\u00adb":        "", // soft hyphen
		"a\ufe0fb":        "", // variation selector: invisible, though a mark
		"a\U000e0100b":    "", // ideographic variation selector
		"a\u034fb":        "", // combining grapheme joiner: invisible too
		"a\u180bb":        "", // Mongolian variation selector
		"a\u115fb":        "", // Hangul filler: invisible, though a letter
		"a\u3164b":        "", // the same by compatibility
		"a\uffa0b":        "",
		"a\u17b4b":        "", // Khmer inherent vowel: invisible
		"\u0301a":         "", // a mark with nothing to stand on
		"😀":               "",
		"a\xffb":          "", // not UTF-8
		"a\ufffdb":        "",
		"a\u2215b":        "", // division slash
		"½":               "", // NFKC: 1⁄2, and the fraction slash is neither
		"℀":               "", // NFKC: a/c
		"\u00a8x":         "", // NFKC: a space and a mark
	} {
		t.Run(in, func(t *testing.T) {
			got, ok := ParseUsername(in)
			require.Equal(t, want != "", ok, got)
			require.Equal(t, want, got)
		})
	}
}

func TestParseEmail(t *testing.T) {
	local64, label63 := strings.Repeat("l", 64), strings.Repeat("d", 63)
	for in, want := range map[string]string{ // "" means refused
		"ada@example.org":                        "ada@example.org",
		"Ada@Example.ORG":                        "Ada@example.org",
		"a@b.c":                                  "a@b.c",
		"a.b+tag@example.org":                    "a.b+tag@example.org",
		"!#$%&'*+-/=?^_`{|}~@example.org":        "!#$%&'*+-/=?^_`{|}~@example.org",
		"root@localhost":                         "root@localhost",
		"a@sub.sub.example.org":                  "a@sub.sub.example.org",
		"a@1.example":                            "a@1.example",
		"a@bücher.example":                       "a@xn--bcher-kva.example",
		"a@BÜCHER.example":                       "a@xn--bcher-kva.example",
		"a@xn--bcher-kva.example":                "a@xn--bcher-kva.example",
		"a@例え。テスト":                               "a@xn--r8jz45g.xn--zckzah",
		local64 + "@example.org":                 local64 + "@example.org",
		"a@" + label63 + ".org":                  "a@" + label63 + ".org",
		"":                                       "",
		"ada":                                    "",
		"@example.org":                           "",
		"ada@":                                   "",
		"a@b":                                    "", // no dot, not localhost
		"a@.org":                                 "",
		"a@example.":                             "",
		"a@example..org":                         "",
		"a@-example.org":                         "",
		"a@example-.org":                         "",
		"a@exa_mple.org":                         "",
		"a@exa mple.org":                         "",
		"a b@example.org":                        "",
		"a@b@example.org":                        "",
		".a@example.org":                         "",
		"a.@example.org":                         "",
		"a..b@example.org":                       "",
		`"a b"@example.org`:                      "",
		`"a"@example.org`:                        "",
		`a\@example.org`:                         "",
		"(c)a@example.org":                       "",
		"a@example.org(c)":                       "",
		"a@[192.0.2.1]":                          "",
		"a@[IPv6:2001:db8::1]":                   "",
		"Ada <ada@example.org>":                  "",
		"<ada@example.org>":                      "",
		"ada@example.org>":                       "",
		"a@example.org, b@example.org":           "",
		"a,b@example.org":                        "",
		"a;b@example.org":                        "",
		"a:b@example.org":                        "",
		"mailto:a@example.org":                   "",
		"a@example.org\nBcc: b@example.org":      "",
		"a\r\nBcc:b@example.org":                 "",
		"a\x00@example.org":                      "",
		"a@example\x00.org":                      "",
		"a\u200b@example.org":                    "",
		"jürgen@example.org":                     "",
		"a@\xff.org":                             "",
		"a\xff@example.org":                      "",
		local64 + "l@example.org":                "",
		"a@" + label63 + "d.org":                 "",
		"a@" + strings.Repeat("d.", 126) + "org": "",
		local64 + "@" + strings.Repeat("d.", 94) + "d":  local64 + "@" + strings.Repeat("d.", 94) + "d", // 254 bytes
		local64 + "@" + strings.Repeat("d.", 94) + "dd": "",                                             // 255
		"a@xn--a.example": "", // punycode of nothing
	} {
		t.Run(in, func(t *testing.T) {
			got, ok := parseEmail(in)
			require.Equal(t, want != "", ok, got)
			if ok {
				require.Equal(t, want, got)
			}
		})
	}
}

func TestParseText(t *testing.T) {
	for in, want := range map[string]bool{
		"Ada": true, "Ada Lovelace": true, "D’Arcy-Ó": true, "小明": true, "": true, "<b>&": true,
		"a\x00": false, "a\nb": false, "a\rb": false, "a\tb": false, "\x1b[31m": false, "\x7f": false, "\u0085": false,
	} {
		got, ok := parseText(in)
		require.Equal(t, want, ok, "%q", in)
		require.Equal(t, in, got)
	}
}

func TestKeysIgnoreCaseAndEncoding(t *testing.T) {
	keysOf := NewKeyIndex().KeysOf
	loginKey := func(name, v string) string {
		f, _ := Builtin(name)
		return f.KeyOf(v)
	}
	for _, pair := range [][2]string{{"ada", "ADA"}, {"straße", "STRASSE"}, {"josé", "JOSE\u0301"}, {"ﬁ", "FI"}, {"Å", "\u212b"}, {"ς", "Σ"}} {
		require.Equal(t, UniqueKey(pair[0]), UniqueKey(pair[1]), "%q", pair)
	}
	for _, pair := range [][2]string{{"ada", "adа" /* Cyrillic */}, {"a", "b"}, {"a.b", "ab"}, {"jose", "josé"}} {
		require.NotEqual(t, UniqueKey(pair[0]), UniqueKey(pair[1]), "%q", pair)
	}
	require.Equal(t, EmailKey("ADA@BÜCHER.example"), loginKey(Email, "ada@xn--bcher-kva.example"))
	require.Equal(t, "no address", loginKey(Email, "No Address"))
	require.Equal(t, "ada", loginKey(Username, "ADA"))
	require.Empty(t, keysOf(&store.User{}), "an empty value has no key")
	require.Equal(t, []store.Key{{Field: "username", Value: "ada"}, {Field: "email", Value: "ada@example.org"}}, keysOf(&store.User{Username: "Ada", Email: "Ada@Example.org"}))
}

// What ParseUsername lets through is in one form, visible, and has a key of its
// own that does not depend on how often it was normalised.
func FuzzParseUsername(f *testing.F) {
	for _, seed := range []string{"ada", "Ju\u0308rgen", "ａｄａ", "a\u200bb", "हिन्दी", "a\u3164", "\u0345", "ᾳ", "ΐ", "İ", "a\xff", "℀", "ǅ", "ß"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		v, ok := ParseUsername(in)
		if !ok {
			require.Empty(t, v)
			return
		}
		require.True(t, utf8.ValidString(v))
		require.True(t, norm.NFKC.IsNormalString(v))
		require.False(t, mixesScripts(v), "%q", v)
		again, ok := ParseUsername(v)
		require.True(t, ok, "%q", v)
		require.Equal(t, v, again)
		for _, r := range v {
			require.False(t, unicode.In(r, unicode.C, unicode.Z, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector), "%q", v)
		}
		key := UniqueKey(v)
		require.Equal(t, key, UniqueKey(in))
		require.Equal(t, key, UniqueKey(key), "%q", v)
		require.Equal(t, key, UniqueKey(norm.NFD.String(v)), "%q", v)
	})
}

// What parseEmail lets through is one plain address that a mailer can use, and
// stays as it is.
func FuzzParseEmail(f *testing.F) {
	for _, seed := range []string{"ada@example.org", "A@BÜCHER.example", "a@例え。テスト", `"a"@b.c`, "a@b.c\r\nBcc: x@y.z", "a@xn--a.example", "a@ß.de", "a@localhost", "a@\u200d.org"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		v, ok := parseEmail(in)
		if !ok {
			return
		}
		again, ok := parseEmail(v)
		require.True(t, ok, "%q", v)
		require.Equal(t, v, again)
		require.LessOrEqual(t, len(v), 254)
		for _, b := range []byte(v) {
			require.True(t, b > ' ' && b < 0x7f, "%q", v)
		}
		addr, err := netmail.ParseAddress(v)
		require.NoError(t, err)
		require.Equal(t, v, addr.Address)
		require.Empty(t, addr.Name)
		domain := v[strings.LastIndexByte(v, '@')+1:]
		require.Equal(t, strings.ToLower(domain), domain)
		require.Equal(t, EmailKey(v), EmailKey(in))
		require.Equal(t, EmailKey(v), EmailKey(EmailKey(v)))
	})
}
