// Package h1 speaks HTTP/1.1 (RFC 9112), and nothing else: octets come in, messages go
// out. It imports only the standard library.
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
// readHead returns the section once it is whole, and parseFields takes it apart. A
// chunkedReader decodes a body, a chunkedWriter encodes one. A fault of the peer is an
// [*Error], which says how to answer it.
package h1
