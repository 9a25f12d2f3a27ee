package pack

import (
	"errors"
	"fmt"
	"io/fs"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// Inspect looks at the journal of a store that is not open, touches nothing and
// takes no lock. It finds journal-missing (there are packed files and no journal)
// and journal-damaged. Opening the store mends a journal that cannot be read at all,
// and a repair by Verify one that is damaged in its midst.
func Inspect(opt Options, found func(mailstore.Finding)) error {
	opt = withDefaults(opt)
	p := &format{opt: opt, fs: opt.FS}
	hurt, err := p.journalHurt()
	if errors.Is(err, fs.ErrNotExist) {
		numbers, err := p.packs()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return vfs.Kinded("inspect pack", err)
		}
		if len(numbers) > 0 {
			found(mailstore.Finding{Kind: "journal-missing", Text: fmt.Sprintf("there are %d packed files, and no %s", len(numbers), p.journalPath()),
				Remedy: "it is made anew of packed files and checkpoints when the mail is opened; what happened since the last checkpoints is lost"})
		}
		return nil
	}
	for _, text := range hurt {
		found(mailstore.Finding{Kind: "journal-damaged", Text: text.text, Remedy: text.remedy})
	}
	return vfs.Kinded("inspect pack", err)
}

// hurt is a damage of the journal.
type hurt struct{ text, remedy string }

// journalHurt reads the journal and says what is wrong with it. fs.ErrNotExist if
// there is none.
func (p *format) journalHurt() (list []hurt, err error) {
	whole := hurt{p.journalPath() + " cannot be read from its start",
		"it is kept as .damaged and made anew of packed files and checkpoints; what happened since the last checkpoints is lost"}
	l, ok, err := openLog(p.fs, p.journalPath())
	if err != nil {
		return nil, err
	}
	if !ok {
		return []hurt{whole}, nil
	}
	defer l.close()
	if l.hdr.kind != kindJournal {
		return []hurt{whole}, nil
	}
	recs, err := l.advance(true, func(from, to int64) {
		list = append(list, hurt{fmt.Sprintf("%s is damaged from octet %d to %d", l.path, from, to),
			"what was recorded there is lost; all mailboxes get new checkpoints, and the journal begins anew"})
	})
	if err != nil {
		return nil, err
	}
	if len(recs) == 0 || recs[0].kind != recBase {
		return []hurt{whole}, nil
	}
	if _, err := decodeBase(recs[0].payload); err != nil {
		return []hurt{whole}, nil
	}
	return list, nil
}

// mendJournal writes the journal anew where it is damaged in its midst.
func (p *format) mendJournal() error {
	if hurt, err := p.journalHurt(); err != nil || len(hurt) == 0 {
		return err
	}
	return p.checkpoint()
}
