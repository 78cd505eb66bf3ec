// types.go: the types of the fields that an owner adds: what each takes as
// input, how it is kept, how it reads while unset, and its key where unique.

package field

import (
	"cmp"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A Kind is the type of a field. The built-in fields have one too, for
// pages and the API's description.
type Kind string

// The kinds that can be configured, as the setting `type` has them.
const (
	KindText    Kind = "text"
	KindEmail   Kind = "email"
	KindURL     Kind = "url"
	KindInteger Kind = "integer"
	KindNumber  Kind = "number"
	KindBoolean Kind = "boolean"
	KindDate    Kind = "date"
	KindChoice  Kind = "choice"
	// KindUUID, KindTime and KindList are kinds of built-in fields alone; none of
	// them is ever an input.
	KindUUID Kind = "uuid"
	KindTime Kind = "time"
	KindList Kind = "list"
)

// fieldKinds are those that can be configured.
var fieldKinds = []Kind{KindText, KindEmail, KindURL, KindInteger, KindNumber, KindBoolean, KindDate, KindChoice}

// KindNames lists fieldKinds for a message.
func KindNames() string {
	names := make([]string, len(fieldKinds))
	for i, k := range fieldKinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// Textual kinds read as "" while unset; they have lengths and patterns.
func (k Kind) Textual() bool { return k == KindText || k == KindEmail || k == KindURL }

// ordered kinds have a min and a max.
func (k Kind) ordered() bool { return k == KindInteger || k == KindNumber || k == KindDate }

// Nullable kinds read as null while unset, and take null for "no value".
func (k Kind) Nullable() bool { return !k.Textual() && k != KindBoolean }

// Empty is what an account without a value and without a default reads as.
func (k Kind) Empty() any {
	switch {
	case k.Textual():
		return ""
	case k == KindBoolean:
		return false
	}
	return nil
}

// stored returns the value of an added field as it stands in JSON: text and
// dates as string, integers as int64, numbers as float64, booleans; nil is null.
// A value that was stored under another type is converted, or counts as unset.
func (f *Field) stored(u *store.User) any {
	v, ok := u.Extra[f.Name]
	if !ok {
		return f.unset()
	}
	if v == nil || v == "" { // emptied by its owner
		return f.Kind.Empty()
	}
	switch have := v.(type) {
	case string:
		if f.Kind.Textual() || f.Kind == KindChoice {
			return have
		}
	case int64:
		if f.Kind == KindInteger {
			return have
		}
	case float64:
		if f.Kind == KindNumber {
			return have
		}
	case bool:
		if f.Kind == KindBoolean {
			return have
		}
	}
	if converted, code := f.parseText(TextOf(v)); code == "" {
		return converted
	}
	return f.unset()
}

func (f *Field) unset() any {
	if f.Fallback != nil {
		return f.Fallback
	}
	return f.Kind.Empty()
}

// Assign stores a value that read has returned. nil and "" empty the field: it
// is removed or, where a default would show instead, kept as empty.
func (f *Field) Assign(u *store.User, v any) {
	switch {
	case v != nil && v != "":
	case f.Fallback == nil:
		delete(u.Extra, f.Name)
		return
	case !f.Kind.Textual():
		v = nil
	}
	if u.Extra == nil {
		u.Extra = map[string]any{}
	}
	u.Extra[f.Name] = v
}

// Read checks an input's value and returns what is stored for it: nil or ""
// where it empties the field, which a required one refuses.
func (f *Field) Read(v Value, required bool) (any, *refusal.FieldError) {
	wrong := func(code refusal.Code, params ...text.Params) (any, *refusal.FieldError) {
		var errs refusal.FieldErrors
		errs.Add(f.Name, code, params...)
		return nil, &errs[0]
	}
	switch v.Kind {
	case valueNull:
		if required || !f.Kind.Nullable() {
			return wrong(refusal.CodeNull)
		}
		return nil, nil
	case valueBool:
		if f.Kind != KindBoolean {
			return wrong(refusal.CodeInvalid)
		}
	case ValueText:
	default:
		return wrong(refusal.CodeInvalid)
	}
	txt := strings.TrimSpace(v.Text)
	if txt == "" {
		if required || f.Kind == KindBoolean { // neither yes nor no
			return wrong(refusal.CodeBlank)
		}
		return f.Kind.Empty(), nil
	}
	if f.Kind.Textual() && f.tooLong(txt) {
		return wrong(refusal.CodeMaxLength, text.Params{"max": f.MaxLength})
	}
	parsed, code := f.parseText(txt)
	if code == refusal.CodeInvalid {
		return nil, &refusal.FieldError{Field: f.Name, Code: code, Message: f.invalid()}
	}
	if code != "" {
		return wrong(code)
	}
	if code, params := f.beyond(parsed); code != "" {
		return wrong(code, params)
	}
	return parsed, nil
}

// beyond says which bound of the field a value of its kind breaks, with the
// parameters of the message; "" if it keeps them all.
func (f *Field) beyond(parsed any) (refusal.Code, text.Params) {
	if s, ok := parsed.(string); ok && f.Kind.Textual() {
		switch n := utf8.RuneCountInString(s); { // an e-mail's domain may have grown
		case n > f.MaxLength, f.Unique && len(f.KeyOf(s)) > MaxKeyText: // a store's index takes no more
			return refusal.CodeMaxLength, text.Params{"max": f.MaxLength}
		case n < f.MinLength:
			return refusal.CodeMinLength, text.Params{"min": f.MinLength}
		case f.matches != nil && !f.matches.MatchString(s):
			return refusal.CodeInvalid, nil
		}
	}
	switch {
	case f.Min != nil && compareValues(parsed, f.Min) < 0:
		return refusal.CodeMinValue, text.Params{"min": TextOf(f.Min)}
	case f.Max != nil && compareValues(parsed, f.Max) > 0:
		return refusal.CodeMaxValue, text.Params{"max": TextOf(f.Max)}
	}
	return "", nil
}

// invalid is the message about a text that is none of the field's kind: it says
// what is. "" where there is no more to say than that it is not valid.
func (f *Field) invalid() string {
	if f.Name == Username {
		return "invalid.username"
	}
	switch f.Kind {
	case KindEmail:
		return "invalid.email"
	case KindURL:
		return "invalid.url"
	case KindInteger:
		return "invalid.integer"
	case KindNumber:
		return "invalid.number"
	case KindDate:
		return "invalid.date"
	case KindBoolean:
		return "invalid.boolean"
	case KindText, KindChoice, KindUUID, KindTime, KindList:
	}
	return ""
}

// parseText brings a trimmed, not empty text into the form that is stored, or
// says with which code it is none of the field's kind. Lengths and bounds are
// not looked at.
func (f *Field) parseText(text string) (any, refusal.Code) {
	var v any
	ok := false
	switch f.Kind {
	case KindText:
		v, ok = parseText(text)
	case KindEmail:
		v, ok = parseEmail(text)
	case KindURL:
		v, ok = parseURL(text)
	case KindInteger:
		v, ok = parseInteger(text)
	case KindNumber:
		v, ok = parseNumber(text)
	case KindBoolean:
		v, ok = ParseBoolean(text)
	case KindDate:
		v, ok = parseDate(text)
	case KindChoice:
		if !slices.Contains(f.Choices, text) {
			return nil, refusal.CodeInvalidChoice
		}
		return text, ""
	case KindUUID, KindTime, KindList: // never an input
	}
	if !ok {
		return nil, refusal.CodeInvalid
	}
	return v, ""
}

// Key is the form in which two accounts' values are compared where the field is
// unique; "" has none.
func (f *Field) Key(u *store.User) string {
	switch v := f.Get(u).(type) {
	case nil:
		return ""
	case string:
		return f.KeyOf(v)
	default:
		return TextOf(v)
	}
}

// KeyOf is the key of a value that somebody typed, to sign in for example.
func (f *Field) KeyOf(text string) string {
	text = strings.TrimSpace(text)
	switch f.Kind {
	case KindEmail:
		return EmailKey(text)
	case KindURL:
		if parsed, ok := parseURL(text); ok {
			return parsed
		}
	case KindInteger, KindNumber, KindDate:
		if parsed, code := f.parseText(text); text != "" && code == "" {
			return TextOf(parsed)
		}
	case KindChoice:
		return text
	case KindText, KindBoolean, KindUUID, KindTime, KindList:
	}
	return UniqueKey(text)
}

// Keyspace names the keys of the field in the store. Keys of two types are kept
// apart: while a configuration that changes the type is loaded, the running one
// still finds its own.
func (f *Field) Keyspace() string {
	if !f.Extra {
		return f.Name
	}
	kind := string(f.Kind)
	if f.Kind == KindURL {
		kind += ".ascii" // before, the hosts in keys could be in other scripts
	}
	return f.Name + "." + kind
}

// TextOf writes a value as text, in the one form that keys have.
func TextOf(v any) string {
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

var decimal = pattern.Of(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,4}))?$`)

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
	parts := decimal().FindStringSubmatch(text)
	if parts == nil {
		return nil, false
	}
	if e, _ := strconv.Atoi(parts[2]); e > maxExponent || e < -maxExponent {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// ParseBoolean takes the words that forms and scripts use, in any case: true/false,
// 1/0, t/f, y/n, yes/no, on/off.
func ParseBoolean(text string) (value, ok bool) {
	if len(text) > len("false") {
		return false, false
	}
	switch strings.ToLower(text) {
	case "true", "1", "t", "y", "yes", "on":
		return true, true
	case "false", "0", "f", "n", "no", "off":
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
// harm where it is shown as a link. Scheme and host are lower-cased, the host in ASCII
// (RFC 5891).
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
	if u, err = url.Parse(hostname.URL(text)); err != nil || strings.ContainsFunc(u.Host, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return "", false // no host can have this name
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	return u.String(), true
}
