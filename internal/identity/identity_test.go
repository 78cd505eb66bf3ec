package identity

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIs(t *testing.T) {
	for _, name := range []string{
		User, Email, Name, Groups, ID, "remote-user", "REMOTE_USER", "Remote.User", "remote~user", "Remote-uSER", "Remote_Id", "remote|groups", "remote\x01name", "Remote Email",
	} {
		require.True(t, isIdentity(name), name)
	}
	for _, name := range []string{
		"", "R", "Remote", "Remote-", "Remote-Host", "Remote-Other", "RemoteXUser", "Remote0User", "Remote--User", "X-Remote-User", "Remote-User-", "Remote-Uset", "Remote-Us\x05r", "Remote-Us\x45r\x45",
		"Rem\x4fte-Usar", "Authorization", "Referer", "\x52emote-Grou\x10s",
	} {
		require.False(t, isIdentity(name), name)
	}
}

func TestPercent(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "ada": "ada", "a b+c,d": "a b+c,d", "100 %": "100 %25", "Zo\u00eb": "Zo%C3%AB", "\u5c0f\u660e": "%E5%B0%8F%E6%98%8E", "a\r\nb\x00\x7f": "a%0D%0Ab%00%7F", "\xff": "%FF",
	} {
		got := Percent(in)
		require.Equal(t, want, got)
		back, err := url.PathUnescape(got)
		require.NoError(t, err)
		require.Equal(t, in, back)
	}
}

func TestPlain(t *testing.T) {
	require.True(t, Plain("Zo\u00eb \u5c0f\u660e"))
	for _, bad := range []string{"\r\n", "a\x00", "\x1b[31m", "a\u0085", "\x7f", "\t"} {
		require.False(t, Plain(bad), "%q", bad)
	}
}

func TestStripConnection(t *testing.T) {
	for name, c := range map[string]struct{ in, want []string }{
		"none":            {nil, nil},
		"kept as it is":   {[]string{"keep-alive, Upgrade"}, []string{"keep-alive, Upgrade"}},
		"ours":            {[]string{"close, Remote-User"}, []string{"close"}},
		"any spelling":    {[]string{"remote_groups,\tREMOTE.EMAIL , X, Remote-Id"}, []string{" X"}},
		"nothing is left": {[]string{"Remote-User", "remote-name"}, nil},
		"several lines":   {[]string{"close", "Remote-User, TE"}, []string{"close", " TE"}},
		"empty":           {[]string{""}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if c.in != nil {
				h["Connection"] = c.in
			}
			before := strings.Join(c.in, "|")
			Strip(&http.Request{Header: h})
			require.Equal(t, c.want, h["Connection"])
			require.Equal(t, before, strings.Join(c.in, "|"), "a slice that others may share")
		})
	}
}

// An HTTP/1 body brings trailers at its end, the server's declared map too.
type endingBody struct {
	*strings.Reader
	atEnd func()
}

func (b endingBody) Close() error { return nil }

func (b endingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF { //nolint:errorlint // as strings.Reader returns it
		b.atEnd()
	}
	return n, err
}

func TestStripTrailers(t *testing.T) {
	for name, declared := range map[string]http.Header{
		"declared":     {"Remote-User": nil, "Remote_groups": nil, "X-Sum": nil},
		"not declared": {"X-Sum": nil},
		"none":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			req := &http.Request{Header: http.Header{}, Trailer: declared, ContentLength: -1}
			req.Body = endingBody{strings.NewReader("x"), func() {
				if req.Trailer == nil {
					req.Trailer = http.Header{}
				}
				for _, k := range []string{"Remote-User", "Remote_groups", "X-Sum"} {
					req.Trailer[k] = []string{"v"}
				}
			}}
			Strip(req)
			require.NotContains(t, req.Trailer, "Remote-User")
			_, err := io.ReadAll(req.Body)
			require.NoError(t, err)
			require.Equal(t, http.Header{"X-Sum": {"v"}}, req.Trailer)
		})
	}
	req := &http.Request{Header: http.Header{}, Body: endingBody{strings.NewReader("x"), nil}, ContentLength: 1}
	before := req.Body
	Strip(req)
	require.Equal(t, before, req.Body, "a body without trailers is left alone")
}

func TestGroups(t *testing.T) {
	for _, g := range []string{"staff", "søk", "a", "team:web/admins", "v1.2-x_y", strings.Repeat("ü", 64), "हिन्दी", "9"} {
		require.True(t, IsGroup(g), g)
	}
	for _, g := range []string{"", " ", "a b", "a,admin", "x\r\ny", "a\x00", "\xff", "a;b", "a\"", "a@b", "a+b", "a\u00a0b", "a\u2028b", "\u0301x", strings.Repeat("x", 65), "a,b"} {
		require.False(t, IsGroup(g), g)
	}
	list, all := ValidGroups([]string{"staff", "editors"})
	require.Equal(t, []string{"staff", "editors"}, list)
	require.True(t, all)
	stored := []string{"staff", "x,admins", "editors"}
	list, all = ValidGroups(stored)
	require.Equal(t, []string{"staff", "editors"}, list)
	require.False(t, all)
	require.Equal(t, []string{"staff", "x,admins", "editors"}, stored, "others read it")
	list, all = ValidGroups(nil)
	require.Empty(t, list)
	require.True(t, all)
}

func BenchmarkStrip(b *testing.B) {
	req := &http.Request{Header: http.Header{
		"Accept": {"text/html"}, "Accept-Encoding": {"gzip"}, "Accept-Language": {"de"}, "Connection": {"keep-alive"}, "Cookie": {"a=b"}, "Referer": {"https://example.com/"}, "User-Agent": {"Firefox"}, "Sec-Fetch-Mode": {"navigate"},
	}}
	b.ReportAllocs()
	for b.Loop() {
		Strip(req)
	}
}
