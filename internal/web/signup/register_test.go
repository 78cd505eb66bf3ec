// register_test.go: POST P/register against the contract; and what the tests of
// all endpoints use to compare a refusal with its documented shape.

package signup_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// wantDetail checks a single refusal: {"detail": "…"} and nothing else.
func wantDetail(t testing.TB, res *sitetest.Answer, status int, code refusal.Code, params ...text.Params) {
	t.Helper()
	sitetest.WantJSON(t, res, status)
	text := sitetest.Message(code, append(params, nil)[0])
	require.NotEmpty(t, text)
	require.NotContains(t, text, "{", "a parameter is missing")
	require.Equal(t, sitetest.Data{"detail": text}, res.JSON(t))
}

// fieldError is short for a FieldError without parameters.
func fieldError(field string, code refusal.Code) refusal.FieldError {
	return refusal.FieldError{Field: field, Code: code}
}

func TestRegisterAnswersWithThePublicProfile(t *testing.T) {
	s := sitetest.New(t)
	res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"first_name": " Ada ", "last_name": "Lovelace"}))
	sitetest.WantJSON(t, res, http.StatusCreated)
	id := res.JSON(t)["id"].(string)
	require.Equal(t, `{"id":"`+id+`","username":"ada","email":"ada@example.org","first_name":"Ada","last_name":"Lovelace"}`, strings.TrimSpace(res.Text))
	require.EqualValues(t, 7, uuid.MustParse(id).Version())
	require.Len(t, res.Cookies(), 1)
	require.Equal(t, "registration"+web.SignUpSuffix, res.Cookies()[0].Name, "signing up does not sign in")

	u := s.Stored(id)
	require.False(t, u.IsActive)
	require.True(t, u.AwaitsVerification)
	require.False(t, u.EmailVerified)
	require.Equal(t, s.Accounts.Time(), u.DateJoined)
	require.True(t, u.LastLogin.IsZero())
	require.True(t, strings.HasPrefix(u.PasswordHash, "$argon2id$"), u.PasswordHash)

	m := s.Mail()
	require.Equal(t, "ada@example.org", m.To)
	require.Equal(t, id, sitetest.LinkOf(m, t)["user_id"])
	s.NoMail()
}

func TestRegisterWithoutVerification(t *testing.T) {
	s := sitetest.New(t, sitetest.WithoutVerification)
	res := s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
	sitetest.WantJSON(t, res, http.StatusCreated)
	u := s.Stored(res.JSON(t)["id"].(string))
	require.True(t, u.IsActive)
	require.False(t, u.AwaitsVerification)
	require.False(t, u.EmailVerified, "nobody has confirmed the address")
	s.NoMail()
	s.SignedIn("ada")

	// Then an address is no longer needed, and several accounts may be without.
	for _, name := range []string{"bob", "cleo"} {
		res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": nil}))
		sitetest.WantJSON(t, res, http.StatusCreated)
		require.Equal(t, "", res.JSON(t)["email"])
	}
	sitetest.WantJSON(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("dora"), sitetest.Data{"email": "  "})), http.StatusCreated)
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
		"nothing":           {sitetest.Data{}, required("username", "password", "password_confirm")},
		"no body":           {nil, required("username", "password", "password_confirm")},
		"blank":             {sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"username": " \t", "password": "", "password_confirm": ""}), []refusal.FieldError{fieldError("username", refusal.CodeBlank), fieldError("password", refusal.CodeBlank), fieldError("password_confirm", refusal.CodeBlank)}},
		"null":              {`{"username":null,"email":null,"first_name":null,"password":null,"password_confirm":null}`, []refusal.FieldError{fieldError("username", refusal.CodeNull), fieldError("email", refusal.CodeNull), fieldError("first_name", refusal.CodeNull), fieldError("password", refusal.CodeNull), fieldError("password_confirm", refusal.CodeNull)}},
		"wrong types":       {sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"username": true, "email": []string{"a"}, "first_name": sitetest.Data{}, "password": false}), []refusal.FieldError{fieldError("username", refusal.CodeInvalid), fieldError("email", refusal.CodeInvalid), fieldError("first_name", refusal.CodeInvalid), fieldError("password", refusal.CodeInvalid)}},
		"malformed":         {sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"username": "a b", "email": "ada", "last_name": "a\nb"}), []refusal.FieldError{sitetest.NotA("username", "username"), sitetest.NotA("email", "email"), fieldError("last_name", refusal.CodeInvalid)}},
		"NUL":               {sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"username": "a\x00b", "email": "a\x00@example.org", "first_name": "\x00"}), []refusal.FieldError{sitetest.NotA("username", "username"), sitetest.NotA("email", "email"), fieldError("first_name", refusal.CodeInvalid)}},
		"too long":          {sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"username": long, "email": long + long + "@example.org", "first_name": long, "last_name": long}), []refusal.FieldError{maxLength("username", 150), maxLength("email", 254), maxLength("first_name", 150), maxLength("last_name", 150)}},
		"password too long": {sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"password": strings.Repeat("y", 4097)}), []refusal.FieldError{maxLength("password", 4096)}},
		"not an object":     {[]string{"ada"}, []refusal.FieldError{fieldError("non_field_errors", refusal.CodeNotAnObject)}},
		"weak password and wrong field": {
			sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"username": "!", "password": "1234"}),
			[]refusal.FieldError{sitetest.NotA("username", "username"), {Field: "password", Code: refusal.CodePasswordTooShort, Params: text.Params{"min": 8}}, fieldError("password", refusal.CodePasswordNumeric), fieldError("password", refusal.CodePasswordTooCommon), fieldError("password_confirm", refusal.CodePasswordsDoNotMatch)},
		},
		"validators and confirmation together": {
			sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"password": "1234567"}),
			[]refusal.FieldError{{Field: "password", Code: refusal.CodePasswordTooShort, Params: text.Params{"min": 8}}, fieldError("password", refusal.CodePasswordNumeric), fieldError("password", refusal.CodePasswordTooCommon), fieldError("password_confirm", refusal.CodePasswordsDoNotMatch)},
		},
		"similar to the username":        {sitetest.With(sitetest.Newcomer("ada-lovelace"), sitetest.Data{"password": "ada-lovelace1", "password_confirm": "ada-lovelace1"}), []refusal.FieldError{fieldError("password", refusal.CodePasswordTooSimilar)}},
		"similar to the last name":       {sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"last_name": "Wotherspoon", "password": "wotherspoon9", "password_confirm": "wotherspoon9"}), []refusal.FieldError{fieldError("password", refusal.CodePasswordTooSimilar)}},
		"the confirmation is no trimmed": {sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"password_confirm": sitetest.Password + " "}), []refusal.FieldError{fieldError("password_confirm", refusal.CodePasswordsDoNotMatch)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			b := s.Browser()
			if _, raw := test.body.(string); raw {
				b.Header.Set("Content-Type", "application/json")
			}
			sitetest.WantFields(t, b.Post("/accounts/register", test.body), test.want...)
			users, _ := s.Census()
			require.Zero(t, users, "nothing is written")
			s.NoMail()
		})
	}
}

// Length is counted in characters, and its limit is inclusive.
func TestRegisterTakesValuesOfTheGreatestLength(t *testing.T) {
	s := sitetest.New(t)
	name, pass := strings.Repeat("ß", 150), strings.Repeat("long ", 4096/5)+"x"
	require.Len(t, pass, 4096)
	res := s.Browser().Post("/accounts/register", sitetest.Data{"username": name, "email": "a@example.org", "password": pass, "password_confirm": pass})
	sitetest.WantJSON(t, res, http.StatusCreated)
	require.Equal(t, name, res.JSON(t)["username"])
}

func TestRegisterNeedsAnAddressToVerify(t *testing.T) {
	for name, change := range map[string]sitetest.Data{"missing": {"email": nil}, "blank": {"email": "  "}} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			wantDetail(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), change)), http.StatusBadRequest, refusal.CodeEmailRequired)
			users, _ := s.Census()
			require.Zero(t, users)

			s = sitetest.New(t, func(s *registration.Settings) { s.NonFieldErrorsKey = sitetest.On() })
			res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), change))
			require.Equal(t, sitetest.Data{"non_field_errors": []any{sitetest.Message(refusal.CodeEmailRequired, nil)}}, res.JSON(t))
		})
	}
	// As a login field it is a required field like any other.
	s := sitetest.New(t, func(s *registration.Settings) { s.User.LoginFields = []string{"email"} })
	sitetest.WantFields(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": nil})), fieldError("email", refusal.CodeRequired))
	sitetest.WantJSON(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"username": nil})), http.StatusCreated)
}

func TestRegisterPasswordConfirmation(t *testing.T) {
	s := sitetest.New(t)
	sitetest.WantFields(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"password_confirm": nil})), fieldError("password_confirm", refusal.CodeRequired))
	s = sitetest.New(t, func(s *registration.Settings) { s.Register.PasswordConfirm = sitetest.Off() })
	sitetest.WantJSON(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"password_confirm": nil})), http.StatusCreated)
	sitetest.WantJSON(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"password_confirm": "something else"})), http.StatusCreated)
}

func TestRegisterNeverTrimsPasswords(t *testing.T) {
	s := sitetest.New(t, sitetest.WithoutVerification)
	pass := "  spaces at both ends\t "
	sitetest.WantJSON(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"username": "  ada ", "password": pass, "password_confirm": pass})), http.StatusCreated)
	wantDetail(t, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": strings.TrimSpace(pass)}), http.StatusBadRequest, refusal.CodeLoginInvalid)
	sitetest.WantJSON(t, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": pass}), http.StatusOK)
}

func TestRegisterSwitchedOff(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Register.Enabled = sitetest.Off() })
	b := s.Browser()
	wantDetail(t, b.Post("/accounts/register", sitetest.Newcomer("ada")), http.StatusNotFound, refusal.CodeNotFound)
	// 404 comes before anything else: method, token, media type.
	b.Header.Set("Authorization", "Token nonsense")
	wantDetail(t, b.Get("/accounts/register/"), http.StatusNotFound, refusal.CodeNotFound)
	b.Header.Set("Content-Type", "text/plain")
	wantDetail(t, b.Post("/accounts/register", "x"), http.StatusNotFound, refusal.CodeNotFound)
}

func TestRegisterIgnoresWhatIsNotTheOwnersToSet(t *testing.T) {
	privileged := sitetest.Data{
		"id": "01890a5d-ac96-774b-bcce-b302099a8057", "is_active": true, "is_staff": true, "groups": []string{"admins"},
		"date_joined": "1999-01-01T00:00:00Z", "last_login": "1999-01-01T00:00:00Z", "password_hash": "x", "email_verified": true, "shoe_size": sitetest.Data{"eu": 39},
	}
	everything := sitetest.Letters(sitetest.Resolved(t)).Fields.Names()
	for name, configure := range map[string]func(*registration.Settings){
		"hidden by default": func(*registration.Settings) {},
		"even where public": func(s *registration.Settings) {
			s.User.PublicFields, s.User.EditableFields = everything, []string{"first_name"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, configure)
			res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), privileged))
			sitetest.WantJSON(t, res, http.StatusCreated)
			body := res.JSON(t)
			require.NotEqual(t, privileged["id"], body["id"])
			u := s.Stored(body["id"].(string))
			require.False(t, u.IsActive)
			require.False(t, u.IsStaff)
			require.False(t, u.EmailVerified)
			require.Empty(t, u.Groups)
			require.Empty(t, u.Extra)
			require.True(t, u.LastLogin.IsZero())
			require.Equal(t, s.Accounts.Time(), u.DateJoined)
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
	s := sitetest.New(t, func(s *registration.Settings) {
		s.User.PublicFields = []string{"id", "username", "first_name", "last_name"}
		s.User.HiddenFields = []string{"last_name"}
	})
	res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"first_name": "Ada", "last_name": "Lovelace"}))
	sitetest.WantJSON(t, res, http.StatusCreated)
	id := res.JSON(t)["id"].(string)
	require.Equal(t, sitetest.Data{"id": id, "username": "ada", "first_name": "Ada", "email": "ada@example.org"}, res.JSON(t), "the owner sees the address")
	u := s.Stored(id)
	require.Empty(t, u.LastName, "a hidden field is ignored")
	require.Equal(t, "ada@example.org", u.Email, "the address is needed for the mail, shown or not")
}

func TestRegisterTakesNumbersAsText(t *testing.T) {
	s := sitetest.New(t)
	b := s.Browser()
	b.Header.Set("Content-Type", "application/json")
	res := b.Post("/accounts/register", `{"username": 4711, "first_name": 1.50, "email": "n@example.org", "password": "wrong", "password":"`+sitetest.Password+`","password_confirm":"`+sitetest.Password+`"}`)
	sitetest.WantJSON(t, res, http.StatusCreated)
	require.Equal(t, "4711", res.JSON(t)["username"])
	require.Equal(t, "1.50", res.JSON(t)["first_name"], "as it was written")
}

func TestRegisterTakesForms(t *testing.T) {
	s := sitetest.New(t)
	form := url.Values{"username": {"first", "ada"}, "email": {"ada@example.org"}, "password": {sitetest.Password}, "password_confirm": {sitetest.Password}}
	res := s.Browser().Post("/accounts/register/", form)
	sitetest.WantJSON(t, res, http.StatusCreated)
	require.Equal(t, "ada", res.JSON(t)["username"], "the last of two wins")
	b := s.Browser()
	b.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	body := ""
	for name, value := range sitetest.Newcomer("bob") {
		body += "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value.(string) + "\r\n"
	}
	sitetest.WantJSON(t, b.Post("/accounts/register", body+"--x--\r\n"), http.StatusCreated)
}

// One name is one account, in whatever case and encoding it is written.
func TestRegisterUniqueness(t *testing.T) {
	for name, test := range map[string]struct {
		first, second sitetest.Data
		Field         string
	}{
		"username":                {sitetest.Data{"username": "ada"}, sitetest.Data{"username": "ada"}, "username"},
		"username case":           {sitetest.Data{"username": "Ada"}, sitetest.Data{"username": "aDA"}, "username"},
		"username full-width":     {sitetest.Data{"username": "ada"}, sitetest.Data{"username": "ａｄａ"}, "username"},
		"username decomposed":     {sitetest.Data{"username": "josé"}, sitetest.Data{"username": "jose\u0301"}, "username"},
		"username ligature":       {sitetest.Data{"username": "fin"}, sitetest.Data{"username": "ﬁn"}, "username"},
		"username sharp s":        {sitetest.Data{"username": "straße"}, sitetest.Data{"username": "STRASSE"}, "username"},
		"username Kelvin sign":    {sitetest.Data{"username": "kelvin"}, sitetest.Data{"username": "\u212aelvin"}, "username"},
		"username final sigma":    {sitetest.Data{"username": "οδος"}, sitetest.Data{"username": "ΟΔΟΣ"}, "username"},
		"username trimmed":        {sitetest.Data{"username": "ada"}, sitetest.Data{"username": " ada\n"}, "username"},
		"email":                   {sitetest.Data{"email": "ada@example.org"}, sitetest.Data{"email": "ada@example.org"}, "email"},
		"email case":              {sitetest.Data{"email": "ada@example.org"}, sitetest.Data{"email": "ADA@Example.ORG"}, "email"},
		"email domain's spelling": {sitetest.Data{"email": "ada@bücher.example"}, sitetest.Data{"email": "ada@xn--bcher-kva.example"}, "email"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, func(s *registration.Settings) { s.Register.Verification = sitetest.Off() }) // with it, a taken address is not told
			sitetest.WantJSON(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("one"), test.first)), http.StatusCreated)
			sitetest.WantFields(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("two"), test.second)), fieldError(test.Field, refusal.CodeUnique))
			users, _ := s.Census()
			require.Equal(t, 1, users)
		})
	}
	t.Run("both, and another field, together", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.Register.Verification = sitetest.Off() })
		sitetest.WantJSON(t, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")), http.StatusCreated)
		sitetest.WantFields(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ADA"), sitetest.Data{"first_name": "\x07", "password": nil})),
			fieldError("first_name", refusal.CodeInvalid), fieldError("password", refusal.CodeRequired), fieldError("username", refusal.CodeUnique), fieldError("email", refusal.CodeUnique))
	})
}

func TestRegisterLowersTheDomainOfAnAddress(t *testing.T) {
	s := sitetest.New(t)
	res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": " Ada.B@EXAMPLE.Org "}))
	sitetest.WantJSON(t, res, http.StatusCreated)
	require.Equal(t, "Ada.B@example.org", res.JSON(t)["email"])
	require.Equal(t, "Ada.B@example.org", s.Mail().To)
}

func TestRegisterIsUniqueUnderConcurrency(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.User.LoginFields = []string{"username", "email"} })
	taken, err := json.Marshal(map[string][]string{"username": {sitetest.Message(refusal.CodeUnique, nil)}})
	require.NoError(t, err)
	outcomes := sitetest.InParallel(100, func(i int) string {
		name := []string{"ada", "ADA", "ａｄａ"}[i%3]
		res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": "a" + uuid.NewString() + "@example.org"}))
		if res.StatusCode == http.StatusCreated {
			return "created"
		}
		return strings.TrimSpace(res.Text)
	})
	require.Equal(t, map[string]int{"created": 1, string(taken): 99}, outcomes)
	users, _ := s.Census()
	require.Equal(t, 1, users)
	s.Mail()
	s.NoMail()

	// The clash of two login fields is a race of its own: the address is one
	// account's, and nobody has it as his name.
	outcomes = sitetest.InParallel(60, func(i int) string {
		body := sitetest.With(sitetest.Newcomer("x"), sitetest.Data{"username": "eve@example.org", "email": uuid.NewString() + "@example.org"})
		if i%2 == 0 {
			body = sitetest.With(sitetest.Newcomer("x"), sitetest.Data{"username": "u" + uuid.NewString(), "email": "eve@example.org"})
		}
		return http.StatusText(s.Browser().Post("/accounts/register", body).StatusCode)
	})
	require.Equal(t, map[string]int{"Created": 30, "Bad Request": 30}, outcomes)
	// Thirty wait for the address; the first to confirm has it.
	links := make(chan sitetest.Data, 30)
	for range 30 {
		links <- sitetest.LinkOf(s.Mail(), t)
	}
	outcomes = sitetest.InParallel(30, func(int) string {
		return http.StatusText(s.Browser().Post("/accounts/verify-registration", <-links).StatusCode)
	})
	require.Equal(t, map[string]int{"OK": 1, "Bad Request": 29}, outcomes)
	holders := 0
	var all []*store.User
	require.NoError(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) (err error) { all, err = tx.Users(uuid.Nil, 1000); return err }))
	for _, u := range all {
		require.NotEqual(t, "eve@example.org", u.Username)
		if u.Email == "eve@example.org" && u.EmailVerified {
			holders++
		}
	}
	require.Equal(t, 1, holders)
}

// With auto_login a sign-up that has nothing to be confirmed signs in at once.
func TestRegisterSignsIn(t *testing.T) {
	auto := func(s *registration.Settings) { s.Register.AutoLogin = sitetest.On() }
	form := sitetest.FormOf(sitetest.Newcomer("ada"))
	for name, c := range map[string]struct {
		configure func(*registration.Settings)
		in        bool
		to        string
	}{
		"nothing left to confirm": {sitetest.WithoutVerification, true, "/accounts/profile/"},
		"with a home":             {func(s *registration.Settings) { s.Register.Verification, s.Pages.Home = sitetest.Off(), "/app/" }, true, "/app/"},
		"tokens too":              {func(s *registration.Settings) { s.Register.Verification, s.Login.Token = sitetest.Off(), sitetest.On() }, true, "/accounts/profile/"},
		"to be confirmed":         {func(*registration.Settings) {}, false, "/accounts/resend-verification/?sent=1"},
		"to be approved": {func(s *registration.Settings) {
			s.Register.Verification, s.Register.Mode = sitetest.Off(), account.ModeApprove
		}, false, "/accounts/login/"},
		"no sessions": {func(s *registration.Settings) {
			s.Register.Verification, s.Login.Session, s.Login.Token = sitetest.Off(), sitetest.Off(), sitetest.On()
		}, false, "/accounts/login/"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, auto, c.configure)
			b := s.Browser().LikeBrowser()
			b.Post("/accounts/register/", form).RequireRedirect(t, c.to)
			want := http.StatusFound // to the sign-in
			if c.in {
				want = http.StatusOK
			}
			require.Equal(t, want, b.Get("/accounts/profile/").StatusCode)
			if c.to == "/accounts/profile/" {
				again := s.Browser().LikeBrowser() // pressed twice; the first answer was never read
				require.Contains(t, again.Follow(again.Post("/accounts/register/", form)).Text, "Your account is ready.")
			}
			_, sessions := s.Census()
			require.LessOrEqual(t, sessions, 2, "no tokens that nobody has")

			// A program gets the profile, as ever, and a cookie.
			api := s.Browser()
			res := api.Post("/accounts/register", sitetest.Newcomer("bob"))
			sitetest.WantJSON(t, res, http.StatusCreated)
			require.Equal(t, "bob", res.JSON(t)["username"])
			require.Equal(t, c.in, api.Get("/accounts/profile").StatusCode == http.StatusOK)
		})
	}
	// next goes before home, and a page of another site signs nobody in.
	s := sitetest.New(t, auto, sitetest.WithoutVerification)
	b := s.Browser().LikeBrowser()
	form.Set("next", "/members/")
	b.Set("Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, b.Post("/accounts/register/", form).StatusCode)
	b.Header.Del("Origin")
	b.Header.Del("Sec-Fetch-Site")
	b.Post("/accounts/register/", form).RequireRedirect(t, "/members/")
	require.Contains(t, b.Get("/members/").Text, sitetest.ProtectedPage)

	// Who has to agree to what came after, or to enrol, signs in by the usual way.
	off := sitetest.New(t, sitetest.WithoutVerification)
	res := off.Browser().LikeBrowser()
	res.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada"))).RequireRedirect(t, "/accounts/login/")
	require.Equal(t, http.StatusFound, res.Get("/accounts/profile/").StatusCode)
}
