// webhook.mjs: the reference library of Standard Webhooks verifies what an endpoint got.
// Standard input: [{secret, headers, body}, …]; standard output: for each the type of the
// event, or the name of the error.
import { Webhook } from "standardwebhooks";
import { readFileSync } from "node:fs";

const out = [];
for (const { secret, headers, body } of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    out.push(new Webhook(secret).verify(body, headers).type);
  } catch (e) {
    out.push(e.constructor.name);
  }
}
console.log(JSON.stringify(out));
