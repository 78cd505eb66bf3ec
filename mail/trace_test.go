package mail_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/mail"
)

func TestTrace(t *testing.T) {
	var nobody *mail.Trace
	nobody.Tell("x", "", "")
	nobody.Tellf("x", "%d", 1)
	(&mail.Trace{}).Tellf("x", "%d", 1)
	require.Nil(t, mail.TraceOf(context.Background()))

	var steps []mail.Step
	trace := &mail.Trace{Step: func(s mail.Step) { steps = append(steps, s) }}
	require.Same(t, trace, mail.TraceOf(mail.WithTrace(context.Background(), trace)))
	trace.Tell("EHLO", "EHLO x", "250-a\n250 \x1b[31m\u202e\xffb\n")
	trace.Tellf("file", "%s", strings.Repeat("ü", mail.MaxTold))
	require.Equal(t, mail.Step{Name: "EHLO", Sent: "EHLO x", Answer: "250-a / 250 ?[31m??b"}, steps[0], "one line that no terminal obeys")
	require.LessOrEqual(t, len(steps[1].Answer), mail.MaxTold+len("…"))
	require.True(t, strings.HasSuffix(steps[1].Answer, "ü…"))
}
