// settings_shown.go: the settings as they run, for the owner's pages: what is secret is
// not among them.

package registration

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/web/owner"
)

// ownersSite is what the owner's pages see of a realm besides its accounts.
func (r *realm) ownersSite() *owner.Site {
	return &owner.Site{
		Settings: r.settings.shown(),
		Retry: func(ctx context.Context) (int, error) {
			return r.post.Worker.Retry(ctx, r.Accounts.Load().Store, r.courier)
		},
		NextTry: func() time.Time { return r.post.Worker.NextTry() },
	}
}

// secretSettings are hidden by their paths. Of modules (store, mailer) only the name is
// shown: what one of somebody else's calls its password isn't known.
var secretSettings = map[string]bool{"secrets": true, "register.code": true}

// shown lists the settings that are set.
func (s *Settings) shown() (list []owner.Setting) {
	show("", reflect.ValueOf(*s), &list)
	return list
}

func show(path string, v reflect.Value, list *[]owner.Setting) {
	add := func(value string) {
		if value != "" {
			*list = append(*list, owner.Setting{Path: path, Value: value})
		}
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if secretSettings[path] {
		if !v.IsZero() {
			*list = append(*list, owner.Setting{Path: path, Hidden: true})
		}
		return
	}
	switch value := v.Interface().(type) {
	case caddy.Duration:
		if value != 0 {
			add(durationText(time.Duration(value)))
		}
	case json.RawMessage:
		add(moduleName(value))
	case []field.Spec:
		for _, f := range value {
			*list = append(*list, owner.Setting{Path: path + "." + f.Name, Value: string(f.Type)})
		}
	case []string:
		add(strings.Join(value, " "))
	default:
		if v.Kind() == reflect.Struct {
			showStruct(path, v, list)
			return
		}
		if v.Kind() == reflect.Bool || !v.IsZero() {
			add(jsonText(value))
		}
	}
}

func showStruct(path string, v reflect.Value, list *[]owner.Setting) {
	for f, member := range v.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.IsExported():
			show(path, member, list)
		case !f.IsExported(), name == "", name == "-", path == "" && name == "source":
		default:
			show(strings.TrimPrefix(path+"."+name, "."), member, list)
		}
	}
}

// jsonText is a value as JSON has it, and a text as it is.
func jsonText(value any) string {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

// durationText is a duration as a Caddyfile has it, without units of nothing.
func durationText(d time.Duration) string {
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// moduleName is the name of a guest module.
func moduleName(raw json.RawMessage) string {
	var module struct {
		Module string `json:"module"`
	}
	_ = json.Unmarshal(raw, &module) // it has loaded, so it is an object
	return module.Module
}
