package pack

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/vfs"
)

// uidGap is left free above the highest UID that is known where a journal was
// lost: copies that it alone knew may have had those.
const uidGap = 1 << 20

// rebuild makes a journal where there is none: the first, or, where there are
// packed files or checkpoints, one of what those say. mu is held.
func (p *format) rebuild(why error) error {
	p.mu.Unlock()
	defer p.mu.Lock()
	s := &salvage{p: p, boxes: map[mailstore.GUID]*salvaged{}}
	if err := s.checkpoints(); err != nil {
		return err
	}
	numbers, err := p.packs()
	if err != nil {
		return err
	}
	if err := s.packs(numbers); err != nil {
		return err
	}
	b := base{seq: s.seq, file: s.file, off: s.off, chain: s.chain}
	if len(s.boxes) > 0 {
		p.opt.Note(fmt.Sprintf("%s: the store is made anew of %d packed files and %d checkpoints; flags and expunges since the last checkpoints are lost, expunged messages may come back",
			why, len(numbers), s.had))
	}
	names := map[mailstore.Name]*salvaged{}
	for _, x := range s.inOrder() {
		st := boxState{folder: engine.Folder{Name: x.head.name, GUID: x.head.guid, UIDValidity: x.head.uidv}, last: stamp{s.seq + 1, newNonce()}}
		if imapname.Name(st.folder.Name).Check() != nil || names[st.folder.Name] != nil {
			st.folder.Name = "recovered/" + hex.EncodeToString(x.head.guid[:])
		}
		names[st.folder.Name] = x
		x.list.end()
		if x.list.next < 1<<31 {
			x.list.next += uidGap
		}
		st.next = x.list.next
		if len(x.list.m) > 0 {
			st.ckpt = s.seq + 1
			if err := p.writeBox(boxHead{guid: x.head.guid, uidv: x.head.uidv, seq: st.ckpt, name: st.folder.Name}, &x.list); err != nil {
				return err
			}
		}
		b.seq = s.seq + 1
		b.boxes = append(b.boxes, st)
	}
	h := fileHeader{kind: kindJournal, nonce: newNonce(), number: 1, before: -1, seq: b.seq}
	if len(s.boxes) > 0 { // what is there may still be of use to somebody
		p.fs.Rename(p.journalPath(), p.journalPath()+".damaged")
	}
	j, err := createLog(p.fs, p.journalPath(), h, []outRec{{kind: recBase, seq: b.seq, meta: b.encode()}}, p.opt.JournalStep)
	if err != nil {
		return err
	}
	return j.close()
}

// salvage collects what packed files and checkpoints say.
type salvage struct {
	p     *format
	boxes map[mailstore.GUID]*salvaged
	had   int // checkpoints
	seq   uint64
	file  uint32 // the last packed file, and its end
	off   int64
	chain uint32
}

type salvaged struct {
	head  boxHead
	named uint64 // the sequence number of what gave it its name
	list  list
}

func (s *salvage) box(g mailstore.GUID) *salvaged {
	x := s.boxes[g]
	if x == nil {
		x = &salvaged{head: boxHead{guid: g, uidv: 1}, list: list{next: 1}}
		s.boxes[g] = x
	}
	return x
}

// inOrder gives the mailboxes, those named last first: of two with one name the
// other was deleted before.
func (s *salvage) inOrder() []*salvaged {
	var out []*salvaged
	for _, x := range s.boxes {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *salvaged) int {
		if a.named != b.named {
			return int(min(max(int64(b.named)-int64(a.named), -1), 1))
		}
		return slices.Compare(a.head.guid[:], b.head.guid[:])
	})
	return out
}

func (s *salvage) checkpoints() error {
	var all []mailstore.GUID
	err := s.p.fs.ReadDir(join(s.p.opt.ControlPath, boxesDir), func(e vfs.DirEntry) bool {
		var g mailstore.GUID
		if len(e.Name) == 32 {
			if _, err := hex.Decode(g[:], []byte(e.Name)); err == nil {
				all = append(all, g)
			}
		}
		return true
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, g := range all {
		h, l, err := s.p.readBox(g)
		if errors.Is(err, errBox) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.had++
		s.boxes[g] = &salvaged{head: h, named: h.seq, list: *l}
		s.seq = max(s.seq, h.seq)
	}
	return nil
}

// packs gives the numbers of the packed files, in both tiers, ascending.
func (p *format) packs() ([]uint32, error) {
	seen := map[uint32]bool{}
	for _, dir := range []string{p.opt.MailPath, p.opt.AltPath} {
		if dir == "" {
			continue
		}
		err := p.fs.ReadDir(dir, func(e vfs.DirEntry) bool {
			if text, ok := strings.CutSuffix(e.Name, ".pack"); ok && len(text) == 8 {
				if n, err := strconv.ParseUint(text, 16, 32); err == nil && n > 0 {
					seen[uint32(n)] = true
				}
			}
			return true
		})
		if err != nil && !(dir == p.opt.AltPath && errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
	}
	out := make([]uint32, 0, len(seen))
	for n := range seen {
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

func (s *salvage) packs(numbers []uint32) error {
	for i, n := range numbers {
		recs, l, err := s.p.scan(n, s.p.opt.Note)
		if errors.Is(err, errDamaged) {
			s.p.opt.Note("the packed file " + packName(n) + " has no header that can be read, and is left out")
			continue
		}
		if err != nil {
			return err
		}
		for _, v := range s.p.decode(recs, n, false) {
			s.seq = max(s.seq, v.seq)
			s.add(&v)
		}
		if i == len(numbers)-1 && l.hdr.mapAt == 0 {
			s.file, s.off, s.chain = n, l.pos, l.head
		}
	}
	if s.file == 0 && len(numbers) > 0 { // the last one is not to be written: begin another
		l, err := createLog(s.p.fs, s.p.packPath(numbers[len(numbers)-1]+1), fileHeader{kind: kindPacked, nonce: newNonce(),
			number: uint64(numbers[len(numbers)-1]) + 1, before: -1, seq: s.seq}, nil, s.p.opt.Step)
		if err != nil {
			return err
		}
		s.file, s.off, s.chain = uint32(l.hdr.number), l.pos, l.head
		return l.close()
	}
	return nil
}

func (s *salvage) add(v *event) {
	switch v.kind {
	case recFolder:
		x := s.box(v.box)
		if v.seq > x.named {
			x.named, x.head.name, x.head.uidv = v.seq, v.name, v.uidv
		}
		if x.head.seq == 0 { // messages before were expunged and compacted away
			x.list.next = max(x.list.next, v.next)
		}
	case recAdd:
		if x := s.box(v.to); v.seq > x.head.seq {
			x.list.apply(v, v.to)
		}
	}
}

// scan reads all records of a packed file, messages without their bodies. note
// is told of damage.
func (p *format) scan(n uint32, note func(string)) ([]rec, *logFile, error) {
	path := p.packPath(n)
	f, err := p.fs.OpenFile(path, vfs.Read, 0)
	if errors.Is(err, fs.ErrNotExist) && p.opt.AltPath != "" {
		path = join(p.opt.AltPath, packName(n))
		f, err = p.fs.OpenFile(path, vfs.Read, 0)
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	hdr, moved, err := readPackHeader(f, n)
	if err != nil {
		return nil, nil, err
	}
	l := &logFile{f: f, path: path, hdr: hdr, pos: fileHeaderSize, head: hdr.nonce}
	if hdr.mapAt == 0 {
		recs, err := l.advance(true, damageNote(path, note))
		return recs, l, err
	}
	var out []rec
	r := &logReader{f: f, size: 4096}
	for _, m := range moved {
		h, ok, err := r.header(m.is, hdr.nonce)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			note(fmt.Sprintf("%s is damaged at octet %d: a message is skipped", path, m.is))
			continue
		}
		n := h.size
		if h.kind == recMessage {
			n = int64(h.meta)
		}
		b, err := r.get(m.is+recHeaderSize, int(min(n, maxEvent)))
		if err != nil {
			return nil, nil, err
		}
		out = append(out, rec{recHeader: h, off: m.was, payload: slices.Clone(b)})
	}
	return out, l, nil
}

// salvageBox makes a mailbox's list of the packed files alone, as of a sequence
// number: its checkpoint is lost.
func (p *format) salvageBox(g mailstore.GUID, upTo uint64) (*list, error) {
	numbers, err := p.packs()
	if err != nil {
		return nil, err
	}
	l := &list{next: 1}
	for _, n := range numbers {
		recs, _, err := p.scan(n, func(string) {})
		if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, v := range p.decode(recs, n, false) {
			if v.seq <= upTo {
				l.apply(&v, g)
			}
		}
	}
	return l, nil
}
