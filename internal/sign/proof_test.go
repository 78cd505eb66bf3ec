package sign_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
)

func signerOf(t testing.TB, realm string, secrets ...string) *sign.Signer {
	t.Helper()
	raw := make([][]byte, len(secrets))
	for i, s := range secrets {
		raw[i] = []byte(s)
	}
	s, err := sign.NewSigner(realm, raw...)
	require.NoError(t, err)
	return s
}

const aSecret, anotherSecret = "a secret of 16 b", "another of 16 by"

func aProof() sign.Proof {
	return sign.Proof{User: uuid.MustParse("01a219a3-e4c6-79dc-9773-37e2f7be03bf"), Method: "pwd", Browser: "b", Time: time.Unix(1_764_072_000, 0), State: sign.StateOf("s")}
}

func TestProof(t *testing.T) {
	s, p := signerOf(t, "default", aSecret), aProof()
	text := s.SignProof(p)
	require.NotContains(t, text, "~")
	got, signature, ok := sign.ReadProof(text)
	require.True(t, ok)
	require.Equal(t, [3]any{p.User, p.Method, p.Time}, [3]any{got.User, got.Method, got.Time})
	verify := func(s *sign.Signer, change func(*sign.Proof), at time.Time) error {
		p := got
		p.Browser, p.State = "b", sign.StateOf("s")
		if change != nil {
			change(&p)
		}
		return s.VerifyProof(p, signature, at, time.Minute)
	}
	now := p.Time
	require.NoError(t, verify(s, nil, now))
	require.NoError(t, verify(s, nil, now.Add(time.Minute)))
	require.NoError(t, verify(signerOf(t, "default", anotherSecret, aSecret), nil, now), "an older secret still verifies")
	require.ErrorIs(t, verify(s, nil, now.Add(time.Minute+time.Second)), sign.ErrExpired)
	require.ErrorIs(t, verify(s, nil, now.Add(-sign.MaxClockSkew-time.Second)), sign.ErrSignature)
	require.ErrorIs(t, verify(signerOf(t, "other", aSecret), nil, now), sign.ErrSignature, "another realm's")
	require.ErrorIs(t, verify(signerOf(t, "default", anotherSecret), nil, now), sign.ErrSignature)
	for name, change := range map[string]func(*sign.Proof){
		"another account": func(p *sign.Proof) { p.User[0]++ },
		"another method":  func(p *sign.Proof) { p.Method = "otp" },
		"another browser": func(p *sign.Proof) { p.Browser = "c" },
		"no browser":      func(p *sign.Proof) { p.Browser = "" },
		"parts moved":     func(p *sign.Proof) { p.Method, p.Browser = "pwdb", "" },
		"another time":    func(p *sign.Proof) { p.Time = p.Time.Add(time.Second) },
		"another state":   func(p *sign.Proof) { p.State = sign.StateOf("t") },
		"no state":        func(p *sign.Proof) { p.State = nil },
	} {
		require.ErrorIs(t, verify(s, change, now), sign.ErrSignature, name)
	}
	// What is signed for another act is no proof.
	link := s.Sign(sign.Claim{Purpose: sign.PurposeResetPassword, User: p.User, Time: p.Time, State: p.State})
	require.ErrorIs(t, s.VerifyProof(p, link, now, time.Minute), sign.ErrSignature)
}

func TestReadProofTakesNothingElse(t *testing.T) {
	text := signerOf(t, "default", aSecret).SignProof(aProof())
	says, signature, _ := strings.Cut(text, ".")
	raw, err := base64.RawURLEncoding.DecodeString(says)
	require.NoError(t, err)
	late := append([]byte{}, raw...)
	late[16] = 0xff
	for name, text := range map[string]string{
		"nothing": "", "a dot": ".", "no signature": says, "no head": "." + signature, "short": base64.RawURLEncoding.EncodeToString(raw[:23]) + "." + signature,
		"padded": says + "=." + signature, "a long signature": text + strings.Repeat("A", 64), "long": strings.Repeat(text, 10), "a far future": base64.RawURLEncoding.EncodeToString(late) + "." + signature,
		"a long method": base64.RawURLEncoding.EncodeToString(append(raw, strings.Repeat("m", 32)...)) + "." + signature, "no base64": "%%%." + signature, "a line break": says + "." + signature[:5] + "\n" + signature[5:], "a return": says[:5] + "\r" + says[5:] + "." + signature,
	} {
		_, _, ok := sign.ReadProof(text)
		require.False(t, ok, name)
	}
}

func FuzzReadProof(f *testing.F) {
	s := signerOf(f, "default", aSecret)
	f.Add(s.SignProof(aProof()))
	f.Add("AAAA.BBBB")
	f.Fuzz(func(t *testing.T, text string) {
		p, signature, ok := sign.ReadProof(text)
		if ok && text != s.SignProof(aProof()) {
			p.Browser, p.State = aProof().Browser, aProof().State
			require.Error(t, s.VerifyProof(p, signature, aProof().Time, time.Hour))
		}
	})
}

// A purpose that no key was made for would be signed with none, which everybody has.
func TestPurposeWithoutAKey(t *testing.T) {
	s, err := sign.NewSigner("default", []byte("0123456789abcdef"))
	require.NoError(t, err)
	c := sign.Claim{Purpose: "forgotten", Time: time.Unix(1e9, 0)}
	require.ErrorIs(t, s.Verify(c, s.Sign(c), c.Time, time.Hour), sign.ErrSignature)
}
