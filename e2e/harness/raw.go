package harness

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
)

// RawRequest is one HTTP/1.1 request as bytes, for load generators: on two cores the
// client's own work counts.
func RawRequest(method, base, path, credential, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, strings.TrimPrefix(base, "http://"), credential, len(body), body)
}

// SkipAnswer reads one answer that tells its length, and no more of it than it must.
func SkipAnswer(br *bufio.Reader) (status int, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		switch name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":"); {
		case first:
			_, code, _ := strings.Cut(name, " ")
			status, _ = strconv.Atoi(code[:min(3, len(code))])
		case strings.EqualFold(name, "Content-Length"):
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		case name == "":
			_, err := br.Discard(length)
			return status, err
		}
	}
}
