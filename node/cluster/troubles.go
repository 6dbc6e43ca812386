package cluster

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// sayAgain is how long a trouble lasts before it is logged again.
const sayAgain = time.Minute

// troubles logs a trouble when it begins or changes, once a minute while it lasts,
// and not at every try.
type troubles struct {
	log *slog.Logger
	mu  sync.Mutex
	of  map[string]saying // one for each kind of trouble
}

type saying struct {
	text string
	at   time.Time
}

func newTroubles(log *slog.Logger) *troubles { return &troubles{log: log, of: map[string]saying{}} }

// say logs a trouble of one kind, unless the last one of the kind had the same text a
// short time ago.
func (s *troubles) say(what, msg string, args ...any) {
	text := msg + fmt.Sprint(args...)
	s.mu.Lock()
	last := s.of[what]
	if last.text == text && time.Since(last.at) < sayAgain {
		s.mu.Unlock()
		return
	}
	s.of[what] = saying{text, time.Now()}
	s.mu.Unlock()
	s.log.Warn(msg, args...)
}

// over forgets a trouble that is gone.
func (s *troubles) over(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, what)
}
