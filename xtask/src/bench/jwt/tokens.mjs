// Tokens for the benchmark of jwt-auth, on standard output as one JSON object:
// {"keys": a key set, "good": [...], "bad": [...]}; bad ones have a signature that does not fit.
//
// Usage: node tokens.mjs COUNT

import { generateKeyPairSync, createHmac, sign } from "node:crypto";

const count = Number(process.argv[2]);
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const kid = "bench";
const header = Buffer.from(JSON.stringify({ alg: "RS256", kid, typ: "JWT" })).toString("base64url");

// About as many claims as an identity provider puts into an access token.
function claims(number) {
  return {
    iss: "https://idp.example.com/realms/main",
    sub: `user-${number}`,
    aud: ["api", "account"],
    exp: 4102444800,
    nbf: 1700000000,
    iat: 1700000000,
    jti: `c1f0d2b4-5a55-4d5a-9c36-${String(number).padStart(12, "0")}`,
    azp: "web",
    typ: "Bearer",
    acr: "1",
    scope: "openid profile email orders:read orders:write",
    sid: "0e2d7b4c-7d4e-4e0b-8a3c-6d9f1c2b3a4d",
    email_verified: true,
    name: "Ana Example",
    preferred_username: `ana${number}`,
    email: `ana${number}@example.com`,
    realm_access: { roles: ["offline_access", "uma_authorization", "default"] },
  };
}

const good = [];
const bad = [];
for (let number = 0; number < count; number += 1) {
  const text = `${header}.${Buffer.from(JSON.stringify(claims(number))).toString("base64url")}`;
  const signature = sign("sha256", Buffer.from(text), privateKey);
  good.push(`${text}.${signature.toString("base64url")}`);
  // Below the modulus, so that all of the work is done before it is refused.
  signature.set(createHmac("sha256", "x").update(text).digest(), 16);
  signature[0] &= 0x3f;
  bad.push(`${text}.${signature.toString("base64url")}`);
}
const keys = { keys: [{ ...publicKey.export({ format: "jwk" }), kid, alg: "RS256", use: "sig" }] };
process.stdout.write(JSON.stringify({ keys, good, bad }));
