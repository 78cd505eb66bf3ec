// mailcode.go: sign-ins by mail. How somebody signs in by a code or a link that is mailed to
// a confirmed address, good in the browser that asked alone, of which nothing is stored but
// the row of the outbox; and how one ends a sign-in that he was mailed of.

package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/device"
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
	asked, id, to := m.user, uuid.Nil, typed
	if asked != nil {
		id, to = asked.ID, reachedAt(asked, typed)
	}
	if asked != nil && !getsCode(asked, reachedAt(asked, typed)) {
		asked = nil
	}
	a.failed(ctx, audit.LinkRequested, asked, "purpose", string(Purposes[store.MailLoginCode]))
	return c, a.Update(ctx, func(t *Txn) error {
		t.postage.asked, t.browser = ThrottleReset, c.browserHash()
		if err := t.expects(store.MailLoginCode, m.user, to, notice{}, client); err != nil {
			return err
		}
		u, err := t.BriefUser(id)
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		case err != nil, !getsCode(u, reachedAt(u, typed)):
			return a.decoyMail(t, typed, client)
		}
		return a.queueMail(t, store.MailLoginCode, u, reachedAt(u, typed), client)
	})
}

// getsCode reports whether an account can be signed in to by a code that is mailed to this
// address.
func getsCode(u *store.User, to string) bool {
	return letsBegin(u) && (IsFurther(u, to) || u.Email != "" && sameEmail(to, u.Email) && u.EmailVerified && !u.EmailPending)
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
	switch v, err := a.Throttles.Spend(ctx, one, all); {
	case err != nil:
		return got, StoreError(err)
	case v.Wait > 0 && v.Table == tableCode:
		return got, refusal.New(refusal.CodeLoginCodeExpired)
	case v.Wait > 0:
		return got, TooOften(v.Wait)
	}
	err = a.Update(ctx, func(t *Txn) error {
		got.Grant, got.Challenge = nil, nil
		u, err := a.byCode(t, found, code, signature, asked)
		if err != nil {
			return err
		}
		got.User = u
		if err := a.Throttles.GiveBackIn(t, one, all); err != nil {
			return err
		}
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
	ok, to := false, reachedAt(u, asked.Login)
	used := link{claim: sign.Claim{Purpose: sign.PurposeLoginCode}}
	for _, want := range a.Signer.SignAll(claimOfCode(u, asked.browserHash(), a.linkState(sign.PurposeLoginCode, u, to, true))) {
		if subtle.ConstantTimeCompare([]byte(codeOf(want)), []byte(code)) == 1 || subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1 {
			ok, used.signature = true, want
		}
	}
	if !ok || u.ID == uuid.Nil || !getsCode(u, to) || slices.Contains(u.UsedLinks, hashOf(used)) {
		return nil, refusal.New(refusal.CodeLoginCodeInvalid)
	}
	useLink(u, used)
	return u, nil
}

// EndSignInByLink ends the sign-in that the mail about a new device names, and no other, with
// the trust that its browser was given then; the account doesn't know the device any more. It
// returns what a link to set a new password carries, as a reset mail has it, if the link was
// not used before and the mailbox that it went to is still the account's: within the time of
// such a mail, and unless the password was changed by another sign-in since. Otherwise, and
// without reset_password, there is none.
func (a *Accounts) EndSignInByLink(ctx context.Context, in field.Input) (u *store.User, reset url.Values, err error) {
	var errs refusal.FieldErrors
	l, err := readLink(in, sign.PurposeEndSignIn, &errs)
	if err = errors.Join(errs.Err(), err); err != nil {
		return nil, nil, StoreError(err)
	}
	if err := a.View(ctx, func(tx store.Tx) error { _, err := a.checkLink(tx, l, UndoPeriod); return err }); err != nil {
		return nil, nil, err
	}
	opens := false
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = a.checkLink(t, l, UndoPeriod); err != nil {
			return err
		}
		live, d, err := a.leftOf(t, u, l.claim.Email)
		if err != nil {
			return err
		}
		opens = d != nil && a.opensReset(u, l, len(live) > 0)
		for _, s := range live {
			if err := t.endSession(s.Hash); err != nil {
				return err
			}
		}
		if d != nil {
			trust := d.Trust
			device.Forget(u, d.SignIn)
			u.TrustedDevices = slices.DeleteFunc(u.TrustedDevices, func(b store.TrustedDevice) bool {
				return trust != [16]byte{} && [16]byte(b.Hash[:16]) == trust
			})
		}
		useLink(u, l)
		return errors.Join(t.Audit(audit.SessionsEnded, u.ID, "which", "one", "by", "link"), a.PutUser(t, u))
	})
	if err != nil || !opens {
		return u, nil, err
	}
	claim := sign.Claim{Purpose: sign.PurposeResetPassword, User: u.ID, Time: a.Now(), State: a.State(sign.PurposeResetPassword, u, u.Email)}
	return u, url.Values{
		sign.ParamUserID: {u.ID.String()}, sign.ParamTimestamp: {claim.Timestamp()}, sign.ParamSignature: {a.Signer.Sign(claim)},
	}, nil
}

// opensReset reports whether a link that ends a sign-in of u starts a new password besides.
// live: the sign-in was there still. Then it is who has changed the password meanwhile, if
// anybody has: that of another would have ended it.
func (a *Accounts) opensReset(u *store.User, l link, live bool) bool {
	n, ok := readSignIn(l.claim.Email)
	return ok && a.Policy.ResetPassword.Enabled && u.EmailVerified && !u.EmailPending &&
		n.mailbox == hex.EncodeToString(mailboxMark(u.Email)) && (live || n.generation == u.Generation) &&
		a.Now().Sub(l.claim.Time) <= a.Policy.ResetPassword.VerificationPeriod
}
