// Package langtest finds English in what a person sees, and walks through a
// site to see everything. It is used by tests alone, in-process and against a
// built Caddy.
package langtest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// words are English, and in none of the shipped languages.
var words = strings.Fields(`the and your you please this that with not are were have been sign signed password
	account address confirm send new again forgot forgotten click save first last optional required field found used already another
	from can here there which must only time these those something wrong right need needs needed mailed soon try tries valid
	somebody everybody everywhere else way back home front when where who what if it is of they them their our ours we us`)

// A Checker knows the English texts and those of one other language.
type Checker struct {
	// chunks are what English messages say between their placeholders.
	chunks []string
	words  map[string]bool
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// catalogue returns the texts of a catalogue file, plural forms one by one.
func catalogue(folder, tag string) ([]string, error) {
	raw, err := os.ReadFile(filepath.Join(folder, tag+".json")) //nolint:gosec // a test's own path
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	var texts []string
	for _, v := range all {
		switch v := v.(type) {
		case string:
			texts = append(texts, v)
		case map[string]any:
			for _, form := range v {
				texts = append(texts, fmt.Sprint(form))
			}
		}
	}
	return texts, nil
}

// shared are the words of the list that a language has as well.
var shared = map[string][]string{"de": {"optional"}, "id": {"valid"}}

// New reads the catalogues in a folder.
func New(folder, tag string) (*Checker, error) {
	english, err := catalogue(folder, "en")
	if err != nil {
		return nil, err
	}
	other, err := catalogue(folder, tag)
	if err != nil {
		return nil, err
	}
	c := &Checker{words: map[string]bool{}}
	for _, w := range words {
		c.words[w] = !slices.Contains(shared[tag], w)
	}
	all := strings.Join(other, "\n")
	for _, text := range english {
		for _, chunk := range placeholder.Split(text, -1) {
			// Media types and the like are in every language.
			if chunk = strings.TrimSpace(chunk); len(chunk) > 5 && strings.Contains(chunk, " ") && !strings.Contains(all, chunk) {
				c.chunks = append(c.chunks, chunk)
			}
		}
	}
	return c, nil
}

// Text returns the English in a text.
func (c *Checker) Text(text string) []string {
	var found []string
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && r != '\'' && r != '’' }) {
		if c.words[strings.ToLower(word)] {
			found = append(found, fmt.Sprintf("%q in %q", word, text))
		}
	}
	for _, chunk := range c.chunks {
		if strings.Contains(text, chunk) {
			found = append(found, fmt.Sprintf("%q in %q", chunk, text))
		}
	}
	return found
}

// HTML returns the English in the text and the spoken attributes of a page.
func (c *Checker) HTML(page string) []string {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			found = append(found, c.Text(strings.Join(strings.Fields(n.Data), " "))...)
		}
		for _, a := range n.Attr {
			if slices.Contains([]string{"alt", "title", "placeholder", "aria-label"}, a.Key) {
				found = append(found, c.Text(a.Val)...)
			}
		}
	}
	return found
}

// JSON returns the English in the values of an answer, but for what no person
// reads: codes, and the names of fields.
func (c *Checker) JSON(answer string) []string {
	var v any
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		return []string{err.Error() + ": " + answer}
	}
	return c.value(v)
}

func (c *Checker) value(v any) (found []string) {
	switch v := v.(type) {
	case string:
		return c.Text(v)
	case []any:
		for _, inner := range v {
			found = append(found, c.value(inner)...)
		}
	case map[string]any:
		for key, inner := range v {
			if key != "code" && key != "type" && key != "token" {
				found = append(found, c.value(inner)...)
			}
		}
	}
	return found
}
