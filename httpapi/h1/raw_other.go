//go:build !linux || 386

package h1

// canSendRaw is false: connections are used through package net.
const canSendRaw = false

func sendRaw(uintptr, []byte) (int, error)             { return 0, errNothingYet }
func sendBothRaw(uintptr, []byte, []byte) (int, error) { return 0, errNothingYet }
func receiveRaw(uintptr, []byte) (int, error)          { return 0, errNothingYet }
func peekRaw(uintptr) bool                             { return false }
func pendingRaw(uintptr) int                           { return 0 }
