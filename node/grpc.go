package node

import (
	"context"
	"fmt"

	"github.com/perfgate/perfgate/httpapi/door"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/serve"
)

// grpcDoor is the listener at which other proxies ask by gRPC, and what answers there.
type grpcDoor struct {
	door   *door.GRPC
	server *serve.GRPC
}

// openGRPC binds the listener for gRPC if one is configured. Off loopback it has the
// certificate of the proxy listener, if there is one.
func openGRPC(ctx context.Context, n *Node) error {
	c := n.config.Doors
	if c.GRPCListen == "" {
		return nil
	}
	d := door.NewGRPC(n.Ready, n.log)
	s := serve.GRPCConfig{Addr: c.GRPCListen, From: c.ForwardAuthFrom, Register: d.Register, Intercept: d.Intercept, Logger: n.log}
	if !config.Loopback(c.GRPCListen) {
		s.Certs = n.proxyListener.certs
	}
	n.grpc = &grpcDoor{d, serve.NewGRPC(s)}
	if err := n.grpc.server.Open(ctx); err != nil {
		return n.config.Fault("doors.grpc_listen", err.Error())
	}
	go func() {
		if err := n.grpc.server.Run(); err != nil {
			n.fatal(fmt.Errorf("serve the gRPC listener: %w", err))
		}
	}()
	n.cleanup("gRPC listener", func(context.Context) error { return n.grpc.server.Close() })
	return nil
}

// shutdowns end the listeners of a node, by name, once their calls in progress have ended.
func shutdowns(n *Node) map[string]func(context.Context) error {
	out := map[string]func(context.Context) error{}
	for _, l := range n.listeners() {
		out[l.name] = l.server.Shutdown
	}
	if n.grpc != nil {
		out["grpc"] = n.grpc.server.Shutdown
	}
	return out
}
