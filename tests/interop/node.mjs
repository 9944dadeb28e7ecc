// A second, tiny node, from docs/protocol.md: `node node.mjs CONFIG.json`. Its peer face speaks the protocol; its control
// face, plain HTTP on loopback, lets a test tell it what to ask or deliver and see what it was brought. It reads the
// registry's published files as they lie in a folder: their TUF signatures are a TUF client's business.
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import tls from "node:tls";
import { checkBody, digest, openRequest, openResponse, Problem, REQUEST, RESPONSE, sign, thumbprint } from "./protocol.mjs";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const registry = readRegistry(config.registry);
const seconds = () => Math.floor(Date.now() / 1000);
const taken = new Map(); // jti -> until when it is remembered; one process, so memory will do for a test
const received = new Map(); // sender and delivery -> receipt and document
const log = { origin: `yhdyspinta/${config.node}`, size: 0, root: Buffer.alloc(32).toString("base64") };
const memberOf = (id) => id.split("/").slice(0, 3).join("/");
const subsystemOf = (service) => service.split("/").slice(0, 4).join("/");

const signing = {
  certificate: new X509Certificate(readFileSync(config.signing.certificate)).raw,
  privateKey: createPrivateKey({ key: readFileSync(config.signing.key), passphrase: config.passphrase }),
};
signing.algorithm = signing.privateKey.asymmetricKeyType === "ed25519" ? "EdDSA" : "ES256";
const tlsOptions = {
  cert: readFileSync(config.tls.certificate), key: readFileSync(config.tls.key), passphrase: config.passphrase,
  ca: registry.anchors, minVersion: "TLSv1.3",
};

function readRegistry(folder) {
  const metadata = (name) => JSON.parse(readFileSync(`${folder}/metadata/${name}.json`, "utf8")).signed;
  const snapshot = metadata(`${metadata("timestamp").meta["snapshot.json"].version}.snapshot`);
  const files = {};
  for (const role of ["targets", "members"]) {
    for (const [name, about] of Object.entries(metadata(`${snapshot.meta[`${role}.json`].version}.${role}`).targets)) {
      if (name.endsWith(".json")) {
        files[name] = JSON.parse(readFileSync(`${folder}/targets/${about.hashes.sha256}.${name}`, "utf8"));
      }
    }
  }
  const found = { keys: new Map(), pins: new Map(), nodesOf: new Map(), services: new Map() };
  found.anchors = files["network.json"].anchors.map((one) => new X509Certificate(Buffer.from(one, "base64")).toString());
  const anchors = found.anchors.map((one) => new X509Certificate(one));
  for (const member of files["members.json"].members) {
    for (const one of member.signing) {
      const certificate = new X509Certificate(Buffer.from(one.certificate, "base64"));
      if (!anchors.some((anchor) => certificate.checkIssued(anchor) && certificate.verify(anchor.publicKey))) continue;
      const times = [one.from, one.until, certificate.validFrom, certificate.validTo].map((text) => Date.parse(text) / 1000);
      found.keys.set(thumbprint(certificate.raw), {
        member: member.id, algorithm: one.algorithm, publicKey: certificate.publicKey,
        notBefore: Math.max(times[0], times[2]), notAfter: Math.min(times[1], times[3]),
      });
    }
  }
  for (const node of files["members.json"].nodes) {
    node.speaksFor = new Set([node.owner, ...(node.serves ?? [])]);
    for (const pin of node.pins) found.pins.set(pin, node);
    for (const member of node.speaksFor) found.nodesOf.set(member, node);
  }
  for (const { subsystem, services } of files["services.json"].subsystems) {
    for (const one of services) found.services.set(`${subsystem}/${one.code}`, one);
  }
  return found;
}

// --- The peer face

async function receive(request, body) {
  const messages = request.rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === "message");
  if (messages.length === 0) throw new Problem("message-missing");
  if (messages.length > 1) throw new Problem("message-repeated");
  if ((request.headers["content-encoding"] ?? "identity") !== "identity") {
    throw new Problem("unsupported-content-encoding", 415);
  }
  const node = registry.pins.get(thumbprint(request.socket.getPeerCertificate().raw));
  if (!node) throw new Problem("tls-certificate-unknown", 401);
  const now = seconds();
  const jws = request.headers.message;
  const claims = await openRequest(jws, {
    keys: (name) => registry.keys.get(name), offered: (service) => subsystemOf(service) === config.subsystem,
    peerMembers: (member) => node.speaksFor.has(member), now,
  });
  if (taken.has(claims.jti)) throw new Problem("message-replayed", 409);
  taken.set(claims.jti, claims.exp + 7200);
  checkBody(claims, body);
  if (request.headers["content-type"] !== claims.cty) throw new Problem("content-type-mismatch");
  // From here on the sender is known, and gets a signed answer whatever happens.
  try {
    return await answer(jws, claims, serve(claims, JSON.parse(body.toString("utf8"))));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return answer(jws, claims, { status: error.status, type: "application/problem+json", document: problem(error) });
  }
}

const problem = (error) => ({
  type: `urn:yhdyspinta:problem:${error.code}`, title: error.code, status: error.status, code: error.code,
});

function serve(claims, document) {
  const service = registry.services.get(claims.aud);
  if (!service) throw new Problem("service-unknown", 404);
  if (!service.purposes.includes(claims.pur)) throw new Problem("purpose-not-declared", 403);
  if (service.kind === "query") {
    const record = config.records?.find((one) => one.system === document.subject?.system && one.value === document.subject.value);
    if (!record) throw new Problem("not-available", 404);
    const permitted = claims.cat.filter((category) => record.permitted.includes(category));
    const withheld = Object.fromEntries(
      claims.cat.filter((category) => !permitted.includes(category)).map((category) => [category, "no-basis"]));
    const dec = { id: `js-${randomBytes(8).toString("hex")}`, dig: digest("decided"), per: permitted, wit: withheld };
    return { status: 200, type: "application/fhir+json", document: record.bundle, dec };
  }
  const delivery = document.delivery ?? document.notice;
  const key = `${claims.iss}#${delivery}`;
  if (!received.has(key)) {
    const receipt = { receipt: claims.jti, delivery, received: Date.now() * 1000, digest: claims.dig };
    received.set(key, { receipt, sender: claims.iss, service: claims.aud, purpose: claims.pur, categories: claims.cat, document });
  }
  const { receipt } = received.get(key);
  return service.kind === "acceptance"
    ? { status: 200, type: "application/json", document: { delivery, accepted: receipt.received } }
    : { status: 200, type: "application/json", document: receipt };
}

async function answer(request, claims, { status, type, document, dec }) {
  const body = Buffer.from(JSON.stringify(document));
  const said = {
    iss: claims.aud, aud: claims.iss, iat: seconds(), req: digest(request), sts: status, cty: type, dig: digest(body), log,
  };
  const message = await sign(RESPONSE, dec ? { ...said, dec } : said, signing);
  return { status, headers: { Message: message, "Content-Type": type }, body };
}

// --- Asking

function uuid7() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

async function send({ service, purpose, categories, document, changes = {} }) {
  const body = Buffer.from(JSON.stringify(document));
  const now = seconds();
  const claims = {
    iss: config.subsystem, aud: service, jti: uuid7(), iat: now, exp: now + 60, mth: "POST", tgt: "/",
    cty: "application/json", dig: digest(body), pur: purpose, cat: categories, rul: "none", log, ...changes,
  };
  const request = await sign(REQUEST, claims, signing);
  const node = registry.nodesOf.get(memberOf(service));
  const reply = await post(node, request, body);
  const message = reply.headers.message;
  if (message === undefined) return { signed: false, status: reply.status, body: parsed(reply.body) };
  const said = await openResponse(message, reply.body, {
    keys: (name) => registry.keys.get(name), request, service, consumer: config.subsystem, now: seconds(),
  });
  return { signed: true, status: said.sts, decision: said.dec, message_id: claims.jti, body: parsed(reply.body) };
}

const parsed = (body) => (body.length ? JSON.parse(body.toString("utf8")) : null);

function post(node, message, body) {
  const address = new URL(node.address);
  return new Promise((resolve, reject) => {
    const request = https.request({
      host: address.hostname, port: address.port, path: "/peer/v1/messages", method: "POST", ...tlsOptions,
      agent: false, servername: node.id,
      // Runs as the handshake ends, before a byte of the message is sent.
      checkServerIdentity: (_host, certificate) =>
        tls.checkServerIdentity(node.id, certificate) ??
        (node.pins.includes(thumbprint(certificate.raw)) ? undefined : new Error("not a certificate of this node")),
      headers: { Message: message, "Content-Type": "application/json", "Content-Length": body.length },
    }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

// --- The two listeners

function listener(handle) {
  return (request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", async () => {
      try {
        const { status, headers, body } = await handle(request, Buffer.concat(parts));
        response.writeHead(status, headers).end(body);
      } catch (error) {
        const shown = error instanceof Problem ? error : new Problem("internal-error", 500);
        if (shown !== error) console.error(error);
        response.writeHead(shown.status, { "Content-Type": "application/problem+json" }).end(JSON.stringify(problem(shown)));
      }
    });
  };
}

async function control(request, body) {
  const json = (document) => ({ status: 200, headers: { "Content-Type": "application/json" }, body: JSON.stringify(document) });
  if (request.url === "/up") return json({});
  if (request.url === "/received") return json([...received.values()]);
  if (request.url === "/send") {
    try {
      return json(await send(JSON.parse(body.toString("utf8"))));
    } catch (error) {
      return json({ failed: error.code ?? error.message });
    }
  }
  if (request.url === "/records") {
    config.records = JSON.parse(body.toString("utf8"));
    return json({});
  }
  throw new Problem("not-found", 404);
}

https
  .createServer({ ...tlsOptions, requestCert: true, rejectUnauthorized: true, maxHeaderSize: 65536 }, listener(receive))
  .listen(config.port, "127.0.0.1");
http.createServer(listener(control)).listen(config.control, "127.0.0.1");
