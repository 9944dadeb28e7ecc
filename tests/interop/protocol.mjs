// The pure part of a second implementation, from docs/protocol.md: identifiers, strict reading, signing, verification.
import { createHash } from "node:crypto";
import { CompactSign, compactVerify } from "jose";

export const REQUEST = "yhdyspinta-request+jwt";
export const RESPONSE = "yhdyspinta-response+jwt";
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

export class Problem extends Error {
  constructor(code, status = 400) {
    super(code);
    this.code = code;
    this.status = status;
  }
}

export const sha256 = (data) => createHash("sha256").update(data).digest();
export const digest = (data) => `sha-256=:${sha256(data).toString("base64")}:`;
export const thumbprint = (der) => sha256(der).toString("base64url");

// --- Identifiers

const REFUSED = /[\u0000-\u001f\u007f-\u009f\u200b\ufeff/\\%;]/u;

export function identifier(text, count) {
  const parts = text.split("/");
  if (parts.length !== count) throw new Error("another number of parts");
  const decoded = parts.map((part) => {
    if (/%(?![0-9A-Fa-f]{2})/.test(part)) throw new Error("a broken escape");
    const bytes = Buffer.from(
      part.replace(/[^%]|%(..)/gsu, (one, hex) => (hex ? hex : Buffer.from(one).toString("hex"))), "hex");
    const value = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const length = [...value].length;
    if (length < 1 || length > 255 || value === "." || value === ".." || REFUSED.test(value)) throw new Error("refused");
    return value;
  });
  return decoded;
}

export function printed(parts) {
  return parts
    .map((part) =>
      [...Buffer.from(part)]
        .map((byte) => {
          const character = String.fromCharCode(byte);
          return /[A-Za-z0-9._~-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
        })
        .join(""))
    .join("/");
}

const memberOf = (text) => text.split("/").slice(0, 3).join("/");

// --- Strict reading

function unbase64url(text) {
  const bytes = Buffer.from(text, "base64url");
  if (bytes.toString("base64url") !== text) throw new Problem("message-not-base64url");
  return bytes;
}

// JSON.parse keeps the last of two members of one name and takes any number, so this reads by itself.
export function strictObject(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Problem("message-not-utf8");
  }
  let at = 0;
  const fail = (code = "message-not-json") => {
    throw new Problem(code);
  };
  const blanks = () => {
    while (" \t\n\r".includes(text[at]) && at < text.length) at += 1;
  };
  const string = () => {
    const match = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
    match.lastIndex = at;
    const found = match.exec(text) ?? fail();
    at = match.lastIndex;
    const value = JSON.parse(found[0]);
    if (/[\u0000-\u001f\u007f]/.test(value) || !value.isWellFormed()) fail("message-text-refused");
    return value;
  };
  const number = () => {
    const match = /-?(?:Infinity|NaN|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/y;
    match.lastIndex = at;
    const found = (match.exec(text) ?? fail())[0];
    at = match.lastIndex;
    if (!/^\d{1,15}$/.test(found)) fail("message-number-refused");
    if (found.length > 1 && found.startsWith("0")) fail();
    return Number(found);
  };
  const value = (depth) => {
    blanks();
    const first = text[at];
    if (first === "{" || first === "[") {
      if (depth >= 4) fail("message-too-deep");
      at += 1;
      const object = first === "{" ? Object.create(null) : [];
      const end = first === "{" ? "}" : "]";
      blanks();
      if (text[at] === end) {
        at += 1;
        return object;
      }
      for (;;) {
        blanks();
        if (first === "{") {
          const name = string();
          blanks();
          if (text[at] !== ":") fail();
          at += 1;
          const member = value(depth + 1);
          if (name in object) fail("message-member-repeated");
          object[name] = member;
        } else {
          object.push(value(depth + 1));
        }
        blanks();
        if (text[at] === end) {
          at += 1;
          return object;
        }
        if (text[at] !== ",") fail();
        at += 1;
      }
    }
    if (first === '"') return string();
    for (const [word, meaning] of [["true", true], ["false", false], ["null", null]]) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    }
    return number();
  };
  const found = value(0);
  blanks();
  if (at !== text.length || found === null || typeof found !== "object" || Array.isArray(found)) fail();
  return found;
}

function split(jws) {
  if (jws.length > 16384) throw new Problem("message-too-large", 431);
  const parts = jws.split(".");
  if (parts.length !== 3 || parts.some((part) => part === "")) throw new Problem("message-not-compact");
  if (parts[0].length > 512) throw new Problem("message-too-large", 431);
  const header = strictObject(unbase64url(parts[0]));
  const claims = strictObject(unbase64url(parts[1]));
  return { header, claims, signature: unbase64url(parts[2]) };
}

// --- Forms of claims

const CODE = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\/[a-z0-9]+(?:-[a-z0-9]+)*)?$/;
const matches = (form) => (value) => typeof value === "string" && form.test(value);
const within = (least, most) => (value) => Number.isInteger(value) && value >= least && value <= most;
const named = (count) => (value) => {
  try {
    return printed(identifier(value, count)) === value;
  } catch {
    return false;
  }
};
const codes = (value) =>
  Array.isArray(value) && value.length <= 128 && value.every(matches(CODE)) && new Set(value).size === value.length;
const exactly = (value, names) =>
  value !== null && typeof value === "object" && !Array.isArray(value) &&
  Object.keys(value).sort().join() === [...names].sort().join();
const DIGEST = matches(/^sha-256=:[A-Za-z0-9+/]{43}=:$/);
const TOKEN = matches(/^[\x21-\x7e]{1,128}$/);
const TIME = within(0, 253402300799);
const root = (value) => typeof value === "string" && Buffer.from(value, "base64").length === 32 &&
  Buffer.from(value, "base64").toString("base64") === value;
const checkpoint = (value) =>
  exactly(value, ["origin", "size", "root"]) && matches(/^[^\s+\x00-\x1f\x7f]{1,255}$/u)(value.origin) &&
  within(0, Number.MAX_SAFE_INTEGER)(value.size) && root(value.root);
const decision = (value) =>
  exactly(value, ["id", "dig", "per", "wit"]) && TOKEN(value.id) && DIGEST(value.dig) && codes(value.per) &&
  value.wit !== null && typeof value.wit === "object" && !Array.isArray(value.wit) &&
  codes(Object.keys(value.wit)) && Object.values(value.wit).every(matches(CODE));

const CONTENT = { cty: matches(/^[\x20-\x7e]{0,255}$/), dig: DIGEST, log: checkpoint };
const REQUEST_CLAIMS = {
  iss: named(4), aud: named(5), iat: TIME, exp: TIME, ...CONTENT,
  jti: matches(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
  mth: matches(/^[A-Z]{1,16}$/), tgt: matches(/^\/[\x21-\x7e]{0,4095}$/), pur: matches(CODE), cat: codes, rul: TOKEN,
};
const REQUEST_OPTIONAL = { cas: matches(/^[^\x00-\x1f\x7f-\x9f]{1,128}$/u), usr: TOKEN };
const RESPONSE_CLAIMS = { iss: named(5), aud: named(4), iat: TIME, req: DIGEST, sts: within(100, 599), ...CONTENT };
const RESPONSE_OPTIONAL = { dec: decision };

function checkClaims(claims, required, optional) {
  for (const name of Object.keys(claims)) {
    if (!(name in required) && !(name in optional)) throw new Problem("claim-unknown");
  }
  for (const name of Object.keys(required)) if (!(name in claims)) throw new Problem("claim-missing");
  for (const [name, form] of Object.entries({ ...required, ...optional })) {
    if (name in claims && !form(claims[name])) throw new Problem("claim-invalid");
  }
}

// --- Verification, steps 4 to 10

async function authentic(jws, { keys, type, parts, now }) {
  const { header, claims, signature } = split(jws);
  const known = ["alg", "typ", "x5t#S256"];
  if (Object.keys(header).some((name) => !known.includes(name))) throw new Problem("header-member-refused");
  if (known.some((name) => !(name in header))) throw new Problem("header-member-missing");
  if (header.alg !== "ES256" && header.alg !== "EdDSA") throw new Problem("algorithm-refused");
  const name = header["x5t#S256"];
  if (typeof name !== "string" || name.length !== 43) throw new Problem("header-member-invalid");
  const key = keys(name);
  if (!key) throw new Problem("certificate-unknown", 401);
  if (now < key.notBefore) throw new Problem("certificate-not-yet-valid", 401);
  if (now > key.notAfter) throw new Problem("certificate-expired", 401);
  let readable = true;
  try {
    identifier(claims.iss, parts);
  } catch {
    readable = false;
  }
  if (readable && memberOf(claims.iss) !== key.member) throw new Problem("certificate-of-another", 401);
  if (header.alg !== key.algorithm) throw new Problem("algorithm-mismatch", 401);
  if (signature.length !== 64) throw new Problem("signature-malformed");
  if (header.alg === "ES256") {
    const [r, s] = [signature.subarray(0, 32), signature.subarray(32)].map((half) => BigInt(`0x${half.toString("hex")}`));
    if (r === 0n || s === 0n || r >= ORDER || s >= ORDER) throw new Problem("signature-malformed");
  }
  try {
    await compactVerify(jws, key.publicKey, { algorithms: [key.algorithm] });
  } catch {
    throw new Problem("signature-invalid", 401);
  }
  if (header.typ !== type) throw new Problem("message-type-mismatch");
  if (type === REQUEST) checkClaims(claims, REQUEST_CLAIMS, REQUEST_OPTIONAL);
  else checkClaims(claims, RESPONSE_CLAIMS, RESPONSE_OPTIONAL);
  return claims;
}

function timely(issued, expires, now) {
  if (expires !== undefined && !(expires > issued && expires - issued <= 60)) throw new Problem("message-lifetime-refused");
  if (issued > now + 5) throw new Problem("message-from-future");
  if (now >= (expires ?? issued + 60) + 5) throw new Problem("message-expired");
}

export function checkBody(claims, body) {
  if (digest(body) !== claims.dig) throw new Problem("digest-mismatch");
}

/** Steps 4 to 13 of a receiver. `offered` and `peerMembers` are functions. */
export async function openRequest(jws, { keys, offered, peerMembers, now }) {
  const claims = await authentic(jws, { keys, type: REQUEST, parts: 4, now });
  if (!peerMembers(memberOf(claims.iss))) throw new Problem("issuer-not-peer", 403);
  if (!offered(claims.aud)) throw new Problem("audience-mismatch", 403);
  timely(claims.iat, claims.exp, now);
  return claims;
}

/** What an asker checks. */
export async function openResponse(jws, body, { keys, request, service, consumer, now }) {
  const claims = await authentic(jws, { keys, type: RESPONSE, parts: 5, now });
  if (claims.iss !== service) throw new Problem("issuer-mismatch", 403);
  if (claims.aud !== consumer) throw new Problem("audience-mismatch", 403);
  timely(claims.iat, undefined, now);
  if (claims.req !== digest(request)) throw new Problem("response-to-another", 502);
  checkBody(claims, body);
  return claims;
}

export async function sign(type, claims, { algorithm, privateKey, certificate }) {
  return new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader({ alg: algorithm, typ: type, "x5t#S256": thumbprint(certificate) })
    .sign(privateKey);
}
