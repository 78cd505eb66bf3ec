// owner_many_test.go: the owner's pages of a realm with many members, seeded through the
// store: how they look, and for how long the server works on each.

package browsers_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The seeded realm: one in waitingEvery waits, one in disabledEvery is disabled; the
// record has a row for each.
const (
	waitingEvery, disabledEvery = 700, 90
	seededInvitations           = 120
)

var (
	seededFirst = []string{"Ann", "Bartholomew", "Çelik", "Dorothea", "Emil", "Fatima", "Grzegorz", "Hanna", "Ivo", "Juliane-Sophie", "Karl", "Łucja", "Minh", "Noor", "Olga", "Paweł"}
	seededLast  = []string{"Abendroth", "Brzęczyszczykiewicz", "Castellanos", "Dasilva", "Eriksen", "Featherstonehaugh", "Gómez", "Hsu", "Ito", "Jansen"}
)

// seedMembers writes n accounts into the store of a server that doesn't run, and returns
// the id of the one in the middle.
func seedMembers(t testing.TB, s *served.Server, n int) (middle uuid.UUID) {
	t.Helper()
	db, done := s.OpenStore()
	defer done()
	joined := time.Now().Add(-1000 * 24 * time.Hour).UTC().Truncate(time.Second)
	member := func(i int) *store.User {
		id, err := uuid.NewV7()
		require.NoError(t, err)
		first, last := seededFirst[i%len(seededFirst)], seededLast[i/7%len(seededLast)]
		name := fmt.Sprintf("%c%s%d", 'a'+i%26, strings.ToLower(seededLast[i/3%4]), i)
		u := &store.User{
			ID: id, Username: name, Email: name + "@garden.example", EmailVerified: true, FirstName: first, LastName: last,
			DateJoined: joined.Add(time.Duration(i) * time.Minute), IsActive: true,
		}
		switch {
		case i%waitingEvery == 1:
			u.IsActive, u.AwaitsApproval, u.Reason = false, true, "I have the plot beside the gate, number "+strconv.Itoa(i)+"."
		case i%disabledEvery == 2:
			u.IsActive = false
		case i%3 == 0:
			u.Groups = []string{"members"}
		}
		return u
	}
	batch := 2000
	if served.InDatabase() {
		batch = 100 // an act has 4 s
	}
	for begin := 0; begin < n; begin += batch {
		require.NoError(t, db.Update(context.Background(), func(tx store.Tx) error {
			for i := begin; i < min(n, begin+batch); i++ {
				u := member(i)
				if i == n/2 {
					middle = u.ID
				}
				if err := tx.PutUser(u, []store.Key{{Field: "username", Value: u.Username}, {Field: "email", Value: u.Email}}); err != nil {
					return err
				}
				if err := tx.AddAudit(&store.Audit{At: u.DateJoined, Event: "account_registered", Account: u.ID, Address: "203.0.113.7"}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, db.Update(context.Background(), func(tx store.Tx) error {
		for i := range seededInvitations {
			id, err := uuid.NewV7()
			require.NoError(t, err)
			if err := tx.PutInvitation(&store.Invitation{
				ID: id, Hash: sha256.Sum256(id[:]), Groups: []string{"members"}, Note: "For plot " + strconv.Itoa(i),
				Created: time.Now(), Expires: time.Now().Add(24 * time.Hour), Uses: 10_000, Used: i,
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	return middle
}

// manyMembers is how many are seeded: some pages full, or, for who measures and looks at
// the pictures, what the environment says.
func manyMembers(t testing.TB) int {
	t.Helper()
	txt := os.Getenv("REGISTRATION_MEMBERS")
	if txt == "" {
		return 3000
	}
	n, err := strconv.Atoi(txt)
	require.NoError(t, err)
	return n
}

// TestOwnersPagesOfManyMembers looks at each list at its beginning and deep in it, and says
// for how long each page took.
func TestOwnersPagesOfManyMembers(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	n := manyMembers(t)
	begin := time.Now()
	middle := seedMembers(t, s, n)
	t.Logf("%d members seeded in %v", n, time.Since(begin))
	o := startOwner(s, "mailer file [[dir]]/mail")
	w := newWalker(t, s.Base())
	signIn(w.Browser, "ada")
	w.speaks("en")
	walk := &ownerWalk{&modeWalk{walker: w, s: s, lang: "en", views: views[:1]}, o}
	if w.KeepsShots {
		walk.views = views
	}
	c := s.Client()
	c.SignIn("ada")
	c.Header.Set("Accept", served.BrowserAccept)
	for _, page := range []struct{ name, path string }{
		{"accounts", "accounts/"},
		{"accounts-deep", "accounts/?after=" + middle.String()},
		{"accounts-username", "accounts/?search=ab"},
		{"accounts-name", "accounts/?search=" + url.QueryEscape("Łucja C")},
		{"accounts-address", "accounts/?search=babendroth1"},
		{"accounts-none", "accounts/?search=nobody-of-this-name"},
		{"accounts-disabled", "accounts/?state=disabled"},
		{"accounts-group", "accounts/?group=members"},
		{"accounts-rare-group", "accounts/?group=admins"},
		{"account", "accounts/" + middle.String() + "/"},
		{"waiting", "waiting/"},
		{"invitations", "invitations/"},
		{"audit", "audit/"},
		{"audit-event", "audit/?event=account_registered"},
		{"audit-deep", "audit/?after=" + strconv.Itoa(n/2)},
		{"audit-account", "audit/?account=" + middle.String()},
		{"mail", "mail/"},
		{"settings", "settings/"},
	} {
		var took []time.Duration
		for range 20 {
			begin := time.Now()
			require.Equal(t, http.StatusOK, c.Do(http.MethodGet, adminPath+page.path, nil).StatusCode, page.name)
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		t.Logf("%-20s fastest %6.2f ms, median %6.2f ms", page.name, took[0].Seconds()*1e3, took[len(took)/2].Seconds()*1e3)
		walk.at(200, adminPath+page.path, "many-"+page.name)
	}
	w.RequireQuiet()
	w.validate()
}
