// register_test.go: POST P/register against the contract; and what the tests of
// all endpoints use to compare a refusal with its documented shape.

package registration

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// wantJSON checks the headers that every answer in JSON has.
func wantJSON(t testing.TB, res *answer, status int) {
	t.Helper()
	require.Equal(t, status, res.StatusCode, res.body)
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
}

// wantDetail checks a single refusal: {"detail": "…"} and nothing else.
func wantDetail(t testing.TB, res *answer, status int, code refusal.Code, params ...text.Params) {
	t.Helper()
	wantJSON(t, res, status)
	text := message(code, append(params, nil)[0])
	require.NotEmpty(t, text)
	require.NotContains(t, text, "{", "a parameter is missing")
	require.Equal(t, data{"detail": text}, res.json(t))
}

// wantFields checks a refusal by field: these errors in this order, no others.
func wantFields(t testing.TB, res *answer, errs ...refusal.FieldError) {
	t.Helper()
	wantJSON(t, res, http.StatusBadRequest)
	want := data{}
	for _, e := range errs {
		text := words(e.Phrase())
		require.NotContains(t, text, "{", "a parameter is missing")
		list, _ := want[e.Field].([]any)
		want[e.Field] = append(list, text)
	}
	require.Equal(t, want, res.json(t))
}

// fieldError is short for a FieldError without parameters.
func fieldError(field string, code refusal.Code) refusal.FieldError {
	return refusal.FieldError{Field: field, Code: code}
}

// notA is the refusal of a value that is not what the field takes, which the
// message says: a username, an email.
func notA(kind, field string) refusal.FieldError {
	return refusal.FieldError{Field: field, Code: refusal.CodeInvalid, Message: "invalid." + kind}
}

// stored returns the account as the store has it.
func (s *site) stored(id string) *store.User {
	s.t.Helper()
	var u *store.User
	require.NoError(s.t, s.accounts.View(context.Background(), func(tx store.Tx) (err error) {
		u, err = tx.User(uuid.MustParse(id))
		return err
	}))
	return u
}

// census counts what the store holds.
func (s *site) census() (users, sessions int) {
	s.t.Helper()
	require.NoError(s.t, s.realm.engine.store.View(context.Background(), func(tx store.Tx) error {
		users, sessions = 0, 0
		all, err := tx.Users(uuid.UUID{}, 1000)
		if err != nil {
			return err
		}
		users = len(all)
		for _, u := range all {
			list, err := tx.Sessions(u.ID, 9)
			if err != nil {
				return err
			}
			sessions += len(list)
		}
		return nil
	}))
	return users, sessions
}

// set changes an account behind the rules' back, as an import would.
func (s *site) set(id string, change func(*store.User)) {
	s.t.Helper()
	require.NoError(s.t, s.accounts.Update(context.Background(), func(t *account.Txn) error {
		u, err := t.User(uuid.MustParse(id))
		if err != nil {
			return err
		}
		change(u)
		return s.accounts.PutUser(t, u)
	}))
}

// withoutVerification makes new accounts usable at once.
func withoutVerification(s *Settings) { s.Register.Verification = off() }

func TestRegisterAnswersWithThePublicProfile(t *testing.T) {
	s := newSite(t)
	res := s.browser().post("/accounts/register", with(newcomer("ada"), data{"first_name": " Ada ", "last_name": "Lovelace"}))
	wantJSON(t, res, http.StatusCreated)
	id := res.json(t)["id"].(string)
	require.Equal(t, `{"id":"`+id+`","username":"ada","email":"ada@example.org","first_name":"Ada","last_name":"Lovelace"}`, strings.TrimSpace(res.body))
	require.EqualValues(t, 7, uuid.MustParse(id).Version())
	require.Len(t, res.Cookies(), 1)
	require.Equal(t, "registration"+web.SignUpSuffix, res.Cookies()[0].Name, "signing up does not sign in")

	u := s.stored(id)
	require.False(t, u.IsActive)
	require.True(t, u.AwaitsVerification)
	require.False(t, u.EmailVerified)
	require.Equal(t, s.accounts.Time(), u.DateJoined)
	require.True(t, u.LastLogin.IsZero())
	require.True(t, strings.HasPrefix(u.PasswordHash, "$argon2id$"), u.PasswordHash)

	m := s.mail()
	require.Equal(t, "ada@example.org", m.To)
	require.Equal(t, id, linkOf(m, t)["user_id"])
	s.noMail()
}

func TestRegisterWithoutVerification(t *testing.T) {
	s := newSite(t, withoutVerification)
	res := s.browser().post("/accounts/register", newcomer("ada"))
	wantJSON(t, res, http.StatusCreated)
	u := s.stored(res.json(t)["id"].(string))
	require.True(t, u.IsActive)
	require.False(t, u.AwaitsVerification)
	require.False(t, u.EmailVerified, "nobody has confirmed the address")
	s.noMail()
	s.signedIn("ada")

	// Then an address is no longer needed, and several accounts may be without.
	for _, name := range []string{"bob", "cleo"} {
		res := s.browser().post("/accounts/register", with(newcomer(name), data{"email": nil}))
		wantJSON(t, res, http.StatusCreated)
		require.Equal(t, "", res.json(t)["email"])
	}
	wantJSON(t, s.browser().post("/accounts/register", with(newcomer("dora"), data{"email": "  "})), http.StatusCreated)
}

func TestRegisterRefusesByField(t *testing.T) {
	long := strings.Repeat("x", 151)
	required := func(names ...string) (errs []refusal.FieldError) {
		for _, name := range names {
			errs = append(errs, fieldError(name, refusal.CodeRequired))
		}
		return errs
	}
	maxLength := func(field string, n int) refusal.FieldError {
		return refusal.FieldError{Field: field, Code: refusal.CodeMaxLength, Params: text.Params{"max": n}}
	}
	for name, test := range map[string]struct {
		body any
		want []refusal.FieldError
	}{
		"nothing":           {data{}, required("username", "password", "password_confirm")},
		"no body":           {nil, required("username", "password", "password_confirm")},
		"blank":             {with(newcomer("ada"), data{"username": " \t", "password": "", "password_confirm": ""}), []refusal.FieldError{fieldError("username", refusal.CodeBlank), fieldError("password", refusal.CodeBlank), fieldError("password_confirm", refusal.CodeBlank)}},
		"null":              {`{"username":null,"email":null,"first_name":null,"password":null,"password_confirm":null}`, []refusal.FieldError{fieldError("username", refusal.CodeNull), fieldError("email", refusal.CodeNull), fieldError("first_name", refusal.CodeNull), fieldError("password", refusal.CodeNull), fieldError("password_confirm", refusal.CodeNull)}},
		"wrong types":       {with(newcomer("ada"), data{"username": true, "email": []string{"a"}, "first_name": data{}, "password": false}), []refusal.FieldError{fieldError("username", refusal.CodeInvalid), fieldError("email", refusal.CodeInvalid), fieldError("first_name", refusal.CodeInvalid), fieldError("password", refusal.CodeInvalid)}},
		"malformed":         {with(newcomer("ada"), data{"username": "a b", "email": "ada", "last_name": "a\nb"}), []refusal.FieldError{notA("username", "username"), notA("email", "email"), fieldError("last_name", refusal.CodeInvalid)}},
		"NUL":               {with(newcomer("ada"), data{"username": "a\x00b", "email": "a\x00@example.org", "first_name": "\x00"}), []refusal.FieldError{notA("username", "username"), notA("email", "email"), fieldError("first_name", refusal.CodeInvalid)}},
		"too long":          {with(newcomer("ada"), data{"username": long, "email": long + long + "@example.org", "first_name": long, "last_name": long}), []refusal.FieldError{maxLength("username", 150), maxLength("email", 254), maxLength("first_name", 150), maxLength("last_name", 150)}},
		"password too long": {with(newcomer("ada"), data{"password": strings.Repeat("y", 4097)}), []refusal.FieldError{maxLength("password", 4096)}},
		"not an object":     {[]string{"ada"}, []refusal.FieldError{fieldError("non_field_errors", refusal.CodeNotAnObject)}},
		"weak password and wrong field: the field alone": {with(newcomer("ada"), data{"username": "!", "password": "1234"}), []refusal.FieldError{notA("username", "username")}},
		"validators and confirmation together": {
			with(newcomer("ada"), data{"password": "1234567"}),
			[]refusal.FieldError{{Field: "password", Code: refusal.CodePasswordTooShort, Params: text.Params{"min": 8}}, fieldError("password", refusal.CodePasswordNumeric), fieldError("password", refusal.CodePasswordTooCommon), fieldError("password_confirm", refusal.CodePasswordsDoNotMatch)},
		},
		"similar to the username":        {with(newcomer("ada-lovelace"), data{"password": "ada-lovelace1", "password_confirm": "ada-lovelace1"}), []refusal.FieldError{fieldError("password", refusal.CodePasswordTooSimilar)}},
		"similar to the last name":       {with(newcomer("ada"), data{"last_name": "Wotherspoon", "password": "wotherspoon9", "password_confirm": "wotherspoon9"}), []refusal.FieldError{fieldError("password", refusal.CodePasswordTooSimilar)}},
		"the confirmation is no trimmed": {with(newcomer("ada"), data{"password_confirm": testPassword + " "}), []refusal.FieldError{fieldError("password_confirm", refusal.CodePasswordsDoNotMatch)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := s.browser()
			if _, raw := test.body.(string); raw {
				b.header.Set("Content-Type", "application/json")
			}
			wantFields(t, b.post("/accounts/register", test.body), test.want...)
			users, _ := s.census()
			require.Zero(t, users, "nothing is written")
			s.noMail()
		})
	}
}

// Length is counted in characters, and its limit is inclusive.
func TestRegisterTakesValuesOfTheGreatestLength(t *testing.T) {
	s := newSite(t)
	name, pass := strings.Repeat("ß", 150), strings.Repeat("long ", 4096/5)+"x"
	require.Len(t, pass, 4096)
	res := s.browser().post("/accounts/register", data{"username": name, "email": "a@example.org", "password": pass, "password_confirm": pass})
	wantJSON(t, res, http.StatusCreated)
	require.Equal(t, name, res.json(t)["username"])
}

func TestRegisterNeedsAnAddressToVerify(t *testing.T) {
	for name, change := range map[string]data{"missing": {"email": nil}, "blank": {"email": "  "}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			wantDetail(t, s.browser().post("/accounts/register", with(newcomer("ada"), change)), http.StatusBadRequest, refusal.CodeEmailRequired)
			users, _ := s.census()
			require.Zero(t, users)

			s = newSite(t, func(s *Settings) { s.NonFieldErrorsKey = on() })
			res := s.browser().post("/accounts/register", with(newcomer("ada"), change))
			require.Equal(t, data{"non_field_errors": []any{message(refusal.CodeEmailRequired, nil)}}, res.json(t))
		})
	}
	// As a login field it is a required field like any other.
	s := newSite(t, func(s *Settings) { s.User.LoginFields = []string{"email"} })
	wantFields(t, s.browser().post("/accounts/register", with(newcomer("ada"), data{"email": nil})), fieldError("email", refusal.CodeRequired))
	wantJSON(t, s.browser().post("/accounts/register", with(newcomer("ada"), data{"username": nil})), http.StatusCreated)
}

func TestRegisterPasswordConfirmation(t *testing.T) {
	s := newSite(t)
	wantFields(t, s.browser().post("/accounts/register", with(newcomer("ada"), data{"password_confirm": nil})), fieldError("password_confirm", refusal.CodeRequired))
	s = newSite(t, func(s *Settings) { s.Register.PasswordConfirm = off() })
	wantJSON(t, s.browser().post("/accounts/register", with(newcomer("ada"), data{"password_confirm": nil})), http.StatusCreated)
	wantJSON(t, s.browser().post("/accounts/register", with(newcomer("bob"), data{"password_confirm": "something else"})), http.StatusCreated)
}

func TestRegisterNeverTrimsPasswords(t *testing.T) {
	s := newSite(t, withoutVerification)
	pass := "  spaces at both ends\t "
	wantJSON(t, s.browser().post("/accounts/register", with(newcomer("ada"), data{"username": "  ada ", "password": pass, "password_confirm": pass})), http.StatusCreated)
	wantDetail(t, s.browser().post("/accounts/login", data{"login": "ada", "password": strings.TrimSpace(pass)}), http.StatusBadRequest, refusal.CodeLoginInvalid)
	wantJSON(t, s.browser().post("/accounts/login", data{"login": "ada", "password": pass}), http.StatusOK)
}

func TestRegisterSwitchedOff(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.Register.Enabled = off() })
	b := s.browser()
	wantDetail(t, b.post("/accounts/register", newcomer("ada")), http.StatusNotFound, refusal.CodeNotFound)
	// 404 comes before anything else: method, token, media type.
	b.header.Set("Authorization", "Token nonsense")
	wantDetail(t, b.get("/accounts/register/"), http.StatusNotFound, refusal.CodeNotFound)
	b.header.Set("Content-Type", "text/plain")
	wantDetail(t, b.post("/accounts/register", "x"), http.StatusNotFound, refusal.CodeNotFound)
}

func TestRegisterIgnoresWhatIsNotTheOwnersToSet(t *testing.T) {
	privileged := data{
		"id": "01890a5d-ac96-774b-bcce-b302099a8057", "is_active": true, "is_staff": true, "groups": []string{"admins"},
		"date_joined": "1999-01-01T00:00:00Z", "last_login": "1999-01-01T00:00:00Z", "password_hash": "x", "email_verified": true, "shoe_size": data{"eu": 39},
	}
	everything := field.NewSet(field.Builtins, resolvedTestSettings(t).fieldUse()).Names()
	for name, configure := range map[string]func(*Settings){
		"hidden by default": func(*Settings) {},
		"even where public": func(s *Settings) { s.User.PublicFields, s.User.EditableFields = everything, []string{"first_name"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, configure)
			res := s.browser().post("/accounts/register", with(newcomer("ada"), privileged))
			wantJSON(t, res, http.StatusCreated)
			body := res.json(t)
			require.NotEqual(t, privileged["id"], body["id"])
			u := s.stored(body["id"].(string))
			require.False(t, u.IsActive)
			require.False(t, u.IsStaff)
			require.False(t, u.EmailVerified)
			require.Empty(t, u.Groups)
			require.Empty(t, u.Extra)
			require.True(t, u.LastLogin.IsZero())
			require.Equal(t, s.accounts.Time(), u.DateJoined)
			if len(body) > 5 {
				require.Equal(t, everything, slices.SortedFunc(maps.Keys(body), func(a, b string) int {
					return slices.Index(everything, a) - slices.Index(everything, b)
				}))
				require.Equal(t, false, body["is_active"])
				require.Equal(t, []any{}, body["groups"])
				require.Nil(t, body["last_login"])
			}
		})
	}
}

func TestRegisterTakesTheFieldsThatAreShown(t *testing.T) {
	s := newSite(t, func(s *Settings) {
		s.User.PublicFields = []string{"id", "username", "first_name", "last_name"}
		s.User.HiddenFields = []string{"last_name"}
	})
	res := s.browser().post("/accounts/register", with(newcomer("ada"), data{"first_name": "Ada", "last_name": "Lovelace"}))
	wantJSON(t, res, http.StatusCreated)
	id := res.json(t)["id"].(string)
	require.Equal(t, data{"id": id, "username": "ada", "first_name": "Ada"}, res.json(t))
	u := s.stored(id)
	require.Empty(t, u.LastName, "a hidden field is ignored")
	require.Equal(t, "ada@example.org", u.Email, "the address is needed for the mail, shown or not")
}

func TestRegisterTakesNumbersAsText(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.header.Set("Content-Type", "application/json")
	res := b.post("/accounts/register", `{"username": 4711, "first_name": 1.50, "email": "n@example.org", "password": "wrong", "password":"`+testPassword+`","password_confirm":"`+testPassword+`"}`)
	wantJSON(t, res, http.StatusCreated)
	require.Equal(t, "4711", res.json(t)["username"])
	require.Equal(t, "1.50", res.json(t)["first_name"], "as it was written")
}

func TestRegisterTakesForms(t *testing.T) {
	s := newSite(t)
	form := url.Values{"username": {"first", "ada"}, "email": {"ada@example.org"}, "password": {testPassword}, "password_confirm": {testPassword}}
	res := s.browser().post("/accounts/register/", form)
	wantJSON(t, res, http.StatusCreated)
	require.Equal(t, "ada", res.json(t)["username"], "the last of two wins")
	b := s.browser()
	b.header.Set("Content-Type", "multipart/form-data; boundary=x")
	body := ""
	for name, value := range newcomer("bob") {
		body += "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value.(string) + "\r\n"
	}
	wantJSON(t, b.post("/accounts/register", body+"--x--\r\n"), http.StatusCreated)
}

// One name is one account, in whatever case and encoding it is written.
func TestRegisterUniqueness(t *testing.T) {
	for name, test := range map[string]struct {
		first, second data
		Field         string
	}{
		"username":                {data{"username": "ada"}, data{"username": "ada"}, "username"},
		"username case":           {data{"username": "Ada"}, data{"username": "aDA"}, "username"},
		"username full-width":     {data{"username": "ada"}, data{"username": "ａｄａ"}, "username"},
		"username decomposed":     {data{"username": "josé"}, data{"username": "jose\u0301"}, "username"},
		"username ligature":       {data{"username": "fin"}, data{"username": "ﬁn"}, "username"},
		"username sharp s":        {data{"username": "straße"}, data{"username": "STRASSE"}, "username"},
		"username Kelvin sign":    {data{"username": "kelvin"}, data{"username": "\u212aelvin"}, "username"},
		"username final sigma":    {data{"username": "οδος"}, data{"username": "ΟΔΟΣ"}, "username"},
		"username trimmed":        {data{"username": "ada"}, data{"username": " ada\n"}, "username"},
		"email":                   {data{"email": "ada@example.org"}, data{"email": "ada@example.org"}, "email"},
		"email case":              {data{"email": "ada@example.org"}, data{"email": "ADA@Example.ORG"}, "email"},
		"email domain's spelling": {data{"email": "ada@bücher.example"}, data{"email": "ada@xn--bcher-kva.example"}, "email"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *Settings) { s.Register.Verification = off() }) // with it, a taken address is not told
			wantJSON(t, s.browser().post("/accounts/register", with(newcomer("one"), test.first)), http.StatusCreated)
			wantFields(t, s.browser().post("/accounts/register", with(newcomer("two"), test.second)), fieldError(test.Field, refusal.CodeUnique))
			users, _ := s.census()
			require.Equal(t, 1, users)
		})
	}
	t.Run("both, and another field, together", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.Register.Verification = off() })
		wantJSON(t, s.browser().post("/accounts/register", newcomer("ada")), http.StatusCreated)
		wantFields(t, s.browser().post("/accounts/register", with(newcomer("ADA"), data{"first_name": "\x07", "password": nil})),
			fieldError("first_name", refusal.CodeInvalid), fieldError("password", refusal.CodeRequired), fieldError("username", refusal.CodeUnique), fieldError("email", refusal.CodeUnique))
	})
}

func TestRegisterLowersTheDomainOfAnAddress(t *testing.T) {
	s := newSite(t)
	res := s.browser().post("/accounts/register", with(newcomer("ada"), data{"email": " Ada.B@EXAMPLE.Org "}))
	wantJSON(t, res, http.StatusCreated)
	require.Equal(t, "Ada.B@example.org", res.json(t)["email"])
	require.Equal(t, "Ada.B@example.org", s.mail().To)
}

// inParallel starts n calls at one moment and counts their outcomes.
func inParallel(n int, call func(i int) string) map[string]int {
	var mu sync.Mutex
	var group sync.WaitGroup
	outcomes, begin := map[string]int{}, make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-begin
			got := call(i)
			mu.Lock()
			outcomes[got]++
			mu.Unlock()
		})
	}
	close(begin)
	group.Wait()
	return outcomes
}

func TestRegisterIsUniqueUnderConcurrency(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.User.LoginFields = []string{"username", "email"} })
	taken, err := json.Marshal(map[string][]string{"username": {message(refusal.CodeUnique, nil)}})
	require.NoError(t, err)
	outcomes := inParallel(100, func(i int) string {
		name := []string{"ada", "ADA", "ａｄａ"}[i%3]
		res := s.browser().post("/accounts/register", with(newcomer(name), data{"email": "a" + uuid.NewString() + "@example.org"}))
		if res.StatusCode == http.StatusCreated {
			return "created"
		}
		return strings.TrimSpace(res.body)
	})
	require.Equal(t, map[string]int{"created": 1, string(taken): 99}, outcomes)
	users, _ := s.census()
	require.Equal(t, 1, users)
	s.mail()
	s.noMail()

	// The clash of two login fields is a race of its own: the address is one
	// account's, and nobody has it as his name.
	outcomes = inParallel(60, func(i int) string {
		body := with(newcomer("x"), data{"username": "eve@example.org", "email": uuid.NewString() + "@example.org"})
		if i%2 == 0 {
			body = with(newcomer("x"), data{"username": "u" + uuid.NewString(), "email": "eve@example.org"})
		}
		return http.StatusText(s.browser().post("/accounts/register", body).StatusCode)
	})
	require.Equal(t, map[string]int{"Created": 30, "Bad Request": 30}, outcomes)
	// Thirty wait for the address; the first to confirm has it.
	links := make(chan data, 30)
	for range 30 {
		links <- linkOf(s.mail(), t)
	}
	outcomes = inParallel(30, func(int) string {
		return http.StatusText(s.browser().post("/accounts/verify-registration", <-links).StatusCode)
	})
	require.Equal(t, map[string]int{"OK": 1, "Bad Request": 29}, outcomes)
	holders := 0
	var all []*store.User
	require.NoError(t, s.accounts.Store.View(t.Context(), func(tx store.Tx) (err error) { all, err = tx.Users(uuid.Nil, 1000); return err }))
	for _, u := range all {
		require.NotEqual(t, "eve@example.org", u.Username)
		if u.Email == "eve@example.org" && u.EmailVerified {
			holders++
		}
	}
	require.Equal(t, 1, holders)
}
