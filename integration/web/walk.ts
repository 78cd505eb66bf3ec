// walk.ts: a client made from the served document by openapi-typescript (the types
// in ./api.d.ts) and openapi-fetch walks every endpoint. Arguments: the base URL
// and the folder of the mails. An endpoint that has no line here is only asked whether what it
// answers to a stranger is documented.
import createClient from "openapi-fetch";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type { paths } from "./api.js";

const [base, mails] = process.argv.slice(2) as [string, string];
const document = await (await fetch(base + "/openapi.json")).json();
const cookieName: string = document.components.securitySchemes.cookie.name;
const used = new Set<string>();

// A jar for one cookie, and a record of what was called.
let cookie = "";
const client = createClient<paths>({
  baseUrl: base,
  fetch: async (request: Request) => {
    used.add(request.method + " " + request.url.slice(base.length));
    const headers = new Headers(request.headers);
    if (cookie) headers.set("cookie", cookie);
    const response = await fetch(new Request(request, { headers }));
    for (const line of response.headers.getSetCookie()) {
      const pair = line.split(";")[0]!;
      if (pair.startsWith(cookieName + "=")) cookie = pair.endsWith("=") ? "" : pair;
    }
    return response;
  },
});

// expect requires a status and returns the body of a success.
function expect<T>(status: number, answer: { data?: T; error?: unknown; response: Response }): T {
  assert.equal(answer.response.status, status, `${answer.response.url}: ${JSON.stringify(answer.data ?? answer.error)}`);
  return answer.data as T;
}

type Link = { user_id: string; email: string; timestamp: string; signature: string };

// link waits for a mail to an address with the link of an act, and reads what it carries.
async function link(to: string, act: string): Promise<Link> {
  for (let i = 0; i < 300; i++) {
    const urls = readdirSync(mails).filter((name) => name.endsWith(".eml")).sort()
      .map((name) => readFileSync(join(mails, name), "utf8"))
      .filter((mail) => new RegExp(`^To: .*${to.replaceAll(".", "\\.")}`, "m").test(mail))
      .map((mail) => mail.replace(/=\r?\n/g, "").replace(/=3D/g, "=").match(/https?:\/\/[^\s"]*signature=[\w-]+[^\s"]*/)?.[0])
      .filter((url) => url?.includes(`/${act}/`));
    if (urls.length > 0) return Object.fromEntries(new URL(urls[0]!).searchParams) as Link;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("no mail to " + to);
}

const password = "a long enough passphrase", second = "another good passphrase";
const profile = expect(201, await client.POST("/register", { body: { username: "ada", email: "ada@example.org", password, password_confirm: password } }));
assert.equal(profile.username, "ada");
expect(200, await client.POST("/verify-registration", { body: await link("ada@example.org", "verify-registration") }));
expect(200, await client.POST("/resend-verification", { body: { login: "ada" } }));
expect(400, await client.POST("/login", { body: { login: "ada", password: "not it" } }));

// granted is the answer to a sign-in of an account that nothing more is asked of.
function granted<T extends object>(answer: T) {
  if ("challenge" in answer) throw new Error("a challenge");
  return answer as Exclude<T, { challenge: string }>;
}

let grant = granted(expect(200, await client.POST("/login", { body: { username: "ada", password } })));
assert.ok(cookie && grant.token && grant.refresh_token);
assert.equal(expect(200, await client.GET("/profile")).id, profile.id);
expect(200, await client.PATCH("/profile", { body: { first_name: "Ada" } }));
expect(200, await client.PUT("/profile", { body: { username: "ada", first_name: "Ada", last_name: "Lovelace" } }));
assert.equal(expect(200, await client.POST("/profile", { body: { username: "ada", last_name: "King" } })).last_name, "King");
expect(200, await client.POST("/change-password", { body: { old_password: password, password: second, password_confirm: second } }));
expect(401, await client.POST("/refresh-token", { body: { refresh_token: grant.refresh_token } }));
grant = granted(expect(200, await client.POST("/login", { body: { login: "ada", password: second } })));
expect(200, await client.POST("/register-email", { body: { email: "ada@example.net" } }));
expect(200, await client.POST("/verify-email", { body: await link("ada@example.net", "verify-email") }));
assert.equal(expect(200, await client.GET("/profile")).email, "ada@example.net");
const list = expect(200, await client.GET("/sessions"));
assert.equal(list.filter((session) => session.current).length, 1);
const next = expect(200, await client.POST("/refresh-token", { body: { refresh_token: grant.refresh_token } }));
expect(409, await client.POST("/refresh-token", { body: { refresh_token: grant.refresh_token } }));
assert.equal(expect(200, await client.GET("/.well-known/jwks.json", { parseAs: "json" })).keys.length, 1);
const held = cookie;
cookie = "";
assert.equal(expect(200, await client.GET("/profile", { headers: { Authorization: "Bearer " + next.token } })).username, "ada");
expect(401, await client.GET("/profile"));
cookie = held;
expect(200, await client.POST("/revoke-session", { body: { id: list.find((session) => session.kind === "jwt")!.id } }));
expect(200, await client.POST("/revoke-session", { body: { others: true } }));

// code is what an app shows that has a secret (RFC 6238), so many steps from now.
function code(secret: string, ahead = 0): string {
  const bits = [...secret.replaceAll(" ", "")].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + ahead));
  const sum = createHmac("sha1", new Uint8Array(key)).update(new Uint8Array(step)).digest();
  return String((sum.readUInt32BE(sum[19]! & 15) & 0x7fffffff) % 1000000).padStart(6, "0");
}

assert.deepEqual(expect(200, await client.GET("/factors")), []);
const app = expect(200, await client.POST("/enrol-totp", { body: {} }));
assert.match(String(expect(200, await client.GET("/totp-qr", { parseAs: "text" }))), /^<svg/);
expect(201, await client.POST("/confirm-totp", { body: { code: code(app.secret), name: "phone" } }));
expect(200, await client.GET("/tokens"));
const token = expect(201, await client.POST("/create-token", { body: { name: "walk", path: "/dav", groups: [] } }));
assert.match(token.token, /^crt_[0-9A-Za-z]{49}$/);
assert.equal(expect(200, await client.GET("/tokens"))[0]!.path, "/dav");
expect(200, await client.POST("/revoke-token", { body: { id: token.id } }));
const [factor] = expect(200, await client.GET("/factors"));
expect(200, await client.POST("/rename-factor", { body: { id: factor!.id, name: "old phone" } }));
expect(201, await client.POST("/recovery-codes", { body: {} }));
expect(200, await client.POST("/step-up", { body: { totp: code(app.secret, 1) } }));
expect(400, await client.POST("/login-factor", { body: { challenge: "none", totp: "123456", trust_device: true } }));
assert.deepEqual(expect(200, await client.GET("/trusted-devices")), []);
expect(404, await client.POST("/revoke-trusted-device", { body: { id: "none" } }));
expect(400, await client.POST("/undo-factor", { body: { user_id: profile.id, factor: factor!.id, timestamp: "1764072000", signature: "none" } }));
expect(200, await client.POST("/remove-factor", { body: { id: factor!.id } }));
expect(200, await client.POST("/logout", { body: {} }));
assert.equal(cookie, "");
expect(200, await client.POST("/send-reset-password-link", { body: { login: "ada" } }));
expect(200, await client.POST("/reset-password", { body: { ...(await link("ada@example.net", "reset-password")), password } }));
expect(200, await client.POST("/undo-email", { body: await link("ada@example.org", "undo-email") }));
expect(200, await client.POST("/reset-password", { body: { ...(await link("ada@example.org", "reset-password")), password } }));
expect(200, await client.POST("/login", { body: { login: "ada", password } }));
assert.equal(expect(200, await client.GET("/export")).personal_data, 1);
assert.match(JSON.stringify(expect(200, await client.POST("/export", { body: {} })).account), /"ada"/);
expect(200, await client.POST("/delete-account", { body: {} }));
expect(200, await client.GET("/openapi.json"));

const all = Object.entries(document.paths as Record<string, object>).flatMap(([path, item]) => Object.keys(item).map((method) => method.toUpperCase() + " " + path));
for (const one of all.filter((one) => !used.has(one))) { // not walked above: what it answers to nobody in particular is documented, at least
  const [method, path] = one.split(" ") as [string, string];
  const response = await fetch(base + path, { method, headers: { "content-type": "application/json" }, body: method === "GET" ? undefined : "{}" });
  assert.ok(document.paths[path][method.toLowerCase()].responses[response.status], `${one}: ${response.status}`);
}
console.log(`walked ${all.length} operations`);
