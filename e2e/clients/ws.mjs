// The ws package, unchanged, on both sides of the gateway: large messages, with and
// without compression, pings and close codes pass both ways, and only a key opens a tunnel.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import WebSocket from "ws";

const url = process.env.PERF_URL.replace("http", "ws") + "/ws";
const headers = { Authorization: `Bearer ${process.env.PERF_API_KEY}` };
const open = async (options) => {
  const ws = new WebSocket(url, "echo", { headers, maxPayload: 64 << 20, ...options });
  await once(ws, "open");
  assert.equal(ws.protocol, "echo");
  return ws;
};
const ended = async (ws) => {
  const [code, reason] = await once(ws, "close");
  return `${code} ${reason}`;
};

let octets = 0;
for (const perMessageDeflate of [false, true]) {
  const ws = await open({ perMessageDeflate });
  assert.equal(ws.extensions.includes("permessage-deflate"), perMessageDeflate);
  for (const message of [Buffer.alloc(0), randomBytes(1 << 20), randomBytes(32 << 20), Buffer.alloc(32 << 20, "perfgate")]) {
    ws.send(message);
    const [got, binary] = await once(ws, "message");
    assert.ok(binary && message.equals(got), `${message.length} octets came back as ${got.length}`);
    octets += got.length;
  }
  ws.send("a text, ", { fin: false }); // in fragments
  ws.send("☺", { fin: true });
  const [text, binary] = await once(ws, "message");
  assert.ok(!binary && String(text) === "a text, ☺", String(text));
  ws.ping("are you there?");
  assert.equal(String((await once(ws, "pong"))[0]), "are you there?");
  ws.send("ping"); // the upstream pings, and tells what the client answers
  assert.equal(String((await once(ws, "message"))[0]), "pong: and you?");
  ws.close(4001, "bye");
  assert.equal(await ended(ws), "4001 bye");
}

let ws = await open();
ws.send("close");
assert.equal(await ended(ws), "4002 had enough");
ws = await open();
ws.send("drop"); // without a close frame
assert.equal(await ended(ws), "1006 ");

// A refusal is an answer of HTTP; POST opens no tunnel.
ws = new WebSocket(url);
const [, refused] = await once(ws, "unexpected-response");
assert.equal(refused.statusCode, 401);
ws.on("error", () => {}).terminate();
const post = http.request(process.env.PERF_URL + "/ws", {
  method: "POST",
  headers: { ...headers, Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" },
});
post.on("upgrade", () => assert.fail("a POST became a tunnel")).end();
const [answer] = await once(post, "response");
assert.equal(answer.statusCode, 200);
answer.resume();

console.log(`ws: ${octets >> 20} MiB each way, pings, 3 kinds of close`);
