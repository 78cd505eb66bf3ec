// catalogue.go: where the messages come from: the shipped catalogues, and the
// owner's files in locales/ of the templates folder, checked as they are read.

package text

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"

	"github.com/seed-928992b0/caddy-registration/templates"
)

// DefaultLanguage is whose catalogue defines which messages there are and what
// they can mention.
const DefaultLanguage = "en"

// localesFolder has the catalogues, one file a language, named after its tag.
const localesFolder = "locales"

// catalogue is what one file says. The plural rules and numbers are those of
// golang.org/x/text; the rest is no library's, because a file of the owner's has to be
// refused when it is read if it mentions what a message does not have, and go-i18n's
// messages are Go templates, which fail when they are shown.
type catalogue map[string]*messageText

// shipped are the catalogues that are part of the program, by their tags. Each is read when
// somebody is spoken to in it: to read them all takes longer than all else of a start, and
// most sites are read in two or three languages.
var shipped = func() map[string]func() catalogue {
	entries, err := templates.FS.ReadDir(localesFolder)
	if err != nil {
		panic(err) // part of the program; tests read them all
	}
	all := make(map[string]func() catalogue, len(entries))
	for _, entry := range entries {
		all[strings.TrimSuffix(entry.Name(), ".json")] = sync.OnceValue(func() catalogue { return readShipped(entry.Name()) })
	}
	return all
}()

func readShipped(name string) catalogue {
	raw, err := templates.FS.ReadFile(localesFolder + "/" + name)
	if err != nil {
		panic(err)
	}
	c, err := readCatalogue(raw)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	return c
}

// Shipped are all of them, read.
func Shipped() map[string]catalogue {
	all := make(map[string]catalogue, len(shipped))
	for name, c := range shipped {
		all[name] = c()
	}
	return all
}

// english is the catalogue that defines what there is to say.
func english() catalogue { return shipped[DefaultLanguage]() }

// ShippedLanguages are the tags of the shipped catalogues, sorted.
func ShippedLanguages() []string { return slices.Sorted(maps.Keys(shipped)) }

// readCatalogue reads one JSON object of messages. Its errors say where: the
// line and column, or the message.
func readCatalogue(raw []byte) (catalogue, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	at := func(err error) error {
		offset := dec.InputOffset()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		before := raw[:max(0, min(int(offset), len(raw)))]
		line := bytes.Count(before, []byte("\n")) + 1
		return fmt.Errorf("line %d, column %d: %w", line, len(before)-bytes.LastIndexByte(before, '\n'), err)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, at(err)
	}
	if token != json.Delim('{') {
		return nil, at(errors.New("the file has to be one JSON object of messages by id"))
	}
	c := catalogue{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, at(err)
		}
		id, _ := token.(string) // in an object, a key is next
		if c[id] != nil {
			return nil, at(fmt.Errorf("%q stands twice", id))
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, at(err)
		}
		text := new(messageText)
		if err := text.UnmarshalJSON(value); err != nil {
			return nil, at(fmt.Errorf("%q %w", id, err))
		}
		c[id] = text
	}
	if _, err := dec.Token(); err != nil {
		return nil, at(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, at(errors.New("there is more after the object"))
	}
	return c, nil
}

// check says what is wrong with a catalogue: a message that nobody shows, or a
// placeholder that is never filled in. A label of an added field, field.<name>,
// may be there: the English catalogue can't know it.
func (c catalogue) check() error {
	english := english()
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(c)) {
		known, ok := english[id]
		if !ok && !strings.HasPrefix(id, "field.") {
			errs = append(errs, fmt.Errorf("there is no message %q; the ids are those of templates/locales/en.json", id))
			continue
		}
		var allowed []string
		if ok {
			allowed = append(known.Placeholders(), unsaid[id]...)
		}
		for _, name := range c[id].Placeholders() {
			if !slices.Contains(allowed, name) {
				errs = append(errs, fmt.Errorf("%q mentions {%s}, which it can't; it can mention: %s", id, name, orNothing(allowed)))
			}
		}
		if by := c[id].By; by != "" && (known == nil || known.By != by) {
			errs = append(errs, fmt.Errorf("%q has plural forms by %q, but there is no such number", id, by))
		}
	}
	return errors.Join(errs...)
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return "{" + strings.Join(names, "}, {") + "}"
}

// Placeholders are the names that a message mentions, in any of its forms, sorted.
func (t *messageText) Placeholders() []string {
	names := map[string]bool{}
	for i := 1; i < len(t.parts); i += 2 {
		names[t.parts[i]] = true
	}
	for _, form := range t.Forms {
		for _, name := range form.Placeholders() {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// ownCatalogues reads the owner's files, by their tags.
func ownCatalogues(folder string) (map[string]catalogue, error) {
	if folder == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Join(folder, localesFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	own := map[string]catalogue{}
	var errs []error
	for _, entry := range entries {
		name, isCatalogue := strings.CutSuffix(entry.Name(), ".json")
		if !isCatalogue {
			continue
		}
		file := filepath.Join(folder, localesFolder, entry.Name())
		c, err := readOwnCatalogue(file, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", file, err))
			continue
		}
		own[name] = c
	}
	return own, errors.Join(errs...)
}

func readOwnCatalogue(file, name string) (catalogue, error) {
	if tag, err := language.Parse(name); err != nil || tag == language.Und {
		return nil, errors.New("the name is not a BCP 47 language tag; name it for example nl.json or pt-PT.json")
	} else if tag.String() != name {
		return nil, fmt.Errorf("name it %s.json, the way the language's tag is written", tag)
	}
	raw, err := os.ReadFile(file) //nolint:gosec // the owner names the folder
	if err != nil {
		return nil, err
	}
	c, err := readCatalogue(raw)
	if err != nil {
		return nil, err
	}
	return c, c.check()
}
