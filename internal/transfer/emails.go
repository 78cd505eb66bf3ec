// emails.go: the addresses of an account but the first one, in a line of our own export.

package transfer

import (
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/moving"
	"github.com/seed-928992b0/caddy-registration/store"
)

type formerLine struct {
	Email    string `json:"email"`
	Serial   uint32 `json:"serial"`
	Until    moment `json:"until"`
	Unproven bool   `json:"unproven,omitempty"`
	// Left and At are there where the address was one of several.
	Left uint32  `json:"left,omitempty"`
	At   *moment `json:"at,omitempty"`
	// Main is there where it was beside a first one.
	Main string `json:"main,omitempty"`
}

// askedLine is an address that waits for its confirmation.
type askedLine struct {
	Email      string `json:"email"`
	Serial     uint32 `json:"serial"`
	At         moment `json:"at"`
	Generation uint64 `json:"generation,omitempty"`
}

// addEmails completes a line.
func (l *accountLine) addEmails(u *store.User) {
	for _, f := range u.Former {
		l.Former = append(l.Former, formerLine{clean(f.Email), f.Serial, moment{f.Until}, f.Unproven, f.Left, momentOf(f.At), clean(f.Main)})
	}
	for _, email := range u.FurtherEmails {
		l.FurtherEmails = append(l.FurtherEmails, clean(email))
	}
	l.EmailsAsked = u.EmailsAsked
	for _, e := range u.AskedEmails {
		l.AskedEmails = append(l.AskedEmails, askedLine{clean(e.Email), e.Serial, moment{e.At}, e.Generation})
	}
}

// emailsTo gives an account what its line has.
func (l *accountLine) emailsTo(u *store.User) {
	u.FurtherEmails, u.EmailsAsked = l.FurtherEmails, l.EmailsAsked
	for _, f := range l.Former {
		u.Former = append(u.Former, store.FormerEmail{Email: f.Email, Serial: f.Serial, Until: f.Until.Time, Unproven: f.Unproven, Left: f.Left, At: f.At.time(), Main: f.Main})
	}
	for _, e := range l.AskedEmails {
		u.AskedEmails = append(u.AskedEmails, store.AskedEmail{Email: e.Email, Serial: e.Serial, At: e.At.Time, Generation: e.Generation})
	}
}

// checkEmails is check of them.
func checkEmails(u *store.User) *moving.Problem {
	emails := slices.Clone(u.FurtherEmails)
	for _, e := range u.AskedEmails {
		emails = append(emails, e.Email)
	}
	if slices.ContainsFunc(emails, func(email string) bool { return email == "" || len(email) > 1000 || !harmless(email) }) {
		return wrong("further_emails", "an address is too long, or has characters that none has")
	}
	return nil
}
