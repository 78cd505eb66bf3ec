package factor_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/origin"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/softkey"
	"github.com/seed-928992b0/caddy-registration/store"
)

const site = "https://www.example.com"

var passkeyTime = time.Date(2026, 11, 27, 12, 0, 0, 5e6, time.UTC)

// A bench is one relying party, one account and one device.
type bench struct {
	testing.TB
	passkeys *factor.Passkeys
	signer   *sign.Signer
	user     uuid.UUID
	device   *softkey.Device
	now      time.Time
}

func newBench(t testing.TB) *bench {
	trusted, err := origin.NewSet([]string{"https://app.example.com", "https://*.team.example.com", "https://example.org", "http://plain.example.com"})
	require.NoError(t, err)
	party, err := factor.PartyOf(site, "example.com", "")
	require.NoError(t, err)
	p, err := factor.NewPasskeys(party, "", trusted)
	require.NoError(t, err)
	require.Equal(t, "example.com", p.ID())
	signer, err := sign.NewSigner("default", []byte("0123456789abcdef"))
	require.NoError(t, err)
	return &bench{TB: t, passkeys: p, signer: signer, user: uuid.Must(uuid.NewV7()), device: softkey.New(site), now: passkeyTime}
}

func (b *bench) to(c factor.Ceremony) factor.Binding {
	return factor.Binding{For: c, User: b.user, To: "this browser"}
}

// added makes a passkey and checks it.
func (b *bench) added() *store.Factor {
	b.Helper()
	f, err := b.add()
	require.NoError(b, err)
	b.now = b.now.Add(time.Minute)
	return &f
}

func (b *bench) add() (store.Factor, error) {
	b.Helper()
	options, err := b.passkeys.Creation(b.signer, b.to(factor.CeremonyAdd), factor.Holder{ID: b.user, Name: "ada", Display: "Ada"}, b.now)
	require.NoError(b, err)
	return b.passkeys.Created(b.signer, b.to(factor.CeremonyAdd), b.device.Create(options), b.now)
}

func (b *bench) request(c factor.Ceremony, allowed ...store.Factor) []byte {
	b.Helper()
	options, err := b.passkeys.Request(b.signer, b.to(c), allowed, b.now)
	require.NoError(b, err)
	return options
}

func (b *bench) check(c factor.Ceremony, answer []byte, f *store.Factor) (factor.Shown, error) {
	b.Helper()
	a, err := factor.ReadAssertion(answer)
	require.NoError(b, err)
	return b.passkeys.Check(b.signer, b.to(c), a, b.user, f, b.now)
}

func TestPasskey(t *testing.T) {
	b := newBench(t)
	b.device.AAGUID = uuid.MustParse("bada5566-a7aa-401f-bd96-45619a55120d")
	f := b.added()
	assert.Equal(t, store.FactorPasskey, f.Type)
	assert.Equal(t, b.device.Keys[0].ID, f.CredentialID)
	assert.Equal(t, "1Password", factor.MakeOf(f.AAGUID))
	assert.Empty(t, factor.MakeOf(uuid.Nil))
	assert.Equal(t, []string{"internal", "hybrid"}, f.Transports)

	var asked struct {
		PublicKey struct {
			RPID             string           `json:"rpId"`
			Allow            []map[string]any `json:"allowCredentials"`
			UserVerification string           `json:"userVerification"`
			Timeout          int              `json:"timeout"`
		} `json:"publicKey"`
	}
	options := b.request(factor.CeremonySignIn)
	require.NoError(t, json.Unmarshal(options, &asked))
	assert.Empty(t, asked.PublicKey.Allow, "any passkey of the domain")
	assert.Equal(t, "required", asked.PublicKey.UserVerification)
	assert.Equal(t, "example.com", asked.PublicKey.RPID)
	assert.Equal(t, 300_000, asked.PublicKey.Timeout)
	shown, err := b.check(factor.CeremonySignIn, b.device.Get(options), f)
	require.NoError(t, err)
	assert.Equal(t, []string{"hwk", "mfa"}, shown.AMR())

	b.now = b.now.Add(time.Second)
	options = b.request(factor.CeremonyStep, store.Factor{Type: store.FactorTOTP}, *f)
	require.NoError(t, json.Unmarshal(options, &asked))
	require.Len(t, asked.PublicKey.Allow, 1)
	assert.Equal(t, "preferred", asked.PublicKey.UserVerification)
	b.device.Flags = softkey.Present
	shown, err = b.check(factor.CeremonyStep, b.device.Get(options), f)
	require.NoError(t, err)
	assert.Equal(t, []string{"hwk"}, shown.AMR(), "it did not ask who uses it")
}

// What authenticators are asked to make, and what they are shown.
func TestPasskeyCreationOptions(t *testing.T) {
	b := newBench(t)
	first := b.added()
	options, err := b.passkeys.Creation(b.signer, b.to(factor.CeremonyAdd), factor.Holder{ID: b.user, Name: "ada", Display: "Ada", Factors: []store.Factor{*first, {Type: store.FactorTOTP}}}, b.now)
	require.NoError(t, err)
	var o struct {
		PublicKey struct {
			RP          struct{ ID, Name string }
			User        struct{ ID, Name, DisplayName string }
			Attestation string
			Selection   struct{ ResidentKey, UserVerification string } `json:"authenticatorSelection"`
			Exclude     []struct{ ID string }                          `json:"excludeCredentials"`
			Params      []struct{ Alg int }                            `json:"pubKeyCredParams"`
		}
	}
	require.NoError(t, json.Unmarshal(options, &o))
	assert.Equal(t, "example.com", o.PublicKey.RP.ID)
	assert.Equal(t, "ada", o.PublicKey.User.Name)
	assert.Equal(t, "Ada", o.PublicKey.User.DisplayName)
	assert.Equal(t, "required", o.PublicKey.Selection.ResidentKey)
	assert.Equal(t, "required", o.PublicKey.Selection.UserVerification)
	assert.Contains(t, []string{"", "none"}, o.PublicKey.Attestation)
	assert.Len(t, o.PublicKey.Exclude, 1)
	assert.Len(t, o.PublicKey.Params, 3)
	assert.Nil(t, b.device.Create(options), "the device has one already")
}

func TestPasskeyBackupFlag(t *testing.T) {
	b := newBench(t)
	f := b.added()
	b.device.Flags |= softkey.BackupEligible | softkey.BackedUp
	shown, err := b.check(factor.CeremonySignIn, b.device.Get(b.request(factor.CeremonySignIn)), f)
	require.NoError(t, err, "a keeper has begun to sync")
	assert.Equal(t, []string{"swk", "mfa"}, shown.AMR())
	assert.NotZero(t, f.Flags&softkey.BackupEligible, "kept")
	assert.NotZero(t, f.Flags&softkey.BackedUp)

	b.now = b.now.Add(time.Second)
	b.device.Flags &^= softkey.BackedUp
	_, err = b.check(factor.CeremonySignIn, b.device.Get(b.request(factor.CeremonySignIn)), f)
	require.NoError(t, err)

	b.now = b.now.Add(time.Second)
	b.device.Flags &^= softkey.BackupEligible
	before := *f
	_, err = b.check(factor.CeremonySignIn, b.device.Get(b.request(factor.CeremonySignIn)), f)
	require.ErrorIs(t, err, factor.ErrPasskey, "back to one device: another passkey")
	assert.Equal(t, before, *f)
	b.device.Flags |= softkey.BackedUp
	_, err = b.check(factor.CeremonySignIn, b.device.Get(b.request(factor.CeremonySignIn)), f)
	require.ErrorIs(t, err, factor.ErrPasskey, "backed up and not eligible")
}

func TestPasskeyOrigins(t *testing.T) {
	for origin, good := range map[string]bool{
		site: true, "https://app.example.com": true, "https://a.team.example.com": true,
		"https://example.com": false, "https://other.example.com": false, "https://example.org": false, "http://plain.example.com": false,
		"https://www.example.com:8443": false, "https://a.b.team.example.com": false, "https://www.example.com.evil.net": false,
		"http://www.example.com": false, "null": false, "": false, "android:apk-key-hash:abc": false, "https://\x7f": false,
	} {
		t.Run(origin, func(t *testing.T) {
			b := newBench(t)
			f := b.added()
			b.device.Origin = origin
			_, err := b.check(factor.CeremonySignIn, b.device.Get(b.request(factor.CeremonySignIn)), f)
			_, adding := b.add()
			if good {
				require.NoError(t, err)
				require.NoError(t, adding)
				return
			}
			require.ErrorIs(t, err, factor.ErrPasskey)
			require.ErrorIs(t, adding, factor.ErrPasskey)
		})
	}
}

func TestPartyOf(t *testing.T) {
	for _, tc := range []struct {
		name, base, cookies, chosen string
		id, off, wrong              string
	}{
		{name: "the host", base: "https://Example.com:8443/sub", id: "example.com"},
		{name: "the domain of the cookies", base: "https://www.example.com", cookies: ".example.com", id: "example.com"},
		{name: "cookies of elsewhere", base: "https://www.example.com", cookies: "example.org", id: "www.example.com"},
		{name: "chosen", base: "https://login.example.com", cookies: "login.example.com", chosen: "Example.com.", id: "example.com"},
		{name: "localhost", base: "http://localhost:8080", id: "localhost"},
		{name: "below localhost", base: "http://app.localhost", id: "app.localhost"},
		{name: "no base_url", off: "no base_url"},
		{name: "no base_url, chosen", chosen: "example.com", wrong: "can't be used without base_url"},
		{name: "an address", base: "https://192.0.2.1", off: "the address 192.0.2.1"},
		{name: "an address of IPv6", base: "https://[2001:db8::1]:443", off: "the address 2001:db8::1"},
		{name: "the address of this machine", base: "http://127.0.0.1", off: "the address 127.0.0.1"},
		{name: "an address, chosen", base: "https://192.0.2.1", chosen: "example.com", wrong: "can't be used"},
		{name: "plain HTTP", base: "http://example.com", off: "plain HTTP"},
		{name: "a name of the house", base: "https://nas", off: "the host nas"},
		{name: "another domain", base: "https://example.com", chosen: "example.org", wrong: "neither the host"},
		{name: "a domain below", base: "https://example.com", chosen: "www.example.com", wrong: "neither the host"},
		{name: "the end of a name", base: "https://myexample.com", chosen: "example.com", wrong: "neither the host"},
		{name: "everybody's", base: "https://example.co.uk", chosen: "co.uk", wrong: "belongs to strangers"},
		{name: "the host's", base: "https://me.github.io", chosen: "github.io", wrong: "belongs to strangers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := factor.PartyOf(tc.base, tc.cookies, tc.chosen)
			if tc.wrong != "" {
				require.ErrorContains(t, err, tc.wrong)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.id, p.ID)
			assert.Contains(t, p.Off, tc.off)
			assert.Equal(t, tc.off == "", p.Off == "")
		})
	}
}

// The domain that is an own one of a name of the house takes everything that browsers take.
func TestPasskeysNeedADomain(t *testing.T) {
	_, err := factor.NewPasskeys(factor.Party{ID: "192.0.2.1", Origin: "https://192.0.2.1"}, "", origin.Set{})
	require.Error(t, err)
}

func TestHardeningPasskey(t *testing.T) {
	type attack struct {
		name string
		// answer makes the answer, given what was asked; by is the ceremony of the check.
		answer func(b *bench, f *store.Factor) []byte
		by     factor.Ceremony
		want   error
	}
	get := func(c factor.Ceremony, change func(b *bench)) func(*bench, *store.Factor) []byte {
		return func(b *bench, _ *store.Factor) []byte {
			options := b.request(c)
			change(b)
			return b.device.Get(options)
		}
	}
	for _, a := range []attack{
		{"a challenge for another act", get(factor.CeremonyStep, func(*bench) {}), factor.CeremonySudo, factor.ErrChallenge},
		{"that of an addition", func(b *bench, _ *store.Factor) []byte {
			options, err := b.passkeys.Creation(b.signer, b.to(factor.CeremonyAdd), factor.Holder{ID: b.user, Name: "ada"}, b.now)
			require.NoError(b, err)
			return b.device.Use(b.device.Keys[0], softkey.Challenge(options))
		}, factor.CeremonySudo, factor.ErrChallenge},
		{"a challenge that is over", get(factor.CeremonySignIn, func(b *bench) { b.now = b.now.Add(factor.PasskeyLifetime + time.Second) }), factor.CeremonySignIn, factor.ErrChallenge},
		{"one from a clock that was ahead", get(factor.CeremonySignIn, func(b *bench) { b.now = b.now.Add(-time.Hour) }), factor.CeremonySignIn, factor.ErrChallenge},
		{"another account's challenge", get(factor.CeremonySudo, func(b *bench) { b.user = uuid.Must(uuid.NewV7()) }), factor.CeremonySudo, factor.ErrChallenge},
		{"a challenge of somebody's own making", func(b *bench, _ *store.Factor) []byte {
			return b.device.Use(b.device.Keys[0], strings.Repeat("A", 75))
		}, factor.CeremonySignIn, factor.ErrChallenge},
		{"no challenge", func(b *bench, _ *store.Factor) []byte { return b.device.Use(b.device.Keys[0], "") }, factor.CeremonySignIn, factor.ErrChallenge},
		{"a challenge of no time", func(b *bench, _ *store.Factor) []byte {
			return b.device.Use(b.device.Keys[0], "_"+softkey.Challenge(b.request(factor.CeremonySignIn))[1:])
		}, factor.CeremonySignIn, factor.ErrChallenge},
		{"another domain", get(factor.CeremonySignIn, func(b *bench) { b.device.RPID = "example.org" }), factor.CeremonySignIn, factor.ErrPasskey},
		{"a page within another's", get(factor.CeremonySignIn, func(b *bench) { b.device.CrossOrigin = true }), factor.CeremonySignIn, factor.ErrPasskey},
		{"nobody asked who it is", get(factor.CeremonySignIn, func(b *bench) { b.device.Flags = softkey.Present }), factor.CeremonySignIn, factor.ErrPasskey},
		{"nor for sudo", get(factor.CeremonySudo, func(b *bench) { b.device.Flags = softkey.Present }), factor.CeremonySudo, factor.ErrPasskey},
		{"nobody touched it", get(factor.CeremonyStep, func(b *bench) { b.device.Flags = softkey.Verified }), factor.CeremonyStep, factor.ErrPasskey},
		{"another account's name on it", get(factor.CeremonySignIn, func(b *bench) { b.device.Keys[0].User = bytes.Repeat([]byte{1}, 16) }), factor.CeremonySignIn, factor.ErrPasskey},
		{"another passkey's id", func(b *bench, f *store.Factor) []byte {
			other := softkey.New(site)
			options, err := b.passkeys.Creation(b.signer, b.to(factor.CeremonyAdd), factor.Holder{ID: b.user, Name: "eve"}, b.now)
			require.NoError(b, err)
			other.Create(options)
			other.Keys[0].ID = f.CredentialID
			return other.Get(b.request(factor.CeremonySignIn))
		}, factor.CeremonySignIn, factor.ErrPasskey},
		{"a passkey that isn't this one", func(b *bench, _ *store.Factor) []byte {
			_ = b.added()
			return b.device.Get(b.request(factor.CeremonySignIn))
		}, factor.CeremonySignIn, factor.ErrPasskey},
		{"a changed signature", func(b *bench, _ *store.Factor) []byte {
			answer := string(b.device.Get(b.request(factor.CeremonySignIn)))
			return []byte(strings.Replace(answer, `"signature":"ME`, `"signature":"NE`, 1))
		}, factor.CeremonySignIn, factor.ErrPasskey},
	} {
		t.Run(a.name, func(t *testing.T) {
			b := newBench(t)
			f := b.added()
			answer := a.answer(b, f)
			before := *f
			_, err := b.check(a.by, answer, f)
			require.ErrorIs(t, err, a.want)
			assert.Equal(t, before, *f, "nothing of it is kept")
		})
	}
	t.Run("another browser", func(t *testing.T) {
		b := newBench(t)
		f := b.added()
		answer := b.device.Get(b.request(factor.CeremonySignIn))
		parsed, err := factor.ReadAssertion(answer)
		require.NoError(t, err)
		_, err = b.passkeys.Check(b.signer, factor.Binding{For: factor.CeremonySignIn, User: b.user, To: "another"}, parsed, b.user, f, b.now)
		require.ErrorIs(t, err, factor.ErrChallenge)
	})
	t.Run("a replay", func(t *testing.T) {
		b := newBench(t)
		f := b.added()
		earlier := b.request(factor.CeremonySignIn)
		b.now = b.now.Add(time.Millisecond)
		answer := b.device.Get(b.request(factor.CeremonySignIn))
		_, err := b.check(factor.CeremonySignIn, answer, f)
		require.NoError(t, err)
		for name, again := range map[string][]byte{"the same": answer, "one to an earlier challenge": b.device.Get(earlier)} {
			_, err = b.check(factor.CeremonySignIn, again, f)
			require.ErrorIs(t, err, factor.ErrChallenge, name)
		}
	})
	t.Run("a copy of the passkey", func(t *testing.T) {
		b := newBench(t)
		b.device.Counts = true
		f := b.added()
		for range 3 {
			b.now = b.now.Add(time.Second)
			_, err := b.check(factor.CeremonySignIn, b.device.Get(b.request(factor.CeremonySignIn)), f)
			require.NoError(t, err)
		}
		b.device.Keys[0].Count = 1
		b.now = b.now.Add(time.Second)
		before := *f
		_, err := b.check(factor.CeremonySignIn, b.device.Get(b.request(factor.CeremonySignIn)), f)
		require.ErrorIs(t, err, factor.ErrCloned)
		assert.Equal(t, before, *f)
	})
	t.Run("a secret that is gone", func(t *testing.T) {
		b := newBench(t)
		f := b.added()
		answer := b.device.Get(b.request(factor.CeremonySignIn))
		old := b.signer
		var err error
		b.signer, err = sign.NewSigner("default", []byte("another secret of 16"), []byte("0123456789abcdef"))
		require.NoError(t, err)
		kept := *f
		_, err = b.check(factor.CeremonySignIn, answer, &kept)
		require.NoError(t, err, "while it is listed, its challenges are good")
		b.signer, err = sign.NewSigner("other", []byte("0123456789abcdef"))
		require.NoError(t, err)
		_, err = b.check(factor.CeremonySignIn, answer, f)
		require.ErrorIs(t, err, factor.ErrChallenge, "another realm's")
		b.signer = old
	})
}

// What a browser says of a new passkey is judged as hard.
func TestHardeningPasskeyCreation(t *testing.T) {
	b := newBench(t)
	for name, tc := range map[string]struct {
		change func(d *softkey.Device)
		want   error
	}{
		"another domain":               {func(d *softkey.Device) { d.RPID = "example.org" }, factor.ErrPasskey},
		"a page within another's":      {func(d *softkey.Device) { d.CrossOrigin = true }, factor.ErrPasskey},
		"it doesn't ask who uses it":   {func(d *softkey.Device) { d.Flags = softkey.Present }, factor.ErrPasskey},
		"nobody touched it":            {func(d *softkey.Device) { d.Flags = softkey.Verified }, factor.ErrPasskey},
		"backed up but not to be":      {func(d *softkey.Device) { d.Flags |= softkey.BackedUp }, factor.ErrPasskey},
		"one that can be on all of it": {func(d *softkey.Device) { d.Flags |= softkey.BackedUp | softkey.BackupEligible }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b.device = softkey.New(site)
			tc.change(b.device)
			_, err := b.add()
			if tc.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tc.want)
		})
	}
	options, err := b.passkeys.Creation(b.signer, b.to(factor.CeremonyAdd), factor.Holder{ID: b.user, Name: "ada"}, b.now)
	require.NoError(t, err)
	answer := softkey.New(site).Create(options)
	_, err = b.passkeys.Created(b.signer, b.to(factor.CeremonyAdd), answer, b.now.Add(factor.PasskeyLifetime+time.Second))
	require.ErrorIs(t, err, factor.ErrChallenge)
	_, err = b.passkeys.Created(b.signer, factor.Binding{For: factor.CeremonyAdd, User: b.user, To: "another session"}, answer, b.now)
	require.ErrorIs(t, err, factor.ErrChallenge)
	for name, raw := range map[string][]byte{
		"nothing": nil, "no JSON": []byte("passkey"), "too long": append(slices.Clone(answer), bytes.Repeat([]byte(" "), factor.MaxPasskeyAnswer)...),
		"an answer to a sign-in": b.device.Get(b.request(factor.CeremonySignIn)), "null": []byte("null"), "a list": []byte("[]"),
	} {
		_, err = b.passkeys.Created(b.signer, b.to(factor.CeremonyAdd), raw, b.now)
		require.ErrorIs(t, err, factor.ErrPasskey, name)
	}
	for name, raw := range map[string][]byte{"nothing": nil, "a creation": answer, "too long": bytes.Repeat([]byte("{"), factor.MaxPasskeyAnswer+1)} {
		_, err = factor.ReadAssertion(raw)
		require.ErrorIs(t, err, factor.ErrPasskey, name)
	}
}

func TestPasskeyOfAnAnswer(t *testing.T) {
	b := newBench(t)
	one, two := b.added(), b.added()
	a, err := factor.ReadAssertion(b.device.Get(b.request(factor.CeremonySignIn)))
	require.NoError(t, err)
	assert.Equal(t, b.user, a.User)
	factors := []store.Factor{{Type: store.FactorTOTP, CredentialID: two.CredentialID}, *one, *two}
	assert.Same(t, &factors[2], a.Passkey(factors))
	assert.Nil(t, a.Passkey(factors[:2]))
}

func FuzzPasskeyAnswer(f *testing.F) {
	b := newBench(f)
	kept := b.added()
	f.Add(b.device.Get(b.request(factor.CeremonySignIn)))
	options, err := b.passkeys.Creation(b.signer, b.to(factor.CeremonyAdd), factor.Holder{ID: b.user, Name: "ada"}, b.now)
	require.NoError(f, err)
	f.Add(softkey.New(site).Create(options))
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"","signature":"","userHandle":""}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		made, err := b.passkeys.Created(b.signer, b.to(factor.CeremonyAdd), answer, b.now)
		if err == nil {
			require.NotEmpty(t, made.CredentialID)
			require.NotEmpty(t, made.Secret)
		}
		a, err := factor.ReadAssertion(answer)
		if err != nil {
			require.ErrorIs(t, err, factor.ErrPasskey)
			return
		}
		require.NotEmpty(t, a.Credential)
		g := *kept
		if _, err := b.passkeys.Check(b.signer, b.to(factor.CeremonySignIn), a, b.user, &g, b.now); err != nil {
			require.Equal(t, *kept, g)
		}
	})
}

func BenchmarkPasskeyCheck(bm *testing.B) {
	b := newBench(bm)
	kept := b.added()
	answer := b.device.Get(b.request(factor.CeremonySignIn))
	bm.ReportAllocs()
	for bm.Loop() {
		f := *kept
		a, err := factor.ReadAssertion(answer)
		if err == nil {
			_, err = b.passkeys.Check(b.signer, b.to(factor.CeremonySignIn), a, b.user, &f, b.now)
		}
		require.NoError(bm, err)
	}
}
