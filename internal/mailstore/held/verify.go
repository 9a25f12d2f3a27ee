package held

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// overdue is how long after the hold's end a message may lie: the purge is done when
// the user's last session ends, or once a day.
const overdue = 48 * time.Hour

var _ mailstore.Checker = (*Store)(nil)

// Check looks at what is held. Without repair it touches nothing. The kinds:
//
//	held-expired   messages are held for longer than the hold
//	held-nameless  nobody knows any more which mailbox held messages come from
//	held-damaged   lines of the control file cannot be read
func (s *Store) Check(ctx context.Context, repair bool, found func(mailstore.Finding)) error {
	list, err := s.look(ctx)
	if err != nil {
		return errkind.Wrap("verify", err)
	}
	if repair && len(list) > 0 {
		if err := s.mend(ctx); err != nil {
			return errkind.Wrap("verify", err)
		}
		left, err := s.look(ctx)
		if err != nil {
			return errkind.Wrap("verify", err)
		}
		for i := range list {
			list[i].Repaired = !slices.Contains(left, list[i])
		}
	}
	for _, f := range list {
		found(f)
	}
	return nil
}

func (s *Store) look(ctx context.Context) (list []mailstore.Finding, err error) {
	boxes, err := s.hiddenBoxes()
	if err != nil {
		return nil, err
	}
	text, err := vfs.ReadFile(s.opt.FS, s.path, maxControl)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, vfs.Kinded("read "+controlFile, err)
	}
	if bad := badLines(text); bad > 0 {
		list = append(list, mailstore.Finding{Kind: "held-damaged", Text: fmt.Sprintf("%d lines of %s cannot be read", bad, controlFile), Remedy: "the file is written anew without them"})
	}
	known := parse(text)
	limit := s.opt.FS.Now().Add(-s.opt.Hold - overdue)
	expired := 0
	for guid, name := range boxes {
		if err := ctx.Err(); err != nil {
			return nil, errkind.New("verify", errkind.Unavailable, err)
		}
		n, more, err := s.heldBefore(name, limit)
		if err != nil {
			return nil, err
		}
		if expired += n; more == 0 {
			continue
		}
		if o := known[guid]; o == nil || o.name == "" {
			list = append(list, mailstore.Finding{Kind: "held-nameless", Text: fmt.Sprintf("%s does not say which mailbox the %d expunged messages in %s come from", controlFile, more, name),
				Remedy: "the mailbox is noted, if it is there; else undelete will put them into " + s.lostName(name)})
		}
	}
	if expired > 0 {
		list = append(list, mailstore.Finding{Kind: "held-expired", Text: fmt.Sprintf("%d expunged messages are held for longer than mail_undelete_hold", expired), Remedy: "they are removed for good"})
	}
	slices.SortFunc(list, func(a, b mailstore.Finding) int { return strings.Compare(a.Kind+a.Text, b.Kind+b.Text) })
	return list, nil
}

// lostName is the mailbox that undelete makes for messages of one that nobody knows.
func (s *Store) lostName(hidden mailstore.Name) mailstore.Name {
	i := strings.LastIndexByte(hidden, '/')
	return strings.TrimSuffix(hidden[:i], Root) + "Undeleted " + hidden[i+1:][:8]
}

// heldBefore counts the messages of a hidden mailbox that were held before a time,
// and all of them.
func (s *Store) heldBefore(name mailstore.Name, limit time.Time) (old, all int, err error) {
	mb, snap, err := mailstore.Look(s.Store, name)
	if errkind.Is(err, errkind.NotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer mb.Close()
	for ; old < snap.Len(); old++ { // in the order in which they were held
		at, err := s.heldAt(mb, snap.At(old).UID)
		if err != nil && !errkind.Is(err, errkind.Expunged) {
			return 0, 0, err
		}
		if err == nil && !at.Before(limit) {
			break
		}
	}
	return old, snap.Len(), nil
}

// badLines counts the lines that parse passes over.
func badLines(text []byte) (bad int) {
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) != "" && len(parse([]byte(line))) == 0 {
			bad++
		}
	}
	return bad
}

// mend purges what is over, names what has no name, and writes the control file
// anew if a line of it cannot be read.
func (s *Store) mend(ctx context.Context) error {
	for more := true; more; {
		var err error
		if _, more, err = s.Sweep(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errkind.New("verify", errkind.Unavailable, ctx.Err())
		}
	}
	boxes, err := s.hiddenBoxes()
	if err != nil {
		return err
	}
	known, err := s.origins()
	if err != nil {
		return err
	}
	there, err := s.targets(nil, known)
	if err != nil {
		return err
	}
	live := map[mailstore.GUID]mailstore.UID{}
	for guid, name := range boxes {
		live[guid] = 1
		if o := known[guid]; o != nil && o.name != "" {
			continue
		}
		st, err := s.Store.Status(name, mailstore.StatusWant{})
		if err != nil || st.Messages == 0 {
			continue
		}
		from := s.lostName(name)
		if t, ok := there[guid]; ok {
			from = t.name
		}
		if err := s.write(mailboxLine(guid, st.UIDValidity, from), true); err != nil {
			return vfs.Kinded("write "+controlFile, err)
		}
	}
	text, err := vfs.ReadFile(s.opt.FS, s.path, maxControl)
	if err == nil && badLines(text) > 0 {
		err = s.rewrite(live)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return vfs.Kinded("write "+controlFile, err)
}
