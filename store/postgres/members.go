//go:build !registration_nopostgres

// members.go: the accounts that an owner looks for: by state, by group, by the beginning of a
// text.

package postgres

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/seed-928992b0/caddy-registration/store"
)

// indexTexts are what the index has of an account, of those of its texts that begin with what
// is sought, sorted.
func indexTexts(u *store.User, sought string) (texts []string) {
	if u == nil {
		return nil
	}
	for _, text := range store.SearchTexts(u) {
		if strings.HasPrefix(text, sought) {
			texts = append(texts, store.IndexedText(text))
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

func indexGroups(u *store.User) []string {
	if u == nil {
		return nil
	}
	groups := slices.DeleteFunc(slices.Clone(u.Groups), func(g string) bool { return g == "" })
	slices.Sort(groups)
	return slices.Compact(groups)
}

// indexMember brings the indexes and the numbers from what an account was to what it is.
func (t *tx) indexMember(id uuid.UUID, before, now *store.User) {
	count := func(u *store.User, n int64) {
		if u == nil {
			return
		}
		t.more.accounts[stateAll] += n
		if state := states[u.State()]; state != stateActive {
			t.more.accounts[state] += n
		}
	}
	count(before, -1)
	count(now, 1)
	if before == nil || now == nil || !slices.Equal(before.Groups, now.Groups) {
		t.replace(id, indexGroups(before), indexGroups(now),
			`DELETE FROM ~groups WHERE realm = $1 AND name = ANY($2) AND account = $3`,
			`INSERT INTO ~groups (realm, name, account) SELECT $1, name, $3 FROM unnest($2::bytea[]) AS fresh (name)`)
	}
	if !store.SameSearchTexts(before, now) {
		t.replace(id, indexTexts(before, ""), indexTexts(now, ""),
			`DELETE FROM ~texts WHERE realm = $1 AND text = ANY($2) AND account = $3`,
			`INSERT INTO ~texts (realm, text, account) SELECT $1, text, $3 FROM unnest($2::bytea[]) AS fresh (text)`)
	}
}

// replace replaces the entries of an account in an index, both sorted.
func (t *tx) replace(id uuid.UUID, before, now []string, remove, add string) {
	without := func(a, b []string) (rest [][]byte) {
		for _, text := range a {
			if _, found := slices.BinarySearch(b, text); !found {
				rest = append(rest, keyBytes(text))
			}
		}
		return rest
	}
	if gone := without(before, now); len(gone) > 0 {
		t.exec(remove, t.s.realm, gone, bytes.Clone(id[:]))
	}
	if fresh := without(now, before); len(fresh) > 0 {
		t.exec(add, t.s.realm, fresh, bytes.Clone(id[:]))
	}
}

// CountMembers implements store.Tx.
func (t *tx) CountMembers(state string) (c store.MemberCount, err error) {
	var n [stateAll + 1]int64
	err = t.read(func(rows pgx.Rows) error {
		return one(rows, &n[stateAll], &n[stateUnconfirmed], &n[stateWaiting], &n[stateDisabled], &n[stateClosing])
	}, `SELECT accounts, unconfirmed, waiting, disabled, closing FROM ~realms WHERE id = $1`, t.s.realm)
	if err != nil {
		return c, err
	}
	for i := range n { // with what the act itself has done
		n[i] += t.more.accounts[i]
	}
	n[stateActive] = n[stateAll] - n[stateUnconfirmed] - n[stateWaiting] - n[stateDisabled] - n[stateClosing]
	i, known := states[state]
	if state == "" {
		i, known = stateAll, true
	}
	if known {
		c.N = int(n[i])
	}
	return c, nil
}

// Members implements store.Tx.
func (t *tx) Members(q store.MemberQuery) (store.MemberPage, error) {
	if q.Search != "" {
		return t.searchMembers(q)
	}
	return t.listMembers(q)
}

// A found is an account that the statement of a page has returned, or the last one that it has
// looked at, which need not be wanted.
type found struct {
	user   *store.User
	entry  []byte // the text
	number int64
	fits   bool
}

func (t *tx) found(text string, args ...any) (all []found, err error) {
	err = t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			var f found
			if f.user, err = scanUser(rows, &f.entry, &f.number, &f.fits); err != nil {
				return err
			}
			all = append(all, f)
		}
		return nil
	}, text, args...)
	return all, err
}

// wanted is the condition on an account's state and groups: $2 is the state, null for any, $3
// the group, null for any.
const wanted = `($2::smallint IS NULL OR u.state = $2) AND ($3::bytea IS NULL OR EXISTS (
	SELECT FROM ~groups g WHERE g.realm = $1 AND g.name = $3 AND g.account = u.id))`

func (t *tx) filters(q store.MemberQuery) (state *int16, group []byte, none bool) {
	if q.State != "" {
		n, known := states[q.State]
		if !known {
			return nil, nil, true
		}
		state = new(int16(n)) //nolint:gosec // there are five
	}
	if q.Group != "" {
		group = keyBytes(q.Group)
	}
	return state, group, false
}

// listMembers walks in order of id, over the shortest index that has all who are wanted.
func (t *tx) listMembers(q store.MemberQuery) (page store.MemberPage, err error) {
	after := uuid.Nil
	if q.After != "" {
		var ok bool
		if after, ok = store.ParseID(q.After); !ok {
			return page, fmt.Errorf("where a list goes on: %w", store.ErrNotFound)
		}
	}
	state, group, none := t.filters(q)
	if none {
		return page, t.usable()
	}
	from, id := `~users b WHERE b.realm = $1`, `b.id`
	switch {
	case group != nil:
		from, id = `~groups b WHERE b.realm = $1 AND b.name = $3`, `b.account`
	case state != nil && *state != stateActive:
		from = fmt.Sprintf(`~users b WHERE b.realm = $1 AND b.state = $2 AND b.state = %d`, *state)
	}
	order, beyond := `ASC`, `>`
	if q.Newest {
		if order, beyond = `DESC`, `<`; after == uuid.Nil {
			after = uuid.Max
		}
	}
	looked := store.MembersRead + q.Limit
	all, err := t.found(`WITH b AS (SELECT id, row_number() OVER (ORDER BY id `+order+`) AS n FROM (
			SELECT `+id+` AS id FROM `+from+` AND `+id+` `+beyond+` $4 ORDER BY `+id+` `+order+` LIMIT $5) l),
		f AS (SELECT u.id, u.data, ''::bytea, b.n, true FROM b JOIN ~users u ON u.realm = $1 AND u.id = b.id WHERE `+wanted+` ORDER BY b.n LIMIT $6),
		l AS (SELECT u.id, u.data, ''::bytea, b.n, false FROM b JOIN ~users u ON u.realm = $1 AND u.id = b.id WHERE b.n = $5)
		SELECT * FROM f UNION ALL SELECT * FROM l ORDER BY 4, 5 DESC`, t.s.realm, state, group, after[:], looked, q.Limit+1)
	if err != nil {
		return page, err
	}
	last := after
	for _, f := range all {
		if !f.fits { // the end of what was looked at
			if page.Next == "" {
				page.Next = f.user.ID.String()
			}
			break
		}
		if len(page.Users) == q.Limit {
			page.Next = last.String()
			break
		}
		page.Users, last = append(page.Users, f.user), f.user.ID
	}
	return page, nil
}

func isEntry(e []byte) bool {
	at := len(e) - len(uuid.UUID{}) - 1
	return at >= 0 && e[at] == 0
}

// searchMembers walks over the texts, in order of text and id. An account with several that are
// sought is found by the first of them only.
func (t *tx) searchMembers(q store.MemberQuery) (page store.MemberPage, err error) {
	sought := store.Fold(q.Search)
	after, err := base64.RawURLEncoding.Strict().DecodeString(q.After)
	if err != nil || len(after) > 0 && !isEntry(after) {
		return page, fmt.Errorf("where a search goes on: %w", store.ErrNotFound)
	}
	state, group, none := t.filters(q)
	if none {
		return page, t.usable()
	}
	prefix := []byte(store.IndexedText(sought))
	text, id := prefix, []byte{}
	if at := len(after) - len(uuid.UUID{}); at > 0 {
		text, id = after[:at-1], after[at:]
	}
	// Of each account the first text that was sought alone counts, which is seen here; so more
	// entries are read than a page has accounts.
	looked, most := store.MembersRead+q.Limit, 4*(q.Limit+1)
	next := func(f found) string {
		return base64.RawURLEncoding.EncodeToString(slices.Concat(f.entry, []byte{0}, f.user.ID[:]))
	}
	all, err := t.found(`WITH b AS (SELECT text, account, row_number() OVER (ORDER BY text, account) AS n FROM (
			SELECT text, account FROM ~texts WHERE realm = $1 AND (text, account) > ($4, $5) AND text >= $6 AND substring(text FROM 1 FOR $7) = $6
			AND text < $6 || '\xffff'::bytea ORDER BY text, account LIMIT $8) l),
		f AS (SELECT u.id, u.data, b.text, b.n, true FROM b JOIN ~users u ON u.realm = $1 AND u.id = b.account WHERE `+wanted+` ORDER BY b.n LIMIT $9),
		l AS (SELECT u.id, u.data, b.text, b.n, false FROM b JOIN ~users u ON u.realm = $1 AND u.id = b.account WHERE b.n = $8)
		SELECT * FROM f UNION ALL SELECT * FROM l ORDER BY 4, 5 DESC`,
		t.s.realm, state, group, text, id, prefix, len(prefix), looked, most)
	if err != nil {
		return page, err
	}
	var last string
	read := 0
	for _, f := range all {
		if !f.fits {
			if page.Next == "" {
				page.Next = next(f)
			}
			break
		}
		read++
		if first(f, sought) {
			if len(page.Users) == q.Limit {
				page.Next = last
				break
			}
			page.Users = append(page.Users, f.user)
		}
		if last = next(f); read == most && page.Next == "" {
			page.Next = last
		}
	}
	return page, nil
}

// first reports whether an entry is the first of its account that is sought.
func first(f found, sought string) bool {
	texts := indexTexts(f.user, sought)
	return len(texts) > 0 && texts[0] == string(f.entry)
}
