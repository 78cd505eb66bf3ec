package mail_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-928992b0/caddy-registration/mail"
)

// Relay is a mailer that hands messages to the program of a mail provider. As a
// guest module it would be a Caddy module http.registration.mailers.relay.
type Relay struct {
	submit func(from, to string, content []byte) error
}

// What the provider's program can answer.
var (
	errUnknownRecipient = errors.New("no such recipient")
	errWrongKey         = errors.New("the key is not valid")
)

// Send implements mail.Mailer. It says whose fault a failure is: on that depends
// whether the message is given up, tried again, or whether all mail waits.
func (r *Relay) Send(ctx context.Context, m *mail.Message) error {
	file, err := m.Render()
	if err != nil { // already a *mail.Error
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	switch err := r.submit(file.From, file.To, file.Content); {
	case errors.Is(err, errUnknownRecipient): // this message, and for good
		return &mail.Error{Permanent: true, Err: err}
	case errors.Is(err, errWrongKey): // no message is to blame
		return &mail.Error{Server: true, Err: err}
	default: // nil, or to be tried again
		return err
	}
}

// Close implements mail.Mailer; there is no connection to close.
func (r *Relay) Close() error { return nil }

func ExampleMailer() {
	var mailer mail.Mailer = &Relay{submit: func(from, to string, _ []byte) error {
		fmt.Println(from, "->", to)
		if to == "nobody@example.org" {
			return errUnknownRecipient
		}
		return nil
	}}
	for _, to := range []string{"ada@example.org", "nobody@example.org", "two@example.org,three@example.org"} {
		err := mailer.Send(context.Background(), &mail.Message{
			ID: "1@example.com", From: "Example <no-reply@example.com>", To: to,
			Subject: "Confirm your account", Text: "https://example.com/…", Date: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC),
		})
		failed := new(mail.Error)
		fmt.Println("given up:", errors.As(err, &failed) && failed.Permanent)
	}
	fmt.Println(mailer.Close())
	// Output:
	// no-reply@example.com -> ada@example.org
	// given up: false
	// no-reply@example.com -> nobody@example.org
	// given up: true
	// given up: true
	// <nil>
}
