// input.go: what a client sent, after its encoding (JSON, form, multipart) no
// longer matters.

package registration

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/seed-928992b0/caddy-registration/internal/password"
)

type valueKind uint8

const (
	valueAbsent valueKind = iota
	valueText
	valueNull
	valueBool
	valueOther // a list, an object, a file
	valueForm  // of formMark alone
)

// formMark is the member that a decoded form has besides its own. No client can
// make one of its kind.
const formMark = "\x00form"

// A value is one member of an input. Numbers count as text, as in a form.
type value struct {
	kind valueKind
	text string
}

// Input is a decoded request body.
type Input map[string]value

// truthy reads a flag: true in JSON, or one of the words that a form or a
// script would send for it.
func (in Input) truthy(name string) bool {
	on, _ := parseBoolean(in[name].text)
	return on
}

// maxLogin bounds the text by which an account is looked for, in characters: no
// unique field holds more.
const maxLogin = maxUniqueLength

// login returns what names an account, of the member with this name.
func (in Input) login(name string, errs *fieldErrors) string {
	text := in.required(name, errs)
	if len(text) > maxLogin*utf8.UTFMax || utf8.RuneCountInString(text) > maxLogin {
		errs.add(name, CodeMaxLength, Params{"max": maxLogin})
		return ""
	}
	return text
}

// text returns a trimmed text for display or an optional use; "" if there is none.
func (in Input) text(name string) string {
	if v := in[name]; v.kind == valueText {
		return strings.TrimSpace(v.text)
	}
	return ""
}

// required returns a trimmed, non-blank text, or records why there is none.
func (in Input) required(name string, errs *fieldErrors) string {
	text, ok := in.checked(name, errs)
	if !ok {
		return ""
	}
	if text = strings.TrimSpace(text); text == "" {
		errs.add(name, CodeBlank)
	}
	return text
}

// password returns a password as it was sent: never trimmed, not blank, at
// most 4096 bytes, because hashing more costs time and adds no safety.
func (in Input) password(name string, errs *fieldErrors) string {
	text, ok := in.checked(name, errs)
	switch {
	case !ok:
		return ""
	case text == "":
		errs.add(name, CodeBlank)
	case len(text) > password.MaxLength:
		errs.add(name, CodeMaxLength, Params{"max": password.MaxLength})
	}
	return text
}

// checked returns a text that is there, or records why not.
func (in Input) checked(name string, errs *fieldErrors) (string, bool) {
	v := in[name]
	switch {
	case v.kind == valueAbsent:
		errs.add(name, CodeRequired)
	case v.kind == valueNull:
		errs.add(name, CodeNull)
	case v.kind != valueText:
		errs.add(name, CodeInvalid)
	default:
		return v.text, true
	}
	return "", false
}

// isForm reports whether the input came from a form, whose unticked boxes are
// not sent at all.
func (in Input) isForm() bool { return in[formMark].kind == valueForm }

// field reads the value of an account's field into u. present is false where
// the input does not mention it. A blank optional field is written as empty.
func (in Input) field(f *field, required bool, u *User, errs *fieldErrors) (present bool) {
	v := in[f.name]
	if v.kind == valueAbsent && f.kind == kindBoolean && in.isForm() {
		v = value{kind: valueBool, text: "false"}
	}
	if v.kind == valueAbsent {
		if required {
			errs.add(f.name, CodeRequired)
		}
		return false
	}
	if f.extra {
		parsed, refusal := f.read(v, required)
		if refusal != nil {
			*errs = append(*errs, *refusal)
		} else {
			f.assign(u, parsed)
		}
		return true
	}
	text, ok := in.checked(f.name, errs)
	if !ok {
		return true
	}
	text = strings.TrimSpace(text)
	if text == "" {
		if required {
			errs.add(f.name, CodeBlank)
		} else {
			f.set(u, "")
		}
		return true
	}
	if f.tooLong(text) {
		errs.add(f.name, CodeMaxLength, Params{"max": f.maxLength})
		return true
	}
	parsed, ok := f.parse(text)
	switch {
	case utf8.RuneCountInString(parsed) > f.maxLength: // normal forms and a domain in ASCII grow
		errs.add(f.name, CodeMaxLength, Params{"max": f.maxLength})
	case !ok:
		errs.addInvalid(f.name, f.invalid())
	default:
		f.set(u, parsed)
	}
	return true
}

func jsonValue(v any) value {
	switch v := v.(type) {
	case nil:
		return value{kind: valueNull}
	case string:
		return value{kind: valueText, text: v}
	case json.Number:
		return value{kind: valueText, text: v.String()}
	case bool:
		if v {
			return value{kind: valueBool, text: "true"}
		}
		return value{kind: valueBool, text: "false"}
	}
	return value{kind: valueOther}
}
