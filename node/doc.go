// Package node assembles a running server and owns its life: configuration,
// listeners and TLS, the replicated log and its driver, start, reload and stop.
//
// Configuration is defaults < file < environment < flags ([Load]). It is checked
// whole before anything starts; every fault is a [UsageError] that names its
// source, key and value. A node that runs is changed by [Reloader] alone:
// everything is prepared first, then swapped, so that a bad file changes nothing.
package node
