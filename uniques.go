// uniques.go: the unique keys of accounts. Which an account has in the store
// follows from the configurations that run; this file keeps both together when
// a field becomes unique, stops being it, or changes its type.

package registration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"go.uber.org/zap"
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

// uniques knows the unique fields of all configurations that run on one store:
// while a reload is under way, the accounts that the old one writes get the
// keys of the new one too, and are compared by the login fields of both. It is
// safe for concurrent use.
type uniques struct {
	mu   sync.Mutex // of enter and leave
	sets []*fieldSet
	// keyed are the unique fields of all sets, one a keyspace; logins the login
	// fields of each set that has several.
	keyed  atomic.Pointer[[]*field]
	logins atomic.Pointer[[][]*field]
}

func newUniques() *uniques {
	u := &uniques{}
	u.combine()
	return u
}

// combine makes keyed and logins from sets.
func (q *uniques) combine() {
	all := keyedBy(q.sets)
	q.keyed.Store(&all)
	var logins [][]*field
	for _, set := range q.sets {
		if len(set.login) > 1 {
			logins = append(logins, set.login)
		}
	}
	q.logins.Store(&logins)
}

func keyedBy(sets []*fieldSet) []*field {
	var all []*field
	add := func(f *field) {
		if f.unique && !slices.ContainsFunc(all, func(have *field) bool { return have.keyspace() == f.keyspace() }) {
			all = append(all, f)
		}
	}
	for _, f := range builtinFields {
		add(f)
	}
	for _, set := range sets {
		for _, f := range set.unique {
			add(f)
		}
	}
	return all
}

// keysOf is the complete list of an account's unique keys.
func (q *uniques) keysOf(u *User) []Key {
	fields := *q.keyed.Load()
	keys := make([]Key, 0, len(fields))
	for _, f := range fields {
		key := f.key(u)
		switch {
		case key == "":
		case !heldBack(u, f):
			keys = append(keys, Key{Field: f.keyspace(), Value: key})
		case f.name == fieldEmail && u.AwaitsVerification:
			keys = append(keys, Key{Field: WaitingKey, Value: key})
		}
	}
	return keys
}

// fieldOfKey is the name of the field that a keyspace belongs to.
func fieldOfKey(keyspace string) string {
	name, _, _ := strings.Cut(keyspace, ".")
	return name
}

// kept is what the store's two values say.
type kept struct {
	spaces, pairs []string // sorted
}

// keptBy is what the accounts keep up while the configurations run.
func keptBy(sets []*fieldSet) kept {
	var k kept
	for _, f := range keyedBy(sets) {
		if f.extra {
			k.spaces = append(k.spaces, f.keyspace())
		}
	}
	for _, set := range sets {
		k.pairs = append(k.pairs, loginPairs(set.login)...)
	}
	slices.Sort(k.spaces)
	slices.Sort(k.pairs)
	k.pairs = slices.Compact(k.pairs)
	return k
}

func (k kept) equal(other kept) bool {
	return slices.Equal(k.spaces, other.spaces) && slices.Equal(k.pairs, other.pairs)
}

// within is what both have.
func (k kept) within(other kept) kept {
	in := func(list, other []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(v string) bool { return !slices.Contains(other, v) })
	}
	return kept{in(k.spaces, other.spaces), in(k.pairs, other.pairs)}
}

// enter adds a configuration. Where one of its fields has become unique, every
// account gets its key first; two with one value are a *ClashError, and then
// nothing has changed that matters. Where two of its fields have become login
// fields, the log says which accounts clash.
func (q *uniques) enter(ctx context.Context, store Store, set *fieldSet, logger *zap.Logger) error {
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

// catchUp brings the accounts of before to what a new configuration wants.
func (q *uniques) catchUp(ctx context.Context, store Store, set *fieldSet, done kept, logger *zap.Logger) error {
	var missing []*field
	for _, f := range set.unique {
		if f.extra && !slices.Contains(done.spaces, f.keyspace()) {
			missing = append(missing, f)
		}
	}
	unchecked := slices.ContainsFunc(loginPairs(set.login), func(p string) bool { return !slices.Contains(done.pairs, p) })
	if len(missing) == 0 && !unchecked {
		return nil
	}
	// An act that began before combine has written without the new keys, and may
	// not have committed yet. Updates are serialisable, so this one ends after it.
	if err := store.Update(ctx, func(Tx) error { return nil }); err != nil {
		return fmt.Errorf("waiting for the acts under way: %w", err)
	}
	if len(missing) > 0 {
		n, err := q.build(ctx, store, missing)
		if err != nil {
			return err
		}
		if n > 0 {
			logger.Info("keys of unique fields built", zap.Strings("fields", fieldNamesOf(missing)), zap.Int("accounts", n))
		}
	}
	if unchecked {
		return logLoginClashes(ctx, store, set.login, logger)
	}
	return nil
}

// leave takes a configuration away again. What it alone kept up is no longer
// kept up from now on, which the store has to know before that: an end of the
// process in between must not leave a list that says more than there is.
func (q *uniques) leave(ctx context.Context, store Store, set *fieldSet) error {
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
	rest := slices.DeleteFunc(slices.Clone(q.sets), func(have *fieldSet) bool { return have == set })
	if err := stored.within(keptBy(rest)).write(ctx, store, stored); err != nil {
		return err // more keys than needed do no harm, so the set stays
	}
	q.remove(set)
	return nil
}

func (q *uniques) remove(set *fieldSet) {
	q.sets = slices.DeleteFunc(slices.Clone(q.sets), func(have *fieldSet) bool { return have == set })
	q.combine()
}

// write records the lists, if they are others than before.
func (k kept) write(ctx context.Context, store Store, before kept) error {
	if k.equal(before) {
		return nil
	}
	err := store.Update(ctx, func(tx Tx) error {
		if !slices.Equal(k.spaces, before.spaces) {
			if err := tx.PutValue(uniqueFieldsValue, []byte(strings.Join(k.spaces, "\n"))); err != nil {
				return err
			}
		}
		if slices.Equal(k.pairs, before.pairs) {
			return nil
		}
		return tx.PutValue(loginFieldsValue, []byte(strings.Join(k.pairs, "\n")))
	})
	if err != nil {
		return fmt.Errorf("the list of unique fields in the store: %w", err)
	}
	return nil
}

// keptIn reads the lists.
func keptIn(ctx context.Context, store Store) (k kept, err error) {
	err = store.View(ctx, func(tx Tx) error {
		for name, list := range map[string]*[]string{uniqueFieldsValue: &k.spaces, loginFieldsValue: &k.pairs} {
			*list = nil
			raw, err := tx.Value(name)
			switch {
			case errors.Is(err, ErrNotFound):
			case err != nil:
				return err
			case len(raw) > 0:
				*list = strings.Split(string(raw), "\n")
			}
		}
		return nil
	})
	if err != nil {
		return k, fmt.Errorf("the list of unique fields in the store: %w", err)
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

// build gives every account its key in each of the fields, and returns how many
// accounts it wrote. It goes batch by batch; what was written when it stops
// half-way does no harm, because the list of keyspaces doesn't have the fields yet.
func (q *uniques) build(ctx context.Context, store Store, fields []*field) (written int, err error) {
	for after := uuid.Nil; ; {
		var last uuid.UUID
		some := false
		if err := store.View(ctx, func(tx Tx) error {
			some, last = false, uuid.Nil
			users, err := tx.Users(after, keyBatch)
			for _, u := range users {
				last = u.ID
				some = some || slices.ContainsFunc(fields, func(f *field) bool { return f.key(u) != "" })
			}
			return err
		}); err != nil {
			return written, fmt.Errorf("building the keys of unique fields: %w", err)
		}
		if last == uuid.Nil {
			return written, nil
		}
		if some {
			n, err := q.buildBatch(ctx, store, fields, after, last)
			if err != nil {
				return written, err
			}
			written += n
		}
		after = last
	}
}

// buildBatch writes the accounts behind after up to last.
func (q *uniques) buildBatch(ctx context.Context, store Store, fields []*field, after, last uuid.UUID) (written int, err error) {
	err = store.Update(ctx, func(tx Tx) error {
		written = 0
		users, err := tx.Users(after, keyBatch)
		if err != nil {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
		for _, u := range users {
			if strings.Compare(string(u.ID[:]), string(last[:])) > 0 {
				break
			}
			if !slices.ContainsFunc(fields, func(f *field) bool { return f.key(u) != "" }) {
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
func (q *uniques) claim(tx Tx, u *User, fields []*field) error {
	for {
		kept, err := formerKeys(tx, u)
		if err != nil {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
		err = tx.PutUser(u, append(q.keysOf(u), kept...))
		taken := (*TakenError)(nil)
		if !errors.As(err, &taken) {
			return err
		}
		i := slices.IndexFunc(fields, func(f *field) bool { return f.keyspace() == taken.Field })
		if i < 0 {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
		holder, err := tx.UserByKey(taken.Field, fields[i].key(u))
		if err != nil {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
		if fields[i].key(holder) == fields[i].key(u) {
			return &ClashError{Field: fields[i].name, First: holder.ID, Second: u.ID}
		}
		if kept, err = formerKeys(tx, holder); err == nil {
			others := slices.DeleteFunc(q.keysOf(holder), func(k Key) bool { return k.Field == taken.Field })
			err = tx.PutUser(holder, append(others, kept...))
		}
		if err != nil {
			return fmt.Errorf("building the keys of unique fields: %w", err)
		}
	}
}

// formerKeys are the addresses that the account can still go back to.
func formerKeys(tx Tx, u *User) ([]Key, error) {
	var keys []Key
	for _, f := range u.Former {
		key := Key{Field: fieldFormerEmail, Value: emailKey(f.Email)}
		holder, err := tx.UserByKey(key.Field, key.Value)
		switch {
		case err == nil && holder.ID == u.ID:
			keys = append(keys, key)
		case err != nil && !errors.Is(err, ErrNotFound):
			return nil, err
		}
	}
	return keys, nil
}

func fieldNamesOf(fields []*field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// fieldFormerEmail is the field of the keys that reserve former addresses. It
// is no field of an account: nobody is found or signs in by one.
const fieldFormerEmail = "former_email"
