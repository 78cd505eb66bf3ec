// types_test.go: the fields that an owner adds: each type's values and
// refusals, the lists, sign-in by them, and a site whose fields change.

package field_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

func jsonText(text string) json.RawMessage { return json.RawMessage(text) }

func TestFieldTypes(t *testing.T) {
	cases := []struct {
		Field field.Spec
		// good: what is sent, and what the profile then shows, both as JSON.
		good map[string]string
		// bad: what is sent, and the code.
		bad   map[string]string
		unset string
	}{
		{
			field.Spec{Type: "text", MinLength: 2, MaxLength: 5, Pattern: "a.*|b"},
			map[string]string{`"abc"`: `"abc"`, `"  abc "`: `"abc"`, `"aéééé"`: `"aéééé"`, `""`: `""`, `"  "`: `""`},
			map[string]string{`"a"`: "min_length", `"abcdef"`: "max_length", `"xa"`: "invalid", `"ab\ncd"`: "invalid", `"a\u0000"`: "invalid", `true`: "invalid", `[]`: "invalid", `{}`: "invalid", `null`: "null", `12`: "invalid"},
			`""`,
		},
		{
			field.Spec{Type: "text"},
			map[string]string{`"abc"`: `"abc"`, `12`: `"12"`, `1e3`: `"1e3"`, `"小明"`: `"小明"`},
			map[string]string{`"` + strings.Repeat("x", 256) + `"`: "max_length"},
			`""`,
		},
		{
			field.Spec{Type: "email", Pattern: `.*@example\.org`},
			map[string]string{`"Ada@Example.ORG"`: `"Ada@example.org"`, `""`: `""`},
			map[string]string{`"ada"`: "invalid", `"a@example.com"`: "invalid", `true`: "invalid", `null`: "null"},
			`""`,
		},
		{
			field.Spec{Type: "url"},
			map[string]string{`"HTTPS://Example.ORG/Path?q=1#f"`: `"https://example.org/Path?q=1#f"`, `"http://[::1]:8080/"`: `"http://[::1]:8080/"`, `""`: `""`},
			map[string]string{`"javascript:alert(1)"`: "invalid", `"//example.org"`: "invalid", `"/path"`: "invalid", `"https://"`: "invalid", `"https://u:p@example.org"`: "invalid", `"https://a b"`: "invalid", `"https://a\\b"`: "invalid", `"ftp://example.org"`: "invalid", `"https://%zz"`: "invalid"},
			`""`,
		},
		{
			field.Spec{Type: "integer"},
			map[string]string{`0`: `0`, `-0`: `0`, `7`: `7`, `"7"`: `7`, `" 007 "`: `7`, `"+7"`: `7`, `1e3`: `1000`, `1.0`: `1`, `10.50e1`: `105`, `9223372036854775807`: `9223372036854775807`, `-9223372036854775808`: `-9223372036854775808`, `9.223372036854775807e18`: `9223372036854775807`, `null`: `null`, `""`: `null`},
			map[string]string{`1.5`: "invalid", `9223372036854775808`: "invalid", `1e99`: "invalid", `1e999999999`: "invalid", `"1_000"`: "invalid", `"0x10"`: "invalid", `"1/1"`: "invalid", `"seven"`: "invalid", `"٣"`: "invalid", `true`: "invalid", `[7]`: "invalid", `"NaN"`: "invalid"},
			`null`,
		},
		{
			field.Spec{Type: "integer", Min: jsonText(`-3`), Max: jsonText(`9007199254740993`)},
			map[string]string{`-3`: `-3`, `9007199254740993`: `9007199254740993`},
			map[string]string{`-4`: "min_value", `9007199254740994`: "max_value"},
			`null`,
		},
		{
			field.Spec{Type: "number", Min: jsonText(`-1.5`), Max: jsonText(`1e20`)},
			map[string]string{`0.1`: `0.1`, `"1.50"`: `1.5`, `-1.5`: `-1.5`, `1e20`: `100000000000000000000`, `-0.0`: `0`, `null`: `null`, `".5"`: `0.5`, `"5."`: `5`},
			map[string]string{`-1.6`: "min_value", `1e21`: "max_value", `1e400`: "invalid", `9007199254740993`: "invalid", `0.1000000000000000055511151231257827`: "invalid", `"inf"`: "invalid", `"0x1p-2"`: "invalid", `"1,5"`: "invalid", `true`: "invalid"},
			`null`,
		},
		{
			field.Spec{Type: "boolean"},
			map[string]string{`true`: `true`, `false`: `false`, `"on"`: `true`, `"No"`: `false`, `1`: `true`, `0`: `false`, `"T"`: `true`, `"f"`: `false`, `"Y"`: `true`, `" n "`: `false`, `"OFF"`: `false`, `"yes"`: `true`},
			map[string]string{`2`: "invalid", `"maybe"`: "invalid", `null`: "null", `[]`: "invalid", `""`: "blank", `"  "`: "blank", `"truex"`: "invalid", `1.5`: "invalid"},
			`false`,
		},
		{
			field.Spec{Type: "date", Min: jsonText(`"1900-01-01"`), Max: jsonText(`"2030-12-31"`)},
			map[string]string{`"2000-02-29"`: `"2000-02-29"`, `null`: `null`, `""`: `null`, `"1900-01-01"`: `"1900-01-01"`},
			map[string]string{`"1899-12-31"`: "min_value", `"2031-01-01"`: "max_value", `"2001-02-29"`: "invalid", `"29.2.2000"`: "invalid", `"2000-2-9"`: "invalid", `20000229`: "invalid", `"2000-02-29T00:00:00Z"`: "invalid", `"0000-01-01"`: "invalid", `true`: "invalid"},
			`null`,
		},
		{
			field.Spec{Type: "choice", Choices: []string{"small", "x large", "2"}},
			map[string]string{`"small"`: `"small"`, `" x large "`: `"x large"`, `2`: `"2"`, `null`: `null`, `""`: `null`},
			map[string]string{`"Small"`: "invalid_choice", `"huge"`: "invalid_choice", `true`: "invalid", `["small"]`: "invalid"},
			`null`,
		},
	}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%d %s", i, c.Field.Type), func(t *testing.T) {
			c.Field.Name = "extra"
			s := sitetest.New(t, sitetest.WithFields(c.Field), sitetest.NoVerification)
			s.Member("ada")
			b := s.SignedIn("ada").Problems()
			b.Header.Set("Content-Type", "application/json")
			shown := func(a *sitetest.Answer) string {
				var profile map[string]json.RawMessage
				require.NoError(t, json.Unmarshal([]byte(a.Text), &profile), a.Text)
				return string(profile["extra"])
			}
			require.Equal(t, c.unset, shown(b.Get("/accounts/profile")))
			for sent, want := range c.good {
				res := b.Do(http.MethodPatch, "/accounts/profile", `{"extra":`+sent+`}`)
				require.Equal(t, http.StatusOK, res.StatusCode, "%s %s", sent, res.Text)
				require.JSONEq(t, want, shown(res), sent)
				require.Equal(t, want, shown(b.Get("/accounts/profile")), sent)
			}
			for sent, want := range c.bad {
				require.Equal(t, want, sitetest.FieldCodes(t, b.Do(http.MethodPatch, "/accounts/profile", `{"extra":`+sent+`}`), "extra"), sent)
			}
			// The same at sign-up, where a required one has to be there.
			c.Field.Required = true
			s = sitetest.New(t, sitetest.WithFields(c.Field), sitetest.NoVerification)
			b = s.Browser().Problems()
			require.Equal(t, "required", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.Newcomer("eve")), "extra"))
			require.Equal(t, "blank", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"extra": " "})), "extra"))
			require.Equal(t, "null", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"extra": sitetest.NullJSON})), "extra"))
			for sent, want := range c.bad {
				if want != "null" {
					require.Equal(t, want, sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"extra": jsonText(sent)})), "extra"), sent)
				}
			}
			for sent, want := range c.good {
				if c.Field.Type == "boolean" && want == "false" { // a box that has to be ticked
					require.Equal(t, "required", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"extra": jsonText(sent)})), "extra"), sent)
					continue
				}
				if sent != `""` && sent != `null` && strings.TrimSpace(strings.Trim(sent, `"`)) != "" {
					res := b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"extra": jsonText(sent)}))
					require.Equal(t, http.StatusCreated, res.StatusCode, "%s %s", sent, res.Text)
					require.Equal(t, want, shown(res))
					break
				}
			}
		})
	}
}

// What a field is not allowed to hold is told together with all other errors.
func TestFieldErrorsComeTogether(t *testing.T) {
	s := sitetest.New(t, sitetest.WithFields(
		field.Spec{Name: "age", Type: "integer", Required: true, Min: jsonText("18")},
		field.Spec{Name: "size", Type: "choice", Choices: []string{"s", "m"}},
		field.Spec{Name: "nick", Type: "text", Unique: true},
	), sitetest.NoVerification)
	res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"age": 20, "nick": "Ada"}))
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	res = s.Browser().Problems().Post("/accounts/register", sitetest.Data{"username": "a b", "age": 17, "size": "xl", "nick": "ADA", "password": ""})
	for field, code := range map[string]string{"username": "invalid", "age": "min_value", "size": "invalid_choice", "nick": "unique", "password": "blank", "password_confirm": "required"} {
		require.Equal(t, code, sitetest.FieldCodes(t, res, field), field)
	}
}

func TestFieldsOfTheirOwners(t *testing.T) {
	s := sitetest.New(t, sitetest.WithFields(
		field.Spec{Name: "nick", Type: "text"},
		field.Spec{Name: "plan", Type: "choice", Choices: []string{"free", "paid"}, ReadOnly: true, Default: jsonText(`"free"`)},
		field.Spec{Name: "score", Type: "integer", Hidden: true, Default: jsonText(`5`)},
		field.Spec{Name: "terms", Type: "boolean", Default: jsonText(`true`)},
	))
	res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"nick": "countess", "plan": "paid", "score": 9, "shoe": 1}))
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	require.Regexp(t, `"last_name":"","nick":"countess","plan":"free","terms":true\}`, res.Text, "in the configured order, behind the built-in ones")
	res = s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t))
	require.Equal(t, http.StatusOK, res.StatusCode)
	b := s.SignedIn("ada")
	profile := b.Get("/accounts/profile").JSON(t)
	require.NotContains(t, profile, "score")
	require.Equal(t, "free", profile["plan"])
	// A full update takes back what the profile showed; what is not the owner's stays.
	profile["plan"], profile["terms"] = "paid", false
	res = b.Do(http.MethodPut, "/accounts/profile", sitetest.With(profile, sitetest.Data{"score": 1}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, "free", res.JSON(t)["plan"])
	require.Equal(t, false, res.JSON(t)["terms"])
	u := s.Stored(profile["id"].(string))
	require.Equal(t, map[string]any{"nick": "countess", "terms": false}, u.Extra)
	// An empty text is neither yes nor no.
	require.Equal(t, "blank", sitetest.FieldCodes(t, b.Problems().Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"terms": ""}), "terms"))
}

// A form doesn't send an unticked box; a page's select, number and date come
// empty where nothing was chosen.
func TestFieldsInForms(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, sitetest.WithFields(
		field.Spec{Name: "news", Type: "boolean", Default: jsonText(`true`), Label: "Send me news"},
		field.Spec{Name: "size", Type: "choice", Choices: []string{"small", "x large"}},
		field.Spec{Name: "born", Type: "date", Max: jsonText(`"2020-01-01"`)},
		field.Spec{Name: "age", Type: "integer", Min: jsonText(`1`)},
	))
	b := s.Browser().LikeBrowser()
	page := b.Get("/accounts/register/").Text
	require.Contains(t, page, `<label for="news">Send me news</label>`)
	require.Contains(t, page, `<input id="news" name="news" type="checkbox" value="true" checked>`)
	require.Contains(t, page, `<option value="x large">x large</option>`)
	require.Contains(t, page, `name="born" type="date">`)
	require.Contains(t, page, `name="age" type="text" dir="auto" autocomplete="off" inputmode="numeric"`)
	form := url.Values{"username": {"ada"}, "email": {"ada@example.org"}, "password": {sitetest.Password}, "password_confirm": {sitetest.Password}, "size": {"x large"}, "born": {""}, "age": {"0"}}
	res := b.Post("/accounts/register", form)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, res.Text, `<option value="x large" selected>x large</option>`)
	require.Contains(t, res.Text, `type="checkbox" value="true">`, "it was unticked")
	form.Set("age", "")
	res = b.Post("/accounts/register", form)
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
	b = s.SignedIn("ada")
	profile := b.Get("/accounts/profile").JSON(t)
	require.Equal(t, []any{false, "x large", nil, nil}, []any{profile["news"], profile["size"], profile["born"], profile["age"]})
	res = b.Post("/accounts/profile", url.Values{"username": {"ada"}, "news": {"on"}, "size": {""}, "born": {"1815-12-10"}, "age": {"36"}})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, []any{true, nil, "1815-12-10", float64(36)}, []any{res.JSON(t)["news"], res.JSON(t)["size"], res.JSON(t)["born"], res.JSON(t)["age"]})
	// In JSON, and in a partial update, what is not mentioned stays.
	require.Equal(t, true, b.Post("/accounts/profile", sitetest.Data{"username": "ada"}).JSON(t)["news"])
	require.Equal(t, true, b.Do(http.MethodPatch, "/accounts/profile", url.Values{"age": {"37"}}).JSON(t)["news"])
	require.Equal(t, false, b.Post("/accounts/profile", url.Values{"username": {"ada"}}).JSON(t)["news"])
	b.LikeBrowser()
	require.Contains(t, b.Get("/accounts/profile/").Text, `value="1815-12-10"`)
}

// An added unique field identifies an account just as the username does.
func TestSignInByAddedField(t *testing.T) {
	s := sitetest.New(t, sitetest.WithFields(
		field.Spec{Name: "number", Type: "integer", Unique: true, Required: true},
		field.Spec{Name: "nick", Type: "text", Unique: true},
	), func(s *registration.Settings) {
		s.User.LoginFields = []string{"username", "number", "nick", "email"}
		s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 5, Window: 3600e9}, Register: &registration.ThrottleLimit{Events: 1000, Window: 1e9}}
	})
	b := s.Browser().Problems()
	require.Equal(t, "required", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.Newcomer("ada")), "number"))
	ada := sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"number": 7, "nick": "Countess"})
	res := b.Post("/accounts/register", ada)
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	for _, who := range []sitetest.Data{{"nick": "COUNTESS"}, {"login": "007"}, {"email": "ada@example.org"}} {
		s.Mail()
		require.Equal(t, http.StatusOK, b.Post("/accounts/resend-verification", who).StatusCode)
	}
	require.Equal(t, http.StatusOK, b.Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
	for i, who := range []sitetest.Data{{"login": "ada"}, {"login": "7"}, {"login": 7}, {"number": "7.0"}, {"nick": "countess"}, {"login": "COUNTESS"}, {"login": "ada@example.org"}} {
		other := s.Browser()
		other.IP = fmt.Sprintf("198.51.100.%d", i+1)
		res := other.Post("/accounts/login", sitetest.With(who, sitetest.Data{"password": sitetest.Password}))
		if i == 6 { // a fifth of this hour's tries at ada is not yet spent
			require.Contains(t, []int{http.StatusOK, http.StatusTooManyRequests}, res.StatusCode)
			continue
		}
		require.Equal(t, http.StatusOK, res.StatusCode, "%v %s", who, res.Text)
	}
	res = b.Post("/accounts/send-reset-password-link", sitetest.Data{"nick": "countess"})
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, s.Mail().Subject, "password")
	// Nobody takes a value by which another signs in, whatever the field.
	for name, c := range map[string]struct {
		change sitetest.Data
		Field  string
	}{
		"username is a number":      {sitetest.Data{"username": "007", "nick": "x", "number": 9}, "username"},
		"username is a nick":        {sitetest.Data{"username": "countess", "nick": "x", "number": 9}, "username"},
		"nick is a username":        {sitetest.Data{"nick": "ADA", "number": 9}, "nick"},
		"nick is a number":          {sitetest.Data{"nick": "7", "number": 9}, "nick"},
		"the same number":           {sitetest.Data{"nick": "y", "number": "7"}, "number"},
		"the same nick, other case": {sitetest.Data{"nick": "COUNTESS", "number": 9}, "nick"},
	} {
		require.Equal(t, "unique", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("bob"), c.change)), c.Field), name)
	}
	require.Equal(t, "invalid", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"nick": "ada@example.org", "number": 9})), "nick"), "an address of somebody's")
}

// However a number is written, the tries at its account are counted together.
func TestSpellingsOfALoginShareABudget(t *testing.T) {
	s := sitetest.New(t, sitetest.WithFields(field.Spec{Name: "number", Type: "integer", Unique: true}), sitetest.NoVerification, func(s *registration.Settings) {
		s.User.LoginFields = []string{"username", "number"}
		s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 3, Window: 3600e9}, Register: &registration.ThrottleLimit{Events: 1000, Window: 1e9}}
	})
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"number": 7})).StatusCode)
	refused := 0
	for i, login := range []string{"7", "07", "7.0", "+7", "70e-1", "0007"} {
		b := s.Browser()
		b.IP = fmt.Sprintf("198.51.100.%d", i+1)
		if b.Post("/accounts/login", sitetest.Data{"login": login, "password": "wrong"}).StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	require.Equal(t, 3, refused)
}

func TestPasswordLikeAnAddedField(t *testing.T) {
	s := sitetest.New(t, sitetest.WithFields(field.Spec{Name: "pet", Type: "text"}))
	body := sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"pet": "schnurrdiburr", "password": "Schnurrdiburr1", "password_confirm": "Schnurrdiburr1"})
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", body), http.StatusBadRequest, "password:password_too_similar")
}

// members registers accounts with a nick each.
func withNicks(s *sitetest.Site, nicks map[string]string) {
	s.T.Helper()
	for name, nick := range nicks {
		res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(name), sitetest.Data{"nick": nick}))
		require.Equal(s.T, http.StatusCreated, res.StatusCode, res.Text)
	}
}

// A field that is added to a site with accounts works at once, one that is
// removed keeps its values, one that changes its type converts what it can.
func TestFieldsOfASiteChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	s := sitetest.NewAt(t, path, sitetest.NoVerification)
	id := s.Member("ada")
	s.Close()
	nick := field.Spec{Name: "nick", Type: "text"}
	s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(nick, field.Spec{Name: "level", Type: "integer", Default: jsonText("1"), Required: true}))
	b := s.SignedIn("ada")
	require.Equal(t, []any{"", float64(1)}, []any{b.Get("/accounts/profile").JSON(t)["nick"], b.Get("/accounts/profile").JSON(t)["level"]})
	require.Equal(t, http.StatusOK, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"nick": "12"}).StatusCode)
	s.Close()
	s = sitetest.NewAt(t, path, sitetest.NoVerification)
	require.NotContains(t, s.SignedIn("ada").Get("/accounts/profile").JSON(t), "nick")
	require.Equal(t, http.StatusOK, s.SignedIn("ada").Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "Ada"}).StatusCode)
	require.Equal(t, "12", s.Stored(id).Extra["nick"], "it is kept")
	s.Close()
	s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(field.Spec{Name: "nick", Type: "integer"}))
	require.InEpsilon(t, 12, s.SignedIn("ada").Get("/accounts/profile").JSON(t)["nick"], 0)
	s.Close()
	s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(field.Spec{Name: "nick", Type: "date", Default: jsonText(`"2000-01-01"`)}))
	require.Equal(t, "2000-01-01", s.SignedIn("ada").Get("/accounts/profile").JSON(t)["nick"], "what is no date counts as unset")
}

// Whatever is typed into a field, what is stored for it reads back as itself,
// and has one key.
func FuzzFieldValues(f *testing.F) {
	for _, seed := range []string{"", "abc", "1e3", "-0", "9007199254740993", "0x1", "HTTPS://EXAMPLE.org/ü?#", "http://[::1%25eth0]/", "2000-02-29", "true", "Ada@BÜCHER.example", ".5", "1e-400", "http://a/%2f", "00000"} {
		f.Add(seed)
	}
	var fields []*field.Field
	for _, kind := range field.FieldKinds {
		s := field.Spec{Name: "x", Type: string(kind)}
		if kind == field.KindChoice {
			s.Choices = []string{"abc", "ä"}
		}
		made, err := field.New(s, nil)
		if err != nil {
			f.Fatal(err)
		}
		fields = append(fields, made)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, f := range fields {
			v, refusal := f.Read(field.Value{Kind: field.ValueText, Text: in}, false)
			if refusal != nil {
				continue
			}
			u := &store.User{}
			f.Assign(u, v)
			row, err := record.EncodeUser(u, nil)
			require.NoError(t, err)
			back, _, err := record.DecodeUser(uuid.Nil, row)
			require.NoError(t, err)
			shown := f.Get(back)
			require.Equal(t, f.Get(u), shown, f.Kind)
			if v == nil || v == "" {
				require.Empty(t, u.Extra)
				continue
			}
			require.Equal(t, v, shown, f.Kind)
			_, err = json.Marshal(shown)
			require.NoError(t, err)
			again, refusal := f.Read(field.Value{Kind: field.ValueText, Text: field.TextOf(v)}, true)
			require.Nil(t, refusal, "%s %v", f.Kind, v)
			require.Equal(t, v, again, f.Kind)
			if f.Kind == field.KindBoolean {
				continue // never unique
			}
			require.Equal(t, f.Key(u), f.KeyOf(in), f.Kind)
			require.Equal(t, f.Key(u), f.KeyOf(field.TextOf(v)), f.Kind)
		}
	})
}
