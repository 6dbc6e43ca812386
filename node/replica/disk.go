package replica

import "github.com/perfgate/perfgate/store/disk"

// Disk is the state of a node's disk.
type Disk struct {
	space *disk.Space
	hangs *disk.Hangs
}

// Full reports whether it has no space for changes.
func (d Disk) Full() bool { return d.space.Full() }

// Free is its free space; see [disk.Space.Free].
func (d Disk) Free() (bytes uint64, known bool) { return d.space.Free() }

// Reason describes its fault, "" if there is none.
func (d Disk) Reason() string {
	switch {
	case d.space.Full():
		return "the disk is full; writes are refused"
	case d.hangs.Stuck():
		return "the disk hangs; the log names the file"
	}
	return ""
}
