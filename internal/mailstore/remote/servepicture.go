package remote

import (
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// serverPicture is what the guest knows of a mailbox, and the next picture while it is
// being told.
type serverPicture struct {
	mu    sync.Mutex
	no    uint32 // of the picture that he was told last; 0: none
	told  mailstore.Snapshot
	sets  *wordSets
	info  mailstore.Info
	words []string
	steps *stepWriter // to the picture number no, while it is told; nil: all was told
}

// stepBytes is about how many bytes of steps are in one answer.
const stepBytes = 40 << 10

// picture tells what is different since the last picture, or goes on telling it.
func (s *server) picture(_ uint32, args []byte) (reply []byte, bad, err error) {
	var a picturing
	if bad := decode(args, &a); bad != nil {
		return nil, bad, nil
	}
	var out fields
	err = s.with("sync", a.Box, func(b *serverBox) (err error) {
		b.shown.mu.Lock()
		defer b.shown.mu.Unlock()
		if a.More {
			out, err = b.shown.more(a.Have)
			return err
		}
		out, err = b.picture(&a)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	reply, err = encode(out)
	if err != nil {
		return nil, nil, tooMuch(err)
	}
	return reply, nil, nil
}

func (b *serverBox) picture(a *picturing) (*picture, error) {
	if a.Sync {
		if _, err := b.mb.Sync(); err != nil {
			return nil, err
		}
		b.s.settle()
	}
	b.mu.Lock()
	out := &picture{Changes: b.changes}
	b.mu.Unlock()
	now := b.mb.Snapshot() // as new as Changes says, or newer
	if now.Len() > maxMessages {
		return nil, errkind.Newf("sync", errkind.Limit, "the mailbox has too many messages")
	}
	p := &b.shown
	if a.Have != p.no || p.steps != nil || p.sets == nil || p.sets.full() {
		p.told, p.sets = nil, newWordSets()
	}
	if p.told != nil && (now.HighestModSeq() < p.told.HighestModSeq() || now.UIDNext() < p.told.UIDNext()) {
		p.told, p.sets = nil, newWordSets() // the guest would not believe it
	}
	if p.told != nil {
		out.Base = p.no
	}
	if p.no++; p.no == 0 {
		p.no = 1
	}
	out.No, out.Len, out.UIDNext, out.High = p.no, uint32(now.Len()), now.UIDNext(), now.HighestModSeq()
	i, words := b.mb.Info(), b.mb.Keywords()
	i.Namespace = mailstore.Namespace{}
	if out.Base == 0 || i != p.info || !equal(words, p.words) {
		out.Tells, out.Info, out.Words = true, info{i}, words
		p.info, p.words = i, words
	}
	p.steps = newStepWriter(p.told, now, p.sets)
	out.Steps, out.More = p.next()
	return out, nil
}

// more goes on telling the picture of a number.
func (p *serverPicture) more(no uint32) (*furtherSteps, error) {
	if p.steps == nil || no != p.no {
		return nil, errkind.Newf("sync", errkind.Invalid, "no picture of that number is under way")
	}
	out := &furtherSteps{}
	out.Steps, out.More = p.next()
	return out, nil
}

func (p *serverPicture) next() (steps []byte, more bool) {
	steps, more = p.steps.next(stepBytes)
	if !more {
		p.told, p.steps = p.steps.now, nil
	}
	return steps, more
}
