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
	p.say(done, of, func(took time.Duration) string {
		return fmt.Sprintf("%s, %s a second", humanize.IBytes(uint64(max(done, 0))), humanize.IBytes(uint64(float64(done)/took.Seconds())))
	})
}

// accounts tells how many accounts of a file are seen to, and for how many of them a hash
// was made, beside how much of the file that is.
func (p *progress) accounts(done, of, accounts, hashed int64) {
	p.say(done, of, func(took time.Duration) string {
		line := fmt.Sprintf("%d accounts, %.0f a second", accounts, float64(accounts)/took.Seconds())
		if hashed > 0 {
			line += fmt.Sprintf("; %d passwords hashed, %.0f a second", hashed, float64(hashed)/took.Seconds())
		}
		return line
	})
}

// say writes a line, where it is time for one.
func (p *progress) say(done, of int64, what func(took time.Duration) string) {
	now := p.now()
	took := now.Sub(p.began)
	if p.out == nil || took < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.shown = now, true
	line := what(took)
	if rate := float64(done) / took.Seconds(); of > 0 && rate > 0 {
		left := time.Duration(float64(of-done) / rate * float64(time.Second)).Round(time.Second)
		line = fmt.Sprintf("%d %% of %s, %s left; %s", done*100/of, humanize.IBytes(uint64(of)), left, line)
	}
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s", line)
}

// restart begins to count the time anew: something else is watched.
func (p *progress) restart() {
	p.end()
	p.began, p.shown = p.now(), false
}

// end takes the line away.
func (p *progress) end() {
	if p.shown {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}
