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

// loadMailTemplate reads and parses the parts of one message in one language.
func loadMailTemplate(folder string, l *text.Locale, kind store.MailKind, s Files) (t mailTemplate, err error) {
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
	if t.subject, err = parseMailText(folder, l, subject, named); err != nil {
		return t, err
	}
	if textName != "" {
		if t.text, err = parseMailText(folder, l, textName, bodyNamed); err != nil {
			return t, err
		}
	}
	if htmlName != "" {
		raw, err := readMailTemplate(folder, l, htmlName, bodyNamed)
		if err != nil {
			return t, err
		}
		layout, err := readMailTemplate(folder, l, mailLayout, false)
		if err != nil {
			return t, err
		}
		if t.html, err = htmltemplate.New(mailLayout).Option("missingkey=error").Parse(layout); err != nil {
			return t, fmt.Errorf("template %q: %w", mailLayout, err)
		}
		if t.html, err = t.html.New(htmlName).Parse(raw); err != nil {
			return t, fmt.Errorf("template %q: %w", htmlName, err)
		}
	}
	return t, nil
}

// builtIns are the templates of mails as they come with the program, by kind. They are the
// same in every configuration and language, so each is parsed once, when a mail needs it; what
// can go wrong in them the tests have seen.
var builtIns = func() map[store.MailKind]func() (mailTemplate, error) {
	all := make(map[store.MailKind]func() (mailTemplate, error), len(kinds))
	for _, kind := range kinds {
		all[kind] = sync.OnceValues(func() (mailTemplate, error) { return loadMailTemplate("", nil, kind, Files{}) })
	}
	return all
}()

// mailLayout is the frame of the built-in HTML bodies, which define what stands
// in it. A body that does not call it stands alone.
const mailLayout = "mail/layout.html"

func parseMailText(folder string, l *text.Locale, name string, named bool) (*texttemplate.Template, error) {
	raw, err := readMailTemplate(folder, l, name, named)
	if err != nil {
		return nil, err
	}
	t, err := texttemplate.New(name).Funcs(texttemplate.FuncMap{"wrap": wrap}).Option("missingkey=error").Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("template %q: %w", name, err)
	}
	return t, nil
}
