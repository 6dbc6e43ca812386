package main_test

// forbidden arrows must never be drawn, neither directly nor over other
// packages. "node/..." stands for node and everything below it.
var forbidden = []struct{ from, to, reason string }{
	{"limiter/...", "store/...", "the limiter is pure arithmetic"},
	{"limiter/...", "httpapi/...", "the limiter is pure arithmetic"},
	{"limiter/...", "node/...", "the limiter is pure arithmetic"},
	{"store/...", "httpapi/...", "the replicated state knows no HTTP"},
	{"store/...", "node/...", "the state does not know who replicates it"},
	{"store", "store/local", "replicated state must not depend on one node's own"},
	{"node/replica", "httpapi/...", "consensus knows no HTTP"},
	{"node/cluster", "httpapi/...", "consensus knows no HTTP"},
	{"node/quota", "httpapi/...", "consensus knows no HTTP"},
	{"node/recovery", "httpapi/...", "consensus knows no HTTP"},
	{"node/mesh", "httpapi/...", "the wire between nodes is not the public API"},
	{"node/mesh", "store/...", "the wire between nodes carries bytes"},
	{"node/lease", "store/...", "the lease is a pure state machine"},
	{"node/lease", "httpapi/...", "the lease is a pure state machine"},
	{"httpapi/...", "node/...", "the HTTP layer reaches the node through interfaces of its own"},
	{"httpapi/admit", "httpapi", "admission serves every door, not only ours"},
	{"httpapi/proxy", "httpapi", "proxied traffic does not depend on the management API"},
	{"httpapi/manage", "httpapi", "the route table names the handlers, never the other way round"},
	{"httpapi/rest", "httpapi/manage", "the frame of a call knows no topic"},
	{"httpapi/fault", "store/...", "fault is a leaf"},
	{"httpapi/h1", "httpapi/fault", "h1 imports nothing of ours"},
	{"httpapi/client", "store/...", "clients know the public API only"},
	{"httpapi/cli", "store/...", "commands are clients of the public API"},
	{"httpapi/cli", "node/...", "commands are clients of the public API"},
	{"node/...", "node/nodetest", "test helpers are in no binary"},
	{".", "node/nodetest", "test helpers are in no binary"},
	{".", "httpapi/apitest", "test helpers are in no binary"},
	{".", "node/config/configtest", "test helpers are in no binary"},
	{".", "store/chaintest", "test helpers are in no binary"},
	{".", "store/logtest", "test helpers are in no binary"},
	{".", "store/losstest", "test helpers are in no binary"},
}

// leaves know nothing of the state, of HTTP and of the packages above them. A ban of
// "store/..." or "httpapi/..." does not mean them, except for pure packages.
var leaves = []string{"store/chain", "store/chain/export", "store/ids", "store/pack", "store/seal", "httpapi/iprange", "httpapi/span", "httpapi/invisible"}

// pure packages decide; they reach for nothing outside themselves.
var pure = map[string][]string{
	"limiter":        {"net", "os", "log", "math/rand", "syscall", "io", "crypto/rand"},
	"limiter/pool":   {"net", "os", "log", "math/rand", "syscall", "io", "crypto/rand"},
	"limiter/roster": {"net", "os", "log", "math/rand", "syscall", "io", "crypto/rand"},
	"limiter/share":  {"net", "os", "log", "math/rand", "syscall", "io", "crypto/rand"},
	"node/lease":     {"net", "os", "log", "math/rand", "syscall", "io", "crypto/rand"},
	"store/chain":    {"net", "os", "log", "math/rand", "syscall", "io", "crypto/rand"},
	"store/insight":  {"net", "os", "log", "math/rand", "syscall", "io", "crypto/rand"},
}
