// names.go: what a mail shows of an account, and of who has acted on it: nothing that a stranger typed
// to somebody else's address, as text or as what a mail program makes a link of.

package letter

import (
	"cmp"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// linkLike is what mail programs make a link of: an address, a host, a number of
// a telephone.
var linkLike = pattern.Of(`://|@|www\.|\.[\pL\pN_-]{2,}|\pN([ ./()-]{0,2}\pN){5,}`)

// looksLikeName is a username that no mail program makes a link of, whatever it
// knows of top-level domains and telephones.
var looksLikeName = pattern.Of(`^\pL[\pL\pM_-]*(\pN{1,4}[\pL\pM_-]*)?$`)

// MailUser is what a mail to this address can mention of an account. Where the
// address was never confirmed for the account, or is another than its own,
// whoever made it may be a stranger to the reader: then it has no names, no other
// address and no added text, and a username only if it looks like one.
func (o Options) MailUser(u *store.User, to string) MailUser {
	out := MailUser{
		Username: u.Username, Email: u.Email, FirstName: notLinkLike(u.FirstName), LastName: notLinkLike(u.LastName),
		Name: notLinkLike(strings.TrimSpace(u.FirstName + " " + u.LastName)), Extra: o.Fields.ExtraValues(u),
	}
	if !account.IsFurther(u, to) && (!u.EmailVerified || field.EmailKey(to) != field.EmailKey(u.Email)) {
		out.FirstName, out.LastName, out.Name, out.Email = "", "", "", to
		if !looksLikeName().MatchString(out.Username) {
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
	if linkLike().MatchString(text) {
		return ""
	}
	return text
}

// named names accounts to an owner: by their usernames, and by the id where there is
// none, or one that a mail program would make a link of.
func named(accounts []account.Named) (names []string) {
	for _, a := range accounts {
		names = append(names, cmp.Or(notLinkLike(a.Username), a.ID.String()))
	}
	return names
}

// changesOfEmails are the messages about what was done to an address.
var changesOfEmails = map[string]string{
	account.EmailAdded: "mail.emails_changed.added", account.EmailRemoved: "mail.emails_changed.removed", account.EmailLeads: "mail.emails_changed.primary",
}

// Changes are the lines that say what was done to the addresses of the reader's account; none
// where the mail tells of nothing else.
func (d MailData) Changes() (lines []string, err error) {
	for line := range strings.Lines(d.changes) {
		did, address, _ := strings.Cut(strings.TrimSpace(line), " ")
		id, ok := changesOfEmails[did]
		if !ok {
			continue // of a newer version
		}
		said, err := d.Loc.Message(id, text.Params{"changed": hostname.DisplayAddress(address)})
		if err != nil {
			return nil, err
		}
		lines = append(lines, said)
	}
	return lines, nil
}

// Circumstances are the lines that say when, on what device and from where was done what
// the mail tells of; none where it tells of nothing.
func (d MailData) Circumstances() (lines []string, err error) {
	if d.Time == "" {
		return nil, nil
	}
	ids := []string{"mail.done.time"}
	if d.Address != "" {
		device := "mail.done.device"
		if d.Device == "" {
			device = "mail.done.device_unknown"
		}
		ids = append(ids, device, "mail.done.address")
	}
	for _, id := range ids {
		line, err := d.T(id)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}
