// doctor.go: the table of what is looked at, and what is found.

// Package doctor says what is wrong or unwise with a site that has accounts, each with
// the line to write. It judges Facts, which who knows them has gathered; it looks at
// nothing by itself.
package doctor

import (
	"io/fs"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/siting"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
)

// A Level is how bad a finding is.
type Level string

// The levels, the worst first.
const (
	// Fault: something doesn't work, or is open to others.
	Fault Level = "fault"
	// Advice: it works, and could be better.
	Advice Level = "advice"
	// Fine: it was looked at, and nothing is to be done.
	Fine Level = "fine"
)

// A Finding is one thing that was looked at.
type Finding struct {
	Level Level `json:"level"`
	// Code is stable, for programs.
	Code string `json:"code"`
	// Message is what was found, Mend the line to write or the command to run; empty
	// where nothing is to be done.
	Message string `json:"message"`
	Mend    string `json:"mend,omitempty"`
}

// Facts are what is known of a realm. A zero value stands for what is as it should be,
// unless it says otherwise.
type Facts struct {
	// Now is the wall clock; Seen is the latest time that the store has seen by it.
	Now, Seen time.Time
	// Running says that a server runs with this configuration, and not that only its
	// store was opened.
	Running bool
	BaseURL string
	// Sites are what is wrong with where the accounts and their guards stand.
	Sites []siting.Warning
	// Settings are the warnings of the settings, each with its mend behind a semicolon.
	Settings []string
	// Secret says that the key that signs is configured, and not kept in the store.
	Secret bool
	// SecondSteps is how many accounts have a second step, where Secret isn't.
	SecondSteps int
	Store       StoreFacts
	// Mailer is the name of the configured mailer, empty where none is.
	Mailer  string
	Mail    outbox.Health
	Backlog outbox.Backlog
	Proxies ProxyFacts
	// Webhooks are how the endpoints do.
	Webhooks []webhook.Status
	// Versions of what runs, as they are told.
	Versions []string
}

// StoreFacts are those of a store that is a file; File is empty where it is none.
type StoreFacts struct {
	File string
	// Mode is the file's, Folder that of the folder that it is in; zero where there is
	// no such thing.
	Mode, Folder fs.FileMode
	// Warnings are what its opening had to say.
	Warnings []string
}

// ProxyFacts are what the requests for the accounts have shown.
type ProxyFacts struct {
	// Chosen: a trusted proxy adds to what clients have written themselves.
	Chosen bool
	// Requests is how many there were, Unnamed how many of them named another client and
	// came from an address that is no trusted proxy; From is the last such address.
	Requests, Unnamed uint64
	From              string
}

// A check looks at one thing. Where it finds nothing, fine says what is well.
type check struct {
	code string
	look func(*Facts) []Finding
	fine func(*Facts) string
}

// Look makes all checks. Each gives one finding at least, in the order of the table.
func Look(f *Facts) (out []Finding) {
	for _, c := range checks {
		found := c.look(f)
		for i := range found {
			if found[i].Code == "" {
				found[i].Code = c.code
			}
		}
		if found == nil {
			found = []Finding{{Fine, c.code, c.fine(f), ""}}
		}
		out = append(out, found...)
	}
	return out
}
