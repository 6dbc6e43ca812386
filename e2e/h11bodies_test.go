package e2e

import (
	"strings"
	"testing"
)

// h11BodyCases are the rules of bodies and their framing.
var h11BodyCases = []h11Case{
	// Content-Length.
	{"a length of letters", "$POSTContent-Length: abc\r\n\r\n$NEXT", "400", ""},
	{"a length with a plus", "$POSTContent-Length: +13\r\n\r\n$JSON$NEXT", "400", ""},
	{"a negative length", "$POSTContent-Length: -1\r\n\r\n$NEXT", "400", ""},
	{"-0", "$POSTContent-Length: -0\r\n\r\n$NEXT", "400", ""},
	{"0o5", "$POSTContent-Length: 0o5\r\n\r\nhello$NEXT", "400", ""},
	{"0x5", "$POSTContent-Length: 0x5\r\n\r\nhello$NEXT", "400", ""},
	{"a space in a length", "$POSTContent-Length: 1 3\r\n\r\n$JSON$NEXT", "400", ""},
	{"an underscore in a length", "$POSTContent-Length: 1_3\r\n\r\n$JSON$NEXT", "400", ""},
	{"a length beyond 64 bits", "$POSTContent-Length: 99999999999999999999\r\n\r\n$NEXT", "400", ""},
	{"an empty length", "$POSTContent-Length:\r\n\r\n$NEXT", "400", ""},
	{"two different lengths", "$POSTContent-Length: 5\r\nContent-Length: 0\r\n\r\n$NEXT", "400", ""},
	{"a list of different lengths", "$POSTContent-Length: 5, 0\r\n\r\n$NEXT", "400", ""},
	{"a list of equal lengths", "$POSTContent-Length: 5, 5\r\n\r\nhello$NEXT", "400", ""},
	{"a list of three", "$POSTContent-Length: 5, 5, 5\r\n\r\nhello$NEXT", "400", ""},
	{"a length with leading zeros", "$POSTContent-Length: 0013\r\n\r\n$JSON$NEXT", "400", ""},
	{"a length of letters after digits", "$POSTContent-Length: 13x\r\n\r\n$JSON$NEXT", "400", ""},
	{"00", "$POSTContent-Length: 00\r\n\r\n$NEXT", "400", ""},
	{"a length of 0200", "$POSTContent-Length: 0200\r\n\r\n" + strings.Repeat("x", 200) + "$NEXT", "400", ""},
	{"white space after a length", "$POSTContent-Length: 13 \t\r\n\r\n$JSON", "200", "POST /v1/keys/verify $JSON"},
	{"white space before a length", "$POSTContent-Length:  13\r\n\r\n$JSON", "200", "POST /v1/keys/verify $JSON"},
	{"white space around a length", "$POSTContent-Length:   13\t\r\n\r\n$JSON", "200", "POST /v1/keys/verify $JSON"},
	{"a body", "$POSTContent-Length: 13\r\n\r\n$JSON", "200", "POST /v1/keys/verify $JSON"},
	{"GET with Content-Length: 0", "$GETContent-Length: 0\r\n\r\n", "200", ""},
	{"POST without a length", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "200", "POST / "},
	{"GET with a body", "$GETContent-Length: 5\r\n\r\nhello", "200", "GET / hello"},
	{"OPTIONS with a body", "OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "200", "OPTIONS / hello"},
	{"DELETE with a body", "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "200", "DELETE / hello"},
	{"HEAD with a body", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "200", "HEAD / hello"},
	{"a body that does not come", "$POSTContent-Length: 13\r\n\r\n{", "400 slow", ""},
	{"1 GB that does not come", "$POSTContent-Length: 1000000000\r\n\r\n{", "400 413", ""},

	// Transfer-Encoding.
	{"gzip", "$POSTTransfer-Encoding: gzip\r\n\r\n$NEXT", "501", ""},
	{"identity", "$POSTTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello$NEXT", "400", ""},
	{"xchunked and a length", "$POSTTransfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nhello$NEXT", "400", ""},
	{"a space before the colon of Transfer-Encoding", "$POSTTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"chunked twice", "$POSTTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"chunked before gzip", "$POSTTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"gzip before chunked", "$POSTTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"an empty coding", "$POSTTransfer-Encoding:\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a comma before chunked", "$POSTTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a comma after chunked", "$POSTTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"two lines of codings", "$POSTTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"VT before chunked", "$POSTTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"FF before chunked", "$POSTTransfer-Encoding: \fchunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"NUL after chunked", "$POSTTransfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a folded coding", "$POSTTransfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a folded coding of OPTIONS", "OPTIONS / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a coding with a parameter", "$POSTTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"Transfer_Encoding", "$POSTTransfer_Encoding: chunked\r\nContent-Length: 13\r\n\r\n$JSON", "200", "POST /v1/keys/verify $JSON"},
	{"Content_Length", "$POSTContent_Length: 5\r\nContent-Length: 13\r\n\r\n$JSON", "200", "POST /v1/keys/verify $JSON"},
	{"chunked in HTTP/1.0 that ends", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"Chunked", "$POSTTransfer-Encoding: Chunked\r\n\r\nd\r\n$JSON\r\n0\r\n\r\n", "200", "POST /v1/keys/verify $JSON"},
	{"white space around chunked", "$POSTTransfer-Encoding: \t chunked \r\n\r\nd\r\n$JSON\r\n0\r\n\r\n", "200", "POST /v1/keys/verify $JSON"},

	// Both.
	{"a length, then chunked", "$POSTContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"chunked, then a length", "$POSTTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length of one more than the chunks", "$POSTContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG$NEXT", "400", ""},
	{"a length and white space after chunked", "$POSTContent-Length: 5\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length and a TAB before chunked", "$POSTContent-Length: 5\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length and chunked twice", "$POSTTransfer-Encoding: chunked, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length and an empty coding", "$POSTTransfer-Encoding:\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length and a comma after chunked", "$POSTTransfer-Encoding: chunked,\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length and a coding with a parameter", "$POSTTransfer-Encoding: chunked;a=b\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length with letters and chunked", "$POSTContent-Length: 5x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"two lengths with a request after the shorter", "$POSTContent-Length: 0\r\nContent-Length: 61\r\n\r\n$NEXT", "400", ""},
	{"HEAD inside of the length", "$POSTContent-Length: 48\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400", ""},
	{"chunks that end before the length", "$POSTContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a request inside of the length", "$POSTContent-Length: 80\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a request inside of +80", "$POSTContent-Length: +80\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a request inside of 80x", "$POSTContent-Length: 80x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a request inside of the length, folded coding", "$POSTContent-Length: 80\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a request inside of the length, white space after chunked", "$POSTContent-Length: 80\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a request inside of the length, comma before chunked", "$POSTContent-Length: 80\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a request inside of the length, Chunked", "$POSTContent-Length: 80\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a request inside of the length, two codings", "$POSTContent-Length: 80\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length that ends at a chunk", "$POSTContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n$NEXT\r\n0\r\n\r\n", "400", ""},
	{"a bad length and chunked", "$POSTContent-Length: +5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length and Chunked", "$POSTContent-Length: 5\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length and a comma before chunked", "$POSTContent-Length: 5\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a length and two codings", "$POSTContent-Length: 5\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n$NEXT", "400", ""},

	// Chunks.
	{"a chunk", "$POST$CHUNKEDd\r\n$JSON\r\n0\r\n\r\n", "200", "POST /v1/keys/verify $JSON"},
	{"two chunks", "$POST$CHUNKED1\r\n{\r\n0C\r\n\"key\":\"abc\"}\r\n000\r\n\r\n", "200", "POST /v1/keys/verify $JSON"},
	{"the last chunk alone", "POST / HTTP/1.1\r\nHost: a\r\n$CHUNKED0\r\n\r\n", "200", "POST / "},
	{"a size in capitals", "$POST$CHUNKEDD\r\n$JSON\r\n0\r\n\r\n", "200", "POST /v1/keys/verify $JSON"},
	{"a size with many zeros", "$POST$CHUNKED" + strings.Repeat("0", 30) + "D\r\n$JSON\r\n0\r\n\r\n", "200", "POST /v1/keys/verify $JSON"},
	{"an extension", "$POST$CHUNKEDD;a;b=c;d=\"e;\\\"\"\r\n$JSON\r\n0;f\r\n\r\n", "200", "POST /v1/keys/verify $JSON"},
	{"a trailer", "$POST$CHUNKEDd\r\n$JSON\r\n0\r\nX-T: 1\r\n\r\n", "200", "POST /v1/keys/verify $JSON trailer X-T: [\"1\"]"},
	{"no last chunk", "$POST$CHUNKEDd\r\n$JSON\r\n", "400 slow", ""},
	{"an extension without a name", "$POST$CHUNKED5;\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"an extension with an invalid name", "$POST$CHUNKED5;bad[\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"NUL in an extension", "$POST$CHUNKED5;a\x00\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"CR in an extension", "$POST$CHUNKED5;a\rb\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"LF in an extension", "$POST$CHUNKED5;a\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a quoted extension without its end", "$POST$CHUNKED5;a=\"b\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"CR in a quoted extension", "$POST$CHUNKED5;a=\"b\rc\"\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"LF in a quoted extension", "$POST$CHUNKED5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"CR LF in a quoted extension", "$POST$CHUNKED5;a=\"b\r\nc\"\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"an extension of 64 KB", "$POST$CHUNKED5;" + strings.Repeat("a", 64_000) + "\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"an underscore in a size", "$POST$CHUNKED1_0\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"0x before a size", "$POST$CHUNKED0x5\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"+ before a size", "$POST$CHUNKED+5\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"- before a size", "$POST$CHUNKED-5\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a space before a size", "$POST$CHUNKED 5\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a space after a size", "$POST$CHUNKED5 \r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a TAB before a size", "$POST$CHUNKED\t5\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a TAB after a size", "$POST$CHUNKED5\t\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a size that is not hexadecimal", "$POST$CHUNKEDg\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"no size", "$POST$CHUNKED\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a size beyond 64 bits", "$POST$CHUNKED10000000000000005\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a size that ends in CR", "$POST$CHUNKED5\rhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a size that ends in LF", "$POST$CHUNKED5\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"a size that ends in CR CR LF", "$POST$CHUNKED5\r\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"data without its end", "$POST$CHUNKED5\r\nhello0\r\n\r\n$NEXT", "400", ""},
	{"data that ends in LF", "$POST$CHUNKED5\r\nhello\n0\r\n\r\n$NEXT", "400", ""},
	{"more data than the size", "$POST$CHUNKED3\r\nhello\r\n0\r\n\r\n$NEXT", "400", ""},
	{"+0 and an octet more", "$POST$CHUNKED+0\r\n\r\nG$NEXT", "400", ""},
	{"a trailer without a colon", "$POST$CHUNKED5\r\nhello\r\n0\r\nX-T\r\n\r\n$NEXT", "400", ""},
	{"a folded trailer", "$POST$CHUNKED5\r\nhello\r\n0\r\nX-T: 1\r\n 2\r\n\r\n$NEXT", "400", ""},
	{"a trailer that ends in LF", "$POST$CHUNKED5\r\nhello\r\n0\r\nX-T: 1\n\r\n$NEXT", "400", ""},
	{"a trailer section that ends in LF", "$POST$CHUNKED5\r\nhello\r\n0\r\n\n$NEXT", "400", ""},
	{"a trailer section of 5 KiB", "$POST$CHUNKED5\r\nhello\r\n0\r\nX-T: " + strings.Repeat("a", 5<<10) + "\r\n\r\n$NEXT", "400", ""},
}

// A trailer that frames or routes a message, or says who sends it, changes nothing: the
// request is refused, or the upstream does not see it.
func TestHTTP11Trailers(t *testing.T) {
	s := startH11(t, false)
	for _, line := range []string{"Content-Length: 5", "Transfer-Encoding: chunked", "Host: b", "Authorization: Bearer x", "Content-Type: text/plain"} {
		for _, base := range []string{s.proxy, s.admin} {
			got := readAnswers(t, "", s.send(t, base, "$POSTConnection: close\r\n$CHUNKEDd\r\n$JSON\r\n0\r\n"+line+"\r\n\r\n"))
			seen := s.up.take()
			if len(got) != 1 || got[0].StatusCode != 200 && got[0].StatusCode != 400 {
				t.Errorf("%s: %v", line, got)
				continue
			}
			if len(seen) > 0 && (got[0].StatusCode != 200 || seen[0] != `POST /v1/keys/verify {"key":"abc"}`) {
				t.Errorf("%s: status %d, the upstream saw %q", line, got[0].StatusCode, seen)
			}
		}
	}
}
