// doc.go: what this folder is for.

// Package integration tests the whole: a Caddy built with this plugin, run as
// its own process and asked from outside, by HTTP, by a browser and by mail. It
// has nothing but tests.
//
// With REGISTRATION_CADDY set to a built Caddy, that one is tested, and none built.
// With REGISTRATION_COVERDIR set to a folder, the Caddy under test is built for
// coverage and leaves its counters there (`go tool covdata` reads them).
package integration
