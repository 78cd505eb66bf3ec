package device_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/device"
)

// TestNamesOfDevices: lists show what was sent, mails only what is a name.
func TestNamesOfDevices(t *testing.T) {
	for header, want := range map[string][2]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                     {"Firefox, Linux", "Firefox, Linux"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                            {"Chrome, Windows", "Chrome, Windows"},
		"Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36": {"Samsung Browser, Android", "Samsung Browser, Android"},
		"curl/8.14.1":                    {"curl", "curl"},
		"":                               {"", ""},
		"evil.example/1.0":               {"evil.example", ""},
		"Call your bank now/1.0":         {"Call your bank now", ""},
		"see http://evil.example for it": {"see http://evil.example for it", ""},
		strings.Repeat("A", 25) + "/1":   {strings.Repeat("A", 25), ""},
		"\x00\xff\u202e/1 (\x00)":        {"\x00\xff\u202e", ""},
	} {
		require.Equal(t, want[1], device.Name(header), header)
		if !strings.ContainsAny(header, "\x00") {
			require.Equal(t, want[0], device.Describe(header), header)
		}
	}
}
