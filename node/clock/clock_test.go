package clock

import (
	"strings"
	"sync"
	"testing"
	"time"
)

func TestClockNeverGoesBack(t *testing.T) {
	c := New()
	last := c.Now()
	for range 1000 {
		c.Sync()
		if machine, ok := boottime(); ok {
			if now := c.Now(); now < last || now-machine > int64(1e9) {
				t.Fatalf("the clock tells %d after %d, the machine %d", now, last, machine)
			} else {
				last = now
			}
		}
	}
	// Never ahead: a reading lies at or before a boot time taken after it.
	for range 1000 {
		_, now := c.Read()
		if machine, ok := boottime(); ok && now > machine {
			t.Fatalf("the clock is %d ns ahead", now-machine)
		}
	}
}

// Sync makes up for a suspend, during which Go's monotonic clock stood still.
func TestClockCountsSuspend(t *testing.T) {
	machine, ok := boottime()
	if !ok {
		t.Skip("no boot clock on this system")
	}
	c := New()
	const night = int64(8 * time.Hour)
	c.offset.Add(-night) // as if the machine had slept since the last Sync
	if now := c.Now(); now > machine-night+int64(time.Hour) {
		t.Fatalf("before Sync the clock tells %d, the machine %d", now, machine)
	}
	c.Sync()
	if now := c.Now(); now < machine-int64(time.Hour) {
		t.Errorf("after Sync the clock tells %d, the machine %d", now, machine)
	}
	before := c.Now()
	wall, mono := c.Read()
	if d := time.Since(wall); d < 0 || d > time.Minute || mono < before {
		t.Errorf("Read = %v, %d; the wall clock is %v ahead, Now was %d", wall, mono, d, before)
	}
}

// A suspend of any length that has just ended is in the next reading, without a Sync
// between: a lease is judged by it. A wall clock that was set moves no monotonic time.
func TestReadCountsSuspendAtOnce(t *testing.T) {
	if _, ok := boottime(); !ok {
		t.Skip("no boot clock on this system")
	}
	for _, slept := range []int64{int64(20 * time.Millisecond), int64(900 * time.Millisecond), int64(8 * time.Hour)} {
		c := New()
		c.offset.Add(-slept) // the machine has slept since the last Sync,
		c.wall.Add(-slept)   // and the wall clock has gone on meanwhile
		before, _ := boottime()
		wall, mono := c.Read()
		if behind := before - mono; behind > int64(10*time.Millisecond) {
			t.Errorf("after a suspend of %v the clock is %v behind", time.Duration(slept), time.Duration(behind))
		}
		if d := c.Jump(wall, mono); d != 0 {
			t.Errorf("a jump of %v besides", time.Duration(d))
		}
	}
	for _, set := range []time.Duration{2 * time.Second, -2 * time.Second, 31 * 24 * time.Hour} {
		c := New()
		_, before := c.Read()
		c.wall.Add(-int64(set))
		wall, mono := c.Read()
		if d := time.Duration(mono - before); d < 0 || d > time.Minute {
			t.Errorf("a wall clock set by %v moves monotonic time by %v", set, d)
		}
		if d := c.Jump(wall, mono); d != 0 {
			t.Errorf("a wall clock set by %v is taken for a suspend of %v", set, time.Duration(d))
		}
	}
}

// All who read after a suspend count it, also while another of them is still about to: one
// who did not would admit by a lease that has ended.
func TestReadsCountASuspendTogether(t *testing.T) {
	const slept = int64(10 * time.Second)
	missed := 0
	for range 2000 {
		c := New()
		if !c.boot {
			t.Skip("no clock counts suspend here")
		}
		after := c.offset.Load()
		c.offset.Store(after - slept)
		c.wall.Store(c.wall.Load() - slept)
		reads := make(chan int64, 4)
		begin := make(chan struct{})
		for range cap(reads) {
			go func() {
				<-begin
				_, mono := c.Read()
				reads <- mono
			}()
		}
		close(begin)
		for range cap(reads) {
			if mono := <-reads; mono < after-slept/2 {
				missed++
			}
		}
	}
	if missed > 0 {
		t.Errorf("%d reads did not count the suspend", missed)
	}
}

// Where nothing counts a suspend, the wall clock's jump tells of it.
func TestJumpWithoutABootClock(t *testing.T) {
	c := New()
	c.boot = false
	wall, mono := c.Read()
	before := c.Jump(wall, mono)
	if after := c.Jump(wall.Add(time.Hour), mono); after-before != int64(time.Hour) {
		t.Errorf("an hour of sleep is a jump of %v", time.Duration(after-before))
	}
}

func BenchmarkRead(b *testing.B) {
	c := New()
	for b.Loop() {
		c.Read()
	}
}

// A Sync that reads late, or beside others, takes nothing back of an earlier one: the
// offset only grows, to the largest that was seen.
func TestSyncOnlyAdds(t *testing.T) {
	machine, ok := boottime()
	if !ok {
		t.Skip("no boot clock on this system")
	}
	c := New()
	const ahead = int64(time.Hour)
	c.offset.Add(ahead) // a better reading than any of this test
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			last := c.Now()
			for range 200 {
				c.Sync()
				now := c.Now()
				if now < last || now < machine+ahead {
					t.Errorf("the clock tells %d after %d, the machine %d", now, last, machine)
					return
				}
				last = now
			}
		})
	}
	wg.Wait()
}

// Read gives one moment by both clocks: their distance to another reading is the same.
func TestReadIsOneMoment(t *testing.T) {
	c := New()
	wall, mono := c.Read()
	for range 100 {
		w, m := c.Read()
		if w.Sub(wall) != time.Duration(m-mono) {
			t.Fatalf("the wall clock went on by %v, the monotonic one by %v", w.Sub(wall), time.Duration(m-mono))
		}
	}
}

// A wall clock that is set moves no monotonic time.
func TestWrongClock(t *testing.T) {
	c := New()
	const wrong = 31 * 24 * time.Hour
	before := c.Now()
	c.SetWrong(wrong)
	wall, mono := c.Read()
	if d := time.Until(wall); d < wrong-time.Minute || d > wrong || mono < before || mono-before > int64(time.Minute) || time.Until(c.Wall()) < wrong-time.Minute {
		t.Errorf("the wall clock is ahead by %v, monotonic time went on by %v", d, time.Duration(mono-before))
	}
	c.SetWrong(0)
	if d := time.Since(c.Wall()); d < 0 || d > time.Minute {
		t.Errorf("set right, it is behind by %v", d)
	}
}

func TestBootID(t *testing.T) {
	if a, b := BootID(), BootID(); a != b || strings.ContainsAny(a, " \n") {
		t.Errorf("BootID = %q, then %q", a, b)
	}
}
