package local

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/perfgate/perfgate/store"
)

// LastUse is when and from where a key last passed admission, or an operator token was
// last used.
type LastUse struct {
	At      time.Time
	IP      netip.Addr
	Country Country
}

// lastUses remembers the last use of the keys in use: exact in memory, written
// once a minute for each key. It holds two generations of maxRecent keys, about
// 12 MiB when full: a key that is not used while maxRecent others are falls out
// and is read from Pebble again.
type lastUses struct {
	mu         sync.Mutex
	young, old map[store.KeyID]*recentUse
}

const maxRecent = 32 << 10

// useStep is how stale a key's written last use may be.
const useStep = time.Minute

type recentUse struct {
	ns, saved uint64
	ip        netip.Addr
	country   Country
}

func newLastUses() *lastUses {
	return &lastUses{young: make(map[store.KeyID]*recentUse), old: make(map[store.KeyID]*recentUse)}
}

// note takes one use; save is called, without the lock being needed by it, for
// each row that is due to be written.
func (l *lastUses) note(key []byte, ns uint64, ip netip.Addr, country Country, save func(key store.KeyID, u *recentUse)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.young[store.KeyID(key)]
	if u == nil {
		u = l.promote(key, save)
	}
	if ns >= u.ns {
		u.ns, u.ip, u.country = ns, ip, country
	}
	if u.ns-u.saved >= uint64(useStep) {
		save(store.KeyID(key), u)
		u.saved = u.ns
	}
}

// promote brings key into the young generation. When that is full, it becomes
// the old one, and the uses that the old one had not written are written.
func (l *lastUses) promote(key []byte, save func(store.KeyID, *recentUse)) *recentUse {
	if len(l.young) >= maxRecent {
		l.saveAll(l.old, save)
		l.old, l.young = l.young, make(map[store.KeyID]*recentUse)
	}
	id := store.KeyID(key)
	u := l.old[id]
	if u == nil {
		u = &recentUse{}
	}
	delete(l.old, id)
	l.young[id] = u
	return u
}

func (l *lastUses) saveAll(g map[store.KeyID]*recentUse, save func(store.KeyID, *recentUse)) {
	for id, u := range g {
		if u.saved != u.ns {
			save(id, u)
			u.saved = u.ns
		}
	}
}

// flush saves everything that is newer in memory than on disk.
func (l *lastUses) flush(save func(store.KeyID, *recentUse)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saveAll(l.young, save)
	l.saveAll(l.old, save)
}

// unsaved lets every use in memory be saved again, into a new database.
func (l *lastUses) unsaved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range []map[store.KeyID]*recentUse{l.young, l.old} {
		for _, u := range g {
			u.saved = 0
		}
	}
}

func (l *lastUses) get(key store.KeyID) (LastUse, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.young[key]
	if u == nil {
		u = l.old[key]
	}
	if u == nil {
		return LastUse{}, false
	}
	return LastUse{At: at(u.ns), IP: u.ip, Country: u.country}, true
}

func lastKey(key store.KeyID) []byte {
	return append([]byte{rowLast}, clip(string(key), maxName)...)
}

// appendLast writes a last use; the country is left out where it is not known, and by
// earlier versions.
func appendLast(dst []byte, ns uint64, ip netip.Addr, country Country) []byte {
	dst = binary.BigEndian.AppendUint64(dst, ns)
	if dst = appendAddr(dst, ip); country != (Country{}) {
		dst = append(dst, country[:]...)
	}
	return dst
}

func parseLast(v []byte) (LastUse, error) {
	if len(v) < 9 || v[8] != 0 && v[8] != 4 && v[8] != 16 {
		return LastUse{}, errCorrupt
	}
	end := 9 + int(v[8])
	if len(v) != end && len(v) != end+len(Country{}) {
		return LastUse{}, errCorrupt
	}
	ip, _ := netip.AddrFromSlice(v[9:end])
	return LastUse{At: at(binary.BigEndian.Uint64(v)), IP: ip, Country: CountryOf(string(v[end:]))}, nil
}

// LastUsed tells when key, which may be the id of an operator token, was last admitted on
// this node; false if never. It is
// about a second late while the node runs. A kill forgets at most the last
// minute of it.
func (l *Local) LastUsed(key store.KeyID) (LastUse, bool) {
	u, ok := l.last.get(key)
	// A request that began before the others and ended after them may be all that
	// memory has since a restart, so the disk is asked too.
	disk, found, err := l.lastOnDisk(key)
	if err != nil {
		l.log.Error("read a key's last use", "key", key, "error", err)
	}
	if found && (!ok || disk.At.After(u.At)) {
		u = disk
	}
	return u, ok || found
}

func (l *Local) lastOnDisk(key store.KeyID) (u LastUse, found bool, err error) {
	if l.enter() != nil {
		return u, false, nil // memory has the uses of this process
	}
	defer l.leave()
	v, err := l.get(lastKey(key))
	if v == nil || err != nil {
		return u, false, err
	}
	u, err = parseLast(v)
	return u, err == nil, err
}
