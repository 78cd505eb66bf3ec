// words_test.go: the rules for every text that people read: the marks that a language has,
// lengths, one term a thing. The terms of each language stand in templates/glossary.

package text_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// words are the texts of a shipped catalogue by id, each form of a plural one by itself.
func words(t *testing.T, name string) map[string][]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(sitetest.Root(), "templates", "locales", name+".json"))
	require.NoError(t, err)
	var file map[string]any
	require.NoError(t, json.Unmarshal(raw, &file))
	all := map[string][]string{}
	for id, value := range file {
		switch v := value.(type) {
		case string:
			all[id] = []string{v}
		case map[string]any:
			for form, text := range v {
				if form != "plural" {
					all[id] = append(all[id], text.(string))
				}
			}
		}
	}
	return all
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// A mark is what no text of these languages has; languages "": of any.
type mark struct {
	languages string
	wrong     *regexp.Regexp
	why       string
}

var marks = []mark{
	{"", regexp.MustCompile(`  `), "two spaces"},
	{"", regexp.MustCompile(`^\s|\s$`), "a space at its end"},
	{"de en es id pl pt", regexp.MustCompile(`[ \x{a0}\x{202f}][:;?!]`), "a space before a mark"},
	{"fr", regexp.MustCompile(`(?:^|[^\x{202f}?!])[;?!]`), "no narrow no-break space (U+202F) before ; ? !"},
	{"fr", regexp.MustCompile(`(?:^|[^\x{a0}0-9}s]):|[0-9}]:(?:$|[^0-9{])`), "no no-break space (U+00A0) before a colon"},
	{"fr", regexp.MustCompile(`'`), "a straight apostrophe"},
	{"fr", regexp.MustCompile(`«(?:[^\x{a0}]|$)|(?:[^\x{a0}]|^)»`), "no no-break space (U+00A0) within quotation marks"},
	{"en", regexp.MustCompile(`'`), "a straight apostrophe"},
	{"", regexp.MustCompile(`"`), "straight quotation marks"},
	{"", regexp.MustCompile(`\.\.\.`), "three dots for an ellipsis"},
}

// politeness has no place where something went wrong: say what to do.
var politeness = map[string]*regexp.Regexp{
	"de": regexp.MustCompile(`(?i)\bbitte\b`),
	"en": regexp.MustCompile(`(?i)\bplease\b`),
	"es": regexp.MustCompile(`(?i)\bpor favor\b`),
	"fr": regexp.MustCompile(`(?i)\bveuillez\b|s’il vous plaît`),
	"id": regexp.MustCompile(`(?i)\b(silakan|mohon|harap|tolong)\b`),
	"pl": regexp.MustCompile(`(?i)\bprosz[eę]\b`),
	"pt": regexp.MustCompile(`(?i)\bpor favor\b`),
}

// Bounds in characters, without what the placeholders stand for.
const (
	maxButton  = 25
	maxSubject = 60
	maxError   = 90
)

// isButton says whether a message is what a button says.
func isButton(id string) bool {
	return strings.HasSuffix(id, ".submit") || strings.HasSuffix(id, ".button")
}

// isRefusal says whether a message tells of an error.
func isRefusal(id string) bool {
	for _, group := range []string{"error.", "invalid.", "throttled.", "factor.invalid", "page.error."} {
		if strings.HasPrefix(id, group) {
			return true
		}
	}
	return false
}

func TestMarksAndLengths(t *testing.T) {
	for _, name := range text.ShippedLanguages() {
		base, _, _ := strings.Cut(name, "-")
		for id, texts := range words(t, name) {
			for _, said := range texts {
				for _, m := range marks {
					if (m.languages == "" || slices.Contains(strings.Fields(m.languages), base)) && m.wrong.MatchString(said) {
						t.Errorf("%s: %s has %s: %q", name, id, m.why, said)
					}
				}
				length := utf8.RuneCountInString(placeholder.ReplaceAllString(said, ""))
				switch {
				case isButton(id) && length > maxButton:
					t.Errorf("%s: %s is a button of %d characters, more than %d: %q", name, id, length, maxButton, said)
				case strings.HasSuffix(id, ".subject") && length > maxSubject:
					t.Errorf("%s: %s is a subject of %d characters, more than %d: %q", name, id, length, maxSubject, said)
				case isRefusal(id) && length > maxError && !slices.Contains(longErrors, id):
					t.Errorf("%s: %s is an error of %d characters, more than %d: %q", name, id, length, maxError, said)
				}
				if isRefusal(id) && politeness[base].MatchString(said) {
					t.Errorf("%s: %s begs: %q", name, id, said)
				}
			}
		}
	}
}

// longErrors say more than fits: two ways on, or whose fault it is not.
var longErrors = []string{"error.linked_known", "page.error.behind_guard"}

// A term is how a language says a thing. All are regular expressions: Is finds the term in
// a text, Not what must not stand for it, But what is no use of it.
type term struct {
	Word string `json:"word"`
	Is   string `json:"is"`
	Not  string `json:"not"`
	But  string `json:"but"`
	// Except has the messages that say it without the term, as the language does.
	Except []string `json:"except"`
}

func glossary(t *testing.T, name string) map[string]term {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(sitetest.Root(), "templates", "glossary", name+".json"))
	require.NoError(t, err)
	var terms map[string]term
	require.NoError(t, json.Unmarshal(raw, &terms), name)
	return terms
}

// TestOneTermAThing: where English uses a term of the glossary, the language uses its own
// for it, and no other word.
func TestOneTermAThing(t *testing.T) {
	english, said := glossary(t, "en"), words(t, "en")
	require.GreaterOrEqual(t, len(english), 40)
	for _, name := range text.ShippedLanguages() {
		if _, child := children[name]; child { // it has words of its own for some of its parent's terms
			continue
		}
		terms := glossary(t, name)
		texts := words(t, name)
		require.ElementsMatch(t, slices.Collect(maps.Keys(english)), slices.Collect(maps.Keys(terms)), "%s: the terms of templates/glossary/en.json", name)
		for thing, term := range terms {
			is, inEnglish := regexp.MustCompile(term.Is), regexp.MustCompile(english[thing].Is)
			for _, id := range term.Except {
				require.Contains(t, texts, id, "%s: %q excepts a message that there is not", name, thing)
			}
			for id, forms := range texts {
				if slices.Contains(term.Except, id) {
					continue
				}
				for _, text := range forms {
					text = placeholder.ReplaceAllString(text, "")
					if term.But != "" {
						text = regexp.MustCompile(term.But).ReplaceAllString(text, "")
					}
					if term.Not != "" && regexp.MustCompile(term.Not).MatchString(text) {
						t.Errorf("%s: %s has another word than %q for %q: %q", name, id, term.Word, thing, text)
					}
					if name != "en" && says(said[id], inEnglish) && !is.MatchString(text) {
						t.Errorf("%s: %s doesn't say %q for %q: %q", name, id, term.Word, thing, text)
					}
				}
			}
		}
	}
}

// says reports whether a term stands in all forms of a message.
func says(forms []string, is *regexp.Regexp) bool {
	for _, form := range forms {
		if !is.MatchString(placeholder.ReplaceAllString(form, "")) {
			return false
		}
	}
	return len(forms) > 0
}
