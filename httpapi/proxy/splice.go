package proxy

import "github.com/perfgate/perfgate/httpapi/h1"

// spliced is a client's side to which octets can be moved without copying them.
// [h1.Exchange] implements it.
type spliced interface {
	MayMove() bool
	WritePipe(p *h1.Pipe) (int, error)
}

// splice moves the body of a long answer from the upstream's connection to the client's, as
// far as that is possible. The end is left to copy, and so is a failure of the upstream. An
// error is the client's.
func (r reply) splice() error {
	x := r.x
	to, ok := x.down.(spliced)
	if !ok || !to.MayMove() {
		return nil
	}
	p := h1.NewPipe()
	if p == nil {
		return nil
	}
	defer p.Free()
	from := r.res.Body.(h1.PipeReader)
	for {
		n := from.ReadPipe(p, h1.PipeSize)
		x.touch()
		if n == 0 {
			return nil
		}
		for p.Len() > 0 {
			m, err := to.WritePipe(p)
			x.bytes += int64(m)
			if err != nil {
				return err
			}
			x.touch()
		}
	}
}
