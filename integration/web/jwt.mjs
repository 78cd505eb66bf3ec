// jwt.mjs: an independent library verifies access tokens against the served keys.
// Standard input: [{token, keys, at, issuer, audience}, …], `at` in Unix seconds;
// standard output: for each the subject, or the code of the refusal.
import { createLocalJWKSet, createRemoteJWKSet, jwtVerify } from "jose";
import { readFileSync } from "node:fs";

const out = [];
for (const { token, keys, jwks, at, issuer, audience } of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    const set = jwks ? createRemoteJWKSet(new URL(jwks)) : createLocalJWKSet(keys);
    const { payload } = await jwtVerify(token, set, { issuer, audience, algorithms: ["EdDSA"], ...(at ? { currentDate: new Date(at * 1000) } : {}) });
    out.push({ sub: payload.sub, username: payload.username });
  } catch (e) {
    out.push({ error: e.code });
  }
}
console.log(JSON.stringify(out));
