// proxies.go: whether a client can choose the address that it is counted by.

package registration

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// chosenAddress reports whether a request came through a trusted proxy that adds
// to the header in which Caddy looks for the client's address, while Caddy takes
// its first entry: the one that the client wrote itself. With
// trusted_proxies_strict it takes the last that is no trusted proxy's.
func chosenAddress(req *http.Request) bool {
	if trusted, _ := caddyhttp.GetVar(req.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return false
	}
	server, ok := req.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.TrustedProxiesStrict > 0 {
		return false
	}
	entries := 0
	for _, name := range server.ClientIPHeaders {
		for _, line := range req.Header.Values(name) {
			entries += 1 + strings.Count(line, ",")
		}
	}
	return entries > 1
}

// warnOfProxies says so in the log, once a configuration.
func (r *realm) warnOfProxies(req *http.Request) {
	if r.warnedOfProxies.Load() || !chosenAddress(req) || r.warnedOfProxies.Swap(true) {
		return
	}
	r.Logger.Warn("a trusted proxy adds to the header that names the client, and Caddy takes the first entry of it, which the client "+
		"may have written itself: throttles and logs can't be relied on. Write trusted_proxies_strict beside trusted_proxies, "+
		"or let the proxy replace the header", zap.String("realm", r.Name), zap.String("remote_address", req.RemoteAddr))
}
