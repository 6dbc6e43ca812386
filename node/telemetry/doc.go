// Package telemetry sends the metrics of a node to a collector by OTLP over HTTP. They are
// those of /metrics, read from the same registry, so that the two cannot differ.
//
// [Run] is the caller's goroutine: it gathers and sends, one message at a time, every
// [Interval]. Nothing on the path of a request knows of it. A collector that does not answer
// costs one connection and one message in memory; what it misses is in the next message, since
// counters are sent with their totals.
package telemetry
