package command

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTableOnATerminal(t *testing.T) {
	var out bytes.Buffer
	table := tableTo(&out, true, "NAME", "GROUPS", "JOINED")
	for _, row := range [][]string{{"ada", "", "1815"}, {"山田太郎", "a b", "1900"}, {"e\u0301va", "x\x1b[2J\ny", ""}} {
		require.NoError(t, table.row(row...))
	}
	require.Empty(t, out.String(), "the widths are not known yet")
	require.NoError(t, table.flush())
	require.Equal(t, strings.Join([]string{
		"NAME      GROUPS       JOINED",
		"ada                    1815",
		"山田太郎  a b          1900",
		"e\u0301va       x\\x1b[2J\\ny",
		"",
	}, "\n"), out.String())
	require.NoError(t, table.row("a name of many letters", "", "1"))
	require.NoError(t, table.flush())
	require.True(t, strings.HasSuffix(out.String(), "\na name of many letters               1\n"), "it pushes its own row aside")
}

func TestTableIsNotHeldBack(t *testing.T) {
	var out bytes.Buffer
	table := tableTo(&out, true, "NAME")
	for i := range 10_000 {
		require.NoError(t, table.row(fmt.Sprint(i)))
		require.LessOrEqual(t, len(table.waiting), measured+1)
	}
	require.Greater(t, out.Len(), 40_000)
	require.NoError(t, table.flush())
	require.Equal(t, 10_001, strings.Count(out.String(), "\n"))
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestTableToABrokenPipe(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		table := tableTo(broken{}, terminal, "NAME")
		var err error
		for range 3 * measured {
			err = errors.Join(err, table.row(strings.Repeat("x", 100)))
		}
		require.ErrorContains(t, errors.Join(err, table.flush()), "the disk is full")
	}
}

func TestPlainLinesInAPipe(t *testing.T) {
	m := &madeUp{answer: func(*http.Request) (int, string) {
		return http.StatusOK, `{"kind":"session","user_agent":"curl\u001b]0;x\u0007\t1","address":"127.0.0.1"}` + "\n" + `{"kind":"token"}`
	}}
	out, _, err := m.run(t, "", "sessions", "ada")
	require.NoError(t, err)
	require.Equal(t, "session\t\t\t\t127.0.0.1\tcurl\\x1b]0;x\\a\\t1\ntoken\t\t\t\t\t\n", out)
	out, _, err = m.run(t, "", "sessions", "ada", "--json")
	require.NoError(t, err)
	require.Equal(t, `{"kind":"session","user_agent":"curl\u001b]0;x\u0007\t1","address":"127.0.0.1"}`+"\n"+`{"kind":"token"}`+"\n", out)
}
