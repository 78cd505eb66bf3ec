// endpoint_profile.go: GET, POST, PUT and PATCH P/profile: what an account shows of itself.

package registration

import (
	"net/http"
	"slices"
)

func endpointProfile(r *webRealm) *endpoint {
	set := r.options.Fields
	list, required := set.profile, set.profileRequired
	e := &endpoint{
		name: "profile", methods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch}, signedIn: true, act: actProfile,
		spends: spends{throttle: throttleProfile, account: whoAsks, alone: true},
		doc:    endpointDoc{tag: tagAccount, summary: "The account's profile", success: http.StatusOK, answer: schemaProfile, inputs: fieldInputs(list, required)},
		// The page shows the other public fields as they are. There is no button
		// where there is nothing to save.
		form: &form{
			title: say("page.profile.title"), submit: say("page.profile.submit"), links: []formLink{linkTo("/change-password/", say("link.change_password"))},
			value: func(c *call, name string) string { return profileValue(c, c.who.User, name) },
		},
	}
	if slices.ContainsFunc(list, func(f *field) bool { return f.name == fieldEmail || required[f.name] && f.unique }) {
		e.doc.inputs = append(e.doc.inputs, currentPasswordInput)
		e.doc.codes = []Code{CodeThrottled}
	}
	for _, field := range list {
		e.form.fields = append(e.form.fields, profileField(field, required[field.name]))
	}
	if slices.ContainsFunc(list, set.guarded) {
		pass := stalePassword()
		pass.required, pass.hint = false, say("hint.password_for_login")
		e.form.fields = append(e.form.fields, pass)
	}
	if !slices.ContainsFunc(list, func(f *field) bool { return f.name == fieldEmail }) {
		e.form.links = append(e.form.links, linkTo("/register-email/", say("link.change_email")))
	}
	e.form.links = append(e.form.links, linkTo("/sessions/", say("link.sessions")))
	e.form.complete = func(c *call, d *PageData, _ *User) error {
		d.Facts = facts(c, e.form)
		if len(e.form.fields) == 0 {
			d.Form = nil
		}
		return nil
	}
	return e
}

func actProfile(c *call) (*reply, error) {
	u := c.who.User
	if c.req.Method != http.MethodGet && c.req.Method != http.MethodHead {
		if c.setsLogin(*c.who, c.in) {
			if err := c.guess(); err != nil {
				return nil, err
			}
		}
		var err error
		if u, err = c.UpdateProfile(c.req.Context(), *c.who, c.in, c.req.Method == http.MethodPatch, c.client); err != nil {
			return nil, err
		}
	}
	return &reply{status: http.StatusOK, profile: c.Profile(u), user: u, detail: say("detail.profile_saved")}, nil
}
