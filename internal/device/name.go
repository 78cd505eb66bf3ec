// Package device knows what people sign in on: what a User-Agent calls it, and which
// devices an account has been signed in on before.
package device

import (
	"slices"

	"github.com/mileusna/useragent"

	"github.com/seed-928992b0/caddy-registration/internal/pattern"
)

// Describe names the program and the system of a User-Agent, for a person who looks at a
// list of them. One that can't be read is shown as it is.
func Describe(header string) string {
	ua := useragent.Parse(header)
	switch {
	case ua.Name == "" || ua.OS == "" && ua.Version == "":
		return header
	case ua.OS == "":
		return ua.Name
	}
	return ua.Name + ", " + ua.OS
}

// maxWord bounds a name that nobody knows, in bytes.
const maxWord = 24

// word is a name that says nothing but itself: no sentence, no address, no host.
var word = pattern.Of(`^[A-Za-z][A-Za-z0-9_-]*$`)

// wordy are the names of several words that the parser gives by itself.
var wordy = []string{
	useragent.OperaMini, useragent.OperaTouch, useragent.HeadlessChrome, useragent.InternetExplorer, useragent.SamsungBrowser, useragent.WindowsPhone,
	useragent.FacebookApp, useragent.InstagramApp, useragent.TiktokApp, "Miui Browser", "Huawei Browser", "Android browser",
}

// Name is Describe for a mail: whoever sends the header may be a thief, and the mail is
// read in our name. A part that is more than a name is left out; "": nothing is left.
func Name(header string) string {
	ua := useragent.Parse(header)
	name, system := plain(ua.Name), plain(ua.OS)
	switch {
	case name == "":
		return system
	case system == "":
		return name
	}
	return name + ", " + system
}

func plain(name string) string {
	if slices.Contains(wordy, name) || len(name) <= maxWord && word().MatchString(name) {
		return name
	}
	return ""
}
