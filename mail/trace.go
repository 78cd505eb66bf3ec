// trace.go: what a mailer tells of one message while it sends it.

package mail

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// A Step is a part of the delivery of one message, as it is told to a person: what we
// said or did, and what came of it.
type Step struct {
	// Name is connect, tls, greeting, a command of SMTP, or what another mailer does.
	Name string `json:"step"`
	// Sent is what we said, without secrets; it may be empty.
	Sent string `json:"sent,omitempty"`
	// Answer is what the other side said in its own words, or what came of the step.
	Answer string `json:"answer,omitempty"`
}

// A Trace follows one message. A mailer that knows more of its work than that it is
// done tells it, and does all of it: it takes no shortcut, such as a connection that
// is open already.
type Trace struct {
	// Step is called after each step, in the goroutine that called Send.
	Step func(Step)
	// Patience is for how long an answer is waited for at most, where somebody sits and
	// waits; zero: as long as ever.
	Patience time.Duration
}

type traceKey struct{}

// WithTrace has the mailer that gets ctx tell what it does.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf is the trace that WithTrace has set, nil if none.
func TraceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// MaxTold is how much of the other side's words is told, in bytes.
const MaxTold = 500

// Tell tells a step. The words of the other side are cut to MaxTold bytes, and become
// one line that no terminal obeys. A nil trace tells nobody.
func (t *Trace) Tell(name, sent, answer string) {
	if t != nil && t.Step != nil {
		t.Step(Step{name, Printable(cut(sent)), Printable(cut(answer))})
	}
}

// Tellf is Tell of what came of a step.
func (t *Trace) Tellf(name, format string, args ...any) {
	if t != nil {
		t.Tell(name, "", fmt.Sprintf(format, args...))
	}
}

func cut(text string) string {
	if len(text) <= MaxTold {
		return text
	}
	return strings.ToValidUTF8(text[:MaxTold], "") + "…"
}

// Printable makes one line of a text, without what a terminal would obey.
func Printable(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(strings.TrimSpace(text), "?"), "\n", " / ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '?'
		}
		return r
	}, text)
}
