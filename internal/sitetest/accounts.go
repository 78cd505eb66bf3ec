// accounts.go:

package sitetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

const NoticeSubject = "Your email address at example.com"

func UUIDOf(t testing.TB, s *Site, login string) uuid.UUID {
	t.Helper()
	u, err := s.Accounts.Lookup(t.Context(), login)
	require.NoError(t, err)
	return u.ID
}

const DeviceCookie = "registration_device"

// Attack spends the budget of an account from many addresses.
func (s *Site) Attack(name string) {
	s.T.Helper()
	for i := range 11 {
		res := s.Browser().From(fmt.Sprintf("203.0.113.%d", i)).Post("/accounts/login", WrongSignIn(name))
		require.Equal(s.T, map[bool]int{true: http.StatusBadRequest, false: http.StatusTooManyRequests}[i < 10], res.StatusCode)
	}
}

// Set is a browser that sends these headers besides.
func (b *Browser) Set(namesAndValues ...string) *Browser {
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		b.Header.Set(namesAndValues[i], namesAndValues[i+1])
	}
	return b
}

// count takes what the mailer got within a moment, by subject.
func (s *Site) Mails() map[string]int {
	s.T.Helper()
	require.Eventually(s.T, func() bool { return QueueEmpty(s.Accounts.Store) }, Patience, time.Millisecond)
	got := map[string]int{}
	for {
		select {
		case m := <-s.Mailer.Sent:
			got[m.Subject]++
		case m := <-s.Mailer.Told:
			got[m.Subject]++
		default:
			return got
		}
	}
}

func Total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

const NewPassword = "an even longer passphrase"

// ChangePassword is what the owner does who suspects something.
func (b *Browser) ChangePassword() {
	b.Site.T.Helper()
	res := b.Post("/accounts/change-password", Data{"old_password": Password, "password": NewPassword, "password_confirm": NewPassword})
	require.Equal(b.Site.T, 200, res.StatusCode, res.Text)
}

// ResetPassword sets a new password by a mail to the account's address.
func (s *Site) ResetPassword(login, password string) *Browser {
	s.T.Helper()
	b := s.Browser()
	require.Equal(s.T, 200, b.Post("/accounts/send-reset-password-link", Data{"login": login}).StatusCode)
	res := b.Post("/accounts/reset-password", With(LinkOf(s.Mail(), s.T), Data{"password": password}))
	require.Equal(s.T, 200, res.StatusCode, res.Text)
	return b
}

// SessionCookie is the session's cookie over plain HTTP.
const SessionCookie = "registration"

// BrokenStore fails like a full disk while broken is set.
type BrokenStore struct {
	store.Store
	Broken atomic.Bool
}

var ErrDisk = errors.New("no space left on device")

func (s *BrokenStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if s.Broken.Load() {
		return ErrDisk
	}
	return s.Store.Update(ctx, fn)
}

// Tokens signs in for tokens and keeps no cookie.
func (s *Site) Tokens(name string) (b *Browser, refresh string) {
	s.T.Helper()
	b = s.SignedIn(name)
	clear(b.Cookie)
	res := b.Post("/accounts/login", Data{"login": name, "password": Password}).JSON(s.T)
	clear(b.Cookie)
	refresh, _ = res["refresh_token"].(string)
	return b.Bearer(res["token"].(string)), refresh
}

func (s *Site) Keys() []jose.JSONWebKey {
	s.T.Helper()
	res := s.Browser().Get("/accounts/.well-known/jwks.json")
	require.Equal(s.T, 200, res.StatusCode, res.Text)
	var set jose.JSONWebKeySet
	require.NoError(s.T, json.Unmarshal([]byte(res.Text), &set))
	return set.Keys
}

const LinkInTest = "https://example.com/accounts/verify?user_id=1&timestamp=2&signature=aGk_-x"

// AMail is a message with everything in it.
func AMail() *mail.Message {
	return &mail.Message{
		ID: "0193.abc@example.com", From: `"Bücher, Grün & Co." <no-reply@example.com>`, ReplyTo: "Help <help@example.com>",
		To: "ann@example.org", Subject: "Bestätigen Sie Ihre Adresse", Language: "de",
		Text: "Hallo,\n\n" + LinkInTest + "\n.\nGrüße", HTML: `<p>Hallo, <a href="` + strings.ReplaceAll(LinkInTest, "&", "&amp;") + `">hier</a></p>`,
		Date: time.Date(2026, 11, 24, 12, 0, 0, 0, time.FixedZone("CET", 3600)),
	}
}

// RequireMailError checks whose failure an error is.
func RequireMailError(t testing.TB, err error, server, permanent bool) *mail.Error {
	t.Helper()
	var mailErr *mail.Error
	require.ErrorAs(t, err, &mailErr)
	require.Equal(t, server, mailErr.Server, "Server of: %v", err)
	require.Equal(t, permanent, mailErr.Permanent, "Permanent of: %v", err)
	return mailErr
}

// Queued returns the rows that are due or will be.
func (s *Site) Queued() (rows []*store.Mail) {
	s.T.Helper()
	require.NoError(s.T, s.Accounts.Store.View(s.T.Context(), func(tx store.Tx) (err error) {
		rows, err = tx.Mails(0, 100)
		return err
	}))
	return rows
}

func (s *Site) FailWith(fail func(*mail.Message) error) {
	s.Mailer.Mu.Lock()
	s.Mailer.Fail = fail
	s.Mailer.Mu.Unlock()
}

// Stored returns the account as the store has it.
func (s *Site) Stored(id string) *store.User {
	s.T.Helper()
	var u *store.User
	require.NoError(s.T, s.Accounts.View(context.Background(), func(tx store.Tx) (err error) {
		u, err = tx.User(uuid.MustParse(id))
		return err
	}))
	return u
}

// Census counts what the store holds.
func (s *Site) Census() (users, sessions int) {
	s.T.Helper()
	require.NoError(s.T, s.Realm.Resources.Store.View(context.Background(), func(tx store.Tx) error {
		users, sessions = 0, 0
		all, err := tx.Users(uuid.UUID{}, 1000)
		if err != nil {
			return err
		}
		users = len(all)
		for _, u := range all {
			list, err := tx.Sessions(u.ID, 9)
			if err != nil {
				return err
			}
			sessions += len(list)
		}
		return nil
	}))
	return users, sessions
}

// Set changes an account behind the rules' back, as an import would.
func (s *Site) Set(id string, change func(*store.User)) {
	s.T.Helper()
	require.NoError(s.T, s.Accounts.Update(context.Background(), func(t *account.Txn) error {
		u, err := t.User(uuid.MustParse(id))
		if err != nil {
			return err
		}
		change(u)
		return s.Accounts.PutUser(t, u)
	}))
}

func WrongSignIn(name string) Data { return Data{"login": name, "password": "not his passphrase"} }

const ChangedSubject = "Your email address at example.com has been changed"

// Move changes the address of the one who is signed in and returns the link
// that the old address gets.
func (s *Site) Move(b *Browser, from, to string) Data {
	s.T.Helper()
	require.Equal(s.T, 200, b.Post("/accounts/register-email", Data{"email": to}).StatusCode)
	confirm := s.Mail()
	require.Equal(s.T, to, confirm.To)
	res := s.Browser().Post("/accounts/verify-email", LinkOf(confirm, s.T))
	require.Equal(s.T, 200, res.StatusCode, res.Text)
	m := s.Mail()
	require.Equal(s.T, ChangedSubject, m.Subject)
	require.Equal(s.T, from, m.To)
	require.NotContains(s.T, m.Text+m.HTML, to, "the new address is not the old one's business")
	return LinkOf(m, s.T)
}

func (s *Site) ProfileID(name string) string {
	s.T.Helper()
	return s.SignedIn(name).Get("/accounts/profile").JSON(s.T)["id"].(string)
}

// Acting is a context in which an account does what is done.
func (s *Site) Acting(ctx context.Context, name string) context.Context {
	s.T.Helper()
	return audit.WithCaller(ctx, audit.Caller{Actor: UUIDOf(s.T, s, name).String()})
}

// StoreFile is what stands in the file of a site's store.
func (s *Site) StoreFile(t *testing.T) []byte {
	t.Helper()
	Embedded(t)
	raw, err := os.ReadFile(s.Path)
	require.NoError(t, err)
	return raw
}
