// messages.go: what people read, by stable ids: the catalogues in
// templates/locales, their placeholders and plural forms, and the way from an
// id to the text in one language.

package registration

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	textmessage "golang.org/x/text/message"
	"golang.org/x/text/number"
)

// Params are the values that a message mentions, by the name of its
// placeholder. Whole numbers are written as the language writes them, a phrase
// is put into the language first, anything else is taken as it is.
type Params map[string]any

// A phrase is what a person will read, before the language is known: a message
// of the catalogue, or the words of the site's owner.
type phrase struct {
	id     string
	params Params
	// words are the owner's own (a label from the configuration). They are
	// the same in every language.
	words string
}

// say is the phrase with this id.
func say(id string, params ...Params) phrase {
	p := phrase{id: id}
	if len(params) > 0 {
		p.params = params[0]
	}
	return p
}

// inWords is a period in its largest whole unit.
func inWords(d time.Duration) phrase {
	count := func(unit time.Duration) Params { return Params{"count": int64(d / unit)} }
	switch {
	case d >= 2*24*time.Hour && d%(24*time.Hour) == 0:
		return say("period.days", count(24*time.Hour))
	case d >= time.Hour && d%time.Hour == 0:
		return say("period.hours", count(time.Hour))
	case d >= time.Minute:
		return say("period.minutes", count(time.Minute))
	}
	return say("period.seconds", count(time.Second))
}

// months in the order of the year.
var months = [...]string{
	"date.month_1", "date.month_2", "date.month_3", "date.month_4", "date.month_5", "date.month_6",
	"date.month_7", "date.month_8", "date.month_9", "date.month_10", "date.month_11", "date.month_12",
}

// onDate is a moment to the minute, in UTC: where the reader is, nobody knows.
// golang.org/x/text writes no dates; the order of their parts is a message.
func onDate(t time.Time) phrase {
	t = t.UTC()
	return say("date.time", Params{
		"day": t.Day(), "month": say(months[t.Month()-1]), "year": strconv.Itoa(t.Year()), "time": t.Format("15:04"),
	})
}

// A messageText is one message in one language, taken apart when it is loaded.
type messageText struct {
	// parts are literal text and, at odd places, the names of placeholders.
	parts []string
	// by names the number that chooses among forms; "": there is one form, parts.
	by    string
	forms map[plural.Form]*messageText
}

// A locale has every message in one language. It does not change once loaded.
type locale struct {
	tag  language.Tag
	name string // the BCP 47 tag, as in lang and Content-Language
	// lineage has the tags of the catalogues that it rests on, the closest first:
	// itself, then its parents. Mail templates are chosen by it.
	lineage []string
	// texts by id, what was missing filled in from the fallback.
	texts   catalogue
	printer *textmessage.Printer
}

// text puts a phrase into words.
func (l *locale) text(p phrase) string {
	t, ok := l.texts[p.id]
	if !ok {
		return p.words
	}
	return l.fill(t, p.params)
}

// message is for templates: the text with this id, or an error that names it.
func (l *locale) message(id string, params Params) (string, error) {
	if l.texts[id] == nil {
		return "", fmt.Errorf("there is no message %q", id)
	}
	return l.text(phrase{id: id, params: params}), nil
}

// moment writes a time that is given as in RFC 3339; any other text stays.
func (l *locale) moment(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	return l.text(onDate(t))
}

// status is the title of a refusal, the phrase for an HTTP status.
func (l *locale) status(code int) string {
	return l.text(phrase{id: "status." + strconv.Itoa(code)})
}

func (l *locale) fill(t *messageText, params Params) string {
	if t.by != "" {
		form := plural.Other
		if n, ok := wholeNumber(params[t.by]); ok {
			form = plural.Cardinal.MatchPlural(l.tag, int(min(n, math.MaxInt32)), 0, 0, 0, 0)
		}
		if t.forms[form] == nil {
			form = plural.Other
		}
		t = t.forms[form]
	}
	if len(t.parts) == 1 {
		return t.parts[0]
	}
	var out strings.Builder
	for i, part := range t.parts {
		if i%2 == 0 {
			out.WriteString(part)
			continue
		}
		switch v := params[part].(type) {
		case string:
			out.WriteString(v)
		case phrase:
			out.WriteString(l.text(v))
		default:
			if n, ok := wholeNumber(v); ok {
				out.WriteString(l.printer.Sprint(number.Decimal(n)))
			} else {
				_, _ = fmt.Fprint(&out, v)
			}
		}
	}
	return out.String()
}

// wholeNumber is a value that has plural forms; negative ones don't occur.
func wholeNumber(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

// parseMessage takes a message apart at its {placeholders}.
func parseMessage(text string) (*messageText, error) {
	t := &messageText{}
	for rest := text; ; {
		literal, after, found := strings.Cut(rest, "{")
		t.parts = append(t.parts, literal)
		if !found {
			return t, nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return nil, fmt.Errorf("%q has a { that begins no placeholder such as {name}", text)
		}
		t.parts = append(t.parts, name)
		rest = tail
	}
}

var pluralForms = map[string]plural.Form{
	"zero": plural.Zero, "one": plural.One, "two": plural.Two, "few": plural.Few, "many": plural.Many, "other": plural.Other,
}

// UnmarshalJSON takes a text, or an object of plural forms: {"plural": "count",
// "one": "…", "other": "…"}.
func (t *messageText) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		parsed, err := parseMessage(text)
		if err == nil {
			*t = *parsed
		}
		return err
	}
	var object map[string]string
	if err := json.Unmarshal(raw, &object); err != nil {
		return fmt.Errorf("is neither a text nor an object of plural forms")
	}
	t.by, t.forms = object["plural"], map[plural.Form]*messageText{}
	delete(object, "plural")
	if t.by == "" || object["other"] == "" {
		return fmt.Errorf(`needs "plural", the name of the number that chooses the form, and the form "other"`)
	}
	for name, text := range object {
		form, ok := pluralForms[name]
		if !ok {
			return fmt.Errorf("has the unknown plural form %q", name)
		}
		parsed, err := parseMessage(text)
		if err != nil {
			return err
		}
		t.forms[form] = parsed
	}
	return nil
}

// maxAcceptLanguage bounds how much of an Accept-Language header is looked at.
const maxAcceptLanguage = 512

// languages are those that a realm speaks, the fallback first.
type languages struct {
	locales []*locale
	matcher language.Matcher
	// chosen remembers the answers to headers: matching takes 13 µs, and few
	// headers come often. What comes after the first maxChosen is matched anew.
	chosen      sync.Map // string -> *locale
	chosenCount atomic.Int32
}

const maxChosen = 512

// choose returns the language that suits an Accept-Language header (RFC 9110,
// 12.5.4) best, the fallback where none does.
func (l *languages) choose(accept string) *locale {
	if accept == "" || len(accept) > maxAcceptLanguage {
		return l.locales[0]
	}
	if known, ok := l.chosen.Load(accept); ok {
		return known.(*locale)
	}
	found := l.match(accept)
	if l.chosenCount.Load() < maxChosen {
		l.chosenCount.Add(1)
		l.chosen.Store(accept, found)
	}
	return found
}

func (l *languages) match(accept string) *locale {
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(wanted) == 0 {
		return l.locales[0]
	}
	_, i, confidence := l.matcher.Match(wanted...)
	if confidence == language.No {
		return l.locales[0]
	}
	return l.locales[i]
}

// named returns the language with this tag, or the fallback where it is not (or
// no longer) spoken.
func (l *languages) named(name string) *locale {
	for _, known := range l.locales {
		if known.name == name {
			return known
		}
	}
	return l.locales[0]
}
