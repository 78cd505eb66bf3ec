// tokens.go: what an account lets in without its owner beside it, and how he takes that back:
// tokens for programs (where one is good, package token knows), and browsers in which he
// isn't asked for his second step; and the devices that it knows, of whose others he is told
// with a link that ends such a sign-in. All stand in the account.

package account

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	words "github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The members of what is sent about tokens for programs, besides ParamName.
const (
	ParamToken        = "id"
	ParamTokenExpires = "expires"
	ParamTokenPath    = "path"
	ParamTokenGroups  = "groups"
)

// MaxProgramTokens bounds the tokens for programs of an account.
const MaxProgramTokens = 50

// ProgramTokens returns the account of who asks, as it is now, with the last uses of its
// tokens for programs. Those that have expired are left out.
func (a *Accounts) ProgramTokens(ctx context.Context, p session.Principal) (*store.User, error) {
	u, err := a.ListFactors(ctx, p)
	if err != nil {
		return nil, err
	}
	u.ProgramTokens = a.goodTokens(u)
	for i := range u.ProgramTokens {
		t := &u.ProgramTokens[i]
		if used := a.Sessions.ProgramLastUse(t.Hash); used.After(t.LastUsed) {
			t.LastUsed = used
		}
	}
	return u, nil
}

// goodTokens are the tokens for programs that have not expired.
func (a *Accounts) goodTokens(u *store.User) []store.ProgramToken {
	now := a.Now()
	return slices.DeleteFunc(slices.Clone(u.ProgramTokens), func(t store.ProgramToken) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) })
}

// CreateProgramToken makes a token for a program, which is shown this once. What it is
// limited to can't be changed.
func (a *Accounts) CreateProgramToken(ctx context.Context, p session.Principal, in field.Input, client Client) (u *store.User, made *store.ProgramToken, text string, err error) {
	var errs refusal.FieldErrors
	in.Required(ParamName, &errs)
	t := store.ProgramToken{
		Name: factorName(in, &errs), Created: a.Time(), Expires: a.tokenExpires(in, &errs), Path: tokenPath(in, &errs), Groups: tokenGroups(in, p.User, &errs),
	}
	if err := errs.Err(); err != nil {
		return nil, nil, "", err
	}
	text, t.Hash = token.New()
	u, err = a.withSudo(ctx, p, in, client, func(tx *Txn, u *store.User) error {
		u.ProgramTokens = a.goodTokens(u)
		if len(u.ProgramTokens) >= MaxProgramTokens {
			return refusal.New(refusal.CodeTokenLimit)
		}
		u.ProgramTokens = append(u.ProgramTokens, t)
		if err := tx.Audit(audit.ProgramTokenCreated, u.ID, "token", t.Hash.PublicID(), "path", t.Path, "groups", strings.Join(t.Groups, " ")); err != nil {
			return err
		}
		return a.tellOwner(tx, store.MailProgramToken, u, client)
	})
	if err != nil {
		return nil, nil, "", err
	}
	return u, &t, text, nil
}

// tokenExpires reads when a token is to end: a moment as in RFC 3339 or a day, which it is
// good to the end of (UTC). Zero: never.
func (a *Accounts) tokenExpires(in field.Input, errs *refusal.FieldErrors) time.Time {
	text := in.Text(ParamTokenExpires)
	if text == "" {
		if in[ParamTokenExpires].Kind == field.ValueOther {
			errs.Add(ParamTokenExpires, refusal.CodeInvalid)
		}
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		if at, err = time.Parse(time.DateOnly, text); err == nil {
			at = at.AddDate(0, 0, 1)
		}
	}
	if at = at.UTC().Truncate(time.Second); err != nil || !at.After(a.Now()) || at.Year() > 9999 {
		errs.AddInvalid(ParamTokenExpires, "invalid.token_expires")
		return time.Time{}
	}
	return at
}

// tokenPath reads where a token is to be good; "": everywhere.
func tokenPath(in field.Input, errs *refusal.FieldErrors) string {
	text := in.Text(ParamTokenPath)
	if text == "" && in[ParamTokenPath].Kind != field.ValueOther {
		return ""
	}
	clean, ok := token.Limit(text)
	if !ok {
		errs.AddInvalid(ParamTokenPath, "invalid.token_path")
	}
	if clean == "/" {
		return ""
	}
	return clean
}

// tokenGroups reads which of an account's groups are to count for a token: a list, or a
// text with blanks or commas between them. nil: all.
func tokenGroups(in field.Input, u *store.User, errs *refusal.FieldErrors) []string {
	var groups []string
	if v := in[ParamTokenGroups]; v.Kind == field.ValueOther {
		if json.Unmarshal([]byte(v.Text), &groups) != nil {
			errs.Add(ParamTokenGroups, refusal.CodeInvalid)
			return nil
		}
	} else if groups = strings.FieldsFunc(in.Text(ParamTokenGroups), func(r rune) bool { return r == ',' || r == ' ' }); len(groups) == 0 {
		return nil
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	for _, group := range groups {
		if !slices.Contains(u.Groups, group) {
			*errs = append(*errs, notAmongGroups(u))
			return nil
		}
	}
	return groups
}

// notAmongGroups refuses a group that an account isn't in, and says which there are.
func notAmongGroups(u *store.User) refusal.FieldError {
	e := refusal.FieldError{Field: ParamTokenGroups, Code: refusal.CodeInvalid, Message: "invalid.token_no_groups"}
	if len(u.Groups) > 0 {
		e.Message, e.Params = "invalid.token_groups", words.Params{"groups": strings.Join(u.Groups, ", ")}
	}
	return e
}

// RevokeProgramToken ends a token for programs, by its id in the list.
func (a *Accounts) RevokeProgramToken(ctx context.Context, p session.Principal, in field.Input) (u *store.User, err error) {
	var errs refusal.FieldErrors
	id := in.Required(ParamToken, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	is := func(t store.ProgramToken) bool { return t.Hash.PublicID() == id }
	if u, err := a.ListFactors(ctx, p); err != nil { // a wrong id is to cost those who write nothing
		return nil, err
	} else if !slices.ContainsFunc(u.ProgramTokens, is) {
		return nil, refusal.New(refusal.CodeTokenNotFound)
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		i := slices.IndexFunc(u.ProgramTokens, is)
		if i < 0 {
			return refusal.New(refusal.CodeTokenNotFound)
		}
		u.ProgramTokens = slices.Delete(u.ProgramTokens, i, i+1)
		if err := t.Audit(audit.ProgramTokenRevoked, u.ID, "token", id); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	return u, err
}

// The members of what is sent about trusted browsers.
const (
	// ParamTrustDevice asks for trust, beside a factor that is shown.
	ParamTrustDevice = "trust_device"
	// ParamTrustedDevice says which one is meant.
	ParamTrustedDevice = "id"
)

// maxTrustedDevices bounds the trusted browsers of an account. Beyond it the least recently
// used is forgotten.
const maxTrustedDevices = 20

// methodTrusted begins a sign-in as MethodPassword does, in a trusted browser. It stands in
// challenges alone, never in a session.
const methodTrusted = "trusted"

// trustState is what the trust in a browser rests on: what the account has handed out, and
// its factors. Whatever ends the one or changes the other, ends it.
func trustState(u *store.User) (state [16]byte) {
	parts := []string{"trusted device"}
	for _, f := range u.Factors {
		parts = append(parts, f.ID.String())
	}
	slices.Sort(parts[1:])
	copy(state[:], sign.StateOf(append(parts, GenerationOf(u)...)...))
	return state
}

// stillTrusted are those of an account's trusted browsers that have not ended. None of them
// counts while the setting is off.
func (a *Accounts) stillTrusted(u *store.User) []store.TrustedDevice {
	if len(u.TrustedDevices) == 0 {
		return nil
	}
	now, period, state := a.Now(), a.Policy.Factors.Trusted, trustState(u)
	left := slices.DeleteFunc(slices.Clone(u.TrustedDevices), func(d store.TrustedDevice) bool {
		age := now.Sub(d.Created)
		return d.State != state || period > 0 && age >= period || age < -sign.MaxClockSkew
	})
	if len(left) == 0 {
		return nil
	}
	return left
}

// firstShown is what somebody has shown whose password was right: MethodPassword or, in a
// trusted browser, methodTrusted, which is noted on u then.
func (a *Accounts) firstShown(t *Txn, u *store.User, client Client) string {
	if a.Policy.Factors.Trusted == 0 || len(client.Trusted) == 0 || !u.HasFactor() {
		return MethodPassword
	}
	u.TrustedDevices = a.stillTrusted(u)
	for i := range u.TrustedDevices {
		if d := &u.TrustedDevices[i]; client.trusted(d.Hash) {
			d.LastUsed, t.trusted = a.Time(), d.Hash.PublicID()
			return methodTrusted
		}
	}
	return MethodPassword
}

// trusted reports whether the browser has brought the token with this hash.
func (c Client) trusted(hash store.TokenHash) bool {
	return slices.ContainsFunc(c.Trusted, func(token string) bool { sent, ok := session.HashToken(token); return ok && sent == hash })
}

// trust makes the browser of who has shown a factor a trusted one, in place of what it was
// before, and returns the token that it is to keep. The caller writes u.
func (a *Accounts) trust(t *Txn, u *store.User, client Client) (token string, err error) {
	token, hash := session.NewToken()
	now := a.Time()
	d := store.TrustedDevice{Hash: hash, Created: now, LastUsed: now, UserAgent: session.Shorten(client.UserAgent, session.MaxUserAgent), State: trustState(u)}
	u.TrustedDevices = append(slices.DeleteFunc(a.stillTrusted(u), func(d store.TrustedDevice) bool { return client.trusted(d.Hash) }), d)
	latestFirst(u.TrustedDevices)
	u.TrustedDevices = u.TrustedDevices[:min(len(u.TrustedDevices), maxTrustedDevices)]
	t.trust = hash
	return token, t.Audit(audit.DeviceTrusted, u.ID, "trusted_device", hash.PublicID())
}

// latestFirst sorts the one that was used last to the front.
func latestFirst(list []store.TrustedDevice) {
	slices.SortFunc(list, func(x, y store.TrustedDevice) int {
		if c := y.LastUsed.Compare(x.LastUsed); c != 0 {
			return c
		}
		if c := y.Created.Compare(x.Created); c != 0 {
			return c
		}
		return strings.Compare(string(x.Hash[:]), string(y.Hash[:]))
	})
}

// A TrustedDevice is a trusted browser as its owner sees it.
type TrustedDevice struct {
	ID string
	store.TrustedDevice
	// Expires is when it is asked again, at the latest.
	Expires time.Time
	// Current: it is the one that asks.
	Current bool
}

// TrustedDevices are the browsers in which an account is not asked for its second step, the
// latest used first. client is who asks.
func (a *Accounts) TrustedDevices(u *store.User, client Client) []TrustedDevice {
	period := a.Policy.Factors.Trusted
	if period == 0 || !u.HasFactor() {
		return nil
	}
	still := a.stillTrusted(u)
	latestFirst(still)
	list := make([]TrustedDevice, len(still))
	for i, d := range still {
		list[i] = TrustedDevice{ID: d.Hash.PublicID(), TrustedDevice: d, Expires: d.Created.Add(period), Current: client.trusted(d.Hash)}
	}
	return list
}

// EndTrust has the trusted browser that the input names asked for the second step again. An
// unknown one is CodeDeviceNotFound.
func (a *Accounts) EndTrust(ctx context.Context, p session.Principal, in field.Input) (u *store.User, err error) {
	var errs refusal.FieldErrors
	id := in.Required(ParamTrustedDevice, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	named := func(d store.TrustedDevice) bool { return d.Hash.PublicID() == id }
	if !slices.ContainsFunc(p.User.TrustedDevices, named) { // what is wrong is to write nothing
		return nil, refusal.New(refusal.CodeDeviceNotFound)
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if !slices.ContainsFunc(u.TrustedDevices, named) {
			return refusal.New(refusal.CodeDeviceNotFound)
		}
		u.TrustedDevices = slices.DeleteFunc(u.TrustedDevices, named)
		if err := t.Audit(audit.DeviceTrustEnded, u.ID, "trusted_device", id); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	return u, err
}

// meetDevice is part of every sign-in: the account knows the device from now on. Where it
// knows others alone, its owner is mailed, once an hour at most, and knows by which sign-in
// it came: its id is returned. A device that nobody was told of stays unknown meanwhile. The
// caller writes u.
func (a *Accounts) meetDevice(t *Txn, u *store.User, client Client) (uuid.UUID, error) {
	if client.Seen == nil {
		return uuid.Nil, nil
	}
	seen, now := client.Seen(), a.Time()
	as := store.KnownDevice{LastUsed: now}
	copy(as.Trust[:], t.trust[:])
	if known := device.Find(u, seen); known != nil {
		known.LastUsed = now
		notesLanguage(u, client)
		if t.trust != (store.TokenHash{}) {
			known.Trust = as.Trust
		}
		return uuid.Nil, nil
	}
	first := len(u.KnownDevices) == 0
	if first {
		notesLanguage(u, client)
	}
	switch {
	case first && a.tellsOfDevices(u): // of a program its owner has not been told yet
		device.Learn(u, seen.Surely(), as)
		return uuid.Nil, nil
	case first, !a.tellsOfDevices(u):
		device.Learn(u, seen, as)
		return uuid.Nil, nil
	case device.ToldLately(u, now):
		return uuid.Nil, nil
	}
	if wait, err := t.postage.of(t, store.MailNewDevice, u, u.Email, client); err != nil || wait > 0 {
		return uuid.Nil, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return uuid.Nil, err
	}
	as.Told, as.SignIn = now, id
	device.Learn(u, seen, as)
	return id, a.queueAbout(t, store.MailNewDevice, u, u.Email, id, client)
}

// tellsOfDevices reports whether the owner of an account is told of new devices: at an
// address that is known to be his, with a link that leads somewhere.
func (a *Accounts) tellsOfDevices(u *store.User) bool {
	return a.Policy.NewDevice && a.Policy.SendsMail && a.Links[sign.PurposeEndSignIn] != "" && u.Email != "" && u.EmailVerified && !u.EmailPending
}

// knowOnly is part of a reset: whoever has had the account before is news if he comes back,
// and the device that the reset is made on is not. The caller writes u.
func (a *Accounts) knowOnly(u *store.User, client Client) {
	if len(u.KnownDevices) == 0 { // nobody has signed in: whoever does first is no news
		return
	}
	device.ForgetAll(u)
	if client.Seen != nil {
		device.Learn(u, client.Seen().Surely(), store.KnownDevice{LastUsed: a.Time()})
	}
}

// nameSignIn is how the link of a mail names the sign-in that it ends: with the mailbox that
// it went to and the account's generation, so that it opens no more than that mailbox may.
func nameSignIn(id uuid.UUID, to string, generation uint64) string {
	return fmt.Sprintf("%s-%x-%016x", id, mailboxMark(to), generation)
}

func mailboxMark(address string) []byte {
	return sign.StateOf("mailbox", field.EmailKey(address))[:6]
}

// A namedSignIn is what nameSignIn has written.
type namedSignIn struct {
	id         uuid.UUID
	mailbox    string
	generation uint64
}

func readSignIn(name string) (n namedSignIn, ok bool) {
	if len(name) != sign.SizeSignIn {
		return n, false
	}
	n.id, ok = store.ParseID(name[:36])
	mailbox, generation, cut := strings.Cut(name[37:], "-")
	var err error
	n.generation, err = strconv.ParseUint(generation, 16, 64)
	n.mailbox = mailbox
	return n, ok && cut && err == nil
}

// signInState is the state behind the link that ends a sign-in. It hangs on nothing that the
// one who is signed in could change; whether there is anything left to end, leftOf says.
func signInState(name string) []byte {
	n, ok := readSignIn(name)
	if !ok {
		return nil
	}
	return sign.StateOf(string(sign.PurposeEndSignIn), n.id.String())
}

// leftOf is what there is still of a sign-in that a link names: what it is signed in by, and
// the device by which it came, as long as the account knows it.
func (a *Accounts) leftOf(tx store.Tx, u *store.User, name string) (live []*store.Session, d *store.KnownDevice, err error) {
	n, ok := readSignIn(name)
	if !ok {
		return nil, nil, nil
	}
	all, err := tx.Sessions(u.ID, 2*a.Policy.Session.Max+session.SessionChunk)
	for _, s := range all {
		if s.SignIn == n.id && s.Epoch == u.Epoch(s.Kind) {
			live = append(live, s)
		}
	}
	return live, device.Of(u, n.id), err
}

// signedForSignIn reports whether a link that ends a sign-in is one of ours, for who has it
// is told that there is nothing left to end.
func (a *Accounts) signedForSignIn(u *store.User, l link) bool {
	l.claim.State = signInState(l.claim.Email)
	return l.claim.State != nil && a.Signer.Verify(l.claim, l.signature, a.Now(), UndoPeriod) == nil
}
