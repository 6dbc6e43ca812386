package local

// How the room of a shard is shared. A record that is queued stays until the writer
// takes it, so an account that floods the queue must not fill it in the first place:
// what an account has queued may be at most a multiple of the room that is left for
// everybody (the dynamic thresholds of shared-memory switches, Choudhury and Hahne,
// 1998). No quota is configured, and no list of accounts is kept: an account that is
// alone has nearly all the room, n floods at the same time leave the others about
// 1/(1+n*multiple) of it, and the writer gives all of it back at least once a second.
//
// Requests and denials are counted apart. The multiple of denials is the smaller
// one: clients cause them at will, and as fast as they like, whereas other requests
// are held by limits.
const (
	requestShare = 7 // an account alone has 7/8 of the room for requests, which is 3/4 of the shard
	denialShare  = 2 // and 2/3 of what requests leave
)

// shareSlots is the number of counters in one row of a [sketch].
const shareSlots = 256

// shares counts the bytes of a shard by account. It belongs to the shard's lock.
type shares struct {
	requests int // bytes of all records that are no denials
	of       [2]sketch
}

// sketch counts bytes by account, in two slots of each (a count-min sketch). A count is
// never too low; it is too high where each of the two slots is another account's too.
// That is rare, and differs between shards, since their hashes do.
type sketch [2][shareSlots]uint32

func (s *sketch) count(account uint64) int {
	return int(min(s[0][account%shareSlots], s[1][account>>32%shareSlots]))
}

func (s *sketch) add(account uint64, n int) {
	s[0][account%shareSlots] += uint32(n)
	s[1][account>>32%shareSlots] += uint32(n)
}

// room reports whether an account may queue need more bytes in a shard of size bytes,
// of which used are taken.
func (s *shares) room(account uint64, denied bool, used, need, size int) bool {
	left, share, have := size-used-need, denialShare, &s.of[1]
	if !denied {
		left, share, have = min(left, size-size/4-s.requests-need), requestShare, &s.of[0]
	}
	return left >= 0 && have.count(account)+need <= share*left
}

// add counts n bytes of a record that was queued.
func (s *shares) add(account uint64, denied bool, n int) {
	if denied {
		s.of[1].add(account, n)
		return
	}
	s.of[0].add(account, n)
	s.requests += n
}
