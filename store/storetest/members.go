// members.go: what a store promises about the accounts that an owner looks for.

package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// members walks over all pages of a query and returns the usernames, as they come. Each
// page keeps its bounds.
func members(t *testing.T, s store.Store, q store.MemberQuery) (names []string) {
	t.Helper()
	for {
		page := membersPage(t, s, q)
		require.LessOrEqual(t, len(page.Users), q.Limit)
		for _, u := range page.Users {
			names = append(names, u.Username)
		}
		if page.Next == "" {
			return names
		}
		require.NotEqual(t, q.After, page.Next, "it goes on")
		q.After = page.Next
	}
}

func membersPage(t *testing.T, s store.Store, q store.MemberQuery) (page store.MemberPage) {
	t.Helper()
	view(t, s, func(tx store.Tx) (err error) {
		page, err = tx.Members(q)
		return err
	})
	return page
}

func countMembers(t *testing.T, s store.Store, state string) (c store.MemberCount) {
	t.Helper()
	view(t, s, func(tx store.Tx) (err error) {
		c, err = tx.CountMembers(state)
		return err
	})
	return c
}

// foldedKeys are the keys of an account as the rules give them.
func foldedKeys(u *store.User) []store.Key {
	keys := []store.Key{{Field: "username", Value: store.Fold(u.Username)}}
	switch {
	case u.Email == "":
	case u.AwaitsVerification:
		keys = append(keys, store.Key{Field: store.WaitingKey, Value: store.Fold(u.Email)})
	case !u.EmailPending:
		keys = append(keys, store.Key{Field: "email", Value: store.Fold(u.Email)})
	}
	for _, email := range u.FurtherEmails {
		keys = append(keys, store.Key{Field: "email", Value: store.Fold(email)})
	}
	return keys
}

func putMembers(t *testing.T, s store.Store, users ...*store.User) {
	t.Helper()
	// A store may give up an act that takes too long, and the machine may be busy.
	for some := range slices.Chunk(users, 200) {
		update(t, s, func(tx store.Tx) error {
			for _, u := range some {
				if err := tx.PutUser(u, foldedKeys(u)); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// inState brings an account into a state.
func inState(u *store.User, state string) {
	u.IsActive = state == store.StateActive
	u.AwaitsVerification = state == store.StateUnconfirmed
	u.AwaitsApproval = state == store.StateWaiting
	u.LeavesAt = time.Time{}
	if state == store.StateClosing {
		u.LeavesAt = now
	}
}

var memberStates = []string{store.StateActive, store.StateUnconfirmed, store.StateWaiting, store.StateClosing, store.StateDisabled}

// someMembers are accounts of all kinds, in the order of their ids.
func someMembers(n int) []*store.User {
	random := rand.New(rand.NewPCG(1, 2))
	users := make([]*store.User, n)
	for i := range users {
		u := newUser(fmt.Sprintf("User%03d", i))
		inState(u, memberStates[random.IntN(len(memberStates))])
		u.FirstName = []string{"", "Ada", "ÅSA", "Zoë"}[random.IntN(4)]
		u.LastName = []string{"", "Lovelace", "user", "O'Neill"}[random.IntN(4)]
		u.EmailPending = u.AwaitsVerification || random.IntN(9) == 0
		for _, g := range []string{"admins", "editors", "søk"} {
			if random.IntN(3) == 0 {
				u.Groups = append(u.Groups, g)
			}
		}
		users[i] = u
	}
	return users
}

// matching are the usernames of those whom a query asks for, by the words of the contract.
func matching(users []*store.User, q store.MemberQuery) (names []string) {
	for _, u := range users {
		beginning := store.Fold(q.Search)
		if (q.State == "" || u.State() == q.State) && (q.Group == "" || slices.Contains(u.Groups, q.Group)) &&
			(beginning == "" || slices.ContainsFunc(store.SearchTexts(u), func(text string) bool { return strings.HasPrefix(text, beginning) })) {
			names = append(names, u.Username)
		}
	}
	return names
}

var memberPromises = []promise{
	{"each query finds whom it asks for, whatever the pages", func(t *testing.T, open opener) {
		s := open(t)
		users := someMembers(120)
		putMembers(t, s, users...)
		for _, search := range []string{"", "user", "USER01", "ada", "ada l", "Åsa", "asa", "lovelace", "o'n", "user0@", "zoe", "Zoë o", "user11", "nobody", "user011@example.org", "user011@example.orgx"} {
			for _, state := range append([]string{"", "unknown"}, memberStates...) {
				for _, group := range []string{"", "admins", "søk", "Admins", "admin"} {
					q := store.MemberQuery{Search: search, State: state, Group: group}
					want := matching(users, q)
					for _, q.Limit = range []int{1, 7, 500} {
						got := members(t, s, q)
						if search != "" { // in an order of the store's own
							slices.Sort(got)
						}
						require.Equal(t, want, got, "%+v", q)
					}
					if q.Newest = true; search == "" {
						slices.Reverse(want)
						require.Equal(t, want, members(t, s, q), "%+v", q)
					}
				}
			}
		}
	}},
	{"a page that is full has a Next only where there are more", func(t *testing.T, open opener) {
		s := open(t)
		putMembers(t, s, newUser("anna"), newUser("andy"), newUser("anton"))
		for _, q := range []store.MemberQuery{{}, {Newest: true}, {Search: "an"}, {State: store.StateActive}} {
			q.Limit = 3
			page := membersPage(t, s, q)
			require.Len(t, page.Users, 3)
			require.Empty(t, page.Next)
			q.Limit = 2
			page = membersPage(t, s, q)
			require.Len(t, page.Users, 2)
			require.NotEmpty(t, page.Next)
			q.Limit = 0
			require.Empty(t, membersPage(t, s, q).Users)
		}
		id := membersPage(t, s, store.MemberQuery{Limit: 1}).Users[0].ID
		require.Equal(t, id.String(), membersPage(t, s, store.MemberQuery{Limit: 1}).Next, "without a search it is an id")
	}},
	{"an account is found as it is now, and no more when it is gone", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		u.FirstName, u.Groups = "Anna", []string{"a", "b"}
		putMembers(t, s, u)
		steps := []func(){
			func() { u.LastLogin = now },
			func() { u.Username = "bert" },
			func() { u.Email = "bert@example.org" },
			func() { u.FirstName, u.LastName = "Bert", "Brecht" },
			func() { u.LastName = "" },
			func() { u.FurtherEmails = []string{"second@example.org"} },
			func() { u.FurtherEmails = []string{"third@example.org"} },
			func() { u.LastLogin = now.Add(time.Hour) },
			func() { u.FurtherEmails, u.LastName = []string{"second@example.org"}, "Brecht" },
			func() { u.FurtherEmails, u.LastName = nil, "" },
			func() { u.Groups = []string{"b", "c"} },
			func() { inState(u, store.StateDisabled) },
			func() { inState(u, store.StateClosing) },
			func() { inState(u, store.StateWaiting) },
			func() { inState(u, store.StateUnconfirmed) },
			func() { u.EmailPending = true },
			func() { inState(u, store.StateActive) },
			func() { u.Groups = nil },
			func() { u.FirstName = strings.Repeat("x", 5000) },
		}
		check := func(users []*store.User, about ...any) {
			t.Helper()
			for _, search := range []string{"", "anna", "bert", "brecht", "bert b", "bert@", "anna@", "second@", "third@", strings.Repeat("x", 5000), strings.Repeat("x", 5001)} {
				for _, q := range []store.MemberQuery{{}, {Group: "a"}, {Group: "b"}, {Group: "c"}, {State: u.State()}, {State: store.StateWaiting}} {
					q.Search, q.Limit = search, 10
					require.Equal(t, matching(users, q), members(t, s, q), "%v %+v", about, q)
				}
			}
			for _, state := range memberStates {
				require.Equal(t, len(matching(users, store.MemberQuery{State: state})), countMembers(t, s, state).N, about...)
			}
			require.Equal(t, len(users), countMembers(t, s, "").N, about...)
		}
		for i, step := range steps {
			step()
			putMembers(t, s, u)
			check([]*store.User{u}, "step", i)
		}
		update(t, s, func(tx store.Tx) error { return tx.DeleteUser(u.ID) })
		check(nil, "deleted")
	}},
	{"an act that fails leaves no trace where accounts are looked for", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		u.FirstName, u.Groups = "Anna", []string{"a"}
		putMembers(t, s, u)
		failed := errors.New("failed")
		other := *u
		other.FirstName, other.Groups = "Bert", []string{"b"}
		inState(&other, store.StateDisabled)
		newcomer := newUser("bert")
		for range 3 {
			require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error {
				return errors.Join(tx.PutUser(&other, foldedKeys(&other)), tx.PutUser(newcomer, foldedKeys(newcomer)), tx.DeleteUser(u.ID), failed)
			}), failed)
		}
		for _, q := range []store.MemberQuery{{Search: "bert"}, {Group: "b"}, {State: store.StateDisabled}} {
			q.Limit = 10
			require.Empty(t, members(t, s, q))
		}
		for _, q := range []store.MemberQuery{{}, {Search: "anna"}, {Group: "a"}, {State: store.StateActive}} {
			q.Limit = 10
			require.Equal(t, []string{"anna"}, members(t, s, q))
		}
		require.Equal(t, store.MemberCount{N: 1}, countMembers(t, s, ""))
		require.Equal(t, store.MemberCount{N: 1}, countMembers(t, s, store.StateActive))
		require.Equal(t, store.MemberCount{}, countMembers(t, s, store.StateDisabled))
	}},
	{"counts are exact while acts run side by side", func(t *testing.T, open opener) {
		s := open(t)
		const workers, each = 8, 15
		done := make(chan error, workers)
		refused := errors.New("refused")
		for w := range workers {
			go func() {
				var err error
				for i := range each {
					u := newUser(fmt.Sprint("user", w, "-", i))
					inState(u, memberStates[i%len(memberStates)])
					u.Groups = []string{"all"}
					refuse := s.Update(t.Context(), func(tx store.Tx) error {
						if err := tx.PutUser(u, foldedKeys(u)); err != nil {
							return err
						}
						return refused
					})
					if !errors.Is(refuse, refused) {
						err = errors.Join(err, fmt.Errorf("not refused: %w", refuse))
					}
					err = errors.Join(err, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(u, foldedKeys(u)) }))
				}
				done <- err
			}()
		}
		for range workers {
			require.NoError(t, <-done)
		}
		for _, state := range memberStates {
			require.Equal(t, store.MemberCount{N: workers * each / len(memberStates)}, countMembers(t, s, state), state)
			require.Len(t, members(t, s, store.MemberQuery{State: state, Group: "all", Limit: 5}), workers*each/len(memberStates), state)
		}
		require.Equal(t, store.MemberCount{N: workers * each}, countMembers(t, s, ""))
		require.Equal(t, store.MemberCount{}, countMembers(t, s, "unknown"))
	}},
	{"a page ends when it has looked at enough", func(t *testing.T, open opener) {
		s := open(t)
		const crowd = 3 * store.MembersRead
		for from := 0; from < crowd; from += 1000 {
			users := make([]*store.User, 1000)
			for i := range users {
				users[i] = newUser(fmt.Sprintf("crowd%05d", from+i))
				users[i].Groups = []string{"crowd"}
			}
			putMembers(t, s, users...)
		}
		last := newUser("crowd99999")
		last.Groups = []string{"crowd", "rare"}
		inState(last, store.StateDisabled)
		first := newUser("anna")
		inState(first, store.StateWaiting)
		putMembers(t, s, last, first)

		for _, q := range []store.MemberQuery{{Search: "c", Group: "rare"}, {Search: "crowd", Group: "rare", State: store.StateDisabled}} {
			q.Limit = 10
			require.Equal(t, []string{"crowd99999"}, members(t, s, q), "%+v", q)
		}
		require.Equal(t, []string{"crowd99999"}, members(t, s, store.MemberQuery{Group: "crowd", State: store.StateDisabled, Limit: 10}))
		require.Equal(t, []string{"anna"}, members(t, s, store.MemberQuery{State: store.StateWaiting, Limit: 10}))
		count := countMembers(t, s, store.StateActive)
		require.True(t, count.N == crowd && !count.More || count.More && count.N >= store.MembersCounted && count.N < crowd, "%+v", count)
	}},
	{"a walk has everybody once who stays, while others come and go", func(t *testing.T, open opener) {
		s := open(t)
		users := someMembers(60)
		putMembers(t, s, users...)
		for _, q := range []store.MemberQuery{{}, {Search: "u"}, {Group: "admins"}, {Newest: true}} {
			q.Limit = 5
			var got []string
			var gone *store.User
			for i := 0; ; i++ {
				page := membersPage(t, s, q)
				for _, u := range page.Users {
					if strings.HasPrefix(u.Username, "User") {
						got = append(got, u.Username)
					}
				}
				if gone != nil { // comes back behind the walk
					putMembers(t, s, gone)
				}
				if q.After = page.Next; q.After == "" {
					break
				}
				// Who was shown last goes: the walk goes on from where it was.
				gone = page.Users[len(page.Users)-1]
				guest := newUser(fmt.Sprint("uguest", q.Search, q.Group, q.Newest, i))
				guest.ID = uuid.New()
				putMembers(t, s, guest)
				update(t, s, func(tx store.Tx) error { return tx.DeleteUser(gone.ID) })
			}
			slices.Sort(got)
			require.Equal(t, matching(users, store.MemberQuery{Search: q.Search, Group: q.Group}), got, "%+v", q)
		}
	}},
	{"where a walk goes on is looked at", func(t *testing.T, open opener) {
		s := open(t)
		putMembers(t, s, newUser("anna"))
		for _, q := range []store.MemberQuery{{After: "x"}, {Search: "a", After: "!"}, {Search: "a", After: "YQ"}, {After: strings.Repeat("0", 36)}} {
			q.Limit = 1
			require.ErrorIs(t, s.View(t.Context(), func(tx store.Tx) error {
				_, err := tx.Members(q)
				return err
			}), store.ErrNotFound, "%+v", q)
		}
		require.Equal(t, []string{"anna"}, members(t, s, store.MemberQuery{After: "00000000-0000-0000-0000-000000000001", Limit: 1}), "there need be no such account")
	}},
	{"texts are any string", func(t *testing.T, open opener) {
		s := open(t)
		long := strings.Repeat("ж", 300)
		names := []string{"a\x00b", "a\xffb", "%a_", "", long, long + "x", "Straße", "ﬁn", "Ꭰꭰ"}
		for i, name := range names {
			u := newUser(fmt.Sprint("u", i))
			u.FirstName = name
			putMembers(t, s, u)
		}
		for search, want := range map[string][]string{
			"a": {"u0", "u1"}, "%": {"u2"}, "_": nil, "жж": {"u4", "u5"}, long: {"u4", "u5"}, long + "X": {"u5"}, "STRASSE": {"u6"}, "fi": {"u7"}, "ᎠᎠ": {"u8"}, "u": nil,
		} {
			got := members(t, s, store.MemberQuery{Search: search, Limit: 2})
			slices.Sort(got)
			if search == "u" {
				require.Len(t, got, len(names))
				continue
			}
			require.Equal(t, want, got, "%.20s", search)
		}
	}},
}
