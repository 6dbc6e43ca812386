// The openai SDK, unchanged, with its baseURL at the gateway: it waits out a
// 429 by itself and then gets its answer.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ apiKey: process.env.PERF_API_KEY, baseURL: `${process.env.PERF_URL}/v1`, maxRetries: 3 });
const ask = () => client.chat.completions.create({ model: "echo", messages: [{ role: "user", content: "Hello" }] });

let limited = 0;
const fetchOnce = globalThis.fetch;
client.fetch = async (...args) => {
  const res = await fetchOnce(...args);
  if (res.status === 429) limited++;
  return res;
};
for (let i = 0; i < 3; i++) {
  assert.equal((await ask()).choices[0].message.content, "Hello");
}
assert.ok(limited > 0, "the SDK never met a 429: the check shows nothing");

const impatient = new OpenAI({ apiKey: process.env.PERF_API_KEY, baseURL: `${process.env.PERF_URL}/v1`, maxRetries: 0 });
await assert.rejects(async () => { for (let i = 0; i < 5; i++) await impatient.models.list(); }, (err) => {
  assert.ok(err instanceof OpenAI.RateLimitError, String(err));
  assert.equal(err.code ?? err.error?.code, "requests_per_minute");
  return true;
});
const stranger = new OpenAI({ apiKey: "pk_live_wrong", baseURL: `${process.env.PERF_URL}/v1`, maxRetries: 0 });
await assert.rejects(() => stranger.models.list(), (err) => err instanceof OpenAI.AuthenticationError);
console.log(`openai SDK: 3 answers, ${limited} waits`);
