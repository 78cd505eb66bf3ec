// emails_test.go: several addresses in every order, against a simple model of them, and by
// several at once.

package account_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// modelMax is how many addresses an account of the model has at most.
const modelMax = 3

// A modelPerson is what is known of a person's addresses without the code that is tested.
type modelPerson struct {
	id      uuid.UUID
	b       *sitetest.Browser
	primary string
	further []string
	asked   map[string]sitetest.Data // the links
	void    []sitetest.Data          // of what was taken back or used
	had     map[string]bool          // all that are kept for him
}

func (p *modelPerson) owns(email string) bool {
	return p.primary == email || slices.Contains(p.further, email)
}

type emailsModel struct {
	*sitetest.Site
	people []*modelPerson
	pool   []string
}

func newEmailsModel(t *testing.T) *emailsModel {
	m := &emailsModel{Site: sitetest.New(t, func(s *registration.Settings) { s.User.MaxEmails = modelMax; s.Throttle.Off = true })}
	for _, name := range []string{"ada", "bob"} {
		m.Member(name)
		m.people = append(m.people, &modelPerson{
			id: sitetest.UUIDOf(t, m.Site, name), b: m.SignedIn(name).Problems(), primary: name + "@example.org", asked: map[string]sitetest.Data{}, had: map[string]bool{},
		})
		m.pool = append(m.pool, name+"@example.org")
	}
	for i := range 5 {
		m.pool = append(m.pool, fmt.Sprintf("a%d@work.example", i))
	}
	return m
}

// link is what the mail to an address that was asked for carries.
func (m *emailsModel) link(p *modelPerson, email string) sitetest.Data {
	u, now := m.Stored(p.id.String()), m.Accounts.Now()
	claim := sign.Claim{Purpose: sign.PurposeRegisterEmail, User: p.id, Time: now, Email: email, State: m.Accounts.State(sign.PurposeRegisterEmail, u, email)}
	require.NotNil(m.T, claim.State)
	return sitetest.Data{"user_id": p.id.String(), "email": email, "timestamp": strconv.FormatInt(now.Unix(), 10), "signature": m.Accounts.Signer.Sign(claim)}
}

// anothers reports whether an address is somebody else's, or kept for him.
func (m *emailsModel) anothers(p *modelPerson, email string) bool {
	return slices.ContainsFunc(m.people, func(other *modelPerson) bool { return other != p && (other.owns(email) || other.had[email]) })
}

// changes is part of every change of p's own addresses: those that he had are kept.
func (p *modelPerson) changes() {
	p.had[p.primary] = true
	for _, email := range p.further {
		p.had[email] = true
	}
}

// step does one thing at random and returns what it was, what came of it and what should
// have.
func (m *emailsModel) step(random *rand.Rand) (what string, got, want int) {
	p := m.people[random.IntN(len(m.people))]
	email := m.pool[random.IntN(len(m.pool))]
	at := slices.Index(p.further, email)
	link, asked := p.asked[email]
	post := func(path string, body sitetest.Data) int { return p.b.Post("/accounts/"+path, body).StatusCode }
	switch random.IntN(6) {
	case 0, 1:
		want = http.StatusOK
		switch {
		case p.owns(email):
			want = http.StatusBadRequest
		case !asked && 1+len(p.further)+len(p.asked) >= modelMax:
			want = http.StatusConflict
		}
		if got = post("register-email", sitetest.Data{"email": email}); got == http.StatusOK {
			p.asked[email] = m.link(p, email)
		}
		return "register " + email, got, want
	case 2, 3:
		if !asked {
			if len(p.void) == 0 {
				return "nothing", 0, 0
			}
			return "a void link", post("verify-email", p.void[random.IntN(len(p.void))]), http.StatusBadRequest
		}
		want = http.StatusOK
		if m.anothers(p, email) {
			want = http.StatusBadRequest
		}
		if got = post("verify-email", link); got == http.StatusOK {
			p.changes()
			p.further = append(p.further, email)
			p.void = append(p.void, link)
			delete(p.asked, email)
		}
		return "verify " + email, got, want
	case 4:
		switch {
		case p.primary == email, asked:
			want = http.StatusConflict
		case at < 0:
			want = http.StatusNotFound
		default:
			want = http.StatusOK
			p.changes()
			p.further = slices.Insert(slices.Delete(p.further, at, at+1), 0, p.primary)
			p.primary = email
		}
		if p.owns(email) {
			want = http.StatusOK
		}
		return "primary " + email, post("primary-email", sitetest.Data{"email": email}), want
	default:
		switch {
		case p.primary == email:
			want = http.StatusConflict
		case at >= 0:
			want = http.StatusOK
			p.changes()
			p.further = slices.Delete(p.further, at, at+1)
		case asked:
			want = http.StatusOK
			p.void = append(p.void, link)
			delete(p.asked, email)
		default:
			want = http.StatusNotFound
		}
		return "remove " + email, post("remove-email", sitetest.Data{"email": email}), want
	}
}

// check compares what is kept with the model.
func (m *emailsModel) check(what string) {
	owner := map[string]uuid.UUID{}
	for _, p := range m.people {
		u := m.Stored(p.id.String())
		require.Equal(m.T, p.primary, u.Email, what)
		require.Equal(m.T, append([]string{}, p.further...), append([]string{}, u.FurtherEmails...), what)
		require.Len(m.T, u.AskedEmails, len(p.asked), what)
		for _, email := range append([]string{p.primary}, p.further...) {
			require.NotContains(m.T, owner, email, what)
			owner[email] = p.id
		}
	}
	for _, email := range m.pool {
		u, err := m.Accounts.Find(m.T.Context(), field.Input{"login": field.Value{Kind: field.ValueText, Text: email}}, []string{field.Email})
		require.NoError(m.T, err)
		if id, ok := owner[email]; ok {
			require.Equal(m.T, id, u.ID, "%s: %s", what, email)
		} else {
			require.Nil(m.T, u, "%s: %s", what, email)
		}
	}
}

func TestEmailsInEveryOrder(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 24)) //nolint:gosec // to be repeated
			m := newEmailsModel(t)
			for n := range 120 {
				for len(m.Mailer.Sent) > 0 {
					<-m.Mailer.Sent
				}
				what, got, want := m.step(random)
				require.Equal(t, want, got, "%d: %s", n, what)
				m.check(fmt.Sprintf("%d: %s", n, what))
			}
		})
	}
}

// Of two who confirm one address at the same time one has it, and one who confirms several
// has no more than he can have.
func TestEmailsAtTheSameTime(t *testing.T) {
	m := newEmailsModel(t)
	for i := range 4 {
		email := fmt.Sprintf("race%d@work.example", i)
		var links []sitetest.Data
		for _, p := range m.people {
			require.Equal(t, http.StatusOK, p.b.Post("/accounts/register-email", sitetest.Data{"email": email}).StatusCode)
			links = append(links, m.link(p, email), m.link(p, email))
		}
		codes := m.together(links, func(b *sitetest.Browser, link sitetest.Data) int {
			return b.Post("/accounts/verify-email", link).StatusCode
		})
		require.Equal(t, 1, codes[http.StatusOK], "%v", codes)
		var owners []*modelPerson
		for _, p := range m.people {
			if slices.Contains(m.Stored(p.id.String()).FurtherEmails, email) {
				owners = append(owners, p)
			}
			_ = p.b.Post("/accounts/remove-email", sitetest.Data{"email": email})
		}
		require.Len(t, owners, 1)
	}
	ada := m.people[0]
	emails := []sitetest.Data{}
	for i := range 6 {
		emails = append(emails, sitetest.Data{"email": fmt.Sprintf("many%d@work.example", i)})
	}
	codes := m.together(emails, func(_ *sitetest.Browser, with sitetest.Data) int {
		b := m.Browser()
		b.Cookie = ada.b.Cookie
		return b.Post("/accounts/register-email", with).StatusCode
	})
	require.Equal(t, modelMax-1, codes[http.StatusOK], "%v", codes)
}

// together does one thing with each at the same time, and counts the answers.
func (m *emailsModel) together(with []sitetest.Data, act func(*sitetest.Browser, sitetest.Data) int) map[int]int {
	var wait sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for _, one := range with {
		wait.Go(func() {
			code := act(m.Browser(), one)
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	wait.Wait()
	return codes
}
