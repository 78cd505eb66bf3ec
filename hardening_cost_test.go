// hardening_cost_test.go: what one anonymous request may cost. Every endpoint of
// the OpenAPI document gets the worst value of 64 KiB in every member of its body,
// in its query, its headers and its cookies, and is held to a few milliseconds.

package registration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// maxRequestCost is the CPU time that a request may cost besides its hash, which
// the test settings make one of microseconds.
var maxRequestCost = map[bool]time.Duration{false: 5 * time.Millisecond, true: 150 * time.Millisecond}[sitetest.RaceDetector]

// hostileSize is how large a hostile value is: with the rest of the request it
// stays within MaxBody.
const hostileSize = web.MaxBody - 2<<10

// upTo repeats a text until it has hostileSize bytes in the given encoding.
func upTo(prefix, unit, suffix string) string {
	return prefix + strings.Repeat(unit, (hostileSize-len(prefix)-len(suffix))/len(unit)) + suffix
}

// hostileTexts are values that cost their reader the most for their bytes.
func hostileTexts() map[string]string {
	var han strings.Builder
	for r := rune(0x4e00); han.Len() < hostileSize-20; r = 0x4e00 + (r-0x4e00+1)%0x51a5 {
		han.WriteRune(r)
	}
	return map[string]string{
		"a label of Han letters":       "a@" + han.String() + ".org",
		"Han letters":                  han.String(),
		"labels of Han letters":        upTo("a@", "\u4e2d\u6587\u570b\u5b57.", "org"),
		"labels":                       upTo("a@", "a.", "org"),
		"punycode labels":              upTo("a@", "xn--fiqs8s.", "org"),
		"long punycode label":          upTo("a@xn--", "fiqs8s", ".org"),
		"a label from right to left":   upTo("a@", "\u0627\u0628", ".org"),
		"expands 18 times (NFKC)":      upTo("", "\ufdfa", ""),
		"expands in a domain":          upTo("a@", "\ufdfa", ".org"),
		"expands 3 times (NFC)":        upTo("", "\U0001d160", ""),
		"expands when folded":          upTo("", "\u0390", ""),
		"marks out of order":           upTo("a", "\u0301\u0323\u0327\u0316", ""),
		"marks out of order in domain": upTo("a@a", "\u0301\u0323", ".org"),
		"jamo":                         upTo("", "\u1112\u1161\u11ab", ""),
		"Cherokee":                     upTo("", "\u13a0\uab70", ""),
		"joiners":                      upTo("a@", "\u0915\u094d\u200d", ".org"),
		"digits":                       upTo("", "9", ""),
		"an exponent":                  upTo("1e", "9", ""),
		"a fraction":                   upTo("0.", "0", "1"),
		"escapes":                      upTo("http://example.org/", "%41", ""),
		"escapes in a host":            upTo("http://", "%41", ".example/"),
		"broken escapes":               upTo("/", "%", ""),
		"dots and slashes":             upTo("/", "../", ""),
		"a port":                       upTo("http://example.org:", "1", "/"),
		"plus signs":                   upTo("", "+", "!@example.org"),
		"NULs":                         upTo("", "\x00", ""),
		"not UTF-8":                    upTo("", "\xff", ""),
		"surrogates":                   upTo("", "\xed\xa0\x80", ""),
		"spaces":                       upTo("", " ", "!"),
		"wide spaces":                  upTo("x", "\u2003", "x"),
		"markup":                       upTo("", "<", ""),
		"quotes":                       upTo("", `"`, ""),
		"backslashes":                  upTo("", `\`, ""),
		"commas":                       upTo("", ",", ""),
		"semicolons":                   upTo("", ";", ""),
		"parameters":                   upTo("a", ";a=b", ""),
		"equal signs":                  upTo("", "=", ""),
		"ranges":                       upTo("text/html", ",text/html;q=0.1", ""),
		"languages":                    upTo("de", ",de-AT-x-a;q=0.1", ""),
		"one language":                 upTo("de", "-a", ""),
		"letters for a pattern":        upTo("", "a", "!"),
		"words":                        upTo("", "ab ", ""),
		"points":                       upTo("e", ".e", ""),
		"comments":                     upTo("", "(", "a@example.org"),
		"a UUID":                       upTo("01a210d5-11e0-7c58-adab-", "c", ""),
		"cookies":                      upTo("a=b", "; a=b", ""),
		"our cookies":                  upTo("registration=a", "; registration=a", ""),
		"different cookies":            upTo("registration=a", `;registration="`, ""),
	}
}

// hostileBodies are whole bodies by content type.
func hostileBodies() map[string][2]string {
	many := func(format, join string) string {
		var out strings.Builder
		for i := 0; out.Len() < hostileSize; i++ {
			if i > 0 {
				out.WriteString(join)
			}
			fmt.Fprintf(&out, format, i)
		}
		return out.String()
	}
	const multi = "multipart/form-data; boundary=x"
	return map[string][2]string{
		"deep arrays":             {"application/json", `{"login":` + upTo("", "[", "")},
		"deep arrays, closed":     {"application/json", `{"login":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}"},
		"deep objects":            {"application/json", upTo("", `{"a":`, "")},
		"many members":            {"application/json", "{" + many(`"%x":0`, ",") + "}"},
		"one member many times":   {"application/json", "{" + upTo(`"login":0`, `,"login":0`, "") + "}"},
		"many numbers":            {"application/json", `{"login":` + upTo("[0", ",0", "]") + "}"},
		"many numbers, no object": {"application/json", upTo("[0", ",0", "]")},
		"many objects":            {"application/json", `{"login":` + upTo("[{}", `,{"a":{}}`, "]") + "}"},
		"many members, deeper":    {"application/json", `{"login":{` + many(`"%x":0`, ",") + "}}"},
		"many values":             {"application/json", upTo("{}", "{}", "")},
		"escaped":                 {"application/json", `{"login":"` + upTo("", `\u0041`, "") + `"}`},
		"blanks":                  {"application/json", upTo("", " ", "{}")},
		"many parameters":         {"application/x-www-form-urlencoded", many("%x", "&")},
		"many ampersands":         {"application/x-www-form-urlencoded", upTo("", "&", "")},
		"one parameter often":     {"application/x-www-form-urlencoded", upTo("login=a", "&login=a", "")},
		"escaped parameters":      {"application/x-www-form-urlencoded", upTo("login=", "%41", "")},
		"escaped names":           {"application/x-www-form-urlencoded", many("%%41%x=%%41", "&")},
		"many parts":              {multi, many("--x\r\nContent-Disposition: form-data; name=\"%x\"\r\n\r\n\r\n", "") + "--x--"},
		"many empty parts":        {multi, upTo("", "--x\r\n\r\n\r\n", "--x--")},
		"many boundaries":         {multi, upTo("", "--x\r\n", "--x--")},
		"almost boundaries":       {multi, upTo("--x\r\nContent-Disposition: form-data; name=\"login\"\r\n\r\n", "\r\n--", "\r\n--x--")},
		"many headers of a part":  {multi, "--x\r\n" + many("a%x:b\r\n", "") + "\r\n\r\n--x--"},
		"one header many times":   {multi, upTo("--x\r\n", "a:\r\n", "\r\n\r\n--x--")},
		"parameters of a part":    {multi, "--x\r\nContent-Disposition: form-data" + many("; a%x=b", "") + "\r\n\r\n--x--"},
		"continued parameters":    {multi, "--x\r\nContent-Disposition: form-data" + many("; name*%d=b", "") + "\r\n\r\n--x--"},
		"encoded parameters":      {multi, upTo("--x\r\nContent-Disposition: form-data; name*=utf-8''", "%41", "\r\n\r\n--x--")},
		"quoted-printable":        {multi, upTo("--x\r\nContent-Disposition: form-data; name=login\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", "=\r\n", "\r\n--x--")},
	}
}

// A hostile request is made anew for every try.
type hostile struct {
	what        string
	method      string
	target      string
	contentType string
	body        string
	header      http.Header
	cookie      map[string]string
}

func (h hostile) request() *http.Request {
	req := httptest.NewRequest(h.method, "/", strings.NewReader(h.body))
	req.RequestURI = h.target
	path, query, _ := strings.Cut(h.target, "?")
	req.URL = &url.URL{Path: path, RawQuery: query}
	req.Host = "example.com"
	if h.contentType != "" {
		req.Header.Set("Content-Type", h.contentType)
	}
	maps.Copy(req.Header, h.header)
	for name, v := range h.cookie {
		req.Header["Cookie"] = append(req.Header["Cookie"], name+"="+v)
	}
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	return req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "192.0.2.1"}))
}

func cpuTime(t testing.TB) time.Duration {
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// cost is the least CPU time of the whole process that a request took in some
// tries: a busy machine makes no request cheaper. It stops at the first that is
// cheap enough.
func cost(s *sitetest.Site, h hostile, limit time.Duration) (least time.Duration, status int) {
	for try := range 40 {
		req, rec := h.request(), httptest.NewRecorder()
		if try > 0 {
			runtime.GC() // what others have left is not this request's
		}
		before := cpuTime(s.T)
		s.ServeHTTP(rec, req)
		took := cpuTime(s.T) - before
		if try == 0 || took < least {
			least, status = took, rec.Code
		}
		if least <= limit || least > 50*limit {
			break
		}
	}
	return least, status
}

// costSite has everything turned on, and a field of every type.
func costSite(t *testing.T, configure ...func(*registration.Settings)) *sitetest.Site {
	all := func(s *registration.Settings) {
		s.User.Fields = []field.Spec{
			{Name: "about", Type: "text", MaxLength: 10_000},
			{Name: "nickname", Type: "text", Unique: true, MaxLength: 500},
			{Name: "badge", Type: "text", Pattern: `(a|b|ab)*c`},
			{Name: "work", Type: "email", Unique: true},
			{Name: "home", Type: "url", Unique: true},
			{Name: "page", Type: "url"},
			{Name: "number", Type: "integer", Unique: true},
			{Name: "size", Type: "number", Unique: true},
			{Name: "news", Type: "boolean"},
			{Name: "born", Type: "date"},
			{Name: "colour", Type: "choice", Choices: []string{"red", "blue"}},
		}
		names := []string{"id", "username", "email", "first_name", "last_name"}
		for _, f := range s.User.Fields {
			names = append(names, f.Name)
		}
		s.User.PublicFields = names
		s.User.LoginFields = []string{"username", "email", "nickname", "home", "number", "size"}
		s.User.EditableFields = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "id" || n == "email" })
		s.RegisterEmail.MaxAge = new(caddy.Duration(time.Hour))
		sitetest.WithJWT(s)
	}
	s := sitetest.New(t, append([]func(*registration.Settings){all}, configure...)...)
	res := s.Browser().Post("/accounts/register", costMember(s))
	require.Equal(t, 201, res.StatusCode, res.Text)
	require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
	s.Realm.Stop() // mail waits: what is measured is the request
	return s
}

// costMember is the account that the requests of who is signed in come from.
func costMember(s *sitetest.Site) sitetest.Data {
	return sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"nickname": "countess", "work": "ada@work.example", "home": "https://ada.example/", "number": 1, "size": 1.5})
}

// A probe tries a hostile request and fails the test where it is too dear.
type probe func(h hostile)

func probeOf(s *sitetest.Site, t *testing.T, statuses map[int]int) probe {
	return func(h hostile) {
		took, status := cost(s, h, maxRequestCost)
		statuses[status]++
		if took > maxRequestCost {
			t.Errorf("%s %.60s, %s: %v of CPU (status %d)", h.method, h.target, h.what, took, status)
		}
	}
}

func hostileJSON(text string) string {
	raw, _ := json.Marshal(text)
	if text == upTo("", "\xed\xa0\x80", "") {
		return `"` + strings.Repeat(`\ud800`, hostileSize/6) + `"`
	}
	if len(raw) > web.MaxBody-1<<10 { // escapes have made it larger
		raw = append(raw[:(web.MaxBody-1<<10)/6*6+1], '"')
	}
	return string(raw)
}

// worst are the texts that every member of every endpoint gets, in JSON and in a
// form. Of the others, each goes to some of the members and headers, or to all
// where REGISTRATION_ATTACK is long.
var worst = []string{"a label of Han letters", "expands 18 times (NFKC)", "expands in a domain", "marks out of order", "markup", "plus signs"}

// chosen picks every so many of what is tried; fewer with the race detector, which
// makes all of it ten times as long.
func chosen(n, every int) bool {
	if sitetest.RaceDetector {
		every *= 4
	}
	return n%every == 0 || os.Getenv("REGISTRATION_ATTACK") == "long"
}

// costBody is a body that would do for an endpoint with these members.
func costBody(path string, members []string) sitetest.Data {
	body := sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{
		"nickname": "countess", "work": "ada@work.example", "home": "https://ada.example/", "number": 1, "size": 1.5,
		"login": "nobody", "user_id": web.ExampleID, "timestamp": "1764072000", "signature": "x", "old_password": "wrong", account.ParamRefreshToken: "a.b", account.ParamSession: "x",
	})
	if path == "/register" {
		body = sitetest.With(body, sitetest.Data{"username": "bob", "email": "bob@example.org", "nickname": "bob", "work": "bob@work.example", "home": "https://bob.example/", "number": 2, "size": 2.5})
	}
	maps.DeleteFunc(body, func(name string, _ any) bool { return !slices.Contains(members, name) })
	return body
}

// memberRequests are a request with a text in one member: of a query, or of a JSON
// body and a form on a page.
func memberRequests(method, path, member string, members []string, text string) (inJSON, inForm hostile) {
	body := costBody(path, members)
	delete(body, member)
	h := hostile{what: member, method: method, target: "/accounts" + path}
	if method == http.MethodGet || method == http.MethodHead {
		h.target += "?" + member + "=" + url.QueryEscape(text)
		page := h
		page.header = http.Header{"Accept": {"text/html"}}
		return h, page
	}
	form := url.Values{}
	for name, v := range body {
		form.Set(name, fmt.Sprint(v))
	}
	raw, _ := json.Marshal(body)
	document := strings.TrimSuffix(string(raw), "}")
	if len(body) > 0 {
		document += ","
	}
	page := h
	h.contentType, h.body = "application/json", document+`"`+member+`":`+hostileJSON(text)+"}"
	page.contentType, page.body = "application/x-www-form-urlencoded", form.Encode()+"&"+member+"="+text
	page.header = http.Header{"Accept": {"text/html"}}
	page.what += ", a form on a page"
	return h, page
}

// everyMember tries every text in every member of every endpoint.
func everyMember(s *sitetest.Site, t *testing.T, try probe) {
	texts := hostileTexts()
	n := 0
	for op, members := range s.Operations(t) {
		s.Travel(2 * time.Hour) // so that what asks for a fresh sign-in is asked too
		b := s.Browser()
		b.Cookie[sitetest.SessionCookie] = cookieOf(s, "ada")
		for _, member := range members {
			for name, text := range texts {
				n++
				inJSON := slices.Contains(worst, name) || chosen(n, 5)
				inForm := slices.Contains(worst, name) && (!sitetest.RaceDetector || chosen(n, 2)) || chosen(n, 25)
				one, two := memberRequests(op[0], op[1], member, members, text)
				one.what, two.what = one.what+": "+name, two.what+": "+name
				if op[1] != "/logout" { // it would end it
					one.cookie, two.cookie = b.Cookie, b.Cookie
				}
				if inJSON {
					try(one)
				}
				if inForm {
					try(two)
				}
			}
		}
	}
}

// cookieOf signs an account in without asking.
func cookieOf(s *sitetest.Site, name string) string {
	s.T.Helper()
	var g *session.Grant
	require.NoError(s.T, s.Accounts.Update(s.T.Context(), func(t *account.Txn) (err error) {
		u, err := t.User(sitetest.UUIDOf(s.T, s, name))
		if err != nil {
			return err
		}
		g, err = s.Accounts.Grant(t, u, account.Client{}, []string{account.MethodPassword})
		return err
	}))
	return g.Cookie
}

func TestCostOfEveryMember(t *testing.T) {
	statuses := map[int]int{}
	s := costSite(t)
	everyMember(s, t, probeOf(s, t, statuses))
	t.Log("by status:", statuses)
	require.Greater(t, statuses[http.StatusBadRequest], 100)
	require.Zero(t, statuses[http.StatusRequestEntityTooLarge], "too large to be looked at")
	require.Zero(t, statuses[http.StatusInternalServerError])
}

// Who is told to wait costs no more: the budget's key is as cheap as the rest.
func TestCostOfThrottledRequests(t *testing.T) {
	s := costSite(t)
	s.Realm.Options.Unlimited = false
	for _, name := range slices.Sorted(maps.Keys(s.Realm.Options.Limits)) {
		s.Realm.Options.Limits[name] = budget.Limit{Events: 1, Window: 7 * sitetest.Day}
	}
	statuses := map[int]int{}
	everyMember(s, t, probeOf(s, t, statuses))
	t.Log("by status:", statuses)
	require.Greater(t, statuses[http.StatusTooManyRequests], 100)
}

func TestCostOfHostileBodies(t *testing.T) {
	s := costSite(t)
	statuses := map[int]int{}
	try := probeOf(s, t, statuses)
	for op := range s.Operations(t) {
		if op[0] == http.MethodGet || op[0] == http.MethodHead {
			continue
		}
		cookie := map[string]string{sitetest.SessionCookie: cookieOf(s, "ada")}
		for name, body := range hostileBodies() {
			for _, accept := range []string{"application/json", "text/html"} {
				try(hostile{what: name + " (" + accept + ")", method: op[0], target: "/accounts" + op[1], contentType: body[0], body: body[1], cookie: cookie, header: http.Header{"Accept": {accept}}})
			}
		}
	}
	t.Log("by status:", statuses)
	require.Zero(t, statuses[http.StatusRequestEntityTooLarge])
}

func TestCostOfHostileHeaders(t *testing.T) {
	s := costSite(t)
	statuses := map[int]int{}
	try := probeOf(s, t, statuses)
	targets := [][2]string{{"GET", "/members/"}, {"POST", "/members/"}, {"GET", "/accounts/nothing"}, {"OPTIONS", "/accounts/login"}}
	for op := range s.Operations(t) {
		targets = append(targets, [2]string{op[0], "/accounts" + op[1]})
	}
	n := 0
	for _, target := range targets {
		for _, header := range []string{
			"Accept", "Accept-Language", "Authorization", "Cookie", "Content-Type", "User-Agent", "Origin", "Referer", "Host", "Sec-Fetch-Site", "Sec-Purpose",
			"X-Forwarded-For", "X-Forwarded-Host", "Access-Control-Request-Method", "If-None-Match", "Connection", "Remote_User",
		} {
			for name, text := range hostileTexts() {
				if n++; !chosen(n, 7) {
					continue
				}
				for _, prefix := range hostilePrefixes[header] {
					h := hostile{what: header + ": " + prefix + name, method: target[0], target: target[1], header: http.Header{"Accept": {"text/html"}}}
					if target[0] == http.MethodPost {
						h.contentType, h.body = "application/json", `{"login":"nobody","password":"x"}`
					}
					h.header[header] = []string{prefix + text}
					try(h)
				}
				h := hostile{what: header + " often: " + name, method: target[0], target: target[1], header: http.Header{header: strings.SplitAfter(text[:hostileSize/4], text[:1])}}
				try(h)
			}
		}
	}
	t.Log("by status:", statuses)
}

// hostilePrefixes are what leads a header's reader further in.
var hostilePrefixes = map[string][]string{
	"Accept": {"", "text/html;q=0.5,", "application/json;"}, "Accept-Language": {"", "de,"}, "Authorization": {"", "Token ", "Bearer ", "Bearer e30.e30."},
	"Cookie": {"", "registration=", "registration=x; registration_device=", "registration_flash="}, "Content-Type": {"", "multipart/form-data; boundary=", "application/json; charset="},
	"Origin": {"", "https://"}, "Referer": {""}, "User-Agent": {""}, "Host": {""},
}

func TestCostOfHostileQueries(t *testing.T) {
	redirects := func(s *registration.Settings) {
		s.Register.SuccessRedirect, s.Register.FailureRedirect = "https://example.com/done", "https://example.com/failed"
		s.RegisterEmail.SuccessRedirect, s.RegisterEmail.FailureRedirect = s.Register.SuccessRedirect, s.Register.FailureRedirect
		s.ResetPassword.SuccessRedirect, s.ResetPassword.FailureRedirect = s.Register.SuccessRedirect, s.Register.FailureRedirect
	}
	many := hostileBodies()["many parameters"][1]
	for name, s := range map[string]*sitetest.Site{"pages": costSite(t), "redirect mode": costSite(t, redirects)} {
		t.Run(name, func(t *testing.T) {
			statuses := map[int]int{}
			try := probeOf(s, t, statuses)
			targets := [][2]string{{"GET", "/members/"}, {"GET", "/accounts/"}}
			for op := range s.Operations(t) {
				targets = append(targets, [2]string{"GET", "/accounts" + op[1]}, [2]string{op[0], "/accounts" + op[1]})
			}
			n := 0
			for _, target := range targets {
				queries := map[string]string{"many": many, "many links": strings.Repeat("signature=x&", hostileSize/12), "semicolons": strings.Repeat(";", hostileSize)}
				for _, member := range []string{"user_id", "email", "timestamp", "signature", "next", "reauth", "sent"} {
					for text, value := range hostileTexts() {
						if n++; !chosen(n, 9) {
							continue
						}
						const link = "user_id=01a210d5-11e0-7c58-adab-cbdc9698133c&email=a@example.org&timestamp=1795521600&signature=x&"
						queries[member+": "+text] = link + member + "=" + url.QueryEscape(value)
						queries[member+": short "+text] = link + member + "=" + url.QueryEscape(value[:2000])
					}
				}
				for what, query := range queries {
					try(hostile{what: what, method: target[0], target: target[1] + "?" + query, header: http.Header{"Accept": {"text/html"}}})
				}
			}
			t.Log("by status:", statuses)
		})
	}
}
