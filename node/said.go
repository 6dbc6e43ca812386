package node

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// sayAgain is after how long a trouble that lasts is told again.
const sayAgain = time.Minute

// said tells a trouble in the log when it begins or changes, once a minute while
// it lasts, and not at every try.
type said struct {
	log *slog.Logger
	mu  sync.Mutex
	of  map[string]saying // one for each kind of trouble
}

type saying struct {
	text string
	at   time.Time
}

func newSaid(log *slog.Logger) *said { return &said{log: log, of: map[string]saying{}} }

// say tells trouble what.
func (s *said) say(what, msg string, args ...any) {
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
func (s *said) over(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, what)
}
