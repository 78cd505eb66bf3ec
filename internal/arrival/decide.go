// decide.go: what is made of one arrival of an import: the account that it says, the
// one here that it is already, what differs between the two, and whose values it would take.

package arrival

import (
	"cmp"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// read makes an account of an arrival, with what is wrong with it.
func (i *Run) read(tx store.Tx, r *Arrival, d *decision) (*store.User, refusal.FieldErrors) {
	a := i.a
	var errs refusal.FieldErrors
	if r.Whole != nil {
		u := i.whole(r, &errs)
		return u, errs
	}
	u := &store.User{IsActive: true, EmailVerified: true, DateJoined: r.Joined.UTC().Truncate(time.Second), LastLogin: r.LastLogin.UTC().Truncate(time.Second)}
	if r.Joined.IsZero() {
		u.DateJoined = a.Time()
	}
	for flag, said := range map[*bool]*bool{&u.IsActive: r.IsActive, &u.EmailVerified: r.EmailVerified, &u.IsStaff: r.IsStaff} {
		if said != nil {
			*flag = *said
		}
	}
	in := i.fieldsOf(r, d)
	a.ReadAsOwner(in, u, &errs)
	u.EmailVerified = u.EmailVerified && u.Email != ""
	a.ChooseAsOwner(u, &errs)
	u.Groups = i.groups(r.Groups)
	account.CheckGroups(u.Groups, &errs)
	if u.PasswordHash = r.PasswordHash; r.hash != "" {
		u.PasswordHash = r.hash
	}
	if len(r.Password) > password.MaxLength {
		errs.Add("password", refusal.CodeMaxLength, text.Params{"max": password.MaxLength})
	}
	d.err = i.identify(tx, r, u)
	return u, errs
}

// A reading is what an arrival says, and what has been remarked so far.
type reading struct {
	user     *store.User
	errs     refusal.FieldErrors
	decision decision
}

// readAll reads a batch, and has the store read at once what is going to be decided about: on a
// server, row by row would hold up everybody else's acts for as long as the round trips take.
func (i *Run) readAll(tx store.Tx, batch []*Arrival) []reading {
	var named, all store.Ahead
	for _, r := range batch {
		if r.ID != uuid.Nil {
			named.Users = append(named.Users, r.ID)
		}
	}
	named.In(tx)
	read := make([]reading, len(batch))
	for n, r := range batch {
		one := &read[n]
		if one.user, one.errs = i.read(tx, r, &one.decision); one.decision.err == nil {
			all.Add(i.a.Ahead(one.user))
		}
	}
	all.In(tx)
	return read
}

// whole is the account of an arrival that is one of our own exports.
func (i *Run) whole(r *Arrival, errs *refusal.FieldErrors) *store.User {
	u := *r.Whole
	u.LeavesBy = u.LeavesAt // this store's steady clock may be behind, never ahead
	if g := i.o.Group; g != "" && !slices.Contains(u.Groups, g) {
		u.Groups = append(slices.Clone(u.Groups), g)
	}
	if len(u.Groups) > account.MaxGroups {
		errs.Add(field.Groups, refusal.CodeInvalid)
	}
	return &u
}

// fieldsOf are the fields of an arrival that the realm has, also under the name by which
// another system calls them; the rest is remarked on.
func (i *Run) fieldsOf(r *Arrival, d *decision) field.Input {
	a := i.a
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		if f, ok := a.Policy.Fields.ByName[name]; ok && (f.Extra || slices.Contains(account.OwnNames, name)) {
			continue
		}
		here := fieldName(name)
		_, twice := r.Fields[here]
		if f, ok := a.Policy.Fields.ByName[here]; ok && f.Extra && !twice {
			r.Fields[here] = r.Fields[name]
			delete(r.Fields, name)
		}
	}
	in := maps.Clone(r.Fields)
	if f, said := a.Policy.Fields.ByName[field.Language], in.Text(field.Language); f != nil && !f.Extra && said != "" {
		if _, spoken := f.Parse(said); !spoken {
			d.remark(field.Language, RemarkUnknownField, "no such language is spoken here, so it is left out: the account is written to as its owner's browser asks")
			delete(in, field.Language)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		if f, ok := a.Policy.Fields.ByName[name]; !ok || !f.Extra && !slices.Contains(account.OwnNames, name) {
			add := "it"
			if here := fieldName(name); here != name && here != "" {
				add = here
			}
			d.remark(name, RemarkUnknownField, "the realm has no such field, so it is left out; to take it, add %s to the fields of the user first", add)
			delete(in, name)
		}
	}
	return in
}

// updates makes of after what the file says beside who it is and how it signs in, and
// returns the names of what differs.
func (i *Run) updates(have, u, after *store.User, r *Arrival) (other []string) {
	set := func(name string, differs bool, change func()) {
		if differs {
			other = append(other, name)
			change()
		}
	}
	said := func(name string) bool { return r.Whole != nil || r.says(name) }
	set(field.FirstName, said(field.FirstName) && u.FirstName != have.FirstName, func() { after.FirstName = u.FirstName })
	set(field.LastName, said(field.LastName) && u.LastName != have.LastName, func() { after.LastName = u.LastName })
	set(field.Language, said(field.Language) && u.Language != have.Language, func() { after.Language = u.Language })
	set(field.IsStaff, said(field.IsStaff) && u.IsStaff != have.IsStaff, func() { after.IsStaff = u.IsStaff })
	set(field.IsActive, said(field.IsActive) && have.IsActive && !account.Usable(u), func() { after.IsActive = false })
	missing := slices.DeleteFunc(slices.Clone(u.Groups), func(g string) bool { return slices.Contains(have.Groups, g) })
	set(field.Groups, len(missing) > 0, func() { after.Groups = append(after.Groups, missing...) })
	for _, f := range i.a.Policy.Fields.All {
		if _, there := u.Extra[f.Name]; f.Extra && there {
			set(f.Name, field.TextOf(f.Get(u)) != field.TextOf(f.Get(have)), func() { f.Assign(after, u.Extra[f.Name]) })
		}
	}
	return other
}

// giveEmail is an account with the address of the file, where it has none; free is false
// where somebody else has that.
func (i *Run) giveEmail(tx store.Tx, have, u *store.User, given store.User) (_ *store.User, free bool, err error) {
	if !givesEmail(have, u) {
		return nil, false, nil
	}
	given.Email, given.EmailVerified = u.Email, u.EmailVerified
	var errs refusal.FieldErrors
	err = errors.Join(i.a.TakenAsOwner(tx, &given, &errs), i.clashes(tx, &given, &errs))
	return &given, !errs.Has(field.Email), err
}

// identify gives an account the id that the file has for it, where that is one that we
// could have made. What other systems call it is nothing that we could keep.
func (i *Run) identify(tx store.Tx, r *Arrival, u *store.User) (err error) {
	if r.ID != uuid.Nil {
		_, err := tx.User(r.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil || r.ID.Version() == 7 && r.ID.Variant() == uuid.RFC4122 {
			u.ID = r.ID
			return nil
		}
	}
	if r.made == uuid.Nil {
		if r.made, err = uuid.NewV7(); err != nil {
			return err
		}
	}
	u.ID = r.made
	return nil
}

// groups are those of the file and that of the run.
func (i *Run) groups(groups []string) (all []string) {
	for _, g := range append(slices.Clone(groups), i.o.Group) {
		if g != "" && !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	return all
}

// identityOf are the values by which an account is the same as another.
func identityOf(u *store.User, r *Arrival) (keys []store.Key) {
	if r.Whole != nil || u.ID == r.ID {
		keys = append(keys, store.Key{Field: field.ID, Value: u.ID.String()})
	}
	if u.Username != "" {
		keys = append(keys, store.Key{Field: field.Username, Value: field.UniqueKey(u.Username)})
	}
	if u.Email != "" && !u.EmailPending {
		keys = append(keys, store.Key{Field: field.Email, Value: field.EmailKey(u.Email)})
	}
	for _, email := range u.FurtherEmails {
		keys = append(keys, store.Key{Field: field.Email, Value: field.EmailKey(email)})
	}
	return keys
}

// existing finds the account that an arrival is already: the one with its id, else the
// one with its username and its address, as far as both have them. Where these are of
// two, it is refused.
func (i *Run) existing(tx store.Tx, u *store.User, d *decision) (*store.User, error) {
	switch have, err := tx.User(u.ID); {
	case err == nil:
		return have, nil
	case !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	byKey := func(name, value string) (*store.User, error) {
		if value == "" {
			return nil, nil //nolint:nilnil // nobody, and that is no error
		}
		have, err := tx.UserByKey(name, value)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil //nolint:nilnil // as above
		}
		return have, err
	}
	named, err := byKey(field.Username, field.UniqueKey(u.Username))
	if err != nil {
		return nil, err
	}
	email := ""
	if !u.EmailPending {
		email = field.EmailKey(u.Email)
	}
	reached, err := byKey(field.Email, email)
	if err != nil {
		return nil, err
	}
	switch {
	case named == nil && reached == nil:
		return nil, nil //nolint:nilnil // it is new
	case named != nil && (reached == nil && (u.Email == "" || named.Email == "") || reached != nil && reached.ID == named.ID):
		return named, nil
	case named == nil && (u.Username == "" || reached.Username == ""):
		return reached, nil
	}
	d.outcome.Fate = FateRefused
	if named != nil {
		d.remark(field.Username, RemarkOther, "the username is that of an account with another address; if it is the same person, give one of them the other's, else rename one")
	} else {
		d.remark(field.Email, RemarkOther, "the address is that of an account with another username; if it is the same person, give one of them the other's, else change one address")
	}
	return nil, nil //nolint:nilnil // refused
}

// meet decides on an account that is there.
func (i *Run) meet(tx store.Tx, have, u *store.User, r *Arrival, d *decision) error {
	after := *have
	after.Extra, after.Groups = maps.Clone(have.Extra), slices.Clone(have.Groups)
	other := i.updates(have, u, &after, r)
	set := func(name string, differs bool, change func()) {
		if differs {
			other = append(other, name)
			change()
		}
	}
	kept := keptOf(have, u, r)
	if given, free, err := i.giveEmail(tx, have, u, after); err != nil {
		return err
	} else if given != nil {
		if !free {
			kept = append(kept, field.Email)
		}
		set(field.Email, free, func() { after = *given })
	}
	if proves(have, u, r) {
		given := after
		given.PasswordHash, given.Factors, given.FormerFactors, given.RecoveryCodes, given.RecoveryMade = u.PasswordHash, u.Factors, u.FormerFactors, u.RecoveryCodes, u.RecoveryMade
		var errs refusal.FieldErrors
		if err := i.clashes(tx, &given, &errs); err != nil {
			return err
		}
		if d.proof = len(errs) == 0; !d.proof {
			kept = append(kept, "password")
		}
		set("password", d.proof, func() { after = given })
	}
	hash := cmp.Or(u.PasswordHash, r.PasswordHash)
	d.outcome.ByName = r.Whole == nil && u.ID != have.ID && u.Email == "" && (hash == "" || hash != have.PasswordHash)
	d.outcome.Mended = i.mends(have, r)
	if !d.proof && hash != "" && have.PasswordHash != "" && password.Differ(have.PasswordHash, hash) {
		kept = append(kept, "password")
	}
	i.met(other, kept, d)
	if d.outcome.Fate == FateUpdated {
		d.before, d.user = have, &after
		if d.proof {
			i.sealed(&after, d)
		}
	} else {
		d.proof = false
	}
	return nil
}

// met says what becomes of an account that is there, in which update would write the
// one fields and no import the others.
func (i *Run) met(other, kept []string, d *decision) {
	switch {
	case len(other) > 0 && i.o.Update:
		d.outcome.Fate = FateUpdated
	case len(other)+len(kept) > 0:
		d.outcome.Fate = FateDifferent
		for _, name := range other {
			d.remark(name, RemarkDifferent, "the account is there and has another value; update writes this one")
		}
	default:
		d.outcome.Fate = FateUnchanged
	}
	for _, name := range kept {
		message := "the account is there and has another value, which no import changes; if the file is right, change it yourself"
		if name == "password" {
			message = "the account is there with another password, or with a hash that a sign-in made anew; it is kept"
		}
		d.remark(name, RemarkDifferent, "%s", message)
	}
}

// keptOf are the fields that a file has otherwise, and that no import changes, but for the
// password.
func keptOf(have, u *store.User, r *Arrival) (names []string) {
	if u.Username != "" && field.UniqueKey(u.Username) != field.UniqueKey(have.Username) {
		names = append(names, field.Username)
	}
	switch same := field.EmailKey(u.Email) == field.EmailKey(have.Email); {
	case u.Email == "" || u.EmailPending || givesEmail(have, u):
	case !same:
		names = append(names, field.Email)
	case (r.Whole != nil || r.EmailVerified != nil) && u.EmailVerified != have.EmailVerified:
		names = append(names, "email_verified")
	}
	if slices.ContainsFunc(u.FurtherEmails, func(email string) bool {
		return !account.IsFurther(have, email) && field.EmailKey(email) != field.EmailKey(have.Email)
	}) {
		names = append(names, "further_emails")
	}
	return names
}

// givesEmail reports whether a file has an address for an account without one. Who has
// had another here has chosen to have none.
func givesEmail(have, u *store.User) bool {
	return have.Email == "" && u.Email != "" && !u.EmailPending && have.EmailChanges == u.EmailChanges && len(have.Former) == 0
}

// proves reports whether a file has what an account is to sign in with that has nothing
// of the kind and has never had or used any here: it came without, as out of an export
// without hashes. A sign-in or an act that voids a password shows in what is compared:
// after one the file's password is an old one, and may be a thief's.
func proves(have, u *store.User, r *Arrival) bool {
	has := u.PasswordHash != "" || r.Password != "" || len(u.Factors) > 0
	none := have.PasswordHash == "" && len(have.Factors)+len(have.FormerFactors)+len(have.RecoveryCodes)+len(have.LinkedAccounts)+len(have.FormerLinked) == 0 && have.Enrolment == nil
	return has && none && !have.AwaitsVerification && have.Generation == u.Generation && !have.LastLogin.After(u.LastLogin)
}

// says reports whether a record says something of a field.
func (r *Arrival) says(name string) bool {
	switch name {
	case field.IsStaff:
		return r.IsStaff != nil
	case field.IsActive:
		return r.IsActive != nil
	}
	_, ok := r.Fields[name]
	return ok
}

// claim is the hash of a unique value.
func (i *Run) claim(field, key string) uint64 {
	var h maphash.Hash
	h.SetSeed(i.seed)
	_, _ = h.WriteString(field)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(key)
	return h.Sum64()
}

// clashes adds what PutUser would refuse besides.
func (i *Run) clashes(tx store.Tx, u *store.User, errs *refusal.FieldErrors) error {
	add := func(name string) {
		if !errs.Has(name) {
			errs.Add(name, refusal.CodeUnique)
		}
	}
	for _, k := range i.a.KeyIndex.KeysOf(u) {
		if k.Field == store.WaitingKey {
			continue
		}
		switch other, err := tx.UserByKey(k.Field, k.Value); {
		case err == nil && other.ID != u.ID:
			add(field.OfKey(k.Field))
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	for _, f := range u.Former {
		switch other, err := i.a.FormerHolder(tx, f.Email); {
		case err == nil && other.ID != u.ID:
			add("former_emails")
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	err := i.a.NewLoginClash(tx, nil, u)
	refused := (*refusal.Error)(nil)
	if !errors.As(err, &refused) {
		return err
	}
	for _, f := range refused.Fields {
		add(f.Field)
	}
	return nil
}

// claimedTx is a transaction in which what the run has come across is taken too: in a
// dry run nothing of it is in the store.
type claimedTx struct {
	store.Tx
	line func(field, key string) int
}

// UserByKey implements store.Tx.
func (t claimedTx) UserByKey(name, key string) (*store.User, error) {
	return t.orClaimed(name, key, t.Tx.UserByKey)
}

// BriefUserByKey implements store.Tx.
func (t claimedTx) BriefUserByKey(name, key string) (*store.User, error) {
	return t.orClaimed(name, key, t.Tx.BriefUserByKey)
}

func (t claimedTx) orClaimed(name, key string, read func(name, key string) (*store.User, error)) (*store.User, error) {
	u, err := read(name, key)
	if errors.Is(err, store.ErrNotFound) && t.line(name, key) != 0 {
		return &store.User{}, nil // nobody that there is
	}
	return u, err
}

// fieldName is what a field of another system would be called here: phoneNumber,
// Phone-Number and "phone number" are phone_number. Empty: nothing is left of it.
func fieldName(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		upper := unicode.IsUpper(r)
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			r = '_'
		case upper && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Join(strings.FieldsFunc(b.String(), func(r rune) bool { return r == '_' }), "_")
}
