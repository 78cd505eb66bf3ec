// input.go: what a client sent, after its encoding (JSON, form, multipart) no
// longer matters.

package field

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

type valueKind uint8

// What a value was in the body. A member that was not sent is ValueAbsent.
const (
	ValueAbsent valueKind = iota
	ValueText
	valueNull
	valueBool
	ValueOther // a list, an object, a file
	ValueForm  // of FormMark alone
)

// FormMark is the member that a decoded form has besides its own. No client can
// make one of its kind.
const FormMark = "\x00form"

// A Value is one member of an input. Numbers count as text, as in a form. The text of an
// object is its JSON.
type Value struct {
	Kind valueKind
	Text string
}

// Input is a decoded request body.
type Input map[string]Value

// Switch reads a flag: true or false in JSON, or one of the words that a form or a
// script would send for it (ParseBoolean). One that was not sent is off. What is no
// flag is recorded, and then the act must not happen: taken for off, it would let a
// client believe that it has got what it asked for.
func (in Input) Switch(name string, errs *refusal.FieldErrors) bool {
	v := in[name]
	if v.Kind == ValueAbsent {
		return false
	}
	on, wrong := switches(name).Read(v, false)
	if wrong != nil {
		*errs = append(*errs, *wrong)
	}
	return on == true
}

// switches is a boolean field that no account has.
func switches(name string) *Field { return &Field{Name: name, Kind: KindBoolean} }

// Parts are all members with their values, in one order, each of three texts.
func (in Input) Parts() []string {
	parts := make([]string, 0, 3*len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		v := in[name]
		parts = append(parts, name, strconv.Itoa(int(v.Kind)), v.Text)
	}
	return parts
}

// MaxLogin bounds the text by which an account is looked for, in characters: no
// unique field holds more.
const MaxLogin = maxUniqueLength

// Login returns what names an account, of the member with this name.
func (in Input) Login(name string, errs *refusal.FieldErrors) string {
	txt := in.Required(name, errs)
	if len(txt) > MaxLogin*utf8.UTFMax || utf8.RuneCountInString(txt) > MaxLogin {
		errs.Add(name, refusal.CodeMaxLength, text.Params{"max": MaxLogin})
		return ""
	}
	return txt
}

// Text returns a trimmed text for display or an optional use; "" if there is none.
func (in Input) Text(name string) string {
	if v := in[name]; v.Kind == ValueText {
		return strings.TrimSpace(v.Text)
	}
	return ""
}

// Nested returns the JSON of an object, as it was sent or in a text, as a form has it;
// "" if there is none.
func (in Input) Nested(name string) string {
	if v := in[name]; v.Kind == ValueOther {
		return v.Text
	}
	return in.Text(name)
}

// Required returns a trimmed, non-blank text, or records why there is none.
func (in Input) Required(name string, errs *refusal.FieldErrors) string {
	text, ok := in.checked(name, errs)
	if !ok {
		return ""
	}
	if text = strings.TrimSpace(text); text == "" {
		errs.Add(name, refusal.CodeBlank)
	}
	return text
}

// Password returns a password as it was sent: never trimmed, not blank, at
// most 4096 bytes, because hashing more costs time and adds no safety.
func (in Input) Password(name string, errs *refusal.FieldErrors) string {
	txt, ok := in.checked(name, errs)
	switch {
	case !ok:
		return ""
	case txt == "":
		errs.Add(name, refusal.CodeBlank)
	case len(txt) > password.MaxLength:
		errs.Add(name, refusal.CodeMaxLength, text.Params{"max": password.MaxLength})
	}
	return txt
}

// checked returns a text that is there, or records why not.
func (in Input) checked(name string, errs *refusal.FieldErrors) (string, bool) {
	v := in[name]
	switch {
	case v.Kind == ValueAbsent:
		errs.Add(name, refusal.CodeRequired)
	case v.Kind == valueNull:
		errs.Add(name, refusal.CodeNull)
	case v.Kind != ValueText:
		errs.Add(name, refusal.CodeInvalid)
	default:
		return v.Text, true
	}
	return "", false
}

// IsForm reports whether the input came from a form, whose unticked boxes are
// not sent at all.
func (in Input) IsForm() bool { return in[FormMark].Kind == ValueForm }

// Field reads the value of an account's field into u. present is false where
// the input does not mention it. A blank optional field is written as empty.
func (in Input) Field(f *Field, required bool, u *store.User, errs *refusal.FieldErrors) (present bool) {
	v := in[f.Name]
	if v.Kind == ValueAbsent && f.Kind == KindBoolean && in.IsForm() {
		v = Value{Kind: valueBool, Text: "false"}
	}
	if v.Kind == ValueAbsent {
		if required {
			errs.Add(f.Name, refusal.CodeRequired)
		}
		return false
	}
	if f.Extra {
		parsed, wrong := f.Read(v, required)
		switch {
		case wrong != nil:
			*errs = append(*errs, *wrong)
		case required && f.Kind == KindBoolean && parsed == false: // a box that has to be ticked
			*errs = append(*errs, refusal.FieldError{Field: f.Name, Code: refusal.CodeRequired, Message: "invalid.unticked"})
		default:
			f.Assign(u, parsed)
		}
		return true
	}
	if v.Kind == valueNull && f.Kind.Nullable() && !required {
		f.set(u, "")
		return true
	}
	txt, ok := in.checked(f.Name, errs)
	if !ok {
		return true
	}
	txt = strings.TrimSpace(txt)
	if txt == "" {
		if required {
			errs.Add(f.Name, refusal.CodeBlank)
		} else {
			f.set(u, "")
		}
		return true
	}
	f.readText(txt, u, errs)
	return true
}

// readText reads a value that isn't blank into u.
func (f *Field) readText(txt string, u *store.User, errs *refusal.FieldErrors) {
	if f.tooLong(txt) {
		errs.Add(f.Name, refusal.CodeMaxLength, text.Params{"max": f.MaxLength})
		return
	}
	parsed, ok := f.Parse(txt)
	switch {
	case utf8.RuneCountInString(parsed) > f.MaxLength: // normal forms and a domain in ASCII grow
		errs.Add(f.Name, refusal.CodeMaxLength, text.Params{"max": f.MaxLength})
	case !ok && f.Kind == KindChoice:
		errs.Add(f.Name, refusal.CodeInvalidChoice)
	case !ok:
		errs.AddInvalid(f.Name, f.invalid())
	default:
		f.set(u, parsed)
	}
}

// Change is Field for an account that there is already: a value that stays as it is,
// is not judged by rules that came after it.
func (in Input) Change(f *Field, required bool, u *store.User, errs *refusal.FieldErrors) (present bool) {
	var wrong refusal.FieldErrors
	present = in.Field(f, required, u, &wrong)
	if len(wrong) > 0 && !in.Keeps(f, u) {
		*errs = append(*errs, wrong...)
	}
	return present
}

// Keeps reports whether the input has a field's value as the account has it, in
// whatever spelling.
func (in Input) Keeps(f *Field, u *store.User) bool {
	v, have := in[f.Name], f.Get(u)
	switch v.Kind {
	case valueNull:
		return have == nil
	case ValueText, valueBool:
	default:
		return false
	}
	txt := strings.TrimSpace(v.Text)
	if txt == strings.TrimSpace(TextOf(have)) {
		return true
	}
	if txt == "" || f.Kind.Textual() && f.tooLong(txt) {
		return false
	}
	if f.Extra {
		parsed, code := f.parseText(txt)
		return code == "" && parsed == have
	}
	parsed, ok := f.Parse(txt)
	return ok && parsed == have
}

// JSONValue is a decoded member of a JSON body. Numbers have to be json.Number: they
// are texts as they were written.
func JSONValue(v any) Value {
	switch v := v.(type) {
	case nil:
		return Value{Kind: valueNull}
	case string:
		return Value{Kind: ValueText, Text: v}
	case json.Number:
		return Value{Kind: ValueText, Text: v.String()}
	case bool:
		if v {
			return Value{Kind: valueBool, Text: "true"}
		}
		return Value{Kind: valueBool, Text: "false"}
	}
	return Value{Kind: ValueOther}
}
