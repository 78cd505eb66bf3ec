package adminapi

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPipeAnswersWhileItIsWritten(t *testing.T) {
	goOn := make(chan struct{})
	res, err := Pipe(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("Late", "yes")
		w.WriteHeader(http.StatusOK)
		_, err := io.WriteString(w, "first\n")
		<-goOn
		_, last := io.WriteString(w, "second\n")
		return errors.Join(err, last)
	}, httptest.NewRequest(http.MethodGet, "/", nil))
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, res.StatusCode)
	require.Equal(t, "202 Accepted", res.Status)
	require.Equal(t, http.Header{"Content-Type": {"text/plain"}}, res.Header)
	lines := bufio.NewReader(res.Body)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line, "before the end")
	close(goOn)
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	require.Equal(t, "second\n", string(rest))
	require.NoError(t, res.Body.Close())
}

func TestPipeWithoutAnAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		serve func(http.ResponseWriter, *http.Request) error
		err   string // of Pipe
		read  error  // of the body
	}{
		"refused":        {func(http.ResponseWriter, *http.Request) error { return errors.New("there is no such account") }, "there is no such account", nil},
		"nothing to say": {func(http.ResponseWriter, *http.Request) error { return nil }, "", nil},
		"begun":          {func(w http.ResponseWriter, _ *http.Request) error { w.(http.Flusher).Flush(); return nil }, "", nil},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusOK)
			panic(http.ErrAbortHandler)
		}, "", io.ErrUnexpectedEOF},
		"never begun": {func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, io.ErrUnexpectedEOF.Error(), nil},
		"failed meanwhile": {func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusOK)
			return io.ErrNoProgress
		}, "", io.ErrNoProgress},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := Pipe(tc.serve, httptest.NewRequest(http.MethodGet, "/", nil))
			if tc.err != "" {
				require.EqualError(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, res.StatusCode)
			_, err = io.ReadAll(res.Body)
			require.ErrorIs(t, err, tc.read)
			require.NoError(t, res.Body.Close())
		})
	}
}

// Who has read enough ends the operation, and what it rests on can be closed next.
func TestPipeThatNobodyReads(t *testing.T) {
	ended := false
	res, err := Pipe(func(w http.ResponseWriter, req *http.Request) error {
		defer func() { ended = true }()
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				<-req.Context().Done()
				return err
			}
		}
	}, httptest.NewRequest(http.MethodGet, "/", nil))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.True(t, ended)
}
