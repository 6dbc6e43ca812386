#!/usr/bin/env bash
# Builds the image, runs it without a network of its own, and uses it: health
# check, the printed curl line, CLI inside, clean stop. Needs podman and runc.
set -euo pipefail
cd "$(dirname "$0")/.."

podman=(podman --runtime runc --cgroup-manager cgroupfs)
image=perfgate-e2e-$$ name=perfgate-e2e-$$
cleanup() {
  "${podman[@]}" rm -f "$name" >/dev/null 2>&1 || true
  "${podman[@]}" rmi -f "$image:test" "$image:latest" >/dev/null 2>&1 || true
}
trap cleanup EXIT
fail() { echo "FAIL image: $1"; "${podman[@]}" logs "$name" 2>&1 | tail -n 30; exit 1; }

make -s image IMAGE="$image" VERSION=test >/dev/null
"${podman[@]}" run -d --name "$name" --network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
  -e PERFGATE_PROXY_LISTEN=127.0.0.1:0 -e PERFGATE_ADMIN_LISTEN="127.0.0.1:$((20000 + $$ % 10000))" "$image:test" >/dev/null 2>&1

line=
for _ in $(seq 150); do
  line=$("${podman[@]}" logs "$name" 2>&1 | grep -o 'curl http.*') && break
  sleep 0.2
done
[ -n "$line" ] || fail "no curl line"
"${podman[@]}" exec "$name" /perfgate health >/dev/null || fail "perfgate health"
eval "$line -fsS" | jq -e '.path == "/hello"' >/dev/null || fail "the printed line"
"${podman[@]}" exec "$name" /perfgate keys list --json | jq -e '.data[0].name == "demo"' >/dev/null || fail "the CLI inside"
[ "$("${podman[@]}" inspect -f '{{.Config.User}}' "$name")" = 65532:65532 ] || fail "it runs as root"
"${podman[@]}" stop -t 15 "$name" >/dev/null 2>&1
[ "$("${podman[@]}" inspect -f '{{.State.ExitCode}}' "$name")" = 0 ] || fail "exit code"
echo "ok   image: $(du -h dist/perfgate | cut -f1), health, curl line, CLI, clean stop"
