// settings_password.go: how passwords are hashed and which are refused.

package registration

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/breach"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/store"
)

// PasswordSettings configures hashing and the validators.
type PasswordSettings struct {
	// Argon2id. Default: 19 MiB, 2 passes, 1 lane.
	Argon2id *Argon2idSettings `json:"argon2id,omitempty"`
	// The smallest number of characters. Default: 8.
	MinLength int `json:"min_length,omitempty"`
	// Refuses passwords of digits only. Default: true.
	Numeric *bool `json:"numeric,omitempty"`
	// Refuses the 20 000 most common passwords. Default: true.
	Common *bool `json:"common,omitempty"`
	// Refuses passwords similar to the account's own fields. Default: true.
	Similar *bool `json:"similar,omitempty"`
	// Refuses passwords that are known from breaches of other sites. Default: none is
	// looked up.
	Breached *BreachedSettings `json:"breached,omitempty"`
	// Rules of the site's own, which are asked about a password that nothing else refuses,
	// all of them. Default: none.
	ValidatorsRaw []json.RawMessage `json:"validators,omitempty" caddy:"namespace=http.registration.password_validators inline_key=module"`
}

// A PasswordValidator is a rule of the site's own for new passwords: what a guest module in
// the namespace `http.registration.password_validators` implements. In a Caddyfile it
// stands as `password { validator <name> … }` and reads the rest as a caddyfile.Unmarshaler.
type PasswordValidator interface {
	// ValidatePassword judges a password that somebody wants from now on: at a sign-up (by
	// invitation too), at a change, a reset and the first one by link, and where an
	// administrator sets it; never at a sign-in or an import. nil lets it be, a
	// *PasswordRefusedError (wrapped or not) refuses it. Any other error, a panic, and an answer
	// that takes longer than five seconds mean that it could not be judged: the password is
	// not taken then, and the person gets 503. It is called outside of transactions, by
	// many goroutines at once, and should return when ctx ends. It must not log or keep
	// the password.
	ValidatePassword(ctx context.Context, p *NewPassword) error
}

// A NewPassword is what a PasswordValidator judges.
type NewPassword struct {
	// Password as it will be hashed: in Unicode's NFC, at most 4096 bytes.
	Password string
	// Realm is which accounts it is for.
	Realm string
	// Username and Email are the account's, "" where it has none yet. At a sign-up they are
	// what the form says.
	Username, Email string
	// Values are all texts of the account that a person has written, these two among them.
	Values []string
}

// A PasswordRefusedError is the error by which a PasswordValidator refuses a password.
type PasswordRefusedError struct {
	// Message is what the person reads, in whatever language: one line of up to 500 bytes;
	// "": that the site doesn't take this one, in the person's language.
	Message string
}

// Error implements error.
func (e *PasswordRefusedError) Error() string {
	return "the password is refused: " + cmp.Or(e.Message, "without a message")
}

// Bounds of what rules of the site's own may cost.
const (
	maxPasswordValidators = 10
	// validatorPatience is how long a password waits for all of them together.
	validatorPatience = 5 * time.Second
	// maxValidating bounds the passwords of a realm that wait for that.
	maxValidating = 64
)

// passwordRules are the site's own rules of a realm. They are safe for concurrent use.
type passwordRules struct {
	realm    string
	names    []string // of the modules, for the log
	rules    []PasswordValidator
	running  chan struct{} // has a place for each password that is being judged
	patience time.Duration
	logger   *zap.Logger
}

// loadPasswordRules loads the guest modules; nil: there are none.
func (s *PasswordSettings) loadPasswordRules(ctx caddy.Context, realm string, logger *zap.Logger) (*passwordRules, error) {
	if len(s.ValidatorsRaw) == 0 {
		return nil, nil
	}
	loaded, err := ctx.LoadModule(s, "ValidatorsRaw")
	if err != nil {
		return nil, setting.Errorf("password.validators", "%v", err)
	}
	p := &passwordRules{realm: realm, running: make(chan struct{}, maxValidating), patience: validatorPatience, logger: logger}
	for _, mod := range loaded.([]any) {
		rule, ok := mod.(PasswordValidator)
		if !ok {
			return nil, setting.Errorf("password.validators", "%T is no validator of passwords", mod)
		}
		p.rules, p.names = append(p.rules, rule), append(p.names, mod.(caddy.Module).CaddyModule().ID.Name())
	}
	return p, nil
}

// check asks all rules, and returns what those that refuse the password say. Where one
// can't be asked the password isn't taken.
func (p *passwordRules) check(ctx context.Context, pass string, u *store.User, own []string) (refused []string, err error) {
	select {
	case p.running <- struct{}{}:
	default:
		return nil, refusal.Unavailable(errors.New("the validators of passwords are busy with too many passwords"))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.patience, errors.New("it takes too long"))
	defer cancel()
	type answer struct {
		refused []string
		err     error
	}
	done := make(chan answer, 1)
	candidate := NewPassword{Password: pass, Realm: p.realm, Username: u.Username, Email: u.Email}
	go func() {
		defer func() { <-p.running }()
		var a answer
		for i, rule := range p.rules {
			it := candidate // no rule changes what the next one sees
			it.Values = slices.DeleteFunc(slices.Clone(own), func(v string) bool { return v == "" })
			said := p.ask(ctx, p.names[i], rule, &it)
			if no := (*PasswordRefusedError)(nil); errors.As(said, &no) {
				a.refused = append(a.refused, guestWords(no.Message))
			} else if said != nil {
				a.err = fmt.Errorf("validator %s: %w", p.names[i], said)
				break
			}
		}
		done <- a
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return nil, refusal.Unavailable(a.err)
		}
		return a.refused, nil
	case <-ctx.Done():
		return nil, refusal.Unavailable(fmt.Errorf("the validators of passwords: %w", context.Cause(ctx)))
	}
}

// ask asks one rule. Of what it panics with nothing is said: the password may be in it.
func (p *passwordRules) ask(ctx context.Context, name string, rule PasswordValidator, it *NewPassword) (err error) {
	defer func() {
		if recover() != nil {
			p.logger.Error("a validator of passwords panicked", zap.String("validator", name), zap.String("realm", p.realm), zap.Stack("stack"))
			err = errors.New("it panicked")
		}
	}()
	return rule.ValidatePassword(ctx, it)
}

// validatorOption reads `validator <name> …`, which may stand more than once.
func validatorOption(to *[]json.RawMessage) option {
	return func(p *parser, name string) error {
		var one json.RawMessage
		if err := moduleOption("http.registration.password_validators", &one, "words acme anvil")(p, name); err != nil {
			return err
		}
		*to = append(*to, one)
		return nil
	}
}

func init() { caddy.RegisterModule(new(WordsValidator)) }

// WordsValidator refuses passwords that have a word of the site's own in them, such as its
// name: whoever guesses begins with those.
type WordsValidator struct {
	// The words, of at least three characters; upper and lower case are alike.
	Words []string `json:"words,omitempty"`

	words []string
}

// CaddyModule returns the Caddy module information.
func (*WordsValidator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.password_validators.words", New: func() caddy.Module { return new(WordsValidator) }}
}

// UnmarshalCaddyfile sets up the validator from its line, which is:
//
//	validator words <word>…
func (v *WordsValidator) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	v.Words = d.RemainingArgs()
	if len(v.Words) == 0 || d.NextBlock(d.Nesting()) {
		return d.Errf("validator words takes words and no block; write for example: validator words acme anvil")
	}
	return nil
}

// Provision checks the words.
func (v *WordsValidator) Provision(caddy.Context) error {
	if len(v.Words) == 0 {
		return errors.New("words: there are none; write for example: validator words acme anvil")
	}
	for _, word := range v.Words {
		word = strings.ToLower(password.Normal(word))
		if utf8.RuneCountInString(word) < 3 {
			return fmt.Errorf("words: %q is too short, and would refuse too much; write words of three characters or more", word)
		}
		v.words = append(v.words, word)
	}
	return nil
}

// ValidatePassword implements PasswordValidator.
func (v *WordsValidator) ValidatePassword(_ context.Context, p *NewPassword) error {
	low := strings.ToLower(p.Password)
	if slices.ContainsFunc(v.words, func(word string) bool { return strings.Contains(low, word) }) {
		return new(PasswordRefusedError)
	}
	return nil
}

// Argon2idSettings is the cost of one password hash.
type Argon2idSettings struct {
	// In KiB.
	Memory uint32 `json:"memory"`
	// The number of passes over the memory.
	Passes uint32 `json:"passes"`
	// The degree of parallelism.
	Lanes uint8 `json:"lanes"`
}

// BreachedSettings say where it is looked up which passwords are known from breaches:
// when one is set, never at a sign-in. One of `file` and `online`.
type BreachedSettings struct {
	// A file on this machine, sorted: one line a password, `HASH:COUNT` with its SHA-1 in
	// hexadecimal, as the list of Have I Been Pwned is. It is searched where it lies,
	// without memory; one that replaces it counts from the next reload on. Placeholders
	// are replaced when the configuration loads.
	File string `json:"file,omitempty"`
	// Asks a service, which is told five of the 40 digits of the SHA-1. What it doesn't
	// answer in a second is not refused. Default: false.
	Online bool `json:"online,omitempty"`
	// The service: what the five digits follow. Placeholders are replaced when the
	// configuration loads. Default: `https://api.pwnedpasswords.com/range/`.
	URL string `json:"url,omitempty"`
}

var defaultHashParams = password.DefaultParams

func (s *PasswordSettings) setDefaults() {
	if s.Argon2id == nil {
		p := defaultHashParams
		s.Argon2id = &Argon2idSettings{Memory: p.Memory, Passes: p.Passes, Lanes: p.Lanes}
	}
	setDefault(&s.MinLength, 8)
	setSwitch(&s.Numeric, true)
	setSwitch(&s.Common, true)
	setSwitch(&s.Similar, true)
}

// check finds what is wrong with where breached passwords are looked up.
func (s *BreachedSettings) check(bad badFunc) {
	switch {
	case s == nil:
	case s.File == "" && !s.Online:
		bad("password.breached", "names neither a file nor online; write for example: breached /var/lib/pwned-passwords.txt")
	case s.File != "" && (s.Online || s.URL != ""):
		bad("password.breached", "names a file and online; keep one of them")
	case s.URL != "" && !hasPlaceholder(s.URL):
		if err := checkHTTPURL(s.URL, false); err != nil {
			bad("password.breached", "%v", err)
		}
	}
}

// resolved is it without its placeholders; what was configured stays as it is.
func (s *BreachedSettings) resolved(replace func(setting, value string) string) *BreachedSettings {
	if s == nil {
		return nil
	}
	out := *s
	out.File, out.URL = replace("password.breached", s.File), replace("password.breached", s.URL)
	return &out
}

// warnOfListEvery is how often the log says at most that the list can't be used.
const warnOfListEvery = time.Minute

// openBreached gives the rules the list of breached passwords. One that can't be used
// later refuses nobody, and the log says so.
func (r *realm) openBreached() error {
	s := r.settings.Password.Breached
	if s == nil {
		return nil
	}
	list := breach.List(&breach.Online{Client: breach.NewClient(), URL: s.URL, UserAgent: "caddy-registration"})
	if s.File != "" {
		path, err := filepath.Abs(s.File)
		if err != nil {
			return setting.Errorf("password.breached", "%v", err)
		}
		file, err := breach.OpenFile(path)
		if err != nil {
			return setting.Errorf("password.breached", "%v", err)
		}
		list, r.closeBreached = file, file.Close
	}
	r.Options.Breached = r.breachedBy(list)
	return nil
}

func (r *realm) breachedBy(list breach.List) func(context.Context, string) bool {
	var warned atomic.Int64 // Unix seconds
	return func(ctx context.Context, password string) bool {
		found, err := list.Breached(ctx, password)
		if now, last := r.Now().Unix(), warned.Load(); err != nil && ctx.Err() == nil && (now < last || now-last >= int64(warnOfListEvery/time.Second)) && warned.CompareAndSwap(last, now) {
			r.Logger.Warn("it could not be looked up whether a new password is known from a breach; such passwords are let through while that lasts", zap.String("realm", r.Name), zap.Error(err))
		}
		return found
	}
}

// passwordOption reads the block `password`.
func passwordOption(to *PasswordSettings) option {
	return blockOption(map[string]option{
		"argon2id":   argon2idOption(&to.Argon2id),
		"min_length": numberOption(&to.MinLength),
		"numeric":    switchOption(&to.Numeric),
		"common":     switchOption(&to.Common),
		"similar":    switchOption(&to.Similar),
		"breached":   breachedOption(&to.Breached),
		"validator":  validatorOption(&to.ValidatorsRaw),
	})
}

// breachedOption reads `breached <file>`, `breached online [<url>]` or `breached off`.
func breachedOption(to **BreachedSettings) option {
	return func(p *parser, name string) error {
		switch args := p.RemainingArgs(); {
		case len(args) == 1 && args[0] == "off":
			*to = nil
		case len(args) == 1 && args[0] == "online":
			*to = &BreachedSettings{Online: true}
		case len(args) == 2 && args[0] == "online":
			*to = &BreachedSettings{Online: true, URL: args[1]}
		case len(args) == 1 && args[0] != "on":
			*to = &BreachedSettings{File: args[0]}
		default:
			return p.Errf("%s takes a file, online or off; write for example: %s /var/lib/pwned-passwords.txt", name, last(name))
		}
		return nil
	}
}

func (s *Settings) hashParams() password.Params {
	a := s.Password.Argon2id
	return password.Params{Memory: a.Memory, Passes: a.Passes, Lanes: a.Lanes}
}

func (s *PasswordSettings) validators() password.Validators {
	return password.Validators{MinLength: s.MinLength, Numeric: *s.Numeric, Common: *s.Common, Similar: *s.Similar}
}

// argon2idOption reads `argon2id <memory> [<passes> [<lanes>]]`.
func argon2idOption(to **Argon2idSettings) option {
	return func(p *parser, name string) error {
		args := p.RemainingArgs()
		a := Argon2idSettings{Passes: defaultHashParams.Passes, Lanes: defaultHashParams.Lanes}
		wrong := p.Errf("%s takes the memory, and then the passes and lanes; write for example: %s 19MiB 2 1", name, last(name))
		if len(args) < 1 || len(args) > 3 {
			return wrong
		}
		memory, err := humanize.ParseBytes(args[0])
		if err != nil || memory>>10 > 1<<32-1 {
			return wrong
		}
		a.Memory = uint32(memory >> 10)
		if len(args) > 1 {
			passes, err := strconv.ParseUint(args[1], 10, 32)
			if err != nil {
				return wrong
			}
			a.Passes = uint32(passes)
		}
		if len(args) > 2 {
			lanes, err := strconv.ParseUint(args[2], 10, 8)
			if err != nil {
				return wrong
			}
			a.Lanes = uint8(lanes)
		}
		*to = &a
		return nil
	}
}
