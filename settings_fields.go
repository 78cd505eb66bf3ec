// settings_fields.go: the fields that an owner adds to the accounts: how they are
// configured, and what is wrong with a configuration of them.

package registration

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
)

// maxFields bounds the fields that an owner adds.
const maxFields = 100

// reservedNames are no names of fields: inputs and answers use them otherwise.
var reservedNames = []string{
	"login", account.ParamPassword, "password_confirm", "old_password", "revoke_token", "token", "refresh", "detail", "user",
	sign.ParamUserID, sign.ParamTimestamp, sign.ParamSignature, sign.ParamNext, sign.ParamInvitation, refusal.NonField, "email_verified", "awaits_verification", "awaits_approval", "closing_at", account.ParamKeep, "source",
	account.ParamPasskey, account.ParamSudo, placeholderAMR, placeholderAuthTime,
}

// fieldSetOf builds the fields of the settings. Every wrong one is an error,
// and the set is there all the same, so that further checks can go on.
func (s *Settings) fieldSetOf() (*field.Set, error) {
	var errs []error
	all := slices.Clone(field.Builtins)
	if len(s.User.Fields) > maxFields {
		errs = append(errs, setting.Errorf("user.field", "there are more than %d fields; remove some", maxFields))
	}
	seen := map[string]bool{}
	for _, fs := range s.User.Fields {
		if seen[fs.Name] {
			errs = append(errs, setting.Errorf("user.field."+fs.Name, "stands twice; keep one of them"))
			continue
		}
		seen[fs.Name] = true
		f, err := field.New(fs, s.Register.reservedNames())
		if err != nil {
			errs = append(errs, unjoin(err)...)
		}
		if _, taken := field.Builtin(f.Name); !taken {
			all = append(all, f)
		} else if f.Name == field.Language { // in place of the built-in one, which came later
			all = append(slices.DeleteFunc(all, func(f *field.Field) bool { return f.Name == field.Language }), f)
		}
	}
	return field.NewSet(all, s.fieldUse()), errors.Join(errs...)
}

// reservedNames are those of fields, with what this sign-up takes besides.
func (s *RegisterSettings) reservedNames() []string {
	names := slices.Clip(reservedNames)
	if s.Code != "" {
		names = append(names, account.ParamCode)
	}
	if s.Reason != "" && s.Reason != account.ReasonOff {
		names = append(names, account.ParamReason)
	}
	if s.Terms.Version != "" {
		names = append(names, account.ParamTerms)
	}
	return names
}

// unjoin takes joined errors apart, so that each gets its own line.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// checkFields finds what is wrong with the lists of fields.
func (s *Settings) checkFields(bad badFunc) {
	set, err := s.fieldSetOf()
	if err != nil {
		for _, err := range unjoin(err) {
			if wrong := (*setting.Error)(nil); errors.As(err, &wrong) {
				bad(wrong.Setting, "%s", wrong.Problem)
			}
		}
	}
	for _, name := range s.Register.ReservedNames {
		if got, ok := field.ParseUsername(name); !ok || got == "" {
			bad("register.reserved_names", "%q can't be a username as it is; remove it, or write the name alone, of letters, digits and @ . + - _", name)
		}
	}
	switch n := s.User.MaxEmails; {
	case n < 1 || n > account.MaxEmails:
		bad("user.max_emails", "%d is not between 1 and %d; write for example: max_emails 5", n, account.MaxEmails)
	case n > 1 && !*s.RegisterEmail.Verification:
		bad("user.max_emails", "of several addresses each has to be confirmed; remove: verification off, in the block register_email, or write: max_emails 1")
	}
	s.checkLoginFields(set, bad)
	s.checkFieldLists(set, bad)
	s.checkAsked(set, bad)
	for _, f := range set.All {
		if f.Extra && f.Required && !f.Hidden && !set.IsPublic(f.Name) {
			bad("user.field."+f.Name+".required", "nobody could fill it in, because it is not public; add it to public_fields, take it out of hidden_fields, or remove required")
		}
	}
}

// checkLoginFields finds what is wrong with the fields by which people sign in.
func (s *Settings) checkLoginFields(set *field.Set, bad badFunc) {
	uniqueNames := strings.Join(set.UniqueNames(), ", ")
	for i, name := range s.User.LoginFields {
		f, ok := set.ByName[name]
		switch {
		case !ok:
			bad("user.login_fields", "there is no field %q; possible are: %s", name, uniqueNames)
		case !f.Unique:
			remedy := ""
			if f.Extra {
				remedy = fmt.Sprintf("; write unique into the block of the field %s, or remove it here", name)
			}
			bad("user.login_fields", "%q is not unique, so it can't identify an account; possible are: %s%s", name, uniqueNames, remedy)
		case f.ReadOnly && *s.Register.Enabled:
			bad("user.login_fields", "%q is read_only, so nobody could sign up with it; remove one of the two, or write: enabled off, in the block register", name)
		case slices.Contains(s.User.LoginFields[:i], name):
			bad("user.login_fields", "%q stands twice; keep one of them", name)
		}
	}
}

// checkFieldLists finds what is wrong with who sees and edits which fields.
func (s *Settings) checkFieldLists(set *field.Set, bad badFunc) {
	for _, list := range []named[[]string]{
		{"user.public_fields", s.User.PublicFields}, {"user.hidden_fields", s.User.HiddenFields}, {"user.editable_fields", s.User.EditableFields},
	} {
		setting := list.setting
		for _, name := range list.value {
			f, ok := set.ByName[name]
			switch {
			case !ok:
				bad(setting, "there is no field %q; the fields are: %s", name, strings.Join(set.Names(), ", "))
			case setting == "user.editable_fields" && f.ReadOnly:
				bad(setting, "%q can't be changed by the account's owner; remove it from the list", name)
			}
		}
	}
	if slices.Contains(s.User.EditableFields, field.Email) && *s.RegisterEmail.Verification {
		bad("user.editable_fields", "email would change without being verified; remove it (register-email changes it), or write: verification off, in the block register_email")
	}
}

// checkAsked finds what is wrong with what the page of the sign-up asks for.
func (s *Settings) checkAsked(set *field.Set, bad badFunc) {
	const at = "register.fields"
	names := s.Register.Fields
	if names == nil {
		return
	}
	var takes []string
	for _, f := range set.Register {
		takes = append(takes, f.Name)
		address := f.Name == field.Email && (*s.Register.Verification || len(s.Register.AllowDomains) > 0)
		if (set.RegisterRequired[f.Name] || address) && !slices.Contains(names, f.Name) {
			bad(at, "%q is missing, and nobody can sign up without it; add it", f.Name)
		}
	}
	for i, name := range names {
		switch {
		case slices.Contains(names[:i], name):
			bad(at, "%q stands twice; keep one of them", name)
		case !slices.Contains(takes, name):
			bad(at, "a sign-up takes no %q; possible are: %s", name, strings.Join(takes, ", "))
		}
	}
}

// reservedKeys are the keys of the names that nobody can choose.
func (s *Settings) reservedKeys() map[string]bool {
	keys := map[string]bool{}
	for _, name := range s.Register.ReservedNames {
		keys[field.UniqueKey(name)] = true
	}
	return keys
}

func (s *Settings) fieldUse() field.Use {
	u := s.User
	return field.Use{Public: u.PublicFields, Hidden: u.HiddenFields, Editable: u.EditableFields, Login: u.LoginFields, Email: *s.Register.Verification, Asked: s.Register.Fields}
}
