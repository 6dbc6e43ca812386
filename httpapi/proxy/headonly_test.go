package proxy

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An answer without content is one HEADERS frame over HTTP/2, which ends the stream. gRPC
// takes that frame for the trailer, with the status of the call; followed by an empty DATA
// frame it is an answer without a trailer.
func TestHeadsEndStreams(t *testing.T) {
	for _, upstream2 := range []bool{false, true} {
		up := upstreamOf(t, upstream2, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "12")
			if r.URL.Path == "/204" {
				w.WriteHeader(http.StatusNoContent)
			}
		})
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}})
		for _, path := range []string{"/", "/204"} {
			for _, method := range []string{"POST", "GET", "HEAD"} {
				conn, br := r.dial()
				io.WriteString(conn, http2.ClientPreface)
				f := http2.NewFramer(conn, br)
				f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				var head bytes.Buffer
				enc := hpack.NewEncoder(&head)
				for _, h := range []field{{":method", method}, {":scheme", "http"}, {":path", path}, {":authority", "x"}, {"authorization", "Bearer good"}, {"te", "trailers"}} {
					enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
				}
				f.WriteSettings()
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true})
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						t.Fatal(err)
					}
					if h, ok := frame.(*http2.MetaHeadersFrame); ok {
						if !h.StreamEnded() {
							t.Errorf("HTTP/2 to the upstream %v, %s %s: the head %v does not end the stream", upstream2, method, path, h.Fields)
						}
						break
					}
				}
				conn.Close()
			}
		}
	}
}
