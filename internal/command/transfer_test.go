// transfer_test.go: `export` and `import`: what they ask for, what they say, and what
// they leave where something fails.

package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// sendsExport answers an export of so many bytes as it says.
func sendsExport(body io.Reader, size string) *scripted {
	return &scripted{answers: []func(*http.Request) (*http.Response, error){func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body), Request: req, Header: http.Header{"Content-Length": {size}, "Accounts": {"2"}}}, nil
	}}}
}

func TestExportWritesAFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "accounts.ndjson")
	m := &madeUp{answer: func(*http.Request) (int, string) { return http.StatusOK, "some\nlines\n" }}
	m.header = http.Header{"Content-Length": {"11"}, "Accounts": {"2"}}
	out, errs, err := m.run(t, "", "export", "--with-hashes", file)
	require.NoError(t, err, errs)
	require.Equal(t, file+" has 2 accounts.\n", out)
	require.Equal(t, []string{"GET default/export?format=ndjson&with_hashes=1"}, m.asked)
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "some\nlines\n", string(written))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	requireOnly(t, dir, "accounts.ndjson")

	m.header = http.Header{"Content-Length": {"11"}, "Accounts": {"1"}}
	out, errs, err = m.run(t, "", "export", "--format", "csv")
	require.NoError(t, err, errs)
	require.Equal(t, "some\nlines\n", out)
	require.Equal(t, "GET default/export?format=csv", m.asked[1])

	m.header = http.Header{"Content-Length": {"11"}, "Accounts": {"3"}, "Sealed-Factors": {"2"}}
	const stays = "The second step of 2 accounts opens in this store alone: the realm has no secret outside of it. Configure one, and export again to take them along.\n"
	out, errs, err = m.run(t, "", "export", "-")
	require.NoError(t, err)
	require.Equal(t, "some\nlines\n", out)
	require.Equal(t, stays, errs)
	m.header = http.Header{"Content-Length": {"11"}, "Accounts": {"3"}, "Sealed-Factors": {"2"}}
	out, errs, err = m.run(t, "", "export", "--json", "--with-audit", "--with-hashes", file)
	require.NoError(t, err)
	require.Equal(t, stays, errs)
	require.Equal(t, "GET default/export?format=ndjson&with_audit=1&with_hashes=1", m.asked[3])
	require.JSONEq(t, `{"file": `+strconv.Quote(file)+`, "accounts": 3, "size": 11, "sealed_factors": 2}`, out)

	m.header = http.Header{"Content-Length": {"11"}, "Accounts": {"1"}}
	out, _, err = m.run(t, "", "export", "--json", file)
	require.NoError(t, err)
	require.JSONEq(t, `{"file": `+strconv.Quote(file)+`, "accounts": 1, "size": 11}`, out)
}

// A file that is there stays whole where an export fails.
func TestExportsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		body io.Reader
		size string
		says string
	}{
		"too few bytes": {strings.NewReader("some"), "11", "broke off after 4 of 11 bytes"},
		"a broken line": {io.MultiReader(strings.NewReader("some"), iotest.ErrReader(errors.New("gone"))), "11", "the export broke off: gone"},
		"no length":     {strings.NewReader("some"), "", "doesn't say how long"},
		"no room":       {strings.NewReader("some"), "9000000000000000000", "there is no room"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "accounts.ndjson")
			require.NoError(t, os.WriteFile(file, []byte("before"), 0o600))
			_, _, err := runs(t.Context(), sendsExport(c.body, c.size), "export", file)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "; nothing was written")
			requireOnly(t, dir, "accounts.ndjson")
			written, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, "before", string(written))
		})
	}
	_, _, err := runs(t.Context(), sendsExport(nil, "0"), "export", t.TempDir())
	require.ErrorContains(t, err, "is not a file")
	_, _, err = runs(t.Context(), sendsExport(nil, "0"), "export", "/nowhere/at/all/file")
	require.ErrorContains(t, err, "can't be written")
	refuses := &madeUp{answer: func(*http.Request) (int, string) { return http.StatusBadRequest, `{"error": "no"}` }}
	_, _, err = refuses.run(t, "", "export", "--format", "xml")
	require.EqualError(t, err, "no")
}

const importAnswer = `{"progress":{"done":5,"of":10,"accounts":500}}
{"remark":{"line":3,"account":"a\u001bb","fate":"refused","field":"email","code":"invalid","message":"Write an address."}}
{"report":{"dry_run":false,"added":2,"updated":1,"unchanged":3,"different":4,"refused":0,"invitations":1,"left_names":2,"reasons":[{"fate":"refused","field":"email","code":"invalid","message":"Write an address.","count":12,"lines":[3,4]}]}}
`

func TestImportSaysWhatBecameOfIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.csv")
	require.NoError(t, os.WriteFile(file, []byte("username\nada\n"), 0o600))
	m := &madeUp{answer: func(*http.Request) (int, string) { return http.StatusOK, importAnswer }, file: "/var/lib/registration.db"}
	out, errs, err := m.run(t, "", "import", "--update", "--group", "moved", file)
	require.NoError(t, err, errs)
	require.Equal(t, []string{"POST default/import?format=csv&group=moved&update=1 username\nada\n"}, m.asked)
	require.Equal(t, "3\ta\\x1bb\trefused\tinvalid\temail: Write an address.\n"+
		"12 accounts, refused: email: Write an address. (line 3, 4, and 10 more)\n"+
		"2 accounts have been added, 1 changed; 3 are there with the same, 4 with other values; 0 refused.\n"+
		"1 invitation and 2 names that were left have been added.\n", out)
	require.Equal(t, "Written to /var/lib/registration.db\n", errs)

	out, errs, err = m.run(t, "name:hash\n", "import", "--format", "htpasswd", "--dry-run", "--json", "-")
	require.NoError(t, err)
	require.Equal(t, "POST default/import?dry_run=1&format=htpasswd name:hash\n", m.asked[1])
	require.Equal(t, strings.Join(strings.SplitAfter(importAnswer, "\n")[1:], ""), out)
	require.Empty(t, errs)

	m.answer = func(*http.Request) (int, string) {
		return http.StatusOK, `{"report":{"dry_run":true,"added":0,"refused":1,"reasons":[{"fate":"refused","code":"syntax","message":"It is none.","count":1,"lines":[1]}]}}` + "\n"
	}
	out, _, err = m.run(t, "", "import", "--dry-run", file)
	require.EqualError(t, err, "1 account of the file could not be taken; correct them and run it again")
	require.Contains(t, out, "1 account, refused: It is none. (line 1)\n0 accounts would be added")
	m.answer = func(*http.Request) (int, string) {
		return http.StatusOK, `{"report":{"added":1,"error":"line 7: it ends there"}}` + "\n"
	}
	out, _, err = m.run(t, "", "import", file)
	require.EqualError(t, err, "the rest of the file could not be read: line 7: it ends there")
	require.Contains(t, out, "1 account has been added, 0 changed")
	m.answer = func(*http.Request) (int, string) {
		return http.StatusOK, `{"report":{"error":"it looks like one of keycloak"}}` + "\n"
	}
	_, _, err = m.run(t, "", "import", "--dry-run", file)
	require.EqualError(t, err, "nobody was taken: it looks like one of keycloak")
	m.answer = func(*http.Request) (int, string) {
		return http.StatusOK, `{"report":{"added":1,"left_names":1,"reasons":[{"fate":"added","field":"shoe","code":"unknown_field","message":"No.","count":2,"lines":[1,1],"accounts":["ada","b\u001b"]}]}}` + "\n"
	}
	out, _, err = m.run(t, "", "import", file)
	require.NoError(t, err)
	require.Equal(t, "2 accounts, added: shoe: No. (line 1 ada, 1 b\\x1b)\n"+
		"1 account has been added, 0 changed; 0 are there with the same, 0 with other values; 0 refused.\n"+
		"0 invitations and 1 name that were left have been added.\n", out)
	m.answer = func(*http.Request) (int, string) {
		return http.StatusOK, `{"report":{"added":1,"audits":2,"mended":2,"notes":["none of these accounts has a password","it is \u001b[2Jold"]}}` + "\n"
	}
	out, _, err = m.run(t, "", "import", file)
	require.NoError(t, err)
	require.Equal(t, "1 account has been added, 0 changed; 0 are there with the same, 0 with other values; 0 refused.\n"+
		"2 rows of the record of acts have been added.\n"+
		"The codes of 2 accounts that could not be checked can be checked from now on, as the file has their key.\nnone of these accounts has a password.\nit is \\x1b[2Jold.\n", out)
}

func TestFormatOfAFile(t *testing.T) {
	for name, want := range map[string]string{
		"a.ndjson": "ndjson", "a.JSONL": "ndjson", "users.csv": "csv", "a.tsv": "csv", "/etc/nginx/.htpasswd": "htpasswd", "site.htpasswd.old": "htpasswd",
		"users_database.yml": "authelia", "users.json": "", "a": "",
	} {
		require.Equal(t, want, formatOf(name), name)
	}
}

func TestImportsThatFail(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "users.csv")
	require.NoError(t, os.WriteFile(file, []byte("username\nada\n"), 0o600))
	for name, c := range map[string]struct {
		answer string
		args   []string
		says   string
	}{
		"no format":        {"", []string{filepath.Join(dir, "users")}, "the name of the file doesn't say what it is; write --format and one of ndjson, csv,"},
		"no file":          {"", []string{filepath.Join(dir, "none.csv")}, "no such file"},
		"a folder":         {"", []string{"--format", "csv", dir}, "is a folder; name a file"},
		"broken off":       {`{"progress":{"done":5,"of":10,"accounts":500}}` + "\n", []string{file}, "the answer broke off; is the server still there?; the first 500 accounts have been seen to, and the same command goes on from there"},
		"dry, broken off":  {"", []string{"--dry-run", file}, "the answer broke off; is the server still there?; nothing has been changed"},
		"an error":         {`{"error":"the disk has gone"}` + "\n", []string{file}, "the disk has gone; the first 0 accounts have been seen to"},
		"an unread answer": {"<html>\n", []string{file}, "the answer can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &madeUp{answer: func(*http.Request) (int, string) { return http.StatusOK, c.answer }}
			_, _, err := m.run(t, "", append([]string{"import"}, c.args...)...)
			require.ErrorContains(t, err, c.says)
		})
	}
	refuses := &madeUp{answer: func(*http.Request) (int, string) { return http.StatusBadRequest, `{"error": "no"}` }}
	_, _, err := refuses.run(t, "", "import", file)
	require.EqualError(t, err, "no")
}

// brokenLine is a server that goes away before it has answered.
type brokenLine struct{ Connection }

func (brokenLine) Do(*http.Request) (*http.Response, error) {
	return nil, &url.Error{Op: "Post", URL: "http://localhost:2019/registration/default/import", Err: io.EOF}
}
func (brokenLine) File() string { return "" }
func (brokenLine) Close() error { return nil }

func TestServerGoesBeforeItAnswers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.csv")
	require.NoError(t, os.WriteFile(file, []byte("username\nada\n"), 0o600))
	_, _, err := runs(t.Context(), brokenLine{}, "import", file)
	require.ErrorContains(t, err, "is the server still there?; the first 0 accounts have been seen to, and the same command goes on from there")
}

func TestInterruptedImportSaysHowToGoOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.EqualError(t, goOn(ctx, 500, false, io.ErrUnexpectedEOF), "interrupted; the first 500 accounts have been seen to, and the same command goes on from there")
	require.EqualError(t, goOn(ctx, 500, true, io.ErrUnexpectedEOF), "interrupted; nothing has been changed")
}

func TestProgressOfAnImport(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1_800_000_000, 0)
	p := &progress{out: &out, now: func() time.Time { return now }, began: now}
	p.accounts(1, 100, 10, 0)
	require.Empty(t, out.String(), "not yet")
	now = now.Add(10 * time.Second)
	p.accounts(50<<20, 100<<20, 1000, 20)
	require.Equal(t, "\r\x1b[K50 % of 100 MiB, 10s left; 1000 accounts, 100 a second; 20 passwords hashed, 2 a second", out.String())
	out.Reset()
	p.restart()
	require.Equal(t, "\r\x1b[K", out.String())
	p.at(1, 2)
	require.Equal(t, "\r\x1b[K", out.String(), "the time begins anew")
}
