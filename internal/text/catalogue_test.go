// catalogue_test.go: every shipped catalogue is complete and right, every
// message is used, and what an owner's files get wrong is said clearly.

package text_test

import (
	"fmt"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"

	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/templates"
)

// formsOf are the plural forms that whole numbers have in a language.
func formsOf(tag language.Tag) map[plural.Form]bool {
	forms := map[plural.Form]bool{plural.Other: true}
	for n := range 2000 {
		forms[plural.Cardinal.MatchPlural(tag, n, 0, 0, 0, 0)] = true
	}
	return forms
}

// children are catalogues that only say what their parents say otherwise.
var children = map[string]string{"es-419": "es", "pt-PT": "pt-BR"}

// TestCataloguesAgree: the same messages, placeholders and numbers in every
// language, and the plural forms that the language has.
func TestCataloguesAgree(t *testing.T) {
	require.Equal(t, []string{"de", "en", "es", "es-419", "fr", "id", "pl", "pt-BR", "pt-PT"}, text.ShippedLanguages())
	english := text.Shipped()[text.DefaultLanguage]
	for name, c := range text.Shipped() {
		forms := formsOf(language.MustParse(name))
		for id, want := range english {
			got := c[id]
			if parent := text.Shipped()[children[name]]; parent != nil {
				if got == nil {
					continue
				}
			}
			if got == nil {
				t.Errorf("%s: %s is missing", name, id)
				continue
			}
			if got.By != want.By {
				t.Errorf("%s: %s has plural forms by %q, English by %q", name, id, got.By, want.By)
			}
			if !slices.Equal(got.Placeholders(), want.Placeholders()) {
				t.Errorf("%s: %s mentions %v, English %v", name, id, got.Placeholders(), want.Placeholders())
			}
			if got.By == "" {
				continue
			}
			for form := range forms {
				if got.Forms[form] == nil {
					t.Errorf("%s: %s lacks the plural form %v", name, id, form)
				}
			}
			for form, text := range got.Forms {
				if !forms[form] {
					t.Errorf("%s: %s has the plural form %v, which no number has", name, id, form)
				}
				// Only a form for exactly one number may leave that number out.
				if !slices.Equal(text.Placeholders(), want.Placeholders()) && (form == plural.Other || form == plural.Few || form == plural.Many) {
					t.Errorf("%s: %s mentions %v in the form %v, English %v", name, id, text.Placeholders(), form, want.Placeholders())
				}
			}
		}
		for id := range c {
			if english[id] == nil {
				t.Errorf("%s: there is no message %s", name, id)
			}
		}
	}
	require.Len(t, formsOf(language.Polish), 4)
}

var (
	looksLikeID = regexp.MustCompile(`^(error|invalid|throttled|malformed|status|detail|page|link|field|hint|period|date|value|mail|factor|reauthenticate|language)\.[a-z0-9_.]*[a-z0-9]$`)
	idInPage    = regexp.MustCompile(`\.(?:T|Step) "([^"]+)"`)
)

// usedMessages are the ids in the program: written out in Go or a template, or
// made from a Code or an HTTP status.
func usedMessages(t *testing.T) map[string]string {
	t.Helper()
	used := map[string]string{"status.400": "respond.go"}
	for _, status := range web.Statuses {
		used["status."+strconv.Itoa(status)] = "respond.go"
	}
	var files []string
	t.Chdir(sitetest.Root())
	require.NoError(t, filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && slices.Contains([]string{"integration", "bench", "dist", ".git"}, file) {
			return filepath.SkipDir
		}
		if filepath.Ext(file) == ".go" {
			files = append(files, file)
		}
		return err
	}))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		addMessagesOfGo(t, file, used)
	}
	require.NoError(t, fs.WalkDir(templates.FS, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(file, text.LocalesFolder) {
			return err
		}
		raw, err := templates.FS.ReadFile(file)
		for _, match := range idInPage.FindAllStringSubmatch(string(raw), -1) {
			used[match[1]] = file
		}
		return err
	}))
	return used
}

// messagesOf are the types of codes whose constants have messages, each with what the ids
// of these begin with: refusals, events of the record, kinds of mail.
var messagesOf = map[string]string{"Code": "error.", "Event": "event.", "MailKind": "kind."}

// addMessagesOfGo adds the ids that a Go file writes out or makes from its codes.
func addMessagesOfGo(t *testing.T, file string, used map[string]string) {
	t.Helper()
	parsed, err := goparser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			if kind, ok := n.Type.(*ast.Ident); ok && messagesOf[kind.Name] != "" {
				for _, value := range n.Values {
					if text, err := strconv.Unquote(value.(*ast.BasicLit).Value); err == nil && text != string(store.MailDecoy) {
						used[messagesOf[kind.Name]+text] = file
					}
				}
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil && looksLikeID.MatchString(text) && filepath.Ext(text) != ".html" {
				used[text] = file
			}
		}
		return true
	})
}

// TestMessagesAreUsed: no message that nobody shows, no id without a message.
func TestMessagesAreUsed(t *testing.T) {
	used := usedMessages(t)
	require.Greater(t, len(used), 100)
	for id := range text.Shipped()[text.DefaultLanguage] {
		if used[id] == "" {
			t.Errorf("%s is used nowhere", id)
		}
	}
	for id, file := range used {
		if text.Shipped()[text.DefaultLanguage][id] == nil {
			t.Errorf("%s uses %s, which is no message", file, id)
		}
	}
}

// TestPluralsAndNumbers: numbers are written, and choose their form, as the
// language wants it.
func TestPluralsAndNumbers(t *testing.T) {
	l := sitetest.English(t)
	for _, c := range []struct {
		language string
		period   time.Duration
		want     string
	}{
		{"en", 7 * sitetest.Day, "7 days"},
		{"en", time.Hour, "1 hour"},
		{"de", 24 * time.Hour, "24\u00a0Stunden"},
		{"de", time.Minute, "1\u00a0Minute"},
		{"fr", 30 * time.Second, "30\u00a0secondes"},
		{"pl", time.Minute, "1\u00a0minutę"},
		{"pl", 2 * time.Minute, "2\u00a0minuty"},
		{"pl", 5 * time.Minute, "5\u00a0minut"},
		{"pl", 22 * time.Minute, "22\u00a0minuty"},
		{"pl", 112 * time.Minute, "112\u00a0minut"},
		{"id", 90 * time.Minute, "90\u00a0menit"},
		{"pt-BR", 1500 * sitetest.Day, "1.500\u00a0dias"},
		{"en", 24*time.Hour + 30*time.Minute, "24 hours"},
		{"en", 49*time.Hour + time.Second, "49 hours"},
		{"en", 7*sitetest.Day + time.Minute, "7 days"},
	} {
		require.Equal(t, c.want, l.Named(c.language).Text(text.InWords(c.period)))
	}
	moment := time.Date(2026, 3, 1, 23, 5, 0, 0, time.FixedZone("", -3600))
	require.Equal(t, "2 March 2026, 00:05 UTC", l.Named("en").Text(text.OnDate(moment)))
	require.Equal(t, "2.\u00a0März 2026 um\u00a000:05\u00a0UTC", l.Named("de").Text(text.OnDate(moment)))
	require.Equal(t, "2 de março de 2026, às\u00a000:05\u00a0UTC", l.Named("pt-BR").Text(text.OnDate(moment)))
	tooLarge := text.Params{"max": web.MaxBody}
	require.Contains(t, refusal.Text(l.Named("en"), refusal.CodeTooLarge, tooLarge), "65,536 bytes")
	require.Contains(t, refusal.Text(l.Named("de"), refusal.CodeTooLarge, tooLarge), "65.536 Byte")
	require.Contains(t, refusal.Text(l.Named("es"), refusal.CodePasswordTooShort, text.Params{"min": 1}), "1 carácter.")
	require.Equal(t, "Der Inhalt der Anfrage ist nicht lesbar: er ist nicht in UTF-8.", refusal.Text(l.Named("de"), refusal.CodeMalformed, web.Malformed("malformed.utf8").Params))
}

func TestAcceptLanguage(t *testing.T) {
	german, err := text.NewLanguages("", "de")
	require.NoError(t, err)
	for _, c := range []struct {
		header, want, wantWithGerman string
	}{
		{"", "en", "de"},
		{"de", "de", "de"},
		{"de-AT,de;q=0.9,en;q=0.8", "de", "de"},
		{"de-CH", "de", "de"},
		{"en-GB,en;q=0.9", "en", "en"},
		{"pt", "pt-BR", "pt-BR"},
		{"pt-br", "pt-BR", "pt-BR"},
		{"es-419", "es-419", "es-419"},
		{"es-MX", "es-419", "es-419"},
		{"es-ES", "es", "es"},
		{"pt-PT", "pt-PT", "pt-PT"},
		{"pt-AO", "pt-PT", "pt-PT"},
		{"fr-CA;q=0.5, pl;q=0.7", "pl", "pl"},
		{"in", "id", "id"}, // the old code of Indonesian
		{"nl, it;q=0.8", "en", "de"},
		{"nl, fr;q=0.1", "fr", "fr"},
		{"th", "en", "de"},
		{"*", "en", "de"},
		{"de;q=0, fr;q=0.5", "fr", "fr"},
		{"de;q=x", "en", "de"},
		// One item that is malformed takes nothing from the others.
		{"de;q=x, fr;q=0.5", "fr", "fr"},
		{"not_a_language!, pl", "pl", "pl"},
		{"fr;q=0.2, \x00, es;q=0.9", "es", "es"},
		{"pl;q=2, fr;q=nan, es;q=0.1", "es", "es"},
		{" , ,fr;q=0.4,,", "fr", "fr"},
		{";;;,,,", "en", "de"},
		{"\x00\xff", "en", "de"},
		{strings.Repeat("de-", 1000), "en", "de"},
	} {
		require.Equal(t, c.want, sitetest.English(t).Choose(c.header).Name, c.header)
		require.Equal(t, c.wantWithGerman, german.Choose(c.header).Name, c.header)
	}
}

func TestOwnCatalogues(t *testing.T) {
	dir := sitetest.TemplatesFolder(t, map[string]string{
		"locales/de.json":    `{"page.login.title": "Hereinspaziert", "field.nickname": "Spitzname"}`,
		"locales/de-AT.json": `{"page.logout.title": "Pfiat di"}`,
		"locales/nl.json":    `{"page.login.title": "Inloggen", "period.days": {"plural": "count", "one": "{count} dag", "other": "{count} dagen"}}`,
		"locales/README":     "not a catalogue",
	})
	l, err := text.NewLanguages(dir, "fr")
	require.NoError(t, err)
	txt := func(accept, id string) string { return l.Choose(accept).Text(text.Say(id)) }
	require.Equal(t, "Hereinspaziert", txt("de", "page.login.title"))
	require.Equal(t, "Abmelden", txt("de", "page.logout.title"))
	require.Equal(t, "Hereinspaziert", txt("de-AT", "page.login.title"), "as in German")
	require.Equal(t, "Pfiat di", txt("de-AT", "page.logout.title"))
	require.Equal(t, "Spitzname", txt("de-AT", "field.nickname"))
	require.Equal(t, "Inloggen", txt("nl-BE", "page.login.title"))
	require.Equal(t, "Se déconnecter", txt("nl", "page.logout.title"), "what it leaves out, in the fallback")
	require.Equal(t, "Sign in", txt("en", "page.login.title"))
	require.Equal(t, "2 dagen", l.Named("nl").Text(text.InWords(2*sitetest.Day)))
	_, err = text.NewLanguages(dir, "nl")
	require.NoError(t, err)
	_, err = text.NewLanguages(dir, "it")
	require.ErrorContains(t, err, "de-AT, en, es, es-419, fr, id, nl, pl, pt-BR, pt-PT, or put it.json into locales")
	_, err = text.NewLanguages(filepath.Join(dir, "nowhere"), "en")
	require.NoError(t, err, "a missing folder is the templates' own error")
}

// TestScripts: who reads one way of writing Chinese is not served by the other, and who asks
// for a second language then gets that one.
func TestScripts(t *testing.T) {
	for _, c := range []struct{ own, header, want string }{
		{"zh-TW", "zh-CN", "en"},
		{"zh-Hant", "zh-CN,zh;q=0.9", "en"},
		{"zh-Hant", "zh-CN, de;q=0.5", "de"},
		{"zh-Hant", "zh-HK", "zh-Hant"},
		{"zh-TW", "zh-Hant", "zh-TW"},
		{"zh-CN", "zh-TW", "en"},
		{"zh-CN", "zh-SG", "zh-CN"},
		{"zh", "zh-Hant-HK", "en"},
		{"sr-Latn", "sr", "sr-Latn"},
		{"nb", "no", "nb"},
	} {
		dir := sitetest.TemplatesFolder(t, map[string]string{"locales/" + c.own + ".json": `{"page.more": "x"}`})
		l, err := text.NewLanguages(dir, "en")
		require.NoError(t, err)
		require.Equal(t, c.want, l.Choose(c.header).Name, c)
	}
}

// TestPartialCatalogues: what a language of the owner's lacks is told, with the first ids;
// one that completes another language lacks nothing.
func TestPartialCatalogues(t *testing.T) {
	require.Empty(t, sitetest.English(t).Partial())
	dir := sitetest.TemplatesFolder(t, map[string]string{
		"locales/ar.json": `{"page.more": "x"}`, "locales/ar-EG.json": `{"page.more": "y"}`, "locales/de-AT.json": `{"page.more": "z"}`, "locales/de.json": `{"page.more": "z"}`, "locales/en-GB.json": `{}`,
	})
	l, err := text.NewLanguages(dir, "fr")
	require.NoError(t, err)
	warnings := l.Partial()
	require.Len(t, warnings, 1)
	all := len(text.Shipped()[text.DefaultLanguage])
	require.Contains(t, warnings[0], fmt.Sprintf("locales/ar.json of the templates folder lacks %d of %d messages (date.day, date.month_1, ", all-1, all))
	require.Contains(t, warnings[0], fmt.Sprintf(" and %d more), which", all-6))
	require.Contains(t, warnings[0], "; add them")
}

// TestLanguagesByTag: an account's language may be one that is spoken no longer.
func TestLanguagesByTag(t *testing.T) {
	l := sitetest.English(t)
	for name, want := range map[string]string{"de": "de", "de-AT": "de", "pt": "pt-BR", "PL": "pl"} {
		require.Equal(t, want, l.Spoken(name).Name, name)
	}
	for _, name := range []string{"", "th", "und", "de;q=1", "de,en", "\x00", strings.Repeat("de-", 20)} {
		require.Nil(t, l.Spoken(name), name)
	}
	require.Equal(t, "de", l.Named("", "th", "de-CH", "fr").Name)
	require.Equal(t, "en", l.Named("", "th").Name)
}

// TestOwnNames: a language is called by its own name, in its own catalogue or as we know it.
func TestOwnNames(t *testing.T) {
	dir := sitetest.TemplatesFolder(t, map[string]string{
		"locales/ar.json": `{}`, "locales/de-AT.json": `{}`, "locales/de-CH.json": `{"language.name": "Deutsch (Schweiz)"}`, "locales/tlh.json": `{}`, "locales/nl.json": `{"language.name": "Vlaams"}`,
	})
	l, err := text.NewLanguages(dir, "en")
	require.NoError(t, err)
	got := map[string]string{}
	for _, in := range l.Locales {
		got[in.Name] = in.Called
	}
	for name, want := range map[string]string{
		"en": "English", "de": "Deutsch", "fr": "Français", "es": "Español", "pt-BR": "Português (Brasil)", "pt-PT": "Português (Portugal)", "es-419": "Español (Latinoamérica)", "pl": "Polski", "id": "Bahasa Indonesia",
		"ar": "العربية", "de-AT": "Deutsch (de-AT)", "de-CH": "Deutsch (Schweiz)", "tlh": "tlh", "nl": "Vlaams",
	} {
		require.Equal(t, want, got[name], name)
	}
}

// TestShippedNames: what a shipped catalogue calls its language is known without reading it, and
// so is that it lacks nothing.
func TestShippedNames(t *testing.T) {
	l := sitetest.English(t)
	for name := range text.Shipped() {
		in := l.Spoken(name)
		require.Equal(t, in.Text(text.Say("language.name")), in.Called, "%s: write what it calls itself into names (languages.go)", name)
		require.Equal(t, children[name] != "", len(in.Lineage) > 1, "%s: TestCataloguesAgree takes the others for whole", name)
	}
}

// TestCataloguesAreReadWhenSpoken: a start reads none, and a text only those that it may stand in.
func TestCataloguesAreReadWhenSpoken(t *testing.T) {
	var l *text.Languages
	require.Empty(t, text.ReadBy(func() {
		var err error
		l, err = text.NewLanguages("", "pt-PT")
		require.NoError(t, err)
		require.Empty(t, l.Partial())
		require.Len(t, l.Listed(), 9)
		require.Equal(t, "fr", l.Choose("fr-CH").Name)
	}))
	var got string
	asked := text.ReadBy(func() {
		l, err := text.NewLanguages("", "fr")
		require.NoError(t, err)
		got = l.Named("pt-PT").Text(text.Say("field.password"))
	})
	require.Equal(t, "Palavra-passe", got)
	require.Equal(t, map[string]bool{"pt-PT": true}, asked)
}

// TestChildren: what a small catalogue doesn't say, it says as the one that it rests on, which
// is not always one by its tag.
func TestChildren(t *testing.T) {
	dir := sitetest.TemplatesFolder(t, map[string]string{"locales/pt-BR.json": `{"page.more": "Mais coisas"}`, "locales/pt-AO.json": `{"page.optional": "(se quiser)"}`})
	l, err := text.NewLanguages(dir, "fr")
	require.NoError(t, err)
	require.Equal(t, []string{"es-419", "es"}, l.Named("es-419").Lineage)
	require.Equal(t, []string{"pt-PT", "pt-BR"}, l.Named("pt-PT").Lineage)
	require.Equal(t, []string{"pt-AO", "pt-PT", "pt-BR"}, l.Named("pt-AO").Lineage)
	say := func(name, id string) string { return l.Named(name).Text(text.Say(id)) }
	require.Equal(t, "Mais coisas", say("pt-PT", "page.more"))
	require.Equal(t, "Mais coisas", say("pt-AO", "page.more"))
	require.Equal(t, "Palavra-passe", say("pt-AO", "field.password"))
	require.Equal(t, "(se quiser)", say("pt-AO", "page.optional"))
	require.Equal(t, "Senha", say("pt-BR", "field.password"))
	require.Equal(t, "¿No fuiste tú?", say("es-419", "mail.not_you"))
	require.Equal(t, "¿No has sido tú?", say("es", "mail.not_you"))
	require.Empty(t, l.Partial())
}

func TestOwnCataloguesWrong(t *testing.T) {
	for content, want := range map[string]string{
		`{"page.login.titel": "x"}`:                                          `there is no message "page.login.titel"`,
		`{"error.max_length": {"plural": "max", "other": "{maximum}"}}`:      `"error.max_length" mentions {maximum}, which it can't; it can mention: {max}`,
		`{"page.login.title": "Hallo {name}"}`:                               "it can mention: nothing",
		`{"page.login.title": {"plural": "site", "other": "x"}}`:             `plural forms by "site"`,
		`{"page.login.title": "a { b"}`:                                      "begins no placeholder",
		`{"page.login.title": 3}`:                                            `line 1, column 23: "page.login.title" is neither a text nor`,
		`{"period.days": {"plural": "count", "one": "x"}}`:                   `the form "other"`,
		`{"period.days": {"plural": "count", "several": "x", "other": "y"}}`: `unknown plural form "several"`,
		"{\n  \"page.login.title\": \"x\"\n  \"page.more\": \"y\"\n}":        "line 3, column 3: invalid character",
		`{"page.more": "x", "page.more": "y"}`:                               `"page.more" stands twice`,
		`["x"]`:                                                              "one JSON object",
		`{"page.more": "x"`:                                                  "unexpected EOF",
		``:                                                                   "line 1, column 1: unexpected EOF",
		`{"page.more": "x"} {}`:                                              "there is more",
	} {
		dir := sitetest.TemplatesFolder(t, map[string]string{"locales/de.json": content})
		_, err := text.NewLanguages(dir, "en")
		require.ErrorContains(t, err, filepath.Join(dir, "locales", "de.json")+": ", content)
		require.ErrorContains(t, err, want, content)
	}
	for name, want := range map[string]string{"deutsch!.json": "not a BCP 47 language tag", "PT-br.json": "name it pt-BR.json", "und.json": "not a BCP 47"} {
		_, err := text.NewLanguages(sitetest.TemplatesFolder(t, map[string]string{"locales/" + name: `{}`}), "en")
		require.ErrorContains(t, err, want)
	}
}

func FuzzAcceptLanguage(f *testing.F) {
	f.Add("de-AT,de;q=0.9,en;q=0.8,*;q=0.1")
	f.Add("zh-Hant-TW-u-co-stroke;q=1")
	l := sitetest.English(f)
	f.Fuzz(func(t *testing.T, header string) { require.NotNil(t, l.Choose(header)) })
}

func BenchmarkAcceptLanguage(b *testing.B) {
	l := sitetest.English(b)
	for b.Loop() {
		l.Choose("de-AT,de;q=0.9,en-US;q=0.8,en;q=0.7")
	}
}
