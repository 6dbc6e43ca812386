// Package config loads the configuration of a node: defaults < file < environment
// < flags.
//
// One table, settings, lists every key with its default, its flag and its help;
// the name of the environment variable follows from the flag. Each layer is
// checked by itself, names and types, before it is laid over the others: a number
// is never taken for a duration, and an unknown key is an error. Then the values
// are checked, each by itself and those that depend on each other.
//
// All faults are gathered, not only the first. Each is a [UsageError] that names
// its source (file, variable or flag), key and value and ends the process with
// exit code 2; values that may be secret are never in one.
//
// A [Config] is immutable after [Load]. A reload loads another one; [Changed] and
// [NeedRestart] compare two.
//
// The package knows the form of routes and not their meaning: package node compiles
// them with httpapi/proxy. Of the HTTP side it needs only the leaves httpapi/iprange,
// the one grammar of address ranges, and httpapi/span, that of durations and sizes. It has no
// goroutines and no state.
package config
