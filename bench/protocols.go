// protocols.go: what the guard costs a page of many small files over TLS: over HTTP/1.1,
// HTTP/2 and HTTP/3, beside basic_auth and forward_auth to our own endpoint.

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// protocolsConfig has the same files on six ports, each with TLS and all three protocols,
// in one process; the port %[6]d is where forward_auth asks. The asking is done in plain
// HTTP over kept connections, as between machines of one network, and has its CPU time
// counted on both sides, as on one machine.
const protocolsConfig = `{
	admin off
	auto_https disable_redirects
	skip_install_trust
	persist_config off
	servers {
		trusted_proxies static 127.0.0.0/8
	}
}
(site) {
	tls %[7]s %[8]s
	root * %[9]s
	file_server
}
(accounts) {
	registration {
		store bbolt %[10]s
		base_url https://localhost:%[3]d
		from bench@example.com
		mailer file %[11]s
		throttle off
		authz on
	}
}
https://localhost:%[1]d {
	import site
}
https://localhost:%[2]d {
	import site
}
https://localhost:%[3]d {
	import accounts
	require_login
	import site
}
https://localhost:%[4]d {
	basic_auth {
		bench %[12]s
	}
	import site
}
https://localhost:%[13]d {
	header Cache-Control "private, no-cache"
	import site
}
https://localhost:%[5]d {
	forward_auth 127.0.0.1:%[6]d {
		uri /accounts/authz/forward-auth?
		header_up Host localhost:%[3]d
		copy_headers Remote-User Remote-Id Remote-Email Remote-Name Remote-Groups
	}
	import site
}
http://:%[6]d {
	bind 127.0.0.1
	import accounts
}
`

// protocolSites are compared, in the order of their ports.
var protocolSites = []string{"plain", "control", "guarded", "basic", "forward", "header"}

// overProtocols are the protocols, with how many connections load each: as many as keep
// the server's CPU busy. A browser opens six of HTTP/1.1.
var overProtocols = []struct {
	key, name string
	visitors  int
}{
	{"h1", "TLS, HTTP/1.1 kept alive", 12},
	{"h2", "HTTP/2, 50 files at once on a connection", 4},
	{"h3", "HTTP/3, 50 files at once on a connection", 4},
}

// protocolSlice is one measurement; there are eighteen in a round.
const protocolSlice = 400 * time.Millisecond

func protocols(ctx context.Context, b *bench) error {
	const password = "correct horse battery"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	for i := range pageFiles {
		if _, err := b.write("pages"+pagePath(i), pageFile(i)); err != nil {
			return err
		}
	}
	store := filepath.Join(b.dir, "protocols.db")
	seeded, err := seed(ctx, store, small)
	if err != nil {
		return err
	}
	root, cert, key, err := b.certificate()
	if err != nil {
		return err
	}
	ports, err := freePorts(len(protocolSites) + 1)
	if err != nil {
		return err
	}
	s, err := b.start(ctx, "protocols", fmt.Sprintf(protocolsConfig, ports[0], ports[1], ports[2], ports[3], ports[4], ports[6],
		cert, key, filepath.Join(b.dir, "pages"), store, filepath.Join(b.dir, "mail"), hash, ports[5]), ports[0], b.serverCPU)
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()

	parties := map[string]*party{}
	defer func() {
		for _, p := range parties {
			_ = p.leave()
		}
	}()
	for i, site := range protocolSites {
		l := pageLoad{Port: ports[i], Root: root, Header: [2]string{"Cookie", "__Host-registration=" + seeded.token(0)}, For: protocolSlice}
		if site == "basic" {
			l.Header = [2]string{"Authorization", basicHeader("bench", password)[len("Authorization: "):]}
		}
		if slices.Contains([]string{"guarded", "basic", "forward"}, site) { // who has no cookie and no password gets nothing
			if status, err := statusOver(ctx, l); status != http.StatusUnauthorized {
				return errors.Join(err, fmt.Errorf("%s answers %d to nobody", site, status))
			}
		}
		for _, over := range overProtocols {
			l.Protocol, l.Visitors = over.key, over.visitors
			if parties[over.key+site], err = b.gather(ctx, l); err != nil {
				return fmt.Errorf("%s over %s: %w: %s", site, over.key, err, tail(s.log.Name()))
			}
		}
	}
	shots, err := b.visits(ctx, s, parties)
	if err != nil {
		return err
	}
	for _, over := range overProtocols {
		b.protocolRows(over.key, over.name, shots)
	}
	return nil
}

// visits measures by turns.
func (b *bench) visits(ctx context.Context, s *server, parties map[string]*party) (map[string][]shot, error) {
	shots := map[string][]shot{}
	for round := -1; round < b.rounds; round++ { // the first one warms up
		for _, over := range overProtocols {
			for i := range protocolSites {
				site := protocolSites[(i+max(round, 0))%len(protocolSites)]
				if round%2 == 1 { // each comes after every other one as often
					site = protocolSites[(2*len(protocolSites)-1-i+round)%len(protocolSites)]
				}
				name := over.key + site
				shot, err := parties[name].visit(s)
				if err != nil {
					return nil, fmt.Errorf("%s over %s: %w: %s", site, over.key, err, tail(s.log.Name()))
				}
				if round >= 0 {
					shots[name] = append(shots[name], shot)
				}
				if err := b.rest(ctx); err != nil {
					return nil, err
				}
			}
		}
	}
	return shots, nil
}

// protocolRows are those of one protocol. The ratio of CPU is that of plain to the other:
// how many requests the same CPU time answers.
func (b *bench) protocolRows(key, name string, shots map[string][]shot) {
	of := func(site string, figure func(shot) float64) (out []float64) {
		for _, s := range shots[key+site] {
			out = append(out, figure(s))
		}
		return out
	}
	plain, cpu := of("plain", shot.rate), of("plain", shot.cpuEach)
	busy := median(of("plain", func(s shot) float64 { return float64(s.cpu.Microseconds()) / s.Micros * 100 }))
	b.inform(name+": unguarded, CPU of a request, µs", "%.1f", median(cpu), fmt.Sprintf("%s; %.0f requests/s, the server's core %.0f %% busy", middle("%.1f", cpu), median(plain), busy))
	for _, site := range []struct{ key, name string }{
		{"control", "control: unguarded"}, {"guarded", "guarded"}, {"header", "`header` that only sets the guard's Cache-Control"}, {"basic", "`basic_auth`"}, {"forward", "`forward_auth` to our endpoint"},
	} {
		each, rate := ratios(cpu, of(site.key, shot.cpuEach)), ratios(of(site.key, shot.rate), plain)
		byCPU := fmt.Sprintf("%s: %s against unguarded, requests for the same CPU", name, site.name)
		byRate := fmt.Sprintf("%s: %s against unguarded, requests/s", name, site.name)
		if site.key == "guarded" {
			b.judge(byCPU, "≥ 0.98", "%.3f", median(each), middle("%.3f", each), median(each) >= 0.98)
			b.judge(byRate, "≥ 0.98", "%.3f", median(rate), middle("%.3f", rate), median(rate) >= 0.98)
			continue
		}
		b.inform(byCPU, "%.3f", median(each), middle("%.3f", each))
		b.inform(byRate, "%.3f", median(rate), middle("%.3f", rate))
	}
}

// A party is a process of visitors whose connections are open.
type party struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errOut bytes.Buffer
}

// gather starts one.
func (b *bench) gather(ctx context.Context, l pageLoad) (*party, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	said, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	words := append(b.pinned(b.clientCPU), self, "-pages")
	p := &party{cmd: exec.CommandContext(ctx, words[0], words[1:]...)} //nolint:gosec // our own words
	p.cmd.Stderr = &p.errOut
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := p.in.Write(append(said, '\n')); err != nil {
		return nil, errors.Join(err, p.leave())
	}
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		return nil, errors.Join(err, p.leave())
	}
	return p, nil
}

// visit has the visitors load their pages for a while.
func (p *party) visit(s *server) (result shot, err error) {
	before, err := s.cpu()
	if err != nil {
		return shot{}, err
	}
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		return shot{}, errors.Join(err, p.leave())
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return shot{}, errors.Join(err, p.leave())
	}
	after, err := s.cpu()
	if err != nil {
		return shot{}, err
	}
	if err := json.Unmarshal(line, &result); err != nil {
		return shot{}, err
	}
	result.cpu = after - before
	if result.Requests == 0 {
		return shot{}, errors.New("no requests")
	}
	return result, nil
}

// leave ends the process.
func (p *party) leave() error {
	_ = p.in.Close() // which tells it to
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("visitors: %w: %s", err, p.errOut.String())
	}
	return nil
}

// statusOver asks for a file with no credentials.
func statusOver(ctx context.Context, l pageLoad) (int, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(l.Root)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+l.host()+pagePath(0), nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// certificate writes one for localhost, and its key.
func (b *bench) certificate() (root []byte, cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", "", err
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(7 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &private.PublicKey, private)
	if err != nil {
		return nil, "", "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, "", "", err
	}
	root = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if cert, err = b.write("tls/cert.pem", string(root)); err != nil {
		return nil, "", "", err
	}
	key, err = b.write("tls/key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return root, cert, key, err
}
