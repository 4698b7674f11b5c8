// The identity provider of the tests: oidc-provider, a certified OpenID server, on the loopback.
//
// It writes one line of JSON once it listens, {"issuer": …}, and obeys lines on its standard input,
// each answered with a line of JSON:
//
//   add ALG     makes a key of that algorithm, publishes it and signs with it from now on
//   drop KID    takes a key out of the key set
//   status N    answers the key set and the discovery document with status N; 200 is back to normal
//   fetches     how often the key set and the discovery document were asked for
//
// Usage: node provider.mjs FOLDER, with oidc-provider in FOLDER/node_modules.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { generateKeyPair, createHash } from "node:crypto";
import { promisify } from "node:util";
import { pathToFileURL } from "node:url";

// oidc-provider's own notices; standard output is for answers.
console.info = console.error;
console.warn = console.error;

const require = createRequire(`${process.argv[2]}/`);
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

// What tokens are for: one service takes them as JWT, the other has them introspected.
const RESOURCES = { "https://api.example.com": "jwt", "https://opaque.example.com": "opaque" };
const KINDS = {
  RS256: ["rsa", { modulusLength: 2048 }],
  PS256: ["rsa", { modulusLength: 2048 }],
  ES256: ["ec", { namedCurve: "P-256" }],
  EdDSA: ["ed25519", {}],
};

let keys = [];
let provider;
let status = 200;
const fetches = { keys: 0, discovery: 0 };

async function add(alg) {
  const [kind, options] = KINDS[alg];
  const { privateKey } = await promisify(generateKeyPair)(kind, options);
  const key = { ...privateKey.export({ format: "jwk" }), alg, use: "sig" };
  key.kid = createHash("sha256").update(key.n ?? key.x).digest("base64url").slice(0, 16);
  keys = [key, ...keys];
  renew();
  return { kid: key.kid };
}

// A provider's keys are fixed when it is made: rotating them is another provider behind the same
// server.
function renew() {
  const alg = keys[0].alg;
  provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: "service",
      client_secret: "the service's own secret, for tests",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    }, {
      // A program on a user's machine: it has no secret, and PKCE in place of one.
      client_id: "shop",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code"],
      redirect_uris: ["https://shop.example.com/callback"],
      response_types: ["code"],
    }],
    scopes: ["read", "write"],
    features: {
      clientCredentials: { enabled: true },
      // Whoever says a name is logged in, and consents by a click.
      devInteractions: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => Object.keys(RESOURCES)[0],
        getResourceServerInfo: (_, resource) => ({
          scope: "read write",
          audience: resource,
          accessTokenFormat: RESOURCES[resource],
          accessTokenTTL: 600,
          jwt: { sign: { alg, kid: keys[0].kid } },
        }),
      },
    },
  });
}

const server = createServer((request, response) => {
  const counted = { "/jwks": "keys", "/.well-known/openid-configuration": "discovery" }[request.url];
  if (counted) {
    fetches[counted] += 1;
    if (status !== 200) {
      response.writeHead(status).end();
      return;
    }
  }
  provider.callback()(request, response);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const first = await add("RS256");
console.log(JSON.stringify({ issuer, ...first }));

for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(" ");
  let answer = {};
  if (command === "add") {
    answer = await add(argument);
  } else if (command === "drop") {
    keys = keys.filter((key) => key.kid !== argument);
    renew();
  } else if (command === "status") {
    status = Number(argument);
  } else if (command === "fetches") {
    answer = fetches;
  } else {
    answer = { error: `unknown command ${command}` };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
