// failure.go: whose failure a failed delivery is, and what to fix.

package smtp

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/boundconn"
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
	// MaxTold is how much of a server's words is told in an error.
	MaxTold = 500
)

var (
	// signInCodes are the replies that ask for another way to sign in (RFC 4954, 6).
	signInCodes = []int{530, 534, 535, 538}

	enhancedCode = regexp.MustCompile(`^\s*([245])\.(\d{1,3})\.(\d{1,3})\b`) // RFC 3463, 2
	// addressInText are addresses that a server quotes: their words say nothing.
	addressInText = regexp.MustCompile(`<[^<>]*>|\S+@\S+`)
	unknownUser   = regexp.MustCompile(`(?i)\b(no such|unknown|unrecognized|invalid|non-?existent|nonexisting) (local |virtual )?(user|recipient|mailbox|account|address|person)` +
		`|\b(user|recipient|mailbox|account|address)\b[^.;]{0,60}?\b(unknown|not found|(does not|doesn't|doesnt|not) exist|no longer|not known|unavailable|invalid|not valid)` +
		`|\b(no mailbox here|not a valid (recipient|mailbox|user))`)
	// Words that blame somebody else than the recipient.
	blamesSender  = regexp.MustCompile(`(?i)\bsender|\bsend ?as|\bfrom (address|header)|not owned|\bmail from\b`)
	blamesRelay   = regexp.MustCompile(`(?i)relay(ing)?\b[^.;]{0,20}?\b(denied|not|prohibited|rejected)|\b(not|unable|allowed|permitted|authorized) (to )?relay|authenti`)
	blamesNetwork = regexp.MustCompile(`(?i)\bblock|black ?list|deny ?list|spamhaus|\brbl\b|dnsbl|reputation|\bclient host\b|your (ip|network|host)|\bptr\b|reverse dns`)
	blamesHello   = regexp.MustCompile(`(?i)\b[eh]e?h?lo\b`)
	blamesPolicy  = regexp.MustCompile(`(?i)\bpolic|\bspam\b|access denied|permission|not (allowed|permitted|authori[sz]ed)|prohibited`)
)

// enhanced returns subject and detail of the enhanced status code of a reply, if it
// has one.
func enhanced(reply *textproto.Error) (subject, detail string) {
	if m := enhancedCode.FindStringSubmatch(reply.Msg); m != nil {
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
	text := addressInText.ReplaceAllString(reply.Msg, "")
	if step != StepRcpt || !unknownUser.MatchString(text) {
		return false
	}
	for _, other := range []*regexp.Regexp{blamesSender, blamesRelay, blamesNetwork, blamesHello, blamesPolicy} {
		if other.MatchString(text) {
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
	told.text = fmt.Sprintf("mail server %s: %s%s", net.JoinHostPort(s.Host, s.Port), shortened(said), s.remedy(step, err))
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
	if len(text) <= MaxTold {
		return text
	}
	return strings.ToValidUTF8(text[:MaxTold], "") + "…"
}

// remedy returns what to do about err, or nothing.
func (s *Server) remedy(step Step, err error) string {
	var (
		refused  *tls.CertificateVerificationError
		noTLS    tls.RecordHeaderError
		tooLong  *boundconn.TooLongError
		reply    *textproto.Error
		netError net.Error
	)
	switch {
	case errors.As(err, &refused):
		return "; its certificate is refused: write in address a name that the certificate has or, for a private CA, set trusted_ca to the PEM file of that CA"
	case errors.As(err, &noTLS):
		return "; it does not begin with TLS: write tls starttls, or check the port"
	case errors.Is(err, errNoStartTLS):
		return "; write tls implicit (mostly at port 465) or, only where nobody can listen in, tls none"
	case errors.As(err, &tooLong):
		return "; this is no mail server, or somebody stands between: check address, port and tls"
	case errors.As(err, &reply):
		return s.remedyForRefusal(step, reply)
	case step == StepConnect && s.TLS != ImplicitTLS && s.Port == smtpPorts[ImplicitTLS] && errors.As(err, &netError) && netError.Timeout():
		return "; servers at port 465 mostly want tls implicit"
	}
	return ""
}

// remedyForRefusal returns what to do about a refusal, or nothing.
func (s *Server) remedyForRefusal(step Step, reply *textproto.Error) string {
	text := addressInText.ReplaceAllString(reply.Msg, "")
	_, detail := enhanced(reply)
	switch {
	case slices.Contains(signInCodes, reply.Code):
		return "; check username and password"
	case reply.Code < 500 || unreachable(step, reply):
		return ""
	case step == StepHello, step >= StepRcpt && blamesHello.MatchString(text):
		return fmt.Sprintf("; it refuses %q, the name that it is greeted with: set hello to this machine's name in DNS", s.greeting())
	case step >= StepRcpt && blamesRelay.MatchString(text):
		return "; it does not pass on our mail: check username and password, or have it allow this machine"
	case step >= StepRcpt && blamesNetwork.MatchString(text):
		return "; it refuses mail from this machine's network: send through a mail server that takes it"
	case step == StepMail, step >= StepRcpt && (detail == "7" || detail == "8" || blamesSender.MatchString(text)):
		return "; it refuses the sender: check the setting from, and whether it wants username and password"
	}
	return ""
}

// signatureInText matches the part of a mailed link that makes it one.
var signatureInText = regexp.MustCompile(`(?i)(signature(?:=|%3d)(?:3d)?)[^\s&"'<>]+`)

// redact takes the password out of a text, as it is and as it went out, and the
// signatures of links: some servers quote what they refuse.
func (s *Server) redact(text string) string {
	text = signatureInText.ReplaceAllString(text, "$1(signature)")
	if s.Password == "" {
		return text
	}
	plain := "\x00" + s.Username + "\x00" + s.Password // RFC 4616
	for _, secret := range []string{base64.StdEncoding.EncodeToString([]byte(plain)), base64.StdEncoding.EncodeToString([]byte(s.Password)), s.Password} {
		text = strings.ReplaceAll(text, secret, "(password)")
	}
	return text
}
