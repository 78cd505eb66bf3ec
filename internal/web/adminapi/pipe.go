// pipe.go: the operations in this very process, answered as a server would: what an
// operation writes is read while it is written.

package adminapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Pipe asks serve for an answer and returns it once it begins. What serve returns
// before that is Pipe's error. The answer's body is the caller's to close: that ends
// the operation and waits for it, so that what it rests on can be closed next.
func Pipe(serve func(http.ResponseWriter, *http.Request) error, req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	r, w := io.Pipe()
	p := &piped{header: http.Header{}, begun: make(chan struct{}), w: w}
	body := &pipedBody{PipeReader: r, cancel: cancel, ended: make(chan struct{})}
	var failed error
	go func() {
		defer close(body.ended)
		failed = p.serve(serve, req.WithContext(ctx))
		if failed != nil {
			_ = w.CloseWithError(failed)
		} else {
			p.WriteHeader(http.StatusOK)
			_ = w.Close()
		}
	}()
	select {
	case <-p.begun:
	case <-body.ended:
		select {
		case <-p.begun:
		default:
			cancel()
			return nil, failed
		}
	}
	return &http.Response{Status: fmt.Sprintf("%d %s", p.status, http.StatusText(p.status)), StatusCode: p.status, Header: p.sent, Body: body, Request: req}, nil
}

// piped is the writer of the answer.
type piped struct {
	header, sent http.Header
	status       int
	once         sync.Once
	begun        chan struct{}
	w            *io.PipeWriter
}

// serve makes an error of an operation that breaks off its answer.
func (p *piped) serve(serve func(http.ResponseWriter, *http.Request) error, req *http.Request) (err error) {
	defer func() {
		if v := recover(); v == http.ErrAbortHandler { //nolint:errorlint // that very value is the protocol
			err = io.ErrUnexpectedEOF
		} else if v != nil {
			panic(v)
		}
	}()
	return serve(p, req)
}

// Header implements http.ResponseWriter.
func (p *piped) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *piped) WriteHeader(status int) {
	p.once.Do(func() {
		p.status, p.sent = status, p.header.Clone()
		close(p.begun)
	})
}

// Write implements http.ResponseWriter.
func (p *piped) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.w.Write(b)
}

// Flush implements http.Flusher: nothing is held back.
func (p *piped) Flush() { p.WriteHeader(http.StatusOK) }

type pipedBody struct {
	*io.PipeReader
	cancel context.CancelFunc
	ended  chan struct{}
}

// Close implements io.Closer.
func (b *pipedBody) Close() error {
	b.cancel()
	err := b.PipeReader.Close()
	<-b.ended
	return err
}
