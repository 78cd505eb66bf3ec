// mirrored.go: a language from right to left with all messages, made of the English ones.

package langtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// arabic are letters in place of a to z.
var arabic = []rune("ابتثجحخدذرزسشصضطظعغفقكلمنه")

// Mirrored is a catalogue of Arabic letters: the English messages in them, with their
// placeholders and digits as they are. It says nothing, but it is as long, and runs as Arabic
// does. locales is the folder of the catalogues.
func Mirrored(locales string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(locales, "en.json")) //nolint:gosec // a test's own path
	if err != nil {
		return "", err
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return "", err
	}
	for id, message := range all {
		switch m := message.(type) {
		case string:
			all[id] = mirror(m)
		case map[string]any:
			for form, said := range m {
				if said, ok := said.(string); ok && form != "plural" {
					m[form] = mirror(said)
				}
			}
		}
	}
	out, err := json.Marshal(all)
	return string(out), err
}

func mirror(text string) string {
	kept := false
	return strings.Map(func(r rune) rune {
		switch {
		case r == '{' || r == '}':
			kept = r == '{'
		case !kept && r|0x20 >= 'a' && r|0x20 <= 'z':
			return arabic[(r|0x20)-'a']
		}
		return r
	}, text)
}
