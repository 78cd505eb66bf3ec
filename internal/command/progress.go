// progress.go: how far a long command is, for whoever watches it on a terminal.

package command

import (
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
)

// A progress says on a terminal how many bytes are done of how many, once it has taken
// longer than progressAfter. Its dozen lines are our own: the libraries for it bring
// goroutines and styles that one line of text has no use for.
type progress struct {
	out         io.Writer // nil: nobody watches
	now         func() time.Time
	began, last time.Time
	shown       bool
}

const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

func newProgress(out io.Writer, now func() time.Time) *progress {
	if _, ok := terminal(out); !ok {
		out = nil
	}
	return &progress{out: out, now: now, began: now()}
}

// at tells how many bytes are done; of is below 1 where nobody knows of how many.
func (p *progress) at(done, of int64) {
	now := p.now()
	took := now.Sub(p.began)
	if p.out == nil || took < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.shown = now, true
	rate := float64(done) / took.Seconds()
	line := fmt.Sprintf("%s, %s a second", humanize.IBytes(uint64(max(done, 0))), humanize.IBytes(uint64(rate)))
	if of > 0 && rate > 0 {
		left := time.Duration(float64(of-done) / rate * float64(time.Second)).Round(time.Second)
		line = fmt.Sprintf("%d %% of %s, %s left; %s", done*100/of, humanize.IBytes(uint64(of)), left, line)
	}
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s", line)
}

// end takes the line away.
func (p *progress) end() {
	if p.shown {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}
