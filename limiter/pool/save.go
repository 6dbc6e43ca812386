package pool

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"

	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

// saved is the head of what Save writes; the buckets follow one by one.
type saved struct {
	Boot uint64
	Line roster.Saved
	Lost []savedLoss
}

// savedLoss is what has to be remembered of an owner; see tenant.
type savedLoss struct {
	Shard        int
	Owner        Owner
	Since, Until int64
}

// savedBucket is one bucket; one without a name is the end.
type savedBucket struct {
	Name  Name
	Step  int
	Made  uint64
	Owner Owner
	share.Saved
}

// Save ends the use of the pool at a clean stop, and returns what the next process of the
// node goes on with. From then on there is no roster here, so that nothing is admitted or
// lent that is not in it. Some 100 bytes for each bucket in use.
func (p *Pool) Save(now int64) ([]byte, error) {
	p.changing.Lock()
	defer p.changing.Unlock()
	line := p.line.Load()
	if line == nil || len(line.Rosters()) == 0 {
		return nil, nil
	}
	var out bytes.Buffer
	enc := gob.NewEncoder(&out)
	head := saved{Boot: p.boot, Line: line.Save()}
	for i := range p.shards {
		s := &p.shards[i]
		s.Lock()
		for _, t := range s.tenants {
			if t.since > 0 && t.until > now {
				head.Lost = append(head.Lost, savedLoss{i, t.owner, t.since, t.until})
			}
		}
	}
	err := enc.Encode(head)
	p.view(roster.NewLine(p.self, 0, nil, now))
	for i := range p.shards {
		s := &p.shards[i]
		for b := range s.buckets.all() {
			if !b.Idle(now) && err == nil {
				err = enc.Encode(savedBucket{b.Name, int(b.step), b.made, b.tenant.owner, share.Save(&b.Bucket, now)})
			}
			s.drop(b)
		}
		s.Unlock()
	}
	if err == nil {
		err = enc.Encode(savedBucket{})
	}
	return out.Bytes(), err
}

var errFollow = errors.New("the nodes that share limits have changed meanwhile")

// Resume goes on with what a clean stop has saved, gone nanoseconds before now and by a
// clock that is later by shift now, with the rosters that the state has. It is called
// instead of Begin; after an error, call Begin.
func (p *Pool) Resume(from []byte, rosters []roster.Roster, shift, now int64) error {
	dec := gob.NewDecoder(bytes.NewReader(from))
	var head saved
	if err := dec.Decode(&head); err != nil {
		return fmt.Errorf("read the saved rosters: %w", err)
	}
	if len(head.Line.Steps) == 0 {
		return errFollow
	}
	line := roster.Restore(p.self, &head.Line, shift)
	if !line.Same(rosters) {
		var ok bool
		if line, ok = line.Next(rosters, false, now); !ok {
			return errFollow
		}
	}
	p.changing.Lock()
	defer p.changing.Unlock()
	p.boot = head.Boot
	p.view(line)
	for _, l := range head.Lost {
		if l.Shard < 0 || l.Shard >= shards || l.Until <= 0 {
			return errors.New("a saved loss is out of range")
		}
		s := &p.shards[l.Shard]
		s.now = max(s.now, now)
		t := s.tenant(l.Owner)
		t.since, t.until = max(1, l.Since+shift), min(l.Until, share.Forever-max(0, shift))+shift
	}
	for {
		var b savedBucket
		switch err := dec.Decode(&b); {
		case err != nil:
			return fmt.Errorf("read a saved bucket: %w", err)
		case b.Name == Name{}:
			return nil
		case !b.Pace.Valid():
			return errors.New("a saved bucket is out of range")
		}
		s := p.Shard(b.Name)
		s.Lock()
		s.now = max(s.now, now)
		in := s.admit(b.Owner)
		if in == nil {
			s.Unlock()
			return errors.New("there is no place for a saved bucket")
		}
		n := &Bucket{Name: b.Name, In: s, step: int32(b.Step), made: b.Made, Bucket: *share.Restore(&b.Saved, shift), tenant: in}
		s.catchUp(n, line)
		s.buckets.put(n)
		s.occupy(n)
		s.Unlock()
	}
}
