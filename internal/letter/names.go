// names.go: what a mail shows of an account: nothing that a stranger typed
// to somebody else's address, as text or as what a mail program makes a link of.

package letter

import (
	"regexp"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/store"
)

// linkLike is what mail programs make a link of: an address, a host, a number of
// a telephone.
var linkLike = regexp.MustCompile(`://|@|www\.|\.[\pL\pN_-]{2,}|\pN([ ./()-]{0,2}\pN){5,}`)

// looksLikeName is a username that no mail program makes a link of, whatever it
// knows of top-level domains and telephones.
var looksLikeName = regexp.MustCompile(`^\pL[\pL\pM_-]*(\pN{1,4}[\pL\pM_-]*)?$`)

// MailUser is what a mail to this address can mention of an account. Where the
// address was never confirmed for the account, or is another than its own,
// whoever made it may be a stranger to the reader: then it has no names, no other
// address and no added text, and a username only if it looks like one.
func (o Options) MailUser(u *store.User, to string) MailUser {
	out := MailUser{
		Username: u.Username, Email: u.Email, FirstName: notLinkLike(u.FirstName), LastName: notLinkLike(u.LastName),
		Name: notLinkLike(strings.TrimSpace(u.FirstName + " " + u.LastName)), Extra: o.Fields.ExtraValues(u),
	}
	if !u.EmailVerified || field.EmailKey(to) != field.EmailKey(u.Email) {
		out.FirstName, out.LastName, out.Name, out.Email = "", "", "", to
		if !looksLikeName.MatchString(out.Username) {
			out.Username = ""
		}
		for _, f := range o.Fields.All {
			if f.Extra && f.Kind.Textual() {
				out.Extra[f.Name] = ""
			}
		}
	}
	if out.Name == "" {
		out.Name = notLinkLike(out.Username)
	}
	return out
}

// notLinkLike is the text, or nothing where a mail program would make a link of
// it: a name that a stranger gave outlives the confirmation of the address.
func notLinkLike(text string) string {
	if linkLike.MatchString(text) {
		return ""
	}
	return text
}
