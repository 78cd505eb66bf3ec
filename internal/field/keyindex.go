// keyindex.go: the unique keys of accounts. Which an account has in the store
// follows from the configurations that run; this file keeps both together when
// a field becomes unique, stops being it, or changes its type.

package field

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/store"
)

// The names of the store's values that say what holds for every account: the
// keyspaces of added fields in which it has its key, and the pairs of login fields
// (logins.go) between which clashes were looked for.
const (
	uniqueFieldsValue = "unique_fields"
	loginFieldsValue  = "login_fields"
)

// keyBatch is how many accounts get their keys in one transaction. All in one
// would keep a million accounts' pages in memory until the commit.
const keyBatch = 2000

// A KeyIndex knows the unique fields of all configurations that run on one store:
// while a reload is under way, the accounts that the old one writes get the
// keys of the new one too, and are compared by the login fields of both. It is
// safe for concurrent use.
type KeyIndex struct {
	mu   sync.Mutex // of enter and leave
	sets []*Set
	// Keyed are the unique fields of all sets, one a keyspace; logins the login
	// fields of each set that has several.
	Keyed  atomic.Pointer[[]*Field]
	Logins atomic.Pointer[[][]*Field]
}

// NewKeyIndex is one without configurations; each enters its own set.
func NewKeyIndex() *KeyIndex {
	u := &KeyIndex{}
	u.combine()
	return u
}

// combine makes keyed and logins from sets.
func (q *KeyIndex) combine() {
	all := keyedBy(q.sets)
	q.Keyed.Store(&all)
	var logins [][]*Field
	for _, set := range q.sets {
		if len(set.Login) > 1 {
			logins = append(logins, set.Login)
		}
	}
	q.Logins.Store(&logins)
}

func keyedBy(sets []*Set) []*Field {
	var all []*Field
	add := func(f *Field) {
		if f.Unique && !slices.ContainsFunc(all, func(have *Field) bool { return have.Keyspace() == f.Keyspace() }) {
			all = append(all, f)
		}
	}
	for _, f := range Builtins {
		add(f)
	}
	for _, set := range sets {
		for _, f := range set.Unique {
			add(f)
		}
	}
	return all
}

// KeysOf is the complete list of an account's unique keys.
func (q *KeyIndex) KeysOf(u *store.User) []store.Key {
	fields := *q.Keyed.Load()
	keys := make([]store.Key, 0, len(fields))
	for _, f := range fields {
		key := f.Key(u)
		switch {
		case key == "":
		case !HeldBack(u, f):
			keys = append(keys, store.Key{Field: f.Keyspace(), Value: key})
		case f.Name == Email && u.AwaitsVerification:
			keys = append(keys, store.Key{Field: store.WaitingKey, Value: key})
		}
	}
	for _, email := range u.FurtherEmails {
		if key := (store.Key{Field: Email, Value: EmailKey(email)}); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return linkedKeys(programKeys(passkeyKeys(keys, u), u), u)
}

// linkedKeys adds the keys of the accounts elsewhere by which one signs in to an account:
// each is one account's alone. One that was unlinked can be linked to any.
func linkedKeys(keys []store.Key, u *store.User) []store.Key {
	for i := range u.LinkedAccounts {
		l := &u.LinkedAccounts[i]
		keys = append(keys, store.Key{Field: store.LinkedKey, Value: store.LinkedValue(l.Issuer, l.Subject)})
	}
	return keys
}

// PasskeyKey is the keyspace of passkeys: each is one account's alone, and so is one that
// can still come back by a mailed link.
const PasskeyKey = "passkey"

// passkeyKeys adds the keys of an account's passkeys.
func passkeyKeys(keys []store.Key, u *store.User) []store.Key {
	add := func(f *store.Factor) {
		if f.Type != store.FactorPasskey {
			return
		}
		sum := sha256.Sum256(f.CredentialID) // which has up to 1023 bytes
		key := store.Key{Field: PasskeyKey, Value: base64.RawURLEncoding.EncodeToString(sum[:])}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for i := range u.Factors {
		add(&u.Factors[i])
	}
	for i := range u.FormerFactors {
		add(&u.FormerFactors[i].Factor)
	}
	return keys
}

// programKeys adds the keys of an account's tokens for programs.
func programKeys(keys []store.Key, u *store.User) []store.Key {
	for i := range u.ProgramTokens {
		keys = append(keys, store.Key{Field: store.ProgramKey, Value: u.ProgramTokens[i].Hash.Text()})
	}
	return keys
}

// OfKey is the name of the field that a keyspace belongs to.
func OfKey(keyspace string) string {
	name, _, _ := strings.Cut(keyspace, ".")
	return name
}

// kept is what the store's two values say.
type kept struct {
	Spaces, pairs []string // sorted
}

// keptBy is what the accounts keep up while the configurations run.
func keptBy(sets []*Set) kept {
	var k kept
	for _, f := range keyedBy(sets) {
		if f.Extra {
			k.Spaces = append(k.Spaces, f.Keyspace())
		}
	}
	for _, set := range sets {
		k.pairs = append(k.pairs, loginPairs(set.Login)...)
	}
	slices.Sort(k.Spaces)
	slices.Sort(k.pairs)
	k.pairs = slices.Compact(k.pairs)
	return k
}

func (k kept) equal(other kept) bool {
	return slices.Equal(k.Spaces, other.Spaces) && slices.Equal(k.pairs, other.pairs)
}

// within is what both have.
func (k kept) within(other kept) kept {
	in := func(list, other []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(v string) bool { return !slices.Contains(other, v) })
	}
	return kept{in(k.Spaces, other.Spaces), in(k.pairs, other.pairs)}
}

// Enter adds a configuration. Where one of its fields has become unique, every
// account gets its key first; two with one value are a *ClashError, and then
// nothing has changed that matters. Where two of its fields have become login
// fields, the log says which accounts clash.
func (q *KeyIndex) Enter(ctx context.Context, store store.Store, set *Set, logger *zap.Logger) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	stored, err := keptIn(ctx, store)
	if err != nil {
		return err
	}
	sets := append(slices.Clone(q.sets), set)
	wanted := keptBy(sets)
	// What is no longer kept up leaves the store's list before anybody writes
	// without it.
	done := stored.within(wanted)
	if err := done.write(ctx, store, stored); err != nil {
		return err
	}
	// From here on, whoever writes an account writes the new keys too, so that
	// none slips through behind the walk below.
	q.sets = sets
	q.combine()
	if err := q.catchUp(ctx, store, set, done, logger); err != nil {
		q.remove(set)
		return err
	}
	if err := wanted.write(ctx, store, done); err != nil {
		q.remove(set)
		return err
	}
	return nil
}

// walkTold is how long a walk over all accounts takes before the log says what is waited for.
const walkTold = 2 * time.Second

// catchUp brings the accounts of before to what a new configuration wants.
func (q *KeyIndex) catchUp(ctx context.Context, db store.Store, set *Set, done kept, logger *zap.Logger) error {
	var missing []*Field
	for _, f := range set.Unique {
		if f.Extra && !slices.Contains(done.Spaces, f.Keyspace()) {
			missing = append(missing, f)
		}
	}
	unchecked := slices.ContainsFunc(loginPairs(set.Login), func(p string) bool { return !slices.Contains(done.pairs, p) })
	if len(missing) == 0 && !unchecked {
		return nil
	}
	slow := time.AfterFunc(walkTold, func() {
		logger.Info("all accounts are looked at once, for a sign-in name or a unique field that is new; the site is served after that")
	})
	defer slow.Stop()
	// An act that began before combine has written without the new keys, and may
	// not have committed yet. Updates are serialisable, so this one ends after it.
	if err := db.Update(ctx, func(store.Tx) error { return nil }); err != nil {
		return fmt.Errorf("waiting for the acts under way: %w", err)
	}
	if len(missing) > 0 {
		n, err := q.Build(ctx, db, missing)
		if err != nil {
			return err
		}
		if n > 0 {
			logger.Info("keys of unique fields built", zap.Strings("fields", fieldNamesOf(missing)), zap.Int("accounts", n))
		}
	}
	if unchecked {
		return logLoginClashes(ctx, db, set.Login, logger)
	}
	return nil
}

// Leave takes a configuration away again. What it alone kept up is no longer
// kept up from now on, which the store has to know before that: an end of the
// process in between must not leave a list that says more than there is.
func (q *KeyIndex) Leave(ctx context.Context, store store.Store, set *Set) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.sets, set) {
		return nil
	}
	if len(q.sets) == 1 {
		// What still writes is a request that outlives its configuration: it
		// goes on with all keys, which the store's list stays true for.
		q.sets = nil
		return nil
	}
	stored, err := keptIn(ctx, store)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(q.sets), func(have *Set) bool { return have == set })
	if err := stored.within(keptBy(rest)).write(ctx, store, stored); err != nil {
		return err // more keys than needed do no harm, so the set stays
	}
	q.remove(set)
	return nil
}

func (q *KeyIndex) remove(set *Set) {
	q.sets = slices.DeleteFunc(slices.Clone(q.sets), func(have *Set) bool { return have == set })
	q.combine()
}

// write records the lists, if they are others than before. What another node has
// written meanwhile stays: only the difference is taken from and added to it.
func (k kept) write(ctx context.Context, db store.Store, before kept) error {
	if k.equal(before) {
		return nil
	}
	err := db.Update(ctx, func(tx store.Tx) error {
		now, err := keptTx(tx)
		if err != nil {
			return err
		}
		if err := putList(tx, uniqueFieldsValue, now.Spaces, differ(now.Spaces, before.Spaces, k.Spaces)); err != nil {
			return err
		}
		return putList(tx, loginFieldsValue, now.pairs, differ(now.pairs, before.pairs, k.pairs))
	})
	if err != nil {
		return fmt.Errorf("the list of unique fields in the store: %w", err)
	}
	return nil
}

// differ changes a sorted list as from was changed to to.
func differ(list, from, to []string) []string {
	list = slices.DeleteFunc(slices.Clone(list), func(v string) bool { return slices.Contains(from, v) && !slices.Contains(to, v) })
	for _, v := range to {
		if !slices.Contains(from, v) {
			list = append(list, v)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func putList(tx store.Tx, name string, before, list []string) error {
	if slices.Equal(before, list) {
		return nil
	}
	return tx.PutValue(name, []byte(strings.Join(list, "\n")))
}

// keptIn reads the lists.
func keptIn(ctx context.Context, db store.Store) (k kept, err error) {
	err = db.View(ctx, func(tx store.Tx) (err error) { k, err = keptTx(tx); return err })
	if err != nil {
		return k, fmt.Errorf("the list of unique fields in the store: %w", err)
	}
	return k, nil
}

func keptTx(tx store.Tx) (k kept, err error) {
	for name, list := range map[string]*[]string{uniqueFieldsValue: &k.Spaces, loginFieldsValue: &k.pairs} {
		raw, err := tx.Value(name)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return k, err
		case len(raw) > 0:
			*list = strings.Split(string(raw), "\n")
		}
	}
	return k, nil
}

// A ClashError says that a field can't become unique: two accounts have the
// same value. The value is left out: it is personal data.
type ClashError struct {
	Field         string
	First, Second uuid.UUID
}

// Error implements error.
func (e *ClashError) Error() string {
	return fmt.Sprintf("user.field.%s: it can't be unique, because the accounts %s and %s have the same value; give one of them another, or remove unique", e.Field, e.First, e.Second)
}

// Build gives every account its key in each of the fields, and returns how many
// accounts it wrote. It goes batch by batch; what was written when it stops
// half-way does no harm, because the list of keyspaces doesn't have the fields yet.
func (q *KeyIndex) Build(ctx context.Context, db store.Store, fields []*Field) (written int, err error) {
	for after := uuid.Nil; ; {
		var last uuid.UUID
		some := false
		if err := db.View(ctx, func(tx store.Tx) error {
			some, last = false, uuid.Nil
			users, err := tx.Users(after, keyBatch)
			for _, u := range users {
				last = u.ID
				some = some || slices.ContainsFunc(fields, func(f *Field) bool { return f.Key(u) != "" })
			}
			return err
		}); err != nil {
			return written, fmt.Errorf("building the keys of unique fields: %w", err)
		}
		if last == uuid.Nil {
			return written, nil
		}
		if some {
			n, err := q.buildBatch(ctx, db, fields, after, last)
			if err != nil {
				return written, err
			}
			written += n
		}
		after = last
	}
}

// buildBatch writes the accounts behind after up to last.
func (q *KeyIndex) buildBatch(ctx context.Context, db store.Store, fields []*Field, after, last uuid.UUID) (written int, err error) {
	err = db.Update(ctx, func(tx store.Tx) error {
		written = 0
		users, err := tx.Users(after, keyBatch)
		if err != nil {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
		for _, u := range users {
			if strings.Compare(string(u.ID[:]), string(last[:])) > 0 {
				break
			}
			if !slices.ContainsFunc(fields, func(f *Field) bool { return f.Key(u) != "" }) {
				continue
			}
			if err := q.claim(tx, u, fields); err != nil {
				return err
			}
			written++
		}
		return nil
	})
	return written, err
}

// claim writes one account with its keys. A key that another account holds is a
// clash, unless that account no longer has the value: then the key is a
// leftover from when the field was unique before, and gives way.
func (q *KeyIndex) claim(tx store.Tx, u *store.User, fields []*Field) error {
	for {
		kept, err := formerKeys(tx, u)
		if err != nil {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
		err = tx.PutUser(u, append(q.KeysOf(u), kept...))
		taken := (*store.TakenError)(nil)
		if !errors.As(err, &taken) {
			return err
		}
		i := slices.IndexFunc(fields, func(f *Field) bool { return f.Keyspace() == taken.Field })
		if i < 0 {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
		holder, err := tx.UserByKey(taken.Field, fields[i].Key(u))
		if err != nil {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
		if fields[i].Key(holder) == fields[i].Key(u) {
			return &ClashError{Field: fields[i].Name, First: holder.ID, Second: u.ID}
		}
		if kept, err = formerKeys(tx, holder); err == nil {
			others := slices.DeleteFunc(q.KeysOf(holder), func(k store.Key) bool { return k.Field == taken.Field })
			err = tx.PutUser(holder, append(others, kept...))
		}
		if err != nil {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
	}
}

// formerKeys are the addresses that the account can still go back to.
func formerKeys(tx store.Tx, u *store.User) ([]store.Key, error) {
	var keys []store.Key
	for _, f := range u.Former {
		key := store.Key{Field: FormerEmail, Value: EmailKey(f.Email)}
		holder, err := tx.UserByKey(key.Field, key.Value)
		switch {
		case err == nil && holder.ID == u.ID:
			keys = append(keys, key)
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	return keys, nil
}

func fieldNamesOf(fields []*Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

// FormerEmail is the field of the keys that reserve former addresses. It
// is no field of an account: nobody is found or signs in by one.
const FormerEmail = "former_email"
