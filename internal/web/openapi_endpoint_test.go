package web

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// The description and the files of pages are sent by one rule.
func TestServeVersion(t *testing.T) {
	p := &pages{realm: &Realm{Path: "/accounts", Options: &Options{}}, Files: map[string]*pageFile{}}
	p.serveFile("brand.css", "text/css", []byte("body{}"))
	version := `"` + p.Files["brand.css"].version + `"`
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request){
		"any": func(w http.ResponseWriter, req *http.Request) {
			serveVersion(w, req, "text/css", version, []byte("body{}"))
		},
		"file": func(w http.ResponseWriter, req *http.Request) { require.True(t, p.file(w, req, "brand.css")) },
	} {
		for _, c := range []struct {
			method, match string
			status        int
			body          string
		}{
			{"GET", "", 200, "body{}"},
			{"HEAD", "", 200, ""},
			{"GET", version, 304, ""},
			{"HEAD", version, 304, ""},
			{"GET", "W/" + version, 304, ""},
			{"GET", `"other", ` + version, 304, ""},
			{"GET", "*", 304, ""},
			{"GET", `"other"`, 200, "body{}"},
			{"GET", "nonsense", 200, "body{}"},
		} {
			t.Run(name+" "+c.method+" "+c.match, func(t *testing.T) {
				req := httptest.NewRequest(c.method, "/accounts/brand.css", nil)
				if c.match != "" {
					req.Header.Set("If-None-Match", c.match)
				}
				w := httptest.NewRecorder()
				serve(w, req)
				require.Equal(t, c.status, w.Code)
				require.Equal(t, c.body, w.Body.String())
				require.Equal(t, version, w.Header().Get("ETag"))
				if c.status == 200 {
					require.Equal(t, "text/css", w.Header().Get("Content-Type"))
					require.Equal(t, "6", w.Header().Get("Content-Length"))
				}
			})
		}
	}
}
