package doctor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/siting"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
)

// healthy is a realm that nothing is to be said of.
func healthy() *Facts {
	now := time.Date(2026, 11, 26, 20, 0, 0, 0, time.UTC)
	return &Facts{
		Now: now, Seen: now.Add(-time.Minute), Running: true, BaseURL: "https://example.com", Secret: true, Mailer: "smtp",
		Store:    StoreFacts{File: "/var/lib/caddy/registration.db", Mode: 0o600, Folder: 0o700},
		Mail:     outbox.Health{Succeeded: now.Add(-time.Hour)},
		Backlog:  outbox.Backlog{Count: 1, Oldest: now.Add(-time.Minute)},
		Proxies:  ProxyFacts{Requests: 100, Unnamed: 3, From: "192.0.2.1"},
		Versions: []string{"Caddy v2", "go1.26"},
	}
}

func TestAHealthyRealmIsFine(t *testing.T) {
	found := Look(healthy())
	require.Len(t, found, len(checks))
	for _, f := range found {
		require.Equal(t, Fine, f.Level, f)
		require.NotEmpty(t, f.Message, f.Code)
		require.Empty(t, f.Mend)
	}
	require.Equal(t, Fine, worstOf(found))
	require.Contains(t, found, Finding{Fine, "mail_queue", "1 mail waits", ""})
	require.Contains(t, found, Finding{Fine, "versions", "Caddy v2, go1.26", ""})
	require.Contains(t, found, Finding{Fine, "webhooks", "no webhook is configured", ""})
	for n, want := range map[int]string{1: "the endpoint of the webhook takes what it is told", 2: "2 endpoints of webhooks take what they are told"} {
		f := healthy()
		f.Webhooks = make([]webhook.Status, n)
		require.Contains(t, Look(f), Finding{Fine, "webhooks", want, ""})
		f.Webhooks[0].State, f.Webhooks[0].Since = webhook.StateFailing, f.Now.Add(-time.Minute)
		require.NotContains(t, Look(f), Finding{Fine, "webhooks", want, ""})
	}
	other := healthy()
	other.BaseURL, other.Store, other.Backlog, other.Seen = "", StoreFacts{}, outbox.Backlog{}, time.Time{}
	found = Look(other)
	require.Equal(t, Fine, worstOf(found), "without base_url, with a store that is no file")
	require.Contains(t, found, Finding{Fine, "mail_queue", "no mail waits", ""})
}

// Each situation, and the line that is said to write.
func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		make          func(*Facts)
		level         Level
		code          string
		message, mend string
	}{
		"an endpoint that is gone": {func(f *Facts) {
			f.Webhooks = []webhook.Status{{ID: "3f2a9c01", Host: "app.example.com", State: webhook.StateOff, Since: f.Now.Add(-time.Hour)}}
		}, Advice, "webhooks", "3f2a9c01 of a webhook at app.example.com has said 2026-11-26 19:00:00 UTC that it wants no more (410)", "caddy registration webhooks --enable 3f2a9c01"},
		"an endpoint that fails": {func(f *Facts) {
			f.Webhooks = []webhook.Status{{ID: "3f2a9c01", Host: "app.example.com", State: webhook.StateFailing, Since: f.Now.Add(-time.Hour), Words: "it answered 500"}}
		}, Fault, "webhooks", "takes nothing since 2026-11-26 19:00:00 UTC: it answered 500", "caddy registration webhooks --retry 3f2a9c01"},
		"an endpoint that refuses": {func(f *Facts) {
			f.Webhooks = []webhook.Status{{Host: "app.example.com", State: webhook.StateWorks, Refused: 3, Words: "it answered 422"}}
		}, Advice, "webhooks", "has refused 3 messages, which come again for three days; the last time: it answered 422", "own log"},
		"base_url is none of the hosts": {func(f *Facts) {
			f.Sites = siting.Warnings([]siting.Place{{Source: "Caddyfile:3", Path: "/accounts", BaseURL: "https://example.com", Hosts: []string{"accounts.example.com"}, Ports: []string{"443"}, TLS: true}})
		}, Fault, "base_url", "Caddyfile:3: base_url is https://example.com, but these accounts are at https://accounts.example.com", "base_url https://accounts.example.com"},
		"a path that base_url lacks": {func(f *Facts) {
			f.Sites = siting.Warnings([]siting.Place{{Source: "Caddyfile:3", Path: "/accounts", BaseURL: "https://example.com", Ports: []string{"443"}, TLS: true, Taken: "/app"}})
		}, Fault, "base_url_path", "/app is taken off the path", "base_url https://example.com/app"},
		"a guard that can't see its cookie": {func(f *Facts) {
			f.Sites = []siting.Warning{siting.Blind("default", "Caddyfile:9", "app.example.org", "https://example.com")}
		}, Fault, "guard_blind", "require_login guards app.example.org", "cookie_domain <domain>, in the block session"},
		"no server runs":                             {func(f *Facts) { f.Running = false }, Advice, "routes", "no server runs", "caddy start"},
		"an unwise setting":                          {func(f *Facts) { f.Settings = []string{"register: a link is good; for long; turn one_time_use on"} }, Advice, "settings", "register: a link is good; for long", "turn one_time_use on"},
		"a warning without a mend":                   {func(f *Facts) { f.Settings = []string{"so it is"} }, Advice, "settings", "so it is", ""},
		"the secret in the store, with second steps": {func(f *Facts) { f.Secret, f.SecondSteps = false, 3 }, Advice, "secret", "the second step of 3 accounts", "secret {env.REGISTRATION_SECRET}"},
		"the secret in the store":                    {func(f *Facts) { f.Secret = false }, Advice, "secret", "is kept in the store", "secret {env.REGISTRATION_SECRET}"},
		"a file for all":                             {func(f *Facts) { f.Store.Mode = 0o644 }, Fault, "store_mode", "(mode 0644)", "chmod 600 /var/lib/caddy/registration.db"},
		"a file for a group":                         {func(f *Facts) { f.Store.Mode = 0o660 }, Fault, "store_mode", "(mode 0660)", "chmod 600 /var/lib/caddy/registration.db"},
		"a folder that all write":                    {func(f *Facts) { f.Store.Folder = 0o777 }, Fault, "store_folder", "others can write in /var/lib/caddy", "chmod 700 /var/lib/caddy"},
		"a folder that all read":                     {func(f *Facts) { f.Store.Folder = 0o755 }, Advice, "store_folder", "others can look into /var/lib/caddy", "chmod 700 /var/lib/caddy"},
		"words of the store":                         {func(f *Facts) { f.Store.Warnings = []string{"the file was empty"} }, Advice, "store", "the file was empty", "caddy reload"},
		"no mailer":                                  {func(f *Facts) { f.Mailer = "" }, Advice, "mailer_missing", "no mailer", "mailer smtp mail.example.com:587"},
		"mailer log":                                 {func(f *Facts) { f.Mailer = "log" }, Advice, "mailer_development", "delivers nothing", "mailer smtp"},
		"mailer file":                                {func(f *Facts) { f.Mailer = "file" }, Advice, "mailer_development", "delivers nothing", "mailer smtp"},
		"no mail yet":                                {func(f *Facts) { f.Mail = outbox.Health{} }, Advice, "mailer_untried", "no mail yet", "caddy registration mail test"},
		"mail never could be sent": {func(f *Facts) {
			f.Mail = outbox.Health{Failed: f.Now.Add(-time.Hour), Words: "535 no", Line: "username <name>"}
		}, Fault, "mailer_failing", "since 2026-11-26 19:00:00 UTC, and it never could be: 535 no", "username <name>; then: caddy registration mail test"},
		"the last mail failed": {func(f *Facts) { f.Mail.Failed, f.Mail.Words = f.Now, "no route" }, Fault, "mailer_failing", "it last could at 2026-11-26 19:00:00 UTC: no route", "caddy registration mail test"},
		"mail waits":           {func(f *Facts) { f.Backlog.Oldest = f.Now.Add(-time.Hour) }, Advice, "mail_queue", "1 mail waits, the oldest since 2026-11-26 19:00:00 UTC", "caddy registration mail queue"},
		"mail waits for days": {func(f *Facts) {
			f.Backlog.Count, f.Backlog.Oldest = 12, f.Now.Add(-48*time.Hour)
		}, Fault, "mail_queue", "12 mails wait, the oldest since", "caddy registration mail queue"},
		"clients choose their address": {func(f *Facts) { f.Proxies.Chosen = true }, Fault, "trusted_proxies", "a trusted proxy adds", "trusted_proxies_strict"},
		"a proxy that is not named":    {func(f *Facts) { f.Proxies.Unnamed = 60 }, Advice, "trusted_proxies", "(the last one from 192.0.2.1)", "in the block servers, in two lines: trusted_proxies static <its addresses>, and trusted_proxies_strict"},
		"the clock was set back":       {func(f *Facts) { f.Seen = f.Now.Add(3 * time.Hour) }, Fault, "clock", "set back by 3h0m0s", "timedatectl set-ntp true"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			c.make(f)
			var found []Finding
			for _, one := range Look(f) {
				if one.Level != Fine {
					found = append(found, one)
				}
			}
			require.Len(t, found, 1, "that and nothing else")
			require.Equal(t, c.level, found[0].Level)
			require.Equal(t, c.code, found[0].Code)
			require.Contains(t, found[0].Message, c.message)
			require.Contains(t, found[0].Mend, c.mend)
			require.Equal(t, c.level, worstOf(Look(f)))
		})
	}
}

// A clock that is off by less than nodes may be is no finding.
func TestClocksOfNodesDiffer(t *testing.T) {
	f := healthy()
	f.Seen = f.Now.Add(setBack)
	require.Equal(t, Fine, worstOf(Look(f)))
}

func TestTheWorstCounts(t *testing.T) {
	require.Equal(t, Fault, worstOf([]Finding{{Level: Fine}, {Level: Fault}, {Level: Advice}}))
	require.Equal(t, Advice, worstOf([]Finding{{Level: Advice}, {Level: Fine}}))
}

// worstOf is the worst level of findings.
func worstOf(findings []Finding) Level {
	worst := Fine
	for _, f := range findings {
		if f.Level == Fault || f.Level == Advice && worst == Fine {
			worst = f.Level
		}
	}
	return worst
}
