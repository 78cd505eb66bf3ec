// authelia.go: the users_database.yml of Authelia's file backend.

package moving

import (
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// maxYAML bounds the file, because YAML is read as a whole: some 30 000 users.
const maxYAML = 8 << 20

// readAuthelia reads the mapping "users", of which each name is a username. Aliases of
// YAML are followed to a value but not into one, so that a small file can't become a
// large one.
func readAuthelia(in io.Reader, _ Options, yield func(Record, error) bool) error {
	raw, err := io.ReadAll(io.LimitReader(decoded(in), maxYAML+1))
	if err != nil {
		return err
	}
	if len(raw) > maxYAML {
		return fmt.Errorf("the file is longer than %d MiB", maxYAML>>20)
	}
	var file yaml.Node
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return fmt.Errorf("the file is no YAML: %w", err)
	}
	if len(file.Content) == 0 {
		return errors.New("the file is empty")
	}
	users := valueIn(file.Content[0], "users")
	if users == nil || users.Kind != yaml.MappingNode {
		return errors.New(`the file has no mapping "users"`)
	}
	for i := 0; i+1 < len(users.Content); i += 2 {
		name, user := users.Content[i], followed(users.Content[i+1])
		r := Record{Line: name.Line, Username: name.Value}
		if !yield(r, r.fromAuthelia(user)) {
			return nil
		}
	}
	return nil
}

// followed is what an alias stands for.
func followed(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// valueIn is the value of a name in a mapping, or nil.
func valueIn(n *yaml.Node, name string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return followed(n.Content[i+1])
		}
	}
	return nil
}

// fromAuthelia takes the mapping of one user apart. Authelia has no state of an address:
// who runs it has written it there.
func (r *Record) fromAuthelia(user *yaml.Node) error {
	if user.Kind != yaml.MappingNode {
		return r.problem("", CodeSyntax, "it is no mapping")
	}
	for i := 0; i+1 < len(user.Content); i += 2 {
		name, value := user.Content[i].Value, followed(user.Content[i+1])
		if value.ShortTag() == "!!null" {
			continue
		}
		if name == "groups" {
			if err := r.groupsOfYAML(value); err != nil {
				return err
			}
			continue
		}
		text := value.Value
		if value.Kind != yaml.ScalarNode {
			text = ""
		}
		switch name {
		case "password":
			r.PasswordHash = text
		case "email":
			r.Email = text
		case "displayname":
			if r.FirstName == "" {
				r.FirstName = text
			}
		case "given_name":
			r.FirstName = text
		case "family_name":
			r.LastName = text
		case "disabled":
			if err := r.setBool("is_active", text); err != nil {
				return r.problem(name, CodeSyntax, "it is neither true nor false")
			}
			if r.IsActive != nil {
				*r.IsActive = !*r.IsActive
			}
		default:
			r.addYAML(name, value)
		}
	}
	return nil
}

func (r *Record) groupsOfYAML(list *yaml.Node) error {
	if list.Kind != yaml.SequenceNode {
		return r.problem("groups", CodeSyntax, "it is no list")
	}
	r.Groups = []string{}
	for _, group := range list.Content {
		r.Groups = append(r.Groups, followed(group).Value)
	}
	return nil
}

// addYAML keeps another field of an account; of what is in a mapping, such as address and
// extra, each by its own name.
func (r *Record) addYAML(name string, value *yaml.Node) {
	if value.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(value.Content); i += 2 {
			if v := followed(value.Content[i+1]); v.Kind == yaml.ScalarNode && v.ShortTag() != "!!null" {
				r.addYAML(value.Content[i].Value, v)
			}
		}
	}
	if value.Kind != yaml.ScalarNode {
		return
	}
	var v any
	if err := value.Decode(&v); err != nil {
		v = value.Value
	}
	switch n := v.(type) {
	case string, bool, int64, float64:
	case int:
		v = int64(n)
	default: // such as a date
		v = value.Value
	}
	r.add(name, v)
}
