package index

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"rookery/internal/vfs"
)

// modseqFile keeps the ceiling: 20 digits and a line feed. A second line names
// the log: its lineage (32 hex digits), a space, the sequence number (20 digits)
// of a record that it had, and a line feed. A log of another lineage, or without
// that record, is an older one that somebody put back. It is a control file: it
// is never rebuilt from anything, and must not be lost.
const modseqFile = "rookery-modseq"

const (
	modseqBlock = 1 << 16
	maxModseq   = 1<<63 - 1 - 2*modseqBlock
	// clockLead is how far numbers may run ahead of the clock before the ceiling
	// is synced: no machine is back up sooner after a power cut, and until then
	// the clock stands in for a ceiling that the cut took back.
	clockLead = time.Second
)

// modseqs hands out the user's MODSEQs. Each mailbox counts by itself: its next
// number is one above its last, so that who shares one mailbox cannot tell how busy
// the others are. All stay below a ceiling in modseqFile, of which each process takes
// blocks. A mailbox starts at, and after any doubt jumps to, max(ceiling, Unix time in
// microseconds), which is above all that any process handed out: clients of an adopted
// store hold another server's numbers, and a low start would hide changes from them.
type modseqs struct {
	u      *User
	mu     sync.Mutex
	last   uint64 // the highest handed out, or seen
	limit  uint64 // may be handed out
	raised uint64 // a mailbox that is not above it jumps
	file   vfs.File
	dirty  bool // written and not synced
	bad    bool // a Note said that it cannot be kept

	lineage [16]byte
	seq     uint64
	noted   bool // lineage and seq are to be written
}

// after gives the number that follows the last of one mailbox.
func (m *modseqs) after(last uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last < m.raised || last >= maxModseq {
		return m.start()
	}
	m.last = max(m.last, last+1)
	if m.last > m.limit {
		m.reserve()
	}
	return last + 1
}

// jump gives a number above all that any process handed out, and above seen.
func (m *modseqs) jump(seen uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = max(m.last, min(seen, maxModseq))
	return m.start()
}

// start is jump; m.mu is held. What is left of the block is given up: others' numbers
// may not be known, and the ceiling alone is above them.
func (m *modseqs) start() uint64 {
	m.reserve()
	m.last++
	return m.last
}

// see makes later numbers greater than n.
func (m *modseqs) see(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = max(m.last, min(n, maxModseq))
}

// raise makes numbers greater than n, in every mailbox.
func (m *modseqs) raise(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.raised = max(m.raised, min(n, maxModseq))
	m.last = max(m.last, m.raised)
	if m.last > m.limit {
		m.reserve()
	}
}

// control is what modseqFile says.
type control struct {
	ceiling uint64
	lineage [16]byte // zero: not known
	seq     uint64
}

func parseControl(text string) (c control) {
	line, rest, ok := strings.Cut(text, "\n")
	if !ok || len(line) != 20 {
		return c
	}
	n, err := strconv.ParseUint(line, 10, 64)
	if err != nil || n > maxModseq {
		return c
	}
	c.ceiling = n
	if len(rest) < 54 || rest[32] != ' ' || rest[53] != '\n' {
		return c
	}
	l, err := hex.DecodeString(rest[:32])
	seq, serr := strconv.ParseUint(rest[33:53], 10, 64)
	if err == nil && serr == nil {
		copy(c.lineage[:], l)
		c.seq = seq
	}
	return c
}

// rewrite changes modseqFile. A disk that refuses does not stop the user's work:
// numbers then go on above the clock, which holds as long as the clock does.
func (m *modseqs) rewrite(change func(*control)) (ok bool) {
	err := m.tryRewrite(change)
	if err != nil { // once more: numbers without a ceiling are a danger
		if m.file != nil {
			m.file.Close()
			m.file = nil
		}
		err = m.tryRewrite(change)
	}
	if err == nil {
		m.dirty, m.bad = true, false
		return true
	}
	m.refused(err)
	return false
}

func (m *modseqs) tryRewrite(change func(*control)) error {
	err := m.open()
	if err == nil {
		if m.file.Lock(true, m.u.opt.LockWait) == nil {
			defer func(f vfs.File) { f.Unlock() }(m.file)
		}
		var b []byte
		if b, err = vfs.ReadAll(m.file, modseqFile, 1<<10); err == nil {
			c := parseControl(string(b))
			if c.lineage == m.lineage {
				c.seq = max(c.seq, m.seq)
			}
			change(&c)
			// One write of few bytes, which no disk tears.
			_, err = m.file.WriteAt(fmt.Appendf(nil, "%020d\n%x %020d\n", c.ceiling, c.lineage, c.seq), 0)
		}
	}
	return err
}

func (m *modseqs) refused(err error) {
	if !m.bad {
		m.bad = true
		m.u.opt.Note("MODSEQs cannot be kept: " + err.Error())
	}
}

// reserve takes the next block.
func (m *modseqs) reserve() {
	now := uint64(max(m.u.opt.FS.Now().UnixMicro(), 1))
	from := max(m.last, now)
	ok := m.rewrite(func(c *control) {
		m.last = max(from, c.ceiling)
		m.limit = m.last + modseqBlock
		c.ceiling = m.limit
	})
	if !ok {
		m.last, m.limit = from, from+1 // and try again for the next one
		return
	}
	if m.limit <= now+uint64(clockLead.Microseconds()) {
		return
	}
	if err := m.file.DataSync(); err != nil {
		m.file.Close() // a failed sync is never tried again on one descriptor
		m.file = nil
		m.refused(err)
		return
	}
	m.dirty = false
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

// note says what the log that is open has; must: the file is to say so at the end.
func (m *modseqs) note(lineage [16]byte, seq uint64, must bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lineage, m.seq = lineage, seq
	m.noted = m.noted || must
}

// begin makes the file name a new lineage, before there is a log of it.
func (m *modseqs) begin(lineage [16]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lineage, m.seq = lineage, 0
	m.rewrite(func(c *control) { c.lineage, c.seq = lineage, 0 })
}

// replaced makes the file name the last number of a log that took another's place.
func (m *modseqs) replaced(lineage [16]byte, seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lineage, m.seq = lineage, seq
	m.rewrite(func(c *control) { c.lineage, c.seq = lineage, seq })
}

// older reports whether a log with this last record is one that was put back.
func (m *modseqs) older(lineage [16]byte, seq uint64) bool {
	b, err := vfs.ReadFile(m.u.opt.FS, join(m.u.opt.ControlDir, modseqFile), 1<<10)
	if err != nil {
		return false
	}
	c := parseControl(string(b))
	return c.lineage != [16]byte{} && (c.lineage != lineage || seq < c.seq)
}

func (m *modseqs) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	if m.noted {
		m.rewrite(func(*control) {})
	}
	if m.file == nil {
		return nil // it was refused, as a Note said
	}
	if m.dirty {
		m.file.DataSync() // see clockLead
	}
	err := m.file.Close()
	m.file, m.last, m.limit, m.dirty, m.noted = nil, max(m.last, m.limit), 0, false, false
	return err
}
