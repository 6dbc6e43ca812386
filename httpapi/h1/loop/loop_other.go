//go:build !linux

package loop

import (
	"errors"
	"sync/atomic"
	"time"
)

const tick = 50 * time.Millisecond

// Loop is not there on this system.
type Loop struct {
	now          time.Time
	landed, left atomic.Int64
}

// New fails.
func New() (*Loop, error) { return nil, errors.ErrUnsupported }

// Land fails.
func (l *Loop) Land(*Conn, time.Duration, func(*Task) bool) error { return errors.ErrUnsupported }

// Close does nothing.
func (l *Loop) Close() {}

func (l *Loop) adopt(*Conn) error { return errors.ErrUnsupported }
func (l *Loop) enter(*Conn)       {}
func (l *Loop) post(*Conn) bool   { return false }
func (l *Loop) discard(*Conn)     {}
func (l *Loop) release(*Task)     {}
