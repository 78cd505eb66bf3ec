// languages.go: the languages that a realm speaks, what each catalogue rests on, what it is
// called by those who speak it, and which of them suits a request or an account.

package text

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/text/language"
	textmessage "golang.org/x/text/message"
)

// An UnknownLanguageError says that the fallback is a language of which there is
// no catalogue, and what to write instead.
type UnknownLanguageError string

// Error implements error.
func (e UnknownLanguageError) Error() string { return string(e) }

// MaxAcceptLanguage bounds how much of an Accept-Language header is looked at.
const MaxAcceptLanguage = 512

// maxTag bounds the tag of a language, in bytes (RFC 5646, 4.4.1).
const maxTag = 35

// Languages are those that a realm speaks, the fallback first.
type Languages struct {
	Locales []*Locale
	listed  []*Locale // see Listed
	matcher language.Matcher
	// chosen remembers the answers to headers: matching takes 13 µs, and few
	// headers come often. What comes after the first maxChosen is matched anew.
	chosen      sync.Map // string -> *locale
	chosenCount atomic.Int32
}

const maxChosen = 512

// restsOn are catalogues that rest on one that is no parent by its tag: of Portuguese only
// that of Brazil is whole.
var restsOn = map[string]string{"pt-PT": "pt-BR"}

// NewLanguages puts the shipped catalogues and the owner's together. fallback is
// who is spoken to in no language that we know; it has to be one that we know.
func NewLanguages(folder, fallback string) (*Languages, error) {
	own, err := ownCatalogues(folder)
	if err != nil {
		return nil, err
	}
	catalogues := make(map[string][]func() catalogue, len(shipped)+len(own))
	for name, c := range own {
		catalogues[name] = append(catalogues[name], func() catalogue { return c })
	}
	for name, c := range shipped {
		catalogues[name] = append(catalogues[name], c)
	}
	if catalogues[fallback] == nil {
		return nil, UnknownLanguageError(fmt.Sprintf("%q is not a language that we know; write one of %s, or put %s.json into %s of the templates folder",
			fallback, strings.Join(slices.Sorted(maps.Keys(catalogues)), ", "), fallback, localesFolder))
	}
	names := slices.Sorted(maps.Keys(catalogues))
	names = append([]string{fallback}, slices.DeleteFunc(names, func(name string) bool { return name == fallback })...)
	l := &Languages{}
	tags := make([]language.Tag, len(names))
	for i, name := range names {
		tags[i] = language.MustParse(name)
		known := &Locale{tag: tags[i], Name: name, Dir: directionOf(tags[i]), printer: textmessage.NewPrinter(tags[i]), Lineage: lineage(tags[i], catalogues)}
		known.Called = called(name, known.Lineage, own)
		// What a catalogue does not say: de-AT says it as de, and then comes the fallback.
		for _, from := range append(slices.Clone(known.Lineage), fallback, DefaultLanguage) {
			known.texts = append(known.texts, catalogues[from]...)
		}
		// What another language completes is no lack, and of the shipped ones each that rests on
		// none is whole.
		if len(known.Lineage) == 1 && shipped[name] == nil {
			known.Missing = missing(own[name])
		}
		l.Locales = append(l.Locales, known)
	}
	l.matcher = language.NewMatcher(tags)
	l.listed = slices.SortedFunc(slices.Values(l.Locales), func(a, b *Locale) int { return cmp.Or(cmp.Compare(a.Called, b.Called), cmp.Compare(a.Name, b.Name)) })
	return l, nil
}

// lineage are the tags of the catalogues on which one rests, itself first.
func lineage(tag language.Tag, catalogues map[string][]func() catalogue) (out []string) {
	for ; tag != language.Und; tag = tag.Parent() {
		name := tag.String()
		if catalogues[name] != nil {
			out = append(out, name)
		}
		if on := restsOn[name]; on != "" && len(out) > 0 {
			return append(out, on)
		}
	}
	return out
}

// missing are the ids of the messages that a catalogue lacks, sorted.
func missing(c catalogue) (ids []string) {
	for id := range english() {
		if c[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// maxNamed is how many of the missing messages a warning names.
const maxNamed = 5

// Partial says of each language whose catalogue lacks messages which those are: its
// readers see another language there, on pages that say they are in theirs. A catalogue
// that rests on another one lacks nothing.
func (l *Languages) Partial() (warnings []string) {
	for _, in := range l.Locales {
		n := len(in.Missing)
		if n == 0 {
			continue
		}
		named := strings.Join(in.Missing[:min(n, maxNamed)], ", ")
		if n > maxNamed {
			named += fmt.Sprintf(" and %d more", n-maxNamed)
		}
		warnings = append(warnings, fmt.Sprintf("%s/%s.json of the templates folder lacks %d of %d messages (%s), which people read in another language, on pages and in mails that say they are in %s; add them, as templates/locales/en.json has them",
			localesFolder, in.Name, n, len(english()), named, in.Name))
	}
	return warnings
}

// nameID is the message with what a language calls itself.
const nameID = "language.name"

// names are what languages call themselves: those of the shipped catalogues, as these have it
// (nameID), and those that owners are likely to add.
var names = map[string]string{
	"de": "Deutsch", "en": "English", "es": "Español", "es-419": "Español (Latinoamérica)", "fr": "Français", "id": "Bahasa Indonesia", "pl": "Polski",
	"pt-BR": "Português (Brasil)", "pt-PT": "Português (Portugal)",
	"ar": "العربية", "bg": "Български", "bn": "বাংলা", "ca": "Català", "cs": "Čeština", "cy": "Cymraeg", "da": "Dansk", "el": "Ελληνικά",
	"et": "Eesti", "eu": "Euskara", "fa": "فارسی", "fi": "Suomi", "ga": "Gaeilge", "gl": "Galego", "he": "עברית", "hi": "हिन्दी", "hr": "Hrvatski",
	"hu": "Magyar", "hy": "Հայերեն", "is": "Íslenska", "it": "Italiano", "ja": "日本語", "ka": "ქართული", "ko": "한국어", "lb": "Lëtzebuergesch",
	"lt": "Lietuvių", "lv": "Latviešu", "mk": "Македонски", "ms": "Bahasa Melayu", "mt": "Malti", "nb": "Norsk bokmål", "nl": "Nederlands",
	"nn": "Norsk nynorsk", "no": "Norsk", "pt": "Português", "ro": "Română", "ru": "Русский", "sk": "Slovenčina", "sl": "Slovenščina", "sq": "Shqip",
	"sr": "Српски", "sr-Latn": "Srpski", "sv": "Svenska", "sw": "Kiswahili", "ta": "தமிழ்", "th": "ไทย", "tr": "Türkçe", "uk": "Українська", "ur": "اردو",
	"vi": "Tiếng Việt", "zh": "中文", "zh-Hans": "简体中文", "zh-CN": "简体中文", "zh-Hant": "繁體中文", "zh-TW": "繁體中文",
}

// called is what a language is called by those who speak it: by the owner's catalogue, else as
// we know it, else by the language that it rests on and its own tag.
func called(name string, lineage []string, catalogues map[string]catalogue) string {
	own := func(name string) string {
		if t := catalogues[name][nameID]; t != nil && t.By == "" {
			return t.parts[0]
		}
		return names[name]
	}
	if known := own(name); known != "" {
		return known
	}
	for _, on := range lineage {
		if known := own(on); known != "" {
			return known + " (" + name + ")"
		}
	}
	return name
}

// Listed are all languages as people look for theirs, by what they are called.
func (l *Languages) Listed() []*Locale { return l.listed }

// Choose returns the language that suits an Accept-Language header (RFC 9110,
// 12.5.4) best, the fallback where none does.
func (l *Languages) Choose(accept string) *Locale {
	if accept == "" || len(accept) > MaxAcceptLanguage {
		return l.Locales[0]
	}
	if known, ok := l.chosen.Load(accept); ok {
		return known.(*Locale)
	}
	found := l.match(accept)
	if l.chosenCount.Load() < maxChosen {
		l.chosenCount.Add(1)
		l.chosen.Store(accept, found)
	}
	return found
}

// match takes the first language of a header, by its weights, that suits. An item that is
// malformed says nothing, and takes nothing from the others.
func (l *Languages) match(accept string) *Locale {
	type choice struct {
		tag    language.Tag
		weight float32
	}
	var wanted []choice
	for item := range strings.SplitSeq(accept, ",") {
		tags, weights, err := language.ParseAcceptLanguage(strings.TrimSpace(item))
		if err == nil && len(tags) == 1 && weights[0] > 0 && weights[0] <= 1 {
			wanted = append(wanted, choice{tags[0], weights[0]})
		}
	}
	slices.SortStableFunc(wanted, func(a, b choice) int { return cmp.Compare(b.weight, a.weight) })
	for _, w := range wanted {
		if known := l.suits(w.tag); known != nil {
			return known
		}
	}
	return l.Locales[0]
}

// suits is the language that who reads a tag reads, too; nil: none is.
func (l *Languages) suits(tag language.Tag) *Locale {
	_, i, confidence := l.matcher.Match(tag)
	if confidence >= language.High || confidence == language.Low && readsBothScripts(tag) {
		return l.Locales[i]
	}
	return nil
}

// readsBothScripts: a low confidence is mostly about the script, and who reads Chinese in
// simplified characters is not served by traditional ones; who reads Serbian reads both.
func readsBothScripts(tag language.Tag) bool {
	base, _ := tag.Base()
	return base.String() == "sr"
}

// Spoken is the language of a tag, or the one that who speaks it reads too; nil: none is
// spoken, or it is no tag.
func (l *Languages) Spoken(name string) *Locale {
	for _, known := range l.Locales {
		if known.Name == name {
			return known
		}
	}
	if name == "" || len(name) > maxTag {
		return nil
	}
	tag, err := language.Parse(name)
	if err != nil || tag == language.Und {
		return nil
	}
	return l.suits(tag)
}

// Named returns the first language of tags, the most wanted first, that is (still) spoken;
// else the fallback.
func (l *Languages) Named(names ...string) *Locale {
	for _, name := range names {
		if known := l.Spoken(name); known != nil {
			return known
		}
	}
	return l.Locales[0]
}
