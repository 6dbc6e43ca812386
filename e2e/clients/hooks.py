"""A receiver of webhooks with the user's own verify_webhook, word for word."""
import http.server
import json
import os
import threading
import time
import urllib.request

# --- the sample begins
import hmac
import hashlib

def verify_webhook(payload, signature, secret):
    expected = hmac.new(
        secret.encode(),
        payload.encode(),
        hashlib.sha256
    ).hexdigest()

    return hmac.compare_digest(expected, signature)
# --- the sample ends

seen, bad, secret = {}, [], None
# The secret comes with the answer to the creation, after which the first notice may arrive.
known = threading.Event()

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        known.wait(30)
        if verify_webhook(body, self.headers.get("X-Perf-Signature"), secret):
            seen[self.headers["webhook-id"]] = json.loads(body)["type"]
        else:
            bad.append(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass

def call(method, path, body=None):
    request = urllib.request.Request(
        os.environ["ADMIN"] + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + os.environ["OPERATOR"], "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
hook = call("POST", "/v1/webhooks", {"url": "http://127.0.0.1:%d/hook" % server.server_port})
secret = hook["secret"]
known.set()
assert call("POST", "/v1/webhooks/%s/test" % hook["id"])["state"] == "delivered"
# The old secret signs until the rotation's overlap ends.
call("POST", "/v1/webhooks/%s/rotate-secret" % hook["id"], {"overlap": "1h"})
for i in range(20):
    key = call("POST", "/v1/keys", {"name": "Schlüssel %d" % i, "type": "test"})
    call("POST", "/v1/keys/%s/revoke" % key["id"], {"reason": "✓"})
end = time.monotonic() + 60
while len(seen) + len(bad) < 41 and time.monotonic() < end:
    time.sleep(0.1)
call("DELETE", "/v1/webhooks/" + hook["id"])
types = sorted(set(seen.values()))
print("%d notices verified, %d not: %s" % (len(seen), len(bad), ", ".join(types)))
assert len(seen) == 41 and not bad and types == ["key.created", "key.revoked", "webhook.test"], (len(seen), bad)
