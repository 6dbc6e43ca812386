// A stand-in for the API behind the gateway: answers chat completions in the
// form that the clients expect, says what it got, and echoes WebSocket messages.
import http from "node:http";
import { WebSocketServer } from "ws";

const server = http.createServer((req, res) => {
  let body = "";
  req.on("data", (chunk) => (body += chunk));
  req.on("end", () => {
    res.setHeader("Content-Type", "application/json");
    if (req.url.endsWith("/chat/completions")) {
      return res.end(JSON.stringify({
        id: "chatcmpl-1", object: "chat.completion", created: 1, model: "echo",
        choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "Hello" } }],
        usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
      }));
    }
    res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, body }));
  });
});
new WebSocketServer({ server, maxPayload: 64 << 20, perMessageDeflate: true }).on("connection", (ws) => {
  ws.on("pong", (data) => ws.send(`pong: ${data}`));
  ws.on("message", (data, binary) => {
    if (binary) return ws.send(data);
    switch (String(data)) {
      case "ping": return ws.ping("and you?");
      case "close": return ws.close(4002, "had enough");
      case "drop": return ws.terminate();
      default: ws.send(String(data));
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
