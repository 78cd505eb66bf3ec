// Package factor is what a second step is made of: codes of an app (TOTP), recovery
// codes, the picture that an app reads, and the key of a realm under which secrets are
// sealed. Whose they are and when they are asked for stands in internal/account.
package factor

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base32"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// What every app speaks (RFC 6238): SHA-1, six digits, thirty seconds.
const (
	// Digits is how many digits a code has.
	Digits = otp.DigitsSix
	// Period is how long a step lasts, in seconds.
	Period = 30
	// Skew is how many steps before and after the present one are taken too.
	Skew = 1
	// SecretBytes is the size of a secret: that of the hash (RFC 4226, 4).
	SecretBytes = 20
	// maxCode bounds what is looked at as a code, in bytes.
	maxCode = 32
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewSecret returns a new secret of a TOTP.
func NewSecret() []byte {
	secret := make([]byte, SecretBytes)
	_, _ = rand.Read(secret) // never fails
	return secret
}

// SecretText is a secret as people type it into their app.
func SecretText(secret []byte) string { return base32Text.EncodeToString(secret) }

// URI is what an app reads from the picture. issuer is the site, account whose it is.
func URI(issuer, account string, secret []byte) string {
	label := url.PathEscape(strings.ReplaceAll(issuer, ":", " ")) + ":" + url.PathEscape(account)
	return "otpauth://totp/" + label + "?secret=" + SecretText(secret) + "&issuer=" + strings.ReplaceAll(url.QueryEscape(issuer), "+", "%20") + "&algorithm=SHA1&digits=6&period=30"
}

// Step is the step of a moment.
func Step(now time.Time) int64 { return now.Unix() / Period }

// Code is the code of a step.
func Code(secret []byte, step int64) (string, error) {
	return hotp.GenerateCode(SecretText(secret), uint64(max(step, 0)))
}

// Match reports whether a code is that of a step around now which is later than last,
// the last one that is used up. used is what is used up with it: two steps can have the
// same digits, and a code that was seen once must not fit the other one.
func Match(secret []byte, code string, now time.Time, last int64) (used int64, ok bool) {
	if code, ok = digits(code); !ok {
		return last, false
	}
	used, ok = last, false
	for step := Step(now) - Skew; step <= Step(now)+Skew; step++ {
		want, err := Code(secret, step)
		if err != nil || !hmac.Equal([]byte(want), []byte(code)) || step <= last {
			continue
		}
		used, ok = step, true
	}
	return used, ok
}

// digits is a code as apps show it, in groups or not, without the blanks.
func digits(code string) (string, bool) {
	if len(code) > maxCode {
		return "", false
	}
	code = strings.Join(strings.FieldsFunc(code, func(r rune) bool { return r == ' ' || r == '-' || r == '\u00a0' || r == '\u202f' }), "")
	if len(code) != Digits.Length() {
		return "", false
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return "", false
		}
	}
	return code, true
}
