// Package h1 speaks HTTP/1.1 (RFC 9112), and nothing else: octets come in, messages go
// out. Of ours it imports package loop alone.
//
// # The idea
//
// Every message has exactly one reading, or it is refused. Two programs that read the
// same octets differently are what request smuggling lives on, so nothing is repaired:
// lines end in CRLF, names are tokens, values hold no control octets, no line is folded,
// and a body has one framing. A fault is found at its octet, without waiting for more.
//
// # The codec
//
// A scanner checks the octets of a head, or of a trailer section, as they arrive;
// readHead returns the section once it is whole, as one text, and [Fields] are parts of
// it: a list, in which a name is found by comparing, because heads have few fields. A
// chunkedReader decodes a body, a chunkedWriter encodes one. A fault of the peer is an
// [*Error], which says how to answer it.
//
// # The server
//
// A [Server] serves any [http.Handler] as net/http's server does: handlers, their
// response controllers, trailers and interim answers keep their meaning. It differs where
// net/http repairs, and in these points: the request's body can be read during the answer
// without being asked for; a body that nobody reads is read after the answer, not before
// it; no Content-Type is guessed; the content of an answer with status 205 is dropped.
//
// [Server].Lane serves requests without the types of net/http: an [Exchange] has the
// request and takes the answer. Both are used again for other requests, of any
// connection; their texts are parts of blocks that are never changed, see textOf.
//
// A malformed request is answered by [Server].Refuse, and the connection ends. A body
// that breaks is an error of the handler's Read, and the connection ends after the
// answer. Connections of HTTP/2 are given to an [http.Server], whose requests are held to
// the same rules.
//
// # The client
//
// A [Transport] sends requests to upstreams, each a [Call]. The goroutine that calls Do
// writes the head, with what of the body is at hand, and reads the answer; one more reads and
// writes the rest of a body, so that the two overlap. Idle connections have neither
// goroutine nor buffer: a connection is checked when a request takes it, and one timer
// sweeps them all.
//
// A request that the upstream cannot have read is sent again on a new connection. The
// kernel proves it: it took no octet, or the peer ended the connection and acknowledged
// none.
//
// # Sockets
//
// Connections of TCP are read and written by system calls that do not wait, inside of
// [syscall.RawConn], without telling the scheduler: see rawConn, and turn for the common
// case of a call. Where that is not possible (TLS, other systems than Linux), package net
// does it.
//
// What has arrived of a short body is read without waiting, see [ReadyReader], so that head
// and body go out in one call: see gather, and writer.send for answers.
//
// The middle of a long body of known length is moved by splice(2) through a [Pipe], between
// two such connections. A [PipeReader] fills it, as Read fills a buffer, and counts; whoever
// empties it counts, too.
//
// # Loops
//
// With [Server].Loops, a plaintext connection that waits for its next request belongs to a loop,
// which serves small requests by the same code: see conn.ready. Everything else has the
// connection leave the loop, and land again after its answer, after 1, 2, 4 … of them for each
// time that it had to leave. A function of Server.Lane that waits for anything but the client or the upstream
// of a [Call] with its Client set calls [WillWait] before.
//
// # Goroutines and locks
//
// Each connection has one goroutine, on which handlers run, and a second one while a
// request takes longer than watchAfter: it waits for the client to leave, and for the
// octet that it may get, see reader. It never reads while a body or a head is read. A
// connection that waits for its next request for longer than restAfter, or after its first
// answer, has its goroutine replaced by one with a small stack: see rest.
//
// Server.mu is held when a connection comes or goes. body.mu is held while a part of the
// body is read. Under it, response.mu may be taken, which keeps the interim answers of
// several goroutines apart, and reader.mu, under which deadlines for reading are set.
//
// In the client, upload.sending is held while a request is written, and progress.mu for
// single steps, also under it; a request without a body takes neither, because one goroutine
// alone knows it. The lock of the pool is taken without them.
package h1
