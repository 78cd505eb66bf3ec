// checks.go: what is looked at.

package doctor

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/siting"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
)

var checks = []check{
	{"routes", lookAtRoutes, func(f *Facts) string { return "the accounts are where base_url says: " + orNone(f.BaseURL) }},
	{"settings", lookAtSettings, func(*Facts) string { return "no setting is unwise" }},
	{"secret", lookAtSecret, func(*Facts) string { return "the key that signs links is configured, and not in the store" }},
	{"store", lookAtStore, func(f *Facts) string {
		if f.Store.File == "" {
			return "the store is no file"
		}
		return f.Store.File + " can be read by its owner alone"
	}},
	{"mailer", lookAtMailer, func(f *Facts) string {
		return "the mailer " + f.Mailer + " has last delivered a mail at " + told(f.Mail.Succeeded)
	}},
	{"mail_queue", lookAtQueue, func(f *Facts) string { return countedMails(f.Backlog.Count) }},
	{"webhooks", lookAtWebhooks, func(f *Facts) string { return countedEndpoints(len(f.Webhooks)) }},
	{"trusted_proxies", lookAtProxies, func(*Facts) string { return "requests come from their clients, or through proxies that are named" }},
	{"clock", lookAtClock, func(f *Facts) string { return "the clock says " + told(f.Now) }},
	{"versions", func(*Facts) []Finding { return nil }, func(f *Facts) string { return strings.Join(f.Versions, ", ") }},
}

func lookAtRoutes(f *Facts) (out []Finding) {
	for _, w := range f.Sites {
		out = append(out, Finding{Fault, w.Code, w.Message, w.Mend})
	}
	if !f.Running {
		out = append(out, Finding{Advice, "", "no server runs, so nobody can say whether the accounts are where base_url says, and whether guards see their cookie", "caddy start, then once more: caddy registration doctor"})
	}
	return out
}

// lookAtSettings splits each warning where its mend begins.
func lookAtSettings(f *Facts) (out []Finding) {
	for _, warning := range f.Settings {
		found := Finding{Level: Advice, Message: warning}
		if at := strings.LastIndex(warning, "; "); at >= 0 {
			found.Message, found.Mend = warning[:at], warning[at+2:]
		}
		out = append(out, found)
	}
	return out
}

func lookAtSecret(f *Facts) []Finding {
	if f.Secret {
		return nil
	}
	message := "the key that signs links and device cookies is kept in the store: whoever has a copy of it, a backup too, can make links"
	if f.SecondSteps > 0 {
		message += fmt.Sprintf(" and read what the second step of %d accounts is made of", f.SecondSteps)
	}
	return []Finding{{
		Advice, "", message,
		"secret {env.REGISTRATION_SECRET} (of 32 bytes or more, as `openssl rand -base64 32` makes them)",
	}}
}

func lookAtStore(f *Facts) (out []Finding) {
	s := f.Store
	if s.File == "" {
		return nil
	}
	folder := filepath.Dir(s.File)
	switch {
	case s.Mode.Perm()&0o077 != 0:
		out = append(out, Finding{Fault, "store_mode", fmt.Sprintf("others can read or write the account file %s (mode %04o): it has the hashes of all passwords", s.File, s.Mode.Perm()), "chmod 600 " + s.File})
	case s.Folder.Perm()&0o022 != 0:
		out = append(out, Finding{Fault, "store_folder", fmt.Sprintf("others can write in %s, the folder of the account file (mode %04o), and put another one there", folder, s.Folder.Perm()), "chmod 700 " + folder})
	case s.Folder.Perm()&0o055 != 0:
		out = append(out, Finding{Advice, "store_folder", fmt.Sprintf("others can look into %s, the folder of the account file (mode %04o)", folder, s.Folder.Perm()), "chmod 700 " + folder})
	}
	for _, warning := range s.Warnings {
		out = append(out, Finding{Advice, "", warning, "look after it, then caddy reload"})
	}
	return out
}

const (
	mailTest  = "caddy registration mail test <your address>"
	mailQueue = "caddy registration mail queue"
	// mailerLines are the lines of the Caddyfile for a mail server.
	mailerLines = "mailer smtp mail.example.com:587 {\n\tusername <name>\n\tpassword {env.SMTP_PASSWORD}\n}"
)

func lookAtMailer(f *Facts) []Finding {
	m := f.Mail
	switch {
	case f.Mailer == "":
		return []Finding{{Advice, "mailer_missing", "no mailer is configured: nobody can confirm an address or reset a password by mail", mailerLines}}
	case f.Mailer == "log" || f.Mailer == "file":
		return []Finding{{Advice, "mailer_development", "mailer " + f.Mailer + " delivers nothing: it is for development, and who reads what it writes can use the links in it", mailerLines}}
	case !m.Failed.IsZero():
		since := "it never could be"
		if !m.Succeeded.IsZero() {
			since = "it last could at " + told(m.Succeeded)
		}
		mend := "if that is mended: " + mailTest
		if m.Line != "" {
			mend = m.Line + "; then: " + mailTest
		}
		return []Finding{{Fault, "mailer_failing", fmt.Sprintf("mail can't be delivered since %s, and %s: %s", told(m.Failed), since, m.Words), mend}}
	case m.Succeeded.IsZero():
		return []Finding{{Advice, "mailer_untried", "the mailer " + f.Mailer + " has delivered no mail yet", mailTest}}
	}
	return nil
}

// How long mail waits where something is wrong.
const (
	waitsLong    = 15 * time.Minute
	waitsTooLong = 24 * time.Hour
)

func lookAtQueue(f *Facts) []Finding {
	waits := f.Now.Sub(f.Backlog.Oldest)
	if f.Backlog.Count == 0 || waits < waitsLong {
		return nil
	}
	level := Advice
	if waits >= waitsTooLong {
		level = Fault
	}
	return []Finding{{level, "", countedMails(f.Backlog.Count) + ", the oldest since " + told(f.Backlog.Oldest), "why: " + mailQueue}}
}

// webhookFails is for how long an endpoint fails before that is more than a restart of it.
const webhookFails = 5 * time.Minute

func lookAtWebhooks(f *Facts) (out []Finding) {
	for _, w := range f.Webhooks {
		at := fmt.Sprintf("the endpoint %s of a webhook at %s", w.ID, w.Host)
		switch {
		case w.State == webhook.StateOff:
			out = append(out, Finding{Advice, "", fmt.Sprintf("%s has said %s that it wants no more (410): it is told nothing", at, told(w.Since)), "take its line webhook away, or mend the endpoint, then: caddy registration webhooks --enable " + w.ID})
		case w.State == webhook.StateFailing:
			level := Advice
			if f.Now.Sub(w.Since) >= webhookFails {
				level = Fault
			}
			out = append(out, Finding{level, "", fmt.Sprintf("%s takes nothing since %s: %s", at, told(w.Since), w.Words), "mend the endpoint: what waits is told then, for three days; at once with: caddy registration webhooks --retry " + w.ID})
		case w.Refused > 0:
			out = append(out, Finding{Advice, "", fmt.Sprintf("%s has refused %d messages, which come again for three days; the last time: %s", at, w.Refused, w.Words), "look into the endpoint's own log"})
		}
	}
	return out
}

func countedEndpoints(n int) string {
	switch n {
	case 0:
		return "no webhook is configured"
	case 1:
		return "the endpoint of the webhook takes what it is told"
	}
	return fmt.Sprintf("%d endpoints of webhooks take what they are told", n)
}

func countedMails(n int) string {
	switch n {
	case 0:
		return "no mail waits"
	case 1:
		return "1 mail waits"
	}
	return fmt.Sprintf("%d mails wait", n)
}

// setBack is by how much clocks may differ; several nodes may have a store.
const setBack = 5 * time.Minute

func lookAtClock(f *Facts) []Finding {
	if by := f.Seen.Sub(f.Now); !f.Seen.IsZero() && by > setBack {
		return []Finding{{Fault, "", fmt.Sprintf("the clock says %s, and the store has seen %s: it was set back by %s, or was ahead. Links and sign-ins last longer than they should",
			told(f.Now), told(f.Seen), by.Round(time.Minute)), "timedatectl set-ntp true"}}
	}
	return nil
}

func told(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

func orNone(baseURL string) string {
	if baseURL == "" {
		return "it is not set, each request's own address counts"
	}
	return baseURL
}

// lookAtProxies says that a proxy is not named where most requests come through one:
// single ones only claim to.
func lookAtProxies(f *Facts) (out []Finding) {
	p := f.Proxies
	if p.Chosen {
		w := siting.ChosenAddress("")
		out = append(out, Finding{Fault, "", w.Message, w.Mend})
	}
	if p.Unnamed > 0 && p.Unnamed*2 >= p.Requests {
		w := siting.UnnamedProxy("")
		out = append(out, Finding{Advice, "", w.Message + " (the last one from " + p.From + ")", w.Mend})
	}
	return out
}
