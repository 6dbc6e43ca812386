// The openai SDK, got and ky, unchanged, spread over three nodes that share a limit: a client
// below its limit is never refused, and above it each waits out its 429s and finishes.
import assert from "node:assert/strict";
import OpenAI from "openai";
import got from "got";
import ky from "ky";

const nodes = process.env.NODES.split(",");
const message = { model: "echo", messages: [{ role: "user", content: "Hello" }] };
const url = (i) => `${nodes[i % nodes.length]}/v1/chat/completions`;
const content = (answer) => answer.choices[0].message.content;

// Each returns a function that makes request i and resolves to its answer, and counts the 429s.
const clients = {
  openai: (key, refused) => {
    const fetchOnce = async (...args) => {
      const res = await fetch(...args);
      if (res.status === 429) refused.n++;
      return res;
    };
    const at = nodes.map((n) => new OpenAI({ apiKey: key, baseURL: `${n}/v1`, maxRetries: 5, fetch: fetchOnce }));
    return async (i) => content(await at[i % at.length].chat.completions.create(message));
  },
  got: (key, refused) => async (i) => content(await got.post(url(i), {
    json: message, headers: { authorization: `Bearer ${key}` },
    retry: { limit: 5, methods: ["POST"] }, hooks: { beforeRetry: [(err) => { if (err.response?.statusCode === 429) refused.n++; }] },
  }).json()),
  ky: (key, refused) => async (i) => content(await ky.post(url(i), {
    json: message, headers: { authorization: `Bearer ${key}` }, timeout: 30000,
    retry: { limit: 5, methods: ["post"] }, hooks: { afterResponse: [(first, options, res) => { const r = res ?? first.response; if (r?.status === 429) refused.n++; }] },
  }).json()),
};

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// BELOW: 80 % of 300 a minute, from the beginning, over all nodes.
async function below(name, make, key) {
  const refused = { n: 0 };
  const ask = make(key, refused);
  const calls = [];
  for (let i = 0; i < 32; i++) {
    calls.push(ask(i));
    await wait(250);
  }
  for (const answer of await Promise.all(calls)) assert.equal(answer, "Hello");
  assert.equal(refused.n, 0, `${name} was refused below its limit`);
  return `${name}: 32 below its limit`;
}

// ABOVE: more at once than the burst of 4 holds; 60 a minute refill it.
async function above(name, make, key) {
  const refused = { n: 0 };
  const ask = make(key, refused);
  const answers = await Promise.all([...Array(7).keys()].map((i) => ask(i)));
  for (const answer of answers) assert.equal(answer, "Hello");
  assert.ok(refused.n > 0, `${name} never met a 429: the check shows nothing`);
  return `${name}: 7 above it, ${refused.n} waits`;
}

const done = await Promise.all(Object.entries(clients).flatMap(([name, make]) => [
  below(name, make, process.env[`BELOW_${name.toUpperCase()}`]),
  above(name, make, process.env[`ABOVE_${name.toUpperCase()}`]),
]));
console.log(done.join("; "));
