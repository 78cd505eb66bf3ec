// settings.go: P/admin/settings: the settings as they run, without what is secret.

package owner

import (
	"context"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// A Site is what the pages see of the site besides its accounts.
type Site struct {
	// Settings are those that run, in their order.
	Settings []Setting
	// Retry has all mail that waits tried at once, and returns how much that is.
	Retry func(context.Context) (int, error)
	// NextTry is when the queue as a whole is tried again; zero where it doesn't wait.
	NextTry func() time.Time
	// Webhooks are who is told what happens; HasWebhooks: there is such an endpoint. The
	// others find no page of theirs in the navigation.
	Webhooks    Webhooks
	HasWebhooks bool
}

// A Setting is one by its path in JSON. Value is "" where it is Hidden: it is secret, and
// set.
type Setting struct {
	Path, Value string
	Hidden      bool
}

const pathSettings = "settings"

var settingPages = []*Page{{
	Path: pathSettings, Tab: pathSettings, Get: showSettings,
	Doc: Doc{Get: "The settings as they run, by their paths; those that are secret are null", Shows: schemaObject},
}}

func showSettings(c *Call) (*Shown, error) {
	if !c.HTML {
		out := web.Object{}
		for _, s := range c.site.Settings {
			var value any
			if !s.Hidden {
				value = s.Value
			}
			out = append(out, web.NewObject(s.Path, value)...)
		}
		return &Shown{JSON: out}, nil
	}
	t := &Table{Label: c.Say("page.admin.settings"), Columns: []string{c.Say("page.admin.setting"), c.Say("page.admin.value")}}
	for _, s := range c.site.Settings {
		value := s.Value
		if s.Hidden {
			value = c.Say("value.hidden")
		}
		t.Rows = append(t.Rows, Row{Cells: []Cell{{Text: s.Path}, {Text: orDash(value)}}})
	}
	return &Shown{View: &View{Title: c.Say("page.admin.settings"), Text: []string{c.Say("page.admin.settings_text")}, Parts: []Part{{Table: t}}}}, nil
}
