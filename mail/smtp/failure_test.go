// failure_test.go: whose failure a refusal is, by the words of servers.

package smtp_test

import (
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

func TestWhoseFailure(t *testing.T) {
	const recipient, message, server = "the recipient's", "this message waits", "the server's"
	for _, c := range []struct {
		step   smtp.Step
		code   int
		reply  string
		whose  string
		remedy string
	}{
		{smtp.StepConnect, 554, "5.7.1 go away", server, ""},
		{smtp.StepHello, 504, "5.5.2 <x>: Helo command rejected: need fully-qualified hostname", server, "set hello"},
		{smtp.StepAuth, 535, "5.7.8 no", server, "check username and password"},
		{smtp.StepMail, 451, "4.3.0 later", server, ""},
		{smtp.StepMail, 550, "5.7.1 sender not owned", server, "check the setting from"},
		{smtp.StepRcpt, 550, "5.1.1 <no-reply@x.example>: Recipient address rejected: User unknown in relay recipient table", recipient, ""},
		{smtp.StepRcpt, 550, "5.1.1 who?", recipient, ""},
		{smtp.StepRcpt, 550, "5.1.10 null MX", recipient, ""},
		{smtp.StepRcpt, 553, "5.1.3 bad syntax", recipient, ""},
		{smtp.StepData, 550, "5.1.1 no such user", recipient, ""},
		{smtp.StepRcpt, 550, "No such user here", recipient, ""},
		{smtp.StepRcpt, 550, "Unknown user", recipient, ""},
		{smtp.StepRcpt, 550, "<sales@blocked-policy.example>: user unknown", recipient, ""},
		{smtp.StepRcpt, 551, "User not local; mailbox does not exist", recipient, ""},
		{smtp.StepRcpt, 550, "Requested action not taken: mailbox unavailable", recipient, ""},
		{smtp.StepRcpt, 550, "5.0.0 Mailbox not found", recipient, ""},
		{smtp.StepRcpt, 450, "4.1.1 user unknown for now", message, ""},
		{smtp.StepRcpt, 553, "5.1.7 bad sender", message, "check the setting from"},
		{smtp.StepRcpt, 550, "5.1.8 sender domain not found", message, "check the setting from"},
		{smtp.StepRcpt, 554, "5.7.1 <ada@example.org>: Relay access denied", message, "does not pass on our mail"},
		{smtp.StepRcpt, 550, "Unable to relay for unknown user", message, "does not pass on our mail"},
		{smtp.StepRcpt, 553, "5.7.1 <no-reply@example.com>: Sender address rejected: not owned by user u", message, "check the setting from"},
		{smtp.StepRcpt, 550, "Sender address rejected: unknown address", message, "check the setting from"},
		{smtp.StepRcpt, 554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", message, "this machine's network"},
		{smtp.StepRcpt, 550, "5.7.1 user unknown, by policy", message, ""},
		{smtp.StepRcpt, 550, "5.4.1 Recipient address rejected: Access denied", message, ""},
		{smtp.StepRcpt, 504, "5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname", message, "set hello"},
		{smtp.StepRcpt, 530, "5.7.0 Authentication required", message, "check username and password"},
		{smtp.StepRcpt, 552, "5.2.2 mailbox full", message, ""},
		{smtp.StepRcpt, 550, "no", message, ""},
		{smtp.StepData, 554, "5.2.252 SendAsDenied; u not allowed to send as no-reply@example.com", message, "check the setting from"},
		{smtp.StepData, 550, "5.7.60 Client does not have permissions to send as this sender", message, "check the setting from"},
		{smtp.StepData, 554, "5.6.0 content rejected", message, ""},
		{smtp.StepData, 550, "user unknown", message, ""},
		{smtp.StepData, 421, "4.3.2 shutting down", message, ""},
	} {
		t.Run(c.reply, func(t *testing.T) {
			s := smtp.Server{Host: "mail.example.com", Port: "587"}
			err := s.Failure(c.step, &textproto.Error{Code: c.code, Msg: c.reply})
			var failed *mail.Error
			require.ErrorAs(t, err, &failed)
			got := message
			if failed.Server {
				got = server
			} else if failed.Recipient {
				got = recipient
			}
			require.Equal(t, c.whose, got)
			require.Equal(t, failed.Recipient, failed.Permanent)
			require.Equal(t, c.code >= 500, failed.Refused)
			if c.remedy == "" {
				require.NotContains(t, strings.TrimSuffix(err.Error(), c.reply), "; check")
			} else {
				require.ErrorContains(t, err, c.remedy)
			}
		})
	}
}
