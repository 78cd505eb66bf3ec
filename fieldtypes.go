// fieldtypes.go: the types of the fields that an owner adds: what each takes as
// input, how it is kept, how it reads while unset, and its key where unique.

package registration

import (
	"cmp"
	"math/big"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A fieldKind is the type of a field. The built-in fields have one too, for
// pages and the API's description.
type fieldKind string

const (
	kindText    fieldKind = "text"
	kindEmail   fieldKind = "email"
	kindURL     fieldKind = "url"
	kindInteger fieldKind = "integer"
	kindNumber  fieldKind = "number"
	kindBoolean fieldKind = "boolean"
	kindDate    fieldKind = "date"
	kindChoice  fieldKind = "choice"
	// The kinds of built-in fields alone; none of them is ever an input.
	kindUUID fieldKind = "uuid"
	kindTime fieldKind = "time"
	kindList fieldKind = "list"
)

// fieldKinds are those that can be configured.
var fieldKinds = []fieldKind{kindText, kindEmail, kindURL, kindInteger, kindNumber, kindBoolean, kindDate, kindChoice}

func kindNames() string {
	names := make([]string, len(fieldKinds))
	for i, k := range fieldKinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// textual kinds read as "" while unset; they have lengths and patterns.
func (k fieldKind) textual() bool { return k == kindText || k == kindEmail || k == kindURL }

// ordered kinds have a min and a max.
func (k fieldKind) ordered() bool { return k == kindInteger || k == kindNumber || k == kindDate }

// nullable kinds read as null while unset, and take null for "no value".
func (k fieldKind) nullable() bool { return !k.textual() && k != kindBoolean }

// empty is what an account without a value and without a default reads as.
func (k fieldKind) empty() any {
	switch {
	case k.textual():
		return ""
	case k == kindBoolean:
		return false
	}
	return nil
}

// stored returns the value of an added field as it stands in JSON: text and
// dates as string, integers as int64, numbers as float64, booleans; nil is null.
// A value that was stored under another type is converted, or counts as unset.
func (f *field) stored(u *User) any {
	v, ok := u.Extra[f.name]
	if !ok {
		return f.unset()
	}
	if v == nil || v == "" { // emptied by its owner
		return f.kind.empty()
	}
	switch have := v.(type) {
	case string:
		if f.kind.textual() || f.kind == kindChoice {
			return have
		}
	case int64:
		if f.kind == kindInteger {
			return have
		}
	case float64:
		if f.kind == kindNumber {
			return have
		}
	case bool:
		if f.kind == kindBoolean {
			return have
		}
	}
	if converted, code := f.parseText(textOf(v)); code == "" {
		return converted
	}
	return f.unset()
}

func (f *field) unset() any {
	if f.fallback != nil {
		return f.fallback
	}
	return f.kind.empty()
}

// assign stores a value that read has returned. nil and "" empty the field: it
// is removed or, where a default would show instead, kept as empty.
func (f *field) assign(u *User, v any) {
	switch {
	case v != nil && v != "":
	case f.fallback == nil:
		delete(u.Extra, f.name)
		return
	case !f.kind.textual():
		v = nil
	}
	if u.Extra == nil {
		u.Extra = map[string]any{}
	}
	u.Extra[f.name] = v
}

// read checks an input's value and returns what is stored for it: nil or ""
// where it empties the field, which a required one refuses.
func (f *field) read(v value, required bool) (any, *FieldError) {
	wrong := func(code Code, params ...Params) (any, *FieldError) {
		var errs fieldErrors
		errs.add(f.name, code, params...)
		return nil, &errs[0]
	}
	switch v.kind {
	case valueNull:
		if required || !f.kind.nullable() {
			return wrong(CodeNull)
		}
		return nil, nil
	case valueBool:
		if f.kind != kindBoolean {
			return wrong(CodeInvalid)
		}
	case valueText:
	default:
		return wrong(CodeInvalid)
	}
	text := strings.TrimSpace(v.text)
	if text == "" {
		if required {
			return wrong(CodeBlank)
		}
		return f.kind.empty(), nil
	}
	if f.kind.textual() && f.tooLong(text) {
		return wrong(CodeMaxLength, Params{"max": f.maxLength})
	}
	parsed, code := f.parseText(text)
	if code == CodeInvalid {
		return nil, &FieldError{Field: f.name, Code: code, message: f.invalid()}
	}
	if code != "" {
		return wrong(code)
	}
	if s, ok := parsed.(string); ok && f.kind.textual() {
		switch n := utf8.RuneCountInString(s); { // an e-mail's domain may have grown
		case n > f.maxLength, f.unique && len(f.keyOf(s)) > maxKeyText: // a store's index takes no more
			return wrong(CodeMaxLength, Params{"max": f.maxLength})
		case n < f.minLength:
			return wrong(CodeMinLength, Params{"min": f.minLength})
		case f.matches != nil && !f.matches.MatchString(s):
			return wrong(CodeInvalid)
		}
	}
	switch {
	case f.min != nil && compareValues(parsed, f.min) < 0:
		return wrong(CodeMinValue, Params{"min": textOf(f.min)})
	case f.max != nil && compareValues(parsed, f.max) > 0:
		return wrong(CodeMaxValue, Params{"max": textOf(f.max)})
	}
	return parsed, nil
}

// invalid is the message about a text that is none of the field's kind: it says
// what is. "" where there is no more to say than that it is not valid.
func (f *field) invalid() string {
	if f.name == fieldUsername {
		return "invalid.username"
	}
	switch f.kind {
	case kindEmail:
		return "invalid.email"
	case kindURL:
		return "invalid.url"
	case kindInteger:
		return "invalid.integer"
	case kindNumber:
		return "invalid.number"
	case kindDate:
		return "invalid.date"
	case kindText, kindBoolean, kindChoice, kindUUID, kindTime, kindList:
	}
	return ""
}

// parseText brings a trimmed, not empty text into the form that is stored, or
// says with which code it is none of the field's kind. Lengths and bounds are
// not looked at.
func (f *field) parseText(text string) (any, Code) {
	var v any
	ok := false
	switch f.kind {
	case kindText:
		v, ok = parseText(text)
	case kindEmail:
		v, ok = parseEmail(text)
	case kindURL:
		v, ok = parseURL(text)
	case kindInteger:
		v, ok = parseInteger(text)
	case kindNumber:
		v, ok = parseNumber(text)
	case kindBoolean:
		v, ok = parseBoolean(text)
	case kindDate:
		v, ok = parseDate(text)
	case kindChoice:
		if !slices.Contains(f.choices, text) {
			return nil, CodeInvalidChoice
		}
		return text, ""
	}
	if !ok {
		return nil, CodeInvalid
	}
	return v, ""
}

// key is the form in which two accounts' values are compared where the field is
// unique; "" has none.
func (f *field) key(u *User) string {
	switch v := f.get(u).(type) {
	case nil:
		return ""
	case string:
		return f.keyOf(v)
	default:
		return textOf(v)
	}
}

// keyOf is the key of a value that somebody typed, to sign in for example.
func (f *field) keyOf(text string) string {
	text = strings.TrimSpace(text)
	switch f.kind {
	case kindEmail:
		return emailKey(text)
	case kindURL:
		if parsed, ok := parseURL(text); ok {
			return parsed
		}
	case kindInteger, kindNumber, kindDate:
		if parsed, code := f.parseText(text); text != "" && code == "" {
			return textOf(parsed)
		}
	case kindChoice:
		return text
	}
	return uniqueKey(text)
}

// keyspace names the keys of the field in the store. Keys of two types are kept
// apart: while a configuration that changes the type is loaded, the running one
// still finds its own.
func (f *field) keyspace() string {
	if !f.extra {
		return f.name
	}
	return f.name + "." + string(f.kind)
}

// textOf writes a value as text, in the one form that keys have.
func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// compareValues compares two values of one ordered kind. Dates compare as they
// are written.
func compareValues(a, b any) int {
	switch a := a.(type) {
	case int64:
		b, _ := b.(int64)
		return cmp.Compare(a, b)
	case float64:
		b, _ := b.(float64)
		return cmp.Compare(a, b)
	case string:
		b, _ := b.(string)
		return cmp.Compare(a, b)
	}
	return 0
}

var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,4}))?$`)

// maxDigits bounds how a number is written: more is no number that is stored.
const maxDigits = 400

// parseInteger takes a whole number of 64 bits, however JSON or a spreadsheet
// writes it: 1000, 1e3, 1000.0.
func parseInteger(text string) (int64, bool) {
	if len(text) > maxDigits {
		return 0, false
	}
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v, true
	}
	exact, ok := exactly(text, 40)
	if !ok || !exact.IsInt() || !exact.Num().IsInt64() {
		return 0, false
	}
	return exact.Num().Int64(), true
}

// parseNumber takes a number that a float64 gives back as it was written. One
// with more digits is refused rather than changed.
func parseNumber(text string) (float64, bool) {
	exact, ok := exactly(text, 330)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, false
	}
	back, ok := new(big.Rat).SetString(strconv.FormatFloat(v, 'g', -1, 64))
	if !ok || back.Cmp(exact) != 0 {
		return 0, false
	}
	if v == 0 {
		v = 0 // -0 is none of its own
	}
	return v, true
}

// exactly is the value of a decimal number, or false for one that is none or
// has an exponent beyond the bound.
func exactly(text string, maxExponent int) (*big.Rat, bool) {
	if len(text) > maxDigits {
		return nil, false
	}
	parts := decimal.FindStringSubmatch(text)
	if parts == nil {
		return nil, false
	}
	if e, _ := strconv.Atoi(parts[2]); e > maxExponent || e < -maxExponent {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// parseBoolean takes the words that forms and scripts use.
func parseBoolean(text string) (value, ok bool) {
	if len(text) > len("false") {
		return false, false
	}
	switch strings.ToLower(text) {
	case "true", "1", "on", "yes":
		return true, true
	case "false", "0", "off", "no":
		return false, true
	}
	return false, false
}

// parseDate takes a day of the calendar as RFC 3339 writes it: 2006-01-02.
func parseDate(text string) (string, bool) {
	t, err := time.Parse(time.DateOnly, text)
	return text, err == nil && t.Year() >= 1
}

// parseURL takes an absolute http or https URL; other schemes (javascript:) do
// harm where it is shown as a link. Scheme and host are lower-cased.
func parseURL(text string) (string, bool) {
	if strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r >= 0x80 && r <= 0xa0 || r == '\\' || r == utf8.RuneError
	}) {
		return "", false
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Opaque != "" || u.Hostname() == "" {
		return "", false
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	return u.String(), true
}
