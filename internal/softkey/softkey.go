// Package softkey is an authenticator of passkeys in software, with the browser before
// it: for tests alone. It does what it is told, wrong things too.
package softkey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// The flags of authenticator data (WebAuthn level 3, 6.1).
const (
	Present        = 1 << 0
	Verified       = 1 << 2
	BackupEligible = 1 << 3
	BackedUp       = 1 << 4
	attested       = 1 << 6
)

// A Device keeps passkeys. Change its fields to have it lie.
type Device struct {
	// Origin is the page that the browser believes to be on; RPID, if it is set, the
	// domain in place of the asked one.
	Origin, RPID string
	// CrossOrigin: it says that the page was within another's.
	CrossOrigin bool
	// Flags are what it says of the user and of itself.
	Flags byte
	// Counts: its passkeys count how often they were used.
	Counts bool
	AAGUID [16]byte
	// ID is what its next passkey says its id is; nil: one of its own.
	ID   []byte
	Keys []*Key
}

// A Key is a passkey.
type Key struct {
	ID, User []byte
	RPID     string
	Count    uint32
	private  *ecdsa.PrivateKey
}

// New returns a device that asks who uses it, for the pages of an origin.
func New(origin string) *Device { return &Device{Origin: origin, Flags: Present | Verified} }

type named struct {
	ID string `json:"id"`
}

type options struct {
	PublicKey struct {
		Challenge string  `json:"challenge"`
		RPID      string  `json:"rpId"`
		RP        named   `json:"rp"`
		User      named   `json:"user"`
		Allow     []named `json:"allowCredentials"`
		Exclude   []named `json:"excludeCredentials"`
	} `json:"publicKey"`
}

func read(raw []byte) (o options) {
	if err := json.Unmarshal(raw, &o); err != nil {
		panic(fmt.Sprintf("no options: %v in %s", err, raw))
	}
	return o
}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func raw(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func (d *Device) clientData(kind, challenge string) []byte {
	out, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": d.Origin, "crossOrigin": d.CrossOrigin})
	return out
}

func (d *Device) authData(k *Key, flags byte) []byte {
	id := k.RPID
	if d.RPID != "" {
		id = d.RPID
	}
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.AppendUint32(append(sum[:], flags), k.Count)
}

// Create makes a passkey as the options ask and answers as a browser does; nil where it
// has one already that the options exclude.
func (d *Device) Create(creation []byte) []byte {
	o := read(creation).PublicKey
	for _, not := range o.Exclude {
		if slices.ContainsFunc(d.Keys, func(k *Key) bool { return text(k.ID) == not.ID }) {
			return nil
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	k := &Key{ID: make([]byte, 32), User: raw(o.User.ID), RPID: o.RP.ID, private: private}
	_, _ = rand.Read(k.ID)
	if d.ID != nil {
		k.ID = d.ID
	}
	d.Keys = append(d.Keys, k)
	point, err := private.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	cose, _ := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	data := append(d.authData(k, d.Flags|attested), d.AAGUID[:]...)
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(k.ID))), k.ID...) //nolint:gosec // 32
	data = append(data, cose...)
	object, _ := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	out, _ := json.Marshal(map[string]any{
		"id": text(k.ID), "rawId": text(k.ID), "type": "public-key", "authenticatorAttachment": "platform", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"clientDataJSON": text(d.clientData("webauthn.create", o.Challenge)), "attestationObject": text(object), "transports": []string{"internal", "hybrid"}},
	})
	return out
}

// Get uses the newest passkey that the options allow and answers as a browser does; nil
// where it has none.
func (d *Device) Get(request []byte) []byte {
	o := read(request).PublicKey
	for _, k := range slices.Backward(d.Keys) {
		if k.RPID == o.RPID && (len(o.Allow) == 0 || slices.ContainsFunc(o.Allow, func(a named) bool { return a.ID == text(k.ID) })) {
			return d.Use(k, o.Challenge)
		}
	}
	return nil
}

// Use answers a challenge with a passkey, whatever was asked for.
func (d *Device) Use(k *Key, challenge string) []byte {
	if d.Counts {
		k.Count++
	}
	client, data := d.clientData("webauthn.get", challenge), d.authData(k, d.Flags)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(slices.Clone(data), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.private, digest[:])
	if err != nil {
		panic(err)
	}
	out, _ := json.Marshal(map[string]any{
		"id": text(k.ID), "rawId": text(k.ID), "type": "public-key", "authenticatorAttachment": "platform", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"clientDataJSON": text(client), "authenticatorData": text(data), "signature": text(signature), "userHandle": text(k.User)},
	})
	return out
}

// Challenge is that of options.
func Challenge(of []byte) string { return read(of).PublicKey.Challenge }
