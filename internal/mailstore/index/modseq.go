package index

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"rookery/internal/vfs"
)

// modseqFile keeps the ceiling: 20 digits and a line feed. It is a control
// file: it is never rebuilt from anything, and must not be lost.
const modseqFile = "rookery-modseq"

const (
	modseqBlock = 1 << 16
	maxModseq   = 1<<63 - 1 - 2*modseqBlock
	// clockLead is how far numbers may run ahead of the clock before the ceiling
	// is synced: no machine is back up sooner after a power cut, and until then
	// the clock stands in for a ceiling that the cut took back.
	clockLead = time.Second
)

// modseqs is the user's counter. Numbers are handed out below a ceiling in
// modseqFile; a process that needs more takes a block above it, so that two
// processes never hand out the same. The counter starts at, and after any doubt
// jumps to, max(ceiling, Unix time in microseconds): clients of an adopted store
// hold another server's numbers, and a low start would hide changes from them.
type modseqs struct {
	u     *User
	mu    sync.Mutex
	last  uint64 // handed out, or seen
	limit uint64 // may be handed out
	file  vfs.File
	dirty bool // written and not synced
	bad   bool // a Note said that it cannot be kept
}

// next gives a number above all before.
func (m *modseqs) next() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last >= m.limit {
		m.reserve()
	}
	m.last++
	return m.last
}

// see makes later numbers greater than n.
func (m *modseqs) see(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = max(m.last, min(n, maxModseq))
}

// reserve takes the next block. A disk that refuses does not stop the user's
// work: numbers then go on above the clock, which holds as long as the clock does.
func (m *modseqs) reserve() {
	u := m.u
	now := uint64(max(u.opt.FS.Now().UnixMicro(), 1))
	start := max(m.last, now)
	m.last, m.limit = start, start+modseqBlock
	err := m.open()
	if err == nil {
		if m.file.Lock(true, u.opt.LockWait) == nil {
			defer m.file.Unlock()
		}
		var b []byte
		if b, err = vfs.ReadAll(m.file, modseqFile, 1<<10); err == nil {
			m.last = max(start, parseModseq(string(b)))
			m.limit = m.last + modseqBlock
			// One write of a fixed length that no disk tears.
			_, err = m.file.WriteAt(fmt.Appendf(nil, "%020d\n", m.limit), 0)
		}
	}
	if err == nil {
		m.dirty, m.bad = true, false
		if m.limit <= now+uint64(clockLead.Microseconds()) {
			return
		}
		if err = m.file.DataSync(); err == nil {
			m.dirty = false
			return
		}
		m.file.Close() // a failed sync is never tried again on one descriptor
		m.file = nil
	}
	if !m.bad {
		m.bad = true
		u.opt.Note("MODSEQs cannot be kept: " + err.Error())
	}
}

func (m *modseqs) open() error {
	if m.file != nil {
		return nil
	}
	f, err := m.u.opt.FS.OpenFile(join(m.u.opt.ControlDir, modseqFile), vfs.Read|vfs.Write|vfs.Create, m.u.opt.FileMode)
	if err == nil {
		m.file = f
	}
	return err
}

// parseModseq reads the ceiling, 0 if there is none.
func parseModseq(text string) uint64 {
	line, _, ok := strings.Cut(text, "\n")
	if !ok || len(line) != 20 {
		return 0
	}
	n, err := strconv.ParseUint(line, 10, 64)
	if err != nil || n > maxModseq {
		return 0
	}
	return n
}

func (m *modseqs) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	if m.dirty {
		m.file.DataSync() // see clockLead
	}
	err := m.file.Close()
	m.file, m.last, m.limit, m.dirty = nil, max(m.last, m.limit), 0, false
	return err
}
