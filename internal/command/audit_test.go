// audit_test.go: what `audit` asks for, how it prints, and how it follows.

package command

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// scripted answers one request after the other, and keeps what it was asked.
type scripted struct {
	answers []func(*http.Request) (*http.Response, error)
	asked   []string
}

func (s *scripted) Do(req *http.Request) (*http.Response, error) {
	s.asked = append(s.asked, req.URL.RequestURI())
	if len(s.answers) == 0 {
		return nil, errors.New("connection refused")
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	return answer(req)
}

func (*scripted) File() string { return "" }
func (*scripted) Close() error { return nil }

func says(status int, body io.Reader) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body)}, nil
	}
}

func refusesToConnect(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// runs runs `caddy registration` with arguments, against a server of a script.
func runs(ctx context.Context, s Connection, args ...string) (out, errOut string, err error) {
	cmd := treeOf(func(context.Context, *Flags) (Connection, error) { return s, nil }, nil).Root()
	cmd.SilenceErrors = true
	var stdout, stderr bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(append([]string{"registration"}, args...))
	err = cmd.ExecuteContext(ctx)
	return stdout.String(), stderr.String(), err
}

const auditRows = `{"seq":7,"at":"2026-11-26T23:00:00Z","event":"signed_in","account":"a1","username":"ada","actor":"a1","address":"192.0.2.1","agent":"x","details":{"gives":"session","by":"password"}}
{"seq":9,"at":"2026-11-26T23:00:01Z","event":"account_disabled","account":"a2","actor":"admin","address":"","agent":"","details":{}}
{"seq":12,"at":"2026-11-26T23:00:02Z","event":"profile_changed","account":"a1","username":"e\u001b[2Jvil","actor":"a1","address":"192.0.2.1","agent":"","details":{"fields":"x\u0007"}}
`

func TestAuditAsks(t *testing.T) {
	for args, want := range map[string]string{
		"":                                   "limit=100",
		"--limit 5":                          "limit=5",
		"--limit 0":                          "",
		"--since 24h":                        "since=24h",
		"--since 24h --limit 7":              "limit=7&since=24h",
		"--account a/b --event signed_in":    "account=a%2Fb&event=signed_in&limit=100",
		"--account ada --limit 0 --realm x/": "account=ada",
	} {
		s := &scripted{answers: []func(*http.Request) (*http.Response, error){says(http.StatusOK, strings.NewReader(auditRows))}}
		_, errOut, err := runs(t.Context(), s, append([]string{"audit"}, strings.Fields(args)...)...)
		require.NoError(t, err)
		require.Empty(t, errOut)
		realm := "default"
		if strings.Contains(args, "--realm") {
			realm = "x%2F"
		}
		require.Equal(t, []string{"/registration/" + realm + "/audit?" + want}, s.asked, args)
	}
	_, _, err := runs(t.Context(), &scripted{}, "audit", "--limit", "-1")
	require.ErrorContains(t, err, "--limit is -1")
	_, _, err = runs(t.Context(), &scripted{}, "audit", "ada")
	require.Error(t, err)
	_, _, err = runs(t.Context(), &scripted{}, "audit")
	require.EqualError(t, err, "connection refused")
	_, _, err = runs(t.Context(), &scripted{answers: []func(*http.Request) (*http.Response, error){says(http.StatusBadRequest, strings.NewReader(`{"error": "since is wrong"}`))}}, "audit", "--follow")
	require.EqualError(t, err, "since is wrong")
}

func TestAuditPrints(t *testing.T) {
	s := func(body io.Reader) *scripted {
		return &scripted{answers: []func(*http.Request) (*http.Response, error){says(http.StatusOK, body)}}
	}
	out, _, err := runs(t.Context(), s(strings.NewReader(auditRows)), "audit")
	require.NoError(t, err)
	require.Equal(t, "2026-11-26T23:00:00Z\tsigned_in\tada\ta1\t192.0.2.1\tby=password\tgives=session\n"+
		"2026-11-26T23:00:01Z\taccount_disabled\ta2\tadmin\t\n"+
		"2026-11-26T23:00:02Z\tprofile_changed\te\\x1b[2Jvil\ta1\t192.0.2.1\tfields=x\\a\n", out)
	out, _, err = runs(t.Context(), s(strings.NewReader(auditRows)), "audit", "--json")
	require.NoError(t, err)
	require.Equal(t, auditRows, out)

	var screen bytes.Buffer
	table := &auditTable{out: bufio.NewWriter(&screen), columns: true}
	require.NoError(t, table.begin())
	require.NoError(t, table.begin(), "a follower asks again, and has them once")
	for line := range strings.Lines(auditRows) {
		require.NoError(t, table.print([]byte(line)))
	}
	require.NoError(t, table.out.Flush())
	local := func(second int) string {
		return time.Date(2026, 11, 26, 23, 0, second, 0, time.UTC).Local().Format(time.DateTime)
	}
	require.Equal(t, "TIME                 EVENT                   ACCOUNT           BY                                    ADDRESS          DETAILS\n"+
		local(0)+"  signed_in               ada               a1                                    192.0.2.1        by=password gives=session\n"+
		local(1)+"  account_disabled        a2                admin                                 -\n"+
		local(2)+"  profile_changed         e\\x1b[2Jvil       a1                                    192.0.2.1        fields=x\\a\n", screen.String())

	hundred := strings.Repeat(strings.SplitAfter(auditRows, "\n")[0], auditLast)
	_, errOut, err := runs(t.Context(), s(strings.NewReader(hundred)), "audit")
	require.NoError(t, err)
	require.Equal(t, "These are the last 100; --limit 0 shows all.\n", errOut, "nothing is left out silently")
	_, errOut, err = runs(t.Context(), s(strings.NewReader(hundred)), "audit", "--limit", "100")
	require.NoError(t, err)
	require.Empty(t, errOut)

	_, _, err = runs(t.Context(), s(io.MultiReader(strings.NewReader(auditRows), &brokenReader{})), "audit")
	require.ErrorContains(t, err, "the list broke off: unexpected EOF")
	_, _, err = runs(t.Context(), s(strings.NewReader("nonsense\n")), "audit")
	require.ErrorContains(t, err, "the answer can't be read")
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type brokenOutput struct{}

func (*brokenOutput) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAuditIntoAClosedPipe(t *testing.T) {
	for _, c := range []*auditTable{{json: true}, {columns: true}, {}} {
		c.out = bufio.NewWriterSize(&brokenOutput{}, 16)
		common := &common{conn: &scripted{answers: []func(*http.Request) (*http.Response, error){says(http.StatusOK, strings.NewReader(auditRows))}}}
		require.ErrorIs(t, common.followAudit(t.Context(), map[string][]string{}, c), io.ErrClosedPipe)
	}
	c := &auditTable{out: bufio.NewWriter(&brokenOutput{})}
	common := &common{conn: &scripted{answers: []func(*http.Request) (*http.Response, error){says(http.StatusOK, strings.NewReader(auditRows))}}}
	require.ErrorIs(t, common.followAudit(t.Context(), map[string][]string{}, c), io.ErrClosedPipe)
}

// A follower asks again where a server has loaded a configuration or restarts, from
// where it was; and says so where none comes back.
func TestAuditFollowsOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := strings.SplitAfter(auditRows, "\n")
		ctx, interrupt := context.WithCancel(t.Context())
		s := &scripted{answers: []func(*http.Request) (*http.Response, error){
			says(http.StatusOK, strings.NewReader(rows[0])),
			refusesToConnect, says(http.StatusServiceUnavailable, strings.NewReader(`{"error": "not yet"}`)), refusesToConnect,
			says(http.StatusOK, io.MultiReader(strings.NewReader(rows[1]), &brokenReader{})),
			func(req *http.Request) (*http.Response, error) {
				r, w := io.Pipe()
				go func() {
					_, _ = io.WriteString(w, rows[2])
					time.Sleep(time.Hour)
					interrupt()
					_ = w.CloseWithError(ctx.Err())
				}()
				return &http.Response{StatusCode: http.StatusOK, Body: r}, nil
			},
		}}
		out, _, err := runs(ctx, s, "audit", "--follow", "--json", "--event", "signed_in")
		require.NoError(t, err, "Ctrl-C is how it ends")
		require.Equal(t, auditRows, out)
		const path = "/registration/default/audit?"
		require.Equal(t, path+"event=signed_in&follow=1&limit=100", s.asked[0])
		require.Equal(t, path+"after=7&event=signed_in&follow=1", s.asked[4])
		require.Equal(t, path+"after=9&event=signed_in&follow=1", s.asked[5])

		s = &scripted{answers: []func(*http.Request) (*http.Response, error){says(http.StatusOK, strings.NewReader(rows[0]))}}
		began := time.Now()
		_, _, err = runs(t.Context(), s, "audit", "--follow")
		require.EqualError(t, err, "the server has stopped: connection refused")
		require.Equal(t, followTries*followPause, time.Since(began))
		_, _, err = runs(t.Context(), &scripted{}, "audit", "--follow")
		require.EqualError(t, err, "connection refused", "where none was there it isn't waited for")
	})
}
