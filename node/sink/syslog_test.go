package sink

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// syslogServer is a receiver of RFC 5425 that closes every third connection after a message.
func syslogServer(t *testing.T, secure *tls.Config, got *received) (addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", secure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func(breaks bool) {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					size, err := in.ReadString(' ')
					if err != nil {
						return
					}
					n, err := strconv.Atoi(strings.TrimSpace(size))
					if err != nil {
						t.Errorf("the length %q", size)
						return
					}
					text := make([]byte, n)
					if _, err := io.ReadFull(in, text); err != nil {
						return
					}
					i := max(strings.IndexByte(string(text), '{'), 0)
					head := string(text[:i])
					fields := strings.Fields(head)
					if len(fields) != 7 || fields[2] != "n1" || fields[3] != "perfgate" || fields[6] != "-" ||
						fields[0] != "<108>1" && fields[0] != "<110>1" {
						t.Errorf("the head %q", head)
					}
					if _, err := time.Parse(time.RFC3339Nano, fields[1]); err != nil {
						t.Error(err)
					}
					got.line(t, string(text[i:]))
					if breaks {
						return
					}
				}
			}(n%3 == 1)
		}
	}()
	return l.Addr().String()
}

// A syslog server gets RFC 5424 messages over TLS, all of them although it closes connections.
func TestSyslog(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS() // for its certificate
	defer srv.Close()
	var got received
	addr := syslogServer(t, &tls.Config{Certificates: srv.TLS.Certificates}, &got)
	s := newSetting(t, "syslog+tls://"+addr, pool(srv))
	for range 4 {
		stop := s.run(t)
		s.own.add("acct_a", 200)
		got.wait(t, s.own)
		stop()
	}
	// A certificate that nothing vouches for gets nothing.
	s = newSetting(t, "syslog+tls://"+addr, Options{Roots: x509.NewCertPool()})
	s.own.add("acct_a", 1)
	sink, err := New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.target.close()
	if err := sink.send(t.Context(), []message{{text: []byte("{}"), time: day}}); err == nil {
		t.Error("a receiver with an unknown certificate gets events")
	}
}
