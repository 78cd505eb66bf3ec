// record.go: an account as a line of our own export, and back: every field that the
// store keeps. A field that is added to store.User has its place here, or its reason in
// record_test.go.

package transfer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/moving"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/store"
)

// exportVersion is that of the lines. Whoever reads them refuses a newer one. Those of
// version 1 have no last line.
const exportVersion = 2

// header is the first line of an export.
type header struct {
	Export     int  `json:"registration_export"`
	WithHashes bool `json:"with_hashes"`
}

// known reports whether its version is one that is read.
func (h *header) known() bool { return 1 <= h.Export && h.Export <= exportVersion }

// line is one of the others: an account, one of the things that are kept beside accounts,
// or the last one.
type line struct {
	FactorKey  *factorKeyLine  `json:"factor_key,omitempty"`
	Invitation *invitationLine `json:"invitation,omitempty"`
	LeftName   *leftNameLine   `json:"left_name,omitempty"`
	Audit      *auditLine      `json:"audit,omitempty"`
	End        *endLine        `json:"registration_export_end,omitempty"`
	*accountLine
}

// readableLine is line to be read: encoding/json does not make embedded pointers.
type readableLine struct {
	FactorKey  *factorKeyLine  `json:"factor_key"`
	Invitation *invitationLine `json:"invitation"`
	LeftName   *leftNameLine   `json:"left_name"`
	Audit      *auditLine      `json:"audit"`
	End        *endLine        `json:"registration_export_end"`
	accountLine
}

// endLine is the last line: without it a file is not whole.
type endLine struct {
	Accounts int `json:"accounts"`
	// Lines is how many are before this one; 0: nobody has counted.
	Lines int `json:"lines"`
}

// accountLine is an account. Times are RFC 3339 in UTC.
type accountLine struct {
	ID                 uuid.UUID             `json:"id"`
	Username           string                `json:"username,omitempty"`
	Email              string                `json:"email,omitempty"`
	EmailVerified      bool                  `json:"email_verified"`
	FirstName          string                `json:"first_name,omitempty"`
	LastName           string                `json:"last_name,omitempty"`
	IsActive           bool                  `json:"is_active"`
	IsStaff            bool                  `json:"is_staff"`
	Groups             []string              `json:"groups,omitempty"`
	DateJoined         *moment               `json:"date_joined,omitempty"`
	LastLogin          *moment               `json:"last_login,omitempty"`
	Fields             map[string]fieldValue `json:"fields,omitempty"`
	PasswordHash       string                `json:"password_hash,omitempty"`
	AwaitsVerification bool                  `json:"awaits_verification,omitempty"`
	AwaitsApproval     bool                  `json:"awaits_approval,omitempty"`
	EmailPending       bool                  `json:"email_pending,omitempty"`
	Reason             string                `json:"reason,omitempty"`
	Terms              string                `json:"terms,omitempty"`
	TermsAt            *moment               `json:"terms_at,omitempty"`
	EmailChanges       uint32                `json:"email_changes,omitempty"`
	Former             []formerLine          `json:"former_emails,omitempty"`
	FurtherEmails      []string              `json:"further_emails,omitempty"`
	AskedEmails        []askedLine           `json:"asked_emails,omitempty"`
	EmailsAsked        uint32                `json:"emails_asked,omitempty"`
	Language           string                `json:"language,omitempty"`
	BrowserLanguage    string                `json:"browser_language,omitempty"`
	NamesLeft          []moment              `json:"names_left,omitempty"`
	Generation         uint64                `json:"generation,omitempty"`
	SessionEpoch       uint32                `json:"session_epoch,omitempty"`
	TokenEpoch         uint32                `json:"token_epoch,omitempty"`
	WaitingFrom        *moment               `json:"waiting_from,omitempty"`
	WaitingSince       *moment               `json:"waiting_since,omitempty"`
	LeavesAt           *moment               `json:"leaves_at,omitempty"`
	UsedLinks          []base64Text          `json:"used_links,omitempty"`
	Unreachable        *unreachableLine      `json:"email_unreachable,omitempty"`
	UsedInvitation     *uuid.UUID            `json:"used_invitation,omitempty"`
	factorLines
	ProgramTokens []programLine `json:"program_tokens,omitempty"`
	Linked        []linkedLine  `json:"linked_accounts,omitempty"`
	FormerLinked  []linkedLine  `json:"former_linked_accounts,omitempty"`
}

type unreachableLine struct {
	Email string `json:"email"`
	Words string `json:"server_says"`
	Since moment `json:"since"`
}

type invitationLine struct {
	ID      uuid.UUID  `json:"id"`
	Hash    base64Text `json:"hash"`
	Email   string     `json:"email,omitempty"`
	Groups  []string   `json:"groups,omitempty"`
	Note    string     `json:"note,omitempty"`
	Created moment     `json:"created"`
	Expires moment     `json:"expires"`
	Uses    int        `json:"uses"`
	Used    int        `json:"used,omitempty"`
}

// leftNameLine is a name that an account has left, by its hash.
type leftNameLine struct {
	Hash  base64Text `json:"hash"`
	User  uuid.UUID  `json:"user"`
	Until moment     `json:"until"`
}

// A moment is a time to the second. It writes whatever time the store can keep.
type moment struct{ time.Time }

const momentForm = "2006-01-02T15:04:05Z"

// MarshalJSON implements json.Marshaler.
func (m moment) MarshalJSON() ([]byte, error) {
	return []byte(`"` + m.UTC().Format(momentForm) + `"`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(raw []byte) error {
	at, err := time.Parse(`"`+time.RFC3339+`"`, string(raw))
	if err != nil {
		return fmt.Errorf("%s is no time as 2026-11-27T12:00:00Z", shortened(string(raw)))
	}
	m.Time = at.UTC().Truncate(time.Second)
	return nil
}

// momentOf is nil for never.
func momentOf(at time.Time) *moment {
	if at.IsZero() {
		return nil
	}
	return &moment{at}
}

func (m *moment) time() time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.Time
}

type base64Text []byte

// MarshalJSON implements json.Marshaler.
func (b base64Text) MarshalJSON() ([]byte, error) {
	return []byte(`"` + base64.RawURLEncoding.EncodeToString(b) + `"`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *base64Text) UnmarshalJSON(raw []byte) (err error) {
	text := string(bytes.Trim(raw, `"`))
	if *b, err = base64.RawURLEncoding.Strict().DecodeString(text); err != nil || strings.ContainsAny(text, "\r\n") {
		return errors.New("a hash is no base64url")
	}
	return nil
}

// exactly copies b to a hash of that very length.
func (b base64Text) exactly(to []byte) error {
	if len(b) != len(to) {
		return fmt.Errorf("a hash has %d bytes instead of %d", len(b), len(to))
	}
	copy(to, b)
	return nil
}

// A fieldValue is a value of an added field, whose type stays: a float has a point or an
// exponent, an integer none.
type fieldValue struct{ any }

// MarshalJSON implements json.Marshaler.
func (v fieldValue) MarshalJSON() ([]byte, error) {
	switch v := v.any.(type) {
	case string:
		return plainJSON(clean(v))
	case float64:
		text := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(text, ".eE") {
			text += ".0"
		}
		return []byte(text), nil
	}
	return plainJSON(v.any)
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *fieldValue) UnmarshalJSON(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v.any); err != nil {
		return err
	}
	number, ok := v.any.(json.Number)
	if !ok {
		switch v.any.(type) {
		case nil, string, bool:
			return nil
		}
		return errors.New("a field is a list or an object")
	}
	var err error
	if strings.ContainsAny(number.String(), ".eE") {
		v.any, err = number.Float64()
	} else {
		v.any, err = number.Int64()
	}
	if err != nil {
		return fmt.Errorf("%s is no number that is kept", shortened(number.String()))
	}
	return nil
}

// plainJSON is JSON without a line's end, and with < and & as they are.
func plainJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// shortened is a text of a file in a message.
func shortened(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}

// lineOf is an account as the export has it. Without hashes, nothing is left in it that
// proves anything.
func lineOf(u *store.User, withHashes bool) *accountLine {
	l := &accountLine{
		ID: u.ID, Username: clean(u.Username), Email: clean(u.Email), EmailVerified: u.EmailVerified,
		FirstName: clean(u.FirstName), LastName: clean(u.LastName), IsActive: u.IsActive, IsStaff: u.IsStaff, Groups: u.Groups,
		DateJoined: momentOf(u.DateJoined), LastLogin: momentOf(u.LastLogin),
		AwaitsVerification: u.AwaitsVerification, AwaitsApproval: u.AwaitsApproval, EmailPending: u.EmailPending,
		Reason: clean(u.Reason), Terms: clean(u.Terms), TermsAt: momentOf(u.TermsAt),
		EmailChanges: u.EmailChanges, Generation: u.Generation, SessionEpoch: u.SessionEpoch, TokenEpoch: u.TokenEpoch,
		WaitingFrom: momentOf(u.WaitingFrom), WaitingSince: momentOf(u.WaitingSince), LeavesAt: momentOf(u.LeavesAt),
		Language: clean(u.Language), BrowserLanguage: clean(u.BrowserLanguage),
	}
	l.Linked, l.FormerLinked = linkedLinesOf(u)
	if withHashes {
		l.PasswordHash, l.factorLines, l.ProgramTokens = clean(u.PasswordHash), factorLinesOf(u), programLinesOf(u)
	}
	for name, v := range u.Extra {
		if l.Fields == nil {
			l.Fields = make(map[string]fieldValue, len(u.Extra))
		}
		l.Fields[clean(name)] = fieldValue{v}
	}
	l.addEmails(u)
	for _, at := range u.NamesLeft {
		l.NamesLeft = append(l.NamesLeft, moment{at})
	}
	for _, hash := range u.UsedLinks {
		l.UsedLinks = append(l.UsedLinks, hash[:])
	}
	if at := u.Unreachable; at != (store.Unreachable{}) {
		l.Unreachable = &unreachableLine{clean(at.Email), clean(at.Words), moment{at.Since}}
	}
	if u.Invitation != uuid.Nil {
		l.UsedInvitation = &u.Invitation
	}
	return l
}

// user is the account of a line.
func (l *accountLine) user() (*store.User, error) {
	u := &store.User{
		ID: l.ID, Username: l.Username, Email: l.Email, EmailVerified: l.EmailVerified,
		FirstName: l.FirstName, LastName: l.LastName, IsActive: l.IsActive, IsStaff: l.IsStaff, Groups: l.Groups,
		DateJoined: l.DateJoined.time(), LastLogin: l.LastLogin.time(), PasswordHash: l.PasswordHash,
		AwaitsVerification: l.AwaitsVerification, AwaitsApproval: l.AwaitsApproval, EmailPending: l.EmailPending,
		Reason: l.Reason, Terms: l.Terms, TermsAt: l.TermsAt.time(),
		EmailChanges: l.EmailChanges, Generation: l.Generation, SessionEpoch: l.SessionEpoch, TokenEpoch: l.TokenEpoch,
		WaitingFrom: l.WaitingFrom.time(), WaitingSince: l.WaitingSince.time(),
		LeavesAt: l.LeavesAt.time(), Language: l.Language, BrowserLanguage: l.BrowserLanguage,
	}
	if u.ID == uuid.Nil {
		return nil, errors.New("the account has no id")
	}
	for name, v := range l.Fields {
		if u.Extra == nil {
			u.Extra = make(map[string]any, len(l.Fields))
		}
		u.Extra[name] = v.any
	}
	l.emailsTo(u)
	for _, at := range l.NamesLeft {
		u.NamesLeft = append(u.NamesLeft, at.Time)
	}
	for _, hash := range l.UsedLinks {
		var used store.LinkHash
		if err := hash.exactly(used[:]); err != nil {
			return nil, err
		}
		u.UsedLinks = append(u.UsedLinks, used)
	}
	if at := l.Unreachable; at != nil {
		u.Unreachable = store.Unreachable{Email: at.Email, Words: at.Words, Since: at.Since.Time}
	}
	if l.UsedInvitation != nil {
		u.Invitation = *l.UsedInvitation
	}
	for i := range l.ProgramTokens {
		t, err := l.ProgramTokens[i].token()
		if err != nil {
			return nil, err
		}
		u.ProgramTokens = append(u.ProgramTokens, t)
	}
	for i := range l.Linked {
		u.LinkedAccounts = append(u.LinkedAccounts, l.Linked[i].linked())
	}
	for i := range l.FormerLinked {
		u.FormerLinked = append(u.FormerLinked, store.FormerLinked{LinkedAccount: l.FormerLinked[i].linked(), Until: l.FormerLinked[i].Until.time(), RemovedAt: l.FormerLinked[i].RemovedAt})
	}
	return u, l.addTo(u)
}

func invitationLineOf(i *store.Invitation) *invitationLine {
	return &invitationLine{
		ID: i.ID, Hash: i.Hash[:], Email: clean(i.Email), Groups: i.Groups, Note: clean(i.Note),
		Created: moment{i.Created}, Expires: moment{i.Expires}, Uses: i.Uses, Used: i.Used,
	}
}

func (l *invitationLine) invitation() (*store.Invitation, error) {
	i := &store.Invitation{
		ID: l.ID, Email: l.Email, Groups: l.Groups, Note: l.Note,
		Created: l.Created.Time, Expires: l.Expires.Time, Uses: l.Uses, Used: l.Used,
	}
	return i, l.Hash.exactly(i.Hash[:])
}

// readLine reads a line of an export, strictly: what it doesn't know it would lose.
func readLine(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the object")
	}
	return nil
}

// Bounds of what an account or an invitation has in a file, beyond what a realm makes: a
// file may be anybody's.
const (
	maxList  = 1000
	maxBytes = 64 << 10
)

// check refuses what no version would have kept. Else an account of our own export is
// taken as it is: what was once good, and stayed under newer rules, is good elsewhere too.
func check(u *store.User) *moving.Problem {
	for name, text := range map[string]string{field.Username: u.Username, field.Email: u.Email, field.FirstName: u.FirstName, field.LastName: u.LastName, "terms": u.Terms, field.Language: u.Language, "browser_language": u.BrowserLanguage} {
		if len(text) > 1000 || !harmless(text) {
			return wrong(name, "it is too long, or has characters that no account's has")
		}
	}
	if strings.ContainsAny(u.Username, " /,") {
		return wrong(field.Username, "a username has no space, slash or comma")
	}
	for name, v := range u.Extra {
		if text, ok := v.(string); ok && (len(text) > maxBytes || !harmless(text)) || len(name) > 100 || !harmless(name) {
			return wrong(name, "it is too long, or has characters that no field has")
		}
	}
	if len(u.Reason) > maxBytes || len(u.Unreachable.Words) > maxBytes || len(u.Unreachable.Email) > 1000 {
		return wrong("", "it has a text that is longer than any that is kept")
	}
	return checkLists(u)
}

// wrong is what keeps an account of an export out.
func wrong(field, format string, args ...any) *moving.Problem {
	return &moving.Problem{Field: field, Code: moving.CodeSyntax, Message: fmt.Sprintf(format, args...)}
}

// checkLists is check of what an account has several of.
func checkLists(u *store.User) *moving.Problem {
	for name, n := range map[string]int{
		"fields": len(u.Extra), "groups": len(u.Groups), "former_emails": len(u.Former), "names_left": len(u.NamesLeft), "used_links": len(u.UsedLinks),
		"factors": len(u.Factors) + len(u.FormerFactors), "recovery_codes": len(u.RecoveryCodes), "factor_failures": len(u.FactorFailures),
		"former_passwords": len(u.FormerPasswords), "further_emails": len(u.FurtherEmails), "asked_emails": len(u.AskedEmails),
		"trusted_devices": len(u.TrustedDevices), "known_devices": len(u.KnownDevices), "program_tokens": len(u.ProgramTokens),
		"linked_accounts": len(u.LinkedAccounts) + len(u.FormerLinked),
	} {
		if n > maxList {
			return wrong(name, "it has %d entries, and at most %d are kept", n, maxList)
		}
	}
	if problem := checkEmails(u); problem != nil {
		return problem
	}
	if slices.ContainsFunc(u.TrustedDevices, func(d store.TrustedDevice) bool { return len(d.UserAgent) > maxBytes }) {
		return wrong("trusted_devices", "a browser has a longer name than any that is kept")
	}
	factors := slices.Clone(u.Factors)
	for _, f := range u.FormerFactors {
		factors = append(factors, f.Factor)
	}
	if slices.ContainsFunc(factors, func(f store.Factor) bool { return len(f.Transports) > maxList }) {
		return wrong("factors", "a factor has more transports than there are")
	}
	for _, p := range u.FormerPasswords {
		if problem := checkHash(p.Hash); problem != nil {
			return problem
		}
	}
	for i := range u.ProgramTokens {
		t := &u.ProgramTokens[i]
		if clean, ok := token.Limit(t.Path); t.Path != "" && (!ok || clean != t.Path) || len(t.Groups) > maxList || len(t.Name) > 1000 || !harmless(t.Name) {
			return wrong("program_tokens", "a token for programs is limited to what no such token is, or has a name that none has")
		}
	}
	if problem := checkLinked(u); problem != nil {
		return problem
	}
	return checkHash(u.PasswordHash)
}

// checkLinked is check of the accounts elsewhere.
func checkLinked(u *store.User) *moving.Problem {
	linked := slices.Clone(u.LinkedAccounts)
	for _, l := range u.FormerLinked {
		linked = append(linked, l.LinkedAccount)
	}
	for _, l := range linked {
		if l.Issuer == "" || l.Subject == "" || len(l.Issuer)+len(l.Subject)+len(l.Name) > 3000 || strings.Contains(l.Issuer, "\x00") || !harmless(l.Name) {
			return wrong("linked_accounts", "an account elsewhere says nothing of whose it is, or is longer than any that is kept")
		}
	}
	return nil
}

func checkHash(hash string) *moving.Problem {
	if hash == "" {
		return nil
	}
	switch err := password.Check(hash); {
	case errors.Is(err, password.ErrCost):
		return &moving.Problem{Field: "password_hash", Code: moving.CodeCost, Message: err.Error() + "; remove it, and the account comes without a password"}
	case err != nil:
		return &moving.Problem{Field: "password_hash", Code: moving.CodeHash, Message: err.Error() + "; remove it, and the account comes without a password"}
	}
	return nil
}

// harmless reports whether a text has nothing that a terminal, a header or a log obeys.
func harmless(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	})
}
