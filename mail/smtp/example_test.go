package smtp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

// refusing plays a server that knows no recipient.
func refusing(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprint(conn, "220 mail.example.com\r\n")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		reply := "250 mail.example.com"
		if line := lines.Text(); len(line) > 4 && line[:4] == "RCPT" {
			reply = "550 5.1.1 no such mailbox"
		}
		_, _ = fmt.Fprint(conn, reply+"\r\n")
	}
}

// A sender for one server, and how it says whose fault a failure is.
func ExampleSender() {
	server := smtp.Server{Address: "mail.example.com:25", TLS: smtp.NoTLS, Hello: "www.example.com", Timeout: 10 * time.Second}
	if setting, err := server.Split(); err != nil {
		fmt.Println(setting, err)
	}
	if setting, err := server.Check(); err != nil {
		fmt.Println(setting, err)
	}
	server.Dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go refusing(theirs)
		return ours, nil
	}
	sender := &smtp.Sender{Server: server}
	defer func() { _ = sender.Close() }()

	err := sender.Send(context.Background(), &mail.Message{
		ID: "1@example.com", From: "no-reply@example.com", To: "ada@example.org",
		Subject: "Confirm your account", Text: "https://example.com/…", Date: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC),
	})
	failed := new(mail.Error)
	fmt.Println(errors.As(err, &failed), "permanent:", failed.Permanent, "the server's:", failed.Server)
	// Output:
	// true permanent: true the server's: false
}
