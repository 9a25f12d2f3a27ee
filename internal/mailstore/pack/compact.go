package pack

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"

	"rookery/internal/mailstore/engine"
	"rookery/internal/vfs"
)

// purgeLater gives space back after many expunges, in the background.
func (p *format) purgeLater() {
	defer p.work.Done()
	_, err := p.purge(context.Background(), 2, nil)
	p.mu.Lock()
	p.busy = false
	closed := p.closed
	p.mu.Unlock()
	if err != nil && !closed {
		p.opt.Note("space could not be given back: " + err.Error())
	}
}

// Purge writes packed files anew without what was expunged, and moves old ones to
// the second tier.
func (p *format) Purge(ctx context.Context, progress func(done, total int)) (int64, error) {
	return p.purge(ctx, 16, progress)
}

// purge compacts each packed file of which at least one part in so many is
// garbage. Only the list of what lives is made under the user's lock. What is
// garbage then stays garbage: a copy is always of something that lives.
func (p *format) purge(ctx context.Context, part int64, progress func(done, total int)) (freed int64, err error) {
	live := map[uint32][]int64{}
	var before uint32
	err = p.locked(func() error {
		p.mu.Lock()
		closed := p.closed
		p.mu.Unlock()
		if closed {
			return fs.ErrClosed
		}
		// Compacted files must lie before the base: nobody reads them record by record.
		if err := p.checkpoint(); err != nil {
			return err
		}
		if err := p.living(live); err != nil {
			return err
		}
		if err := p.leave(live, part); err != nil {
			return err
		}
		p.mu.Lock()
		before = p.base.file
		p.mu.Unlock()
		return nil
	})
	if err != nil {
		return 0, err
	}
	numbers, err := p.packs()
	if err != nil {
		return 0, err
	}
	for i, n := range numbers {
		if ctx.Err() != nil {
			return freed, ctx.Err()
		}
		if n < before {
			k, err := p.compact(n, live[n], part)
			freed += k
			if err != nil {
				return freed, err
			}
		}
		if progress != nil {
			progress(i+1, len(numbers))
		}
	}
	return freed, nil
}

// living gives where the records are that some mailbox has, file by file. Under
// the user's lock, after a checkpoint.
func (p *format) living(live map[uint32][]int64) error {
	p.mu.Lock()
	var boxes []engine.Folder
	for _, b := range p.st.boxes {
		boxes = append(boxes, b.folder)
	}
	p.mu.Unlock()
	for _, f := range boxes {
		l, err := p.readWith(f.GUID, nil) // the checkpoints have all
		if err != nil {
			return err
		}
		for i := range l.m {
			live[l.m[i].loc.file] = append(live[l.m[i].loc.file], l.m[i].loc.off)
		}
	}
	return nil
}

// leave begins another packed file where the one that is written now has so much
// garbage that it should be compacted: a user with little mail has no other. A
// full disk may refuse; then the rest is done. Under the user's lock.
func (p *format) leave(live map[uint32][]int64, part int64) error {
	p.mu.Lock()
	if p.cur == nil || p.cur.broken != nil || p.cur.pos <= p.opt.Step/16 {
		p.mu.Unlock()
		return nil
	}
	n, end := uint32(p.cur.hdr.number), p.cur.pos
	p.mu.Unlock()
	k, err := p.get(n)
	if err != nil {
		return err
	}
	defer p.files.release(k)
	offs := slices.Clone(live[n])
	slices.Sort(offs)
	_, size, _, err := p.measure(k, slices.Compact(offs))
	if err != nil || (end-size)*part < end {
		return err
	}
	p.mu.Lock()
	err = p.roll()
	p.mu.Unlock()
	if err == nil {
		err = p.checkpoint()
	}
	if err != nil {
		p.opt.Note("the packed file that is written now cannot be compacted yet: " + err.Error())
	}
	return nil
}

// compact writes one packed file anew if it pays, and moves it to the second
// tier if it is old.
func (p *format) compact(n uint32, live []int64, part int64) (freed int64, err error) {
	dir := p.opt.MailPath
	info, err := p.fs.Stat(join(dir, packName(n)))
	if errors.Is(err, fs.ErrNotExist) && p.opt.AltPath != "" {
		dir = p.opt.AltPath
		info, err = p.fs.Stat(join(dir, packName(n)))
	}
	if err != nil {
		return 0, err
	}
	path := join(dir, packName(n))
	if len(live) == 0 {
		if err := p.fs.Remove(path); err != nil {
			return 0, err
		}
		p.files.forget(n)
		return info.Size, nil
	}
	k, err := p.get(n)
	if err != nil {
		if errors.Is(err, errDamaged) {
			err = nil // nothing of it can be read: verify tells of it
		}
		return 0, err
	}
	defer p.files.release(k)
	slices.Sort(live)
	_, size, newest, err := p.measure(k, slices.Compact(live))
	if err != nil {
		return 0, err
	}
	if garbage := info.Size - size; garbage*part >= info.Size {
		if live, err = p.withNames(n, live); err != nil {
			return 0, err
		}
		keep, size, _, err := p.measure(k, live)
		if err != nil {
			return 0, err
		}
		if garbage = info.Size - size; garbage*part >= info.Size {
			if err := p.rewrite(k, keep, path); err != nil {
				return 0, err
			}
			p.files.forget(n)
			freed = garbage
		}
	}
	if p.opt.AltPath != "" && dir != p.opt.AltPath && p.fs.Now().Unix()-newest > int64(p.opt.AltAge.Seconds()) {
		if err := p.toAlt(n); err != nil {
			return freed, err
		}
		p.files.forget(n)
	}
	return freed, nil
}

// withNames adds the records that name mailboxes: a store whose control files are
// lost is made anew of them.
func (p *format) withNames(n uint32, live []int64) ([]int64, error) {
	recs, _, err := p.scan(n, func(string) {})
	if err != nil {
		return nil, err
	}
	for _, r := range recs {
		if r.kind == recFolder {
			live = append(live, r.off)
		}
	}
	slices.Sort(live)
	return slices.Compact(live), nil
}

// kept is a record that stays.
type kept struct {
	was, is, span int64
}

// measure finds the records that live, and the time of the newest. A damaged one
// is kept as it is where its length is known: what can be read of it may be of use.
func (p *format) measure(k *packFile, live []int64) (keep []kept, size, newest int64, err error) {
	r := &logReader{f: k.f, size: 4096}
	size = fileHeaderSize + 12 + 16*int64(len(live))
	for _, off := range live {
		at, ok := k.at(off)
		if !ok {
			continue
		}
		h, ok, err := r.header(at, k.hdr.nonce)
		if err != nil {
			return nil, 0, 0, err
		}
		if !ok {
			continue
		}
		if b, err := r.get(at+recHeaderSize, h.meta); err == nil && len(b) == h.meta && h.kind == recMessage {
			d := decode(b)
			newest = max(newest, decodeMessage(&d).saved)
		}
		keep = append(keep, kept{off, at, h.span()})
		size += h.span()
	}
	return keep, size, newest, nil
}

// rewrite makes a compacted file: the header, the records that stay, octet by
// octet, and the table of where they are. It takes the old one's place by a rename.
func (p *format) rewrite(k *packFile, keep []kept, path string) error {
	tmp := path + ".new" + strconv.FormatUint(uint64(newNonce()), 36)
	return p.put(tmp, path, func(f vfs.File) error { return p.fill(f, k, keep) })
}

func (p *format) fill(f vfs.File, k *packFile, keep []kept) error {
	h := k.hdr
	table := binary.LittleEndian.AppendUint64(nil, uint64(len(keep)))
	at := int64(fileHeaderSize)
	for _, x := range keep {
		table = binary.LittleEndian.AppendUint64(table, uint64(x.was))
		table = binary.LittleEndian.AppendUint64(table, uint64(at))
		at += x.span
	}
	table = binary.LittleEndian.AppendUint32(table, sum(0, table))
	h.mapAt = at
	if _, err := f.Write(h.encode()); err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	for _, x := range keep {
		for off := int64(0); off < x.span; {
			b := buf[:min(int64(len(buf)), x.span-off)]
			n, err := k.f.ReadAt(b, x.is+off)
			if err != nil && err != io.EOF {
				return err
			}
			clear(b[n:]) // the last record's padding may lie behind the end
			if _, err := f.Write(b); err != nil {
				return err
			}
			off += int64(len(b))
		}
	}
	_, err := f.Write(table)
	return err
}

// toAlt moves a packed file to the second tier: it is there before it goes here.
func (p *format) toAlt(n uint32) error {
	from, to := p.packPath(n), join(p.opt.AltPath, packName(n))
	src, err := p.fs.OpenFile(from, vfs.Read, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp := to + ".new" + strconv.FormatUint(uint64(newNonce()), 36)
	dst, err := p.fs.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Excl, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 256<<10))
	if err == nil { // unsynced: as long as the file is there nobody reads its copy
		err = p.fs.Rename(tmp, to)
	}
	if err != nil {
		p.fs.Remove(tmp)
		return err
	}
	if err := dst.Sync(); err != nil {
		return err
	}
	return p.fs.Remove(from)
}
