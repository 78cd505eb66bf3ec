// files.go: a mail's template is read: the owner's file or the built-in one, in a language.

package letter

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	texttemplate "text/template"

	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/templates"
)

// inLanguageName is the name of a template in one language: body.txt becomes
// body.de.txt.
func inLanguageName(name, language string) string {
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + "." + language + ext
}

// readMailTemplate returns a template in a language: the owner's own for it or
// for one that it rests on, else the one for all languages.
func readMailTemplate(folder string, l *text.Locale, name string, named bool) (string, error) {
	if folder != "" {
		for _, language := range l.Lineage {
			raw, err := readTemplate(folder, inLanguageName(name, language), false)
			if !errors.Is(err, fs.ErrNotExist) {
				return raw, err
			}
		}
	}
	return readTemplate(folder, name, named)
}

// readTemplate returns a template file: the owner's if there is one, else the
// built-in one. A file that the owner names has to be one of the two.
func readTemplate(folder, name string, named bool) (string, error) {
	if folder != "" {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return "", fmt.Errorf("template %q: write a path inside the templates folder", name)
		}
		raw, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name))) //nolint:gosec // the owner names the folder; name is local
		if err == nil {
			return string(raw), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || named && !IsBuiltIn(name) {
			return "", fmt.Errorf("template %q: %w", name, err)
		}
	}
	raw, err := templates.FS.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("template %q: %w", name, err)
	}
	return string(raw), nil
}

// checkFolder refuses a folder of a mail that no mail uses, and a file in one of them, most
// likely for a slip in its name.
func (o Options) checkFolder() error {
	if o.Templates == "" {
		return nil
	}
	var known, named []string
	for _, kind := range kinds {
		known = append(known, string(kind))
	}
	for _, f := range o.Files {
		named = append(named, path.Clean(f.Subject), path.Clean(f.Body), path.Clean(f.TextBody), path.Clean(f.HTMLBody))
	}
	files, err := filepath.Glob(filepath.Join(o.Templates, "*", "*"))
	if err != nil {
		return nil //nolint:nilerr // a folder with such a name is looked into by nobody
	}
	for _, file := range files {
		name, folder := filepath.Base(file), filepath.Base(filepath.Dir(file))
		part, _, _ := strings.Cut(name, ".")
		ext, isMail := path.Ext(name), slices.Contains(known, folder)
		if ext != ".txt" && ext != ".html" || slices.ContainsFunc(named, func(n string) bool {
			return inAnyLanguage(path.Join(folder, name)) == n || path.Join(folder, name) == n
		}) {
			continue
		}
		usual := part == "body" || part == "subject" && ext == ".txt"
		switch {
		case isMail && !usual:
			return fmt.Errorf("template %q: no mail uses this file; the names are: subject.txt, body.txt, body.html, and in one language body.de.txt", path.Join(folder, name))
		case !isMail && usual && !slices.ContainsFunc(named, func(n string) bool { return path.Dir(n) == folder }): // which is the owner's own
			return fmt.Errorf("template %q: no mail uses this folder; the names are: %s", path.Join(folder, name), strings.Join(known, ", "))
		}
	}
	return nil
}

// own are the kinds of mails of which a file may be the owner's: most folders have few.
func (o Options) own() (out []store.MailKind) {
	has := func(name string) bool {
		if o.Templates == "" {
			return false
		}
		_, err := os.Stat(filepath.Join(o.Templates, name))
		return !errors.Is(err, fs.ErrNotExist)
	}
	layout := has(path.Dir(mailLayout))
	for _, kind := range kinds {
		if layout || o.Files[kind] != (Files{}) || has(string(kind)) {
			out = append(out, kind)
		}
	}
	return out
}

// inAnyLanguage is the name of a template without the language in it: of body.de.txt
// body.txt.
func inAnyLanguage(name string) string {
	ext := path.Ext(name)
	rest := strings.TrimSuffix(name, ext)
	return strings.TrimSuffix(rest, path.Ext(rest)) + ext
}

// IsBuiltIn reports whether there is a built-in mail template of this name, such as
// register/body.html.
func IsBuiltIn(name string) bool {
	switch path.Base(name) {
	case "subject.txt", "body.txt", "body.html":
		_, err := fs.Stat(templates.FS, name)
		return err == nil
	}
	return false
}

// sources are the texts of one message before they are parsed, each with its name; what has
// none there is not. Languages often have the same.
type sources struct{ subject, text, html, layout source }

type source struct{ name, text string }

// readMail reads the parts of one message in one language.
func readMail(folder string, l *text.Locale, kind store.MailKind, s Files) (out sources, err error) {
	subject, named := s.Subject, s.Subject != ""
	if !named {
		subject = path.Join(string(kind), "subject.txt")
	}
	textName, htmlName := s.TextBody, s.HTMLBody
	switch {
	case strings.HasSuffix(s.Body, ".html"):
		htmlName = s.Body
	case s.Body != "":
		textName = s.Body
	}
	bodyNamed := textName != "" || htmlName != ""
	if !bodyNamed {
		textName, htmlName = path.Join(string(kind), "body.txt"), path.Join(string(kind), "body.html")
	}
	read := func(into *source, name string, named bool) {
		if err == nil && name != "" {
			into.name = name
			into.text, err = readMailTemplate(folder, l, name, named)
		}
	}
	read(&out.subject, subject, named)
	read(&out.text, textName, bodyNamed)
	read(&out.html, htmlName, bodyNamed)
	if htmlName != "" {
		read(&out.layout, mailLayout, false)
	}
	return out, err
}

// parse makes templates of the parts.
func (s sources) parse() (t mailTemplate, err error) {
	if t.subject, err = s.subject.parse(); err != nil {
		return t, err
	}
	if s.text.name != "" {
		if t.text, err = s.text.parse(); err != nil {
			return t, err
		}
	}
	if s.html.name != "" {
		if t.html, err = htmltemplate.New(s.layout.name).Option("missingkey=error").Parse(s.layout.text); err != nil {
			return t, fmt.Errorf("template %q: %w", s.layout.name, err)
		}
		if t.html, err = t.html.New(s.html.name).Parse(s.html.text); err != nil {
			return t, fmt.Errorf("template %q: %w", s.html.name, err)
		}
	}
	return t, nil
}

func (s source) parse() (*texttemplate.Template, error) {
	t, err := texttemplate.New(s.name).Funcs(texttemplate.FuncMap{"wrap": wrap}).Option("missingkey=error").Parse(s.text)
	if err != nil {
		return nil, fmt.Errorf("template %q: %w", s.name, err)
	}
	return t, nil
}

// builtIns are the templates of mails as they come with the program, by kind. They are the
// same in every configuration and language, so each is parsed once, when a mail needs it; what
// can go wrong in them the tests have seen.
var builtIns = func() map[store.MailKind]func() (mailTemplate, error) {
	all := make(map[store.MailKind]func() (mailTemplate, error), len(kinds))
	for _, kind := range kinds {
		all[kind] = sync.OnceValues(func() (mailTemplate, error) {
			read, err := readMail("", nil, kind, Files{})
			if err != nil {
				return mailTemplate{}, err
			}
			return read.parse()
		})
	}
	return all
}()

// mailLayout is the frame of the built-in HTML bodies, which define what stands
// in it. A body that does not call it stands alone.
const mailLayout = "mail/layout.html"
