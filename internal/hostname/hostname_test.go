package hostname

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForms(t *testing.T) {
	for in, want := range map[string]string{
		"Bücher.example": "xn--bcher-kva.example", "xn--bcher-kva.example": "xn--bcher-kva.example", "EXAMPLE.com": "example.com",
		"例え。テスト": "xn--r8jz45g.xn--zckzah", "my_host": "my_host", "::1": "::1", "ab--cd.example": "ab--cd.example",
	} {
		got, err := ToASCII(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
	}
	for in, want := range map[string]string{
		"https://bücher.example": "https://xn--bcher-kva.example", "https://BÜCHER.example:8443/a?b=ü": "https://xn--bcher-kva.example:8443/a?b=ü",
		"https://*.bücher.example": "https://*.xn--bcher-kva.example", "http://[::1]:80": "http://[::1]:80", "/path/ü": "/path/ü", "https://example.com/ü": "https://example.com/ü",
	} {
		require.Equal(t, want, URL(in))
	}
	for in, want := range map[string]string{
		"a@bücher.example": "a@xn--bcher-kva.example", "Bücher <a@bücher.example>": "Bücher <a@xn--bcher-kva.example>", "Ü <a@example.com>": "Ü <a@example.com>", "no address": "no address",
	} {
		require.Equal(t, want, Mailbox(in))
	}
	require.Equal(t, "bücher.example", Display("xn--bcher-kva.example"))
	for _, same := range []string{"example.com", "192.0.2.1", "::1", "localhost", "xn--\xff", "my_host"} {
		require.Equal(t, same, Display(same))
	}
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"bücher.example": "xn--bcher-kva.example", "mail.BÜCHER.example:587": "mail.xn--bcher-kva.example:587", "[IPv6:::1]": "[IPv6:::1]", "[::1]:25": "[::1]:25",
		"Mail.example.com": "Mail.example.com", "ü ü": "ü ü", "bücher.example:ü": "bücher.example:ü", "": "",
	} {
		require.Equal(t, want, Host(in))
	}
}

// A name is shown in its script where it can't be taken for another one.
func TestDisplayIsSafe(t *testing.T) {
	for _, shown := range []string{"bücher.example", "почта.рф", "ελλάδα.example", "例え.テスト", "東京タワーtv.example", "한국어.example", "müller-2.example", "שלום.example"} {
		ascii, err := Domain(shown)
		require.NoError(t, err, shown)
		require.Equal(t, shown, Display(ascii))
		require.Equal(t, "ada@"+shown, DisplayAddress("ada@"+ascii))
		require.Equal(t, "https://"+shown+":8443/ü?next=xn--#x", DisplayURL("https://"+ascii+":8443/ü?next=xn--#x"))
	}
	for name, spoof := range map[string]string{
		"Cyrillic that looks like Latin": "аррӏе.example", "one letter among Latin ones": "p\u0430ypal.example", "Greek among Latin": "g\u03bfogle.example",
		"Greek that looks like Latin": "νοτα.example", "two scripts of the East": "почтаελ.example", "in another label": "www.\u0440\u0430\u0443.example",
	} {
		ascii, err := Domain(spoof)
		require.NoError(t, err, name)
		require.Equal(t, ascii, Display(ascii), name)
		require.Equal(t, "ada@"+ascii, DisplayAddress("ada@"+ascii), name)
		require.Equal(t, "https://"+ascii+"/", DisplayURL("https://"+ascii+"/"), name)
	}
	for _, same := range []string{"no address", "a@example.com", "", "ada"} {
		require.Equal(t, same, DisplayAddress(same))
	}
	for _, same := range []string{"/xn--bcher-kva.example", "https://example.com/xn--bcher-kva.example", "http://[::1]/", "://", "https://xn--\xff/"} {
		require.Equal(t, same, DisplayURL(same))
	}
}
