package quota

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

var _ mailstore.Checker = (*Store)(nil)

// Check compares the count with the mailboxes. Without repair it touches nothing
// but the mailboxes' indexes. The kinds:
//
//	quota-wrong        the count says otherwise than the mailboxes, and nobody has
//	                   changed them since
//	maildirsize-wrong  the file for other programs says otherwise than the count
//
// With repair everything is counted anew.
func (s *Store) Check(ctx context.Context, repair bool, found func(mailstore.Finding)) error {
	if _, err := s.opt.FS.Stat(vfs.Join(s.opt.Dir, stateFile)); !s.counts() || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	list, err := s.wrong(ctx)
	if err != nil {
		return errkind.Wrap("verify", kinded(err))
	}
	if repair && len(list) > 0 {
		if err := s.Recalc(); err != nil {
			return errkind.Wrap("verify", err)
		}
		err := s.l.locked(func(t *txn, ok bool) error {
			if ok {
				s.writeSize(&t.h)
			}
			return nil
		})
		if err != nil {
			return errkind.Wrap("verify", kinded(err))
		}
	}
	for _, f := range list {
		f.Repaired = repair
		found(f)
	}
	return nil
}

// wrong compares records, count and maildirsize.
func (s *Store) wrong(ctx context.Context) (out []mailstore.Finding, err error) {
	var h header
	var records []record
	whole := false
	err = s.l.locked(func(t *txn, ok bool) (err error) {
		if h, whole = t.h, ok; ok {
			records, err = t.all()
		}
		return err
	})
	if err == errLost || err == nil && (!whole || h.boot != s.l.boot || h.looked == 0 || h.underWay != 0) {
		return nil, nil // it is not believed, and counted anew when it is wanted
	}
	if err != nil {
		return nil, err
	}
	const remedy = "all mailboxes are counted anew"
	var sum Use
	byGUID := map[mailstore.GUID]*record{}
	for i := range records {
		byGUID[records[i].guid] = &records[i]
		if records[i].class == Counted {
			sum.add(records[i].use())
		}
	}
	if sum != h.counted {
		out = append(out, mailstore.Finding{Kind: "quota-wrong", Remedy: remedy, Text: fmt.Sprintf("the count says %d messages with %d octets, its records %d with %d",
			h.counted.Messages, h.counted.Octets, sum.Messages, sum.Octets)})
	}
	list, err := s.Store.List()
	if err != nil {
		return nil, err
	}
	settled := true
	for _, f := range list {
		if ctx.Err() != nil {
			return nil, errkind.New("verify", errkind.Unavailable, ctx.Err())
		}
		if !selectable(f) {
			continue
		}
		st, err := s.Store.Status(f.Name, mailstore.StatusWant{Size: true})
		if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r := byGUID[st.GUID]
		if r == nil || !r.fits(st) {
			settled = settled && r == nil && st.Messages == 0 // others changed it, which is noticed in its time
		} else if r.octets != st.Size {
			out = append(out, mailstore.Finding{Mailbox: f.Name, Kind: "quota-wrong", Remedy: remedy,
				Text: fmt.Sprintf("the count says that the mailbox has %d octets, and it has %d", r.octets, st.Size)})
		}
	}
	if settled {
		out = append(out, s.wrongSize(h.counted)...)
	}
	return out, nil
}

// wrongSize compares maildirsize with the count.
func (s *Store) wrongSize(is Use) []mailstore.Finding {
	if s.opt.SizeFile == "" {
		return nil
	}
	text, err := vfs.ReadFile(s.opt.FS, s.opt.SizeFile, 1<<20)
	if err != nil {
		return nil // none: it is written with the next change
	}
	octets, messages := int64(0), int64(0)
	bad := false
	_, rest, _ := strings.Cut(string(text), "\n")
	for line := range strings.Lines(rest) {
		w := strings.Fields(line)
		if len(w) != 2 {
			bad = bad || len(w) > 0
			continue
		}
		o, err1 := strconv.ParseInt(w[0], 10, 64)
		m, err2 := strconv.ParseInt(w[1], 10, 64)
		bad = bad || err1 != nil || err2 != nil
		octets, messages = octets+o, messages+m
	}
	if !bad && octets == int64(is.Octets) && messages == int64(is.Messages) {
		return nil
	}
	return []mailstore.Finding{{Kind: "maildirsize-wrong", Remedy: "it is written anew",
		Text: fmt.Sprintf("%s says %d messages with %d octets, the count %d with %d", s.opt.SizeFile, messages, octets, is.Messages, is.Octets)}}
}
