// messages.go: what people read, by stable ids: the catalogues in
// templates/locales, their placeholders and plural forms, and the way from an
// id to the text in one language.

package text

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
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

// A Phrase is what a person will read, before the language is known: a message
// of the catalogue, or the words of the site's owner.
type Phrase struct {
	Id     string
	Params Params
	// Words are the owner's own (a label from the configuration). They are
	// the same in every language.
	Words string
}

// Say is the phrase with this id.
func Say(id string, params ...Params) Phrase {
	p := Phrase{Id: id}
	if len(params) > 0 {
		p.Params = params[0]
	}
	return p
}

// InWords is a period in a unit that people count in: its largest whole one, of what is
// none of whole hours the hours from two on. Nobody counts 1,470 minutes.
func InWords(d time.Duration) Phrase {
	count := func(unit time.Duration) Params { return Params{"count": int64(d / unit)} }
	switch {
	case d >= 2*24*time.Hour && d%(24*time.Hour) == 0, d >= 7*24*time.Hour:
		return Say("period.days", count(24*time.Hour))
	case d >= time.Hour && d%time.Hour == 0, d >= 2*time.Hour:
		return Say("period.hours", count(time.Hour))
	case d >= time.Minute:
		return Say("period.minutes", count(time.Minute))
	}
	return Say("period.seconds", count(time.Second))
}

// months in the order of the year.
var months = [...]string{
	"date.month_1", "date.month_2", "date.month_3", "date.month_4", "date.month_5", "date.month_6",
	"date.month_7", "date.month_8", "date.month_9", "date.month_10", "date.month_11", "date.month_12",
}

// OnDate is a moment to the minute, in UTC: where the reader is, nobody knows.
// golang.org/x/text writes no dates; the order of their parts is a message.
func OnDate(t time.Time) Phrase {
	t = t.UTC()
	hour, minute := digits{t.Hour(), 2}, digits{t.Minute(), 2}
	return Say("date.time", Params{
		"day": t.Day(), "month": Say(months[t.Month()-1]), "year": digits{t.Year(), 0}, "time": clock{hour, minute}, "hour": hour, "minute": minute,
	})
}

// OnDay is a day, in UTC.
func OnDay(t time.Time) Phrase {
	t = t.UTC()
	return Say("date.day", Params{"day": t.Day(), "month": Say(months[t.Month()-1]), "year": digits{t.Year(), 0}})
}

// unsaid are what a message can mention besides what it mentions in English: in other
// languages a time is not always two numbers with a colon.
var unsaid = map[string][]string{"date.time": {"hour", "minute"}}

// digits is a number that is no count: in the digits of the language, at least so many.
type digits struct{ n, least int }

// clock is a time of the day, as {time} has it.
type clock struct{ hour, minute digits }

func (l *Locale) digits(d digits) string {
	return l.printer.Sprint(number.Decimal(d.n, number.NoSeparator(), number.MinIntegerDigits(max(d.least, 1))))
}

// A messageText is one message in one language, taken apart when it is loaded.
type messageText struct {
	// parts are literal text and, at odd places, the names of placeholders.
	parts []string
	// By names the number that chooses among forms; "": there is one form, parts.
	By    string
	Forms map[plural.Form]*messageText
}

// A Locale has every message in one language. It does not change once loaded.
type Locale struct {
	tag  language.Tag
	Name string // the BCP 47 tag, as in lang and Content-Language
	// Dir is LeftToRight or RightToLeft, as in dir.
	Dir string
	// Lineage has the tags of the catalogues that it rests on, the closest first:
	// itself, then its parents. Mail templates are chosen by it.
	Lineage []string
	// Called is what those who speak it call it.
	Called string
	// Missing are the messages, by id, that neither its catalogue has nor one that it rests
	// on.
	Missing []string
	// texts are the catalogues that it speaks by, the first that has a message: its own, those
	// that it rests on, the fallback's.
	texts   []func() catalogue
	printer *textmessage.Printer
	plain   bool // see Plain
}

// Text puts a phrase into words.
func (l *Locale) Text(p Phrase) string {
	t := l.message(p.Id)
	if t == nil {
		return p.Words
	}
	return l.fill(t, p.Params)
}

// message is the one with this id, nil if there is none.
func (l *Locale) message(id string) *messageText {
	if id == "" {
		return nil // words of the owner's
	}
	for _, c := range l.texts {
		if t := c()[id]; t != nil {
			return t
		}
	}
	return nil
}

// Ids are those of all messages, sorted.
func (l *Locale) Ids() []string {
	all := map[string]bool{}
	for _, c := range l.texts {
		for id := range c() {
			all[id] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Message is for templates: the text with this id, or an error that names it.
func (l *Locale) Message(id string, params Params) (string, error) {
	if l.message(id) == nil {
		return "", fmt.Errorf("there is no message %q", id)
	}
	return l.Text(Phrase{Id: id, Params: params}), nil
}

// Moment writes a time that is given as in RFC 3339; any other text stays.
func (l *Locale) Moment(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	return l.Text(OnDate(t))
}

// Status is the title of a refusal, the phrase for an HTTP status.
func (l *Locale) Status(code int) string {
	return l.Text(Phrase{Id: "status." + strconv.Itoa(code)})
}

func (l *Locale) fill(t *messageText, params Params) string {
	if t.By != "" {
		form := plural.Other
		if n, ok := wholeNumber(params[t.By]); ok {
			form = plural.Cardinal.MatchPlural(l.tag, int(min(n, math.MaxInt32)), 0, 0, 0, 0)
		}
		if t.Forms[form] == nil {
			form = plural.Other
		}
		t = t.Forms[form]
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
			out.WriteString(l.isolated(v, true))
		case Phrase:
			out.WriteString(l.isolated(l.Text(v), false))
		case digits:
			out.WriteString(l.digits(v))
		case clock:
			out.WriteString(l.digits(v.hour) + ":" + l.digits(v.minute))
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
	t.By, t.Forms = object["plural"], map[plural.Form]*messageText{}
	delete(object, "plural")
	if t.By == "" || object["other"] == "" {
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
		t.Forms[form] = parsed
	}
	return nil
}
