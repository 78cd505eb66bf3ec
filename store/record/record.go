// Package record is how the stores write what is kept of an account, a session, a message or an
// invitation: one byte of format version, then CBOR with small integers as keys. All of it
// may be used by several goroutines.
package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// The format versions of the records. A change that an older plugin would
// misread raises the number and teaches the decoder both.
const (
	userFormat    = 1
	userStep      = 2 // of an account with a second step, which an older plugin would not ask for
	userSeveral   = 3 // of an account with several addresses, which an older plugin would lose
	sessionFormat = 1
	mailFormat    = 1
	auditFormat   = 1
)

// maxRecord bounds a record, in bytes.
const maxRecord = 8 << 20

// ErrDamaged says that two buckets contradict each other or that a record
// cannot be read.
var ErrDamaged = errors.New("the account store is damaged; restore its file from a backup")

// recordDecoder keeps strings that are not UTF-8 (a User-Agent may be
// anything) and gives the integers of User.Extra as int64.
var recordDecoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		UTF8:   cbor.UTF8DecodeInvalid,
		IntDec: cbor.IntDecConvertSignedOrBigInt,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

// userRecord is a User without its id, which is the record's key.
type userRecord struct {
	briefRecord
	// Step is a stepRecord as one string: who reads the rest passes it by in one step.
	Step []byte `cbor:"44,keyasint,omitempty"`
	// Known is a list of knownRecord.
	Known []knownRecord `cbor:"48,keyasint,omitempty"`
	// Once it was part of the record.
	stepRecord
}

// briefRecord is what is read of an account for who is not signed in. The flags take one
// byte together. The password hash is in shorthand.
type briefRecord struct {
	Username     string         `cbor:"1,keyasint,omitempty"`
	Email        string         `cbor:"2,keyasint,omitempty"`
	FirstName    string         `cbor:"3,keyasint,omitempty"`
	LastName     string         `cbor:"4,keyasint,omitempty"`
	PasswordHash string         `cbor:"5,keyasint,omitempty"`
	Flags        uint8          `cbor:"6,keyasint,omitempty"`
	Groups       []string       `cbor:"7,keyasint,omitempty"`
	DateJoined   *int64         `cbor:"8,keyasint,omitempty"` // unix seconds
	LastLogin    *int64         `cbor:"9,keyasint,omitempty"` // unix seconds
	Extra        map[string]any `cbor:"10,keyasint,omitempty"`
	// Keys are the unique keys, field and value in turn, so that the next
	// PutUser knows which ones to free. The two usual ones are flags.
	Keys         []string `cbor:"11,keyasint,omitempty"`
	EmailChanges uint32   `cbor:"12,keyasint,omitempty"`
	// Former is there for some days after a change of the address.
	Former     []formerRecord `cbor:"13,keyasint,omitempty"`
	Generation uint64         `cbor:"17,keyasint,omitempty"`
	NamesLeft  []int64        `cbor:"21,keyasint,omitempty"` // unix seconds
	// Unproven are the serials of the former addresses that were never confirmed.
	Unproven     []uint32 `cbor:"25,keyasint,omitempty"`
	SessionEpoch uint32   `cbor:"23,keyasint,omitempty"`
	TokenEpoch   uint32   `cbor:"24,keyasint,omitempty"`
	WaitingFrom  *int64   `cbor:"19,keyasint,omitempty"` // unix seconds
	WaitingSince *int64   `cbor:"20,keyasint,omitempty"` // unix seconds
	UsedLinks    []byte   `cbor:"26,keyasint,omitempty"` // one after the other
	// An older plugin takes an account that awaits its approval for a disabled one.
	AwaitsApproval bool               `cbor:"27,keyasint,omitempty"`
	Reason         string             `cbor:"28,keyasint,omitempty"`
	Terms          string             `cbor:"29,keyasint,omitempty"`
	TermsAt        *int64             `cbor:"30,keyasint,omitempty"` // unix seconds
	Unreachable    *unreachableRecord `cbor:"31,keyasint,omitempty"`
	Invitation     []byte             `cbor:"32,keyasint,omitempty"`
	Passwords      []passwordRecord   `cbor:"38,keyasint,omitempty"`
	PasswordSince  *int64             `cbor:"39,keyasint,omitempty"` // unix seconds
	// An older plugin takes an account that its owner has closed for a disabled one.
	LeavesAt *int64          `cbor:"40,keyasint,omitempty"` // unix seconds
	LeavesBy *int64          `cbor:"41,keyasint,omitempty"` // unix seconds
	Programs []programRecord `cbor:"43,keyasint,omitempty"`
	Linked   []linkedRecord  `cbor:"50,keyasint,omitempty"`
	Language string          `cbor:"52,keyasint,omitempty"`
	Browser  string          `cbor:"53,keyasint,omitempty"`
	emailsRecord
}

type unreachableRecord struct {
	_     struct{} `cbor:",toarray"`
	Email string
	Words string
	Since int64 // unix seconds
}

// passwordRecord is a password that the account had. The hash is in shorthand.
type passwordRecord struct {
	_     struct{} `cbor:",toarray"`
	Hash  string
	Since *int64 // unix seconds
	Until int64  // unix seconds
}

type formerRecord struct {
	_      struct{} `cbor:",toarray"`
	Email  string
	Serial uint32
	Until  int64 // unix seconds
}

const (
	flagActive = 1 << iota
	flagAwaitsVerification
	flagEmailVerified
	flagStaff
	flagUsernameKey // holds {"username", LowerASCII(Username)}
	flagEmailKey    // holds {"email", LowerASCII(Email)}
	flagEmailPending
	flagWaitingKey // holds {"waiting", LowerASCII(Email)}
)

// usualKeys are the keys that nearly every account has; a flag stands for them
// where their value follows from the record.
var usualKeys = []struct {
	flag  uint8
	Field string
	value func(*briefRecord) string
}{
	{flagUsernameKey, "username", func(r *briefRecord) string { return LowerASCII(r.Username) }},
	{flagEmailKey, "email", func(r *briefRecord) string { return LowerASCII(r.Email) }},
	{flagWaitingKey, store.WaitingKey, func(r *briefRecord) string { return LowerASCII(r.Email) }},
}

type sessionRecord struct {
	User      uuid.UUID         `cbor:"1,keyasint"`
	Kind      store.SessionKind `cbor:"2,keyasint,omitempty"`
	Created   *int64            `cbor:"3,keyasint,omitempty"` // unix seconds
	LastUsed  *int64            `cbor:"4,keyasint,omitempty"` // unix seconds
	Expires   *int64            `cbor:"5,keyasint,omitempty"` // unix seconds
	Address   string            `cbor:"6,keyasint,omitempty"`
	UserAgent string            `cbor:"7,keyasint,omitempty"` // in shorthand
	Refresh   []byte            `cbor:"8,keyasint,omitempty"`
	Previous  []byte            `cbor:"9,keyasint,omitempty"`
	Rotated   *int64            `cbor:"10,keyasint,omitempty"` // unix seconds
	Epoch     uint32            `cbor:"11,keyasint,omitempty"`
	// AMR and AuthTime are left out where they are what Methods and ShownAt give without
	// them: each sign-in reads the other sessions of its account.
	AMR      []string `cbor:"12,keyasint,omitempty"`
	AuthTime *int64   `cbor:"13,keyasint,omitempty"` // unix seconds
	SignIn   []byte   `cbor:"14,keyasint,omitempty"`
}

type mailRecord struct {
	MessageID  string         `cbor:"1,keyasint,omitempty"`
	Kind       store.MailKind `cbor:"2,keyasint"`
	To         string         `cbor:"3,keyasint"`
	User       uuid.UUID      `cbor:"4,keyasint"`
	State      []byte         `cbor:"5,keyasint,omitempty"`
	Language   string         `cbor:"6,keyasint,omitempty"`
	Queued     *int64         `cbor:"7,keyasint,omitempty"` // unix milliseconds
	Due        *int64         `cbor:"8,keyasint,omitempty"` // unix milliseconds
	Attempts   int            `cbor:"9,keyasint,omitempty"`
	Next       string         `cbor:"10,keyasint,omitempty"`
	Tried      int64          `cbor:"11,keyasint,omitempty"` // milliseconds
	Waiting    []byte         `cbor:"16,keyasint,omitempty"`
	Invitation []byte         `cbor:"17,keyasint,omitempty"`
	Words      string         `cbor:"18,keyasint,omitempty"`
	Failed     string         `cbor:"19,keyasint,omitempty"`
	Factor     []byte         `cbor:"20,keyasint,omitempty"`
	Browser    []byte         `cbor:"21,keyasint,omitempty"`
	Device     string         `cbor:"22,keyasint,omitempty"`
	Address    string         `cbor:"23,keyasint,omitempty"`
}

// EncodeUser is the record of an account and of the keys by which it is found.
func EncodeUser(u *store.User, keys []store.Key) ([]byte, error) {
	if u.Brief() {
		return nil, store.ErrBrief
	}
	r := userRecord{briefRecord: briefRecord{
		Username: u.Username, Email: u.Email, FirstName: u.FirstName, LastName: u.LastName,
		PasswordHash: ToShorthand(u.PasswordHash), Groups: u.Groups, Extra: u.Extra,
		DateJoined: UnixSeconds(u.DateJoined), LastLogin: UnixSeconds(u.LastLogin), EmailChanges: u.EmailChanges, Generation: u.Generation,
		SessionEpoch: u.SessionEpoch, TokenEpoch: u.TokenEpoch,
		WaitingFrom: UnixSeconds(u.WaitingFrom), WaitingSince: UnixSeconds(u.WaitingSince),
		AwaitsApproval: u.AwaitsApproval, Reason: u.Reason, Terms: u.Terms, TermsAt: UnixSeconds(u.TermsAt),
		PasswordSince: UnixSeconds(u.PasswordSince),
		LeavesAt:      UnixSeconds(u.LeavesAt), LeavesBy: UnixSeconds(u.LeavesBy), Language: u.Language, Browser: u.BrowserLanguage,
	}}
	for _, p := range u.FormerPasswords {
		r.Passwords = append(r.Passwords, passwordRecord{Hash: ToShorthand(p.Hash), Since: UnixSeconds(p.Since), Until: p.Until.Unix()})
	}
	r.Invitation = idBytes(u.Invitation)
	format, step, err := encodeStep(u)
	if err != nil {
		return nil, err
	}
	r.Step = step
	r.addKnown(u)
	r.addPrograms(u)
	r.addLinked(u)
	if r.addEmails(u); r.several() {
		format = userSeveral
	}
	for _, used := range u.UsedLinks {
		r.UsedLinks = append(r.UsedLinks, used[:]...)
	}
	if at := u.Unreachable; at != (store.Unreachable{}) {
		r.Unreachable = &unreachableRecord{Email: at.Email, Words: at.Words, Since: at.Since.Unix()}
	}
	for _, at := range u.NamesLeft {
		r.NamesLeft = append(r.NamesLeft, at.Unix())
	}
	for _, f := range u.Former {
		r.Former = append(r.Former, formerRecord{Email: f.Email, Serial: f.Serial, Until: f.Until.Unix()})
		if f.Unproven {
			r.Unproven = append(r.Unproven, f.Serial)
		}
	}
	for flag, on := range map[uint8]bool{
		flagActive: u.IsActive, flagAwaitsVerification: u.AwaitsVerification,
		flagEmailVerified: u.EmailVerified, flagStaff: u.IsStaff, flagEmailPending: u.EmailPending,
	} {
		if on {
			r.Flags |= flag
		}
	}
nextKey:
	for _, k := range keys {
		for _, usual := range usualKeys {
			if k.Field == usual.Field && k.Value == usual.value(&r.briefRecord) {
				r.Flags |= usual.flag
				continue nextKey
			}
		}
		r.Keys = append(r.Keys, k.Field, k.Value)
	}
	return encodeRecord(format, &r)
}

// Nobody is an ordinary account's record, decoded where there is no account:
// the time of an answer must not tell.
var Nobody = func() []byte {
	data, err := EncodeUser(&store.User{ //nolint:gosec // the hash is of no password
		Username: "nobody", Email: "nobody@example.com", IsActive: true, EmailVerified: true, DateJoined: time.Unix(1_800_000_000, 0), LastLogin: time.Unix(1_800_000_000, 0),
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	}, []store.Key{{Field: "username", Value: "nobody"}, {Field: "email", Value: "nobody@example.com"}})
	if err != nil {
		panic(err)
	}
	return data
}()

// DecodeUser is the account of a record, and its keys. The id is that of the row. The
// error wraps ErrDamaged or store.ErrNewerSchema.
func DecodeUser(id uuid.UUID, data []byte) (*store.User, []store.Key, error) {
	var r userRecord
	if err := decodeRecord("user", userSeveral, data, &r); err != nil {
		return nil, nil, err
	}
	if r.Step != nil {
		if err := recordDecoder.Unmarshal(r.Step, &r.stepRecord); err != nil {
			return nil, nil, fmt.Errorf("second step of a user record: %w: %w", ErrDamaged, err)
		}
	}
	u, keys, err := r.user(id)
	if err == nil {
		r.readStep(u)
		r.readKnown(u)
	}
	return u, keys, err
}

func (r *briefRecord) user(id uuid.UUID) (*store.User, []store.Key, error) {
	if len(r.Keys)%2 != 0 {
		return nil, nil, fmt.Errorf("user record with half a key: %w", ErrDamaged)
	}
	keys := make([]store.Key, 0, len(r.Keys)/2+len(usualKeys))
	for _, usual := range usualKeys {
		if r.Flags&usual.flag != 0 {
			keys = append(keys, store.Key{Field: usual.Field, Value: usual.value(r)})
		}
	}
	for i := 0; i < len(r.Keys); i += 2 {
		keys = append(keys, store.Key{Field: r.Keys[i], Value: r.Keys[i+1]})
	}
	var used []store.LinkHash
	for chunk := range slices.Chunk(r.UsedLinks, len(store.LinkHash{})) {
		if len(chunk) == len(store.LinkHash{}) {
			used = append(used, store.LinkHash(chunk))
		}
	}
	var namesLeft []time.Time
	for _, at := range r.NamesLeft {
		namesLeft = append(namesLeft, time.Unix(at, 0).UTC())
	}
	var former []store.FormerEmail
	for _, f := range r.Former {
		former = append(former, store.FormerEmail{
			Email: f.Email, Serial: f.Serial, Until: time.Unix(f.Until, 0).UTC(), Unproven: slices.Contains(r.Unproven, f.Serial),
		})
	}
	var unreachable store.Unreachable
	if at := r.Unreachable; at != nil {
		unreachable = store.Unreachable{Email: at.Email, Words: at.Words, Since: time.Unix(at.Since, 0).UTC()}
	}
	u := &store.User{
		Unreachable: unreachable, Invitation: fromIDBytes(r.Invitation),
		ID: id, Former: former, NamesLeft: namesLeft, UsedLinks: used, Username: r.Username, Email: r.Email, FirstName: r.FirstName, LastName: r.LastName,
		PasswordHash: FromShorthand(r.PasswordHash), Groups: r.Groups, Extra: r.Extra,
		IsActive: r.Flags&flagActive != 0, AwaitsVerification: r.Flags&flagAwaitsVerification != 0,
		EmailVerified: r.Flags&flagEmailVerified != 0, IsStaff: r.Flags&flagStaff != 0,
		DateJoined: fromUnixSeconds(r.DateJoined), LastLogin: fromUnixSeconds(r.LastLogin), EmailChanges: r.EmailChanges, Generation: r.Generation,
		SessionEpoch: r.SessionEpoch, TokenEpoch: r.TokenEpoch,
		EmailPending: r.Flags&flagEmailPending != 0, WaitingFrom: fromUnixSeconds(r.WaitingFrom), WaitingSince: fromUnixSeconds(r.WaitingSince),
		AwaitsApproval: r.AwaitsApproval, Reason: r.Reason, Terms: r.Terms, TermsAt: fromUnixSeconds(r.TermsAt),
		PasswordSince: fromUnixSeconds(r.PasswordSince),
		LeavesAt:      fromUnixSeconds(r.LeavesAt), LeavesBy: fromUnixSeconds(r.LeavesBy), Language: r.Language, BrowserLanguage: r.Browser,
	}
	for _, p := range r.Passwords {
		u.FormerPasswords = append(u.FormerPasswords, store.FormerPassword{Hash: FromShorthand(p.Hash), Since: fromUnixSeconds(p.Since), Until: time.Unix(p.Until, 0).UTC()})
	}
	r.readPrograms(u)
	r.readLinked(u)
	r.readEmails(u)
	return u, keys, nil
}

// EncodeSession is the record of a session or token.
func EncodeSession(s *store.Session) ([]byte, error) {
	r := &sessionRecord{
		User: s.User, Kind: s.Kind, Address: s.Address, UserAgent: ToShorthand(s.UserAgent),
		Created: UnixSeconds(s.Created), LastUsed: UnixSeconds(s.LastUsed), Expires: UnixSeconds(s.Expires),
		Refresh: hashBytes(s.Refresh), Previous: hashBytes(s.Previous), Rotated: UnixSeconds(s.Rotated), Epoch: s.Epoch, SignIn: idBytes(s.SignIn),
	}
	if usual := new(store.Session).Methods(); !slices.Equal(s.Methods(), usual) {
		r.AMR = s.AMR
	}
	if shown := s.ShownAt(); shown.Unix() != s.Created.Unix() {
		r.AuthTime = UnixSeconds(shown)
	}
	return encodeRecord(sessionFormat, r)
}

// DecodeSession is the session of a record. The hash is that of the row.
func DecodeSession(hash store.TokenHash, data []byte) (*store.Session, error) {
	var r sessionRecord
	if err := decodeRecord("session", sessionFormat, data, &r); err != nil {
		return nil, err
	}
	s := &store.Session{
		Hash: hash, User: r.User, Kind: r.Kind, Address: r.Address, UserAgent: FromShorthand(r.UserAgent),
		Created: fromUnixSeconds(r.Created), LastUsed: fromUnixSeconds(r.LastUsed), Expires: fromUnixSeconds(r.Expires),
		Refresh: fromHashBytes(r.Refresh), Previous: fromHashBytes(r.Previous), Rotated: fromUnixSeconds(r.Rotated), Epoch: r.Epoch,
		AMR: r.AMR, AuthTime: fromUnixSeconds(r.AuthTime), SignIn: fromIDBytes(r.SignIn),
	}
	s.AMR, s.AuthTime = s.Methods(), s.ShownAt()
	return s, nil
}

// hashBytes is nil for no hash, so that the record leaves the field out.
func hashBytes(h store.TokenHash) []byte {
	if h == (store.TokenHash{}) {
		return nil
	}
	return h[:]
}

// fromHashBytes gives the zero hash, which no token has, for what is none.
func fromHashBytes(b []byte) (h store.TokenHash) {
	if len(b) == len(h) {
		copy(h[:], b)
	}
	return h
}

// idBytes is nil for no id, so that the record leaves the field out.
func idBytes(id uuid.UUID) []byte {
	if id == uuid.Nil {
		return nil
	}
	return id[:]
}

// fromIDBytes gives the zero id for what is none.
func fromIDBytes(b []byte) (id uuid.UUID) {
	if len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}

// EncodeMail is the record of a message of the queue.
func EncodeMail(m *store.Mail) ([]byte, error) {
	return encodeRecord(mailFormat, &mailRecord{
		MessageID: m.MessageID, Kind: m.Kind, To: m.To, User: m.User, State: m.State,
		Language: m.Language, Attempts: m.Attempts, Next: m.Next, Waiting: idBytes(m.Waiting), Invitation: idBytes(m.Invitation), Factor: idBytes(m.Factor), Browser: m.Browser, Device: m.Device, Address: m.Address, Words: m.Words, Failed: m.Failed, Queued: millis(m.Queued), Due: millis(m.Due),
		Tried: m.Tried.Milliseconds(),
	})
}

// DecodeMail is the message of a record. The number is that of the row.
func DecodeMail(seq uint64, data []byte) (*store.Mail, error) {
	var r mailRecord
	if err := decodeRecord("mail", mailFormat, data, &r); err != nil {
		return nil, err
	}
	return &store.Mail{
		Waiting: fromIDBytes(r.Waiting), Invitation: fromIDBytes(r.Invitation), Factor: fromIDBytes(r.Factor), Browser: r.Browser, Device: r.Device, Address: r.Address, Words: r.Words, Failed: r.Failed, Seq: seq, MessageID: r.MessageID, Kind: r.Kind, To: r.To, User: r.User, State: r.State,
		Language: r.Language, Attempts: r.Attempts, Next: r.Next, Queued: fromMillis(r.Queued), Due: fromMillis(r.Due),
		Tried: time.Duration(r.Tried) * time.Millisecond,
	}, nil
}

func encodeRecord(format byte, record any) ([]byte, error) {
	body, err := cbor.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	// The decoder has bounds that the encoder has not: what is written has to be
	// read again.
	if len(body) > maxRecord {
		return nil, fmt.Errorf("%w: %d bytes", store.ErrTooLarge, len(body))
	}
	if err := recordDecoder.Wellformed(body); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrTooLarge, err)
	}
	return append([]byte{format}, body...), nil
}

func decodeRecord(kind string, format byte, data []byte, into any) error {
	body, err := Body(kind, format, data)
	if err != nil {
		return err
	}
	if err := recordDecoder.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s record: %w: %w", kind, ErrDamaged, err)
	}
	return nil
}

// Body checks the format byte and returns what is behind it.
func Body(kind string, format byte, data []byte) ([]byte, error) {
	switch {
	case len(data) == 0 || data[0] == 0:
		return nil, fmt.Errorf("%s record without a format: %w", kind, ErrDamaged)
	case data[0] > format:
		return nil, fmt.Errorf("%s record has format %d, this plugin knows up to %d: %w",
			kind, data[0], format, store.ErrNewerSchema)
	}
	return data[1:], nil
}

// LowerASCII folds A to Z only. Unlike strings.ToLower it gives the same for
// ever, whatever the Unicode tables of a later Go say.
func LowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
