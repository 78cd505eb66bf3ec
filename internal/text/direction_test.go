// direction_test.go: languages from right to left: their direction, values among them that run
// the other way, and digits, which are of one kind in a date.

package text_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/language"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

const isolate, pop = "\u2068", "\u2069"

func TestDirectionOfScripts(t *testing.T) {
	for dir, tags := range map[string][]string{
		text.RightToLeft: {"ar", "ar-EG", "he", "fa", "ur", "dv", "syr", "nqo", "ff-Adlm", "az-Arab", "ks", "ckb", "yi", "ug", "rhg-Rohg"},
		text.LeftToRight: {"en", "de", "ff", "az", "ja", "zh-Hant", "ko", "th", "hi", "el", "ru", "pa"},
	} {
		for _, tag := range tags {
			require.Equal(t, dir, text.DirectionOf(language.MustParse(tag)), tag)
		}
	}
}

// samples are catalogues of a dozen messages; what they leave out is said in English.
func samples(t *testing.T) *text.Languages {
	t.Helper()
	l, err := text.NewLanguages("testdata", "en")
	require.NoError(t, err)
	return l
}

func TestValuesAmongTheOtherDirection(t *testing.T) {
	l := samples(t)
	ar, en := l.Named("ar"), l.Named("en")
	to := func(email string) text.Phrase { return text.Say("detail.confirm_account", text.Params{"email": email}) }
	require.Contains(t, ar.Text(to("ada@example.org")), " "+isolate+"ada@example.org"+pop+".")
	require.Equal(t, ar.Text(to("ada@example.org")), ar.Plain().Text(to("ada@example.org")))
	require.NotContains(t, ar.Text(to("عائشة")), isolate, "it runs as the text does")
	require.NotContains(t, ar.Text(to("192.0.2.1")), isolate, "digits run as they do anyway")
	require.Contains(t, en.Text(to("עדה@example.org")), isolate+"עדה@example.org"+pop)
	require.NotContains(t, en.Plain().Text(to("עדה@example.org")), isolate)
	require.NotContains(t, en.Text(to("žofie@example.org")), isolate)
	require.Contains(t, ar.Text(to("a\u202eb\u2069c")), isolate+"abc"+pop, "what turns directions is left out")
	within := ar.Text(text.Say("detail.admin_named", text.Params{"done": to("ada@example.org"), "names": "bob"}))
	require.Equal(t, strings.Count(within, isolate), strings.Count(within, pop))
}

// A subject shows no marks but isolates that end in it.
func TestKeepIsolates(t *testing.T) {
	for line, want := range map[string]string{
		"a " + isolate + "b" + pop + " c": "a " + isolate + "b" + pop + " c",
		"a " + isolate + "b":              "a b",
		"a " + pop + "b" + isolate:        "a b",
		"a \u202eb\u202c \u2066c\u2069":   "a b c",
		"plain":                           "plain",
	} {
		require.Equal(t, want, text.KeepIsolates(line), "%q", line)
	}
}

// TestOneKindOfDigits: a date has the digits of its language, in each of its parts.
func TestOneKindOfDigits(t *testing.T) {
	l := samples(t)
	const moment = "2026-11-08T04:05:00Z"
	require.Equal(t, "٨ نوفمبر ٢٠٢٦، ٠٤:٠٥ بالتوقيت العالمي", l.Named("ar").Moment(moment))
	require.Equal(t, "2026年11月8日 04:05(UTC)", l.Named("ja").Moment(moment))
	require.Equal(t, "8 November 2026, 04:05 UTC", l.Named("en").Moment(moment))
	require.Equal(t, "٨ أحرف على الأقل.", l.Named("ar").Text(text.Say("hint.password_length", text.Params{"min": 8})))

	// An owner's catalogue from before that has {time}, and native digits in the language.
	own, err := text.NewLanguages(sitetest.TemplatesFolder(t, map[string]string{
		"locales/fa.json": `{"date.time": "{day} {month} {year}، {time}", "date.month_11": "نوامبر"}`,
		"locales/ne.json": `{"date.time": "{year} {month} {day}, {time}", "date.month_11": "x"}`,
	}), "en")
	require.NoError(t, err)
	for _, name := range []string{"fa", "ne"} {
		got := own.Named(name).Moment(moment)
		require.Empty(t, strings.Map(func(r rune) rune {
			if r < unicode.MaxASCII && unicode.IsDigit(r) {
				return r
			}
			return -1
		}, got), got)
	}
	_, err = text.NewLanguages(sitetest.TemplatesFolder(t, map[string]string{"locales/ar.json": `{"date.day": "{hour}"}`}), "en")
	require.ErrorContains(t, err, "{hour}")
}
