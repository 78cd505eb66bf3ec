// export_test.go: what tests of this package look at from outside.

package letter

import "github.com/seed-928992b0/caddy-registration/store"

var NotLinkLike = notLinkLike

var (
	Wrap    = wrap
	OneLine = oneLine
)

// All are the texts of all mails in a language.
func (r *Templates) All(language string) map[store.MailKind]mailTemplate {
	all := map[store.MailKind]mailTemplate{}
	for _, kind := range kinds {
		t, err := r.of(kind, language)
		if err != nil {
			panic(err)
		}
		all[kind] = t
	}
	return all
}

// Owners are the kinds of mails in a language that have texts of the owner's.
func (r *Templates) Owners(language string) (out []store.MailKind) {
	for _, kind := range kinds {
		if _, ok := r.own[language][kind]; ok {
			out = append(out, kind)
		}
	}
	return out
}
