// asked.go: the request that another server asks about, and what it asks of who sent it.

package authz

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// asked is the request that a server in front asks about, as far as it is known: "" for
// what isn't told, or is told in a way that can be read in two.
type asked struct {
	scheme, host string
	// target is that of the request line: path and query.
	target string
	method string
}

// readForwarded reads the headers of Caddy, Traefik and others.
func readForwarded(req *http.Request) asked {
	h := req.Header
	return checked(asked{
		scheme: one(h, "X-Forwarded-Proto"), host: one(h, "X-Forwarded-Host"), target: one(h, "X-Forwarded-Uri"), method: one(h, "X-Forwarded-Method"),
	}, req)
}

// readOriginal reads the headers of nginx.
func readOriginal(req *http.Request) asked {
	h := req.Header
	a := asked{method: one(h, "X-Original-Method")}
	scheme, rest, ok := strings.Cut(one(h, "X-Original-Url"), "://")
	if slash := strings.IndexByte(rest, '/'); ok && slash > 0 {
		a.scheme, a.host, a.target = scheme, rest[:slash], rest[slash:]
	}
	return checked(a, req)
}

// one is the value of a header that is there once. Of two, nobody knows which one the
// server has written and which one its client.
func one(h http.Header, name string) string {
	if values := h[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// checked leaves of what a server tells what can be meant in one way only.
func checked(a asked, req *http.Request) asked {
	if a.method == "" {
		a.method = req.Method
	}
	a.scheme = strings.ToLower(a.scheme)
	if a.scheme != "http" && a.scheme != "https" {
		a.scheme = ""
	}
	if strings.ContainsFunc(a.host, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.:[]", c)
	}) {
		a.host = ""
	}
	if !strings.HasPrefix(a.target, "/") || strings.ContainsFunc(a.target, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		a.target = ""
	}
	return a
}

// reads reports whether the request can be sent once more without harm.
func (a asked) reads() bool { return a.method == http.MethodGet || a.method == http.MethodHead }

// navigates reports whether a browser goes to the address itself, by a form too. What says
// so are its own headers, which the server in front passes on.
func (a asked) navigates(req *http.Request) bool {
	visit := *req
	visit.Method = http.MethodGet
	return web.Navigates(&visit)
}

// next is where the browser wanted to go, "" where that is too long to come back to. ours is
// false where it is on no host that the realm sends anybody to, or isn't known.
func (a asked) next(r *web.Realm) (next string, ours bool) {
	if a.scheme == "" || a.host == "" || a.target == "" || r.Origins.SafeNext(a.scheme+"://"+a.host+"/") == "" {
		return "", false
	}
	if len(a.target) > web.MaxNext {
		return "", true
	}
	return r.Origins.SafeNext(a.scheme + "://" + a.host + web.EscapeNext(a.target)), true
}

func (a asked) hasSecret() bool {
	_, query, _ := strings.Cut(a.target, "?")
	return web.HasSecret(query) || token.Within(a.target)
}

// header is what else of the request says where it goes. original: one of them is the
// server's own question.
func (a asked) header(h http.Header, original bool) http.Header {
	if !original {
		return h
	}
	rest := make(http.Header, len(h))
	for name, values := range h {
		if name != "X-Original-Url" {
			rest[name] = values
		}
	}
	return rest
}

// known are the parameters that an address in the configuration of a server may have. Those
// of Authelia say where its sign-in page is; ours knows that by itself.
const (
	paramGroup = "group"
	paramRD    = "rd"
	paramURL   = "authelia_url"
)

// readGate reads what the query asks of a visitor. It fails for what it doesn't know: a
// slip in the name would let everybody through. Some servers (Caddy, unless the address that
// it asks at has a question mark) append the visitor's own query: in that, what isn't known
// is the app's.
func readGate(query string, about asked) (web.Gate, error) {
	var gate web.Gate
	if query == "" {
		return gate, nil
	}
	_, visitors, _ := strings.Cut(about.target, "?")
	foreign := query == visitors
	values, err := url.ParseQuery(query)
	if err != nil && !foreign {
		return gate, err
	}
	for name, list := range values {
		for _, value := range list {
			switch name {
			case paramGroup:
				if !identity.IsGroup(value) {
					return gate, fmt.Errorf("group=%q can't be a group's name: that is %s", value, identity.GroupRule)
				}
				gate.Groups = append(gate.Groups, value)
			case web.ParamMaxAge:
				age, err := readAge(value)
				if err != nil {
					return gate, err
				}
				if gate.MaxAge == 0 || age < gate.MaxAge {
					gate.MaxAge = age
				}
			case web.ParamFactors:
				n, err := strconv.Atoi(value)
				if err != nil || n < 1 || n > 2 {
					return gate, fmt.Errorf("factors=%q is no number of factors; write factors=2", value)
				}
				gate.Factors = max(gate.Factors, n)
			case paramRD, paramURL:
			default:
				if !foreign {
					return gate, fmt.Errorf("%q is no parameter; there are group, max_age and factors", name)
				}
			}
		}
	}
	return gate, nil
}

// readAge reads 15m, 1h30m, or a number of seconds, which is what RFC 9470 has.
func readAge(value string) (time.Duration, error) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 && n < math.MaxInt64/int64(time.Second) {
		return time.Duration(n) * time.Second, nil
	}
	if d, err := time.ParseDuration(value); err == nil && d >= time.Second {
		return d, nil
	}
	return 0, errors.New("max_age is a number of seconds, or a time such as 15m; it is " + strconv.Quote(value))
}
