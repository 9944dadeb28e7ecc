// Runs the published vectors against the second implementation: `node vectors.mjs FOLDER`. Prints what differs.
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { checkBody, identifier, openRequest, openResponse, printed, Problem, thumbprint } from "./protocol.mjs";

const folder = process.argv[2];
const read = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));
const vectors = Object.fromEntries(["keys", "requests", "responses", "replays", "identifiers"].map((name) => [name, read(name)]));

const listed = new Map(vectors.keys.listed.map((one) => {
  const certificate = Buffer.from(one.certificate, "base64");
  const key = {
    member: one.member, algorithm: one.algorithm, publicKey: new X509Certificate(certificate).publicKey,
    notBefore: one.not_before, notAfter: one.not_after,
  };
  return [thumbprint(certificate), key];
}));
const keys = (name) => listed.get(name);
const differences = [];
let ran = 0;

async function expect(place, wanted, act) {
  ran += 1;
  let found = { result: "accepted" };
  try {
    await act();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    found = { result: error.code, status: error.status };
  }
  if (found.result !== wanted.result || found.status !== wanted.status) differences.push({ place, wanted, found });
}

const outcome = ({ result, status }) => ({ result, status });
const message = (one) => one.message ?? one.repeat[0].repeat(one.repeat[1]);

for (const one of vectors.requests.cases) {
  await expect(`request ${one.step}: ${one.name}`, outcome(one), async () => {
    const claims = await openRequest(message(one), {
      keys, offered: (service) => vectors.requests.offered.includes(service),
      peerMembers: (member) => one.peer_members.includes(member), now: one.now,
    });
    checkBody(claims, Buffer.from(one.body, "base64"));
  });
}
for (const one of vectors.responses.cases) {
  const { request, service, consumer, now } = one;
  await expect(`response ${one.name}`, outcome(one), () =>
    openResponse(one.message, Buffer.from(one.body, "base64"), { keys, request, service, consumer, now }));
}
for (const one of vectors.replays.cases) {
  const taken = new Set();
  for (const [number, step] of one.steps.entries()) {
    await expect(`replay ${one.name}, step ${number + 1}`, outcome(step), async () => {
      const claims = await openRequest(step.message, {
        keys, offered: (service) => vectors.replays.offered.includes(service),
        peerMembers: (member) => vectors.replays.peer_members.includes(member), now: step.now,
      });
      if (taken.has(claims.jti)) throw new Problem("message-replayed", 409);
      checkBody(claims, Buffer.from(step.body, "base64"));
      taken.add(claims.jti);
    });
  }
}
for (const one of vectors.identifiers.cases) {
  ran += 1;
  let parts = null;
  try {
    parts = identifier(one.text, 5);
    if (printed(parts) !== one.text) parts = "another spelling";
  } catch {
    parts = null;
  }
  if (JSON.stringify(parts) !== JSON.stringify(one.parts)) differences.push({ place: `identifier ${one.text}`, parts });
}
console.log(JSON.stringify({ ran, differences }, null, 1));
process.exitCode = differences.length === 0 ? 0 : 1;
