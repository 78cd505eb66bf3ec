// failures_test.go: whatever the store fails at, an act says so and has done nothing.

package account_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// inputOf is an input as JSON has it.
func inputOf(d sitetest.Data) field.Input {
	in := field.Input{}
	for name, v := range d {
		in[name] = field.Value{Kind: field.ValueText, Text: fmt.Sprint(v)}
	}
	return in
}

// holding is all that a store holds of people, as it can be compared.
func holding(t testing.TB, s store.Store) string {
	t.Helper()
	out := ""
	require.NoError(t, s.View(context.Background(), func(tx store.Tx) error {
		users, err := tx.Users(uuid.Nil, 1000)
		if err != nil {
			return err
		}
		for _, u := range users {
			sessions, err := tx.Sessions(u.ID, 1000)
			if err != nil {
				return err
			}
			out += fmt.Sprintf("%+v\n", *u)
			for _, session := range sessions {
				kept := *session
				kept.LastUsed = time.Time{} // written back by itself
				out += fmt.Sprintf("  %+v\n", kept)
			}
		}
		audits, err := tx.Audits(store.AuditQuery{Limit: 1000})
		if err != nil {
			return err
		}
		for _, row := range audits.Rows {
			if row.Event != "sign_in_failed" { // failures are recorded by themselves
				out += fmt.Sprintf("%+v\n", row)
			}
		}
		invitations, err := tx.Invitations(uuid.Nil, 1000)
		for _, i := range invitations {
			out += fmt.Sprintf("%+v\n", *i)
		}
		return err
	}))
	return out
}

// A failingAct is an act that a test breaks off at each of its steps.
type failingAct struct {
	configure func(*registration.Settings)
	// prepare sets the scene and returns the act.
	prepare func(s *sitetest.Site) func(context.Context) error
}

// tester is where the acts of these tests come from.
var tester = account.Client{Address: "192.0.2.1", UserAgent: "test"}

func asItIs(*registration.Settings) {}

// only is what counts of a result here.
func only(_ any, err error) error { return err }

func principalOf(s *sitetest.Site, name string) session.Principal {
	b := s.SignedIn(name)
	who, err := s.Accounts.Sessions.Lookup(s.T.Context(), b.Cookie[sitetest.SessionCookie], store.KindSession, s.Realm.Now(), 24*time.Hour)
	require.NoError(s.T, err)
	return who
}

// mailedInput is what the link in the mail carries that a request causes.
func mailedInput(s *sitetest.Site, path string, body sitetest.Data) field.Input {
	require.Less(s.T, s.Browser().Post("/accounts/"+path, body).StatusCode, 300)
	return inputOf(sitetest.LinkOf(s.Mail(), s.T))
}

func withMembers(in field.Input, more sitetest.Data) field.Input {
	for name, v := range inputOf(more) {
		in[name] = v
	}
	return in
}

// ofMember is an act on an account, ofSignedIn one of who is signed in twice.
func ofMember(act func(s *sitetest.Site, id uuid.UUID) func(context.Context) error) func(*sitetest.Site) func(context.Context) error {
	return func(s *sitetest.Site) func(context.Context) error { return act(s, uuid.MustParse(s.Member("ada"))) }
}

func ofSignedIn(act func(s *sitetest.Site, who session.Principal) func(context.Context) error) func(*sitetest.Site) func(context.Context) error {
	return func(s *sitetest.Site) func(context.Context) error {
		s.Member("ada")
		s.SignedIn("ada")
		return act(s, principalOf(s, "ada"))
	}
}

// waiting is an account that waits for an owner's word.
func waiting(s *sitetest.Site) uuid.UUID {
	link := mailedInput(s, "register", sitetest.Newcomer("ada"))
	_, _, err := s.Accounts.VerifyRegistration(s.T.Context(), link, tester)
	require.NoError(s.T, err)
	return uuid.MustParse(link["user_id"].Text)
}

func approving(s *registration.Settings) { s.Register.Mode = account.ModeApprove }

// actsOfStrangers are what people do who are not signed in.
func actsOfStrangers() map[string]failingAct {
	return map[string]failingAct{
		"register": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			return func(ctx context.Context) error {
				return only(s.Accounts.Register(ctx, inputOf(sitetest.Newcomer("ada")), tester))
			}
		}},
		"register on a page": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			page := tester
			page.Page = true
			return func(ctx context.Context) error {
				return only(s.Accounts.Register(ctx, inputOf(sitetest.Newcomer("ada")), page))
			}
		}},
		"register with somebody's address": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			s.Member("ada")
			return func(ctx context.Context) error {
				return only(s.Accounts.Register(ctx, inputOf(sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"email": "ada@example.org"})), tester))
			}
		}},
		"register by invitation": {func(s *registration.Settings) { s.Register.Mode = "invite" }, func(s *sitetest.Site) func(context.Context) error {
			_, token := invited(s, account.NewInvitation{Email: "ada@example.org", Groups: []string{"staff"}})
			return func(ctx context.Context) error {
				return only(s.Accounts.Register(ctx, inputOf(sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"invitation": token})), tester))
			}
		}},
		"verify-registration": {func(s *registration.Settings) { s.Register.AutoLogin, s.Login.Token = sitetest.On(), sitetest.On() }, func(s *sitetest.Site) func(context.Context) error {
			link := mailedInput(s, "register", sitetest.Newcomer("ada"))
			return func(ctx context.Context) error {
				_, _, err := s.Accounts.VerifyRegistration(ctx, link, tester)
				return err
			}
		}},
		"resend-verification": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			mailedInput(s, "register", sitetest.Newcomer("ada"))
			return func(ctx context.Context) error {
				return s.Accounts.ResendVerification(ctx, inputOf(sitetest.Data{"login": "ada"}), tester)
			}
		}},
		"login": {sitetest.WithTokens, func(s *sitetest.Site) func(context.Context) error {
			s.Member("ada")
			return func(ctx context.Context) error {
				return only(s.Accounts.SignIn(ctx, inputOf(sitetest.Data{"login": "ada@example.org", "password": sitetest.Password}), tester, nil))
			}
		}},
		"logout": {sitetest.WithTokens, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			return func(ctx context.Context) error { return s.Accounts.SignOut(ctx, who, true) }
		})},
		"change-password": {asItIs, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			in := inputOf(sitetest.Data{"old_password": sitetest.Password, "password": sitetest.NewPassword, "password_confirm": sitetest.NewPassword})
			return func(ctx context.Context) error {
				_, _, err := s.Accounts.ChangePassword(ctx, who, in, tester)
				return err
			}
		})},
		"send-reset-password-link": {asItIs, ofMember(func(s *sitetest.Site, _ uuid.UUID) func(context.Context) error {
			return func(ctx context.Context) error {
				return s.Accounts.SendResetPasswordLink(ctx, inputOf(sitetest.Data{"login": "ada"}), tester)
			}
		})},
		"reset-password": {asItIs, ofSignedIn(func(s *sitetest.Site, _ session.Principal) func(context.Context) error {
			link := withMembers(mailedInput(s, "send-reset-password-link", sitetest.Data{"login": "ada"}), sitetest.Data{"password": sitetest.NewPassword})
			return func(ctx context.Context) error { return only(s.Accounts.ResetPassword(ctx, link, tester)) }
		})},
		"a used link": {asItIs, ofSignedIn(func(s *sitetest.Site, _ session.Principal) func(context.Context) error {
			link := withMembers(mailedInput(s, "send-reset-password-link", sitetest.Data{"login": "ada"}), sitetest.Data{"password": sitetest.NewPassword})
			require.NoError(s.T, only(s.Accounts.ResetPassword(s.T.Context(), link, tester)))
			return func(ctx context.Context) error {
				return only(s.Accounts.UsedLink(ctx, link, sign.PurposeResetPassword))
			}
		})},
		"resend-verification to nobody": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			return func(ctx context.Context) error {
				return s.Accounts.ResendVerification(ctx, inputOf(sitetest.Data{"login": "nobody"}), tester)
			}
		}},
		"send-reset-password-link to nobody": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			return func(ctx context.Context) error {
				return s.Accounts.SendResetPasswordLink(ctx, inputOf(sitetest.Data{"login": "nobody"}), tester)
			}
		}},
	}
}

// actsOfMembers are what people do with their accounts.
func actsOfMembers() map[string]failingAct {
	return map[string]failingAct{
		"register-email": {asItIs, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			return func(ctx context.Context) error {
				return s.Accounts.RegisterEmail(ctx, who, inputOf(sitetest.Data{"email": "new@example.org"}), tester)
			}
		})},
		"register-email, long after the sign-in": {asItIs, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			s.Travel(time.Hour)
			return func(ctx context.Context) error {
				return s.Accounts.RegisterEmail(ctx, who, inputOf(sitetest.Data{"email": "new@example.org", "password": sitetest.Password}), tester)
			}
		})},
		"verify-email": {asItIs, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			require.NoError(s.T, s.Accounts.RegisterEmail(s.T.Context(), who, inputOf(sitetest.Data{"email": "new@example.org"}), tester))
			link := inputOf(sitetest.LinkOf(s.Mail(), s.T))
			return func(ctx context.Context) error { return only(s.Accounts.VerifyEmail(ctx, link, tester)) }
		})},
		"undo-email": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			s.Member("ada")
			undo := inputOf(s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org"))
			return func(ctx context.Context) error { return only(s.Accounts.UndoEmail(ctx, nil, undo, tester)) }
		}},
		"profile": {asItIs, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			return func(ctx context.Context) error {
				return only(s.Accounts.UpdateProfile(ctx, who, inputOf(sitetest.Data{"username": "countess", "first_name": "Ada"}), true, tester))
			}
		})},
		"profile with an address": {func(s *registration.Settings) {
			s.RegisterEmail.Verification, s.Register.Verification = sitetest.Off(), sitetest.Off()
			s.User.EditableFields = []string{"username", "email"}
		}, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			return func(ctx context.Context) error {
				return only(s.Accounts.UpdateProfile(ctx, who, inputOf(sitetest.Data{"username": "ada", "email": "new@example.org"}), false, tester))
			}
		})},
		"sessions": {asItIs, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			return func(ctx context.Context) error { return only(s.Accounts.ListSessions(ctx, who)) }
		})},
		"end other sessions": {asItIs, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			return func(ctx context.Context) error { return only(s.Accounts.EndOtherSessions(ctx, who)) }
		})},
		"end a session": {asItIs, ofSignedIn(func(s *sitetest.Site, who session.Principal) func(context.Context) error {
			in := inputOf(sitetest.Data{account.ParamSession: who.Session.Hash.PublicID()})
			return func(ctx context.Context) error { return only(s.Accounts.EndSession(ctx, who, in)) }
		})},
		"refresh": {sitetest.WithJWT, func(s *sitetest.Site) func(context.Context) error {
			s.Member("ada")
			_, refresh := s.Tokens("ada")
			return func(ctx context.Context) error {
				_, _, err := s.Accounts.Refresh(ctx, inputOf(sitetest.Data{"refresh_token": refresh}))
				return err
			}
		}},
	}
}

// actsOfOwners are what an owner does.
func actsOfOwners() map[string]failingAct {
	return map[string]failingAct{
		"administer": {func(s *registration.Settings) {
			s.User.Fields = []field.Spec{{Name: "plan", Type: "text", Unique: true}}
		}, ofMember(func(s *sitetest.Site, id uuid.UUID) func(context.Context) error {
			s.SignedIn("ada")
			groups := []string{"staff"}
			return func(ctx context.Context) error {
				return only(s.Accounts.Administer(ctx, id, account.AdminChange{IsActive: sitetest.Off(), Groups: &groups, Fields: inputOf(sitetest.Data{"plan": "paid"})}))
			}
		})},
		"enable one who waits": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			id := uuid.MustParse(mailedInput(s, "register", sitetest.Newcomer("ada"))["user_id"].Text)
			return func(ctx context.Context) error {
				return only(s.Accounts.Administer(ctx, id, account.AdminChange{IsActive: sitetest.On()}))
			}
		}},
		"create": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			return func(ctx context.Context) error {
				return only(s.Accounts.Create(ctx, account.NewAccount{Username: "ada", Email: "ada@example.org", Groups: []string{"staff"}, Password: sitetest.Password}))
			}
		}},
		"set a password": {asItIs, ofMember(func(s *sitetest.Site, id uuid.UUID) func(context.Context) error {
			s.SignedIn("ada")
			return func(ctx context.Context) error {
				return only(s.Accounts.SetPassword(ctx, id, sitetest.NewPassword, tester))
			}
		})},
		"set a username": {asItIs, ofMember(func(s *sitetest.Site, id uuid.UUID) func(context.Context) error {
			return func(ctx context.Context) error { return only(s.Accounts.SetUsername(ctx, id, "countess", tester)) }
		})},
		"set an address": {asItIs, ofMember(func(s *sitetest.Site, id uuid.UUID) func(context.Context) error {
			s.SignedIn("ada")
			return func(ctx context.Context) error { return only(s.Accounts.SetEmail(ctx, id, "new@example.org", tester)) }
		})},
		"set groups": {asItIs, ofMember(func(s *sitetest.Site, id uuid.UUID) func(context.Context) error {
			return func(ctx context.Context) error { return only(s.Accounts.SetGroups(ctx, id, []string{"staff"}, nil)) }
		})},
		"end sign-ins": {asItIs, ofMember(func(s *sitetest.Site, id uuid.UUID) func(context.Context) error {
			s.SignedIn("ada")
			return func(ctx context.Context) error { return only(s.Accounts.EndSignIns(ctx, id)) }
		})},
		"sign-ins": {asItIs, ofMember(func(s *sitetest.Site, id uuid.UUID) func(context.Context) error {
			u := s.Stored(id.String())
			return func(ctx context.Context) error { return only(s.Accounts.SignInsOf(ctx, u)) }
		})},
		"reset link": {asItIs, ofMember(func(s *sitetest.Site, id uuid.UUID) func(context.Context) error {
			u := s.Stored(id.String())
			return func(ctx context.Context) error { return only(s.Accounts.ResetLink(ctx, u)) }
		})},
		"invite": {asItIs, ofMember(func(s *sitetest.Site, _ uuid.UUID) func(context.Context) error {
			return func(ctx context.Context) error {
				_, _, err := s.Accounts.Invite(ctx, account.NewInvitation{Email: "bob@example.org"})
				return err
			}
		})},
		"revoke an invitation": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			i, _, err := s.Accounts.Invite(s.T.Context(), account.NewInvitation{})
			require.NoError(s.T, err)
			return func(ctx context.Context) error { return s.Accounts.RevokeInvitation(ctx, i.ID) }
		}},
		"invitations": {asItIs, func(s *sitetest.Site) func(context.Context) error {
			return func(ctx context.Context) error { return only(s.Accounts.Invitations(ctx, uuid.Nil, 10)) }
		}},
		"delete": {asItIs, ofMember(func(s *sitetest.Site, id uuid.UUID) func(context.Context) error {
			s.SignedIn("ada")
			return func(ctx context.Context) error { return s.Accounts.Delete(ctx, id) }
		})},
		"approve": {approving, func(s *sitetest.Site) func(context.Context) error {
			id := waiting(s)
			return func(ctx context.Context) error {
				_, _, err := s.Accounts.Approve(ctx, id)
				return err
			}
		}},
		"refuse": {approving, func(s *sitetest.Site) func(context.Context) error {
			id := waiting(s)
			return func(ctx context.Context) error { return only(s.Accounts.Refuse(ctx, id, "no")) }
		}},
	}
}

// TestEveryFailureOfTheStore breaks each act off at each of its steps.
func TestEveryFailureOfTheStore(t *testing.T) {
	all := actsOfStrangers()
	maps.Copy(all, actsOfMembers())
	maps.Copy(all, actsOfOwners())
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sitetest.New(t, c.configure)
			act := c.prepare(s)
			well := s.Accounts.Store
			before := holding(t, well)
			for n := 1; ; n++ {
				require.Less(t, n, 200, "it never ends")
				faulty := &sitetest.FaultyStore{Store: well, FailAt: n}
				s.Accounts.Store = faulty
				err := act(t.Context())
				s.Accounts.Store = well
				if !faulty.Met {
					require.NoError(t, err)
					require.Greater(t, n, 1, "it asks the store nothing")
					return
				}
				require.Error(t, err, "a failure at step %d is not told", n)
				require.Equal(t, http.StatusServiceUnavailable, web.StatusOf(web.AsRefusal(err).Code), "step %d: %v", n, err)
				require.Equal(t, before, holding(t, well), "step %d", n)
			}
		})
	}
}
