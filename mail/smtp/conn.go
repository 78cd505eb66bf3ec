// conn.go: one conversation in SMTP (RFC 5321), with every step under a deadline
// and every reply in bounds. It is our own, over net/textproto: what libraries do
// of it has one deadline for all, asks for SMTPUTF8 wherever it is offered, hangs up
// after a refused sign-in, and dials through a variable of the whole process.

package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/boundconn"
	"github.com/seed-928992b0/caddy-registration/mail"
)

// Limits is how long a server may take for each step of the conversation.
type Limits struct {
	// Greeting is for TLS and for the first line.
	Greeting time.Duration
	// Command is for EHLO, STARTTLS, AUTH, MAIL and RCPT.
	Command time.Duration
	// DataStart is for the answer to DATA, DataBlock for taking each part of the
	// message, DataEnd for the answer to the whole.
	DataStart, DataBlock, DataEnd time.Duration
}

// DefaultLimits are those of RFC 5321, 4.5.3.2.
var DefaultLimits = Limits{Greeting: 5 * time.Minute, Command: 5 * time.Minute, DataStart: 2 * time.Minute, DataBlock: 3 * time.Minute, DataEnd: 10 * time.Minute}

// within are limits for somebody who waits; the answer to the whole message keeps its
// time, since it is scanned meanwhile.
func (l Limits) within(patience time.Duration) Limits {
	if patience > 0 {
		for _, limit := range []*time.Duration{&l.Greeting, &l.Command, &l.DataStart, &l.DataBlock} {
			*limit = min(*limit, patience)
		}
	}
	return l
}

// Bounds of what is read. RFC 5321 allows a reply lines of 512 bytes; a reply is
// kept in memory as a whole.
const (
	// smtpTLSBytes is for a handshake, with the certificates of the server.
	smtpTLSBytes = 128 << 10
	// maxReply is for each reply.
	maxReply = 32 << 10
	// smtpBlock is how much of a message is a part with a time of its own.
	smtpBlock = 64 << 10
)

// smtpVerdict is how long a server that has the whole message has to say whether
// it takes it, when the process ends: cut off at once, it would be sent again
// though it may have been taken.
const smtpVerdict = 2 * time.Second

var (
	errNoStartTLS = errors.New("it does not offer STARTTLS")
	errTLSRefused = errors.New("it offers STARTTLS and refuses it")
	errInjected   = errors.New("it says more before TLS begins than the answer to STARTTLS: somebody stands between")
)

// Conn is a connection that has been greeted and signed in.
type Conn struct {
	raw        *boundconn.Conn // below TLS
	text       *textproto.Conn
	limits     Limits
	extensions map[string]string // by name in upper case; nil after HELO
	used       time.Time
	// oneByOne: each command waits for the answer to the one before, whatever the server
	// offers.
	oneByOne bool
	// proven: a message has gone over it.
	proven bool
	// within: the server waits for the rest of a message, so that nothing else can be said.
	within bool
	trace  *mail.Trace // nil: nobody follows
	redact func(string) string
}

// begin gives the next step its time and its bytes.
func (c *Conn) begin(limit time.Duration, bytes int64) {
	_ = c.raw.SetDeadline(time.Now().Add(limit)) // fails on a closed connection, as the next step does
	c.raw.Allow(bytes)
}

// command sends a line and reads the reply. Its code begins with expect, or the
// error is a *textproto.Error; 0: any code.
func (c *Conn) command(limit time.Duration, expect int, line string) (code int, text string, err error) {
	c.begin(limit, maxReply)
	if err := c.text.PrintfLine("%s", line); err != nil {
		return 0, "", err
	}
	return c.answer(expect, line)
}

// answer reads the reply to a line.
func (c *Conn) answer(expect int, line string) (code int, text string, err error) {
	code, text, err = c.text.ReadResponse(expect)
	name, sent := told(line)
	c.tell(name, sent, code, text, err)
	return code, text, err
}

// told is what may be told of a line that we sent: of a sign-in no more than its way.
func told(line string) (name, sent string) {
	name, rest, _ := strings.Cut(line, " ")
	switch name {
	case "EHLO", "HELO", "MAIL", "RCPT", "DATA", "STARTTLS", "QUIT":
		return name, line
	case "AUTH":
		way, _, _ := strings.Cut(rest, " ")
		return name, name + " " + way
	}
	return "AUTH", ""
}

// tell tells what the server has answered, if it has.
func (c *Conn) tell(name, sent string, code int, text string, err error) {
	if c.trace == nil {
		return
	}
	reply := (*textproto.Error)(nil)
	switch {
	case errors.As(err, &reply):
		c.trace.Tell(name, sent, c.redact(strconv.Itoa(reply.Code)+" "+reply.Msg))
	case err == nil && code == 334: // what it asks for is encoded, and says nothing
		c.trace.Tell(name, sent, "334")
	case err == nil:
		c.trace.Tell(name, sent, c.redact(strconv.Itoa(code)+" "+text))
	}
}

// hello greets the server, and learns what it can do.
func (c *Conn) hello(name string) error {
	_, text, err := c.command(c.limits.Command, 250, "EHLO "+name)
	if reply := (*textproto.Error)(nil); errors.As(err, &reply) && (reply.Code == 500 || reply.Code == 502) {
		_, _, err = c.command(c.limits.Command, 250, "HELO "+name) // it is older than EHLO
		text = ""
	}
	c.extensions = map[string]string{}
	for i, line := range strings.Split(text, "\n") {
		// "AUTH=LOGIN" is what some wrote before the standard.
		if at := strings.IndexAny(line, " ="); i > 0 && at > 0 {
			name := strings.ToUpper(line[:at])
			c.extensions[name] = strings.TrimSpace(c.extensions[name] + " " + line[at+1:])
		} else if i > 0 {
			c.extensions[strings.ToUpper(line)] = ""
		}
	}
	return err
}

// secure begins TLS.
func (c *Conn) secure(config *tls.Config) error {
	c.begin(c.limits.Greeting, smtpTLSBytes)
	conn := tls.Client(c.raw, config)
	c.text = textproto.NewConn(conn)
	err := conn.Handshake()
	if c.trace != nil {
		c.trace.Tell("tls", "", aboutTLS(conn.ConnectionState(), err))
	}
	return err
}

// aboutTLS says in words how a connection is encrypted, or whose certificate is refused.
func aboutTLS(state tls.ConnectionState, err error) string {
	version := "no TLS"
	if err == nil {
		version = tls.VersionName(state.Version)
	}
	chain := state.PeerCertificates
	if refused := (*tls.CertificateVerificationError)(nil); errors.As(err, &refused) {
		chain = refused.UnverifiedCertificates
	}
	if len(chain) == 0 {
		return version
	}
	return fmt.Sprintf("%s, the certificate is of %s, by %s, good until %s", version, namesOf(chain[0]), chain[0].Issuer.CommonName, chain[0].NotAfter.UTC().Format(time.DateOnly))
}

// namesOf are the names of a certificate, the first few of them.
func namesOf(cert *x509.Certificate) string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	const few = 4
	switch {
	case len(names) == 0:
		return "no name"
	case len(names) > few:
		return strings.Join(names[:few], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// open greets and signs in on a new connection. It says at which step it failed.
func (c *Conn) open(s *Server) (Step, error) {
	config := &tls.Config{ServerName: s.Host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
	c.text = textproto.NewConn(c.raw)
	if s.TLS == ImplicitTLS {
		if err := c.secure(config); err != nil {
			return StepConnect, err
		}
	}
	c.begin(c.limits.Greeting, maxReply)
	code, text, err := c.text.ReadResponse(220)
	if c.tell("greeting", "", code, text, err); err != nil {
		return StepConnect, err
	}
	if err := c.hello(s.greeting()); err != nil {
		return StepHello, err
	}
	if s.TLS == StartTLS {
		if _, offered := c.extensions["STARTTLS"]; !offered {
			return StepConnect, errNoStartTLS
		}
		if _, _, err := c.command(c.limits.Command, 220, "STARTTLS"); err != nil {
			return StepConnect, fmt.Errorf("%w: %w", errTLSRefused, err)
		}
		if c.text.R.Buffered() > 0 {
			return StepConnect, errInjected
		}
		if err := c.secure(config); err != nil {
			return StepConnect, err
		}
		if err := c.hello(s.greeting()); err != nil {
			return StepHello, err
		}
	}
	if s.TLS == NoTLS {
		c.trace.Tellf("tls", "no TLS: who stands between can read the mail")
	}
	if s.Username == "" {
		return StepMail, nil
	}
	return StepAuth, c.signIn(s)
}

// dial connects, greets and signs in. All its errors are the server's.
func (s *Server) dial(ctx context.Context) (*Conn, error) {
	connect := s.Dial
	if connect == nil {
		connect = (&net.Dialer{Timeout: s.Timeout}).DialContext
	}
	raw, err := connect(ctx, "tcp", net.JoinHostPort(s.Host, s.Port))
	step := StepConnect
	if err == nil {
		c := &Conn{raw: boundconn.New(raw, 0), limits: s.Limits, trace: mail.TraceOf(ctx), redact: s.redact}
		if c.limits == (Limits{}) {
			c.limits = DefaultLimits
		}
		if c.trace != nil {
			c.limits = c.limits.within(c.trace.Patience)
			c.trace.Tellf("connect", "connected to %s at %s", net.JoinHostPort(s.Host, s.Port), raw.RemoteAddr())
		}
		keep := context.AfterFunc(ctx, func() { _ = raw.Close() })
		step, err = c.open(s)
		if keep() && err == nil {
			return c, nil
		}
		_ = raw.Close()
	}
	if stopped := mail.Stopped(ctx); stopped != nil {
		return nil, stopped
	}
	return nil, s.Failure(step, err)
}

// deliver sends one message and says at which step it failed. The end of ctx cuts
// it off; where the process goes on, a server that has the whole message keeps its
// time to answer.
func (c *Conn) deliver(ctx context.Context, file *mail.File) (Step, error) {
	var mu sync.Mutex
	ended, whole := false, false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		switch ended = true; {
		case !whole:
			_ = c.raw.Close()
		case !errors.Is(context.Cause(ctx), mail.ErrHandedOver):
			_ = c.raw.SetDeadline(time.Now().Add(min(smtpVerdict, c.limits.DataEnd)))
		}
	})
	defer stop()
	if step, err := c.envelope(file); err != nil {
		return step, err
	}
	w := c.text.DotWriter()
	for rest := file.Content; len(rest) > 0; {
		block := rest[:min(len(rest), smtpBlock)]
		c.begin(c.limits.DataBlock, maxReply)
		if _, err := w.Write(block); err != nil {
			return StepData, err // not closed: that would end, and so send, half a message
		}
		rest = rest[len(block):]
	}
	mu.Lock()
	if whole = !ended; whole {
		c.begin(c.limits.DataEnd, maxReply)
	}
	mu.Unlock()
	if !whole {
		return StepData, mail.Stopped(ctx)
	}
	if err := w.Close(); err != nil {
		return StepData, err
	}
	c.within = false
	code, text, err := c.text.ReadResponse(250)
	c.tell("message", fmt.Sprintf("%d bytes", len(file.Content)), code, text, err)
	return StepData, err
}

// envelope says whose mail comes and to whom, and has the server wait for it. All in one go
// where the server offers that (RFC 2920), and else step by step. What comes later than the
// first refusal only follows from it.
func (c *Conn) envelope(file *mail.File) (Step, error) {
	from := "MAIL FROM:<" + file.From + ">"
	if _, can := c.extensions["8BITMIME"]; can && slices.ContainsFunc(file.Content, func(b byte) bool { return b >= 0x80 }) {
		from += " BODY=8BITMIME"
	}
	steps := []struct {
		step   Step
		limit  time.Duration
		expect int
		line   string
	}{
		{StepMail, c.limits.Command, 250, from},
		{StepRcpt, c.limits.Command, 25, "RCPT TO:<" + file.To + ">"},
		{StepData, c.limits.DataStart, 354, "DATA"},
	}
	pipelined := c.pipelines()
	if pipelined {
		var group strings.Builder
		for _, s := range steps {
			group.WriteString(s.line + "\r\n")
		}
		c.begin(c.limits.Command, maxReply)
		_, _ = c.text.W.WriteString(group.String()) // Flush returns the error
		if err := c.text.W.Flush(); err != nil {
			return StepMail, err
		}
	}
	at, refused := StepData, error(nil)
	for _, s := range steps {
		var err error
		if pipelined {
			c.begin(s.limit, maxReply)
			_, _, err = c.answer(s.expect, s.line)
		} else {
			_, _, err = c.command(s.limit, s.expect, s.line)
		}
		c.within = s.step == StepData && err == nil
		switch reply := (*textproto.Error)(nil); {
		case err == nil:
		case !pipelined:
			return s.step, err
		case !errors.As(err, &reply): // it is gone: what it said before is what counts
			c.within = true
			if refused == nil {
				at, refused = s.step, err
			}
			return at, refused
		case refused == nil:
			at, refused = s.step, err
		}
	}
	return at, refused
}

// pipelines reports whether commands are sent in one go.
func (c *Conn) pipelines() bool {
	_, offered := c.extensions["PIPELINING"]
	return offered && !c.oneByOne
}

// reset makes the connection good for another message after a refusal, and reports
// whether it is.
func (c *Conn) reset() bool {
	if c.within || c.trace != nil {
		return false
	}
	_, _, err := c.command(smtpGoodbye, 250, "RSET")
	return err == nil
}

// hangUp says goodbye, with a short time to hear it, and closes the connection.
func (c *Conn) hangUp() {
	if !c.within {
		_, _, _ = c.command(smtpGoodbye, 221, "QUIT")
	}
	_ = c.raw.Close()
}
