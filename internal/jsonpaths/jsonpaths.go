// Package jsonpaths lists the settings of a configuration by reflection. Tests
// hold the documentation, the Caddyfile and the test cases against it.
package jsonpaths

import (
	"reflect"
	"strings"
)

// Of lists the JSON members below a struct type by their path, such as
// register.mail.subject. Lists of structs count as one struct.
func Of(t reflect.Type) []string { return below(t, "") }

func below(t reflect.Type, prefix string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var paths []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.IsExported():
			paths = append(paths, below(f.Type, prefix)...)
		case !f.IsExported(), name == "", name == "-":
		default:
			path := strings.TrimPrefix(prefix+"."+name, ".")
			if inner := below(f.Type, path); len(inner) > 0 {
				paths = append(paths, inner...)
			} else {
				paths = append(paths, path)
			}
		}
	}
	return paths
}
