package local

import (
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/pack"
)

// maxNames bounds the names of keys that are looked up in a minute, and kept until its end: less
// than 3 MiB, and less than half a second of a processor if none of them is in a cache.
const maxNames = 16 << 10

// names are the names that keys had in this minute. Events have the name of the time at which
// they were written: their hash covers it, and a later name would tell another story.
type names struct {
	minute uint32
	of     map[store.KeyID]string
}

// name is the name of the key that made a request whose event is written at ns; "" if there is no
// key, if the event has another name, or if too many other keys were used in this minute.
func (n *names) name(l *Local, v *request[[]byte], ns uint64) string {
	if l.cfg.KeyName == nil || len(v.key) == 0 || len(v.hint) > 0 || v.actor() != store.ActorKey {
		return ""
	}
	if minute := minuteOf(ns); minute != n.minute {
		n.minute = minute
		clear(n.of)
	}
	name, ok := n.of[store.KeyID(v.key)]
	if !ok && len(n.of) < maxNames {
		id := store.KeyID(v.key)
		name = clip(l.cfg.KeyName(id), maxHint)
		if n.of == nil {
			n.of = make(map[store.KeyID]string)
		}
		n.of[id] = name
	}
	return name
}

// requestCaller is who made a request.
type requestCaller[T pack.Text] struct {
	hint T // of a refused credential, or the actor's name
	by   T // the actor's id; the key's where it is that
	name T // of the key, where there is no hint
}
