package share

import (
	"testing"
	"unsafe"
)

// A decision on one of a million buckets: bring it to now, look, take, count.
func BenchmarkDecide(b *testing.B) {
	const many = 1 << 20
	buckets := make([]*Bucket, many)
	for i := range buckets {
		buckets[i] = New(Minute(6_000_000, 6_000_000), One/3, 0)
	}
	b.ReportAllocs()
	now, low := int64(0), 0
	for i := 0; b.Loop(); i++ {
		now += 1000
		x := buckets[uint32(i)*2654435761%many]
		x.Advance(now)
		x.Count(1, now)
		if x.Has(1) {
			x.Spend(1)
			if x.Low(now) {
				low++
			}
		}
	}
}

func TestADecisionDoesNotAllocate(t *testing.T) {
	b := New(Minute(6000, 6000), One/3, 0)
	b.Hint(2, State{}, 1)
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += ms
		b.Advance(now)
		b.Count(1, now)
		if b.Has(1) {
			b.Spend(1)
			b.Low(now)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An active bucket is within 256 bytes, with what pool adds and the state of exchanges at
// rest; see TestRest for that.
func TestSizeOfABucket(t *testing.T) {
	if n := unsafe.Sizeof(Bucket{}); n > 88 {
		t.Errorf("a bucket has %d bytes", n)
	}
	if n := unsafe.Sizeof(more{}); n > 400 {
		t.Errorf("the state of exchanges has %d bytes", n)
	}
}
