// Package apitest runs the whole API in memory for tests: [New] builds it on real
// stores and serves both listeners, with a cluster of one that a test can make
// fail. Every answer that a test gets is checked against openapi.yaml and against
// the rules that hold for all answers. No binary contains this package.
package apitest
