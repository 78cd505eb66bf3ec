//go:build !race

package registration

// raceDetector tells tests that measure that everything takes ten times as long.
const raceDetector = false
