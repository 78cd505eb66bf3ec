//go:build race

package sitetest

// RaceDetector tells tests that measure that everything takes ten times as long.
const RaceDetector = true
