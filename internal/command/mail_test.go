// mail_test.go: how a test of mail, the queue and the doctor are told.

package command

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// says is a connection that always answers so.
func answering(body string) *madeUp {
	return &madeUp{answer: func(*http.Request) (int, string) { return http.StatusOK, body }}
}

func TestMailTestIsTold(t *testing.T) {
	const steps = `{"step":"connect","answer":"connected"}` + "\n" + `{"step":"EHLO","sent":"EHLO x","answer":"250 \u001b[31m"}` + "\n"
	m := answering(steps + `{"result":"sent","mailer":"smtp"}` + "\n")
	out, _, err := m.run(t, "", "mail", "test", "ada@example.com")
	require.NoError(t, err)
	require.Equal(t, []string{`POST default/mail/test {"to":"ada@example.com"}`}, m.asked)
	require.Equal(t, "* connected\n> EHLO x\n< 250 \\x1b[31m\nSent. Look whether it arrives at ada@example.com, among the spam too.\n", out)
	out, _, err = m.run(t, "", "mail", "test", "ada@example.com", "--json")
	require.NoError(t, err)
	require.Equal(t, steps+`{"result":"sent","mailer":"smtp"}`+"\n", out)
	out, _, err = answering(`{"step":"file","answer":"written to a file"}`+"\n"+`{"result":"sent","mailer":"file"}`+"\n").run(t, "", "mail", "test", "ada@example.com")
	require.NoError(t, err)
	require.Equal(t, "* written to a file\n", out, "nobody gets it")

	for name, c := range map[string]struct{ body, says string }{
		"with a line":  {`{"result":"failed","error":"535 no","line":"username <name>"}`, "the mail was not sent: 535 no\nWrite: username <name>"},
		"later":        {`{"result":"failed","error":"451 later","later":true}`, "the mail was not sent: 451 later\nNothing is wrong with the configuration"},
		"without":      {`{"result":"failed","error":"550 5.1.1"}`, "the mail was not sent: 550 5.1.1"},
		"a broken end": {`{"step":"connect"}`, "the test broke off"},
		"no JSON":      {`what?`, "the answer can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, args := range [][]string{nil, {"--json"}} {
				_, _, err := answering(c.body).run(t, "", append([]string{"mail", "test", "ada@example.com"}, args...)...)
				require.ErrorContains(t, err, c.says)
			}
		})
	}
}

func TestMailQueueIsTold(t *testing.T) {
	const row = `{"seq":7,"kind":"register","to":"ada@example.com","queued":"2026-11-26T20:00:00Z","next_try":"2026-11-26T20:10:00Z","attempts":3,"error":"451 later"}` + "\n"
	m := answering(row)
	out, _, err := m.run(t, "", "mail", "queue")
	require.NoError(t, err)
	require.Equal(t, "register\tada@example.com\t2026-11-26T20:00:00Z\t2026-11-26T20:10:00Z\t3\t451 later\n", out)
	out, _, err = m.run(t, "", "mail", "queue", "--json")
	require.NoError(t, err)
	require.Equal(t, row, out)
	require.Equal(t, []string{"GET default/mail/queue", "GET default/mail/queue"}, m.asked)
	for tries, row := range map[string]string{
		"-": `{"attempts":0,"error":"connection refused","server_fails":true}`,
		"2": `{"attempts":2,"error":"connection refused","server_fails":true}`,
		"0": `{"attempts":0}`,
	} {
		out, _, err := answering(row+"\n").run(t, "", "mail", "queue")
		require.NoError(t, err)
		require.Equal(t, tries, strings.Split(out, "\t")[4], row)
	}
	for _, c := range []struct{ body, file, says string }{
		{`{"waiting":1}`, "", "1 mail is tried at once.\n"},
		{`{"waiting":12}`, "", "12 mails are tried at once.\n"},
		{`{"waiting":0}`, "/a.db", "0 mails are tried when the server starts.\n"},
	} {
		m := answering(c.body)
		m.file = c.file
		out, _, err := m.run(t, "", "mail", "queue", "--retry")
		require.NoError(t, err)
		require.Equal(t, c.says, out)
		require.Equal(t, []string{"POST default/mail/retry"}, m.asked)
	}
	_, _, err = answering("what?").run(t, "", "mail", "queue", "--retry")
	require.ErrorContains(t, err, "the answer can't be read")
}

func TestDoctorIsTold(t *testing.T) {
	const fine, advice, fault = `{"level":"fine","code":"clock","message":"the clock says \u001b[31m"}`, `{"level":"advice","code":"secret","message":"the key","mend":"secret x"}`, `{"level":"fault","code":"base_url","message":"base_url is","mend":"base_url y"}`
	for name, c := range map[string]struct {
		findings, out string
		err           error
	}{
		"fine":   {fine, "fine\tclock\tthe clock says \\x1b[31m\t\n", nil},
		"advice": {fine + "," + advice, "advice\tsecret\tthe key\tsecret x\nfine\tclock\tthe clock says \\x1b[31m\t\n", nil},
		"fault":  {advice + "," + fault, "fault\tbase_url\tbase_url is\tbase_url y\nadvice\tsecret\tthe key\tsecret x\n", errFault},
	} {
		t.Run(name, func(t *testing.T) {
			m := answering(`{"findings":[` + c.findings + `]}`)
			out, _, err := m.run(t, "", "doctor")
			if c.err == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.err)
			}
			require.Equal(t, c.out, out)
			require.Equal(t, []string{"GET default/doctor"}, m.asked)
		})
	}
	out, _, err := answering(`{"findings":[`+advice+`]}`).run(t, "", "doctor", "--json")
	require.NoError(t, err)
	require.Equal(t, advice+"\n", out)
	_, _, err = answering(`what?`).run(t, "", "doctor")
	require.ErrorContains(t, err, "the answer can't be read")
	var terminal strings.Builder
	for _, f := range []finding{{"advice", "secret", "the key", "secret x"}, {"fine", "clock", "it says 8", ""}, {"advice", "mailer", "none", "mailer smtp x {\n\ttls none\x1b\n}"}} {
		require.NoError(t, f.print(&terminal, true))
	}
	require.Equal(t, "advice  the key\n        -> secret x\nfine    it says 8\nadvice  none\n        -> mailer smtp x {\n             tls none\\x1b\n           }\n", terminal.String())
	for _, command := range [][]string{{"doctor"}, {"mail", "queue", "--retry"}, {"mail", "test", "a@example.org"}} {
		_, _, err = (&madeUp{answer: func(*http.Request) (int, string) { return http.StatusConflict, `{"error": "no mailer"}` }}).run(t, "", command...)
		require.EqualError(t, err, "no mailer")
	}
}

func TestWebhooksAreTold(t *testing.T) {
	const row = `{"id":"3f2a9c01","url":"https://app.example.com/…","state":"failing","since":"2026-11-26T20:00:00Z","waiting":3,"more":false,"refused":1,"told":"2026-11-26T19:00:00Z","missed":"2026-11-26T20:02:00Z","error":"it answered 500"}` + "\n"
	m := answering(row)
	out, _, err := m.run(t, "", "webhooks")
	require.NoError(t, err)
	require.Equal(t, "3f2a9c01\thttps://app.example.com/…\tfailing\t2026-11-26T20:00:00Z\t3\t1\t2026-11-26T19:00:00Z\t2026-11-26T20:02:00Z\tit answered 500\n", out)
	out, _, err = m.run(t, "", "webhooks", "--json")
	require.NoError(t, err)
	require.Equal(t, row, out)
	out, _, err = answering(`{"id":"3f2a9c01","state":"works","waiting":2000,"more":true}`+"\n").run(t, "", "webhooks")
	require.NoError(t, err)
	require.Contains(t, out, "2000 or more")

	m = answering(row)
	out, _, err = m.run(t, "", "webhooks", "--retry")
	require.NoError(t, err)
	require.Equal(t, "https://app.example.com/… is tried at once.\n", out)
	require.Equal(t, []string{"GET default/webhooks", "POST default/webhooks/3f2a9c01/retry"}, m.asked)
	out, _, err = m.run(t, "", "webhooks", "--skip", "-y", "3f2a9c01")
	require.NoError(t, err)
	require.Contains(t, out, "is not told what waited")
	for says, args := range map[string][]string{
		"in a script, write -y":       {"--skip", "3f2a9c01"},
		"say what to do with it":      {"3f2a9c01"},
		"[enable retry] were all set": {"--retry", "--enable"},
	} {
		_, _, err := answering(row).run(t, "", append([]string{"webhooks"}, args...)...)
		require.ErrorContains(t, err, says)
	}
	_, _, err = answering(row+row).run(t, "", "webhooks", "--retry")
	require.ErrorContains(t, err, "there are several endpoints")
	_, _, err = answering("").run(t, "", "webhooks", "--enable")
	require.ErrorContains(t, err, "no webhook is configured")
}
