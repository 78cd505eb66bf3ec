// doc.go: what this folder is for.

// Package served is the harness of the tests in integration/, which test the whole: a
// Caddy built with this plugin, run as its own process and asked from outside, by
// HTTP, by a browser and by mail. The packages beside it have nothing but tests.
//
// With REGISTRATION_CADDY set to a built Caddy, that one is tested, and none built.
// With REGISTRATION_COVERDIR set to an absolute path, the Caddy under test is built for
// coverage and leaves its counters there (`go tool covdata` reads them).
package served
