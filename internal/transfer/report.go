// report.go: what is said of a file and its lines.

package transfer

import (
	"fmt"
	"io"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/moving"
)

// says something of the file as a whole.
func (m *importer) says(note string) { m.report.Notes = append(m.report.Notes, note) }

// whole looks to the end of our own export before anything of it is taken: one that was cut
// off, be it at the end of a line, doesn't have its last one.
func (m *importer) whole() (bool, error) {
	if m.o.Format != FormatNDJSON {
		return true, nil
	}
	first, last, n, err := moving.Ends(m.in)
	if err == nil {
		_, err = m.in.Seek(0, io.SeekStart)
	}
	var h header
	if err != nil || n == 0 || !isHeader(first) || readLine(first, &h) != nil || !h.known() {
		return true, err // it is no export of ours, or one that begin refuses
	}
	var l readableLine
	switch {
	case h.Export == 1:
		m.says("the file is of an older version and has no last line by which one could see that it is whole")
	case readLine(last, &l) != nil || l.End == nil:
		m.report.Error = "it is not whole: its last line is missing, which an export ends with. Copy or make it again"
		return false, nil
	case l.End.Lines > 0 && l.End.Lines != n-1:
		m.says(fmt.Sprintf("the file has %d lines before its last one, which says that there are %d: it was changed after the export", n-1, l.End.Lines))
	}
	return true, nil
}

// note says of a file that nobody can sign in with what is in it, and of whom it has no
// more than names.
func (m *importer) note() {
	switch m.byName {
	case 0:
	case 1:
		m.says("1 account of the file has no address there and was taken for the one here by its name alone: see whether it is the same person's")
	default:
		m.says(fmt.Sprintf("%d accounts of the file have no address there and were taken for those here by their names alone: see whether they are the same people's", m.byName))
	}
	const links = "people set one by a link: caddy registration reset-link"
	switch {
	case m.progress.Accounts == 0 || m.proven:
	case m.hashless:
		m.says("none of these accounts has a password: the export was made without --with-hashes. Make it again with that and import it with --update, or " + links)
	default:
		m.says("none of these accounts has a password in the file; " + links)
	}
}

// remark counts a remark, and tells it if there were not too many like it.
func (m *importer) remark(r Remark) error {
	if len(r.Account) > 200 {
		r.Account = strings.ToValidUTF8(r.Account[:200], "") + "…"
	}
	if len(r.Message) > 500 {
		r.Message = strings.ToValidUTF8(r.Message[:500], "") + "…"
	}
	if len(r.Field) > 60 {
		r.Field = strings.ToValidUTF8(r.Field[:60], "") + "…"
	}
	reason := m.report.reason(&r)
	if reason.Count++; len(reason.Lines) < maxReasonLines {
		reason.Lines = append(reason.Lines, r.Line)
		reason.Accounts = append(reason.Accounts, r.Account)
	}
	if reason.Count > maxTold {
		return nil
	}
	return m.tell(Event{Remark: &r})
}

// reason is that of a remark.
func (p *Report) reason(r *Remark) *Reason {
	const others = "each of these has a message of its own, which a pipe and --json show"
	messages, rest := 0, (*Reason)(nil)
	for _, have := range p.Reasons {
		if have.Fate != r.Fate || have.Field != r.Field || have.Code != r.Code {
			continue
		}
		switch have.Message {
		case r.Message:
			return have
		case others:
			rest = have
		}
		messages++
	}
	if rest != nil {
		return rest
	}
	message := r.Message
	if messages >= maxMessages {
		message = others
	}
	if len(p.Reasons) >= maxReasons {
		rest = p.Reasons[maxReasons-1] // all others together
		rest.Field, rest.Code, rest.Message = "", "more", "there are more reasons than are listed"
		return rest
	}
	reason := &Reason{Fate: r.Fate, Field: r.Field, Code: r.Code, Message: message}
	p.Reasons = append(p.Reasons, reason)
	return reason
}
