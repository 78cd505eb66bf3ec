// wrap_test.go: lines of the text part in scripts that have no spaces, and mails in a language
// from right to left.

package letter_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/width"

	"github.com/seed-928992b0/caddy-registration/internal/langtest"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// columnsOf is how many columns of a terminal a line takes.
func columnsOf(line string) (n int) {
	for _, r := range line {
		n++
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}

func TestWrapWithoutSpaces(t *testing.T) {
	const japanese = "あと一歩です。このメールアドレスがご本人のものであることを確認してください。下のリンクを開くと、アカウントをすぐにお使いいただけます。「確認」を押すだけで完了します。"
	for name, of := range map[string]string{
		"japanese":            japanese,
		"chinese":             strings.Repeat("请确认这是您的电子邮件地址，", 8),
		"korean":              strings.Repeat("이메일 주소를 확인해 주세요. ", 8),
		"an address among it": "このアドレスは" + "ada@example.org" + "です。" + japanese,
	} {
		wrapped := letter.Wrap(of)
		lines := strings.Split(wrapped, "\n")
		require.Greater(t, len(lines), 1, name)
		for i, line := range lines {
			require.LessOrEqual(t, columnsOf(line), 72, "%s: %s", name, line)
			if i+1 < len(lines) {
				require.Greater(t, columnsOf(line), 50, "%s: no short line: %s", name, line)
			}
			require.NotRegexp(t, regexp.MustCompile(`^[、。，」ー]|「$`), line, name)
		}
		joined := strings.ReplaceAll(wrapped, "\n", "")
		if name == "korean" {
			joined = strings.ReplaceAll(wrapped, "\n", " ")
		}
		require.Equal(t, strings.TrimSpace(of), joined, "%s: nothing is lost or added", name)
		require.Contains(t, strings.ReplaceAll(of, "ada@example.org", ""), strings.ReplaceAll(joined, "ada@example.org", ""))
	}
	require.Equal(t, "a\u00a0b", letter.Wrap("a\u00a0b"))
}

func TestMailsFromRightToLeft(t *testing.T) {
	const isolate, pop = "\u2068", "\u2069"
	mirrored, err := langtest.Mirrored(sitetest.Root() + "/templates/locales")
	require.NoError(t, err)
	l, err := text.NewLanguages(sitetest.TemplatesFolder(t, map[string]string{"locales/ar.json": mirrored}), "en")
	require.NoError(t, err)
	r, err := letter.NewTemplates(sitetest.Letters(sitetest.Resolved(t)), l, "example.com")
	require.NoError(t, err)
	for kind, template := range r.All("ar") {
		data := goldenMail(l.Named("ar"))
		subject, text, html, err := template.Render(data)
		require.NoError(t, err)
		require.Contains(t, html, `<html lang="ar" dir="rtl">`, kind)
		require.Contains(t, html, `<table role="presentation" class="ground" lang="ar" dir="rtl"`, kind)
		require.NotRegexp(t, regexp.MustCompile(`(text-align:|padding-|margin-|border-)left`), html, kind)
		require.NotContains(t, regexp.MustCompile(`href="[^"]*"`).FindString(html), isolate)
		if data.Code != "" {
			require.NotContains(t, text, isolate+data.Code)
		}
		for _, part := range []string{subject, text, html} {
			require.Equal(t, strings.Count(part, isolate), strings.Count(part, pop), kind)
		}
		require.Contains(t, text, isolate+"Ada Lovelace"+pop, kind)
		for line := range strings.SplitSeq(text, "\n") {
			if strings.Contains(line, "https://") {
				require.NotContains(t, line, isolate, "an address that is copied")
			}
		}
		if strings.Contains(subject, "example.com") {
			require.Contains(t, subject, isolate+"example.com"+pop, kind)
		}
		en := goldenMail(l.Named("en"))
		en.User.Name = "עדה"
		_, text, html, err = r.All("en")[kind].Render(en)
		require.NoError(t, err)
		require.NotContains(t, text, isolate, "no marks in the text part of a language from left to right")
		require.Contains(t, html, isolate+"עדה"+pop)
	}
}

// TestTheUrgentStep: what to do at once about what was done by somebody else stands in the size
// of the other text, and where there is a link for it, it is a button.
func TestTheUrgentStep(t *testing.T) {
	l := sitetest.English(t)
	r, err := letter.NewTemplates(sitetest.Letters(sitetest.Resolved(t)), l, "example.com")
	require.NoError(t, err)
	for _, kind := range append(leadOn, "account_closed", "factors_reset", "emails_restored", "new_device", "email_changed", "factor_added") {
		_, _, html, err := r.All("en")[kind].Render(goldenMail(l.Locales[0]))
		require.NoError(t, err)
		before, after, found := strings.Cut(html, "<strong>"+l.Locales[0].Text(text.Say("mail.not_you"))+"</strong>")
		if !found { // escaped in HTML
			before, after, found = strings.Cut(html, "<strong>"+strings.ReplaceAll(l.Locales[0].Text(text.Say("mail.not_you")), "'", "&#39;")+"</strong>")
		}
		require.True(t, found, kind)
		require.NotContains(t, before[strings.LastIndex(before, "<p"):], "14px", kind)
		if kind != "factors_reset" {
			button := strings.Index(after, `class="button"`)
			require.Positive(t, button, "%s: the button follows", kind)
			require.Less(t, strings.Count(after[:button], "<p"), 2, "%s: at once", kind)
		}
	}
}
