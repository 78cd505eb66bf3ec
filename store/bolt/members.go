// members.go: the accounts that an owner looks for, in the embedded store: by state, by
// group, by the beginning of a text; and how the indexes come to be in an older file.
//
// What an account is found by anyway is not kept twice: a search walks over the unique
// keys of username and address, and over members_texts, which has what is no such key.
// Active accounts, which nearly all are, have no index of their own.

package bolt

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
)

// memberBuckets are the indexes of Members.
var memberBuckets = []string{bucketUnconfirmed, bucketAwaiting, bucketDisabled, bucketClosing, bucketMemberGroups, bucketMemberTexts}

// stateBuckets are the indexes of the states that have one.
var stateBuckets = map[string]string{
	store.StateUnconfirmed: bucketUnconfirmed, store.StateWaiting: bucketAwaiting, store.StateDisabled: bucketDisabled, store.StateClosing: bucketClosing,
}

// searchedKeys are the fields of the unique keys that a search walks over.
var searchedKeys = []string{"username", "email"}

// A member is an account with its unique keys, or nobody.
type member struct {
	user *store.User
	keys []store.Key
}

func (m member) state() string {
	if m.user == nil {
		return ""
	}
	return m.user.State()
}

// groups are the names that the index of groups has of an account, sorted.
func (m member) groups() []string {
	if m.user == nil {
		return nil
	}
	entries := slices.DeleteFunc(slices.Clone(m.user.Groups), func(g string) bool { return g == "" || len(g) > bolt.MaxKeySize/2 })
	slices.Sort(entries)
	return slices.Compact(entries)
}

// isSearched reports whether a search comes by a unique key.
func isSearched(k store.Key) bool {
	return k.Field == store.WaitingKey || slices.Contains(searchedKeys, k.Field)
}

// texts are what the index of texts has of an account: those of its texts that no
// searched key stands for, sorted.
func (m member) texts() (entries []string) {
	if m.user == nil {
		return nil
	}
	for _, text := range store.SearchTexts(m.user) {
		if slices.ContainsFunc(m.keys, func(k store.Key) bool { return isSearched(k) && k.Value == text }) {
			continue
		}
		entries = append(entries, store.IndexedText(text))
	}
	slices.Sort(entries)
	return slices.Compact(entries)
}

// sameTexts spares most writes of an account the folding.
func sameTexts(a, b member) bool {
	return store.SameSearchTexts(a.user, b.user) && slices.Equal(a.keys, b.keys)
}

// indexMember brings the indexes from what an account was to what it is. What stays
// costs no page.
func (t *boltTx) indexMember(before, now member) error {
	var id uuid.UUID
	var one int
	switch {
	case before.user == nil:
		id, one = now.user.ID, 1
	case now.user == nil:
		id, one = before.user.ID, -1
	default:
		id = now.user.ID
	}
	if one != 0 { // all accounts are counted in the head of their own table
		if err := t.bucket(bucketUsers).Count(one); err != nil {
			return err
		}
	}
	if from, to := before.state(), now.state(); from != to {
		if b, ok := stateBuckets[from]; ok {
			if err := errors.Join(t.bucket(b).Delete(id[:]), t.bucket(b).Count(-1)); err != nil {
				return err
			}
		}
		if b, ok := stateBuckets[to]; ok {
			if err := errors.Join(t.bucket(b).Put(bytes.Clone(id[:]), nil), t.bucket(b).Count(1)); err != nil {
				return err
			}
		}
	}
	if before.user == nil || now.user == nil || !slices.Equal(before.user.Groups, now.user.Groups) {
		if err := t.indexTexts(bucketMemberGroups, before.groups(), now.groups(), id); err != nil {
			return err
		}
	}
	if sameTexts(before, now) {
		return nil
	}
	return t.indexTexts(bucketMemberTexts, before.texts(), now.texts(), id)
}

// indexTexts replaces the entries of an account in an index of texts, both sorted.
func (t *boltTx) indexTexts(bucket string, before, now []string, id uuid.UUID) error {
	has := func(entries []string, text string) bool {
		_, found := slices.BinarySearch(entries, text)
		return found
	}
	b := t.bucket(bucket)
	for _, text := range before {
		if !has(now, text) {
			if err := b.Delete(waitingKey(text, id)); err != nil {
				return err
			}
		}
	}
	for _, text := range now {
		if !has(before, text) {
			if err := b.Put(waitingKey(text, id), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// CountMembers implements Tx.
func (t *boltTx) CountMembers(state string) (c store.MemberCount, err error) {
	all := t.bucket(bucketUsers).Counted()
	switch b, ok := stateBuckets[state]; {
	case state == "":
		return store.MemberCount{N: int(all)}, nil //nolint:gosec // there are no more than fit on a disk
	case ok:
		return store.MemberCount{N: int(t.bucket(b).Counted())}, nil //nolint:gosec // the same
	case state != store.StateActive:
		return c, nil
	}
	for _, b := range stateBuckets {
		all -= t.bucket(b).Counted()
	}
	return store.MemberCount{N: int(all)}, nil //nolint:gosec // the same
}

// Members implements Tx.
func (t *boltTx) Members(q store.MemberQuery) (store.MemberPage, error) {
	q.Newest = q.Newest && q.Search == ""
	b, few := stateBuckets[q.State]
	few = few && t.bucket(b).Counted() <= store.MembersRead
	// Where few are in the state, they are gone through instead of the texts; who goes on
	// behind one of them goes on so.
	if _, listed := store.ParseID(q.After); q.Search == "" || listed || few && q.After == "" {
		return t.listMembers(q)
	}
	return t.searchMembers(q)
}

// fits reports whether an account is in the state and the group.
func fits(q *store.MemberQuery, u *store.User) bool {
	return (q.State == "" || u.State() == q.State) && (q.Group == "" || slices.Contains(u.Groups, q.Group))
}

// listMembers walks in order of id.
func (t *boltTx) listMembers(q store.MemberQuery) (page store.MemberPage, err error) {
	after := uuid.Nil
	if q.After != "" {
		var ok bool
		if after, ok = store.ParseID(q.After); !ok {
			return page, fmt.Errorf("where a list goes on: %w", store.ErrNotFound)
		}
	}
	next, sought := t.memberIDs(q, after), store.Fold(q.Search)
	for looked := 0; ; {
		raw, err := next()
		if err != nil || raw == nil {
			return page, err
		}
		if looked++; looked > store.MembersRead+q.Limit {
			page.Next = after.String()
			return page, nil
		}
		u, err := t.indexedUser(raw)
		if err != nil {
			return store.MemberPage{}, err
		}
		if fits(&q, u) && (sought == "" || slices.ContainsFunc(store.SearchTexts(u), func(text string) bool { return strings.HasPrefix(text, sought) })) {
			if len(page.Users) >= q.Limit {
				page.Next = after.String()
				return page, nil
			}
			page.Users = append(page.Users, u)
		}
		after = u.ID
	}
}

// memberIDs walks over the ids of an index that has all who are wanted: the shortest
// there is. The walk ends with nil.
func (t *boltTx) memberIDs(q store.MemberQuery, after uuid.UUID) func() ([]byte, error) {
	bucket, prefix := bucketUsers, []byte(nil)
	b, ok := stateBuckets[q.State]
	switch {
	case ok && (q.Group == "" || t.bucket(b).Counted() <= store.MembersRead):
		bucket = b
	case q.Group != "":
		bucket, prefix = bucketMemberGroups, waitingPrefix(q.Group)
	}
	c := t.bucket(bucket).Cursor()
	move := c.Next
	if q.Newest {
		move = c.Prev
	}
	begin := func() []byte {
		at := append(bytes.Clone(prefix), after[:]...)
		if !q.Newest {
			k, _ := c.Seek(at)
			if after != uuid.Nil && bytes.Equal(k, at) {
				k, _ = c.Next()
			}
			return k
		}
		if after == uuid.Nil {
			at = append(bytes.Clone(prefix), uuid.Max[:]...)
		}
		if k, _ := c.Seek(at); k == nil {
			k, _ = c.Last()
			return k
		}
		k, _ := c.Prev()
		return k
	}
	begun := false
	return func() ([]byte, error) {
		for {
			var k []byte
			if begun {
				k, _ = move()
			} else {
				k, begun = begin(), true
			}
			switch {
			case k == nil || !bytes.HasPrefix(k, prefix):
				return nil, nil
			case len(k) == len(prefix)+len(uuid.UUID{}):
				return k[len(prefix):], nil
			case prefix == nil:
				return nil, fmt.Errorf("index %s: %w", bucket, ErrDamaged)
			}
			// Another length belongs to a group with a NUL in its name.
		}
	}
}

// A textWalk goes over the entries of one index whose text begins with what is sought,
// in order. An entry is text, NUL and id.
type textWalk struct {
	next func() (entry []byte, err error)
	head []byte // nil: at its end
}

// searchMembers walks over all indexes of texts together, in order of text and id. An
// account with several texts is found by the first of them only.
func (t *boltTx) searchMembers(q store.MemberQuery) (page store.MemberPage, err error) {
	sought := store.Fold(q.Search)
	after, err := base64.RawURLEncoding.Strict().DecodeString(q.After)
	if err != nil || len(after) > 0 && !isEntry(after) {
		return page, fmt.Errorf("where a search goes on: %w", store.ErrNotFound)
	}
	walks := []*textWalk{t.entryWalk(bucketMemberTexts, store.IndexedText(sought), after), t.entryWalk(bucketWaitingKeys, sought, after)}
	for _, field := range searchedKeys {
		walks = append(walks, t.keyWalk(field, sought, after))
	}
	for _, w := range walks {
		if w.head, err = w.next(); err != nil {
			return page, err
		}
	}
	for looked := 0; ; {
		var first *textWalk
		for _, w := range walks {
			if w.head != nil && (first == nil || bytes.Compare(w.head, first.head) < 0) {
				first = w
			}
		}
		if first == nil {
			return page, nil
		}
		if looked++; looked > store.MembersRead+q.Limit {
			page.Next = base64.RawURLEncoding.EncodeToString(after)
			return page, nil
		}
		entry := first.head
		u, err := t.foundBy(entry, sought)
		if err != nil {
			return store.MemberPage{}, err
		}
		if u != nil && fits(&q, u) {
			if len(page.Users) >= q.Limit {
				page.Next = base64.RawURLEncoding.EncodeToString(after)
				return page, nil
			}
			page.Users = append(page.Users, u)
		}
		after = entry
		if first.head, err = first.next(); err != nil {
			return store.MemberPage{}, err
		}
	}
}

func isEntry(e []byte) bool {
	at := len(e) - len(uuid.UUID{}) - 1
	return at >= 0 && e[at] == 0
}

// foundBy is the account of an entry, nil where it is none of those sought or another
// entry of it comes before.
func (t *boltTx) foundBy(entry []byte, sought string) (*store.User, error) {
	at := len(entry) - len(uuid.UUID{})
	id := uuid.UUID(entry[at:])
	u, keys, err := t.userAndKeys(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("index of texts without its account: %w", ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	m := member{u, keys}
	earliest, found := "", false
	add := func(full, entry string) {
		if strings.HasPrefix(full, sought) && (!found || entry < earliest) {
			earliest, found = entry, true
		}
	}
	for _, k := range keys {
		if isSearched(k) {
			add(k.Value, k.Value)
		}
	}
	for _, text := range store.SearchTexts(u) {
		if !slices.ContainsFunc(m.keys, func(k store.Key) bool { return isSearched(k) && k.Value == text }) {
			add(text, store.IndexedText(text))
		}
	}
	if !found || earliest != string(entry[:at-1]) {
		return nil, nil
	}
	return u, nil
}

// entryWalk goes over an index whose keys are entries.
func (t *boltTx) entryWalk(bucket, sought string, after []byte) *textWalk {
	c := t.bucket(bucket).Cursor()
	begun := false
	return &textWalk{next: func() ([]byte, error) {
		var k []byte
		switch {
		case begun:
			k, _ = c.Next()
		case bytes.Compare(after, []byte(sought)) > 0:
			if k, _ = c.Seek(after); bytes.Equal(k, after) {
				k, _ = c.Next()
			}
		default:
			k, _ = c.Seek([]byte(sought))
		}
		begun = true
		for ; k != nil && bytes.HasPrefix(k, []byte(sought)); k, _ = c.Next() {
			if !isEntry(k) {
				return nil, fmt.Errorf("index %s: %w", bucket, ErrDamaged)
			}
			if len(k) >= len(sought)+1+len(uuid.UUID{}) { // else the id begins like the rest of the text
				return k, nil
			}
		}
		return nil, nil
	}}
}

// keyWalk goes over the unique keys of a field.
func (t *boltTx) keyWalk(field, sought string, after []byte) *textWalk {
	c := t.bucket(bucketKeys).Cursor()
	prefix := indexKey(field, sought)
	begun := false
	return &textWalk{next: func() ([]byte, error) {
		var k, id []byte
		switch {
		case begun:
			k, id = c.Next()
		case bytes.Compare(after, []byte(sought)) > 0:
			k, id = c.Seek(indexKey(field, string(after[:len(after)-len(uuid.UUID{})-1])))
		default:
			k, id = c.Seek(prefix)
		}
		begun = true
		for ; k != nil && bytes.HasPrefix(k, prefix); k, id = c.Next() {
			if len(id) != len(uuid.UUID{}) {
				return nil, fmt.Errorf("key of field %s: %w", field, ErrDamaged)
			}
			entry := slices.Concat(k[len(field)+1:], []byte{0}, id)
			if bytes.Compare(entry, after) > 0 {
				return entry, nil
			}
		}
		return nil, nil
	}}
}
