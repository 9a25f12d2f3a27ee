package hammer

import (
	"fmt"
	"slices"
	"sync"
)

// ledger is the truth: what was acknowledged of each message, by its id.
type ledger struct {
	mu       sync.Mutex
	mail     map[string]fate
	named    map[string]string // mailbox, UIDVALIDITY and UID, and the id that they named
	wrong    []string
	acked    int
	readings int
}

// fate says where a message is.
type fate struct {
	boxes []string // it must be in one of these, once in all
	gone  bool     // it must not be there
	busy  bool     // somebody is working on it: nobody else takes it
}

func newLedger() *ledger { return &ledger{mail: map[string]fate{}, named: map[string]string{}} }

func (l *ledger) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < 40 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// begin notes that a message may come to be in a mailbox.
func (l *ledger) begin(id, box string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mail[id] = fate{boxes: []string{"", box}, busy: true} // "": or nowhere
}

// settle notes what was answered.
func (l *ledger) settle(id string, f fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked++
	l.mail[id] = f
}

// take gives a message for one's own use, of those that pass.
func (l *ledger) take(box string, pass func(id string) bool) (id string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, f := range l.mail {
		if !f.busy && !f.gone && len(f.boxes) == 1 && f.boxes[0] == box && pass(id) {
			f.busy = true
			l.mail[id] = f
			return id, true
		}
	}
	return "", false
}

// give puts it back as it was.
func (l *ledger) give(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.mail[id]
	f.busy = false
	l.mail[id] = f
}

// read notes that a UID was seen to name a message.
func (l *ledger) read(box, validity string, uid uint32, id string) {
	key := fmt.Sprintf("%s/%s/%d", box, validity, uid)
	l.mu.Lock()
	was, known := l.named[key]
	l.named[key] = id
	l.readings++
	l.mu.Unlock()
	if known && was != id {
		l.complain("UID %d of %s named %s, now %s", uid, box, was, id)
	}
}

// misses reports whether something is not there that must be.
func (l *ledger) misses(there map[string][]string) bool {
	seen := map[string]bool{}
	for _, ids := range there {
		for _, id := range ids {
			seen[id] = true
		}
	}
	for id, f := range l.mail {
		if !f.gone && !seen[id] && !slices.Contains(f.boxes, "") {
			return true
		}
	}
	return false
}

// judge compares the ledger with what is there: each box's ids.
func (l *ledger) judge(there map[string][]string) {
	count := map[string][]string{}
	for box, ids := range there {
		for _, id := range ids {
			count[id] = append(count[id], box)
		}
	}
	for id, f := range l.mail {
		boxes := count[id]
		delete(count, id)
		switch {
		case f.gone && len(boxes) > 0:
			l.complain("%s was removed and is in %v", id, boxes)
		case !f.gone && len(boxes) == 0 && !slices.Contains(f.boxes, ""):
			l.complain("%s is lost; it must be in %v", id, f.boxes)
		case len(boxes) > 1:
			l.complain("%s is there %d times: %v", id, len(boxes), boxes)
		case len(boxes) == 1 && !slices.Contains(f.boxes, boxes[0]):
			l.complain("%s is in %s, not in %v", id, boxes[0], f.boxes)
		}
	}
	for id, boxes := range count {
		l.complain("%s is in %v, and nobody put it there", id, boxes)
	}
}
