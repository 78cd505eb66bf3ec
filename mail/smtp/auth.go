// auth.go: the sign-in (RFC 4954).

package smtp

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5 is for servers that know nothing better
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
)

// mechanism is a way to sign in: it answers the challenges of a server one by one.
type mechanism struct {
	name string
	// first: the answer to the first challenge is sent along with the command.
	first bool
	// answer to the n-th challenge, from 0; false: there is no answer.
	answer func(s *Server, n int, challenge []byte) (string, bool)
}

// mechanisms in the order in which they are tried. CRAM-MD5 comes last: it needs
// the password in the clear at the server, which therefore often offers it and
// can't do it, and within TLS it is no safer.
var mechanisms = []mechanism{
	{"PLAIN", true, func(s *Server, n int, _ []byte) (string, bool) { // RFC 4616
		return "\x00" + s.Username + "\x00" + s.Password, n < 2 // some ask once more
	}},
	{"LOGIN", false, func(s *Server, n int, _ []byte) (string, bool) { // the words of the prompts are anybody's
		return []string{s.Username, s.Password, ""}[min(n, 2)], n < 2
	}},
	{"CRAM-MD5", false, func(s *Server, n int, challenge []byte) (string, bool) { // RFC 2195
		mac := hmac.New(md5.New, []byte(s.Password))
		mac.Write(challenge)
		return s.Username + " " + hex.EncodeToString(mac.Sum(nil)), n < 1
	}},
}

// otherWayCodes are the replies of a server that doesn't do what it has offered, or
// not so: then the next way is tried. Another one would only be the wrong password
// once more.
var otherWayCodes = []int{500, 501, 502, 503, 504, 534, 538}

// signIn signs in by the first way that the server offers and does.
func (c *Conn) signIn(s *Server) error {
	offered, ok := c.extensions["AUTH"]
	if !ok {
		return errors.New("it offers no sign-in (AUTH) over this connection; remove username and password, or check address and tls")
	}
	ways := strings.Fields(strings.ToUpper(offered))
	err := fmt.Errorf("it offers none of the ways to sign in that we know (PLAIN, LOGIN, CRAM-MD5), but %q; write another address, or have it offer PLAIN", offered)
	for _, way := range mechanisms {
		if !slices.Contains(ways, way.name) {
			continue
		}
		err = c.authenticate(s, way)
		reply := (*textproto.Error)(nil)
		if err == nil || !errors.As(err, &reply) || !slices.Contains(otherWayCodes, reply.Code) {
			return err
		}
	}
	return err
}

func (c *Conn) authenticate(s *Server, way mechanism) error {
	line, n := "AUTH "+way.name, 0
	if way.first {
		answer, _ := way.answer(s, 0, nil)
		line, n = line+" "+base64.StdEncoding.EncodeToString([]byte(answer)), 1
	}
	for {
		code, text, err := c.command(c.limits.Command, 0, line)
		switch {
		case err != nil:
			return err
		case code == 235:
			return nil
		case code != 334:
			return &textproto.Error{Code: code, Msg: text}
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil && way.name == "CRAM-MD5" {
			return fmt.Errorf("its challenge is no base64: %w", err)
		}
		answer, ok := way.answer(s, n, challenge)
		if !ok {
			_, _, err := c.command(c.limits.Command, 5, "*") // RFC 4954, 4: we give up
			return errors.Join(errors.New("it asks for more than a name and a password"), err)
		}
		line, n = base64.StdEncoding.EncodeToString([]byte(answer)), n+1
	}
}
