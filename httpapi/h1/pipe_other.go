//go:build !linux

package h1

// Pipe is not there on this system.
type Pipe struct{}

// Splicing is 0.
func Splicing() int64 { return 0 }

// NewPipe returns nil.
func NewPipe() *Pipe { return nil }

// Free does nothing.
func (p *Pipe) Free() {}

// Len is 0.
func (p *Pipe) Len() int { return 0 }

func (p *Pipe) fill(*rawConn, int) int { return 0 }

func (p *Pipe) drain(*rawConn) (int, error) { return 0, nil }
