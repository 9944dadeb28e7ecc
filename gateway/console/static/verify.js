// Verifies a proof in the browser, with the browser's own cryptography and nothing from the server but the proof.
// RFC 6962 (leaf and node hashes, inclusion), C2SP signed notes (Ed25519) and cosignatures (Ed25519).

const encoder = new TextEncoder();

function bytes(base64) {
  const raw = atob(base64);
  return Uint8Array.from(raw, (character) => character.charCodeAt(0));
}

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function sha256(data) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

function same(one, other) {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

const leaf = (entry) => sha256(joined(Uint8Array.of(0), entry));
const node = (left, right) => sha256(joined(Uint8Array.of(1), left, right));

// RFC 9162 section 2.1.3.2; indices may exceed 2^31, so shifts are done by division.
async function rootFrom(hash, index, size, proof) {
  let position = index;
  let last = size - 1;
  const half = (value) => Math.floor(value / 2);
  for (const step of proof) {
    if (last === 0) throw new Error("too long");
    if (position % 2 === 1 || position === last) {
      hash = await node(step, hash);
      while (position % 2 === 0 && position !== 0) {
        position = half(position);
        last = half(last);
      }
    } else {
      hash = await node(hash, step);
    }
    position = half(position);
    last = half(last);
  }
  if (last !== 0) throw new Error("too short");
  return hash;
}

function parseKey(text) {
  const [name, hint, ...rest] = text.trim().split("+");
  const data = bytes(rest.join("+"));
  return { name, hint, type: data[0], key: data.slice(1) };
}

async function hintOf(key) {
  const digest = await sha256(joined(encoder.encode(key.name + "\n"), Uint8Array.of(key.type), key.key));
  return digest.slice(0, 4);
}

function parseNote(note) {
  const cut = note.lastIndexOf("\n\n");
  if (cut < 0) throw new Error("not a note");
  const text = note.slice(0, cut + 1);
  const [origin, size, root, end] = text.split("\n");
  if (end !== "" || !/^(0|[1-9][0-9]{0,15})$/.test(size)) throw new Error("not a checkpoint");
  const lines = note.slice(cut + 2).split("\n").filter(Boolean).map((line) => {
    const parts = /^— (\S+) ([A-Za-z0-9+/=]+)$/.exec(line);
    if (!parts) throw new Error("not a signature line");
    const data = bytes(parts[2]);
    return { name: parts[1], hint: data.slice(0, 4), signature: data.slice(4) };
  });
  return { text, origin, size: Number(size), root: bytes(root), lines };
}

async function ed25519(key, signature, message) {
  const known = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, known, signature, message);
}

async function lineOf(note, key) {
  const hint = await hintOf(key);
  return note.lines.find((line) => line.name === key.name && same(line.hint, hint));
}

// Each step: [name, outcome], outcome true, false or null where the browser cannot say.
export async function verify(proof, trusted) {
  const steps = [];
  const note = parseNote(proof.checkpoint);
  if (!proof.entries.length) throw new Error("no entries");
  for (const item of proof.entries) {
    const hash = await leaf(encoder.encode(item.entry));
    steps.push(["entry", true]);
    let holds = false;
    try {
      const index = item.index;
      if (!Number.isSafeInteger(index) || index < 0 || index >= note.size) throw new Error("no such index");
      holds = same(await rootFrom(hash, index, note.size, item.proof.map(bytes)), note.root);
    } catch {
      holds = false;
    }
    steps.push(["path", holds]);
  }
  const key = parseKey(trusted || proof.log_key);
  const own = await lineOf(note, key);
  steps.push(["seal", Boolean(own) && key.name === note.origin && key.type === 1 && await ed25519(key.key, own.signature, encoder.encode(note.text))]);
  for (const text of proof.witness_keys || []) {
    const witness = parseKey(text);
    const line = await lineOf(note, witness);
    if (!line) continue;
    if (witness.type !== 4) {
      steps.push(["witness-later", null, witness.name]);
      continue;
    }
    const seconds = new DataView(line.signature.buffer, line.signature.byteOffset).getBigUint64(0);
    const message = encoder.encode(`cosignature/v1\ntime ${seconds}\n${note.text}`);
    steps.push(["witness", await ed25519(witness.key, line.signature.slice(8), message), witness.name]);
  }
  return steps;
}

const list = document.getElementById("checks");
const verdict = document.getElementById("verdict");

async function show(load, trusted) {
  list.replaceChildren();
  list.hidden = false;
  verdict.className = "verdict";
  verdict.textContent = list.dataset.running;
  try {
    const steps = await verify(await load(), trusted);
    const shown = steps.length > 40 ? steps.filter(([, holds]) => holds !== true).concat(steps.slice(-3)) : steps;
    for (const [name, holds, who] of shown) {
      const item = document.createElement("li");
      item.className = holds === null ? "open" : holds ? "good" : "bad";
      item.textContent = list.dataset["step" + name.replace(/(^|-)(\w)/g, (_, dash, letter) => letter.toUpperCase())] + (who ? ` (${who})` : "");
      list.append(item);
    }
    const sound = steps.every(([, holds]) => holds !== false);
    verdict.classList.add(sound ? "good" : "bad");
    verdict.textContent = sound ? list.dataset.good : list.dataset.bad;
  } catch {
    verdict.classList.add("bad");
    verdict.textContent = list.dataset.failed;
  }
}

const button = document.getElementById("verify");
if (button) {
  button.addEventListener("click", () =>
    show(async () => (await fetch(list.dataset.proof, { headers: { accept: "application/json" } })).json(), list.dataset.key));
}

const file = document.getElementById("file");
if (file) {
  const key = document.getElementById("key");
  const run = () => file.files.length && show(async () => JSON.parse(await file.files[0].text()), key.value);
  file.addEventListener("change", run);
  key.addEventListener("change", run);
}
