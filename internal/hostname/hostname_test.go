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
