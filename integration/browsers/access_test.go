// access_test.go: what people with a screen reader, a keyboard alone, colours of their own or
// a page at 400 % have of the pages.

package browsers_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

var update = flag.Bool("update", false, "write the golden of what a screen reader is told")

// accessSite has links at the foot and a title, and a field of each kind that browsers check.
var accessSite = served.Site(`pages {
			title "The Garden"
			link help /help/
			link privacy https://example.com/privacy/
			link "House rules" rules@example.com
		}
		user {
			field born date {
				label "Date of birth"
			}
			field beds integer {
				label "Beds"
				min 1
			}
		}`, `require_login /members/*
	respond /members/* "for members"
	respond / "front"
	respond 404`)

// A node is one of the accessibility tree, as a screen reader has it.
type node struct {
	role, name, description string
	focused                 bool
	live                    string
}

func valueOf(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var out any
	if json.Unmarshal(v.Value, &out) != nil || out == nil {
		return ""
	}
	return fmt.Sprint(out)
}

// tree is the accessibility tree of the page.
func (w *walker) tree() (nodes []node) {
	w.T.Helper()
	all, err := chromedp.Call(w.Ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	require.NoError(w.T, err)
	for _, n := range all.Nodes {
		if n.Ignored {
			continue
		}
		is := node{role: valueOf(n.Role), name: valueOf(n.Name), description: valueOf(n.Description)}
		for _, p := range n.Properties {
			switch p.Name {
			case "focused":
				is.focused = valueOf(p.Value) == "true"
			case "live":
				is.live = valueOf(p.Value)
			}
		}
		nodes = append(nodes, is)
	}
	return nodes
}

// of are the nodes of a role, by name.
func (w *walker) of(role string) (names []string) {
	w.T.Helper()
	for _, n := range w.tree() {
		if n.role == role {
			names = append(names, n.name)
		}
	}
	return names
}

// A reader writes down what a screen reader is told after each act.
type reader struct {
	*walker
	told strings.Builder
}

// hears waits until the focus has settled, and writes down what is told: the title, what has the
// focus, and what stands in live regions.
func (r *reader) hears(act string) {
	r.T.Helper()
	wanted := served.Evaluate[bool](r.Browser, `!!document.querySelector("[autofocus]")`)
	require.True(r.T, served.Eventually(func() bool { // Chromium gives it once the page is painted
		return !wanted || served.Evaluate[bool](r.Browser, `document.activeElement.matches("[autofocus]")`)
	}, 20*time.Millisecond), "%s: the focus", act)
	fmt.Fprintf(&r.told, "%s\n  title: %s\n", act, r.withoutPort(served.Ask(r.Browser, chromedp.Title())))
	for _, n := range r.tree() {
		if n.focused && n.role != "RootWebArea" {
			fmt.Fprintf(&r.told, "  focus: %s\n", r.withoutPort(strings.TrimSpace(n.role+" "+n.name)))
		}
		if n.live != "" && n.live != "off" {
			fmt.Fprintf(&r.told, "  live, %s: %s\n", n.live, n.role)
		}
	}
	if text := served.Evaluate[string](r.Browser, `document.activeElement === document.body ? "" : document.activeElement.matches("[autofocus]") ? document.activeElement.innerText.replaceAll("\n", " / ") : ""`); text != "" {
		fmt.Fprintf(&r.told, "  read: %s\n", r.withoutPort(text))
	}
}

func (r *reader) withoutPort(text string) string {
	return strings.ReplaceAll(text, r.Base, "http://site")
}

// tab moves the focus on until it is on what has this role and name, as the tree tells them, and
// requires that whoever looks sees where it is.
func (w *walker) tab(role, name string) {
	w.T.Helper()
	is := regexp.MustCompile("^" + name)
	var passed []string
	for range 40 {
		w.Do(chromedp.KeyEvent("\t"))
		for _, n := range w.tree() {
			if !n.focused || n.role == "RootWebArea" {
				continue
			}
			own := strings.Contains(n.name, "date picker") // the browser's, within the input
			require.True(w.T, own || "none" != served.Evaluate[string](w.Browser, `getComputedStyle(document.activeElement).outlineStyle`), "%s %s has an outline", n.role, n.name)
			if n.role == role && is.MatchString(n.name) {
				return
			}
			passed = append(passed, n.role+" "+n.name)
		}
	}
	require.Fail(w.T, "not reached by the keyboard", "%s %s; passed %q", role, name, passed)
}

// keys types where the focus is.
func (w *walker) keys(keys string) { w.Do(chromedp.KeyEvent(keys)) }

// follow presses Enter on a link within the page. The protocol would give the character of the
// key to what has the focus then; browsers do not.
func (w *walker) follow() {
	w.T.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
		_, err := chromedp.Call(w.Ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13})
		require.NoError(w.T, err)
	}
}

// enter presses Enter, which leads to another page.
func (w *walker) enter(status int) {
	w.T.Helper()
	res, err := chromedp.RunResponse(w.Ctx, chromedp.KeyEvent("\r"))
	require.NoError(w.T, err)
	require.Equal(w.T, status, int(res.Status))
}

// TestTheKeyboardAlone signs up, confirms, signs in, changes the profile and signs out, with no
// mouse; and what a screen reader is told on the way is the golden.
func TestTheKeyboardAlone(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	s.Configure(accessSite)
	s.Start()
	r := &reader{walker: newWalker(t, s.Base())}
	r.at200("/accounts/login/")
	r.hears("opens the sign-in")
	r.tab("link", "I have no account|Create an account")
	r.enter(200)
	r.hears("goes to the sign-up")
	r.tab("textbox", "Username")
	r.keys("ada lovelace")
	r.enter(400)
	r.hears("sends it half filled in")
	require.Equal(t, []string{"#username", "#email", "#password"}, served.Evaluate[[]string](r.Browser, `[...document.querySelectorAll(".problem a")].map(a => a.getAttribute("href"))`), "all at once, and the password once")
	r.tab("link", "Username")
	r.follow()
	require.Equal(t, "username", served.Evaluate[string](r.Browser, `document.activeElement.id`), "the summary leads to the input")
	r.keys(kb.End + strings.Repeat(kb.Backspace, 20))
	r.keys("ada")
	r.tab("textbox", "E-?mail")
	r.keys("ada@example.org")
	r.tab("textbox", "Password")
	r.keys(served.TestPassword)
	r.tab("button", "Show Password")
	r.keys(" ")
	require.Equal(t, "text", served.Evaluate[string](r.Browser, `document.querySelector("#password").type`))
	r.tab("button", "Create")
	r.enter(200)
	r.hears("signs up")
	require.Len(t, slices.DeleteFunc(r.of("link"), func(name string) bool { return !strings.HasPrefix(name, "Wrong address?") }), 1)
	r.tab("link", "Wrong address")
	require.Equal(t, 200, r.Open(linkTo(s, "ada@example.org", "verify-registration")))
	r.hears("opens the link in the mail")
	r.tab("button", "Confirm")
	r.enter(200)
	r.hears("confirms")
	r.tab("textbox", "Username|E-?mail")
	r.keys("ada")
	r.tab("textbox", "Password")
	r.keys("wrong")
	r.enter(400)
	r.hears("signs in with a wrong password")
	r.tab("textbox", "Password")
	r.keys(served.TestPassword)
	r.enter(200)
	r.at200("/accounts/profile/")
	r.hears("signs in, and opens the profile")
	r.tab("textbox", "Beds")
	r.keys("many")
	r.enter(400)
	r.hears("saves what is no number")
	r.tab("textbox", "Beds")
	r.keys(kb.End + strings.Repeat(kb.Backspace, 20))
	r.keys("2")
	r.tab("button", "Save")
	r.enter(200)
	r.hears("saves the profile")
	require.Regexp(t, "^(Your profile is saved|Profile saved) – .+ – The Garden$", served.Ask(r.Browser, chromedp.Title()))
	r.at200("/accounts/profile/")
	r.tab("button", "Sign out")
	r.enter(200)
	r.hears("signs out")
	r.RequireQuiet()
	golden := filepath.Join("testdata", "told.txt")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(r.told.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), r.told.String())
}

// memberAtAccessSite is a browser that ada is signed in with.
func memberAtAccessSite(t *testing.T) (*served.Server, *walker) {
	t.Helper()
	s := served.NewServer(t)
	s.Configure(accessSite)
	s.Start()
	s.Member("ada")
	w := newWalker(t, s.Base())
	w.at200("/accounts/login/")
	w.Fill("login", "ada")
	w.Fill("password", served.TestPassword)
	require.Equal(t, 200, w.Press(submit))
	return s, w
}

// TestNamesOfButtons: what a button does can be told from its name alone, on a page where it
// stands many times; what is at the foot is there on each page.
func TestNamesOfButtons(t *testing.T) {
	t.Parallel()
	s, w := memberAtAccessSite(t)
	for _, agent := range []string{"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"} {
		c := s.Client()
		c.Header.Set("User-Agent", agent)
		c.SignIn("ada")
	}
	w.at200("/accounts/sessions/")
	w.check("access-sessions")
	ends := slices.DeleteFunc(w.of("button"), func(name string) bool {
		return !strings.HasPrefix(name, "Sign out ") || strings.Contains(name, "everywhere")
	})
	require.Len(t, ends, 4)
	require.Contains(t, ends[0], "Chrom", "the one that looks at them is the first")
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(ends))), 4, "each has another name: %q", ends)
	require.Subset(t, w.of("link"), []string{"Help", "Privacy", "House rules"})
	require.Equal(t, []string{w.Base + "/help/", "https://example.com/privacy/", "mailto:rules@example.com"}, served.Evaluate[[]string](w.Browser, `[...document.querySelectorAll("footer > ul a")].map(a => a.href)`))
	require.Equal(t, 404, w.Open(w.Base+"/accounts/nothing/"))
	require.Subset(t, w.of("link"), []string{"Help", "Privacy", "House rules"})
	w.at200("/accounts/profile/")
	w.Do(chromedp.Clear(chromedp.CSS("#username")))
	require.Equal(t, 400, w.Press(submit), "the server says what is wrong")
	require.Contains(t, w.of("heading"), "There is a problem")
	require.Contains(t, w.of("alert"), "There is a problem")
}

// seen is what a page lacks that can be measured: how large what is pressed is (WCAG 2.5.8),
// and what the edges of inputs and buttons stand out with (1.4.11).
const seen = `(() => {
	const faults = [], rgb = c => c.match(/[\d.]+/g).map(Number);
	const light = c => rgb(c).slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
	const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
	const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor, [, , , alpha] = rgb(c); if (alpha === undefined || alpha === 1) return c; } return "rgb(255, 255, 255)"; };
	const say = e => e.outerHTML.slice(0, 80);
	for (const e of document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea")) {
		const r = e.getBoundingClientRect(), style = getComputedStyle(e);
		if (!r.width || !e.checkVisibility({visibilityProperty: true})) continue;
		if (!(style.display === "inline" && e.closest("label")) && Math.min(r.width, r.height) < 24) faults.push("small, " + r.width.toFixed(1) + " x " + r.height.toFixed(1) + ": " + say(e));
		if (parseFloat(style.borderTopWidth) > 0 && matchMedia("(forced-colors: none)").matches) {
			const behind = ground(e.parentElement), edge = Math.max(ratio(style.borderTopColor, behind), ratio(ground(e), behind));
			if (edge < 3) faults.push("pale, " + edge.toFixed(2) + ": " + say(e));
		}
	}
	return faults.join("\n");
})()`

// TestForcedColours: who has chosen his own colours sees which input is wrong, and that a note
// is no problem, by their edges.
func TestForcedColours(t *testing.T) {
	t.Parallel()
	_, w := memberAtAccessSite(t)
	w.show(view{1280, forced})
	edge := func(selector string) string {
		return served.Evaluate[string](w.Browser, `(s => s.borderTopWidth + " " + s.borderTopStyle)(getComputedStyle(document.querySelector("`+selector+`")))`)
	}
	w.at200("/accounts/profile/")
	right := edge("#username")
	require.Equal(t, 200, w.Press(submit))
	note := edge(".note")
	w.Fill("username", "not a name")
	require.Equal(t, 400, w.Press(submit))
	require.NotEqual(t, right, edge("#username"))
	require.NotEqual(t, note, edge(".problem"))
}
