//go:build !unix

package h1

import "io"

// canPoll is false: a connection that cannot be checked is used once.
const canPoll = false

func readNow(uintptr, []byte) (int, error) { return 0, errNothingYet }

func ended(err error) bool { return err == io.EOF }
