// spec.go: how an owner describes a field that he adds, and what is wrong with
// a description.

package field

import (
	"cmp"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Spec describes one field that accounts have besides the built-in
// ones. Accounts that have no value for it yet read as the default. A field
// that is removed from the configuration keeps its stored values.
type Spec struct {
	// The name in inputs, answers, placeholders and templates: a letter, then
	// up to 49 of a-z, 0-9 and _. Required.
	Name string `json:"name"`
	// `text`, `email`, `url`, `integer`, `number`, `boolean`, `date` or
	// `choice`. Required.
	Type string `json:"type"`
	// What the built-in pages call it. That of a boolean may have links, such as
	// `I accept the [terms](/terms.html)`. Default: made from the name.
	Label string `json:"label,omitempty"`
	// Whether sign-up, and a full update of the profile, need a value, which of a
	// boolean is true: a box that has to be ticked. Default: false.
	Required bool `json:"required,omitempty"`
	// Whether no two accounts may have the same value (text and e-mail
	// addresses without regard to case). Only such a field can be a login
	// field. Default: false.
	Unique bool `json:"unique,omitempty"`
	// Whether it is shown to nobody and set by nobody but an administrator; it
	// is still there for mail templates. Default: false.
	Hidden bool `json:"hidden,omitempty"`
	// Whether it is ignored in inputs, so that only an administrator sets it.
	// Default: false.
	ReadOnly bool `json:"read_only,omitempty"`
	// Whether who has the account sets it once, at sign-up or later, and can't change it then:
	// from there on it is ignored in inputs, as with `read_only`. Default: false.
	Once bool `json:"once,omitempty"`
	// What an account reads as that has no value. Default: the empty text for
	// text, email and url; false for boolean; null for the rest.
	Default json.RawMessage `json:"default,omitempty"`
	// The smallest number of characters of text, email or url. Default: none.
	MinLength int `json:"min_length,omitempty"`
	// The largest number of characters. Default: 255 for text, 254 for email,
	// 2000 for url. At most 10000, and 500 for unique text.
	MaxLength int `json:"max_length,omitempty"`
	// The smallest integer, number or date (`2006-01-02`). Default: none.
	Min json.RawMessage `json:"min,omitempty"`
	// The largest integer, number or date. Default: none.
	Max json.RawMessage `json:"max,omitempty"`
	// A regular expression (https://pkg.go.dev/regexp/syntax) that the whole
	// text, email or url has to match. Default: none.
	Pattern string `json:"pattern,omitempty"`
	// The values that a choice can have. Required for choice.
	Choices []string `json:"choices,omitempty"`
}

var fieldNamePattern = pattern.Of(`^[a-z][a-z0-9_]{0,49}$`)

// New makes the field that the settings describe. The errors come together.
func New(s Spec, reserved []string) (*Field, error) {
	f := &Field{
		Name: s.Name, Kind: Kind(s.Type), Extra: true, Label: s.Label, Unique: s.Unique, Required: s.Required,
		Hidden: s.Hidden, ReadOnly: s.ReadOnly, Once: s.Once, MinLength: s.MinLength, MaxLength: s.MaxLength, Pattern: s.Pattern, Choices: s.Choices,
	}
	f.Label = cmp.Or(f.Label, labelOf(s.Name))
	f.Get = func(u *store.User) any { return f.stored(u) }
	var errs []error
	bad := func(option, format string, args ...any) {
		errs = append(errs, setting.Errorf(strings.TrimSuffix("user.field."+s.Name+"."+option, "."), format, args...))
	}
	if _, taken := Builtin(s.Name); taken && s.Name != Language || slices.Contains(reserved, s.Name) {
		bad("", "the name %q is taken by the accounts themselves; choose another", s.Name)
	} else if !fieldNamePattern().MatchString(s.Name) {
		bad("", "%q is not a name for a field; use up to 50 of a-z, 0-9 and _, beginning with a letter", s.Name)
	}
	if !slices.Contains(fieldKinds, f.Kind) {
		bad("", "%q is not a type; the types are: %s", s.Type, KindNames())
		return f, errors.Join(errs...)
	}
	f.checkOptions(s, bad)
	f.setPattern(s.Pattern, bad)
	f.setLengths(bad)
	f.setBounds(s, bad)
	if len(errs) == 0 && s.Default != nil {
		v, refusal := f.Read(scalarValue(s.Default), true)
		if refusal != nil || v == nil || v == "" {
			bad("default", "%s is not a value that the field would take; write one, or remove the line", s.Default)
		}
		f.Fallback = v
	}
	return f, errors.Join(errs...)
}

// badFunc takes what is wrong with an option of a field, and the remedy.
type badFunc func(option, format string, args ...any)

// setPattern compiles the pattern of a textual field.
func (f *Field) setPattern(pattern string, bad badFunc) {
	if pattern != "" && f.Kind.Textual() {
		if len(pattern) > maxPatternLength {
			bad("pattern", "is longer than %d bytes; write a shorter one", maxPatternLength)
		} else if _, err := regexp.Compile(pattern); err != nil {
			bad("pattern", "%v; see https://pkg.go.dev/regexp/syntax", err)
		} else {
			f.matches = regexp.MustCompile(`\A(?:` + pattern + `)\z`)
		}
	}
}

// setBounds reads the smallest and the largest value of an ordered field.
func (f *Field) setBounds(s Spec, bad badFunc) {
	for _, bound := range []struct {
		option string
		raw    json.RawMessage
		to     *any
	}{{"min", s.Min, &f.Min}, {"max", s.Max, &f.Max}} {
		if bound.raw == nil {
			continue
		}
		if !f.Kind.ordered() {
			bad(bound.option, "is for integer, number and date; for texts there are min_length and max_length")
			continue
		}
		v, code := f.parseText(ScalarText(bound.raw))
		if code != "" {
			bad(bound.option, "%s is not a value of type %s; write for example: %s %s", bound.raw, f.Kind, bound.option, exampleOf(f.Kind))
			continue
		}
		*bound.to = v
	}
	if f.Min != nil && f.Max != nil && compareValues(f.Min, f.Max) > 0 {
		bad("max", "is smaller than min; swap them")
	}
}

// checkOptions refuses options that don't go together.
func (f *Field) checkOptions(s Spec, bad badFunc) {
	f.checkChoices(s, bad)
	if s.Pattern != "" && !f.Kind.Textual() {
		bad("pattern", "is for text, email and url; for %s remove it", f.Kind)
	}
	for _, n := range []struct {
		option string
		value  int
	}{{"min_length", s.MinLength}, {"max_length", s.MaxLength}} {
		if n.value != 0 && !f.Kind.Textual() {
			bad(n.option, "is for text, email and url; for %s remove it", f.Kind)
		}
	}
	switch {
	case s.Unique && f.Kind == KindBoolean:
		bad("unique", "two accounts could have true or false, and no third one any; remove it")
	case s.Unique && s.Default != nil:
		bad("default", "all accounts without a value would have the same, which unique forbids; remove one of the two")
	}
	if s.Required && (s.ReadOnly || s.Hidden) {
		bad("required", "nobody could fill it in, because it is read_only or hidden; remove one of the two")
	}
	if s.Once && (s.ReadOnly || s.Hidden) {
		bad("once", "nobody could set it even once, because it is read_only or hidden; remove one of the two")
	}
	f.checkLabel(bad)
}

func (f *Field) checkLabel(bad badFunc) {
	if f.Kind == KindBoolean {
		for _, href := range linksIn(f.Label) {
			if !isLink(href) {
				bad("label", "%q is no address that a label can lead to; write a path on this site, such as [terms](/terms.html), or an http or https address", href)
			}
		}
	}
	if strings.ContainsFunc(f.Label, func(r rune) bool { return r < ' ' }) || len(f.Label) > 200 {
		bad("label", "has a control character or more than 200 bytes; write a short line")
	}
}

// checkChoices finds what is wrong with the values of a choice.
func (f *Field) checkChoices(s Spec, bad badFunc) {
	switch {
	case f.Kind == KindChoice && len(s.Choices) == 0:
		bad("", "a choice needs its values; add for example: choices small medium large")
	case f.Kind != KindChoice && s.Choices != nil:
		bad("choices", "is for the type choice; write: field %s choice", s.Name)
	case len(s.Choices) > maxChoices:
		bad("choices", "has more than %d values", maxChoices)
	}
	for i, choice := range s.Choices {
		if _, ok := parseText(choice); !ok || strings.TrimSpace(choice) != choice || choice == "" {
			bad("choices", "%q is empty, begins or ends with a space, or has a control character; write another", choice)
		} else if slices.Contains(s.Choices[:i], choice) {
			bad("choices", "%q stands twice; keep one of them", choice)
		}
	}
}

// setLengths checks the bounds of a text's length, and sets the default of the upper one.
func (f *Field) setLengths(bad badFunc) {
	if !f.Kind.Textual() {
		return
	}
	limit := maxTextLength
	if f.Kind == KindEmail {
		limit = 254
	} else if f.Unique {
		limit = maxUniqueLength
	}
	switch {
	case f.MaxLength == 0:
		f.MaxLength = min(limit, map[Kind]int{KindText: 255, KindEmail: 254, KindURL: 2000}[f.Kind])
	case f.MaxLength < 1 || f.MaxLength > limit:
		bad("max_length", "%d is not between 1 and %d", f.MaxLength, limit)
	}
	if f.MinLength < 0 || f.MinLength > f.MaxLength {
		bad("min_length", "%d is not between 0 and the max_length of %d", f.MinLength, f.MaxLength)
	}
}

// scalarValue is a JSON scalar as an input would have it.
func scalarValue(raw json.RawMessage) Value {
	var v any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return Value{Kind: ValueOther}
	}
	return JSONValue(v)
}

// ScalarText is a JSON text or number as somebody would type it; "" for anything
// else, a boolean too.
func ScalarText(raw json.RawMessage) string {
	if v := scalarValue(raw); v.Kind == ValueText {
		return strings.TrimSpace(v.Text)
	}
	return ""
}

func exampleOf(kind Kind) string {
	if kind == KindDate {
		return "2000-01-31"
	}
	return "18"
}

// labelOf makes a label of a name: date_of_birth is "Date of birth".
func labelOf(name string) string {
	text := strings.TrimSpace(strings.ReplaceAll(name, "_", " "))
	if text == "" {
		return name
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// Limits of what can be configured.
const (
	maxChoices       = 1000
	maxTextLength    = 10_000
	maxUniqueLength  = 500 // characters; its key fits the index of any store
	maxPatternLength = 1000
)
