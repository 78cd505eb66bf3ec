// mail.go: whether mail gets out: one that is sent while the owner looks on, and the
// queue of those that wait.

package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A Post is what the operations on mail rest on.
type Post struct {
	// Courier renders and sends; Worker has the queue.
	Courier *outbox.Courier
	Worker  *outbox.Worker
	// Mailer is the name of the configured mailer, such as smtp; empty: none is.
	Mailer string
}

type (
	testBody struct {
		To string `json:"to"`
	}
	retryAnswer struct {
		Waiting int `json:"waiting"`
	}
)

const (
	// testPatience is how long each answer of a mail server is waited for while somebody
	// looks on.
	testPatience = time.Minute
	// testTimeout bounds the whole.
	testTimeout = 15 * time.Minute
	// noMailer is what to do where there is none.
	noMailer = "no mailer is configured, so no mail is sent; write in the block of registration:\nmailer smtp mail.example.com:587 {\n\tusername <name>\n\tpassword {env.SMTP_PASSWORD}\n}"
)

var mailOperations = []Operation{
	{
		Method: http.MethodPost, Path: "{realm}/mail/test",
		Summary: "Sends one mail at once, past the queue, and tells each step, a JSON object a line; the last one has the result, sent or failed, and, where it failed, the error and the line of the Caddyfile that mends it",
		Body:    testBody{To: "ada@example.com"}, Answer: tested{Result: "failed", Mailer: "smtp", Error: "mail server mail.example.com:587: 535 5.7.8 no; check username and password", Line: "username <name>"},
		Do: testMail,
	},
	{
		Method: http.MethodGet, Path: "{realm}/mail/queue", Summary: "The mail that waits, a JSON object a line, the oldest first: since when, when it is tried next, how often it failed by itself, why it still waits, and whether that is the mail server's failure as a whole (server_fails), which is tried with one mail for all and counted for none",
		Answer: waitingMail{Seq: 7, Kind: "register", To: "ada@example.com", Queued: time.Date(2026, 11, 26, 20, 0, 0, 0, time.UTC), NextTry: time.Date(2026, 11, 26, 20, 10, 0, 0, time.UTC), Attempts: 3, Error: "mail server mail.example.com:587: 451 4.7.1 try again later"},
		Do:     listQueue,
	},
	{
		Method: http.MethodPost, Path: "{realm}/mail/retry", Summary: "Has all mail that waits tried at once, and says how much that is; where no server runs, it is tried when one starts",
		Answer: retryAnswer{3}, Do: func(c *Call) (any, error) {
			post, err := c.post()
			if err != nil {
				return nil, err
			}
			n, err := post.Worker.Retry(c.Context(), c.Accounts.Store, post.Courier)
			return retryAnswer{n}, err
		},
	},
}

// tested is the last line of a test.
type tested struct {
	Result string `json:"result"`
	Mailer string `json:"mailer"`
	Error  string `json:"error,omitempty"`
	// Line is what to write into the Caddyfile.
	Line string `json:"line,omitempty"`
	// Later says that the server wants the same mail once more, and that nothing is to be
	// mended.
	Later bool `json:"later,omitempty"`
}

// post is what mail goes out by; without a mailer it is an error with the line to write.
func (c *Call) post() (*Post, error) {
	if c.Realm.Post == nil || c.Realm.Post.Courier == nil || c.Realm.Post.Courier.Mailer == nil {
		return nil, errorf(http.StatusConflict, "%s", noMailer)
	}
	return c.Realm.Post, nil
}

func testMail(c *Call) (any, error) {
	var body testBody
	if err := c.read(&body); err != nil {
		return nil, err
	}
	to, err := mail.ParseMailbox(hostname.Mailbox(body.To))
	if err != nil || to.Name != "" {
		return nil, errorf(http.StatusBadRequest, "to is %.300q; write one e-mail address, as ada@example.com", body.To)
	}
	post, err := c.post()
	if err != nil {
		return nil, err
	}
	id, err := account.NewMessageID(c.Accounts.MailDomain)
	if err != nil {
		return nil, err
	}
	message, err := post.Courier.Render(&store.Mail{
		MessageID: id, Kind: store.MailTest, To: to.Address, Queued: c.Realm.Now(),
	}, nil)
	if err != nil {
		return nil, err
	}
	if err := outbox.Testing(c.Context(), c.Accounts.Store, post.Courier); err != nil {
		return nil, err
	}
	// The admin endpoint gives a request ten seconds to be read, and then takes whoever
	// waits for one that has gone.
	out := http.NewResponseController(c.W)
	_ = out.SetReadDeadline(time.Time{})
	c.beginLines()
	lines := json.NewEncoder(c.W)
	tell := func(v any) {
		_ = lines.Encode(v) // a client that has gone ends the context
		_ = out.Flush()
	}
	ctx, cancel := context.WithTimeout(c.Context(), testTimeout)
	defer cancel()
	told := 0
	err = post.send(mail.WithTrace(ctx, &mail.Trace{Patience: testPatience, Step: func(s mail.Step) { told++; tell(s) }}), message)
	if err == nil && told == 0 {
		tell(mail.Step{Name: post.Mailer, Answer: "this mailer has taken the mail, and tells no more"})
	}
	result := post.result(err)
	if c.Context().Err() != nil { // nobody looks on any more, and that is no fault of the server
		return answered, nil
	}
	if noted := post.Worker.Tried(ctx, c.Accounts.Store, post.Courier, err); noted != nil {
		result.Error = errors.Join(err, noted).Error()
	}
	tell(result)
	return answered, nil
}

// send sends a message; a mailer that panics has failed.
func (p *Post) send(ctx context.Context, message *mail.Message) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &mail.Error{Server: true, Err: errors.New("the mailer panicked; the log of a server that runs says where")}
		}
	}()
	return p.Courier.Mailer.Send(ctx, message)
}

func (p *Post) result(err error) tested {
	out := tested{Result: "sent", Mailer: p.Mailer}
	if err == nil {
		return out
	}
	out.Result, out.Error = "failed", mail.Printable(err.Error())
	failed := (*mail.Error)(nil)
	if !errors.As(err, &failed) {
		return out
	}
	out.Line = failed.Line
	out.Later = !failed.Permanent && !failed.Server && !failed.Refused
	return out
}

// waitingMail is a mail of the queue as an owner sees it.
type waitingMail struct {
	Seq     uint64    `json:"seq"`
	Kind    string    `json:"kind"`
	To      string    `json:"to"`
	Account string    `json:"account,omitempty"`
	Queued  time.Time `json:"queued"`
	NextTry time.Time `json:"next_try,omitzero"`
	// Attempts are the tries that failed for this mail alone. What fails for the mail
	// server as a whole is tried with one mail for all of them, and is no try of any.
	Attempts int `json:"attempts"`
	// ServerFails says that Error is the mail server's as a whole.
	ServerFails bool `json:"server_fails"`
	// Error is why it still waits: of its own last try, or why the queue as a whole does.
	Error string `json:"error,omitempty"`
}

// queueBatch is how many rows are in memory at once.
const queueBatch = 200

func listQueue(c *Call) (any, error) {
	health, err := outbox.HealthOf(c.Context(), c.Accounts.Store)
	if err != nil {
		return nil, err
	}
	var probe time.Time
	if post := c.Realm.Post; post != nil && post.Worker != nil {
		probe = post.Worker.NextTry()
	}
	c.beginLines()
	lines := json.NewEncoder(c.W)
	for after := uint64(0); ; {
		var rows []*store.Mail
		err := c.Accounts.View(c.Context(), func(tx store.Tx) (err error) {
			rows, err = tx.Mails(after, queueBatch)
			return err
		})
		if err != nil {
			panic(http.ErrAbortHandler) // a short list must not look like a whole one
		}
		for _, m := range rows {
			if after = m.Seq; m.Kind == store.MailDecoy {
				continue
			}
			if err := lines.Encode(waiting(m, health, probe)); err != nil {
				return answered, nil //nolint:nilerr // the client has gone
			}
		}
		if len(rows) < queueBatch {
			return answered, nil
		}
	}
}

func waiting(m *store.Mail, health outbox.Health, probe time.Time) waitingMail {
	out := waitingMail{Seq: m.Seq, Kind: string(m.Kind), To: m.To, Queued: m.Queued, NextTry: m.Due, Attempts: m.Attempts, Error: mail.Printable(m.Failed)}
	if m.User != uuid.Nil {
		out.Account = m.User.String()
	}
	if !health.Failed.IsZero() {
		out.Error, out.ServerFails = mail.Printable(health.Words), true
	}
	if probe.After(out.NextTry) {
		out.NextTry = probe
	}
	return out
}
