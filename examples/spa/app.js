// The common flows of the accounts API from a page on another origin: by cookie, which
// the browser keeps and no script sees, or by tokens, which this script keeps. What a sign-in
// may ask for besides (a `challenge`: second step, terms, a closed account) it only tells.
"use strict";

const api = document.querySelector('meta[name="accounts"]').content;
const $ = (selector) => document.querySelector(selector);
const mode = () => $('input[name="mode"]:checked').value;

// The tokens live as long as the tab. Whatever script runs on this page can read
// them, so the page allows none but its own (Content-Security-Policy).
const tokens = {
  get access() { return sessionStorage.getItem("access"); },
  get refresh() { return sessionStorage.getItem("refresh"); },
  keep(answer) {
    if (!answer.refresh_token) return;
    sessionStorage.setItem("access", answer.token);
    sessionStorage.setItem("refresh", answer.refresh_token);
  },
  forget() {
    sessionStorage.removeItem("access");
    sessionStorage.removeItem("refresh");
  },
};

// send asks an endpoint, and returns {ok, status, body}.
async function send(endpoint, body, method = body ? "POST" : "GET") {
  const byToken = mode() === "token";
  const headers = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (byToken && tokens.access && endpoint !== "login" && endpoint !== "refresh-token") headers.Authorization = "Bearer " + tokens.access;
  const response = await fetch(`${api}/${endpoint}`, {
    method, headers, body: body && JSON.stringify(body), credentials: byToken ? "omit" : "include",
  });
  return { ok: response.ok, status: response.status, body: await response.json() };
}

// One refresh at a time: a refresh token is good once.
let refreshing = null;
function refresh() {
  refreshing ??= (async () => {
    const answer = await send("refresh-token", { refresh_token: tokens.refresh });
    if (answer.ok) tokens.keep(answer.body);
    else tokens.forget();
    return answer.ok;
  })().finally(() => { refreshing = null; });
  return refreshing;
}

// ask is send with a second try under a fresh access token.
async function ask(endpoint, body, method) {
  const answer = await send(endpoint, body, method);
  if (answer.status !== 401 || mode() !== "token" || !tokens.refresh || endpoint === "login") return answer;
  return (await refresh()) ? send(endpoint, body, method) : answer;
}

const note = (text) => { $("#note").textContent = text; };

// showErrors puts the messages of a refusal next to their fields.
function showErrors(form, body) {
  form.querySelectorAll(".error").forEach((e) => e.remove());
  for (const [name, messages] of Object.entries(body)) {
    const input = form.elements.namedItem(name);
    const p = document.createElement("p");
    p.className = "error";
    p.role = "alert";
    p.textContent = [messages].flat().join(" ");
    if (input instanceof HTMLInputElement) {
      input.setAttribute("aria-invalid", "true");
      input.after(p);
    } else form.querySelector("button").before(p);
  }
}

const values = (form) => Object.fromEntries([...new FormData(form)].filter(([name, value]) => value !== "" || form.dataset.method === "PATCH"));

async function submit(form, endpoint, body, method) {
  note("");
  form.querySelectorAll("[aria-invalid]").forEach((e) => e.removeAttribute("aria-invalid"));
  const answer = await ask(endpoint, body, method);
  showErrors(form, answer.ok ? {} : answer.body);
  if (!answer.ok) return false;
  form.querySelectorAll('input[type="password"]').forEach((input) => { input.value = ""; });
  if (answer.body.challenge) {
    note("More is asked for than this example shows (a second step, terms, or a closed account). Nobody is signed in.");
    return false;
  }
  if (mode() === "token") tokens.keep(answer.body);
  if (endpoint === "logout") tokens.forget();
  note(answer.body.detail ?? (endpoint === "register" ? "Nearly there: open the link in the mail." : "Saved."));
  return true;
}

// show asks who is signed in and shows what goes with it.
async function show() {
  const answer = mode() === "token" && !tokens.refresh ? { ok: false } : await ask("profile");
  $("#stranger").hidden = answer.ok;
  $("#member").hidden = !answer.ok;
  $("#who").textContent = answer.ok ? `Signed in as ${answer.body.username}` : "Not signed in";
  if (!answer.ok) return;
  const form = $('form[data-endpoint="profile"]');
  for (const [name, value] of Object.entries(answer.body)) {
    const field = form.elements.namedItem(name);
    if (field) field.value = value;
  }
  await showSessions();
}

async function showSessions() {
  const answer = await ask("sessions");
  if (!answer.ok) return;
  $("#sessions").replaceChildren(...answer.body.map((session) => {
    const li = document.createElement("li");
    li.textContent = `${session.kind}, ${session.address}, last used ${new Date(session.last_used).toLocaleString()} `;
    if (session.current) {
      li.append("(this device)");
      return li;
    }
    const button = document.createElement("button");
    button.textContent = "End it";
    button.addEventListener("click", () => end({ id: session.id }));
    li.append(button);
    return li;
  }));
}

async function end(which) {
  const answer = await ask("revoke-session", which);
  note(answer.body.detail);
  await showSessions();
}

// A mailed link brought somebody here: one button acts, opening alone does not.
const links = {
  "verify-registration": "Confirm your account",
  "verify-email": "Confirm your new address",
  "undo-email": "Take your old address back",
  "reset-password": "Set a new password",
};

function showLink() {
  const query = Object.fromEntries(new URLSearchParams(location.search));
  const { act, ...body } = query;
  if (!Object.hasOwn(links, act ?? "")) return;
  history.replaceState(null, "", location.pathname); // the signature stays in no history
  const form = $("#link-form");
  form.querySelector("h2").textContent = links[act];
  form.querySelector("label").hidden = act !== "reset-password";
  $("#link").hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await submit(form, act, { ...body, ...values(form) })) {
      $("#link").hidden = true;
      await show();
    }
  });
}

for (const form of document.querySelectorAll("form[data-endpoint]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await submit(form, form.dataset.endpoint, values(form), form.dataset.method)) await show();
  });
}
$("#end-others").addEventListener("click", () => end({ others: true }));
$("#mode").addEventListener("change", () => {
  sessionStorage.setItem("mode", mode());
  show();
});
const before = sessionStorage.getItem("mode");
if (before) $(`input[name="mode"][value="${before === "token" ? "token" : "cookie"}"]`).checked = true;
showLink();
show();
