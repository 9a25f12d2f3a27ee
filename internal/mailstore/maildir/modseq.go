package maildir

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"rookery/internal/vfs"
)

// MODSEQs come from one counter per user. Numbers are handed out below a ceiling
// that rookery-modseq keeps; a process that needs more takes a block above the
// ceiling, so that two processes never hand out the same, and a restart goes on
// above all that was. The counter follows the clock in microseconds where the
// clock is ahead.

const (
	modseqFile  = "rookery-modseq"
	modseqBlock = 1 << 20
	maxModseq   = 1<<63 - 1 - 2*modseqBlock
)

// modseqs is the counter.
type modseqs struct {
	store *Store
	mu    sync.Mutex
	last  uint64 // handed out
	limit uint64 // may be handed out
	file  vfs.File
	dirty bool
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

// reserve takes the next block. A disk that refuses does not stop the user's
// work: numbers then go on above the clock, which holds as long as the clock does.
func (m *modseqs) reserve() {
	s := m.store
	start := max(m.last, uint64(max(s.now().UnixMicro(), 1)))
	m.last, m.limit = start, start+modseqBlock
	if m.file == nil {
		f, err := s.fs.OpenFile(join(s.opt.ControlPath, modseqFile), vfs.Read|vfs.Write|vfs.Create, s.opt.FileMode)
		if err != nil {
			s.opt.Note("MODSEQs cannot be kept: " + err.Error())
			return
		}
		m.file = f
	}
	if m.file.Lock(true, s.opt.LockWait) == nil {
		defer m.file.Unlock()
	}
	if b, err := vfs.ReadAll(m.file, modseqFile, 1<<10); err == nil {
		m.last = max(start, parseModseq(string(b)))
		m.limit = m.last + modseqBlock
	}
	// One write of a fixed length that no disk tears, synced at the end: without
	// that sync a power cut and a clock that went back would have to come together
	// to make a number go down.
	if _, err := m.file.WriteAt(fmt.Appendf(nil, "%020d\n", m.limit), 0); err != nil {
		s.opt.Note("MODSEQs cannot be kept: " + err.Error())
	}
	m.dirty = true
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
		m.file.DataSync() // see reserve: the clock stands in for it
	}
	err := m.file.Close()
	m.file, m.limit, m.dirty = nil, 0, false
	return err
}
