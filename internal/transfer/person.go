// person.go: all that is kept about one person, for himself.

package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"math"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/store"
)

// personVersion is that of the document. A member that is added doesn't raise it.
const personVersion = 1

// person is what one gets who asks for all that is kept about him. It has nothing that
// proves who somebody is: no hash of a password, no secret, no token.
type person struct {
	Version        int              `json:"personal_data"`
	At             moment           `json:"at"`
	Account        *accountLine     `json:"account"`
	SecondStep     ownSecondStep    `json:"second_step"`
	FormerPassword []ownPassword    `json:"former_passwords"`
	PasswordSince  *moment          `json:"password_since,omitempty"`
	Sessions       []ownSession     `json:"sessions"`
	Known          []ownDevice      `json:"known_devices"`
	Programs       []ownProgram     `json:"program_tokens"`
	Mail           []ownMail        `json:"mail"`
	Invitations    []*ownInvitation `json:"invitations"`
	Record         []*auditLine     `json:"record"`
}

type ownSecondStep struct {
	Factors        []ownFactor  `json:"factors"`
	Former         []ownFactor  `json:"former_factors"`
	RecoveryCodes  int          `json:"recovery_codes_left"`
	RecoveryMade   *moment      `json:"recovery_codes_made,omitempty"`
	BegunAt        *moment      `json:"begun,omitempty"`
	Failures       []moment     `json:"wrong_answers"`
	FailuresInARow uint32       `json:"wrong_answers_in_a_row"`
	Trusted        []ownBrowser `json:"trusted_devices"`
}

type ownFactor struct {
	ID         uuid.UUID        `json:"id"`
	Type       store.FactorType `json:"type"`
	Name       string           `json:"name,omitempty"`
	Created    *moment          `json:"created,omitempty"`
	LastUsed   *moment          `json:"last_used,omitempty"`
	AAGUID     *uuid.UUID       `json:"aaguid,omitempty"`
	Uses       uint32           `json:"sign_count,omitempty"`
	Transports []string         `json:"transports,omitempty"`
	Until      *moment          `json:"until,omitempty"`
}

// ownProgram is a token for programs.
type ownProgram struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Created  *moment  `json:"created,omitempty"`
	LastUsed *moment  `json:"last_used,omitempty"`
	Expires  *moment  `json:"expires,omitempty"`
	Path     string   `json:"path,omitempty"`
	Groups   []string `json:"groups"` // null: all count
}

type ownPassword struct {
	Since *moment `json:"since,omitempty"`
	Until moment  `json:"until"`
}

type ownBrowser struct {
	Created   moment `json:"created"`
	LastUsed  moment `json:"last_used"`
	UserAgent string `json:"user_agent"`
}

type ownDevice struct {
	LastUsed moment  `json:"last_used"`
	Told     *moment `json:"told,omitempty"`
}

type ownSession struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"`
	Created   moment   `json:"created"`
	LastUsed  moment   `json:"last_used"`
	Expires   moment   `json:"expires"`
	Rotated   *moment  `json:"refreshed,omitempty"`
	Address   string   `json:"address"`
	UserAgent string   `json:"user_agent"`
	AMR       []string `json:"amr"`
	AuthTime  moment   `json:"auth_time"`
}

type ownMail struct {
	Kind      store.MailKind `json:"kind"`
	To        string         `json:"to"`
	MessageID string         `json:"message_id"`
	Language  string         `json:"language,omitempty"`
	Queued    moment         `json:"queued"`
	Due       moment         `json:"due"`
	Attempts  int            `json:"attempts,omitempty"`
	Next      string         `json:"next,omitempty"`
	Words     string         `json:"words,omitempty"`
	Device    string         `json:"device,omitempty"`
	Address   string         `json:"address,omitempty"`
	Failed    string         `json:"server_says,omitempty"`
}

type ownInvitation struct {
	ID      uuid.UUID `json:"id"`
	Email   string    `json:"email,omitempty"`
	Groups  []string  `json:"groups,omitempty"`
	Created moment    `json:"created"`
	Expires moment    `json:"expires"`
}

// Person is all that is kept about the owner of an account, as he is given it: a JSON
// object. It returns store.ErrNotFound where there is no such account.
//
// What isn't in it is kept without a name, or is somebody else's: how often somebody has
// tried what (by a keyed hash of his address, for minutes), names that he left (by their
// hash; when he left them is in it), and what he did to the accounts of others.
func Person(ctx context.Context, a *account.Accounts, id uuid.UUID) ([]byte, error) {
	p := person{Version: personVersion, At: moment{a.Time()}}
	if err := a.View(ctx, func(tx store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		p.account(u)
		if err := p.sessions(tx, u); err != nil {
			return err
		}
		if err := p.mail(tx, u); err != nil {
			return err
		}
		if err := p.invitations(tx, u); err != nil {
			return err
		}
		return p.record(ctx, tx, u)
	}); err != nil {
		return nil, err
	}
	raw, err := plainJSON(p)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Indent(&out, raw, "", "  ")
	return append(out.Bytes(), '\n'), err
}

func (p *person) account(u *store.User) {
	p.Account = lineOf(u, false)
	p.PasswordSince = momentOf(u.PasswordSince)
	p.FormerPassword = []ownPassword{}
	for _, f := range u.FormerPasswords {
		p.FormerPassword = append(p.FormerPassword, ownPassword{momentOf(f.Since), moment{f.Until}})
	}
	p.SecondStep = ownSecondStep{
		Factors: []ownFactor{}, Former: []ownFactor{}, Failures: []moment{}, Trusted: []ownBrowser{},
		RecoveryCodes: len(u.RecoveryCodes), RecoveryMade: momentOf(u.RecoveryMade), FailuresInARow: u.FactorFailuresInRow,
	}
	for i := range u.Factors {
		p.SecondStep.Factors = append(p.SecondStep.Factors, ownFactorOf(&u.Factors[i]))
	}
	for i := range u.FormerFactors {
		f := ownFactorOf(&u.FormerFactors[i].Factor)
		f.Until = momentOf(u.FormerFactors[i].Until)
		p.SecondStep.Former = append(p.SecondStep.Former, f)
	}
	if u.Enrolment != nil {
		p.SecondStep.BegunAt = momentOf(u.Enrolment.Since)
	}
	for _, f := range u.FactorFailures {
		p.SecondStep.Failures = append(p.SecondStep.Failures, moment{f.At})
	}
	for _, d := range u.TrustedDevices {
		p.SecondStep.Trusted = append(p.SecondStep.Trusted, ownBrowser{moment{d.Created}, moment{d.LastUsed}, clean(d.UserAgent)})
	}
	p.Known = []ownDevice{}
	for i := range u.KnownDevices {
		p.Known = append(p.Known, ownDevice{moment{u.KnownDevices[i].LastUsed}, momentOf(u.KnownDevices[i].Told)})
	}
	p.Programs = []ownProgram{}
	for i := range u.ProgramTokens {
		t := &u.ProgramTokens[i]
		p.Programs = append(p.Programs, ownProgram{t.Hash.PublicID(), clean(t.Name), momentOf(t.Created), momentOf(t.LastUsed), momentOf(t.Expires), clean(t.Path), t.Groups})
	}
}

func ownFactorOf(f *store.Factor) ownFactor {
	own := ownFactor{ID: f.ID, Type: f.Type, Name: clean(f.Name), Created: momentOf(f.Created), LastUsed: momentOf(f.LastUsed), Uses: f.SignCount, Transports: f.Transports}
	if f.AAGUID != uuid.Nil {
		own.AAGUID = &f.AAGUID
	}
	return own
}

func (p *person) sessions(tx store.Tx, u *store.User) error {
	list, err := tx.Sessions(u.ID, math.MaxInt32)
	p.Sessions = make([]ownSession, len(list))
	for i, s := range list {
		p.Sessions[i] = ownSessionOf(s)
	}
	return err
}

func ownSessionOf(s *store.Session) ownSession {
	return ownSession{
		ID: s.Hash.PublicID(), Kind: account.SessionKinds[s.Kind], Created: moment{s.Created}, LastUsed: moment{s.LastUsed}, Expires: moment{s.Expires},
		Rotated: momentOf(s.Rotated), Address: clean(s.Address), UserAgent: clean(s.UserAgent), AMR: s.Methods(), AuthTime: moment{s.ShownAt()},
	}
}

// mail are the messages that wait, those about the account; the queue has no others of
// one person.
func (p *person) mail(tx store.Tx, u *store.User) error {
	p.Mail = []ownMail{}
	for after := uint64(0); ; {
		page, err := tx.Mails(after, exportBatch)
		if err != nil {
			return err
		}
		for _, m := range page {
			after = m.Seq
			if m.User != u.ID && m.Waiting != u.ID || m.Kind == store.MailDecoy {
				continue
			}
			p.Mail = append(p.Mail, ownMailOf(m))
		}
		if len(page) < exportBatch {
			return nil
		}
	}
}

func ownMailOf(m *store.Mail) ownMail {
	return ownMail{
		Kind: m.Kind, To: clean(m.To), MessageID: clean(m.MessageID), Language: clean(m.Language), Queued: moment{m.Queued}, Due: moment{m.Due},
		Attempts: m.Attempts, Next: clean(m.Next), Words: clean(m.Words), Device: clean(m.Device), Address: clean(m.Address), Failed: clean(m.Failed),
	}
}

// invitations are those to the person's address, and the one by which he came, as long
// as they are kept. What the inviter noted is the inviter's.
func (p *person) invitations(tx store.Tx, u *store.User) error {
	p.Invitations = []*ownInvitation{}
	for after := uuid.Nil; ; {
		page, err := tx.Invitations(after, exportBatch)
		if err != nil {
			return err
		}
		for _, i := range page {
			after = i.ID
			if i.ID == u.Invitation || u.EmailVerified && i.Email != "" && store.Fold(i.Email) == store.Fold(u.Email) || account.IsFurther(u, i.Email) {
				p.Invitations = append(p.Invitations, &ownInvitation{i.ID, clean(i.Email), i.Groups, moment{i.Created}, moment{i.Expires}})
			}
		}
		if len(page) < exportBatch {
			return nil
		}
	}
}

// record are the rows about the account. Where an administrator of the site acted, it
// is not said which one, nor from where.
func (p *person) record(ctx context.Context, tx store.Tx, u *store.User) error {
	p.Record = []*auditLine{}
	for after := uint64(0); ; {
		page, err := tx.Audits(store.AuditQuery{Account: u.ID, After: after, Limit: exportBatch})
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			l := auditLineOf(row)
			switch l.Account = nil; row.Actor {
			case "", u.ID.String(), audit.ActorSystem:
			default:
				l.Actor, l.Address, l.Agent = "administrator", "", ""
			}
			p.Record = append(p.Record, l)
		}
		if after = page.Next; !page.More {
			return ctx.Err()
		}
	}
}
