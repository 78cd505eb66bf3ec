// export.go: all accounts of a realm, as they are at one moment.

package transfer

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ExportOptions say what is exported.
type ExportOptions struct {
	// Format is one of ExportFormats.
	Format string
	// WithHashes takes along what proves who somebody is: the hashes of passwords and,
	// in FormatNDJSON, of invitations and of names that were left.
	WithHashes bool
	// WithAudit takes the record of acts along; of FormatNDJSON alone.
	WithAudit bool
}

// exportBatch is how many records are in memory at once.
const exportBatch = 500

// Exported is what an export has.
type Exported struct {
	Accounts int
	// Sealed is how many of them have codes for a second step that are sealed under a key
	// which stays where it is: they work in this store alone.
	Sealed int
}

// Export writes all accounts into a spool, as they are in one transaction that waits
// for nobody but the disk. The record of acts has it.
func Export(ctx context.Context, a *account.Accounts, out *Spool, o ExportOptions) (got Exported, err error) {
	writer, ok := map[string]func(*exporter) error{FormatNDJSON: (*exporter).ndjson, FormatCSV: (*exporter).csv, FormatDjango: (*exporter).django}[o.Format]
	if !ok {
		return got, fmt.Errorf("there is no format %q to export in; the formats are %s", o.Format, strings.Join(ExportFormats, ", "))
	}
	yes := func(on bool) string {
		if on {
			return "yes"
		}
		return ""
	}
	// Before anything is handed out.
	if err := a.Update(ctx, func(t *account.Txn) error {
		return t.Audit(audit.AccountsExported, uuid.Nil, "format", o.Format, "hashes", yes(o.WithHashes), "audit", yes(o.WithAudit))
	}); err != nil {
		return got, err
	}
	err = a.View(ctx, func(tx store.Tx) error {
		if err := out.Restart(); err != nil {
			return err
		}
		e := &exporter{ctx: ctx, tx: tx, out: bufio.NewWriterSize(out, 256<<10), fields: a.Policy.Fields, hashes: o.WithHashes, record: o.WithAudit, keys: a.FactorKeys}
		if err := writer(e); err != nil {
			return err
		}
		got = e.Exported
		return e.out.Flush()
	})
	return got, err
}

// An exporter writes one export, in one transaction.
type exporter struct {
	ctx    context.Context
	tx     store.Tx
	out    *bufio.Writer
	fields *field.Set
	hashes bool
	record bool
	keys   *factor.Keys
	// keyed: the keys of second steps are in it.
	keyed bool
	lines int
	Exported
}

// each calls fn with every account, in order of id.
func (e *exporter) each(fn func(*store.User) error) error {
	for after := uuid.Nil; ; {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		users, err := e.tx.Users(after, exportBatch)
		if err != nil {
			return err
		}
		for _, u := range users {
			if err := fn(u); err != nil {
				return err
			}
		}
		if len(users) < exportBatch {
			return nil
		}
		after = users[len(users)-1].ID
	}
}

func (e *exporter) line(v any) error {
	raw, err := plainJSON(v)
	if err == nil {
		_, err = e.out.Write(append(raw, '\n'))
	}
	e.lines++
	return err
}

func (e *exporter) ndjson() error {
	if err := e.line(header{exportVersion, e.hashes}); err != nil {
		return err
	}
	if err := e.each(e.account); err != nil {
		return err
	}
	if e.hashes {
		if err := errors.Join(e.invitations(), e.leftNames()); err != nil {
			return err
		}
	}
	if e.record {
		if err := e.audits(); err != nil {
			return err
		}
	}
	return e.line(line{End: &endLine{e.Accounts, e.lines}})
}

// account writes an account, and before the first one with something sealed the keys.
func (e *exporter) account(u *store.User) error {
	e.Accounts++
	switch {
	case !e.hashes || !factor.Depends(u):
	case !e.keys.Travel():
		e.Sealed++
	case !e.keyed:
		p, err := factor.Stored(e.tx, e.keys.Realm())
		if err == nil {
			err = e.line(line{FactorKey: &factorKeyLine{p.Realm, p.Own, p.Taken}})
		}
		if err != nil {
			return err
		}
		e.keyed = true
	}
	return e.line(lineOf(u, e.hashes))
}

func (e *exporter) invitations() error {
	for after := uuid.Nil; ; {
		page, err := e.tx.Invitations(after, exportBatch)
		if err != nil {
			return err
		}
		for _, i := range page {
			if err := e.line(line{Invitation: invitationLineOf(i)}); err != nil {
				return err
			}
			after = i.ID
		}
		if len(page) < exportBatch {
			return nil
		}
	}
}

func (e *exporter) leftNames() error {
	for after := (store.NameHash{}); ; {
		page, err := e.tx.LeftNames(after, exportBatch)
		if err != nil {
			return err
		}
		for _, hash := range page {
			left, err := e.tx.LeftName(hash)
			if err == nil {
				err = e.line(line{LeftName: &leftNameLine{hash[:], left.User, moment{left.Until}}})
			}
			if err != nil {
				return err
			}
			after = hash
		}
		if len(page) < exportBatch {
			return nil
		}
	}
}

// csv is a table of what an account shows, added fields behind the built-in ones.
func (e *exporter) csv() error {
	table := csv.NewWriter(e.out)
	var titles []string
	for _, f := range e.fields.All {
		titles = append(titles, f.Name)
		if f.Name == field.Email {
			titles = append(titles, "email_verified")
		}
	}
	if e.hashes {
		titles = append(titles, "password_hash")
	}
	if err := table.Write(titles); err != nil {
		return err
	}
	if err := e.each(func(u *store.User) error {
		e.Accounts++
		cells := make([]string, 0, len(titles))
		for _, name := range titles {
			switch f, ok := e.fields.ByName[name]; {
			case name == field.Groups:
				cells = append(cells, strings.Join(u.Groups, ","))
			case ok:
				cells = append(cells, clean(field.TextOf(f.Get(u))))
			case name == "email_verified":
				cells = append(cells, field.TextOf(u.EmailVerified))
			default:
				cells = append(cells, u.PasswordHash)
			}
		}
		return table.Write(cells)
	}); err != nil {
		return err
	}
	table.Flush()
	return table.Error()
}

// The records of a fixture of django.contrib.auth.
type (
	djangoRecord struct {
		Model  string `json:"model"`
		PK     int    `json:"pk"`
		Fields any    `json:"fields"`
	}
	djangoGroup struct {
		Name        string `json:"name"`
		Permissions []int  `json:"permissions"`
	}
	djangoUser struct {
		Password        string  `json:"password"`
		LastLogin       *moment `json:"last_login"`
		IsSuperuser     bool    `json:"is_superuser"`
		Username        string  `json:"username"`
		FirstName       string  `json:"first_name"`
		LastName        string  `json:"last_name"`
		Email           string  `json:"email"`
		IsStaff         bool    `json:"is_staff"`
		IsActive        bool    `json:"is_active"`
		DateJoined      moment  `json:"date_joined"`
		Groups          []int   `json:"groups"`
		UserPermissions []int   `json:"user_permissions"`
	}
)

func (e *exporter) django() error {
	var groups []string
	if err := e.each(func(u *store.User) error {
		for _, g := range u.Groups {
			if i, there := slices.BinarySearch(groups, g); !there {
				groups = slices.Insert(groups, i, g)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	separator := "[\n"
	record := func(r djangoRecord) error {
		raw, err := json.Marshal(r)
		if err == nil {
			_, err = e.out.WriteString(separator + string(raw))
		}
		separator = ",\n"
		return err
	}
	for i, name := range groups {
		if err := record(djangoRecord{"auth.group", i + 1, djangoGroup{name, []int{}}}); err != nil {
			return err
		}
	}
	if err := e.each(func(u *store.User) error {
		e.Accounts++
		numbers := []int{}
		for _, g := range u.Groups {
			i, _ := slices.BinarySearch(groups, g)
			numbers = append(numbers, i+1)
		}
		name := u.Username
		if name == "" { // Django has no user without one
			name = u.ID.String()
		}
		hash := noDjangoPassword
		if e.hashes {
			hash = djangoHash(u.PasswordHash)
		}
		return record(djangoRecord{"auth.user", e.Accounts, djangoUser{
			Password: hash, LastLogin: momentOf(u.LastLogin), Username: clean(name), FirstName: clean(u.FirstName), LastName: clean(u.LastName),
			Email: clean(u.Email), IsStaff: u.IsStaff, IsActive: u.IsActive, DateJoined: moment{u.DateJoined}, Groups: numbers, UserPermissions: []int{},
		}})
	}); err != nil {
		return err
	}
	if separator == "[\n" {
		_, err := io.WriteString(e.out, "[]\n")
		return err
	}
	_, err := io.WriteString(e.out, "\n]\n")
	return err
}

// noDjangoPassword is what Django takes for a password that nothing matches.
const noDjangoPassword = "!"

// djangoHash is a hash as Django spells it, where Django can verify it.
func djangoHash(hash string) string {
	switch password.FormatOf(hash) {
	case "argon2id":
		return "argon2" + hash
	case "bcrypt":
		return "bcrypt$" + hash
	}
	if strings.HasPrefix(hash, "pbkdf2_") || strings.HasPrefix(hash, "scrypt$") || strings.HasPrefix(hash, "bcrypt_sha256$") || strings.HasPrefix(hash, "argon2$") {
		return hash
	}
	return noDjangoPassword
}
