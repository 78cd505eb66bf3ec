// failure.go: whose failure a failed delivery is, and what to fix.

package smtp

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/boundconn"
	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/mail"
)

// Step is a part of the conversation. Failures up to and with StepMail are the
// server's as a whole.
type Step int

// The steps in their order.
const (
	StepConnect Step = iota // reaching the server, the greeting, TLS
	StepHello
	StepAuth
	StepMail // the sender
	StepRcpt // the recipient
	StepData // the message, and the answer to it
)

const (
	// codeClosing says that the server is about to close the connection (RFC 5321, 3.8).
	codeClosing = 421
	// maxTold is how much of a server's words is told in an error.
	maxTold = 500
)

var (
	// signInCodes are the replies that ask for another way to sign in (RFC 4954, 6).
	signInCodes = []int{530, 534, 535, 538}

	enhancedCode = pattern.Of(`^\s*([245])\.(\d{1,3})\.(\d{1,3})\b`) // RFC 3463, 2
	// addressInText are addresses that a server quotes: their words say nothing.
	addressInText = pattern.Of(`<[^<>]*>|\S+@\S+`)
	unknownUser   = pattern.Of(`(?i)\b(no such|unknown|unrecognized|invalid|non-?existent|nonexisting) (local |virtual )?(user|recipient|mailbox|account|address|person)` +
		`|\b(user|recipient|mailbox|account|address)\b[^.;]{0,60}?\b(unknown|not found|(does not|doesn't|doesnt|not) exist|no longer|not known|unavailable|invalid|not valid)` +
		`|\b(no mailbox here|not a valid (recipient|mailbox|user))`)
	// Words that blame somebody else than the recipient.
	blamesSender  = pattern.Of(`(?i)\bsender|\bsend ?as|\bfrom (address|header)|not owned|\bmail from\b`)
	blamesRelay   = pattern.Of(`(?i)relay(ing)?\b[^.;]{0,20}?\b(denied|not|prohibited|rejected)|\b(not|unable|allowed|permitted|authorized) (to )?relay|authenti`)
	blamesNetwork = pattern.Of(`(?i)\bblock|black ?list|deny ?list|spamhaus|\brbl\b|dnsbl|reputation|\bclient host\b|your (ip|network|host)|\bptr\b|reverse dns`)
	blamesHello   = pattern.Of(`(?i)\b[eh]e?h?lo\b`)
	blamesPolicy  = pattern.Of(`(?i)\bpolic|\bspam\b|access denied|permission|not (allowed|permitted|authori[sz]ed)|prohibited`)
)

// enhanced returns subject and detail of the enhanced status code of a reply, if it
// has one.
func enhanced(reply *textproto.Error) (subject, detail string) {
	if m := enhancedCode().FindStringSubmatch(reply.Msg); m != nil {
		return m[2], m[3]
	}
	return "", ""
}

// unreachable reports whether a refusal says that nobody reads mail at the
// recipient's address. Where it may as well mean the sender, the relay or a policy,
// it doesn't.
func unreachable(step Step, reply *textproto.Error) bool {
	if reply.Code < 500 || step < StepRcpt {
		return false
	}
	switch subject, detail := enhanced(reply); subject {
	case "1": // addresses; 7 and 8 are the sender's
		return detail != "7" && detail != "8"
	case "7", "3", "4", "6": // policy, the server, the network, the content
		return false
	}
	text := addressInText().ReplaceAllString(reply.Msg, "")
	if step != StepRcpt || !unknownUser().MatchString(text) {
		return false
	}
	for _, other := range []func() *regexp.Regexp{blamesSender, blamesRelay, blamesNetwork, blamesHello, blamesPolicy} {
		if other().MatchString(text) {
			return false
		}
	}
	return true
}

// Failure tells by the step and the server's reply whose failure err is, and
// names the remedy where one is known.
func (s *Server) Failure(step Step, err error) error {
	out := &mail.Error{Server: step <= StepMail}
	if reply := (*textproto.Error)(nil); errors.As(err, &reply) {
		out.Refused = reply.Code >= 500
		out.Recipient = unreachable(step, reply)
		out.Permanent = out.Recipient
	}
	told := &smtpError{cause: err}
	said := s.redact(err.Error())
	if said != err.Error() {
		told.cause = nil // its text has the secret
	}
	remedy, line := s.remedy(step, err)
	told.text = fmt.Sprintf("mail server %s: %s%s", net.JoinHostPort(s.Host, s.Port), shortened(said), remedy)
	out.Line = line
	out.Err = told
	return out
}

// smtpError is a failure as it is told: without secrets, and in bounds, whatever
// the server said.
type smtpError struct {
	text  string
	cause error // nil where its text is not to be told
}

func (e *smtpError) Error() string { return e.text }
func (e *smtpError) Unwrap() error { return e.cause }

// shortened cuts a text that is too long for a line of the log.
func shortened(text string) string {
	if len(text) <= maxTold {
		return text
	}
	return strings.ToValidUTF8(text[:maxTold], "") + "…"
}

// remedy returns what to do about err, to be said behind it, and the line of a Caddyfile
// that does it; both may be empty.
func (s *Server) remedy(step Step, err error) (text, line string) {
	var (
		refused  *tls.CertificateVerificationError
		noTLS    tls.RecordHeaderError
		tooLong  *boundconn.TooLongError
		reply    *textproto.Error
		netError net.Error
	)
	switch {
	case errors.As(err, &refused):
		return s.remedyForCertificate(refused)
	case errors.As(err, &noTLS):
		return "; it does not begin with TLS: write tls starttls, or check the port", "tls " + StartTLS
	case errors.Is(err, errNoStartTLS):
		if s.local() {
			return "; write tls none for a server on this machine, or tls implicit (mostly at port 465)", "tls " + NoTLS
		}
		return "; write tls implicit (mostly at port 465) or, only where nobody can listen in, tls none", s.implicit()
	case errors.Is(err, errTLSRefused):
		return "; mend its certificate, if it is yours, or write tls implicit (mostly at port 465)", s.implicit()
	case errors.As(err, &tooLong):
		return "; this is no mail server, or somebody stands between: check address, port and tls", ""
	case errors.As(err, &reply):
		return s.remedyForRefusal(step, reply)
	case step == StepConnect && s.TLS != ImplicitTLS && s.Port == smtpPorts[ImplicitTLS] && errors.As(err, &netError) && netError.Timeout():
		return "; servers at port 465 mostly want tls implicit", "tls " + ImplicitTLS
	case step == StepConnect:
		return s.remedyForConnecting(err)
	}
	return "", ""
}

// remedyForCertificate says what is wrong with the certificate of a server.
func (s *Server) remedyForCertificate(refused *tls.CertificateVerificationError) (text, line string) {
	const begin = "; its certificate is refused: "
	var (
		otherName x509.HostnameError
		invalid   x509.CertificateInvalidError
		stranger  x509.UnknownAuthorityError
	)
	switch {
	case errors.As(refused.Err, &otherName):
		name := namesOf(otherName.Certificate)
		if len(otherName.Certificate.DNSNames) > 0 {
			line = s.address(otherName.Certificate.DNSNames[0])
		}
		return begin + "write in address a name that the certificate has (" + name + ")", line
	case errors.As(refused.Err, &invalid) && invalid.Reason == x509.Expired:
		return begin + "its time is over, or has not begun: have it renewed, and check the clock of this machine", ""
	case errors.As(refused.Err, &stranger):
		return begin + "nobody whom this machine trusts vouches for it; for a private CA, set trusted_ca to the PEM file of that CA", "trusted_ca /etc/ssl/mail-ca.pem"
	}
	return begin + "write in address a name that the certificate has or, for a private CA, set trusted_ca to the PEM file of that CA", ""
}

// remedyForConnecting says why there is no conversation.
func (s *Server) remedyForConnecting(err error) (text, line string) {
	var (
		noName   *net.DNSError
		dial     *net.OpError
		netError net.Error
	)
	switch {
	case errors.As(err, &noName):
		return "; there is no such name: check that the address is right: " + s.address(s.Host), ""
	case errors.As(err, &dial) && dial.Op == "dial":
		// A line to write would be the one that stands there.
		return "; nothing answers there: check that the mail server runs and the address is right (" + s.address(s.Host) + "), and whether this machine's provider lets mail out (many close port 25)", ""
	case errors.As(err, &netError) && netError.Timeout():
		return "; it takes the connection and says nothing: check address, port and tls (at port 465 mostly implicit)", s.implicit()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "; it hangs up without a word: check address, port and tls, and whether it lets this machine in", ""
	}
	return "", ""
}

// address is the line of the mailer with the server at a host; without a port, what tls
// says is the port.
func (s *Server) address(host string) string {
	if s.Port == "" || s.Port == smtpPorts[s.TLS] {
		return "mailer smtp " + host
	}
	return "mailer smtp " + net.JoinHostPort(host, s.Port)
}

// implicit is the line of the mailer with TLS from the first byte on.
func (s *Server) implicit() string {
	return "mailer smtp " + net.JoinHostPort(s.Host, smtpPorts[ImplicitTLS])
}

// remedyForRefusal returns what to do about a refusal, or nothing.
func (s *Server) remedyForRefusal(step Step, reply *textproto.Error) (say, line string) {
	text := addressInText().ReplaceAllString(reply.Msg, "")
	_, detail := enhanced(reply)
	switch {
	case slices.Contains(signInCodes, reply.Code):
		return "; check username and password", "username <name> and, below it, password {env.SMTP_PASSWORD}"
	case reply.Code < 500 || unreachable(step, reply):
		return "", ""
	case step == StepHello, step >= StepRcpt && blamesHello().MatchString(text):
		return fmt.Sprintf("; it refuses %q, the name that it is greeted with: set hello to this machine's name in DNS", s.greeting()), "hello www.example.com"
	case step >= StepRcpt && blamesRelay().MatchString(text):
		return "; it does not pass on our mail: check username and password, or have it allow this machine", "username <name> and, below it, password {env.SMTP_PASSWORD}"
	case step >= StepRcpt && blamesNetwork().MatchString(text):
		return "; it refuses mail from this machine's network: send through a mail server that takes it", s.address("smtp.example.com")
	case step == StepMail, step >= StepRcpt && (detail == "7" || detail == "8" || blamesSender().MatchString(text)):
		return "; it refuses the sender: check the setting from, and whether it wants username and password", "from no-reply@example.com"
	}
	return "", ""
}

// signatureInText matches the part of a mailed link that makes it one.
var signatureInText = pattern.Of(`(?i)(signature(?:=|%3d)(?:3d)?)[^\s&"'<>]+`)

// redact takes the password out of a text, as it is and as it went out, and the
// signatures of links: some servers quote what they refuse.
func (s *Server) redact(text string) string {
	text = signatureInText().ReplaceAllString(text, "$1(signature)")
	if s.Password == "" {
		return text
	}
	plain := "\x00" + s.Username + "\x00" + s.Password // RFC 4616
	for _, secret := range []string{base64.StdEncoding.EncodeToString([]byte(plain)), base64.StdEncoding.EncodeToString([]byte(s.Password)), s.Password} {
		text = strings.ReplaceAll(text, secret, "(password)")
	}
	return text
}
