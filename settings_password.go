// settings_password.go: how passwords are hashed and which are refused.

package registration

import (
	"context"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/breach"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
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
