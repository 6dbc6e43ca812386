package local

import (
	"testing"
	"testing/synctest"
)

// Uses begin until the end, wait out a pause, and hold both up.
func TestUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u uses
		for range 2 {
			if !u.begin() {
				t.Fatal("a use was refused")
			}
		}
		u.leave()
		if u.pause() {
			t.Fatal("paused with a use under way")
		}
		u.leave()
		if !u.pause() || u.pause() {
			t.Fatal("it pauses once")
		}
		began, ended := make(chan bool, 1), make(chan bool, 1)
		go func() { began <- u.begin() }()
		synctest.Wait()
		if len(began) != 0 {
			t.Fatal("a use began in a pause")
		}
		u.resume()
		if !<-began {
			t.Fatal("a use was refused after a pause")
		}
		go func() { ended <- u.end() }()
		synctest.Wait()
		if len(ended) != 0 {
			t.Fatal("it ended with a use under way")
		}
		if u.begin() || u.pause() {
			t.Error("a use or a pause began after the end")
		}
		u.leave()
		if !<-ended || u.end() {
			t.Error("it ends once")
		}
	})
}

// A pause that is abandoned is an end: the waiting are refused.
func TestUsesAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u uses
		if !u.pause() {
			t.Fatal("no pause")
		}
		began, ended := make(chan bool, 1), make(chan bool, 1)
		go func() { began <- u.begin() }()
		go func() { ended <- u.end() }()
		synctest.Wait()
		u.abandon()
		if <-began || <-ended {
			t.Error("a use or the end succeeded without a database")
		}
	})
}
