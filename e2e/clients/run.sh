#!/usr/bin/env bash
# End-to-end checks with clients that nobody here wrote: curl, Python's requests,
# the npm openai SDK, got, ky, ws, standardwebhooks and svix. Needs them installed, except the npm packages, which it
# fetches into a scratch folder. Stops what it starts.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT

passed=0 failed=0
check() { # check NAME COMMAND…
  local name=$1; shift
  if "$@" >"$work/out" 2>&1; then
    passed=$((passed + 1)); echo "ok   $name: $(tail -n 1 "$work/out" | cut -c1-100)"
  else
    failed=$((failed + 1)); echo "FAIL $name"; sed 's/^/     /' "$work/out"
  fi
}

python=
for p in python3 /usr/bin/python3; do "$p" -c 'import requests' 2>/dev/null && python=$p && break; done
[ -n "$python" ] || { echo "Python's requests is missing: apt-get install python3-requests"; exit 1; }

CGO_ENABLED=0 go build -o "$work/perfgate" .
cp e2e/clients/* "$work/"
(cd "$work" && npm install --no-package-lock --no-audit --no-fund --loglevel=error >"$work/npm.log" 2>&1) || { cat "$work/npm.log"; exit 1; }

node "$work/upstream.mjs" >"$work/upstream" & pids+=($!)
for _ in $(seq 100); do [ -s "$work/upstream" ] && break; sleep 0.1; done

PERFGATE_WEBHOOKS_ALLOW_PRIVATE=127.0.0.1 "$work/perfgate" serve --data-dir "$work/data" --proxy-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
  --upstream "http://127.0.0.1:$(cat "$work/upstream")" 2>"$work/log" & pids+=($!)
addr() { sed -nE "s/.*$1 listening addr=([^ ]+).*/\1/p" "$work/log" 2>/dev/null || true; }
for _ in $(seq 300); do
  [ -n "$(addr admin)" ] && curl -fs "http://$(addr proxy)/readyz" >/dev/null && break; sleep 0.1
done
export PERF_URL="http://$(addr proxy)" ADMIN="http://$(addr admin)" OPERATOR
OPERATOR=$(cat "$work/data/operator.token")

key() { # key JSON: creates one and prints it
  curl -fsS "$ADMIN/v1/keys" -H "Authorization: Bearer $OPERATOR" -H "Content-Type: application/json" -d "$1" | jq -re .key
}
tight='"limits":{"requests_per_minute":60,"burst":2}'

# The user's curl examples. Each function's last line is its verdict.
chat() {
  curl -fsS "$PERF_URL/v1/chat" \
    -H "Authorization: Bearer $1" \
    -H "Content-Type: application/json" \
    -d '{"messages": [{"role": "user", "content": "Hello"}]}' | jq -e '.method == "POST" and (.headers | has("authorization") | not)'
}
audit() {
  (cd "$work" && curl -fsS "$PERF_URL/v1/audit-logs?start_date=2024-01-01" \
    -H "Authorization: Bearer $1" \
    -o audit-logs.json) && jq -e '[.data[].action] | index("key.create") != null and index("request") != null' "$work/audit-logs.json"
}
audit_day_of_nobody() {
  curl -fsS "$PERF_URL/v1/audit-logs?start_date=2024-01-01&end_date=2024-01-02" -H "Authorization: Bearer $1" | jq -e '.data == []'
}
backend_limit() { # the backend's isRateLimited(userId)
  local verdicts
  verdicts=$(for _ in 1 2 3; do
    curl -fsS "$PERF_URL/v1/ratelimit" -H "Authorization: Bearer $1" -H "Content-Type: application/json" \
      -d '{"identifier":"user-1","limit":2,"window":"60s"}' | jq -r .allowed
  done | paste -sd,)
  echo "$verdicts"; [ "$verdicts" = true,true,false ]
}

admin=$(key '{"name":"admin","type":"live","scopes":["admin"]}')
check "curl: chat" chat "$(key '{"name":"curl","type":"live"}')"
sleep 1.5 # requests reach the audit log within a second
check "curl: audit log" audit "$admin"
check "curl: audit log of an empty day" audit_day_of_nobody "$admin"
check "curl: ratelimit for a backend" backend_limit "$(key '{"name":"backend","type":"live","scopes":["limit"]}')"
export PERF_API_KEY
PERF_API_KEY=$(key "{\"name\":\"python\",\"type\":\"live\",$tight}")
check "requests: the retry sample" "$python" "$work/retry.py"
PERF_API_KEY=$(key "{\"name\":\"node\",\"type\":\"live\",$tight}")
check "openai SDK" node "$work/openai.mjs"
PERF_API_KEY=$(key '{"name":"ws","type":"live"}')
check "ws" timeout 120 node "$work/ws.mjs"
check "webhooks: verify_webhook" timeout 120 "$python" "$work/hooks.py"
check "webhooks: standardwebhooks and svix" timeout 120 node "$work/hooks.mjs"

# Three nodes that share their limits.
export PERFGATE_CLUSTER_SECRET=a-cluster-secret-of-tests-0123456789 PERFGATE_OPERATOR_TOKEN=pg_operator_token_of_the_client_tests
base=$((20000 + RANDOM % 10000))
join=127.0.0.1:$base,127.0.0.1:$((base + 1)),127.0.0.1:$((base + 2))
for n in 1 2 3; do
  "$work/perfgate" serve --data-dir "$work/n$n" --name "n$n" --proxy-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
    --cluster-listen "127.0.0.1:$((base + n - 1))" --join "$join" --expect 3 --upstream "http://127.0.0.1:$(cat "$work/upstream")" 2>"$work/log$n" & pids+=($!)
done
addr_of() { sed -nE "s/.*$1 listening addr=([^ ]+).*/\1/p" "$work/log$2" 2>/dev/null || true; }
NODES=
for n in 1 2 3; do
  for _ in $(seq 600); do
    [ -n "$(addr_of admin $n)" ] && curl -fs "http://$(addr_of proxy $n)/readyz" >/dev/null && break; sleep 0.1
  done
  NODES+="${NODES:+,}http://$(addr_of proxy $n)"
done
ADMIN="http://$(addr_of admin 1)"
key_of_account() { # key_of_account PER_MINUTE BURST: a key of a new account with this limit
  local account
  account=$(curl -fsS "$ADMIN/v1/accounts" -H "Authorization: Bearer $PERFGATE_OPERATOR_TOKEN" -H "Content-Type: application/json" \
    -d "{\"name\":\"a\",\"tier\":\"enterprise\",\"limits\":{\"requests_per_minute\":$1,\"burst\":$2}}" | jq -re .id)
  curl -fsS "$ADMIN/v1/keys" -H "Authorization: Bearer $PERFGATE_OPERATOR_TOKEN" -H "X-Perf-Account: $account" -H "Content-Type: application/json" \
    -d '{"name":"k","type":"live"}' | jq -re .key
}
export NODES
for client in OPENAI GOT KY; do
  export "BELOW_$client=$(key_of_account 300 30)" "ABOVE_$client=$(key_of_account 60 4)"
done
check "openai, got and ky over three nodes" timeout 120 node "$work/three.mjs"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] || { tail -n 50 "$work"/log*; exit 1; }
