// spans.go: what takes time in a request, for who traces requests.

package metrics

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// tracerName names who makes our spans.
const tracerName = "github.com/seed-928992b0/caddy-registration"

func nothing() {}

// span begins a span below the one of a context, with the provider of that: the directive
// `tracing` has one of its own. Where requests are not traced it does nothing.
func span(ctx context.Context, name string, attributes ...attribute.KeyValue) (end func()) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return nothing
	}
	_, span := parent.TracerProvider().Tracer(tracerName).Start(ctx, name, trace.WithAttributes(attributes...))
	return func() { span.End() }
}

// maxLetters bounds the mails whose requests are remembered.
const maxLetters = 1000

// Letters remembers which request a queued mail came from, so that its delivery, which is
// after the answer, is a span of it. It forgets what it has no room for, and all at the end
// of the process. It is safe for concurrent use.
type Letters struct {
	mu   sync.Mutex
	from map[string]trace.Span
}

// Queued is told of the mails that a request has queued, by their Message-IDs.
func (l *Letters) Queued(ctx context.Context, ids []string) {
	from := trace.SpanFromContext(ctx)
	if !from.IsRecording() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == nil {
		l.from = map[string]trace.Span{}
	}
	for _, id := range ids {
		if len(l.from) >= maxLetters { // some of them were never sent
			for old := range l.from {
				delete(l.from, old)
				break
			}
		}
		l.from[id] = from
	}
}

// Sending begins the span of a delivery, once for each try; with delivered the mail is
// forgotten.
func (l *Letters) Sending(ctx context.Context, id, kind string) (end func(error)) {
	l.mu.Lock()
	span := l.from[id]
	l.mu.Unlock()
	if span == nil {
		return func(error) {}
	}
	_, sending := span.TracerProvider().Tracer(tracerName).Start(trace.ContextWithRemoteSpanContext(ctx, span.SpanContext()), "mail", trace.WithAttributes(attribute.String("registration.mail_kind", kind)))
	return func(err error) {
		if err != nil {
			sending.SetStatus(codes.Error, "") // what a server says may have an address in it
		} else {
			l.mu.Lock()
			delete(l.from, id)
			l.mu.Unlock()
		}
		sending.End()
	}
}
