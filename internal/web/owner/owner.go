// owner.go: who may see the owner's pages, and the way of a request through one.

// Package owner is what who looks after the accounts sees in a browser: pages below
// P/admin/, and the same as JSON. A page is one value of a table (Page): what it shows,
// what its form does. All of them are for the members of one group; to everybody else
// they don't exist. What changes something needs a sign-in that is not old.
package owner

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A Server has the owner's pages of a realm. It doesn't change once made.
type Server struct {
	realm *web.Realm
	site  *Site
	pages []*Page
}

// A Page is one address below P/admin/.
type Page struct {
	// Path is below P/admin/, without slashes at the ends; {id} stands for one part.
	Path string
	// Tab is the path of the page of the navigation that it belongs to.
	Tab string
	// Get is what it shows; nil: it only acts.
	Get func(*Call) (*Shown, error)
	// Post acts, for who has signed in a short while ago; nil: it only shows. If it
	// refuses, the page is shown again with Call.Refused.
	Post func(*Call) (*Done, error)
	// Acts is what Post does, in words; none where what is sent says that (paramDo).
	Acts text.Phrase
	// ForPeople: what it shows is a form, of no use to a program.
	ForPeople bool
	// Doc describes the page to programs.
	Doc Doc
}

// Shown is what a page shows: to people, and to programs. One of them may be left out
// where it isn't asked for (Call.HTML).
type Shown struct {
	View *View
	JSON any
}

// Done is what an act has done.
type Done struct {
	// Note says it. To is the page below P/admin/ where a browser goes next.
	Note text.Phrase
	To   string
	// Away is where it goes who can't see To any more, below the realm's path.
	Away string
	// JSON is what programs are told; nil: the note.
	JSON any
	// View is shown in place of another page: what is shown once, or asked before.
	View *View
}

// A Call is one request of somebody who may.
type Call struct {
	*web.Call
	W     http.ResponseWriter
	Page  *Page
	site  *Site
	ID    string // what {id} of the path is
	Query url.Values
	// Lists has the values of what was sent several times by one name.
	Lists map[string][]string
	// HTML: a person will read the answer.
	HTML bool
	// Refused is why the act was refused whose page is shown again; nil: none was.
	Refused *refusal.Error
}

// New has the pages of a realm, whose options have to be set.
func New(r *web.Realm, site *Site) *Server {
	s := &Server{realm: r, site: site, pages: slices.Concat([]*Page{createPage}, accountPages, waitingPages, invitationPages, auditPages, mailPages, webhookPages, settingPages)}
	for _, a := range acts {
		page := a.page()
		if a.Name == "edit" {
			page.Doc.Body = extraInputs(r.Options.Fields)
		}
		s.pages = append(s.pages, page)
	}
	return s
}

// prefix is what all paths of ours begin with.
const prefix = web.OwnerPath + "/"

// Serve answers a request below the realm's path. To who isn't of the group there is
// nothing here, whatever he asks for; who isn't signed in is told that he has to be. The
// order of the refusals is part of the contract: 404, 405, 401, 403 and 400.
func (s *Server) Serve(w http.ResponseWriter, req *http.Request, path string) bool {
	html := !s.realm.Options.Pages.Off && web.WantsPage(req.Header)
	if path == web.OwnerPath && html {
		path = prefix + tabs[0].path
	}
	page, id := s.find(path)
	if page == nil {
		return false
	}
	r := s.realm
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	wc, err := r.NewCall(req)
	if err != nil {
		r.Refuse(w, req, err)
		return true
	}
	c := &Call{Call: wc, W: w, Page: page, site: s.site, ID: id, HTML: html}
	if c.Who != nil && !c.Policy.IsAdmin(c.Who.User) {
		return false
	}
	if r.Preflight(w, req, page.methods(false)) {
		return true
	}
	r.Heed(c.Req)
	switch allowed := page.methods(html); {
	case !slices.Contains(allowed, req.Method):
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.refuse(c, refusal.New(refusal.CodeMethodNotAllowed))
	case c.Who == nil && c.HTML && read:
		web.SeeOther(w, http.StatusFound, r.WithNext("/login/", withQuery(r.Address("/"+path+"/"), req.URL.RawQuery)))
	case c.Who == nil:
		s.refuse(c, refusal.New(refusal.CodeNotAuthenticated))
	case !s.admitted(c, read):
	case read:
		if c.Query = web.QueryOf(req); c.Query == nil {
			c.Query = url.Values{}
		}
		s.show(c, http.StatusOK)
	default:
		s.act(c)
	}
	return true
}

// withQuery is an address with a query that was asked for.
func withQuery(address, query string) string {
	if query == "" {
		return address
	}
	return address + "?" + query
}

// find is the page of a path, and what stands for its {id}.
func (s *Server) find(path string) (page *Page, id string) {
	path, ours := strings.CutPrefix(path, prefix)
	if !ours {
		return nil, ""
	}
	for _, p := range s.pages {
		if id, ok := p.match(strings.Split(path, "/")); ok {
			return p, id
		}
	}
	return nil, ""
}

func (p *Page) match(parts []string) (id string, ok bool) {
	pattern := strings.Split(p.Path, "/")
	if len(pattern) != len(parts) {
		return "", false
	}
	for i, part := range pattern {
		switch {
		case part == "{id}":
			id = parts[i]
		case part != parts[i]:
			return "", false
		}
	}
	return id, true
}

// methods are those that a page takes; html: from a person.
func (p *Page) methods(html bool) (list []string) {
	if p.Get != nil && (html || !p.ForPeople) {
		list = append(list, http.MethodGet, http.MethodHead)
	}
	if p.Post != nil {
		list = append(list, http.MethodPost)
	}
	return list
}

// show answers with a page. Where its act was refused (c.Refused), that is said on it.
func (s *Server) show(c *Call, status int) {
	shown, err := c.Page.Get(c)
	switch {
	case err != nil:
		s.refuse(c, err)
	case c.HTML:
		s.write(c, status, shown.View)
	default:
		s.answer(c, shown.JSON)
	}
}

// act does what was posted.
func (s *Server) act(c *Call) {
	r := s.realm
	if r.Foreign(c.Req) {
		s.refuse(c, refusal.New(refusal.CodeCrossOrigin))
		return
	}
	if c.Who.Session.Kind != store.KindSession { // tokens of programs read only
		s.refuse(c, refusal.New(refusal.CodePermissionDenied))
		return
	}
	var err error
	if c.In, c.Lists, err = web.DecodeLists(c.W, c.Req); err != nil {
		s.refuse(c, err)
		return
	}
	if !s.proven(c) {
		return
	}
	done, err := c.Page.Post(c)
	r.LogAct(c.Call, prefix+c.Page.Path, c.Who.User, err)
	switch {
	case err != nil && c.HTML && c.Page.Get != nil && web.StatusOf(web.AsRefusal(err).Code) < http.StatusInternalServerError:
		c.Refused = web.AsRefusal(err)
		status, _ := r.Announce(c.W, c.Req, err)
		s.show(c, status)
	case err != nil:
		s.refuse(c, err)
	case !c.HTML && done.JSON != nil:
		s.answer(c, done.JSON)
	case !c.HTML:
		s.answer(c, web.NewObject("detail", c.Loc.Text(done.Note)))
	case done.View != nil:
		s.write(c, http.StatusOK, done.View)
	case done.Away != "":
		web.SeeOther(c.W, http.StatusSeeOther, r.Address(done.Away))
	default:
		r.LeaveNote(c.W, c.Req, web.OwnerPath, done.Note)
		web.SeeOther(c.W, http.StatusSeeOther, c.Address(done.To))
	}
}

// answer is JSON, in no language.
func (s *Server) answer(c *Call, body any) {
	h := c.W.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept, Accept-Language")
	web.WriteJSON(c.W, http.StatusOK, "application/json", body)
}

func (s *Server) refuse(c *Call, err error) {
	s.realm.RefuseTo(c.W, c.Req, c.Who, err)
}

// Address is that of a page below P/admin/.
func (c *Call) Address(path string) string {
	return c.Realm.Address("/" + prefix + path + "/")
}

// Say is a message in the language of who asks.
func (c *Call) Say(id string, params ...text.Params) string {
	return c.Loc.Text(text.Say(id, params...))
}
