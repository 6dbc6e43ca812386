// Package audit reads the audit log over all nodes, and keeps its heads.
//
// The events of changes are in the replicated state, those of requests on the nodes
// that served them. A reading asks every member for a session, merges the streams by
// time, and names the nodes that did not answer. A node keeps few sessions, for a
// bounded time, and sends their events in parts of bounded size, so that no node holds
// an answer in memory.
//
// Each minute, every node seals its events and puts the head of its stream into the
// replicated state, which signs it; the leader does so for the changes. A reading that
// is to be proven does the same first, so that the proof covers all of it.
//
// # Goroutines and locks
//
// [Log.Run] is one goroutine. Everything else runs in its callers'. sessions.mu guards
// the table of sessions, and each session has a lock that is held while it makes a part;
// they are never held together.
package audit
