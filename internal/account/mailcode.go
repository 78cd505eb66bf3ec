// mailcode.go: how somebody signs in by a code or a link that is mailed to a confirmed
// address, good in the browser that asked alone, of which nothing is stored but the row of
// the outbox.

package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ParamMailCode is the member with the code that was mailed.
const ParamMailCode = "code"

// CodeLifetime is how long a mailed code is good, from when it was asked for.
const CodeLifetime = 10 * time.Minute

// Wrong codes: how many one request for a code takes, and how many an account takes in an
// hour, over all requests and devices. The first don't come back while the code is good.
var (
	codeTries    = budget.Limit{Events: 5, Window: 100 * CodeLifetime}
	accountTries = budget.Limit{Events: 10, Window: time.Hour}
)

// The tables of wrong codes.
const (
	tableCode        = "mail_code"
	tableCodeAccount = "mail_code/account"
)

// An AskedCode is what the browser keeps that has asked for a code.
type AskedCode struct {
	// Browser is known to that browser alone.
	Browser string
	// Login is what was typed.
	Login string
	// Proof says when, signed over both.
	Proof string
}

// proofOf is what AskedCode.Proof signs.
func (c AskedCode) proofOf(at time.Time) sign.Proof {
	return sign.Proof{Method: MethodMail, Browser: c.Browser, Time: at, State: sign.StateOf("login code", c.Login)}
}

// good reports whether a browser has asked for a code, a short while ago.
func (a *Accounts) good(c AskedCode) bool {
	proof, signature, ok := sign.ReadProof(c.Proof)
	if !ok || proof.User != uuid.Nil || proof.Method != MethodMail || len(c.Browser) != 22 {
		return false
	}
	return a.Signer.VerifyProof(c.proofOf(proof.Time), signature, a.Now(), CodeLifetime) == nil
}

// browserHash is what the outbox has of the browser.
func (c AskedCode) browserHash() []byte {
	sum := sha256.Sum256([]byte("login code\x00" + c.Browser + "\x00" + c.Proof))
	return sum[:16]
}

// SendLoginCode queues the mail with a code and a link by which one signs in, or does the
// same work where there is none to send: the answer, and its time, are the same. What it
// returns is for the browser that asks.
func (a *Accounts) SendLoginCode(ctx context.Context, in field.Input, client Client) (c AskedCode, err error) {
	m, err := a.match(ctx, in, a.Policy.LoginFields)
	if err != nil {
		return c, err
	}
	if err := client.pay(); err != nil {
		return c, err
	}
	typed := typedLogin(in, a.Policy.LoginFields)
	c = AskedCode{Browser: sign.NewBrowser(), Login: typed}
	c.Proof = a.Signer.SignProof(c.proofOf(a.Now()))
	asked, id := m.user, uuid.Nil
	if asked != nil {
		id = asked.ID
	}
	if asked != nil && !getsCode(asked) {
		asked = nil
	}
	a.failed(ctx, audit.LinkRequested, asked, "purpose", string(Purposes[store.MailLoginCode]))
	return c, a.Update(ctx, func(t *Txn) error {
		t.postage.asked, t.browser = ThrottleReset, c.browserHash()
		u, err := t.BriefUser(id)
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		case err != nil, !getsCode(u):
			return a.decoyMail(t, typed, client)
		}
		return a.queueMail(t, store.MailLoginCode, u, u.Email, client)
	})
}

// getsCode reports whether an account can be signed in to by a mailed code.
func getsCode(u *store.User) bool {
	return letsBegin(u) && u.Email != "" && u.EmailVerified && !u.EmailPending
}

// claimOfCode is what the link in the mail signs; the code follows from the signature. Both
// end with the next sign-in, and with what else is in the state.
func claimOfCode(u *store.User, browser, state []byte) sign.Claim {
	return sign.Claim{Purpose: sign.PurposeLoginCode, User: u.ID, Email: base64.RawURLEncoding.EncodeToString(browser), State: state}
}

func codeOf(signature string) string {
	sum := sha256.Sum256([]byte("login code\x00" + signature))
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(sum[:8])%1_000_000)
}

// MailedLoginCode is what the mail of a row about u has: the code, and the signature of the
// link.
func MailedLoginCode(signer *sign.Signer, u *store.User, m *store.Mail) (code, signature string) {
	signature = signer.Sign(claimOfCode(u, m.Browser, m.State))
	return codeOf(signature), signature
}

// SignInByCode signs in who brings the code that was mailed, or the signature of the link,
// in the browser that asked, or asks for more. Unknown account, wrong code and a code that
// nobody was sent are one refusal.
func (a *Accounts) SignInByCode(ctx context.Context, in field.Input, asked AskedCode, client Client, old *store.Session) (got SignedIn, err error) {
	var errs refusal.FieldErrors
	code, signature := strings.Join(strings.Fields(in.Text(ParamMailCode)), ""), in.Text(sign.ParamSignature)
	if signature == "" {
		in.Required(ParamMailCode, &errs)
	}
	m, err := a.matchLogin(ctx, in, errs)
	if err == nil {
		err = client.pay()
	}
	if err != nil {
		return got, err
	}
	if !a.good(asked) || typedLogin(in, a.Policy.LoginFields) != asked.Login {
		return got, refusal.New(refusal.CodeLoginCodeExpired)
	}
	found := m.user
	got.User = found
	key := BudgetKey(tableCodeAccount, "unknown", field.UniqueKey(asked.Login))
	if found != nil {
		key = BudgetKey(tableCodeAccount, found.ID.String())
	}
	one := budget.Charge{Table: tableCode, Key: BudgetKey(tableCode, asked.Browser), Limit: codeTries}
	all := budget.Charge{Table: tableCodeAccount, Key: key, Limit: accountTries}
	// Whatever `throttle` says: a code of six digits is guessed in no time without.
	if a.Throttles.Take(one).Wait > 0 {
		return got, refusal.New(refusal.CodeLoginCodeExpired)
	}
	if wait := a.Throttles.Take(all).Wait; wait > 0 {
		return got, TooOften(wait)
	}
	err = a.Update(ctx, func(t *Txn) error {
		got.Grant, got.Challenge = nil, nil
		u, err := a.byCode(t, found, code, signature, asked)
		if err != nil {
			return err
		}
		got.User = u
		if got.Challenge = a.asks(u, MethodMail); got.Challenge != nil {
			return a.PutUser(t, u)
		}
		got.Grant, err = a.letIn(t, u, client, old, MethodMail)
		return err
	})
	if err != nil {
		a.guessed(ctx, found, "login-code", err)
		return SignedIn{User: found}, err
	}
	a.Throttles.Return(one, all)
	if got.Challenge != nil {
		a.challenge(got.Challenge, got.User, MethodMail, client)
		return got, nil
	}
	return got, a.addAccessToken(ctx, got.User, got.Grant)
}

// byCode returns the account of a code or a link that is good, which is used up with that,
// or refuses it. found may be nil. The caller writes the account.
func (a *Accounts) byCode(t *Txn, found *store.User, code, signature string, asked AskedCode) (*store.User, error) {
	u := &store.User{}
	if found != nil {
		stored, err := t.User(found.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			u = stored
		}
	}
	ok := false
	used := link{claim: sign.Claim{Purpose: sign.PurposeLoginCode}}
	for _, want := range a.Signer.SignAll(claimOfCode(u, asked.browserHash(), a.linkState(sign.PurposeLoginCode, u, u.Email, true))) {
		if subtle.ConstantTimeCompare([]byte(codeOf(want)), []byte(code)) == 1 || subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1 {
			ok, used.signature = true, want
		}
	}
	if !ok || u.ID == uuid.Nil || !getsCode(u) || slices.Contains(u.UsedLinks, hashOf(used)) {
		return nil, refusal.New(refusal.CodeLoginCodeInvalid)
	}
	useLink(u, used)
	return u, nil
}
